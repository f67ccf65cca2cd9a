//! One call each.

use crate::{ALWAYS, prove, small, value_of};
use morecore_store::{
    Change, Condition, Create, Error, Evict, Expiry, Filler, Set, SetDone, Store,
};

#[test]
fn what_is_set_is_got_inline_and_in_payloads() {
    let mut store = small(Evict::None);
    for (key, bytes) in [(1, 0), (0, 3), (16, 32), (16, 33), (24, 500), (25, 500), (3000, 90_000)] {
        let (key, value) = (vec![b'k'; key], vec![b'v'; bytes]);
        store.set(&key, &value, &ALWAYS).unwrap();
        assert_eq!(value_of(&mut store, &key), Some(value));
        assert_eq!(store.peek(&key).unwrap().unwrap().bytes, bytes as u64);
        prove(&mut store);
    }
    assert_eq!(store.len(), 6);
    assert!(store.delete(&[b'k'; 25]).unwrap());
    assert!(!store.delete(&[b'k'; 25]).unwrap());
    assert_eq!(value_of(&mut store, &[b'k'; 25]), None);
    assert_eq!(prove(&mut store).entries, 5);
}

#[test]
fn versions_change_at_every_set_and_conditions_hold() {
    let mut store = small(Evict::None);
    let how = |condition| Set { condition, ..Set::default() };
    assert_eq!(store.set(b"k", b"0", &how(Condition::Present)).unwrap(), SetDone::Refused);
    let SetDone::Stored { version } = store.set(b"k", b"1", &how(Condition::Absent)).unwrap()
    else {
        panic!("refused")
    };
    assert_eq!(store.peek(b"k").unwrap().unwrap().version, version);
    assert_eq!(store.set(b"k", b"2", &how(Condition::Absent)).unwrap(), SetDone::Refused);
    let done = store.set(b"k", b"3", &how(Condition::Version(version))).unwrap();
    assert!(matches!(done, SetDone::Stored { version: new } if new != version));
    assert_eq!(store.set(b"k", b"4", &how(Condition::Version(version))).unwrap(), SetDone::Refused);
    assert_eq!(value_of(&mut store, b"k").unwrap(), b"3");
}

#[test]
fn what_has_expired_is_absent() {
    let mut store = small(Evict::None);
    store.set_now(Some(1000));
    let at = |ms| Set { expiry: Expiry::At(ms), ..Set::default() };
    store.set(b"k", b"v", &at(1500)).unwrap();
    assert_eq!(store.peek(b"k").unwrap().unwrap().expiry_ms, Some(1500));
    let keep = Set { expiry: Expiry::Keep, ..Set::default() };
    store.set(b"k", b"w", &keep).unwrap();
    store.set_now(Some(1499));
    assert_eq!(value_of(&mut store, b"k").unwrap(), b"w");
    store.set_now(Some(1500));
    assert_eq!(value_of(&mut store, b"k"), None);
    assert_eq!(store.peek(b"k").unwrap(), None);
    assert!(!store.delete(b"k").unwrap());
    let absent = Set { condition: Condition::Absent, ..Set::default() };
    assert!(matches!(store.set(b"k", b"x", &absent).unwrap(), SetDone::Stored { .. }));
    assert_eq!(store.peek(b"k").unwrap().unwrap().expiry_ms, None);
}

#[test]
fn increments_count_and_refuse() {
    let mut store = small(Evict::None);
    assert_eq!(store.increment(b"n", 5).unwrap(), 5);
    assert_eq!(store.increment(b"n", -7).unwrap(), -2);
    assert_eq!(value_of(&mut store, b"n").unwrap(), b"-2");
    store.set(b"n", b"9223372036854775807", &ALWAYS).unwrap();
    assert!(matches!(store.increment(b"n", 1), Err(Error::Overflow)));
    store.set(b"n", b"1.5", &ALWAYS).unwrap();
    assert!(matches!(store.increment(b"n", 1), Err(Error::NotANumber)));
}

#[test]
fn an_update_of_many_is_one_change() {
    let mut store = small(Evict::None);
    let long = vec![7; 400];
    store.set(b"from", &long, &ALWAYS).unwrap();
    let set = |value: &[u8]| Change::Set { value: value.to_vec(), expiry: None, flags: 0 };
    store
        .update_many(&[b"from", b"to"], |entries| {
            (vec![Change::Remove, set(entries[0].unwrap().value)], ())
        })
        .unwrap();
    assert_eq!(value_of(&mut store, b"from"), None);
    assert_eq!(value_of(&mut store, b"to"), Some(long));
    let keys: Vec<Vec<u8>> = (0..200).map(|n| format!("key {n}").into_bytes()).collect();
    let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    match store.update_many(&keys, |_| (keys.iter().map(|key| set(key)).collect(), ())) {
        Ok(()) => assert_eq!(store.len(), 201),
        Err(error) => {
            assert!(matches!(error, Error::TooManyKeys { .. }), "{error}");
            assert_eq!(store.len(), 1);
        }
    }
    prove(&mut store);
}

