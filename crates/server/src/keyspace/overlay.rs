//! What a transaction has changed so far, over the store as it is.
//!
//! Promises: an entry that was not changed is read in the store, where it is held; nothing is
//! written there before the commit. It has at most the bytes of the values that were written.

use std::collections::HashMap;

use morecore_store::{Change, Entry, Error, Expiry, Meta, Set, SetDone, Store};
use morecore_wire::parse_integer;

use super::{is_met, meta_of};

/// How often a random key of the store is asked for that was not removed, before any will do.
const RANDOM_TRIES: u32 = 100;

/// What tells a version of a transaction's own from all of the store, which have 48 bits: each
/// change has another, so that one can be told from none.
const OWN: u64 = 1 << 63;

/// What a transaction has changed so far.
#[derive(Default)]
pub(super) struct Overlay {
    /// Whether all that is in the store is gone.
    is_cleared: bool,
    /// Each key that was changed, and what stands there now.
    changed: HashMap<Vec<u8>, Option<Stored>>,
    /// How many changes there were.
    changes: u64,
}

/// An entry that is to be set.
struct Stored {
    value: Vec<u8>,
    meta: Meta,
}

impl Overlay {
    pub(super) fn get(
        &self,
        store: &mut Store,
        key: &[u8],
        value: &mut Vec<u8>,
    ) -> Result<Option<Meta>, Error> {
        match self.changed.get(key) {
            Some(Some(stored)) => {
                value.extend_from_slice(&stored.value);
                Ok(Some(stored.meta))
            }
            Some(None) => Ok(None),
            None if self.is_cleared => Ok(None),
            None => store.get(key, value),
        }
    }

    pub(super) fn peek(&self, store: &mut Store, key: &[u8]) -> Result<Option<Meta>, Error> {
        match self.changed.get(key) {
            Some(stored) => Ok(stored.as_ref().map(|stored| stored.meta)),
            // What the store would refuse is refused here too.
            None => store.peek(key).map(|found| found.filter(|_| !self.is_cleared)),
        }
    }

    pub(super) fn set(
        &mut self,
        store: &mut Store,
        key: &[u8],
        value: &[u8],
        how: &Set,
    ) -> Result<SetDone, Error> {
        let live = self.peek(store, key)?;
        if !is_met(how.condition, live.as_ref()) {
            return Ok(SetDone::Refused);
        }
        let expiry = match how.expiry {
            Expiry::Clear => None,
            Expiry::Keep => live.and_then(|meta| meta.expiry_ms),
            Expiry::At(at_ms) => Some(at_ms),
        };
        self.put(store, key, value.to_vec(), expiry, how.flags)?;
        Ok(SetDone::Stored { version: 0 })
    }

    pub(super) fn increment(
        &mut self,
        store: &mut Store,
        key: &[u8],
        by: i64,
    ) -> Result<i64, Error> {
        self.update(store, key, |entry| {
            let old = entry.map_or(Some(0), |entry| parse_integer(entry.value));
            let (expiry, flags) =
                entry.map_or((None, 0), |entry| (entry.meta.expiry_ms, entry.meta.flags));
            let old = old.ok_or(Error::NotANumber);
            match old.and_then(|old| old.checked_add(by).ok_or(Error::Overflow)) {
                Ok(sum) => {
                    let value = sum.to_string().into_bytes();
                    (Change::Set { value, expiry, flags }, Ok(sum))
                }
                Err(error) => (Change::Keep, Err(error)),
            }
        })?
    }

