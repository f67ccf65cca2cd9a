//! Question: what disturbs a reader, what does the first scan after attaching cost, and how long is
//! the longest set while a store grows?
//! Unit: nanoseconds a read, with the slow-down; milliseconds a scan; microseconds a set.
//!
//! `cargo run --release -p morecore-store --example limits [-- reads | scans | sets [ITEMS]]`

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on says so and ends")]

mod reads;
mod scans;
mod sets;

use morecore_store::{Create, Evict, Store};

/// Items of the store that grows, unless told.
const GROWN: u64 = 10_000_000;

/// What one call of [`Store::tidy`] makes huge pages of.
const STRETCH_BYTES: u64 = 8 << 20;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_wanted = |part| arguments.first().is_none_or(|wanted| wanted == part);
    if is_wanted("reads") {
        reads::beside_a_writer();
    }
    if is_wanted("scans") {
        for value_bytes in [1 << 10, 100 << 10, 10 << 20] {
            scans::first_scan(value_bytes);
        }
    }
    if is_wanted("sets") {
        let items = arguments.get(1).map_or(GROWN, |items| items.parse().unwrap());
        sets::longest_sets(items);
    }
}

fn create(memory_bytes: u64) -> Create {
    Create { memory_bytes, mode: 0o600, evict: Evict::None }
}

fn tidy(store: &mut Store) {
    for _ in 0..=store.memory_bytes() / STRETCH_BYTES {
        store.tidy().unwrap();
    }
}
