//! What has expired goes without anyone reading it, and first of all when room is needed.

use morecore_store::{Create, Evict, Expiry, Set, Store};

use crate::{ALWAYS, chance, prove};

/// When all begins, in unix milliseconds.
const BEGIN_MS: u64 = 1_790_000_000_000;

/// How long after an expiry its entry is gone at the latest, when somebody writes.
const LATE_MS: u64 = 10_000;

fn store(memory_bytes: u64, evict: Evict) -> Store {
    let mut store = Store::anonymous(&Create { memory_bytes, mode: 0o600, evict }).unwrap();
    store.set_now(Some(BEGIN_MS));
    store
}

fn expiring(at: u64) -> Set {
    Set { expiry: Expiry::At(at), ..Set::default() }
}

/// Entries of both kinds, of which some expire in the next second.
fn fill(store: &mut Store, count: u32, expires: impl Fn(u32) -> bool) -> u64 {
    let mut expiring_count = 0;
    for number in 0..count {
        let value = vec![7; if number % 2 == 0 { 20 } else { 300 }];
        if expires(number) {
            let at = BEGIN_MS + 1 + u64::from(number) % 1000;
            store.set(&number.to_le_bytes(), &value, &expiring(at)).unwrap();
            expiring_count += 1;
        } else {
            store.set(&number.to_le_bytes(), &value, &ALWAYS).unwrap();
        }
    }
    expiring_count
}

#[test]
fn ordinary_writes_give_the_memory_of_the_expired_back() {
    let mut store = store(64 << 20, Evict::None);
    let empty = store.stat().used_bytes;
    let count = fill(&mut store, 50_000, |_| true);
    let full = store.stat().used_bytes;
    store.set_now(Some(BEGIN_MS + 1000 + LATE_MS));
    let mut writes = 0u32;
    while store.stat().expired < count {
        store.set(b"another", b"value", &ALWAYS).unwrap();
        writes += 1;
        assert!(writes < 100_000, "{:?}", store.stat());
    }
    let after = store.stat().used_bytes;
    eprintln!("{count} expired within {writes} writes of one key: {full} to {after} bytes");
    assert_eq!((store.len(), store.stat().evictions), (1, 0));
    // Groups stay; every payload is free.
    assert!(after - empty < (full - empty) / 2, "{empty} {after} {full}");
    prove(&mut store);
}

#[test]
fn to_tidy_drops_what_has_expired_and_nothing_else() {
    let mut store = store(64 << 20, Evict::None);
    let count = fill(&mut store, 50_000, |number| number % 5 == 0);
    store.tidy().unwrap();
    assert_eq!((store.len(), store.stat().expired), (50_000, 0));
    store.set_now(Some(BEGIN_MS + 1000 + LATE_MS));
    let mut calls = 0;
    while store.stat().expired < count {
        store.tidy().unwrap();
        calls += 1;
        assert!(calls < 200, "{:?}", store.stat());
    }
    assert_eq!(store.len(), 50_000 - count);
    prove(&mut store);
    eprintln!("{count} of 50000 had expired: gone after {calls} calls");
}

#[test]
fn what_has_expired_is_counted_for_hardly_more_than_a_second_where_somebody_tidies() {
    /// A server tidies so many times a second.
    const CALLS: u64 = 10;
    let mut store = store(64 << 20, Evict::Policy);
    // A second's worth for each group, and fewer than eight in any second.
    for number in 0..60_000_u32 {
        let at = BEGIN_MS + 1 + u64::from(number) % 60_000;
        store.set(&number.to_le_bytes(), b"v", &expiring(at)).unwrap();
    }
    let mut most = 0;
    for call in 0..70 * CALLS {
        let now = BEGIN_MS + call * 1000 / CALLS;
        store.set_now(Some(now));
        store.tidy().unwrap();
        let alive = 60_000_u64.saturating_sub(now - BEGIN_MS);
        most = most.max(store.len() - alive);
    }
    eprintln!("at most {most} were counted that had expired, of 1000 a second");
    assert!(most <= 1500, "{most}");
    assert_eq!(store.len(), 0);
    prove(&mut store);
}

