//! Changing a part of an entry: its value's begin, middle or end, its expiry, its age.
//!
//! Promises: each call is one change; what it does not name of an entry stays: value, expiry and
//! flags.

use crate::bucket::Sought;
use crate::change::check_key;
use crate::{Change, Entry, Error, Meta, Store};

impl Store {
    /// Reads a part of a value, without the rest: appends at most `count` bytes from `from` on to
    /// `part`. What is known of the entry tells how long the value is.
    ///
    /// ```
    /// # use morecore_store::{Create, Set, Store};
    /// # let how = Create { memory_bytes: 8 << 20, ..Create::default() };
    /// # let mut store = Store::anonymous(&how)?;
    /// store.set(b"k", b"hello, world", &Set::default())?;
    /// let mut part = Vec::new();
    /// let meta = store.get_range(b"k", 7, 100, &mut part)?.expect("it was just set");
    /// assert_eq!((part.as_slice(), meta.bytes), (&b"world"[..], 12));
    /// # Ok::<(), morecore_store::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Store::get`].
    pub fn get_range(
        &mut self,
        key: &[u8],
        from: u64,
        count: u64,
        part: &mut Vec<u8>,
    ) -> Result<Option<Meta>, Error> {
        self.session.enter()?;
        check_key(key)?;
        let sought = Sought::new(self.session.seed, key);
        let session = &self.session;
        let found = self.reader().get_range(&sought, || session.now_ms(), (from, count), part)?;
        if found.is_some() {
            self.session.visit_found(&sought);
        }
        Ok(found)
    }

    /// Puts `bytes` behind a value, and returns how long it is then; an absent one counts as empty.
    ///
    /// ```
    /// # use morecore_store::{Create, Store};
    /// # let how = Create { memory_bytes: 8 << 20, ..Create::default() };
    /// # let mut store = Store::anonymous(&how)?;
    /// assert_eq!(store.append(b"log", b"one,")?, 4);
    /// assert_eq!(store.append(b"log", b"two,")?, 8);
    /// # Ok::<(), morecore_store::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Store::set`].
    pub fn append(&mut self, key: &[u8], bytes: &[u8]) -> Result<u64, Error> {
        self.update(key, |entry| {
            let old = entry.map_or(&[][..], |entry| entry.value);
            replaced(entry, [old, bytes].concat())
        })
    }

    /// Puts `bytes` over a value from its byte `from` on, and returns how long it is then. What is
    /// missing before `from` becomes zeros; an absent value counts as empty, and stays absent if
    /// `bytes` is empty.
    ///
    /// ```
    /// # use morecore_store::{Create, Set, Store};
    /// # let how = Create { memory_bytes: 8 << 20, ..Create::default() };
    /// # let mut store = Store::anonymous(&how)?;
    /// store.set(b"k", b"hello, world", &Set::default())?;
    /// assert_eq!(store.set_range(b"k", 7, b"there!")?, 13);
    /// # let mut value = Vec::new();
    /// # store.get(b"k", &mut value)?;
    /// assert_eq!(value, b"hello, there!");
    /// # Ok::<(), morecore_store::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Store::set`].
    pub fn set_range(&mut self, key: &[u8], from: u64, bytes: &[u8]) -> Result<u64, Error> {
        let most = self.session.plan.value_bytes_most();
        let end = from.saturating_add(bytes.len() as u64);
        if end > most {
            return Err(Error::ValueTooLong { bytes: end, most });
        }
        self.update(key, |entry| {
            let old = entry.map_or(&[][..], |entry| entry.value);
            if bytes.is_empty() {
                return (Change::Keep, old.len() as u64);
            }
            let mut value = Vec::with_capacity(old.len().max(end as usize));
            value.extend_from_slice(old);
            value.resize(old.len().max(end as usize), 0);
            value[from as usize..end as usize].copy_from_slice(bytes);
            replaced(entry, value)
        })
    }

    /// Lets an entry expire at this unix millisecond; false if there is none.
    ///
    /// # Errors
    /// [`Error::KeyTooLong`]; [`Error::Held`].
    pub fn expire(&mut self, key: &[u8], at_ms: u64) -> Result<bool, Error> {
        self.update(key, |entry| match entry {
            Some(_) => (Change::Expire(Some(at_ms)), true),
            None => (Change::Keep, false),
        })
    }

    /// Lets an entry expire never; false if there is none, or if it never did.
    ///
    /// # Errors
    /// As [`Store::expire`].
    pub fn persist(&mut self, key: &[u8]) -> Result<bool, Error> {
        self.update(key, |entry| match entry {
            Some(entry) if entry.meta.expiry_ms.is_some() => (Change::Expire(None), true),
            _ => (Change::Keep, false),
        })
    }

    /// Counts as a visit of an entry, so that it is not evicted soon; false if there is none.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub fn touch(&mut self, key: &[u8]) -> Result<bool, Error> {
        let is_there = self.peek(key)?.is_some();
        if is_there {
            self.session.visit_found(&Sought::new(self.session.seed, key));
        }
        Ok(is_there)
    }
}

/// A new value in an entry's place, whose length is returned: expiry and flags stay.
fn replaced(entry: Option<Entry<'_>>, value: Vec<u8>) -> (Change, u64) {
    let (expiry, flags) = entry.map_or((None, 0), |entry| (entry.meta.expiry_ms, entry.meta.flags));
    let bytes = value.len() as u64;
    (Change::Set { value, expiry, flags }, bytes)
}
