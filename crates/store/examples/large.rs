//! Question: what do large values cost: set, reserve and seal, get, lease?
//! Unit: milliseconds for a value of 100 MB (nanoseconds for a lease); medians of some rounds, with
//! the least and the most. Beside it: the same copy in private memory that is warm.
//!
//! `cargo run --release -p morecore-store --example large`

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on says so and ends")]

use std::hint::black_box;
use std::time::Instant;

use morecore_store::{Create, Evict, Set, Store};

/// As large as the values of those who share arrays.
const BYTES: usize = 100_000_000;

const ROUNDS: usize = 9;

fn main() {
    let how = Create { memory_bytes: 1 << 30, mode: 0o600, evict: Evict::None };
    let mut store = Store::memfd(&how).unwrap();
    let from = vec![7u8; BYTES];
    let mut to = vec![1u8; BYTES];
    show("copy in private memory", || to.copy_from_slice(black_box(&from)));
    // Both places that replacing takes turns with are touched first: warm pages are what counts.
    for _ in 0..2 {
        store.set(b"k", &from, &Set::default()).unwrap();
    }
    show("set", || {
        black_box(store.set(b"k", black_box(&from), &Set::default()).unwrap());
    });
    show("reserve, copy, seal", || {
        let mut room = store.reserve(b"k", BYTES as u64).unwrap();
        room.copy_from_slice(black_box(&from));
        room.seal(&Set::default()).unwrap();
    });
    show("reserve, seal", || {
        black_box(store.reserve(b"k", BYTES as u64).unwrap().seal(&Set::default()).unwrap());
    });
    store.set(b"k", &from, &Set::default()).unwrap();
    let mut value = Vec::with_capacity(BYTES);
    show("get", || {
        value.clear();
        store.get(b"k", &mut value).unwrap();
    });
    let leases = 100_000;
    let begin = Instant::now();
    for _ in 0..leases {
        drop(black_box(store.lease(b"k").unwrap()));
    }
    let each = begin.elapsed().as_nanos() as f64 / f64::from(leases);
    println!("lease and drop             {each:8.0} ns");
}

fn show(what: &str, mut call: impl FnMut()) {
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begin = Instant::now();
            call();
            begin.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let (least, most) = (times[0], times[ROUNDS - 1]);
    println!("{what:24} {:8.3} ms ({least:.3} to {most:.3})", times[ROUNDS / 2]);
}
