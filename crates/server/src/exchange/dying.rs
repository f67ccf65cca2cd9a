//! Keys that will expire, for those who want to hear of it when they do.
//!
//! ```text
//!   a client of ours gives k an expiry --note--> by_time --it has come--> k is gone: told
//!   a part of the store is gone through --note----^               `-----> k has a later one: noted
//! ```
//!
//! Promises: a key that a client of ours gave an expiry is told once, within the next look after
//! that; one that another process gave one is told if it was found before it expired. What is
//! noted has a bound.
//! Source: notify.c and expire.c of Redis 7.0.15.

use std::collections::{BTreeSet, HashMap};

use morecore_store::{Error, Store};

/// Keys that are noted at most, as many as are known for prefixes.
const KEYS_MOST: usize = 1_000_000;

/// Entries that are gone through in one look: about a millisecond's work, ten times a second.
const LOOKED_MOST: usize = 10_000;

/// Keys that will expire.
#[derive(Debug, Default)]
pub(super) struct Dying {
    by_key: HashMap<Vec<u8>, u64>,
    by_time: BTreeSet<(u64, Vec<u8>)>,
    /// Where the store is gone through next.
    cursor: u64,
}

impl Dying {
    /// Takes note of when a key expires; nothing: it does not.
    pub(super) fn note(&mut self, key: &[u8], expiry_ms: Option<u64>) {
        if let Some(old_ms) = self.by_key.remove(key) {
            self.by_time.remove(&(old_ms, key.to_vec()));
        }
        let has_room = self.by_key.len() < KEYS_MOST;
        if let Some(expiry_ms) = expiry_ms.filter(|_| has_room) {
            self.by_key.insert(key.to_vec(), expiry_ms);
            self.by_time.insert((expiry_ms, key.to_vec()));
        }
    }

    /// Forgets all keys.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Goes through a part of the store, for which it is `now_ms` too; returns the keys that have
    /// expired.
    pub(super) fn look(&mut self, store: &mut Store, now_ms: u64) -> Result<Vec<Vec<u8>>, Error> {
        let mut expired = Vec::new();
        while self.by_time.first().is_some_and(|(expiry_ms, _)| *expiry_ms <= now_ms) {
            let Some((_, key)) = self.by_time.pop_first() else { break };
            self.by_key.remove(&key);
            match store.peek(&key)? {
                None => expired.push(key),
                Some(meta) => self.note(&key, meta.expiry_ms),
            }
        }
        let mut found = Vec::new();
        self.cursor = store.scan(self.cursor, LOOKED_MOST, |key, meta| {
            found.extend(meta.expiry_ms.map(|expiry_ms| (key.to_vec(), expiry_ms)));
        })?;
        for (key, expiry_ms) in found {
            if self.by_key.get(&key) != Some(&expiry_ms) {
                self.note(&key, Some(expiry_ms));
            }
        }
        Ok(expired)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use morecore_store::{Create, Expiry, Set};

    #[test]
    fn what_expired_is_told_once_and_what_was_deleted_or_prolonged_is_not() {
        let mut store = Store::anonymous(&Create::default()).expect("a test has memory");
        let mut dying = Dying::default();
        let set = |store: &mut Store, key: &[u8], at_ms| {
            let how = Set { expiry: Expiry::At(at_ms), ..Set::default() };
            store.set(key, b"v", &how).expect("there is room");
        };
        let look = |dying: &mut Dying, store: &mut Store, now_ms| {
            store.set_now(Some(now_ms));
            dying.look(store, now_ms).expect("nobody holds it")
        };
        store.set_now(Some(1_000));
        set(&mut store, b"noted", 2_000);
        dying.note(b"noted", Some(2_000));
        set(&mut store, b"found", 2_000);
        set(&mut store, b"later", 2_000);
        set(&mut store, b"deleted", 2_000);
        assert_eq!(look(&mut dying, &mut store, 1_500), [b""; 0]);
        set(&mut store, b"later", 3_000);
        store.delete(b"deleted").expect("nobody holds it");
        dying.note(b"deleted", None);
        assert_eq!(look(&mut dying, &mut store, 2_000), [b"found", b"noted"]);
        assert_eq!(look(&mut dying, &mut store, 2_500), [b""; 0]);
        assert_eq!(look(&mut dying, &mut store, 3_000), [b"later"]);
    }
}
