//! A full store that evicts goes on, whatever it is asked to hold next, in the memory that it has.

use morecore_store::{Create, Evict, Set, Store};

use crate::{ALWAYS, chance, prove, value_of};

const MEMORY_BYTES: u64 = 16 << 20;

/// How often the memory's worth of values of each size is set: what was there before is gone long
/// before the end.
const TIMES: u64 = 4;

fn store() -> Store {
    let how = Create { memory_bytes: MEMORY_BYTES, mode: 0o600, evict: Evict::Policy };
    Store::anonymous(&how).unwrap()
}

/// Sets values of each size in turn, and asks each time for one of the last ones. Of the memory at
/// least `percent` must be keys and values at the end of each turn.
fn check(turns: &[(usize, u64)]) {
    let mut chance = chance();
    let mut store = store();
    let (mut number, mut value) = (0u64, Vec::new());
    for &(most_bytes, percent) in turns {
        let mut bytes = 0;
        while bytes < TIMES * MEMORY_BYTES {
            // Sizes differ, so that what goes never is as large as what comes.
            let length = chance.usize(most_bytes / 2..=most_bytes);
            value.resize(length, number as u8);
            let set = store.set(&number.to_le_bytes(), &value, &ALWAYS);
            assert!(set.is_ok(), "{length} bytes, key {number}: {set:?}");
            assert!(value_of(&mut store, &number.to_le_bytes()).is_some(), "key {number}");
            value_of(&mut store, &number.saturating_sub(chance.u64(..100)).to_le_bytes());
            bytes += length as u64 + 64;
            number += 1;
        }
        prove(&mut store);
        let (content, resident) = (store.stat().content_bytes, store.resident_bytes());
        assert!(resident.is_some_and(|resident| resident <= MEMORY_BYTES), "{resident:?}");
        let least = MEMORY_BYTES * percent / 100;
        assert!(content >= least, "{content} of {least} bytes with values of {most_bytes}");
    }
}

#[test]
fn small_values_make_room_for_large_ones_and_these_for_small_ones() {
    check(&[(40, 20), (4_000, 40), (40, 20), (60_000, 30), (300, 30), (1_000_000, 20), (40, 20)]);
}

#[test]
fn values_grow_and_shrink_by_steps() {
    check(&[(30, 20), (100, 30), (300, 40), (900, 40), (3_000, 40), (900, 40), (100, 30)]);
}

#[test]
fn values_of_all_sizes_at_once_find_room() {
    let mut chance = chance();
    let mut store = store();
    for number in 0..60_000u32 {
        // As many of each magnitude, up to two megabytes.
        let magnitude = chance.u32(..20);
        let length = chance.usize(..2 << magnitude);
        let set = store.set(&number.to_le_bytes(), &vec![1; length], &Set::default());
        assert!(set.is_ok(), "{length} bytes, key {number}: {set:?}");
    }
    prove(&mut store);
}
