//! The one type that faces use: a session on a store, and all that can be asked of it.
//!
//! Promises: each call is whole or did not happen, whoever dies and whenever; what has expired is
//! absent; looking waits for nobody.

use std::sync::Arc;

use morecore_sys::file::Access;

use crate::atomic::Acquire;
use crate::bucket::Sought;
use crate::change::check_key;
use crate::expire::Late;
use crate::glance::Glimpse;
use crate::hash::hash;
use crate::layout::shard;
use crate::mapping::Mapping;
use crate::observer::Observer;
use crate::reader::Reader;
use crate::session::{Session, Turn};
use crate::{
    Act, Broken, Census, Change, Create, Entry, Error, Listed, Meta, Name, Set, SetDone, Stat,
    Verified, number, report, system, verify,
};

/// How many dues one call of [`Store::tidy`] looks at, and the most stretches that it goes through:
/// those of half a GiB, some ten microseconds if nothing has expired, and two milliseconds of
/// dropping otherwise. So a server, which tidies ten times a second, is through a store of 5 GiB in
/// a second.
const TIDY_DUES: (u64, u32) = (16 << 10, 256);

/// How much free memory one call of [`Store::tidy`] gives back: some milliseconds, in steps between
/// which others come by.
const TIDY_BYTES: u64 = 32 << 20;

/// An attached session on a store. Each thread has its own: see [`Store::try_clone`].
#[derive(Debug)]
pub struct Store {
    pub(crate) session: Session,
}

impl Store {
    /// Makes a store and attaches to it.
    ///
    /// # Errors
    /// [`Error::Exists`] if there is one of this name; what the system says.
    pub fn create(name: &Name, how: &Create) -> Result<Self, Error> {
        Self::join(system::create(name, how)?, Vec::new())
    }

    /// Attaches to a store.
    ///
    /// # Errors
    /// [`Error::NoSuchStore`], [`Error::Layout`], [`Error::TooManyParticipants`]; what the system
    /// says.
    pub fn attach(name: &Name) -> Result<Self, Error> {
        Self::join(system::attach(name, Access::Write)?, Vec::new())
    }

    /// Attaches to a store to look only.
    ///
    /// # Errors
    /// As [`Store::attach`].
    pub fn observe(name: &Name) -> Result<Observer, Error> {
        Observer::new(system::attach(name, Access::Read)?)
    }

    /// Lists the stores of this machine, by name.
    ///
    /// # Errors
    /// What the system says.
    pub fn list() -> Result<Vec<Listed>, Error> {
        system::list()
    }

    /// Gives a store to a group, by its number: the middle digit of the store's mode is for that.
    ///
    /// # Errors
    /// [`Error::NoSuchStore`]; what the system says.
    pub fn set_group(name: &Name, group: u32) -> Result<(), Error> {
        system::set_group(name, group)
    }

    /// Removes a store. Those who are attached keep what they have until they leave.
    ///
    /// # Errors
    /// [`Error::NoSuchStore`]; what the system says.
    pub fn remove(name: &Name) -> Result<(), Error> {
        system::remove(name)
    }

    /// Makes a store without a name, which children of fork share, and which ends with the last of
    /// them.
    ///
    /// # Errors
    /// What the system says.
    pub fn anonymous(how: &Create) -> Result<Self, Error> {
        Self::join(system::anonymous(how)?, Vec::new())
    }

    /// Attaches to a store that stands in memory at `base`: a copy of a segment, in a test. The
    /// processes in `presumed_dead` count as dead, whatever they are: what they left half done is
    /// rolled back now.
    ///
    /// # Safety
    /// - `bytes` bytes from `base` are mapped, readable, writable and aligned to a page while this
    ///   store and its clones live, and are used through stores only.
    ///
    /// # Errors
    /// As [`Store::attach`].
    pub unsafe fn attach_memory(
        base: *mut u8,
        bytes: u64,
        presumed_dead: &[u32],
    ) -> Result<Self, Error> {
        // SAFETY: the caller's duty.
        let mapping = unsafe { Mapping::borrowed(base, bytes) };
        Self::join(Arc::new(mapping), presumed_dead.to_vec())
    }