    pub(super) fn update<R>(
        &mut self,
        store: &mut Store,
        key: &[u8],
        change: impl FnOnce(Option<Entry<'_>>) -> (Change, R),
    ) -> Result<R, Error> {
        self.update_many(store, &[key], |entries| {
            let (change, result) = change(entries[0]);
            (vec![change], result)
        })
    }

    pub(super) fn update_many<R>(
        &mut self,
        store: &mut Store,
        keys: &[&[u8]],
        change: impl FnOnce(&[Option<Entry<'_>>]) -> (Vec<Change>, R),
    ) -> Result<R, Error> {
        let (mut values, mut found) = (Vec::new(), Vec::with_capacity(keys.len()));
        for key in keys {
            let from = values.len();
            found.push(self.get(store, key, &mut values)?.map(|meta| (from, meta)));
        }
        let entry = |(from, meta): (usize, Meta)| Entry {
            value: &values[from..from + meta.bytes as usize],
            meta,
        };
        let entries: Vec<_> = found.into_iter().map(|found| found.map(entry)).collect();
        let (changes, result) = change(&entries);
        for ((key, entry), change) in keys.iter().zip(&entries).zip(changes) {
            self.change(store, key, *entry, change)?;
        }
        Ok(result)
    }

    fn change(
        &mut self,
        store: &mut Store,
        key: &[u8],
        entry: Option<Entry<'_>>,
        change: Change,
    ) -> Result<(), Error> {
        match (change, entry) {
            (Change::Keep, _) | (Change::Remove | Change::Expire(_), None) => Ok(()),
            (Change::Remove, Some(_)) => {
                self.changed.insert(key.to_vec(), None);
                Ok(())
            }
            // What changes nothing makes no other version of it.
            (Change::Expire(expiry), Some(entry)) if expiry == entry.meta.expiry_ms => Ok(()),
            (Change::Expire(expiry), Some(entry)) => {
                self.put(store, key, entry.value.to_vec(), expiry, entry.meta.flags)
            }
            (Change::Set { value, expiry, flags }, _) => self.put(store, key, value, expiry, flags),
        }
    }

    fn put(
        &mut self,
        store: &mut Store,
        key: &[u8],
        value: Vec<u8>,
        expiry: Option<u64>,
        flags: u32,
    ) -> Result<(), Error> {
        let (bytes, most) = (value.len() as u64, store.value_bytes_most());
        if bytes > most {
            return Err(Error::ValueTooLong { bytes, most });
        }
        self.changes += 1;
        let meta = Meta { version: OWN | self.changes, ..meta_of(&value, expiry, flags) };
        self.changed.insert(key.to_vec(), Some(Stored { value, meta }));
        Ok(())
    }

    /// What stays of the store's entries, and with the first call what has come; so what has come
    /// is seen once, whatever the cursor.
    pub(super) fn scan(
        &self,
        store: &mut Store,
        cursor: u64,
        count: usize,
        mut each: impl FnMut(&[u8], Meta),
    ) -> Result<u64, Error> {
        if cursor == 0 {
            for (key, stored) in &self.changed {
                if let Some(stored) = stored {
                    each(key, stored.meta);
                }
            }
        }
        if self.is_cleared {
            return Ok(0);
        }
        store.scan(cursor, count, |key, meta| {
            if !self.changed.contains_key(key) {
                each(key, meta);
            }
        })
    }

    pub(super) fn random_key(&self, store: &mut Store, key: &mut Vec<u8>) -> Result<bool, Error> {
        let length = key.len();
        let tries = if self.is_cleared { 0 } else { RANDOM_TRIES };
        for _ in 0..tries {
            key.truncate(length);
            if !store.random_key(key)? {
                break;
            }
            if self.changed.get(&key[length..]).is_none_or(Option::is_some) {
                return Ok(true);
            }
        }
        key.truncate(length);
        let some = self.changed.iter().find(|(_, stored)| stored.is_some());
        key.extend_from_slice(some.map_or(&[], |(key, _)| key));
        Ok(some.is_some())
    }

    pub(super) fn len(&self, store: &mut Store) -> Result<u64, Error> {
        let mut count = if self.is_cleared { 0 } else { store.len() };
        for (key, stored) in &self.changed {
            let was_there = !self.is_cleared && store.peek(key)?.is_some();
            count = (count + u64::from(stored.is_some())).saturating_sub(u64::from(was_there));
        }
        Ok(count)
    }

    pub(super) fn clear(&mut self) {
        self.is_cleared = true;
        self.changed.clear();
    }

    /// Has all of it count, and lets go of what is held.
    pub(super) fn commit(self, store: &mut Store) -> Result<(), Error> {
        let changes: Vec<(Vec<u8>, Change)> = self
            .changed
            .into_iter()
            .map(|(key, stored)| match stored {
                None => (key, Change::Remove),
                Some(Stored { value, meta: Meta { expiry_ms: expiry, flags, .. } }) => {
                    (key, Change::Set { value, expiry, flags })
                }
            })
            .collect();
        store.commit_held(self.is_cleared, &changes)
    }
}
