//! A store that is only looked at.
//!
//! Promises: attached read-only, so whatever is wrong with it, it can harm nothing; it claims no
//! slot and takes no hold, so nobody waits for it or has to clear up after it.

use std::sync::Arc;

use crate::bucket::Sought;
use crate::change::check_key;
use crate::hash::hash;
use crate::layout::{Plan, header};
use crate::mapping::Mapping;
use crate::reader::Reader;
use crate::session::system_now_ms;
use crate::view::View;
use crate::{Broken, Census, Error, Meta, Stat, Verified, report, system, verify};

/// A store that is only looked at: attached read-only, so it can harm nothing.
#[derive(Debug)]
pub struct Observer {
    view: View,
    plan: Plan,
    seed: u64,
    now: Option<u64>,
    mapping: Arc<Mapping>,
}

// SAFETY: an observer reads shared memory through atomics, from one thread at a time.
unsafe impl Send for Observer {}

impl Observer {
    pub(crate) fn new(mapping: Arc<Mapping>) -> Result<Self, Error> {
        let view = mapping.view();
        system::check(&view)?;
        let (plan, seed) = (Plan::new(view.bytes()), view.load(header::SEED_AT));
        Ok(Self { view, plan, seed, now: None, mapping })
    }

    /// As [`Store::set_now`](crate::Store::set_now).
    pub fn set_now(&mut self, now_ms: Option<u64>) {
        self.now = now_ms;
    }

    /// As [`Store::get`](crate::Store::get); it leaves no trace, so it does not keep an entry from
    /// being evicted.
    ///
    /// # Errors
    /// As [`Store::get`](crate::Store::get).
    pub fn get(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<Meta>, Error> {
        check_key(key)?;
        self.reader().get(hash(self.seed, key), key, || self.now_ms(), |_| (), value)
    }

    /// As [`Store::get_range`](crate::Store::get_range): who may not write cannot lease, and reads
    /// a large value in parts instead.
    ///
    /// # Errors
    /// As [`Store::get`](crate::Store::get).
    pub fn get_range(
        &self,
        key: &[u8],
        from: u64,
        count: u64,
        part: &mut Vec<u8>,
    ) -> Result<Option<Meta>, Error> {
        check_key(key)?;
        let sought = Sought::new(self.seed, key);
        self.reader().get_range(&sought, || self.now_ms(), (from, count), part)
    }

    /// As [`Store::peek`](crate::Store::peek).
    ///
    /// # Errors
    /// As [`Store::get`](crate::Store::get).
    pub fn peek(&self, key: &[u8]) -> Result<Option<Meta>, Error> {
        check_key(key)?;
        self.reader().peek(&Sought::new(self.seed, key), || self.now_ms())
    }

    /// As [`Store::scan`](crate::Store::scan).
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn scan(
        &self,
        cursor: u64,
        count: usize,
        each: impl FnMut(&[u8], Meta),
    ) -> Result<u64, Error> {
        self.reader().scan(self.seed, self.now_ms(), cursor, count, each)
    }

    /// As [`Store::random_key`](crate::Store::random_key).
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn random_key(&self, key: &mut Vec<u8>) -> Result<bool, Error> {
        self.reader().random_key(self.seed, self.now_ms(), system::random(), key)
    }

    /// As [`Store::len`](crate::Store::len).
    #[must_use]
    pub fn len(&self) -> u64 {
        report::entries(&self.view, &self.plan)
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// As [`Store::stat`](crate::Store::stat).
    #[must_use]
    pub fn stat(&self) -> Stat {
        report::stat(&self.view, &self.plan)
    }

    /// As [`Store::census`](crate::Store::census).
    #[must_use]
    pub fn census(&self) -> Census {
        report::census(&self.view, &self.plan)
    }

    /// As [`Store::verify`](crate::Store::verify), without holding anything: it looks again while
    /// others change the store.
    ///
    /// # Errors
    /// All that is wrong; or that nothing could be proven, because the store never stood still.
    pub fn verify(&self) -> Result<Verified, Vec<Broken>> {
        verify::from_outside(&self.view, &self.plan, self.seed)
    }

    /// The size of the segment.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.plan.bytes
    }

    /// Returns how many bytes of the segment are in memory; `None` if the system does not tell this
    /// user. It asks for every page: some milliseconds for each GiB.
    #[must_use]
    pub fn resident_bytes(&self) -> Option<u64> {
        report::resident_bytes(&self.view, self.mapping.tells_what_is_resident())
    }

    /// The store's name.
    #[must_use]
    pub fn name(&self) -> String {
        system::name_of(&self.view)
    }

    fn now_ms(&self) -> u64 {
        self.now.unwrap_or_else(system_now_ms)
    }

    fn reader(&self) -> Reader<'_> {
        Reader { view: &self.view, plan: &self.plan }
    }
}
