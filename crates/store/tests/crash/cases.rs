//! The operations that are stopped after each instruction: one test each.

use morecore_store::{Change, Condition, Evict, Expiry, Name, Set, Store};

use crate::explore::{Case, NOW_MS, SMALL, WITH_SLABS, explore, explore_in};
use crate::image::Image;
use crate::tracer::Grain;

/// A value of `bytes` bytes that differs with `seed`.
fn value(bytes: usize, seed: u8) -> Vec<u8> {
    (0..bytes).map(|at| (at as u8).wrapping_mul(31).wrapping_add(seed)).collect()
}

fn set(store: &mut Store, key: &str, value: &[u8]) {
    store.set(key.as_bytes(), value, &Set::default()).unwrap();
}

/// Some entries of every size, beside the one that the operation is about.
fn fill(store: &mut Store) {
    for (number, bytes) in [0, 1, 40, 100, 700, 5_000, 9_000].into_iter().enumerate() {
        set(store, &format!("other:{number}"), &value(bytes, 1));
    }
    set(store, "number", b"41");
}

fn fill_small(store: &mut Store) {
    fill(store);
    set(store, "key", &value(20, 2));
}

fn fill_medium(store: &mut Store) {
    fill(store);
    set(store, "key", &value(1_000, 2));
}

fn fill_large(store: &mut Store) {
    fill(store);
    set(store, "key", &value(8_000, 2));
}

/// Sets the next key of a row to a small value.
fn set_next(store: &mut Store) {
    let key = format!("n:{}", store.len());
    set(store, &key, b"x");
}

/// Sets the next key of a row to a medium value.
fn set_next_medium(store: &mut Store) {
    let number = store.len();
    set(store, &format!("n:{number}"), &value(3_000, number as u8));
}

/// Sets keys of a row until one more, as a try on a copy tells, would bring the store from one
/// state to another as `is_wanted` says.
fn fill_until(
    store: &mut Store,
    set_next: fn(&mut Store),
    is_wanted: fn(&mut Store, &mut Store) -> bool,
) {
    loop {
        let image = Image::of(store);
        let mut trial = image.attach(&[]);
        set_next(&mut trial);
        if is_wanted(store, &mut trial) {
            return;
        }
        set_next(store);
    }
}

/// Entries up to the brim: the next key of the row makes a group larger.
fn fill_until_enlarged(store: &mut Store) {
    const ENOUGH: u64 = 100; // Groups have been enlarged a few times by then.
    fill_until(store, set_next, |store, grown| {
        store.len() > ENOUGH && groups_more(store, grown) == Some(0)
    });
}

/// Entries up to the brim: the next key of the row makes two groups of one.
fn fill_until_split(store: &mut Store) {
    const ENOUGH: u64 = 1000; // A shard's first group is one more group too, but comes long before.
    fill_until(store, set_next, |store, grown| {
        store.len() > ENOUGH && groups_more(store, grown) == Some(1)
    });
}

/// How many groups more there are, if the table has grown.
fn groups_more(before: &mut Store, after: &mut Store) -> Option<u64> {
    let has_grown = after.stat().used_bytes != before.stat().used_bytes;
    has_grown.then(|| after.verify().unwrap().groups - before.verify().unwrap().groups)
}

/// Values until nothing more fits without eviction.
fn fill_up(store: &mut Store) {
    fill_until(store, set_next_medium, |store, next| {
        next.stat().evictions > store.stat().evictions
    });
}

/// What is usual.
const PLAIN: Case = Case {
    name: "",
    memory_bytes: SMALL,
    evict: Evict::None,
    prepare: |_| {},
    operation: |_| {},
    is_in_parts: false,
};

fn check(name: &'static str, prepare: fn(&mut Store), operation: fn(&mut Store)) {
    explore(&Case { name, prepare, operation, ..PLAIN });
}

fn check_slabs(name: &'static str, prepare: fn(&mut Store), operation: fn(&mut Store)) {
    explore(&Case { name, memory_bytes: WITH_SLABS, prepare, operation, ..PLAIN });
}

