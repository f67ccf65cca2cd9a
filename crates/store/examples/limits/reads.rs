//! What a reader of odd keys loses to whoever works beside it.
//!
//! ```text
//!   alone | one who counts | a writer of a map | a writer of another store | a writer of even keys
//! ```
//!
//! The processors of a machine take caches and memory from each other, whoever works on them: so
//! much the middle ones tell. A writer of another store does all that a writer of this one does,
//! and shares no line with the reader: the last two by one another say what shared lines cost.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Instant;

use morecore_store::{Set, Store};

use crate::{create, tidy};

/// Items that are read and written: more than the processor's caches hold.
const ITEMS: u64 = 1_000_000;

/// Reads in a sample: some ten milliseconds, less than a scheduler's turn.
const READS: u64 = 40_000;

/// Samples of each kind, in turn.
const ROUNDS: usize = 100;

/// Who works while the reader reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nobody,
    Counter,
    Map,
    Other,
    Same,
}

impl Beside {
    const ALL: [(Beside, &'static str); 5] = [
        (Beside::Nobody, "alone"),
        (Beside::Counter, "beside one who counts"),
        (Beside::Map, "beside a writer of a map"),
        (Beside::Other, "beside a writer of another store"),
        (Beside::Same, "beside a writer of this store"),
    ];
}

/// All that can be written to.
struct Written {
    this: Store,
    other: Store,
    map: HashMap<u64, Box<[u8; 32]>>,
}

impl Written {
    fn write(&mut self, beside: Beside, number: u64) {
        let set = |store: &mut Store| {
            store.set(&number.to_be_bytes(), &[8; 32], &Set::default()).unwrap();
        };
        match beside {
            Beside::Nobody => {}
            Beside::Counter => _ = black_box(number),
            Beside::Map => drop(self.map.insert(number, Box::new([8; 32]))),
            Beside::Other => set(&mut self.other),
            Beside::Same => set(&mut self.this),
        }
    }
}

pub(crate) fn beside_a_writer() {
    let mut store = filled();
    let map = (0..ITEMS).map(|number| (number, Box::new([7; 32]))).collect();
    let mut written = Written { this: store.try_clone().unwrap(), other: filled(), map };
    let mut samples: [Vec<f64>; Beside::ALL.len()] = Default::default();
    let mut chance = fastrand::Rng::with_seed(1);
    for _ in 0..ROUNDS {
        for ((beside, _), samples) in Beside::ALL.into_iter().zip(&mut samples) {
            samples.push(read_ns(&mut store, &mut written, beside, &mut chance));
        }
    }
    for ((_, name), samples) in Beside::ALL.into_iter().zip(&samples) {
        let [low, median, high] = quartiles(samples.iter().copied());
        println!("read {name:32} {median:6.1} ns ({low:.1} to {high:.1})");
    }
    for (ours, theirs) in [(2, 0), (3, 0), (4, 0), (4, 2), (4, 3)] {
        let ratios = samples[ours].iter().zip(&samples[theirs]).map(|(ours, theirs)| ours / theirs);
        let [low, median, high] = quartiles(ratios);
        let (ours, theirs) = (Beside::ALL[ours].1, Beside::ALL[theirs].1);
        println!("{ours} by {theirs}: {median:.3} ({low:.3} to {high:.3})");
    }
}

fn filled() -> Store {
    let mut store = Store::anonymous(&create(1 << 30)).unwrap();
    for number in 0..ITEMS {
        store.set(&number.to_be_bytes(), &[7; 32], &Set::default()).unwrap();
    }
    tidy(&mut store);
    store
}

/// The lower quartile, the median and the upper one.
fn quartiles(samples: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut samples: Vec<f64> = samples.collect();
    samples.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| samples[samples.len() * quarter / 4])
}

fn read_ns(
    store: &mut Store,
    written: &mut Written,
    beside: Beside,
    chance: &mut fastrand::Rng,
) -> f64 {
    let (is_under_way, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
    let (is_under_way, is_over) = (&is_under_way, &is_over);
    let mut seeds = chance.fork();
    thread::scope(|scope| {
        scope.spawn(move || {
            is_under_way.store(true, Relaxed);
            while beside != Beside::Nobody && !is_over.load(Relaxed) {
                written.write(beside, seeds.u64(..ITEMS / 2) * 2);
            }
        });
        while !is_under_way.load(Relaxed) {
            thread::yield_now();
        }
        let mut value = Vec::with_capacity(32);
        let begin = Instant::now();
        for _ in 0..READS {
            value.clear();
            let number = chance.u64(..ITEMS / 2) * 2 + 1;
            black_box(store.get(&number.to_be_bytes(), &mut value).unwrap());
        }
        let ns = begin.elapsed().as_nanos() as f64 / READS as f64;
        is_over.store(true, Relaxed);
        ns
    })
}
