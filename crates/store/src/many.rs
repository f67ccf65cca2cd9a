//! Many keys in one call, so that their cache misses overlap.
//!
//! ```text
//!   for each 16 keys:
//!       get_many    a stage of each look-up, then the next of each: `staged.rs`
//!       set_many    fetch where each look-up begins --> fetch what that leads to
//!                   --> claim all payloads under one hold of the heap --> fill them
//!                   --> change each entry, in order --> free all that was replaced, at once
//! ```
//!
//! Promises: as for each call alone. Whatever is set is whole, one entry after the other; nobody
//! waits for more than one of them. What is to change all at once is for `update_many`.
//! Source: S. Chen et al., Improving Hash Join Performance through Prefetching, 2004.

use crate::bucket::{Bucket, Sought};
use crate::change::{PAYLOAD_ALIGN, Step, check_key};
use crate::fetch::Fetching;
use crate::glance::Glimpse;
use crate::hash::hash;
use crate::payload::Shape;
use crate::reader::Reader;
use crate::session::{Session, Turn};
use crate::staged::Staged;
use crate::{Act, Change, Error, Evict, Meta, Set, SetDone, Store};

/// How many keys are fetched ahead: about as many misses as a core has under way at once.
const PREFETCH_KEYS: usize = 16;

/// How many keys ahead all of a value is fetched: with three it is no faster, with none it takes a
/// fifth more for 1 KiB.
const NEAR: usize = 2;

/// The longest value that is claimed room for together with others: so [`PREFETCH_KEYS`] of them,
/// and what they replace, wait for one another in a part of the smallest store. A longer one takes
/// so long to copy that its claim does not count.
const TOGETHER_BYTES_MOST: u64 = 2048;

/// A value that is to be prepared for its key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct New<'a> {
    pub(crate) sought: Sought<'a>,
    pub(crate) value: &'a [u8],
    pub(crate) flags: u32,
}

