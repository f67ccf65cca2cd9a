//! Which clients are to hear that keys have changed.
//!
//! ```text
//!   a client reads k --remember k as it is--> shard: its version, k: as seen, clients
//!
//!   another writes k --changed--------------> k is not as seen: its clients hear, k is forgotten
//!   anyone, by any door --the shard's version moved, or an expiry is over--> look: the same
//! ```
//!
//! A key is remembered as it was *before* it is read. So whoever changes it, and whenever, it is
//! not as it was seen when it is looked at: at once where a client of ours did it, and within the
//! next looks where time or another process did.
//!
//! Those who are told of prefixes read nothing that could be remembered: what they are to hear of
//! is found by going through the shards that moved, and comparing with what is known of them.
//!
//! Promises: a change is told after it, and at least once for each time that a key was read. What
//! is remembered has a bound; a key is told as changed, and forgotten, before the bound is passed.
//! Source: tracking.c of Redis 7.0.15.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use morecore_store::{Error, Store};

use crate::transaction::Seen;

/// Keys that are remembered at most: Redis's `tracking-table-max-keys`.
const KEYS_MOST: usize = 1_000_000;

/// Keys that are looked at in one go: some milliseconds' work, ten times a second.
const LOOKS_MOST: usize = 20_000;

/// Which clients are to hear of keys.
#[derive(Debug, Default)]
pub(super) struct Tracking {
    trackers: HashMap<u64, Tracker>,
    shards: BTreeMap<u32, Shard>,
    keys: usize,
    /// How many shards there are, once that was asked; and which is looked at next.
    count: u32,
    next: u32,
    /// What is known for those who are told of prefixes, once somebody is.
    known: BTreeMap<u32, Known>,
    known_keys: usize,
    /// How many shards are to be gone through before all is known that was there at first.
    unknown: u32,
}

/// How a client is told.
#[derive(Debug)]
pub(super) struct Tracker {
    /// Who is told instead.
    pub(super) redirect: Option<u64>,
    /// Whether not of its own changes.
    pub(super) is_no_loop: bool,
    /// The prefixes of the keys that it is told of; nothing: those that it reads.
    pub(super) prefixes: Option<Vec<Vec<u8>>>,
}

/// The keys of a shard that were read.
#[derive(Debug, Default)]
struct Shard {
    /// What the store said of the shard before all of these were seen.
    version: u64,
    /// When the first of them expires.
    soonest_ms: u64,
    keys: HashMap<Vec<u8>, Record>,
}

#[derive(Debug)]
struct Record {
    seen: Seen,
    clients: BTreeSet<u64>,
}

/// The keys of a shard that have a prefix that somebody is told of.
#[derive(Debug, Default)]
struct Known {
    version: u64,
    soonest_ms: u64,
    keys: HashMap<Vec<u8>, Seen>,
}

/// A change, as it is found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Changed<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) shard: u32,
    /// As the key is now.
    pub(crate) seen: Seen,
    /// Who did it, if a client of ours.
    pub(crate) by: Option<u64>,
}

/// Who is to be told, and of what: a key, or all of them.
pub(super) type Told<'a> = (u64, Option<&'a [u8]>);

impl Tracking {
    /// Whether nobody is to hear of anything.
    pub(super) fn is_idle(&self) -> bool {
        self.trackers.is_empty()
    }

    pub(super) fn tracker(&self, id: u64) -> Option<&Tracker> {
        self.trackers.get(&id)
    }

    /// Who has what it is told sent to this client.
    pub(super) fn redirecting_to(&self, id: u64) -> Vec<u64> {
        let is_it = |(_, tracker): &(&u64, &Tracker)| tracker.redirect == Some(id);
        self.trackers.iter().filter(is_it).map(|(id, _)| *id).collect()
    }

    /// Tells a client from now on.
    pub(super) fn begin(&mut self, id: u64, mut tracker: Tracker) {
        if let Some(old) = self.trackers.remove(&id)
            && let (Some(new), Some(prefixes)) = (&mut tracker.prefixes, old.prefixes)
        {
            new.extend(prefixes);
        }
        if tracker.prefixes.is_some() {
            // What it is told of may be more than what was known until now.
            self.forget_known();
            self.unknown = u32::MAX;
        }
        self.trackers.insert(id, tracker);
    }

    /// Tells a client no more.
    pub(super) fn end(&mut self, id: u64) {
        self.trackers.remove(&id);
        if !self.broadcasts() {
            self.forget_known();
        }
        if self.is_idle() {
            (self.shards, self.keys) = (BTreeMap::new(), 0);
        }
    }