#[test]
fn the_first_entry_of_all() {
    check("first entry", |_| {}, |store| set(store, "key", b"value"));
}

#[test]
fn a_new_small_entry() {
    check("set new, small", fill, |store| set(store, "key", &value(20, 3)));
}

#[test]
fn a_new_medium_entry() {
    check("set new, medium", fill, |store| set(store, "key", &value(1_000, 3)));
}

#[test]
fn a_new_large_entry() {
    check("set new, large", fill, |store| set(store, "key", &value(8_000, 3)));
}

#[test]
fn a_small_entry_is_replaced() {
    check("replace, same size", fill_small, |store| set(store, "key", &value(20, 3)));
}

#[test]
fn a_small_entry_becomes_medium() {
    check("replace, larger", fill_small, |store| set(store, "key", &value(1_000, 3)));
}

#[test]
fn a_medium_entry_becomes_small() {
    check("replace, smaller", fill_medium, |store| set(store, "key", &value(20, 3)));
}

#[test]
fn a_medium_entry_is_replaced() {
    check("replace, medium", fill_medium, |store| set(store, "key", &value(1_000, 3)));
}

#[test]
fn a_large_entry_is_replaced() {
    check("replace, large", fill_large, |store| set(store, "key", &value(9_500, 3)));
}

#[test]
fn a_small_entry_is_deleted() {
    check("delete, small", fill_small, |store| assert!(store.delete(b"key").unwrap()));
}

#[test]
fn a_medium_entry_is_deleted() {
    check("delete, medium", fill_medium, |store| assert!(store.delete(b"key").unwrap()));
}

#[test]
fn a_large_entry_is_deleted() {
    check("delete, large", fill_large, |store| assert!(store.delete(b"key").unwrap()));
}

#[test]
fn a_number_is_incremented() {
    check("increment", fill, |store| assert_eq!(store.increment(b"number", 1).unwrap(), 42));
}

#[test]
fn a_number_begins() {
    check("increment, new", fill, |store| assert_eq!(store.increment(b"new", 5).unwrap(), 5));
}

#[test]
fn a_value_is_appended_to() {
    check("append", fill_medium, |store| {
        assert_eq!(store.append(b"key", b"more").unwrap(), 1_004);
    });
}

#[test]
fn a_part_of_a_value_is_written() {
    check("write a range", fill_medium, |store| {
        assert_eq!(store.set_range(b"key", 900, &value(300, 3)).unwrap(), 1_200);
    });
}

#[test]
fn an_entry_gets_an_expiry() {
    check("expire", fill_medium, |store| {
        store.update(b"key", |_| (Change::Expire(Some(NOW_MS + 1000)), ())).unwrap();
    });
}

#[test]
fn an_entry_loses_its_expiry() {
    let prepare = |store: &mut Store| {
        fill_medium(store);
        assert!(store.expire(b"key", NOW_MS + 1000).unwrap());
    };
    check("persist", prepare, |store| assert!(store.persist(b"key").unwrap()));
}

#[test]
fn an_entry_is_touched() {
    let operation = |store: &mut Store| assert!(store.touch(b"key").unwrap());
    let (name, prepare, evict) = ("touch", fill_medium, Evict::Policy);
    explore(&Case { name, evict, prepare, operation, ..PLAIN });
}

#[test]
fn many_entries_are_set_one_by_one() {
    let operation = |store: &mut Store| {
        let (new, other) = (value(600, 3), value(20, 3));
        let pairs: [(&[u8], &[u8]); 4] =
            [(b"key", &new), (b"a", &other), (b"other:3", &other), (b"b", &new)];
        assert_eq!(store.set_many(&pairs, &Set::default()).unwrap(), 4);
    };
    let (name, prepare, is_in_parts) = ("set many", fill_medium, true);
    explore(&Case { name, prepare, operation, is_in_parts, ..PLAIN });
}