impl Store {
    /// Reads many entries, and calls `each` with the index of each key and what was found, in the
    /// order of the keys. The memory of later keys is fetched while earlier ones are read.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub fn get_many(
        &mut self,
        keys: &[&[u8]],
        mut each: impl FnMut(usize, Option<(&[u8], Meta)>),
    ) -> Result<(), Error> {
        self.session.enter()?;
        keys.iter().try_for_each(|key| check_key(key))?;
        let (session, mut value) = (&self.session, Vec::new());
        let now_ms = || session.now_ms();
        // Copies of their own, which stay in registers.
        let (view, plan) = (session.view, session.plan);
        let reader = Reader { view: &view, plan: &plan };
        let mut staged = [Staged::default(); PREFETCH_KEYS];
        for (turn, keys) in keys.chunks(PREFETCH_KEYS).enumerate() {
            for (staged, key) in staged.iter_mut().zip(keys) {
                *staged = reader.set_out(hash(session.seed, key));
            }
            for staged in &mut staged[..keys.len()] {
                reader.approach(staged, session.evict != Evict::None);
            }
            staged[..keys.len().min(NEAR)].iter().for_each(|staged| reader.come_near(staged));
            for (index, key) in keys.iter().enumerate() {
                if let Some(later) = staged[..keys.len()].get(index + NEAR) {
                    reader.come_near(later);
                }
                let staged = &staged[index];
                value.clear();
                let visit = |glimpse: Option<Glimpse<'_>>| session.visit(staged.hash, key, glimpse);
                let found = match reader.arrive(staged, key, &now_ms, &mut value) {
                    Some(found) => {
                        found.is_some().then(|| visit(found));
                        found.map(Glimpse::meta)
                    }
                    None => self.reader().get(staged.hash, key, now_ms, visit, &mut value)?,
                };
                let index = turn * PREFETCH_KEYS + index;
                each(index, found.map(|meta| (value.as_slice(), meta)));
            }
        }
        Ok(())
    }

    /// Sets many values, each as [`Store::set`] would, in the order of the pairs; returns how many
    /// the condition let through. The memory of later keys is fetched while earlier ones are set,
    /// so this takes a fraction of the time of as many single sets.
    ///
    /// Each entry changes whole or not at all, but not all of them at once: others may see some set
    /// and the rest not yet, and whoever dies in the middle has set the first ones. What must
    /// change all at once is for [`Store::update_many`]. A key that is named twice is set twice.
    ///
    /// ```
    /// use morecore_store::{Create, Set, Store};
    ///
    /// let mut store = Store::anonymous(&Create { memory_bytes: 1 << 20, ..Create::default() })?;
    /// let pairs: [(&[u8], &[u8]); 3] = [(b"one", b"1"), (b"two", b"2"), (b"three", b"3")];
    /// assert_eq!(store.set_many(&pairs, &Set::default())?, 3);
    ///
    /// let mut found = Vec::new();
    /// store.get_many(&[b"two", b"four"], |_, entry| {
    ///     found.push(entry.map(|(value, _)| value.to_vec()));
    /// })?;
    /// assert_eq!(found, [Some(b"2".to_vec()), None]);
    /// # Ok::<(), morecore_store::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::KeyTooLong`], [`Error::ValueTooLong`]: nothing changed. As [`Store::set`] has
    /// otherwise, for one of the pairs: then those before it are set, and the others are not.
    pub fn set_many(&mut self, pairs: &[(&[u8], &[u8])], how: &Set) -> Result<usize, Error> {
        self.session.enter_to_change()?;
        for (key, value) in pairs {
            check_key(key)?;
            self.session.check_value(value)?;
        }
        let (mut rest, mut stored, mut acts) = (pairs, 0, Vec::with_capacity(PREFETCH_KEYS));
        while let Some(&(key, value)) = rest.first() {
            let together = &rest[..rest.len().min(PREFETCH_KEYS)];
            stored += self.set_together(together, how, &mut acts)?;
            rest = &rest[acts.len()..];
            if acts.is_empty() {
                // A long one, or one that others must make room for.
                stored += usize::from(self.set(key, value, how)? != SetDone::Refused);
                rest = &rest[1..];
            }
        }
        Ok(stored)
    }

    /// Sets the first of these pairs: as many as `acts` has in the end.
    fn set_together(
        &mut self,
        pairs: &[(&[u8], &[u8])],
        how: &Set,
        acts: &mut Vec<Act>,
    ) -> Result<usize, Error> {
        let mut fetched = [Fetching::default(); PREFETCH_KEYS];
        self.fetch(pairs.iter().map(|(key, _)| *key), &mut fetched);
        let turn = Turn(&mut self.session);
        let news = pairs.iter().zip(fetched).map(|(&(key, value), fetching)| New {
            sought: Sought::hashed(fetching.hash(), key),
            value,
            flags: how.flags,
        });
        acts.clear();
        turn.0.prepare_some(news.clone(), acts)?;
        let mut stored = 0;
        for (new, act) in news.zip(&*acts) {
            let done = turn.0.put_if(&new.sought, *act, how)?;
            turn.0.let_go_last();
            stored += usize::from(done != SetDone::Refused);
        }
        Ok(stored)
    }

    /// What is looked for under many keys, with its memory on the way: that of the last ones may
    /// push out that of the first, but with that many it was in vain anyway.
    pub(crate) fn seek_many<'k>(&self, keys: &[&'k [u8]]) -> Vec<Sought<'k>> {
        let mut sought = Vec::with_capacity(keys.len());
        let mut fetched = [Fetching::default(); PREFETCH_KEYS];
        for keys in keys.chunks(PREFETCH_KEYS) {
            self.fetch(keys.iter().copied(), &mut fetched);
            let pairs = fetched.iter().zip(keys);
            sought.extend(pairs.map(|(fetching, key)| Sought::hashed(fetching.hash(), key)));
        }
        sought
    }

    /// Has the memory of at most [`PREFETCH_KEYS`] keys on its way.
    #[inline]
    pub(crate) fn fetch<'a>(
        &self,
        keys: impl Iterator<Item = &'a [u8]>,
        fetched: &mut [Fetching; PREFETCH_KEYS],
    ) {
        let mut count = 0;
        for (fetching, key) in fetched.iter_mut().zip(keys) {
            *fetching = self.begin_fetch(key);
            count += 1;
        }
        for fetching in &fetched[..count] {
            self.fetch_on(*fetching);
        }
    }
}