    /// Attaches, to look only, to a store that stands in memory at `base`.
    ///
    /// # Safety
    /// - `bytes` bytes from `base` are mapped, readable and aligned to a page while the observer
    ///   lives, and are written through stores only.
    ///
    /// # Errors
    /// As [`Store::attach`].
    pub unsafe fn observe_memory(base: *mut u8, bytes: u64) -> Result<Observer, Error> {
        // SAFETY: the caller's duty.
        Observer::new(Arc::new(unsafe { Mapping::borrowed(base, bytes) }))
    }

    pub(crate) fn join(mapping: Arc<Mapping>, presumed_dead: Vec<u32>) -> Result<Self, Error> {
        system::check(&mapping.view())?;
        Ok(Self { session: Session::new(mapping, presumed_dead)? })
    }

    /// Attaches once more, for another thread.
    ///
    /// # Errors
    /// [`Error::TooManyParticipants`].
    pub fn try_clone(&self) -> Result<Self, Error> {
        let presumed_dead = self.session.me.presumed_dead.clone();
        let mut clone = Self::join(self.session.mapping.clone(), presumed_dead)?;
        clone.session.now = self.session.now;
        Ok(clone)
    }

    /// Where the segment is in this process, and how long it is: for whoever copies it whole.
    #[must_use]
    pub fn memory(&self) -> (*const u8, u64) {
        (self.session.view.base(), self.session.view.bytes())
    }

    /// Sets the time that decides what has expired, in unix milliseconds; `None`: ask the system
    /// whenever an entry that can expire is met.
    pub fn set_now(&mut self, now_ms: Option<u64>) {
        self.session.now = now_ms;
    }

    /// Reads an entry, and appends its value to `value`.
    ///
    /// # Errors
    /// [`Error::KeyTooLong`]; [`Error::Damaged`] if the segment holds nonsense.
    pub fn get(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<Meta>, Error> {
        self.session.enter()?;
        check_key(key)?;
        self.get_hashed(hash(self.session.seed, key), key, value)
    }

    #[inline(always)]
    pub(crate) fn get_hashed(
        &mut self,
        hash: u64,
        key: &[u8],
        value: &mut Vec<u8>,
    ) -> Result<Option<Meta>, Error> {
        let session = &self.session;
        let visit = |glimpse: Option<Glimpse<'_>>| session.visit(hash, key, glimpse);
        self.reader().get(hash, key, || session.now_ms(), visit, value)
    }

    /// Reads what is known of an entry; this does not count as a visit.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub fn peek(&mut self, key: &[u8]) -> Result<Option<Meta>, Error> {
        self.session.enter()?;
        check_key(key)?;
        let sought = Sought::new(self.session.seed, key);
        self.reader().peek(&sought, || self.session.now_ms())
    }

    /// Says that a key will soon be asked for, so that its memory is on its way by then: for
    /// whoever has several commands in hand.
    #[inline]
    pub fn prefetch(&self, key: &[u8]) {
        self.reader().prefetch(hash(self.session.seed, key));
    }

    /// Returns the shard of a key, and a number that grows whenever an entry of that shard changes:
    /// as long as it does not, nothing of the shard did, but that its entries may have expired.
    #[must_use]
    pub fn shard(&self, key: &[u8]) -> (u32, u64) {
        let shard = self.session.plan.shard_of(hash(self.session.seed, key)) as u32;
        (shard, self.shard_version(shard))
    }

    /// Returns the number of a shard that [`Store::shard`] told.
    ///
    /// # Panics
    /// If there is no such shard.
    #[must_use]
    pub fn shard_version(&self, shard: u32) -> u64 {
        assert!(u64::from(shard) < self.session.plan.shards, "no shard {shard}");
        let at = self.session.plan.shard_at(shard.into()) + shard::VERSION;
        // Acquire pairs with the Release of whoever changed it: what is read next is as new. One
        // that is changing counts as changed when it is done.
        self.session.view.word(at).load(Acquire) & !1
    }