#[test]
fn an_expired_entry_is_replaced() {
    let prepare = |store: &mut Store| {
        fill(store);
        let how = Set { expiry: Expiry::At(NOW_MS - 1), ..Set::default() };
        store.set(b"key", &value(1_000, 2), &how).unwrap();
    };
    check("replace an expired one", prepare, |store| {
        let how = Set { condition: Condition::Absent, ..Set::default() };
        store.set(b"key", &value(900, 3), &how).unwrap();
    });
}

#[test]
fn two_keys_change_together() {
    check("rename", fill_medium, |store| {
        let rename = |entries: &[Option<morecore_store::Entry<'_>>]| {
            let value = entries[0].expect("it was set").value.to_vec();
            (vec![Change::Remove, Change::Set { value, expiry: None, flags: 0 }], ())
        };
        store.update_many(&[b"key", b"other:3"], rename).unwrap();
    });
}

#[test]
fn a_group_is_enlarged() {
    check("enlarge a group", fill_until_enlarged, set_next);
}

#[test]
fn a_group_is_split() {
    check("split a group", fill_until_split, set_next);
}

#[test]
fn an_entry_is_evicted() {
    let (prepare, operation) = (fill_up, set_next_medium);
    let evict = Evict::Policy;
    explore(&Case { name: "evict", evict, prepare, operation, ..PLAIN });
}

/// Small entries until one more makes another go: groups cannot grow any more.
fn fill_up_small(store: &mut Store) {
    fill_until(store, set_next, |store, next| next.stat().evictions > store.stat().evictions);
}

#[test]
fn a_small_entry_is_evicted() {
    let (prepare, operation) = (fill_up_small, set_next);
    let evict = Evict::Policy;
    explore(&Case { name: "evict, small", evict, prepare, operation, ..PLAIN });
}

#[test]
fn a_window_is_cleared_for_a_large_value() {
    let prepare = |store: &mut Store| {
        fill_until(store, set_next_medium, |store, next| {
            next.stat().evictions > store.stat().evictions
        });
    };
    let operation = |store: &mut Store| set(store, "large", &value(20_000, 3));
    let evict = Evict::Policy;
    explore(&Case { name: "clear a window", evict, prepare, operation, ..PLAIN });
}

/// Some entries, of which several have expired long ago.
fn fill_expired(store: &mut Store) {
    fill(store);
    for number in 0..12 {
        let how = Set { expiry: Expiry::At(NOW_MS - 60_000), ..Set::default() };
        let bytes = [20, 900][number % 2];
        store.set(format!("gone:{number}").as_bytes(), &value(bytes, 4), &how).unwrap();
    }
}

#[test]
fn what_has_expired_is_dropped_without_anyone_reading_it() {
    check("expire by dues", fill_expired, |store| {
        store.tidy().unwrap();
        set(store, "key", &value(20, 3));
    });
}

#[test]
fn a_slab_is_made() {
    check_slabs("make a slab", |_| {}, |store| set(store, "key", &value(1_000, 3)));
}

#[test]
fn a_block_of_a_slab_is_replaced() {
    check_slabs("replace a block", fill_medium, |store| set(store, "key", &value(900, 3)));
}

#[test]
fn a_block_goes_to_another_slab() {
    check_slabs("replace by another class", fill_medium, |store| {
        set(store, "key", &value(100, 3));
    });
}

#[test]
fn a_slab_is_given_back() {
    // A slab stays while it is the only one of its class, so one more is filled to begin another.
    let prepare = |store: &mut Store| {
        fill_until(store, set_next_medium, |store, next| {
            store.len() > 1 && next.stat().used_bytes - store.stat().used_bytes > 10_000
        });
        set_next_medium(store);
    };
    let operation = |store: &mut Store| {
        let last = store.len() - 1;
        assert!(store.delete(format!("n:{last}").as_bytes()).unwrap());
    };
    check_slabs("give a slab back", prepare, operation);
}

#[test]
fn all_entries_are_cleared() {
    check("clear", fill_small, |store| store.clear().unwrap());
}

#[test]
fn a_participant_comes_and_goes() {
    check("attach, set, detach", fill, |store| {
        let mut other = store.try_clone().unwrap();
        set(&mut other, "key", &value(100, 3));
    });
}

