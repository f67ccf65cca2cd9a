//! Random calls, compared with a plain map.

use std::collections::HashMap;

use crate::{chance, prove, value_of};
use morecore_store::{Change, Condition, Create, Error, Evict, Expiry, Set, SetDone, Store};

#[derive(Clone)]
struct Kept {
    value: Vec<u8>,
    expiry: Option<u64>,
    flags: u32,
}

struct Model {
    store: Store,
    map: HashMap<Vec<u8>, Kept>,
    now: u64,
    chance: fastrand::Rng,
    keys: u64,
    evicts: bool,
}

impl Model {
    fn new(memory_bytes: u64, evict: Evict, keys: u64) -> Self {
        let mut store = Store::anonymous(&Create { memory_bytes, mode: 0o600, evict }).unwrap();
        store.set_now(Some(1));
        let evicts = evict == Evict::Policy;
        Self { store, map: HashMap::new(), now: 1, chance: chance(), keys, evicts }
    }

    fn key(&mut self) -> Vec<u8> {
        let number = self.chance.u64(..self.keys);
        let mut key = format!("{number}").into_bytes();
        key.resize(key.len() + [0, 5, 20, 60, 300][(number % 5) as usize], b'.');
        key
    }

    fn value(&mut self) -> Vec<u8> {
        let most = [8, 40, 200, 3000, 20_000][self.chance.usize(..5)];
        let bytes = self.chance.usize(..most);
        vec![self.chance.u8(..); bytes]
    }

    /// None, as most entries have, or any.
    fn flags(&mut self) -> u32 {
        if self.chance.bool() { 0 } else { self.chance.u32(..) >> self.chance.u32(..32) }
    }

    fn live(&mut self, key: &[u8]) -> Option<Kept> {
        self.map.get(key).filter(|kept| kept.expiry.is_none_or(|at| at > self.now)).cloned()
    }

    /// What the store says of a key agrees with the map; what was evicted is forgotten.
    fn compare(&mut self, key: &[u8]) {
        let expected = self.live(key);
        let found = value_of(&mut self.store, key);
        if self.evicts && found.is_none() {
            self.map.remove(key);
            return;
        }
        let is_same = found == expected.as_ref().map(|kept| kept.value.clone());
        assert!(
            is_same,
            "{key:?}: {:?}",
            (found.map(|v| v.len()), expected.map(|k| k.value.len()))
        );
        let meta = self.store.peek(key).unwrap();
        assert_eq!(
            meta.map(|meta| (meta.expiry_ms, meta.flags)),
            expected.map(|kept| (kept.expiry, kept.flags))
        );
    }

    fn step(&mut self) {
        let key = self.key();
        self.compare(&key);
        match self.chance.u32(..20) {
            0..8 => self.set(key),
            8..11 => {
                let expected = self.live(&key).is_some();
                assert_eq!(self.store.delete(&key).unwrap(), expected);
                self.map.remove(&key);
            }
            11 => self.now += self.chance.u64(..20),
            12..14 => self.expire(key),
            14..17 => self.rename(key),
            _ => self.append(key),
        }
        self.store.set_now(Some(self.now));
    }

    fn set(&mut self, key: Vec<u8>) {
        let (value, flags) = (self.value(), self.flags());
        let live = self.live(&key);
        let condition =
            [Condition::Always, Condition::Absent, Condition::Present][self.chance.usize(..3)];
        let at = self.now + self.chance.u64(1..100);
        let expiry = [Expiry::Clear, Expiry::Keep, Expiry::At(at)][self.chance.usize(..3)];
        let may = match condition {
            Condition::Absent => live.is_none(),
            Condition::Present => live.is_some(),
            _ => true,
        };
        match self.store.set(&key, &value, &Set { condition, expiry, flags }) {
            // An entry may be evicted for its own new value, and is then absent.
            Ok(SetDone::Stored { .. }) if may => {
                let expiry = match expiry {
                    Expiry::Clear => None,
                    Expiry::Keep => live.and_then(|kept| kept.expiry),
                    Expiry::At(at) => Some(at),
                };
                self.map.insert(key, Kept { value, expiry, flags });
            }
            Ok(SetDone::Refused) if !may => {}
            Err(Error::Full { .. }) if !self.evicts => {}
            _ if self.evicts => self.forget(&key),
            other => panic!("{other:?}"),
        }
    }

    /// Takes what the store says of a key for what is.
    fn forget(&mut self, key: &[u8]) {
        self.map.remove(key);
        if let (Some(value), Some(meta)) =
            (value_of(&mut self.store, key), self.store.peek(key).unwrap())
        {
            let kept = Kept { value, expiry: meta.expiry_ms, flags: meta.flags };
            self.map.insert(key.to_vec(), kept);
        }
    }