impl Session {
    /// Prepares values as `prepare` does, with one hold of the heap for all; stops before one that
    /// is long, or that there is no room for now.
    pub(crate) fn prepare_some<'a>(
        &mut self,
        news: impl Iterator<Item = New<'a>> + Clone,
        acts: &mut Vec<Act>,
    ) -> Result<(), Error> {
        let first = acts.len();
        for new in news.clone() {
            let act = match Bucket::inline(new.sought.key, new.value, new.flags) {
                Some(bucket) => Some(Act::Put(bucket, None)),
                None if new.value.len() as u64 > TOGETHER_BYTES_MOST => None,
                None => self.claim_together(&new)?,
            };
            let Some(act) = act else { break };
            acts.push(act);
        }
        if self.is_heap_held {
            self.let_go_heap();
        }
        for (new, act) in news.zip(&acts[first..]) {
            if let Act::Put(bucket, Some(_)) = act
                && let Some(payload) = bucket.payload()
            {
                self.fill_payload(payload.at, &new);
            }
        }
        Ok(())
    }

    /// Claims room for one of several; the heap is held until the last of them has it.
    fn claim_together(&mut self, new: &New<'_>) -> Result<Option<Act>, Error> {
        let bytes = self.bytes_of(new);
        let claimed = match self.claim_of_stock(bytes) {
            Some(found) => Some(found),
            None => {
                if !self.is_heap_held {
                    self.hold_heap()?;
                }
                self.claim_held(bytes, PAYLOAD_ALIGN)?
            }
        };
        Ok(claimed.map(|(at, claim)| Act::Put(Self::bucket_of(at, new), Some(claim))))
    }

    /// Prepares values, dropping others for them if need be.
    pub(crate) fn prepare_all(&mut self, news: &[New<'_>]) -> Result<Vec<Act>, Error> {
        let mut acts = Vec::with_capacity(news.len());
        while acts.len() < news.len() {
            let rest = &news[acts.len()..];
            let together = &rest[..rest.len().min(PREFETCH_KEYS)];
            self.prepare_some(together.iter().copied(), &mut acts)?;
            if let Some(new) = news.get(acts.len()) {
                acts.push(self.prepare(&new.sought, new.value, new.flags)?);
            }
        }
        Ok(acts)
    }

    /// What changes come to, but for those that change nothing.
    pub(crate) fn steps_for<'k>(
        &mut self,
        sought: Vec<Sought<'k>>,
        changes: &[Change],
    ) -> Result<Vec<Step<'k>>, Error> {
        self.check_own()?;
        let news = sought.iter().zip(changes).filter_map(|(sought, change)| match change {
            Change::Set { value, flags, .. } => Some(New { sought: *sought, value, flags: *flags }),
            Change::Keep | Change::Remove | Change::Expire(_) => None,
        });
        let news: Vec<_> = news.collect();
        news.iter().try_for_each(|new| self.check_value(new.value))?;
        let mut prepared = self.prepare_all(&news)?.into_iter();
        let steps = sought.into_iter().zip(changes).filter_map(|(sought, change)| {
            let act = match change {
                Change::Keep => return None,
                Change::Remove => Act::Remove,
                Change::Expire(expiry) => Act::Expire(*expiry),
                Change::Set { expiry, .. } => prepared.next()?.expiring(*expiry),
            };
            Some((sought, act))
        });
        Ok(steps.collect())
    }

    fn shape_of(new: &New<'_>) -> Shape {
        Shape::new(new.sought.key.len() as u64, new.value.len() as u64, new.flags)
    }

    /// The entry in a payload at `at`.
    pub(crate) fn bucket_of(at: u64, new: &New<'_>) -> Bucket {
        let (key, value) = (new.sought.key.len() as u64, new.value.len() as u64);
        Self::shape_of(new).bucket(at, key, value, new.flags)
    }

    /// How many bytes the payload of a value takes.
    pub(crate) fn bytes_of(&self, new: &New<'_>) -> u64 {
        self.payload_bytes(Self::shape_of(new))
    }

    /// Fills a payload that nobody else knows.
    pub(crate) fn fill_payload(&self, at: u64, new: &New<'_>) {
        let shape = Self::shape_of(new);
        self.view.copy_in(at + shape.key_at, new.sought.key);
        self.view.copy_in(at + shape.value_at, new.value);
        self.put_sum(at + shape.bytes, new.sought.key, new.value);
    }

    /// Refuses a value that this store cannot hold.
    pub(crate) fn check_value(&self, value: &[u8]) -> Result<(), Error> {
        let (bytes, most) = (value.len() as u64, self.plan.value_bytes_most());
        if bytes > most { Err(Error::ValueTooLong { bytes, most }) } else { Ok(()) }
    }
}
