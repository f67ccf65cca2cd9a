//! Leases of several processes, which are killed while they hold them.
//!
//! ```text
//!   holders   lease key n, say so --> read it over and over: always what it was when it was leased
//!   writer    replaces and deletes every key meanwhile; kills one holder after the other
//! ```
//!
//! What is leased by anyone alive is never freed; what nobody leases any more is free after the
//! next change, and what its last holder was killed over while freeing it, after the next tidying.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::Instant;

use fastrand::Rng;
use morecore_store::{Create, Evict, Lease, Store};

use crate::deaths::{Child, SOON, shared_words};
use crate::{ALWAYS, chance, prove};

const HOLDERS: usize = 4;

/// The keys, each leased by every holder at once.
const KEYS: usize = 6;

/// A value as large as a lease is for; each byte says which one it is.
fn value(key: usize, turn: u64) -> Vec<u8> {
    vec![(key as u64 * 31 + turn) as u8; 20_000 + key * 1_000]
}

/// A holder: it leases all keys, says so, and reads what it leased until it is killed. Now and then
/// it drops one, and leases what the key has now.
fn hold(
    store: &mut Store,
    held: &mut Vec<(usize, Lease, Vec<u8>)>,
    told: &AtomicU64,
    by: &mut Rng,
) {
    while held.len() < KEYS {
        let key = held.len();
        let lease = store.lease(&[key as u8]).unwrap().expect("it is only ever replaced");
        let seen = lease.to_vec();
        assert!(seen.iter().all(|&byte| byte == seen[0]), "a torn value was leased");
        held.push((key, lease, seen));
        if held.len() == KEYS {
            told.store(1, Release);
        }
    }
    for (key, lease, seen) in held.iter() {
        assert!(lease[..] == seen[..], "what is leased of key {key} changed");
    }
    if by.u32(..20) == 0 {
        held.pop();
    }
}

fn start(store: &mut Store, told: &'static AtomicU64, seed: u64) -> Child {
    told.store(0, Release);
    let (mut held, mut by) = (Vec::new(), Rng::with_seed(seed));
    let child = Child::start(store, move |store| hold(store, &mut held, told, &mut by));
    child.wait_until(|| told.load(Acquire) == 1);
    child
}

#[test]
fn holders_of_leases_are_killed_and_nothing_is_freed_early_or_kept() {
    let mut chance = chance();
    let how = Create { memory_bytes: 16 << 20, mode: 0o600, evict: Evict::None };
    let mut store = Store::anonymous(&how).unwrap();
    let fill = |store: &mut Store, turn: u64| {
        for key in 0..KEYS {
            store.set(&[key as u8], &value(key, turn), &ALWAYS).unwrap();
        }
    };
    fill(&mut store, 0);
    let bytes_of_one = store.stat().used_bytes;
    let told = shared_words(HOLDERS);
    let mut holders: Vec<Option<Child>> =
        told.iter().map(|told| Some(start(&mut store, told, chance.u64(..)))).collect();
    for turn in 1..60 {
        // What they lease is replaced, several times over, so that its memory would be used again.
        for _ in 0..3 {
            fill(&mut store, turn);
        }
        let number = chance.usize(..HOLDERS);
        // A holder that found something wrong has ended by itself, and was not killed.
        holders[number].take().expect("there is always one").kill();
        fill(&mut store, turn);
        store.tidy().unwrap();
        // One who lives may be about to free what it let go of; what the dead claimed would stay.
        let begin = Instant::now();
        while prove(&mut store).claimed != 0 {
            assert!(begin.elapsed() < SOON, "turn {turn}: something of the dead is left");
            std::thread::yield_now();
        }
        holders[number] = Some(start(&mut store, &told[number], chance.u64(..)));
    }
    let pending = prove(&mut store).pending;
    assert!(pending > 0, "nothing that is leased was ever replaced");
    holders.into_iter().flatten().for_each(Child::kill);
    store.tidy().unwrap();
    fill(&mut store, 60);
    let verified = prove(&mut store);
    assert_eq!((verified.claimed, verified.pending), (0, 0), "a lease of the dead is left");
    assert_eq!(store.stat().used_bytes, bytes_of_one, "memory of the dead is left");
}