    /// Remembers that a client reads a key: as it is before it is read, in a shard that had this
    /// version before that.
    pub(super) fn remember(
        &mut self,
        id: u64,
        (key, shard, version): (&[u8], u32, u64),
        seen: Seen,
        mut tell: impl FnMut(Told<'_>),
    ) {
        if self.keys >= KEYS_MOST {
            self.forget_one(&mut tell);
        }
        let shard = self.shards.entry(shard).or_insert_with(|| Shard { version, ..Shard::new() });
        shard.soonest_ms = shard.soonest_ms.min(expiry_of(seen));
        if let Some(record) = shard.keys.get_mut(key) {
            if record.seen != seen {
                // Those who read it before have something else.
                let others = std::mem::take(&mut record.clients);
                for other in others.into_iter().filter(|&other| other != id) {
                    tell((other, Some(key)));
                }
                record.seen = seen;
            }
            record.clients.insert(id);
        } else {
            let clients = BTreeSet::from([id]);
            shard.keys.insert(key.to_vec(), Record { seen, clients });
            self.keys += 1;
        }
    }

    /// Tells of a change.
    pub(super) fn changed(&mut self, changed: Changed<'_>, mut tell: impl FnMut(Told<'_>)) {
        let Changed { key, shard, seen, by } = changed;
        if let Some(known) = self.known.get_mut(&shard) {
            if known.keys.get(key) == Some(&seen) {
                // It was found by a look already.
                return self.changed_for_readers(changed, &mut tell);
            }
            known.soonest_ms = known.soonest_ms.min(expiry_of(seen));
            self.known_keys -= usize::from(known.keys.remove(key).is_some());
            if seen.is_some() && self.trackers.values().any(|tracker| tracker.has_prefix_of(key)) {
                known.keys.insert(key.to_vec(), seen);
                self.known_keys += 1;
            }
        }
        for (&id, tracker) in &self.trackers {
            if tracker.has_prefix_of(key) && !(tracker.is_no_loop && by == Some(id)) {
                tell((id, Some(key)));
            }
        }
        self.changed_for_readers(changed, &mut tell);
    }