#[test]
fn limits_are_named() {
    let mut store = small(Evict::Policy);
    assert!(matches!(store.get(&[0; 65_537], &mut vec![]), Err(Error::KeyTooLong { .. })));
    let huge = vec![0; 600_000];
    assert!(matches!(store.set(b"k", &huge, &ALWAYS), Err(Error::ValueTooLong { .. })));
}

#[test]
fn a_full_store_refuses_or_evicts() {
    for evict in [Evict::None, Evict::Policy] {
        for bytes in [8, 100, 1000, 40_000, 300_000] {
            let mut store = small(evict);
            let value = vec![1; bytes];
            let mut refused = 0;
            for number in 0..20_000u64 {
                if number * bytes as u64 > 4_000_000 || refused > 20 {
                    break;
                }
                match store.set(&number.to_le_bytes(), &value, &ALWAYS) {
                    Ok(_) => {}
                    Err(Error::Full { .. }) => refused += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            prove(&mut store);
            assert_eq!(refused > 0, evict == Evict::None, "{evict:?} {bytes}");
            assert_eq!(store.stat().evictions > 0, evict == Evict::Policy);
            // What was full of one size takes another.
            if evict == Evict::Policy {
                for bytes in [10, 10_000, 200_000] {
                    store.set(b"other", &vec![2; bytes], &ALWAYS).unwrap();
                }
            }
            store.clear().unwrap();
            assert_eq!(store.len(), 0);
            prove(&mut store);
        }
    }
}

#[test]
fn a_large_value_among_small_ones_costs_few_of_them() {
    let how = morecore_store::Create { memory_bytes: 16 << 20, mode: 0o600, evict: Evict::Policy };
    let mut store = morecore_store::Store::anonymous(&how).unwrap();
    let mut number = 0u32;
    while store.stat().evictions == 0 {
        for _ in 0..500 {
            store.set(&number.to_le_bytes(), &[1; 400], &ALWAYS).unwrap();
            number += 1;
        }
    }
    let before = store.stat();
    store.set(b"large", &vec![2; 100_000], &ALWAYS).unwrap();
    let dropped = store.stat().evictions - before.evictions;
    assert!(dropped * 10 < before.entries, "{dropped} of {} entries", before.entries);
    prove(&mut store);
    // Also while its shard, or many, are held.
    let set = || morecore_store::Change::Set { value: vec![3; 100_000], expiry: None, flags: 0 };
    store.update_many(&[b"one", b"two", b"three"], |_| (vec![set(), set(), set()], ())).unwrap();
    assert_eq!(value_of(&mut store, b"two").unwrap(), vec![3; 100_000]);
    prove(&mut store);
}

#[test]
fn a_random_key_is_none_in_an_emptied_table_and_the_only_one_when_there_is_one() {
    let how = Create { memory_bytes: 64 << 20, mode: 0o600, evict: Evict::None };
    let mut store = Store::anonymous(&how).unwrap();
    for number in 0..50_000u32 {
        store.set(&number.to_le_bytes(), b"", &ALWAYS).unwrap();
    }
    for number in 0..50_000u32 {
        store.delete(&number.to_le_bytes()).unwrap();
    }
    let begin = std::time::Instant::now();
    assert!(!store.random_key(&mut Vec::new()).unwrap());
    eprintln!("{:?} to look through all", begin.elapsed());
    store.set(b"only", b"", &ALWAYS).unwrap();
    let mut key = Vec::new();
    assert!(store.random_key(&mut key).unwrap());
    assert_eq!(key, b"only");
}

#[test]
fn a_reserved_value_is_seen_when_it_is_sealed_and_gone_when_it_is_dropped() {
    let mut store = small(Evict::None);
    let mut other = store.try_clone().unwrap();
    let empty = store.stat().used_bytes;
    for (key, bytes) in [(&b"k"[..], 10), (b"k", 5000), (&[7; 100], 5000), (b"", 0), (b"k", 48)] {
        let mut room = store.reserve(key, bytes).unwrap();
        room.fill(9);
        assert_eq!(value_of(&mut other, key), None);
        assert!(matches!(room.seal(&ALWAYS).unwrap(), SetDone::Stored { .. }));
        assert_eq!(value_of(&mut other, key), Some(vec![9; bytes as usize]));
        store.reserve(key, 5000).unwrap().fill(8);
        let refused = Set { condition: Condition::Absent, ..ALWAYS };
        assert_eq!(store.reserve(key, 5000).unwrap().seal(&refused).unwrap(), SetDone::Refused);
        assert_eq!(value_of(&mut other, key), Some(vec![9; bytes as usize]));
        let proof = prove(&mut other);
        assert_eq!((proof.entries, proof.claimed), (1, 0));
        store.clear().unwrap();
        assert_eq!(store.stat().used_bytes, empty);
    }
    let mut room = store.reserve(b"k", 5000).unwrap();
    room.fill(3);
    room.truncate(7);
    room.seal(&Set { flags: 5, ..ALWAYS }).unwrap();
    assert_eq!((value_of(&mut store, b"k"), prove(&mut store).payloads), (Some(vec![3; 7]), 1));
    assert_eq!(store.peek(b"k").unwrap().unwrap().flags, 5);
    assert!(matches!(store.reserve(b"k", 1 << 40), Err(Error::ValueTooLong { .. })));
}

#[test]
fn a_filler_seals_one_value_after_the_other_and_leaves_nothing_of_what_it_gave_up() {
    let mut store = small(Evict::None);
    let empty = store.stat().used_bytes;
    let mut filler = Filler::new(store.try_clone().unwrap());
    for (byte, bytes) in [(1, 5000), (2, 100_000), (3, 10), (4, 5000)] {
        filler.begin(b"other", 300_000).unwrap();
        filler.room().fill(9);
        filler.begin(b"k", bytes).unwrap();
        filler.room().fill(byte);
        assert_eq!((filler.room().len(), filler.key()), (bytes as usize, &b"k"[..]));
        assert_ne!(value_of(&mut store, b"k"), Some(vec![byte; bytes as usize]));
        // Others go on meanwhile.
        store.set(b"between", &[7; 3000], &ALWAYS).unwrap();
        assert!(matches!(filler.seal(&ALWAYS).unwrap(), SetDone::Stored { .. }));
        assert_eq!(value_of(&mut store, b"k"), Some(vec![byte; bytes as usize]));
        assert_eq!(prove(&mut store).claimed, 0);
    }
    assert!(matches!(filler.begin(b"k", 1 << 40), Err(Error::ValueTooLong { .. })));
    filler.begin(b"k", 300_000).unwrap();
    store.set(b"large", &[0; 300_000], &ALWAYS).unwrap();
    assert!(matches!(store.set(b"more", &[0; 300_000], &ALWAYS), Err(Error::Full { .. })));
    filler.abandon();
    store.set(b"more", &[0; 300_000], &ALWAYS).unwrap();
    store.delete(b"more").unwrap();
    assert!(filler.room().is_empty());
    filler.begin(b"k", 300_000).unwrap();
    drop(filler);
    store.clear().unwrap();
    assert_eq!((prove(&mut store).claimed, store.stat().used_bytes), (0, empty));
}

#[test]
fn a_part_of_a_value_is_read_and_written() {
    let mut store = small(Evict::None);
    for bytes in [0, 1, 20, 40, 100, 5000] {
        let value: Vec<u8> = (0..bytes).map(|at| at as u8).collect();
        store.set(b"k", &value, &ALWAYS).unwrap();
        for (from, count) in [(0, 0), (0, 7), (3, 9), (8, 8), (13, 5000), (bytes, 1), (1 << 50, 1)]
        {
            let mut part = b"before".to_vec();
            let meta = store.get_range(b"k", from, count, &mut part).unwrap().unwrap();
            let (begin, end) = (from.min(bytes) as usize, from.saturating_add(count).min(bytes));
            assert_eq!((&part[..6], &part[6..]), (&b"before"[..], &value[begin..end as usize]));
            assert_eq!(meta.bytes, bytes);
        }
    }
    assert_eq!(store.get_range(b"absent", 0, 1, &mut vec![]).unwrap(), None);
    store.set(b"k", b"abc", &Set { expiry: Expiry::At(u64::MAX), flags: 7, ..ALWAYS }).unwrap();
    assert_eq!(store.append(b"k", b"de").unwrap(), 5);
    assert_eq!(store.set_range(b"k", 7, b"h").unwrap(), 8);
    assert_eq!(store.set_range(b"k", 1, b"B").unwrap(), 8);
    assert_eq!(value_of(&mut store, b"k").unwrap(), b"aBcde\0\0h");
    let meta = store.peek(b"k").unwrap().unwrap();
    assert_eq!((meta.flags, meta.expiry_ms.is_some()), (7, true));
    assert_eq!((store.set_range(b"new", 5, b"").unwrap(), store.len()), (0, 1));
    assert!(matches!(store.set_range(b"k", u64::MAX, b"x"), Err(Error::ValueTooLong { .. })));
    assert_eq!((store.append(b"new", b"").unwrap(), store.len()), (0, 2));
}

#[test]
fn an_expiry_comes_and_goes() {
    let mut store = small(Evict::None);
    store.set_now(Some(1000));
    assert!(!store.expire(b"k", 2000).unwrap());
    store.set(b"k", b"v", &ALWAYS).unwrap();
    assert!(!store.persist(b"k").unwrap() && store.expire(b"k", 2000).unwrap());
    assert!(store.touch(b"k").unwrap() && store.persist(b"k").unwrap());
    assert!(store.expire(b"k", 1000).unwrap());
    assert!(!store.touch(b"k").unwrap() && !store.persist(b"k").unwrap());
}