#[test]
fn keys_that_were_held_change_together() {
    check("commit held", fill_medium, |store| {
        store.hold_keys(&[b"key", b"number", b"new"]).unwrap();
        let put = |bytes, seed| Change::Set { value: value(bytes, seed), expiry: None, flags: 0 };
        let changes =
            [(&b"key"[..], put(900, 5)), (b"number", Change::Remove), (b"new", put(20, 6))];
        store.commit_held(false, &changes).unwrap();
    });
}

#[test]
fn a_lease_is_taken_and_dropped() {
    check("lease taken and dropped", fill_large, |store| {
        let lease = store.lease(b"key").unwrap().unwrap();
        assert_eq!(lease.len(), 8_000);
    });
}

#[test]
fn a_leased_entry_is_replaced_and_the_lease_dropped() {
    check("replace under a lease", fill_large, |store| {
        let lease = store.lease(b"key").unwrap().unwrap();
        set(store, "key", &value(8_100, 3));
        drop(lease);
        // Whoever changes something next frees what was leased.
        store.tidy().unwrap();
    });
}

#[test]
fn a_reserved_value_is_sealed() {
    check("reserve and seal", fill_large, |store| {
        let mut room = store.reserve(b"key", 8_100).unwrap();
        room.copy_from_slice(&value(8_100, 3));
        room.seal(&Set::default()).unwrap();
    });
}

#[test]
fn a_reserved_value_is_dropped() {
    check("reserve and drop", fill_large, |store| {
        store.reserve(b"key", 8_100).unwrap()[0] = 1;
    });
}

/// Attaches once more by the store's descriptor, sets a value, and detaches. A copy, on which it is
/// tried, has no descriptor.
fn come_and_go(store: &mut Store) {
    let descriptor = store.as_fd().map(|descriptor| descriptor.try_clone_to_owned().unwrap());
    let other = descriptor.map_or_else(|| store.try_clone(), Store::from_fd);
    let mut other = other.unwrap();
    set(&mut other, "key", &value(100, 3));
}

#[test]
fn a_participant_of_a_store_in_memory_comes_and_goes() {
    let name = "attach, set, detach: memory";
    let case = Case { name, prepare: fill, operation: come_and_go, ..PLAIN };
    explore_in(&case, Grain::Each, |how| Store::memfd(how).unwrap());
}

#[test]
fn a_participant_of_a_store_in_a_file_comes_and_goes() {
    let name = "attach, set, detach: file";
    let case = Case { name, prepare: fill, operation: come_and_go, ..PLAIN };
    explore_in(&case, Grain::Each, |how| {
        let path = std::env::temp_dir().join(format!("morecore-crash-{}", std::process::id()));
        let name = Name::new(&format!("file:{}", path.display())).unwrap();
        let store = Store::create(&name, how).unwrap();
        // It stays as long as somebody has it open, and no longer.
        Store::remove(&name).unwrap();
        store
    });
}

/// Later than all that was freed needs to rest.
const RESTED_MS: u64 = NOW_MS + 10_000;

#[test]
fn free_memory_goes_back_to_the_system() {
    let prepare = |store: &mut Store| {
        fill(store);
        set(store, "large", &value(300_000, 2));
        assert!(store.delete(b"large").unwrap());
    };
    check("give pages back", prepare, |store| {
        store.set_now(Some(RESTED_MS));
        store.tidy().unwrap();
    });
}

#[test]
fn a_table_that_became_empty_goes_back() {
    let prepare = |store: &mut Store| {
        set(store, "key", &value(1_000, 2));
        assert!(store.delete(b"key").unwrap());
    };
    check("give a table back", prepare, |store| store.tidy().unwrap());
}

#[test]
fn groups_that_became_empty_go_back() {
    let prepare = |store: &mut Store| {
        fill_until_split(store);
        for number in 0..store.len() {
            if number % 100 != 0 {
                assert!(store.delete(format!("n:{number}").as_bytes()).unwrap());
            }
        }
    };
    check("give groups back", prepare, |store| store.tidy().unwrap());
}
