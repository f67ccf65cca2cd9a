//! Many keys in one call, compared with a plain map and with as many single calls.

use std::collections::HashMap;

use morecore_store::{Change, Condition, Create, Error, Evict, Expiry, Set, Store};

use crate::{ALWAYS, chance, prove, small, value_of};

/// Sets pairs in a store, and in a map as the condition wants it.
fn set_both(
    store: &mut Store,
    map: &mut HashMap<Vec<u8>, Vec<u8>>,
    pairs: &[(Vec<u8>, Vec<u8>)],
    condition: Condition,
) {
    let named: Vec<_> = pairs.iter().map(|(key, value)| (&key[..], &value[..])).collect();
    let stored = store.set_many(&named, &Set { condition, ..ALWAYS }).unwrap();
    let mut expected = 0;
    for (key, value) in pairs {
        let may = match condition {
            Condition::Absent => !map.contains_key(key),
            Condition::Present => map.contains_key(key),
            _ => true,
        };
        if may {
            map.insert(key.clone(), value.clone());
            expected += 1;
        }
    }
    assert_eq!(stored, expected);
}

/// Random pairs with values of every size, some keys more than once, under every condition.
fn check(memory_bytes: u64, keys: u64, rounds: u32) {
    let how = Create { memory_bytes, mode: 0o600, evict: Evict::None };
    let mut store = Store::anonymous(&how).unwrap();
    let (mut map, mut chance) = (HashMap::new(), chance());
    for _ in 0..rounds {
        let count = chance.usize(..50);
        let pairs: Vec<(Vec<u8>, Vec<u8>)> = (0..count)
            .map(|_| {
                let number = chance.u64(..keys);
                let mut key = format!("{number}").into_bytes();
                key.resize(key.len() + [0, 5, 60][(number % 3) as usize], b'.');
                let most = [8, 40, 300, 3000, 20_000][chance.usize(..5)];
                let bytes = chance.usize(..most);
                (key, vec![chance.u8(..); bytes])
            })
            .collect();
        let conditions = [Condition::Always, Condition::Absent, Condition::Present];
        set_both(&mut store, &mut map, &pairs, conditions[chance.usize(..3)]);
        assert!(map.iter().all(|(key, value)| value_of(&mut store, key).as_ref() == Some(value)));
    }
    assert_eq!(prove(&mut store).entries, map.len() as u64);
}

#[test]
fn many_sets_are_as_many_single_ones() {
    check(32 << 20, 500, 60);
}

#[test]
fn many_sets_in_a_store_with_slabs_are_as_many_single_ones() {
    check(256 << 20, 2000, 60);
}

#[test]
fn what_is_set_with_others_has_flags_and_an_expiry() {
    let mut store = small(Evict::None);
    store.set_now(Some(1));
    let how = Set { expiry: Expiry::At(9), flags: 7, ..ALWAYS };
    let pairs: [(&[u8], &[u8]); 3] = [(b"a", b"1"), (b"b", &[2; 500]), (b"c", &[3; 9000])];
    assert_eq!(store.set_many(&pairs, &how).unwrap(), 3);
    for (key, value) in pairs {
        let meta = store.peek(key).unwrap().unwrap();
        assert_eq!((meta.expiry_ms, meta.flags, meta.bytes), (Some(9), 7, value.len() as u64));
    }
    store.set_now(Some(9));
    assert_eq!(value_of(&mut store, b"b"), None);
}

#[test]
fn when_room_ends_those_before_are_set_and_the_others_are_not() {
    let mut store = small(Evict::None);
    let keys: Vec<_> = (0..10_000).map(|number| format!("key:{number}")).collect();
    let pairs: Vec<(&[u8], &[u8])> =
        keys.iter().map(|key| (key.as_bytes(), &[1; 500][..])).collect();
    assert!(matches!(store.set_many(&pairs, &ALWAYS), Err(Error::Full { .. })));
    let set = store.len() as usize;
    assert!((500..5000).contains(&set), "{set}");
    assert!(keys[..set].iter().all(|key| value_of(&mut store, key.as_bytes()).is_some()));
    assert_eq!(prove(&mut store).claimed, 0);
}

#[test]
fn many_sets_in_a_full_store_evict_as_single_ones_do() {
    let mut store = small(Evict::Policy);
    let keys: Vec<_> = (0..5000).map(|number| format!("key:{number}")).collect();
    for (round, keys) in keys.chunks(100).enumerate() {
        let value = vec![round as u8; [20, 700, 30_000][round % 3]];
        let pairs: Vec<_> = keys.iter().map(|key| (key.as_bytes(), &value[..])).collect();
        assert_eq!(store.set_many(&pairs, &ALWAYS).unwrap(), keys.len());
        assert_eq!(value_of(&mut store, keys[keys.len() - 1].as_bytes()), Some(value));
        prove(&mut store);
    }
    assert!(store.stat().evictions > 1000);
}

#[test]
fn what_is_too_long_is_refused_before_anything_is_set() {
    let mut store = small(Evict::Policy);
    let long = vec![1; 1 << 20];
    let pairs: [(&[u8], &[u8]); 2] = [(b"a", b"1"), (b"b", &long)];
    assert!(matches!(store.set_many(&pairs, &ALWAYS), Err(Error::ValueTooLong { .. })));
    let pairs: [(&[u8], &[u8]); 2] = [(b"a", b"1"), (&long, b"1")];
    assert!(matches!(store.set_many(&pairs, &ALWAYS), Err(Error::KeyTooLong { .. })));
    assert!(store.is_empty());
}

#[test]
fn a_change_of_many_keys_at_once_claims_room_for_all_or_none() {
    let mut store = small(Evict::None);
    let keys: Vec<_> = (0..100).map(|number| format!("key:{number}")).collect();
    let names: Vec<&[u8]> = keys.iter().map(String::as_bytes).collect();
    for bytes in [100, 900, 1 << 20, 100_000, 3] {
        let before = store.len();
        let value = vec![7; bytes];
        let done = store.update_many(&names, |entries| {
            let change = |_| Change::Set { value: value.clone(), expiry: Some(u64::MAX), flags: 1 };
            (entries.iter().map(change).collect(), ())
        });
        assert_eq!(done.is_ok(), bytes < 1000, "{done:?}");
        assert_eq!(store.len(), if bytes < 1000 { 100 } else { before });
        assert_eq!(prove(&mut store).claimed, 0);
    }
    assert_eq!(value_of(&mut store, b"key:99"), Some(vec![7; 3]));
}