#[test]
fn more_than_there_is_time_for_is_gone_through_in_turn() {
    let mut store = store(1 << 30, Evict::Policy);
    for number in 0..1_000_000_u32 {
        store.set(&number.to_le_bytes(), b"v", &expiring(BEGIN_MS + 1)).unwrap();
        // One in each stretch that expires again and again keeps the first of them due.
        if number % 64 == 0 {
            let at = BEGIN_MS + 2000 + u64::from(number) % 100_000;
            store.set(&(number | 1 << 31).to_le_bytes(), b"v", &expiring(at)).unwrap();
        }
    }
    let mut calls = 0;
    while store.stat().expired < 1_000_000 {
        calls += 1;
        store.set_now(Some(BEGIN_MS + 2000 + 100 * calls));
        store.tidy().unwrap();
        assert!(calls < 2000, "{:?}", store.stat());
    }
    eprintln!("a million were gone after {calls} calls");
}

#[test]
fn the_expired_go_before_anything_is_evicted() {
    let mut store = store(4 << 20, Evict::Policy);
    let mut number = 0u32;
    while store.stat().evictions == 0 {
        let how = if number.is_multiple_of(2) { expiring(BEGIN_MS + 1000) } else { ALWAYS };
        store.set(&number.to_le_bytes(), &[1; 500], &how).unwrap();
        number += 1;
    }
    let before = store.stat();
    // Just now: nobody needs to be late when there is no room.
    store.set_now(Some(BEGIN_MS + 1000));
    for more in 0..before.entries as u32 / 3 {
        store.set(&(1 << 20 | more).to_le_bytes(), &[2; 500], &ALWAYS).unwrap();
    }
    let after = store.stat();
    assert!(after.evictions - before.evictions <= before.entries / 100, "{before:?}\n{after:?}");
    prove(&mut store);
}

#[test]
fn expiries_that_come_and_change_are_never_forgotten() {
    let mut chance = chance();
    let mut store = store(2 << 20, Evict::Policy);
    let mut now = BEGIN_MS;
    for step in 0..20_000u32 {
        let key = chance.u32(..3000).to_le_bytes();
        let most = 1 << chance.u32(4..18);
        let at = now + chance.u64(..most);
        let bytes = chance.usize(..400);
        match chance.u32(..8) {
            0 => drop(store.delete(&key).unwrap()),
            1 => store.update(&key, |_| (morecore_store::Change::Expire(Some(at)), ())).unwrap(),
            2 => drop(store.set(&key, &vec![1; bytes], &ALWAYS).unwrap()),
            3 => store.tidy().unwrap(),
            _ => drop(store.set(&key, &vec![1; bytes], &expiring(at)).unwrap()),
        }
        now += chance.u64(..40);
        store.set_now(Some(now));
        if step % 1000 == 0 {
            prove(&mut store);
        }
    }
    store.set_now(Some(now + (1 << 18) + LATE_MS));
    for _ in 0..20 {
        store.tidy().unwrap();
    }
    let live = (0..3000u32).filter(|key| store.peek(&key.to_le_bytes()).unwrap().is_some());
    // All that is left is live: nothing that has expired was overlooked.
    assert_eq!(live.count() as u64, store.len());
}

#[test]
fn the_memory_of_a_store_is_all_that_it_ever_takes() {
    let memory_bytes = 8 << 20;
    let mut store = store(memory_bytes, Evict::Policy);
    let mut chance = chance();
    for number in 0..60_000u32 {
        let bytes = [8, 60, 500, 3000][chance.usize(..4)];
        store.set(&number.to_le_bytes(), &vec![1; bytes], &ALWAYS).unwrap();
    }
    let (base, bytes) = store.memory();
    let mut resident = vec![0u8; bytes as usize / 4096];
    // SAFETY: the segment is mapped, and there is a byte for each of its pages.
    let failed =
        unsafe { libc::mincore(base.cast_mut().cast(), bytes as usize, resident.as_mut_ptr()) };
    assert_eq!(failed, 0);
    let resident = resident.iter().filter(|&&page| page & 1 == 1).count() as u64 * 4096;
    // Tags, tables and what lies free between entries are inside: the limit is on all of it.
    assert!(bytes == memory_bytes && resident <= memory_bytes, "{resident} of {bytes}");
    assert!(store.stat().content_bytes > memory_bytes / 2, "{:?}", store.stat());
}
