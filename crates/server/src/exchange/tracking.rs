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
//! is found by going through the shards that moved, and comparing with what is known of them. The
//! keys of a turn are gathered, and told together.
//!
//! Promises: a change is told after it, and at least once for each time that a key was read. What
//! is remembered has a bound; a key is told as changed, and forgotten, before the bound is passed.
//! Source: tracking.c of Redis 7.0.15.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use morecore_store::{Error, Store};

use super::tracker::{Pass, Tracker};
use crate::transaction::Seen;

/// Keys that are known for prefixes at most: as many as Redis remembers by default for those who
/// read (`tracking-table-max-keys`).
const KEYS_MOST: usize = 1_000_000;

/// Keys that are gathered at most before they are told: some hundred KiB.
const GATHERED_MOST: usize = 4096;

/// Keys that are looked at in one go: some milliseconds' work, ten times a second.
const LOOKS_MOST: usize = 20_000;

/// Which clients are to hear of keys.
#[derive(Debug, Default)]
pub(super) struct Tracking {
    trackers: HashMap<u64, Tracker>,
    shards: BTreeMap<u32, Shard>,
    keys: usize,
    /// How many clients have read a key, of all keys.
    items: usize,
    /// How many keys are remembered at most for those who read.
    pub(super) keys_most: usize,
    /// How many shards there are, once that was asked; and which is looked at next.
    count: u32,
    next: u32,
    /// What is known for those who are told of prefixes, once somebody is.
    known: BTreeMap<u32, Known>,
    known_keys: usize,
    /// What clients are to be told together.
    gathered: Gathered,
    gathered_keys: usize,
}

/// Keys that have changed: by the client that changed them, if one of ours did, the client that is
/// told, and its prefix.
pub(super) type Gathered = BTreeMap<(Option<u64>, u64, Vec<u8>), BTreeSet<Vec<u8>>>;

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
    /// Whether a prefix came since, so that some are missing.
    is_partial: bool,
}

