//! Question: what does a look-up of a 32-byte value under a 16-byte key cost, and a set of it?
//! Unit: nanoseconds a call, one thread, random keys; medians of rounds. Beside it: std's `HashMap`
//! of the same keys and values in this process.
//!
//! `cargo run --release -p morecore-store --example lookups [ENTRIES] [VALUE_BYTES] [ONLY]`

use std::collections::HashMap;
use std::hint::black_box;
use std::time::Instant;

use morecore_store::{Create, Evict, Set, Store};

const CALLS: u64 = 1_000_000;
const ROUNDS: usize = 7;

fn key(number: u64) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    let (mut rest, mut at) = (number, 15);
    while rest != 0 {
        key[at] = b'0' + (rest % 10) as u8;
        (rest, at) = (rest / 10, at - 1);
    }
    key
}

/// The median, with the least and the most, of `ROUNDS` runs of `CALLS` calls.
fn measure(name: &str, entries: u64, mut call: impl FnMut(&[u8; 16])) {
    if std::env::args().nth(3).is_some_and(|only| only != name) {
        return;
    }
    let mut chance = fastrand::Rng::with_seed(7);
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begin = Instant::now();
            for _ in 0..CALLS {
                call(&key(chance.u64(..entries)));
            }
            begin.elapsed().as_nanos() as f64 / CALLS as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    let (least, most) = (rounds[0], rounds[ROUNDS - 1]);
    println!("{name:<24} {:>7.1} ns  ({least:.1} to {most:.1})", rounds[ROUNDS / 2]);
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let entries: u64 = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let bytes: usize = arguments.next().map_or(Ok(32), |text| text.parse())?;
    let memory_bytes = (entries * (bytes as u64 + 200) * 2).max(64 << 20);
    let how = Create { memory_bytes, mode: 0o600, evict: Evict::None };
    let mut store = Store::anonymous(&how)?;
    let value = vec![b'v'; bytes];
    let mut map = HashMap::new();
    let begin = Instant::now();
    for number in 0..entries {
        store.set(&key(number), &value, &Set::default())?;
    }
    println!(
        "fill store               {:>7.1} ns",
        begin.elapsed().as_nanos() as f64 / entries as f64
    );
    let begin = Instant::now();
    for number in 0..entries {
        map.insert(key(number).to_vec(), value.clone());
    }
    println!(
        "fill map                 {:>7.1} ns",
        begin.elapsed().as_nanos() as f64 / entries as f64
    );
    let stat = store.stat();
    println!("bytes an entry           {:>7.1}", stat.used_bytes as f64 / entries as f64);
    let mut out = Vec::new();
    measure("map get", entries, |key| {
        out.clear();
        out.extend_from_slice(&map[&key[..]]);
        black_box(&out);
    });
    measure("store get", entries, |key| {
        out.clear();
        black_box(store.get(key, &mut out).expect("a whole store"));
    });
    measure("store get, absent", entries, |key| {
        let mut key = *key;
        key[0] = b'x';
        black_box(store.get(&key, &mut out).expect("a whole store"));
    });
    measure("store set, replacing", entries, |key| {
        black_box(store.set(key, &value, &Set::default()).expect("room"));
    });
    measure("map insert, replacing", entries, |key| {
        black_box(map.insert(key.to_vec(), value.clone()));
    });
    measure("store increment, one", entries, |_| {
        black_box(store.increment(b"count", 1).expect("a number"));
    });
    Ok(())
}