    /// Sets a value.
    ///
    /// # Errors
    /// [`Error::Full`], and then nothing changed; [`Error::KeyTooLong`], [`Error::ValueTooLong`];
    /// [`Error::Held`] if a stopped process keeps what is needed.
    pub fn set(&mut self, key: &[u8], value: &[u8], how: &Set) -> Result<SetDone, Error> {
        check_key(key)?;
        // What this will wait for is on its way while the rest is made ready.
        let sought = Sought::hashed(self.begin_fetch(key).hash(), key);
        self.session.enter_to_change()?;
        let turn = Turn(&mut self.session);
        let session = &mut *turn.0;
        let act = session.prepare(&sought, value, how.flags)?;
        Reader { view: &session.view, plan: &session.plan }.fetch_on(sought.hash);
        session.put_if(&sought, act, how)
    }

    /// Removes an entry; false if there was none.
    ///
    /// # Errors
    /// [`Error::KeyTooLong`]; [`Error::Held`].
    pub fn delete(&mut self, key: &[u8]) -> Result<bool, Error> {
        self.session.enter_to_change()?;
        check_key(key)?;
        let turn = Turn(&mut self.session);
        let session = &mut *turn.0;
        let sought = Sought::new(session.seed, key);
        let shards = [session.plan.shard_of(sought.hash)];
        session.hold(&shards)?;
        let Some((_, _, bucket)) = session.find(&sought)? else { return Ok(false) };
        session.change(&shards, &[(sought, Act::Remove)])?;
        Ok(!session.has_expired(&bucket))
    }

    /// Adds `by` to a decimal number, and returns the sum; an absent entry counts as 0. Expiry and
    /// flags stay.
    ///
    /// # Errors
    /// [`Error::NotANumber`], [`Error::Overflow`]; as [`Store::set`].
    pub fn increment(&mut self, key: &[u8], by: i64) -> Result<i64, Error> {
        self.update(key, |entry| {
            let old = entry.map_or(Some(0), |entry| number::parse(entry.value));
            let (expiry, flags) =
                entry.map_or((None, 0), |entry| (entry.meta.expiry_ms, entry.meta.flags));
            let sum = old.ok_or(Error::NotANumber).and_then(|old| number::add(old, by));
            match sum {
                Ok(sum) => {
                    let value = sum.to_string().into_bytes();
                    (Change::Set { value, expiry, flags }, Ok(sum))
                }
                Err(error) => (Change::Keep, Err(error)),
            }
        })?
    }