    fn expire(&mut self, key: Vec<u8>) {
        let at = self.chance.bool().then(|| self.now + self.chance.u64(1..50));
        self.store.update(&key, |_| (Change::Expire(at), ())).unwrap();
        if let Some(mut kept) = self.live(&key) {
            kept.expiry = at;
            self.map.insert(key, kept);
        }
    }

    fn rename(&mut self, from: Vec<u8>) {
        let to = self.key();
        let moved = self.store.update_many(&[&from, &to], |entries| match entries[0] {
            Some(entry) if from != to => {
                let (value, meta) = (entry.value.to_vec(), entry.meta);
                let set = Change::Set { value, expiry: meta.expiry_ms, flags: meta.flags };
                (vec![Change::Remove, set], true)
            }
            _ => (vec![Change::Keep, Change::Keep], false),
        });
        match moved {
            Ok(true) => {
                let kept = self.live(&from).expect("the store has it");
                self.map.remove(&from);
                self.map.insert(to, kept);
            }
            Ok(false) => {}
            Err(Error::Full { .. }) if !self.evicts => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn append(&mut self, key: Vec<u8>) {
        let more = self.value();
        let done = self.store.update(&key, |entry| {
            let mut value = entry.map_or(Vec::new(), |entry| entry.value.to_vec());
            value.extend_from_slice(&more);
            if value.len() > 60_000 {
                return (Change::Keep, None);
            }
            let expiry = entry.and_then(|entry| entry.meta.expiry_ms);
            let flags = entry.map_or(0, |entry| entry.meta.flags);
            let kept = Kept { value: value.clone(), expiry, flags };
            (Change::Set { value, expiry, flags }, Some(kept))
        });
        match done {
            Ok(Some(kept)) => drop(self.map.insert(key, kept)),
            Ok(None) => {}
            Err(Error::Full { .. }) if !self.evicts => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn prove_all(&mut self) {
        prove(&mut self.store);
        let keys: Vec<_> = self.map.keys().cloned().collect();
        for key in keys {
            self.compare(&key);
        }
        let mut seen = HashMap::new();
        let mut cursor = 0;
        loop {
            cursor = self
                .store
                .scan(cursor, 10, |key, _| *seen.entry(key.to_vec()).or_insert(0) += 1)
                .unwrap();
            if cursor == 0 {
                break;
            }
        }
        assert!(seen.values().all(|&count| count == 1));
        let live = self.map.clone().into_keys().filter(|key| self.live(key).is_some());
        let live: std::collections::HashSet<_> = live.collect();
        assert_eq!(seen.into_keys().collect::<std::collections::HashSet<_>>(), live);
    }
}

fn check(memory_bytes: u64, evict: Evict, keys: u64, steps: u32) {
    let mut model = Model::new(memory_bytes, evict, keys);
    for step in 0..steps {
        model.step();
        if step % (steps / 40) == 0 {
            prove(&mut model.store);
        }
    }
    model.prove_all();
    model.store.clear().unwrap();
    assert_eq!(prove(&mut model.store).entries, 0);
}

#[test]
fn a_store_with_room_is_a_map() {
    check(64 << 20, Evict::None, 2000, 40_000);
}

#[test]
fn a_small_store_that_refuses_is_a_map_while_it_has_room() {
    check(1 << 20, Evict::None, 500, 20_000);
}

#[test]
fn a_small_store_that_evicts_is_a_map_that_forgets() {
    check(1 << 20, Evict::Policy, 1000, 20_000);
}

#[test]
fn a_store_with_slabs_is_a_map() {
    check(256 << 20, Evict::None, 3000, 40_000);
}

#[test]
fn every_step_of_a_small_store_leaves_it_whole() {
    let mut model = Model::new(1 << 20, Evict::Policy, 200);
    for _ in 0..1500 {
        model.step();
        prove(&mut model.store);
    }
}

#[test]
fn many_small_entries_grow_the_table() {
    let memory_bytes = 32 << 20;
    let how = Create { memory_bytes, mode: 0o600, evict: Evict::None };
    let mut store = Store::anonymous(&how).unwrap();
    for number in 0..200_000u32 {
        store.set(format!("key:{number:012}").as_bytes(), &[7; 20], &crate::ALWAYS).unwrap();
    }
    let verified = prove(&mut store);
    let load = verified.entries as f64 / verified.buckets as f64;
    eprintln!("{verified:?} load {load:.3}");
    assert!(verified.entries == 200_000 && load > 0.7, "{load}");
    for number in 0..200_000u32 {
        assert!(value_of(&mut store, format!("key:{number:012}").as_bytes()).is_some());
    }
}
