//! Several sessions whose payloads come out of stocks, compared with a plain map.

use std::collections::HashMap;

use morecore_store::{Create, Evict, Store};

use crate::{ALWAYS, chance, prove, value_of};

/// Lengths that come again and again, so that stocks are used; the last stands in a bucket.
const LENGTHS: [usize; 6] = [100, 200, 200, 1000, 2000, 10];

#[test]
fn sessions_with_stocks_keep_one_map_and_its_leases() {
    let how = Create { memory_bytes: 64 << 20, mode: 0o600, evict: Evict::None };
    let mut stores = vec![Store::anonymous(&how).unwrap()];
    for _ in 0..2 {
        stores.push(stores[0].try_clone().unwrap());
    }
    let (mut chance, mut map, mut leases) = (chance(), HashMap::new(), Vec::new());
    for step in 0..30_000 {
        let number = chance.usize(..stores.len());
        let store = &mut stores[number];
        let key = chance.u16(..500).to_le_bytes();
        match chance.u32(..20) {
            0..12 => {
                let value = vec![chance.u8(..); LENGTHS[chance.usize(..LENGTHS.len())]];
                store.set(&key, &value, &ALWAYS).unwrap();
                map.insert(key, value);
            }
            12..14 => assert_eq!(store.delete(&key).unwrap(), map.remove(&key).is_some()),
            14..16 => {
                let value = vec![chance.u8(..); 200];
                let keys = [key, chance.u16(..500).to_le_bytes(), chance.u16(..500).to_le_bytes()];
                let pairs = keys.each_ref().map(|key| (&key[..], &value[..]));
                store.set_many(&pairs, &ALWAYS).unwrap();
                map.extend(keys.map(|key| (key, value.clone())));
            }
            16 => {
                if let Some(lease) = store.lease(&key).unwrap() {
                    leases.push((lease, map[&key].clone()));
                }
            }
            17 if !leases.is_empty() => drop(leases.swap_remove(chance.usize(..leases.len()))),
            _ => assert_eq!(value_of(store, &key).as_ref(), map.get(&key)),
        }
        if step % 3000 == 0 {
            assert!(leases.iter().all(|(lease, value)| lease[..] == value[..]));
            prove(&mut stores[0]);
        }
    }
    drop(leases);
    stores.truncate(1);
    stores[0].tidy().unwrap();
    let verified = prove(&mut stores[0]);
    assert_eq!((verified.claimed, verified.pending), (0, 0));
    assert_eq!(verified.entries, map.len() as u64);
    assert!(map.iter().all(|(key, value)| value_of(&mut stores[0], key).as_ref() == Some(value)));
}

#[test]
fn a_child_of_fork_takes_nothing_of_its_parents_stock() {
    let how = Create { memory_bytes: 64 << 20, mode: 0o600, evict: Evict::None };
    let mut store = Store::anonymous(&how).unwrap();
    for number in 0..10u8 {
        store.set(&[number], &[1; 300], &ALWAYS).unwrap();
    }
    // SAFETY: the child uses the store alone, and ends without what the parent's end would do.
    let child = unsafe { libc::fork() };
    for number in 0..10u8 {
        store.set(&[number + if child == 0 { 100 } else { 0 }], &[number; 300], &ALWAYS).unwrap();
    }
    if child == 0 {
        // SAFETY: as above.
        unsafe { libc::_exit(0) };
    }
    let mut status = 0;
    // SAFETY: the child is ours, and `status` outlives the call.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0);
    store.tidy().unwrap();
    for number in 0..10u8 {
        assert_eq!(value_of(&mut store, &[number]), Some(vec![number; 300]));
        assert_eq!(value_of(&mut store, &[number + 100]), Some(vec![number; 300]));
    }
    assert_eq!(prove(&mut store).entries, 20);
}
