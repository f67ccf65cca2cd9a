//! The promises of the store, from outside.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so and ends")]

mod basics;
mod deaths;
mod eviction;
mod expiry;
mod files;
mod give_back;
mod hostile;
mod leases;
mod many;
mod model;
mod participants;
mod room;
mod segments;
mod stock;
mod storm;
mod transactions;

use morecore_store::{Create, Evict, Set, Store};

/// A small store: the least that may be.
fn small(evict: Evict) -> Store {
    Store::anonymous(&Create { memory_bytes: 1 << 20, mode: 0o600, evict }).unwrap()
}

/// Proves a store whole, or says all that is wrong.
#[track_caller]
fn prove(store: &mut Store) -> morecore_store::Verified {
    store.verify().unwrap_or_else(|found| {
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        panic!("{}", found.join("\n"))
    })
}

fn value_of(store: &mut Store, key: &[u8]) -> Option<Vec<u8>> {
    let mut value = Vec::new();
    store.get(key, &mut value).unwrap().map(|_| value)
}

/// A source of chance whose seed is printed, and can be given as SEED.
fn chance() -> fastrand::Rng {
    let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

const ALWAYS: Set = Set {
    condition: morecore_store::Condition::Always,
    expiry: morecore_store::Expiry::Clear,
    flags: 0,
};