    /// Reads, modifies and writes one entry; nobody comes between. `change` sees the entry, if it
    /// is live, and says what is to become of it.
    ///
    /// # Errors
    /// As [`Store::set`].
    pub fn update<R>(
        &mut self,
        key: &[u8],
        change: impl FnOnce(Option<Entry<'_>>) -> (Change, R),
    ) -> Result<R, Error> {
        self.session.enter_to_change()?;
        check_key(key)?;
        let turn = Turn(&mut self.session);
        let session = &mut *turn.0;
        let sought = Sought::new(session.seed, key);
        let shards = [session.plan.shard_of(sought.hash)];
        session.hold(&shards)?;
        let mut value = Vec::new();
        let meta = session.read_held(&sought, &mut value)?.map(|(_, meta)| meta);
        let (change, result) = change(meta.map(|meta| Entry { value: &value, meta }));
        let act = session.act_for(&sought, &change)?;
        if !matches!(act, Act::Keep) {
            session.change(&shards, &[(sought, act)])?;
        }
        Ok(result)
    }

    /// Reads, modifies and writes several entries, all or nothing; nobody comes between. `change`
    /// sees the entries in the order of the keys and returns a change for each.
    ///
    /// # Errors
    /// As [`Store::set`]; [`Error::TooManyKeys`] if the journal cannot take so much back.
    pub fn update_many<R>(
        &mut self,
        keys: &[&[u8]],
        change: impl FnOnce(&[Option<Entry<'_>>]) -> (Vec<Change>, R),
    ) -> Result<R, Error> {
        self.session.enter_to_change()?;
        keys.iter().try_for_each(|key| check_key(key))?;
        let sought = self.seek_many(keys);
        let turn = Turn(&mut self.session);
        let session = &mut *turn.0;
        let mut shards: Vec<_> = sought.iter().map(|s| session.plan.shard_of(s.hash)).collect();
        shards.sort_unstable();
        shards.dedup();
        session.hold(&shards)?;
        session.busy = sought.iter().map(|sought| sought.hash).collect();
        let (changes, result) = {
            let (mut values, mut seen) = (Vec::new(), Vec::new());
            for sought in &sought {
                seen.push(session.read_held(sought, &mut values)?);
            }
            let entry = |(from, meta): (usize, Meta)| Entry {
                value: &values[from..from + meta.bytes as usize],
                meta,
            };
            let entries: Vec<_> = seen.into_iter().map(|seen| seen.map(entry)).collect();
            change(&entries)
        };
        let steps = session.steps_for(sought, &changes)?;
        if !steps.is_empty() {
            session.change(&shards, &steps)?;
        }
        Ok(result)
    }

    /// Calls `each` with about `count` entries from `cursor` on, and returns the next cursor; 0
    /// begins and ends. An entry that stays throughout is seen, also while the table grows.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn scan(
        &mut self,
        cursor: u64,
        count: usize,
        each: impl FnMut(&[u8], Meta),
    ) -> Result<u64, Error> {
        self.session.enter()?;
        let (seed, now) = (self.session.seed, self.session.now_ms());
        self.reader().scan(seed, now, cursor, count, each)
    }

    /// Appends the key of some entry to `key`; false if there is none.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn random_key(&mut self, key: &mut Vec<u8>) -> Result<bool, Error> {
        self.session.enter()?;
        let (seed, now) = (self.session.seed, self.session.now_ms());
        self.reader().random_key(seed, now, system::random(), key)
    }

    /// Returns the number of entries, with those that expired and that nobody met yet.
    pub fn len(&mut self) -> u64 {
        report::entries(&self.session.view, &self.session.plan)
    }

    /// Whether there is no entry.
    pub fn is_empty(&mut self) -> bool {
        self.len() == 0
    }

    /// Removes all entries, shard by shard.
    ///
    /// # Errors
    /// [`Error::Held`].
    pub fn clear(&mut self) -> Result<(), Error> {
        self.session.enter_to_change()?;
        self.session.give_stock_back()?;
        let turn = Turn(&mut self.session);
        turn.0.clear_all()
    }

    /// Clears up after dead participants, drops some of what has expired, gives memory that has
    /// been free for a second back to the system, and makes huge pages of what is in use: for
    /// whoever has time, a few times a second.
    ///
    /// # Errors
    /// [`Error::Held`].
    pub fn tidy(&mut self) -> Result<(), Error> {
        self.session.enter_to_change()?;
        self.session.clear_up()?;
        self.session.give_stock_back()?;
        let turn = Turn(&mut self.session);
        turn.0.expire_some(TIDY_DUES, Late::Soon)?;
        turn.0.drop_empty_tables()?;
        turn.0.give_back(TIDY_BYTES)?;
        turn.0.collapse_next();
        Ok(())
    }

    /// Says how the store is.
    pub fn stat(&mut self) -> Stat {
        report::stat(&self.session.view, &self.session.plan)
    }

    /// Says what is where in the segment.
    pub fn census(&mut self) -> Census {
        report::census(&self.session.view, &self.session.plan)
    }

    /// Proves that the store is whole: every invariant, and that every byte is accounted for. It
    /// holds all of the store meanwhile.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn verify(&mut self) -> Result<Verified, Vec<Broken>> {
        // What cannot be given back now counts as claimed.
        let _ = self.session.give_stock_back();
        verify::under_all_holds(&mut self.session)
    }

    /// The size of the segment.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.session.plan.bytes
    }

    /// Returns how many bytes of the segment are in memory; `None` if the system does not tell this
    /// user. It asks for every page: some milliseconds for each GiB.
    #[must_use]
    pub fn resident_bytes(&self) -> Option<u64> {
        report::resident_bytes(&self.session.view, true)
    }

    /// The store's name; empty if it has none.
    #[must_use]
    pub fn name(&self) -> String {
        system::name_of(&self.session.view)
    }

    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader { view: &self.session.view, plan: &self.session.plan }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.session.leave();
    }
}