/// A change, as it is found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Changed<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) shard: u32,
    /// As the key is now.
    pub(crate) seen: Seen,
    /// The versions of its shard before the command that did it, and after.
    pub(crate) moved: [u64; 2],
    /// How many commits that command can have taken at most.
    pub(crate) commits: u64,
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

    /// How many keys are remembered, how many clients have read one, how many prefixes are told.
    pub(super) fn counts(&self) -> [u64; 3] {
        let of = |tracker: &Tracker| tracker.prefixes.as_ref().map(|all| all.len().max(1));
        let prefixes: usize = self.trackers.values().filter_map(of).sum();
        [self.keys, self.items, prefixes].map(|count| count as u64)
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
            self.known.values_mut().for_each(|known| known.is_partial = true);
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
            self.forget_read();
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
        while self.keys >= self.keys_most.max(1) {
            self.forget_one(&mut tell);
        }
        let shard = self.shards.entry(shard).or_insert_with(|| Shard { version, ..Shard::new() });
        shard.soonest_ms = shard.soonest_ms.min(expiry_of(seen));
        if let Some(record) = shard.keys.get_mut(key) {
            if record.seen != seen {
                // Those who read it before have something else.
                let others = std::mem::take(&mut record.clients);
                self.items -= others.len();
                for other in others.into_iter().filter(|&other| other != id) {
                    tell((other, Some(key)));
                }
                record.seen = seen;
            }
            self.items += usize::from(record.clients.insert(id));
        } else {
            let clients = BTreeSet::from([id]);
            shard.keys.insert(key.to_vec(), Record { seen, clients });
            self.keys += 1;
            self.items += 1;
        }
    }

    /// Has no more keys remembered than may be.
    pub(super) fn forget_beyond(&mut self, mut tell: impl FnMut(Told<'_>)) {
        while self.keys > self.keys_most {
            self.forget_one(&mut tell);
        }
    }

    /// Tells of a change; those who are told of prefixes, when what is gathered is.
    pub(super) fn changed(&mut self, changed: Changed<'_>, mut tell: impl FnMut(Told<'_>)) {
        let Changed { key, shard, seen, by, moved, commits } = changed;
        for tracker in self.trackers.values_mut() {
            tracker.count_told(shard, moved, commits);
        }
        if self.broadcasts() {
            // One that was not gone through yet is known as far as this goes.
            let known = self.known.entry(shard).or_insert_with(Known::partial);
            if known.keys.get(key) == Some(&seen) {
                // It was found by a look already.
                return self.changed_for_readers(changed, &mut tell);
            }
            known.soonest_ms = known.soonest_ms.min(expiry_of(seen));
            self.known_keys -= usize::from(known.keys.remove(key).is_some());
            if seen.is_some()
                && self.trackers.values().any(|tracker| tracker.prefix_of(key).is_some())
            {
                known.keys.insert(key.to_vec(), seen);
                self.known_keys += 1;
            }
        }
        for (&id, tracker) in &self.trackers {
            if !(tracker.is_no_loop && by == Some(id))
                && let Some(prefix) = tracker.prefix_of(key)
            {
                let keys = self.gathered.entry((by, id, prefix.to_vec())).or_default();
                self.gathered_keys += usize::from(keys.insert(key.to_vec()));
            }
        }
        self.changed_for_readers(changed, &mut tell);
    }

    /// Whether more is gathered than should wait for the end of a turn.
    pub(super) const fn has_gathered_enough(&self) -> bool {
        self.gathered_keys >= GATHERED_MOST
    }

    /// What this client changed in a turn that ends, or others did. What another client of ours is
    /// still changing waits for the end of its own turn.
    pub(super) fn take_gathered_by(&mut self, by: Option<u64>) -> Gathered {
        let all = std::mem::take(&mut self.gathered);
        let (taken, left): (Gathered, _) = all.into_iter().partition(|((who, ..), _)| *who == by);
        self.gathered = left;
        self.gathered_keys -= taken.values().map(BTreeSet::len).sum::<usize>();
        taken
    }

    /// All that is to be told.
    pub(super) fn take_gathered(&mut self) -> Gathered {
        self.gathered_keys = 0;
        std::mem::take(&mut self.gathered)
    }

    fn changed_for_readers(&mut self, changed: Changed<'_>, tell: &mut impl FnMut(Told<'_>)) {
        let Changed { key, shard, seen, by, .. } = changed;
        let Some(shard) = self.shards.get_mut(&shard) else { return };
        if shard.keys.get(key).is_none_or(|record| record.seen == seen) {
            return;
        }
        let Some(record) = shard.keys.remove(key) else { return };
        self.keys -= 1;
        self.items -= record.clients.len();
        for id in record.clients {
            let Some(tracker) = self.trackers.get(&id) else { continue };
            if tracker.prefixes.is_none() && !(tracker.is_no_loop && by == Some(id)) {
                tell((id, Some(key)));
            }
        }
    }

    /// Tells that all keys are gone.
    pub(super) fn all_changed(&mut self, mut tell: impl FnMut(Told<'_>)) {
        self.forget_read();
        for known in self.known.values_mut() {
            known.keys.clear();
        }
        self.known_keys = 0;
        // It is among all.
        self.take_gathered();
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
            let moved = [version; 2];
            let changed = Changed { key: &key, shard: number, seen, by: None, moved, commits: 0 };
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
        let is_as_known = |known: &Known| {
            known.version == version && now_ms < known.soonest_ms && !known.is_partial
        };
        if self.known.get(&number).is_some_and(is_as_known) {
            return Ok(0);
        }
        let mut now = Known { version, soonest_ms: u64::MAX, ..Known::default() };
        let looked = self.go_through(number, shards, store, &mut now)?;
        let before = self.known.insert(number, now).unwrap_or_default();
        let now = &self.known[&number];
        self.known_keys = (self.known_keys + now.keys.len()).saturating_sub(before.keys.len());
        let is_changed = |(key, seen): &(&Vec<u8>, &Seen)| before.keys.get(*key) != Some(*seen);
        let gone = before.keys.keys().filter(|key| !now.keys.contains_key(*key));
        for key in now.keys.iter().filter(is_changed).map(|(key, _)| key).chain(gone) {
            let is_new = !before.keys.contains_key(key);
            for (&id, tracker) in &self.trackers {
                // What was not known may have been there when the client came.
                if !(is_new && tracker.is_to_know(number))
                    && let Some(prefix) = tracker.prefix_of(key)
                {
                    let keys = self.gathered.entry((None, id, prefix.to_vec())).or_default();
                    self.gathered_keys += usize::from(keys.insert(key.clone()));
                }
            }
        }
        for (&id, tracker) in &mut self.trackers {
            if tracker.count_known(number, version) {
                tell((id, None));
            }
        }
        self.forget_too_much(tell);
        Ok(looked + 1)
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
                if self.trackers.values().any(|tracker| tracker.prefix_of(key).is_some()) {
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
            let shards = self.count as usize;
            let broadcast = |tracker: &&mut Tracker| tracker.prefixes.is_some();
            for tracker in self.trackers.values_mut().filter(broadcast) {
                // What changes until all is known again is not found out.
                tracker.pass = Some(Pass::new(std::iter::repeat_n(u64::MAX, shards)));
            }
            self.tell_all(tell);
        }
    }

    fn tell_all(&self, tell: &mut impl FnMut(Told<'_>)) {
        let all = self.trackers.iter().filter(|(_, tracker)| tracker.prefixes.is_some());
        all.for_each(|(&id, _)| tell((id, None)));
    }

    fn forget_read(&mut self) {
        (self.shards, self.keys, self.items) = (BTreeMap::new(), 0, 0);
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
            self.items -= record.clients.len();
            record.clients.into_iter().for_each(|id| tell((id, Some(&key))));
            return;
        }
    }

    fn broadcasts(&self) -> bool {
        self.trackers.values().any(|tracker| tracker.prefixes.is_some())
    }
}

impl Known {
    /// What is known of a shard before it is gone through.
    fn partial() -> Self {
        Self { soonest_ms: u64::MAX, is_partial: true, ..Self::default() }
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

#[cfg(test)]
mod tests;
