//! A put of a large value, one for each line of standard input: for whoever measures it in turn
//! with another store.
//!
//! ```text
//! standard input        standard output
//! set                   5912345          nanoseconds: a copy into the store
//! seal                  5712345          room is reserved, filled with a copy, and sealed
//! fill                  3912345          room is reserved, the value made in it, and sealed
//! make                  3912345          the value is made in the caller's own memory
//! get                   5612345          a copy out of it
//! lease                 147              read in place
//! ```
//!
//! `cargo run --release -p morecore-store --example puts [BYTES]`; see `bench/puts.py`.

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on says so and ends")]

use std::hint::black_box;
use std::io::{BufRead, Write};
use std::time::Instant;

use morecore_store::{Create, Evict, Set, Store};

/// As large as the values of those who share arrays.
const BYTES: usize = 100_000_000;

fn main() {
    let bytes = std::env::args().nth(1).map_or(BYTES, |bytes| bytes.parse().unwrap());
    // Room for the old value and the new one, and a third that a lease may keep.
    let memory_bytes = (bytes as u64 * 4).max(1 << 30);
    let how = Create { memory_bytes, mode: 0o600, evict: Evict::None };
    let mut store = Store::memfd(&how).unwrap();
    let from = vec![7u8; bytes];
    let mut to = Vec::with_capacity(bytes);
    to.extend_from_slice(&from);
    for line in std::io::stdin().lock().lines() {
        let begin = Instant::now();
        match line.unwrap().as_str() {
            "set" => _ = store.set(b"k", black_box(&from), &Set::default()).unwrap(),
            "seal" => {
                let mut room = store.reserve(b"k", bytes as u64).unwrap();
                room.copy_from_slice(black_box(&from));
                room.seal(&Set::default()).unwrap();
            }
            "fill" => {
                let mut room = store.reserve(b"k", bytes as u64).unwrap();
                room.fill(black_box(7));
                room.seal(&Set::default()).unwrap();
            }
            "make" => to.fill(black_box(7)),
            "get" => {
                to.clear();
                black_box(store.get(b"k", &mut to).unwrap().unwrap());
            }
            "lease" => drop(black_box(store.lease(b"k").unwrap().unwrap())),
            other => panic!("no call is named {other:?}"),
        }
        println!("{}", begin.elapsed().as_nanos());
        std::io::stdout().flush().unwrap();
    }
}
