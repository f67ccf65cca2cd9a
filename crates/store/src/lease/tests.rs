//! Leases that outlive what they lease, and holders that die.

use super::*;
use crate::store::Store;
use crate::{Create, Evict, Set, Verified};

const ALWAYS: Set =
    Set { condition: crate::Condition::Always, expiry: crate::Expiry::Clear, flags: 0 };

fn small(evict: Evict) -> Store {
    Store::anonymous(&Create { memory_bytes: 1 << 20, mode: 0o600, evict }).unwrap()
}

/// Lets `store` take all other sessions of this process for dead.
fn bury_others(store: &mut Store) {
    store.session.me.presumed_dead = vec![std::process::id()];
}

/// What is proven of the store after a change that nothing hinders.
#[track_caller]
fn proven(store: &mut Store) -> Verified {
    store.tidy().unwrap();
    store.verify().unwrap()
}

#[test]
fn a_lease_shows_what_was_although_the_key_is_set_and_deleted() {
    let mut store = small(Evict::None);
    let empty = store.stat().used_bytes;
    for key in [&b"k"[..], &[7; 100]] {
        store.set(key, &[1; 5000], &ALWAYS).unwrap();
        let one = store.lease(key).unwrap().unwrap();
        store.set(key, &[2; 5000], &ALWAYS).unwrap();
        let two = store.lease(key).unwrap().unwrap();
        assert!(store.delete(key).unwrap());
        store.set(b"other", &[3; 5000], &ALWAYS).unwrap();
        assert_eq!((&one[..], &two[..]), (&[1; 5000][..], &[2; 5000][..]));
        assert_eq!((one.meta().bytes, proven(&mut store).pending), (5000, 2));
        drop(one);
        assert_eq!(proven(&mut store).pending, 1);
        assert_eq!(&two[..], [2; 5000]);
        drop(two);
        store.clear().unwrap();
        assert_eq!((proven(&mut store).pending, store.stat().used_bytes), (0, empty));
    }
}

#[test]
fn the_last_lease_of_several_frees() {
    let mut store = small(Evict::None);
    let mut other = store.try_clone().unwrap();
    store.set(b"k", &[1; 5000], &ALWAYS).unwrap();
    let leases =
        [&mut store, &mut other].map(|store| store.lease(b"k").unwrap().expect("it was set"));
    store.delete(b"k").unwrap();
    for (lease, left) in leases.into_iter().zip([1, 0]) {
        assert_eq!(&lease[..], [1; 5000]);
        drop(lease);
        assert_eq!(proven(&mut store).pending, left);
    }
}

#[test]
fn a_small_value_is_copied_and_pins_nothing() {
    let mut store = small(Evict::None);
    store.set(b"k", b"small", &ALWAYS).unwrap();
    let lease = store.lease(b"k").unwrap().unwrap();
    store.delete(b"k").unwrap();
    assert_eq!((&lease[..], proven(&mut store).pending), (&b"small"[..], 0));
    assert!(store.lease(b"k").unwrap().is_none());
}

#[test]
fn leases_of_the_dead_end() {
    let (mut living, mut dead) = (small(Evict::None), Vec::new());
    living.set(b"k", &[1; 5000], &ALWAYS).unwrap();
    for is_retired_first in [true, false] {
        let mut holder = living.try_clone().unwrap();
        let lease = holder.lease(b"k").unwrap().unwrap();
        if is_retired_first {
            living.set(b"k", &[2; 5000], &ALWAYS).unwrap();
            assert_eq!(proven(&mut living).pending, 1);
        }
        dead.push((holder, lease));
        bury_others(&mut living);
        living.tidy().unwrap();
        living.session.me.presumed_dead.clear();
        living.set(b"k", &[3; 5000], &ALWAYS).unwrap();
        let proof = proven(&mut living);
        assert_eq!((proof.pending, proof.payloads, living.stat().participants.len()), (0, 1, 1));
    }
    std::mem::forget(dead);
}

#[test]
fn a_writer_that_dies_leaves_its_leased_payload_to_the_lease() {
    let (mut dead, mut living) = (small(Evict::None), None);
    let lease = {
        dead.set(b"k", &[1; 5000], &ALWAYS).unwrap();
        let store = living.insert(dead.try_clone().unwrap());
        store.lease(b"k").unwrap().unwrap()
    };
    let living = living.as_mut().unwrap();
    // The dead one has committed, and did not come to free what it retired.
    let sought = Sought::new(dead.session.seed, b"k");
    let shards = [dead.session.plan.shard_of(sought.hash)];
    dead.session.hold(&shards).unwrap();
    dead.session.change(&shards, &[(sought, crate::Act::Remove)]).unwrap();
    bury_others(living);
    living.tidy().unwrap();
    living.session.me.presumed_dead.clear();
    assert_eq!((proven(living).pending, &lease[..]), (1, &[1; 5000][..]));
    drop(lease);
    assert_eq!(proven(living).pending, 0);
    std::mem::forget(dead);
}

#[test]
fn a_lease_outlives_its_session() {
    let mut store = small(Evict::None);
    store.set(b"k", &[1; 5000], &ALWAYS).unwrap();
    let lease = store.try_clone().unwrap().lease(b"k").unwrap().unwrap();
    store.delete(b"k").unwrap();
    assert_eq!((store.stat().participants.len(), proven(&mut store).pending), (2, 1));
    assert_eq!(&lease[..], [1; 5000]);
    drop(lease);
    assert_eq!((store.stat().participants.len(), proven(&mut store).pending), (1, 0));
}

#[test]
fn a_session_has_so_many_leases_and_no_more() {
    let mut store = small(Evict::None);
    store.set(b"k", &[1; 100], &ALWAYS).unwrap();
    let mut leases: Vec<_> = (0..512).map(|_| store.lease(b"k").unwrap().unwrap()).collect();
    let error = store.lease(b"k").unwrap_err();
    assert_eq!(error.to_string(), "all 512 leases of this session are taken, drop one first");
    leases.remove(70);
    leases.push(store.lease(b"k").unwrap().unwrap());
    store.delete(b"k").unwrap();
    assert_eq!(proven(&mut store).pending, 1);
    drop(leases);
    assert_eq!(proven(&mut store).pending, 0);
}

#[test]
fn a_leased_value_is_not_evicted_for_room_it_would_not_give() {
    let mut store = small(Evict::Policy);
    store.set(b"leased", &[9; 100_000], &ALWAYS).unwrap();
    let lease = store.lease(b"leased").unwrap().unwrap();
    for number in 0..300u32 {
        store.set(&number.to_le_bytes(), &[1; 20_000], &ALWAYS).unwrap();
    }
    assert!(store.stat().evictions > 200);
    assert_eq!(&lease[..], [9; 100_000]);
    store.clear().unwrap();
    let proof = proven(&mut store);
    assert_eq!((proof.entries, proof.pending), (0, 1));
    drop(lease);
    assert_eq!(proven(&mut store).pending, 0);
}

#[test]
fn what_the_dead_lease_is_room_for_the_living() {
    let mut store = small(Evict::None);
    let mut holder = store.try_clone().unwrap();
    store.set(b"k", &[1; 300_000], &ALWAYS).unwrap();
    let lease = holder.lease(b"k").unwrap().unwrap();
    store.delete(b"k").unwrap();
    store.set(b"l", &[2; 300_000], &ALWAYS).unwrap();
    assert!(matches!(store.set(b"m", &[3; 300_000], &ALWAYS), Err(Error::Full { .. })));
    bury_others(&mut store);
    store.set(b"m", &[3; 300_000], &ALWAYS).unwrap();
    std::mem::forget((holder, lease));
}
