//! The operations that are stopped after each instruction: one test each.

use morecore_store::{Change, Condition, Evict, Expiry, Set, Store};

use crate::explore::{Case, NOW_MS, explore};

/// A value of `bytes` bytes that differs with `seed`.
fn value(bytes: usize, seed: u8) -> Vec<u8> {
    (0..bytes).map(|at| (at as u8).wrapping_mul(31).wrapping_add(seed)).collect()
}

fn set(store: &mut Store, key: &str, value: &[u8]) {
    store.set(key.as_bytes(), value, &Set::default()).unwrap();
}

/// Some entries of every size, beside the one that the operation is about.
fn fill(store: &mut Store) {
    for (number, bytes) in [0, 1, 40, 100, 700, 5_000, 20_000].into_iter().enumerate() {
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
    set(store, "key", &value(40_000, 2));
}

/// Entries up to the brim of the group that `operation` will have to make larger.
fn fill_until_growth(store: &mut Store) {
    let mut number = 0;
    while !grows_next(store, number) {
        set(store, &format!("n:{number}"), b"x");
        number += 1;
    }
}

/// Whether one more entry takes more memory than its bucket.
fn grows_next(store: &mut Store, number: u32) -> bool {
    let mut next = store.try_clone().unwrap();
    let before = next.stat().used_bytes;
    set(&mut next, &format!("n:{number}"), b"x");
    let grew = next.stat().used_bytes > before && number > 200;
    next.delete(format!("n:{number}").as_bytes()).unwrap();
    grew
}

/// Values until nothing more fits without eviction.
fn fill_up(store: &mut Store) {
    let mut number = 0;
    while store.stat().evictions == 0 {
        set(store, &format!("v:{number}"), &value(3_000, number as u8));
        number += 1;
    }
}

fn check(name: &'static str, prepare: fn(&mut Store), operation: fn(&mut Store)) {
    explore(&Case { name, evict: Evict::None, prepare, operation });
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
    check("set new, large", fill, |store| set(store, "key", &value(40_000, 3)));
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
    check("replace, large", fill_large, |store| set(store, "key", &value(50_000, 3)));
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
        let append = |entry: Option<morecore_store::Entry<'_>>| {
            let mut value = entry.expect("it was set").value.to_vec();
            value.extend_from_slice(b"more");
            (Change::Set { value, expiry: None }, ())
        };
        store.update(b"key", append).unwrap();
    });
}

#[test]
fn an_entry_gets_an_expiry() {
    check("expire", fill_medium, |store| {
        store.update(b"key", |_| (Change::Expire(Some(NOW_MS + 1000)), ())).unwrap();
    });
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
            (vec![Change::Remove, Change::Set { value, expiry: None }], ())
        };
        store.update_many(&[b"key", b"other:3"], rename).unwrap();
    });
}

#[test]
fn the_table_grows() {
    check("growth", fill_until_growth, |store| set(store, "one more", b"x"));
}

#[test]
fn an_entry_is_evicted() {
    let operation = |store: &mut Store| set(store, "key", &value(20, 3));
    let case = Case { name: "evict", evict: Evict::Policy, prepare: fill_up, operation };
    explore(&case);
}

#[test]
fn a_participant_comes_and_goes() {
    check("attach, set, detach", fill, |store| {
        let mut other = store.try_clone().unwrap();
        set(&mut other, "key", &value(100, 3));
    });
}
