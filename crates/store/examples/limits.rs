//! Question: what disturbs a reader, what does the first scan after attaching cost, and how long is
//! the longest set while a store grows?
//! Unit: nanoseconds a read, with the slow-down; milliseconds a scan; microseconds a set.
//!
//! ```text
//! reader of odd keys | alone | beside one who counts | a writer of a map | a writer of even keys
//! ```
//!
//! The two in the middle are what processors take from each other, whoever works on them.
//!
//! `cargo run --release -p morecore-store --example limits`

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on says so and ends")]

use std::collections::HashMap;
use std::hint::black_box;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use morecore_store::{Create, Evict, Name, Set, Store};

/// Items that are read and written: more than the processor's caches hold.
const ITEMS: u64 = 1_000_000;

/// Reads in a sample: some tenths of a second.
const READS: u64 = 1_000_000;

/// Samples of each kind, in turn.
const ROUNDS: usize = 7;

/// Items of the store that grows.
const GROWN: u64 = 10_000_000;

/// What one call of [`Store::tidy`] makes huge pages of.
const STRETCH_BYTES: u64 = 8 << 20;

fn main() {
    reads_beside_a_writer();
    for value_bytes in [1 << 10, 100 << 10, 10 << 20] {
        first_scan(value_bytes);
    }
    longest_sets();
}

fn create(memory_bytes: u64) -> Create {
    Create { memory_bytes, mode: 0o600, evict: Evict::None }
}

fn tidy(store: &mut Store) {
    for _ in 0..=store.memory_bytes() / STRETCH_BYTES {
        store.tidy().unwrap();
    }
}

/// Who works while the reader reads.
#[derive(Clone, Copy)]
enum Beside {
    Nobody,
    Counter,
    Map,
    Same,
}

impl Beside {
    const ALL: [(Beside, &'static str); 4] = [
        (Beside::Nobody, "alone"),
        (Beside::Counter, "beside one who counts"),
        (Beside::Map, "beside a writer of a map"),
        (Beside::Same, "beside a writer of ours"),
    ];
}

fn reads_beside_a_writer() {
    let mut store = Store::anonymous(&create(1 << 30)).unwrap();
    let mut map = HashMap::new();
    for number in 0..ITEMS {
        store.set(&number.to_be_bytes(), &[7; 32], &Set::default()).unwrap();
        map.insert(number, Box::new([7u8; 32]));
    }
    tidy(&mut store);
    let mut samples: [Vec<f64>; Beside::ALL.len()] = Default::default();
    for _ in 0..ROUNDS {
        for ((beside, _), samples) in Beside::ALL.into_iter().zip(&mut samples) {
            samples.push(read_ns(&mut store, &mut map, beside));
        }
    }
    let mut alone = 0.0;
    for ((_, name), mut sample) in Beside::ALL.into_iter().zip(samples) {
        sample.sort_by(f64::total_cmp);
        let (least, median, most) = (sample[0], sample[ROUNDS / 2], sample[ROUNDS - 1]);
        alone = if alone == 0.0 { median } else { alone };
        let slower = (median / alone - 1.0) * 100.0;
        println!("read {name:24} {median:6.1} ns ({least:.1} to {most:.1}), {slower:+.0} %");
    }
}

fn read_ns(store: &mut Store, map: &mut HashMap<u64, Box<[u8; 32]>>, beside: Beside) -> f64 {
    let mut writer = store.try_clone().unwrap();
    let is_over = AtomicBool::new(false);
    let mut chance = fastrand::Rng::with_seed(1);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut chance = fastrand::Rng::with_seed(2);
            let mut write = |number: u64| match beside {
                Beside::Nobody => {}
                Beside::Counter => _ = black_box(number),
                Beside::Map => drop(map.insert(number, Box::new([8; 32]))),
                Beside::Same => {
                    writer.set(&number.to_be_bytes(), &[8; 32], &Set::default()).unwrap();
                }
            };
            while !matches!(beside, Beside::Nobody) && !is_over.load(Ordering::Relaxed) {
                write(chance.u64(..ITEMS / 2) * 2);
            }
        });
        let mut value = Vec::with_capacity(32);
        let begin = Instant::now();
        for _ in 0..READS {
            value.clear();
            let number = chance.u64(..ITEMS / 2) * 2 + 1;
            black_box(store.get(&number.to_be_bytes(), &mut value).unwrap());
        }
        let ns = begin.elapsed().as_nanos() as f64 / READS as f64;
        is_over.store(true, Ordering::Relaxed);
        ns
    })
}

/// Removes a store of this name in the end, whatever happens.
struct Removed(Name);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = Store::remove(&self.0);
    }
}

/// Fills a store with 1 GiB, attaches once more, and scans what is new to that mapping.
fn first_scan(value_bytes: usize) {
    let name: Name = format!("limits-{}", process::id()).parse().unwrap();
    let items = (1 << 30) / value_bytes as u64;
    let mut store = Store::create(&name, &create(3 << 30)).unwrap();
    let _removed = Removed(name.clone());
    let value = vec![7u8; value_bytes];
    for number in 0..items {
        store.set(&number.to_be_bytes(), &value, &Set::default()).unwrap();
    }
    tidy(&mut store);
    let begin = Instant::now();
    let mut attached = Store::attach(&name).unwrap();
    let attach_ms = begin.elapsed().as_secs_f64() * 1e3;
    let begin = Instant::now();
    let (mut cursor, mut seen) = (0, 0);
    loop {
        cursor = attached.scan(cursor, 1000, |_, _| seen += 1).unwrap();
        if cursor == 0 {
            break;
        }
    }
    let scan_ms = begin.elapsed().as_secs_f64() * 1e3;
    assert_eq!(seen, items);
    print!("attach {attach_ms:.3} ms, ");
    println!("first scan of {items} values of {value_bytes} B {scan_ms:.2} ms");
}

/// Sets one item after the other in a store that begins empty.
fn longest_sets() {
    let mut store = Store::anonymous(&create(6 << 30)).unwrap();
    // Not of zeroes: its own pages are not to be touched for the first time within a set.
    let mut times = vec![1u32; GROWN as usize];
    for number in 0..GROWN {
        let begin = Instant::now();
        store.set(&number.to_be_bytes(), &[7; 32], &Set::default()).unwrap();
        times[number as usize] = begin.elapsed().as_nanos() as u32;
    }
    times.sort_unstable();
    let at = |part: f64| f64::from(times[(GROWN as f64 * part) as usize]) / 1e3;
    let (median, most) = (at(0.5), f64::from(times[times.len() - 1]) / 1e3);
    let (common, rare) = (at(0.99), at(0.9999));
    print!("sets of {GROWN} new items: median {median:.2} us, 99 % {common:.2}, ");
    println!("99.99 % {rare:.1}, longest {most:.0}");
}
