//! The keys as commands see them: those of the store, or while a transaction runs, what the
//! commands before have made of them.
//!
//! ```text
//!   GET, SET ... --> keyspace --no transaction--> store
//!                        |
//!                        +--in EXEC--> overlay: what was changed  --commit--> store, all at once
//!                                         | not there
//!                                         +--> store, under holds
//! ```
//!
//! Promises: within a transaction a command sees what those before it did, and nobody else does
//! until all of it counts. Without one, a call costs a test of one word more than the store's own.
//! Knows nothing of commands.

mod overlay;

use morecore_store::{
    self as store, Change, Entry, Error, Fetching, Lease, Meta, Set, SetDone, Stat, Store,
};

use overlay::Overlay;

/// The keys as commands see them.
pub(crate) struct Keyspace {
    store: Store,
    /// What a transaction has changed, while one runs.
    overlay: Option<Box<Overlay>>,
}

impl Keyspace {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, overlay: None }
    }

    /// The store, when no command is under way.
    pub(crate) fn into_store(self) -> Store {
        self.store
    }

    /// Begins a transaction over these keys: until it ends nobody else changes them. With
    /// `may_clear` they are all keys that there are.
    pub(crate) fn begin(&mut self, keys: &[&[u8]], may_clear: bool) -> Result<(), Error> {
        if may_clear {
            self.store.hold_everything()?;
        } else {
            self.store.hold_keys(keys)?;
        }
        self.overlay = Some(Box::default());
        Ok(())
    }

    /// Ends a transaction: what it changed counts from now on.
    pub(crate) fn commit(&mut self) -> Result<(), Error> {
        match self.overlay.take() {
            Some(overlay) => overlay.commit(&mut self.store),
            None => Ok(()),
        }
    }

    /// Ends a transaction that changed nothing.
    pub(crate) fn let_go(&mut self) {
        self.overlay = None;
        self.store.let_go();
    }

    /// As [`Store::set_now`].
    pub(crate) fn set_now(&mut self, now_ms: u64) {
        self.store.set_now(Some(now_ms));
    }

    /// As [`Store::get`].
    #[inline]
    pub(crate) fn get(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<Meta>, Error> {
        match &self.overlay {
            None => self.store.get(key, value),
            Some(overlay) => overlay.get(&mut self.store, key, value),
        }
    }

    /// As [`Store::lease`], where no transaction runs; `None` also where the value cannot be leased
    /// now, but perhaps copied.
    pub(crate) fn lease(&mut self, key: &[u8]) -> Option<Lease> {
        if self.overlay.is_some() {
            return None;
        }
        self.store.lease(key).unwrap_or_default()
    }

    /// As [`Store::try_clone`].
    pub(crate) fn attach(&self) -> Option<Store> {
        self.store.try_clone().ok()
    }

    /// As [`Store::value_bytes_most`].
    pub(crate) fn value_bytes_most(&self) -> u64 {
        self.store.value_bytes_most()
    }

    /// As [`Store::peek`].
    #[inline]
    pub(crate) fn peek(&mut self, key: &[u8]) -> Result<Option<Meta>, Error> {
        match &self.overlay {
            None => self.store.peek(key),
            Some(overlay) => overlay.peek(&mut self.store, key),
        }
    }

    /// As [`Store::set`].
    #[inline]
    pub(crate) fn set(&mut self, key: &[u8], value: &[u8], how: &Set) -> Result<SetDone, Error> {
        match &mut self.overlay {
            None => self.store.set(key, value, how),
            Some(overlay) => overlay.set(&mut self.store, key, value, how),
        }
    }

    /// As [`Store::delete`].
    #[inline]
    pub(crate) fn delete(&mut self, key: &[u8]) -> Result<bool, Error> {
        if self.overlay.is_none() {
            return self.store.delete(key);
        }
        self.update(key, |entry| (Change::Remove, entry.is_some()))
    }

    /// As [`Store::increment`].
    #[inline]
    pub(crate) fn increment(&mut self, key: &[u8], by: i64) -> Result<i64, Error> {
        match &mut self.overlay {
            None => self.store.increment(key, by),
            Some(overlay) => overlay.increment(&mut self.store, key, by),
        }
    }

    /// As [`Store::update`].
    #[inline]
    pub(crate) fn update<R>(
        &mut self,
        key: &[u8],
        change: impl FnOnce(Option<Entry<'_>>) -> (Change, R),
    ) -> Result<R, Error> {
        match &mut self.overlay {
            None => self.store.update(key, change),
            Some(overlay) => overlay.update(&mut self.store, key, change),
        }
    }

    /// As [`Store::update_many`].
    pub(crate) fn update_many<R>(
        &mut self,
        keys: &[&[u8]],
        change: impl FnOnce(&[Option<Entry<'_>>]) -> (Vec<Change>, R),
    ) -> Result<R, Error> {
        match &mut self.overlay {
            None => self.store.update_many(keys, change),
            Some(overlay) => overlay.update_many(&mut self.store, keys, change),
        }
    }

    /// As [`Store::prefetch`].
    #[inline]
    pub(crate) fn prefetch(&self, key: &[u8]) {
        self.store.prefetch(key);
    }

    /// As [`Store::begin_fetch`].
    #[inline]
    pub(crate) fn begin_fetch(&self, key: &[u8]) -> Fetching {
        self.store.begin_fetch(key)
    }

    /// As [`Store::fetch_on`].
    #[inline]
    pub(crate) fn fetch_on(&self, fetching: Fetching) {
        self.store.fetch_on(fetching);
    }

    /// As [`Store::scan`].
    pub(crate) fn scan(
        &mut self,
        cursor: u64,
        count: usize,
        each: impl FnMut(&[u8], Meta),
    ) -> Result<u64, Error> {
        match &self.overlay {
            None => self.store.scan(cursor, count, each),
            Some(overlay) => overlay.scan(&mut self.store, cursor, count, each),
        }
    }

    /// As [`Store::random_key`].
    pub(crate) fn random_key(&mut self, key: &mut Vec<u8>) -> Result<bool, Error> {
        match &self.overlay {
            None => self.store.random_key(key),
            Some(overlay) => overlay.random_key(&mut self.store, key),
        }
    }

    /// As [`Store::len`].
    pub(crate) fn len(&mut self) -> Result<u64, Error> {
        match &self.overlay {
            None => Ok(self.store.len()),
            Some(overlay) => overlay.len(&mut self.store),
        }
    }

    /// As [`Store::clear`].
    pub(crate) fn clear(&mut self) -> Result<(), Error> {
        match &mut self.overlay {
            None => self.store.clear(),
            Some(overlay) => {
                overlay.clear();
                Ok(())
            }
        }
    }

    /// As [`Store::shard`].
    pub(crate) fn shard(&self, key: &[u8]) -> (u32, u64) {
        self.store.shard(key)
    }

    /// As [`Store::shard_version`], of all shards.
    pub(crate) fn shard_versions(&mut self) -> Vec<u64> {
        let shards = self.store.stat().shards;
        (0..shards).map(|shard| self.store.shard_version(shard)).collect()
    }

    /// As [`Store::stat`].
    pub(crate) fn stat(&mut self) -> Stat {
        self.store.stat()
    }
}

/// What [`Store::update`] shows of an entry that is not in the store: its version is of no meaning
/// before it is there.
fn meta_of(value: &[u8], expiry_ms: Option<u64>, flags: u32) -> Meta {
    Meta { version: 0, expiry_ms, bytes: value.len() as u64, flags }
}

/// Whether a condition of [`Store::set`] holds.
fn is_met(condition: store::Condition, live: Option<&Meta>) -> bool {
    match condition {
        store::Condition::Always => true,
        store::Condition::Absent => live.is_none(),
        store::Condition::Present => live.is_some(),
        store::Condition::Version(version) => live.is_some_and(|meta| meta.version == version),
    }
}