    fn changed_for_readers(&mut self, changed: Changed<'_>, tell: &mut impl FnMut(Told<'_>)) {
        let Changed { key, shard, seen, by } = changed;
        let Some(shard) = self.shards.get_mut(&shard) else { return };
        if shard.keys.get(key).is_none_or(|record| record.seen == seen) {
            return;
        }
        let Some(record) = shard.keys.remove(key) else { return };
        self.keys -= 1;
        for id in record.clients {
            let Some(tracker) = self.trackers.get(&id) else { continue };
            if tracker.prefixes.is_none() && !(tracker.is_no_loop && by == Some(id)) {
                tell((id, Some(key)));
            }
        }
    }

    /// Tells that all keys are gone.
    pub(super) fn all_changed(&mut self, mut tell: impl FnMut(Told<'_>)) {
        (self.shards, self.keys) = (BTreeMap::new(), 0);
        for known in self.known.values_mut() {
            known.keys.clear();
        }
        self.known_keys = 0;
        self.trackers.keys().for_each(|&id| tell((id, None)));
    }

    /// Looks for what others changed, and what expired; a part of it each time. For the store it is
    /// this time too.
    pub(super) fn look(
        &mut self,
        store: &mut Store,
        now_ms: u64,
        mut tell: impl FnMut(Told<'_>),
    ) -> Result<(), Error> {
        if self.is_idle() {
            return Ok(());
        }
        if self.count == 0 {
            self.count = store.stat().shards;
        }
        let shards = self.count;
        let (mut looked, broadcasts) = (0, self.broadcasts());
        self.unknown = self.unknown.min(shards);
        for _ in 0..shards {
            if looked >= LOOKS_MOST {
                break;
            }
            let shard = self.next % shards;
            self.next = (shard + 1) % shards;
            looked += self.look_at_readers(shard, store, now_ms, &mut tell)?;
            if broadcasts {
                looked += self.look_at_known(shard, shards, store, now_ms, &mut tell)?;
            }
        }
        Ok(())
    }

    /// Looks at the keys of a shard that were read, if they can have changed.
    fn look_at_readers(
        &mut self,
        number: u32,
        store: &mut Store,
        now_ms: u64,
        tell: &mut impl FnMut(Told<'_>),
    ) -> Result<usize, Error> {
        let Some(shard) = self.shards.get_mut(&number) else { return Ok(0) };
        let version = store.shard_version(number);
        if version == shard.version && now_ms < shard.soonest_ms {
            return Ok(0);
        }
        let (mut changed, mut soonest_ms) = (Vec::new(), u64::MAX);
        for (key, record) in &shard.keys {
            let seen = seen_in(store, key)?;
            if seen == record.seen {
                soonest_ms = soonest_ms.min(expiry_of(seen));
            } else {
                changed.push((key.clone(), seen));
            }
        }
        let looked = shard.keys.len();
        (shard.version, shard.soonest_ms) = (version, soonest_ms);
        if looked == 0 {
            self.shards.remove(&number);
        }
        for (key, seen) in changed {
            let changed = Changed { key: &key, shard: number, seen, by: None };
            self.changed_for_readers(changed, tell);
        }
        Ok(looked)
    }

    /// Goes through a shard for those who are told of prefixes, if it can have changed.
    fn look_at_known(
        &mut self,
        number: u32,
        shards: u32,
        store: &mut Store,
        now_ms: u64,
        tell: &mut impl FnMut(Told<'_>),
    ) -> Result<usize, Error> {
        let version = store.shard_version(number);
        let known = self.known.get(&number);
        if known.is_some_and(|known| known.version == version && now_ms < known.soonest_ms) {
            return Ok(0);
        }
        let is_first = known.is_none();
        let mut now = Known { version, soonest_ms: u64::MAX, keys: HashMap::new() };
        let looked = self.go_through(number, shards, store, &mut now)?;
        let before = self.known.insert(number, now).unwrap_or_default();
        let now = &self.known[&number];
        self.known_keys = (self.known_keys + now.keys.len()).saturating_sub(before.keys.len());
        if is_first {
            return Ok(looked + self.count_known(tell));
        }
        let is_changed = |(key, seen): &(&Vec<u8>, &Seen)| before.keys.get(*key) != Some(*seen);
        let gone = before.keys.keys().filter(|key| !now.keys.contains_key(*key));
        for key in now.keys.iter().filter(is_changed).map(|(key, _)| key).chain(gone) {
            for (&id, tracker) in &self.trackers {
                if tracker.has_prefix_of(key) {
                    tell((id, Some(key)));
                }
            }
        }
        self.forget_too_much(tell);
        Ok(looked)
    }

    /// Takes note that a shard is known now. With the last of them those who are told of prefixes
    /// forget all: what went between their wish and this is not known.
    fn count_known(&mut self, tell: &mut impl FnMut(Told<'_>)) -> usize {
        self.unknown = self.unknown.saturating_sub(1);
        if self.unknown == 0 {
            self.tell_all(tell);
        }
        self.forget_too_much(tell);
        1
    }

    /// The entries of a shard that have a prefix that somebody is told of; returns how many entries
    /// there were.
    fn go_through(
        &self,
        number: u32,
        shards: u32,
        store: &mut Store,
        known: &mut Known,
    ) -> Result<usize, Error> {
        /// Entries asked for at once.
        const AT_ONCE: usize = 1024;
        let shift = u64::BITS - shards.trailing_zeros();
        let (mut cursor, end) = (u64::from(number) << shift, (u64::from(number) + 1) << shift);
        let (mut looked, mut found) = (0, Vec::new());
        loop {
            cursor = store.scan(cursor, AT_ONCE, |key, meta| {
                looked += 1;
                if self.trackers.values().any(|tracker| tracker.has_prefix_of(key)) {
                    found.push((key.to_vec(), Some((meta.version, meta.expiry_ms))));
                }
            })?;
            // The last shard ends where the row begins again.
            if cursor == 0 || (end != 0 && cursor >= end) {
                break;
            }
        }
        for (key, seen) in found {
            if store.shard(&key).0 == number {
                known.soonest_ms = known.soonest_ms.min(expiry_of(seen));
                known.keys.insert(key, seen);
            }
        }
        Ok(looked)
    }

    /// Where too many keys are known they are all told as changed, and forgotten.
    fn forget_too_much(&mut self, tell: &mut impl FnMut(Told<'_>)) {
        if self.known_keys > KEYS_MOST {
            self.forget_known();
            self.unknown = u32::MAX;
            self.tell_all(tell);
        }
    }

    fn tell_all(&self, tell: &mut impl FnMut(Told<'_>)) {
        let all = self.trackers.iter().filter(|(_, tracker)| tracker.prefixes.is_some());
        all.for_each(|(&id, _)| tell((id, None)));
    }

    fn forget_known(&mut self) {
        (self.known, self.known_keys) = (BTreeMap::new(), 0);
    }

    /// Tells of some key that it changed, so that it need not be remembered.
    fn forget_one(&mut self, tell: &mut impl FnMut(Told<'_>)) {
        for shard in self.shards.values_mut() {
            let Some(key) = shard.keys.keys().next().cloned() else { continue };
            let Some(record) = shard.keys.remove(&key) else { continue };
            self.keys -= 1;
            record.clients.into_iter().for_each(|id| tell((id, Some(&key))));
            return;
        }
    }

    fn broadcasts(&self) -> bool {
        self.trackers.values().any(|tracker| tracker.prefixes.is_some())
    }
}

impl Tracker {
    /// Whether it is told of this key by a prefix.
    fn has_prefix_of(&self, key: &[u8]) -> bool {
        let Some(prefixes) = &self.prefixes else { return false };
        prefixes.is_empty() || prefixes.iter().any(|prefix| key.starts_with(prefix))
    }
}

impl Shard {
    fn new() -> Self {
        Self { soonest_ms: u64::MAX, ..Self::default() }
    }
}

/// When a key expires that is as this.
fn expiry_of(seen: Seen) -> u64 {
    seen.and_then(|(_, expiry_ms)| expiry_ms).unwrap_or(u64::MAX)
}

fn seen_in(store: &mut Store, key: &[u8]) -> Result<Seen, Error> {
    Ok(store.peek(key)?.map(|meta| (meta.version, meta.expiry_ms)))
}
