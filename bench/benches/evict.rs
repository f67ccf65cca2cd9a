//! Question: how often does a full store miss what is asked for, on traces of real caches?
//! Unit: misses in percent of all requests, the first ones included. Beside it: LRU and random
//! eviction over as many entries as the store was seen to hold.
//!
//! `cargo bench -p morecore-bench --bench evict -- DIRECTORY` reads every `*.u32.xz` there: which key
//! was asked for, in order, as little-endian numbers. It is the store itself that is measured: a get,
//! and if that finds nothing, a set. Its memory is chosen so that it holds 1 % or 10 % of the
//! distinct keys, with values in payloads (`large`) and with values in buckets (`small`). Where the
//! smallest store has room for more, several copies of the trace are asked for in turn, each with
//! keys of its own and begun elsewhere.
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on says so and ends")]

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use fastrand::Rng;
use morecore_store::{Create, Evict, Set, Store};

/// The smallest store.
const BYTES_LEAST: u64 = 1 << 20;

/// How many copies of a trace are tried, the fewest first.
const COPIES: [usize; 2] = [1, 4];

/// The bytes of a value: far too many for a bucket, so that what is evicted is payloads; and few
/// enough to stand in one.
const VALUE_BYTES: [(&str, usize); 2] = [("large", 1500), ("small", 8)];

fn main() {
    let directory = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let Some(directory) = directory else {
        println!("usage: cargo bench -p morecore-bench --bench evict -- DIRECTORY");
        return;
    };
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "xz"));
    files.sort();
    println!("trace,copies,values,part,entries,store_bytes,store,lru,random");
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().replace(".u32.xz", "");
        let trace = read(&file);
        for (values, bytes) in VALUE_BYTES {
            for percent in [1, 10] {
                let tried = COPIES.iter().find_map(|&copies| {
                    let trace = copied(&trace, copies);
                    let distinct = trace.iter().collect::<HashSet<_>>().len();
                    let memory_bytes = memory_for((distinct * percent / 100) as u64, bytes)?;
                    Some((copies, trace, memory_bytes))
                });
                let Some((copies, trace, memory_bytes)) = tried else {
                    println!("{name},,{values},{percent} %,,,,,");
                    continue;
                };
                let (misses, entries) = run(&trace, memory_bytes, bytes);
                let ratio = |misses: u64| misses as f64 * 100.0 / trace.len() as f64;
                println!(
                    "{name},{copies},{values},{percent} %,{entries},{memory_bytes},\
                     {:.2},{:.2},{:.2}",
                    ratio(misses),
                    ratio(lru(&trace, entries as usize)),
                    ratio(random(&trace, entries as usize)),
                );
            }
        }
    }
}

/// So many copies of a trace in turn.
fn copied(trace: &[u32], copies: usize) -> Vec<u32> {
    let (keys, apart) = (trace.iter().max().unwrap() + 1, trace.len() / copies);
    let at = |index: usize, copy: usize| {
        trace[(index + copy * apart) % trace.len()] + copy as u32 * keys
    };
    (0..trace.len()).flat_map(|index| (0..copies).map(move |copy| at(index, copy))).collect()
}

fn read(file: &PathBuf) -> Vec<u32> {
    let mut packed = std::io::BufReader::new(std::fs::File::open(file).unwrap());
    let mut bytes = Vec::new();
    lzma_rs::xz_decompress(&mut packed, &mut bytes).unwrap();
    bytes.as_chunks::<4>().0.iter().map(|chunk| u32::from_le_bytes(*chunk)).collect()
}

fn store(memory_bytes: u64) -> Store {
    let evict = Evict::Policy;
    Store::anonymous(&Create { memory_bytes, evict, ..Create::default() }).unwrap()
}

fn key(number: u32) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    key[4..].copy_from_slice(format!("{number:012}").as_bytes());
    key
}

/// The memory with which a store is seen to hold about `wanted` entries; `None` if the smallest one
/// holds more.
fn memory_for(wanted: u64, value_bytes: usize) -> Option<u64> {
    let held = |memory_bytes: u64| {
        let mut store = store(memory_bytes);
        let mut number = 0;
        while store.stat().evictions < wanted {
            for _ in 0..256 {
                number += 1;
                store.set(&key(number), &vec![1; value_bytes], &Set::default()).unwrap();
            }
        }
        store.len()
    };
    let (mut low, mut high) = (BYTES_LEAST, BYTES_LEAST + wanted * (value_bytes as u64 + 300));
    if held(low) > wanted {
        return None;
    }
    while high - low > high / 256 {
        let middle = (low + high) / 2;
        if held(middle) < wanted { low = middle } else { high = middle }
    }
    Some(high)
}

/// The misses of the store itself, and how many entries it held on average once it was full.
fn run(trace: &[u32], memory_bytes: u64, value_bytes: usize) -> (u64, u64) {
    let mut store = store(memory_bytes);
    let (mut misses, mut value) = (0, Vec::new());
    let (mut held, mut looks) = (0, 0);
    for (index, &number) in trace.iter().enumerate() {
        let key = key(number);
        value.clear();
        if store.get(&key, &mut value).unwrap().is_none() {
            misses += 1;
            store.set(&key, &vec![1; value_bytes], &Set::default()).unwrap();
        }
        if index >= trace.len() / 2 && index % 4096 == 0 {
            (held, looks) = (held + store.len(), looks + 1);
        }
    }
    (misses, held / looks)
}

/// Least recently used, by a list through an array.
fn lru(trace: &[u32], most: usize) -> u64 {
    let count = *trace.iter().max().unwrap() as usize + 1;
    let (mut before, mut after) = (vec![count; count + 1], vec![count; count + 1]);
    let (mut is_there, mut held, mut misses) = (vec![false; count], 0, 0);
    for key in trace.iter().map(|&key| key as usize) {
        if is_there[key] {
            (after[before[key]], before[after[key]]) = (after[key], before[key]);
        } else {
            misses += 1;
            is_there[key] = true;
            held += 1;
        }
        let first = after[count];
        (after[key], before[key]) = (first, count);
        (before[first], after[count]) = (key, key);
        if held > most {
            let last = before[count];
            (after[before[last]], before[count]) = (count, before[last]);
            is_there[last] = false;
            held -= 1;
        }
    }
    misses
}

/// Any entry goes.
fn random(trace: &[u32], most: usize) -> u64 {
    let mut chance = Rng::with_seed(1);
    let (mut places, mut keys, mut misses) = (HashMap::new(), Vec::new(), 0);
    for &key in trace {
        if places.contains_key(&key) {
            continue;
        }
        misses += 1;
        if keys.len() < most {
            keys.push(key);
            places.insert(key, keys.len() - 1);
        } else {
            let place = chance.usize(..most);
            places.remove(&std::mem::replace(&mut keys[place], key));
            places.insert(key, place);
        }
    }
    misses
}
