//! Which entry goes: S3-FIFO by samples, without a queue.
//!
//! ```text
//!   entry comes --> small --asked for again--> main           a bit in its bucket
//!                     |                          |
//!                     oldest of a sample         least visited, then oldest of a sample
//!                     v                          v
//!                  dropped, and a ghost       dropped
//!
//!   a ghost that comes back is main at once
//!
//!   visits   two bits an entry, in a row that never moves: 00, 01, 11
//!   ghosts   a word of eight, each a byte of a hash: one in eight is overwritten at a time
//! ```
//!
//! A sample is a handful of entries that stand side by side in the table, which is in the order of
//! their hashes, so that it is as good as a random one. While more than a tenth of it are small,
//! the oldest small one goes: what was asked for once and never again takes no more than that. Age
//! is the version, which counts the changes of a shard.
//!
//! Promises: a reader only ever sets a bit in the row of visits, and only until both are set; all
//! that stands in these rows is a hint, which a death may lose.
//! Source: J. Yang et al., FIFO Queues Are All You Need for Cache Eviction (S3-FIFO), SOSP 2023.

use crate::atomic::Relaxed;
use crate::bucket::Bucket;
use crate::grow::Lacking;
use crate::layout::{WORD, shard};
use crate::session::Session;
use crate::shelf::SHELF;
use crate::table::{Group, PLACES};
use crate::{Error, Evict};

/// How many entries a sample has. Measured on three traces, a small sample is as good as a large
/// one: what it picks is less exact, but what it does not pick keeps its visits for longer.
const SAMPLE: usize = 16;

/// How many lines are looked at for a sample: groups are mostly full.
const REACH_MOST: u64 = 64;

/// One small entry in so many is what a cache can spare for what is new.
const SMALL_PART: usize = 10;

/// An entry that is to go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Victim {
    pub(crate) place: u64,
    pub(crate) hash: u64,
    pub(crate) bucket: Bucket,
}

impl Session {
    /// Picks the entry of a group that goes next, in at most `reach` lines from the home of `hash`
    /// on in the part that something is lacking in; its shard is held. One whose payload would
    /// not become free at once is spared.
    pub(crate) fn pick(
        &self,
        group: &Group,
        hash: u64,
        lacking: Lacking,
        reach: u64,
    ) -> Result<Option<Victim>, Error> {
        let (home, all, first) = match lacking {
            Lacking::Bucket => (group.whole().home(hash) * SHELF, group.buckets, 0),
            Lacking::Stub => (group.stubs().home(hash), group.rows, group.buckets),
        };
        let mut sample: [Option<Victim>; SAMPLE] = [None; SAMPLE];
        let mut count = 0;
        let lines = reach.min(REACH_MOST).min(all);
        for number in 0..lines * PLACES {
            let line = first + (home + number / PLACES) % all;
            let place = line * PLACES + number % PLACES;
            let Some(bucket) = group.entry(&self.view, place)? else { continue };
            let hash = bucket.hash(&self.view, self.seed)?;
            let is_leased = bucket.payload().is_some_and(|payload| self.is_leased(payload.at));
            if is_leased || self.busy.contains(&hash) {
                continue;
            }
            let victim = Victim { place, hash, bucket };
            if self.has_expired(&bucket) {
                return Ok(Some(victim));
            }
            sample[count] = Some(self.promoted(group, victim));
            count += 1;
            if count == SAMPLE {
                break;
            }
        }
        let sample = || sample.iter().flatten();
        let small = sample().filter(|victim| !victim.bucket.is_main()).count();
        let takes_small = small * SMALL_PART > count || small == count;
        let candidates = sample().filter(|victim| victim.bucket.is_main() != takes_small);
        let rank = |victim: &&Victim| (self.visits(victim.hash), victim.bucket.version());
        let picked = candidates.min_by_key(rank);
        if picked.is_some_and(|victim| self.visits(victim.hash) > 0) {
            // All of them were asked for: from here on each must be asked for once more.
            sample().for_each(|victim| self.forget_visit(victim.hash));
        }
        Ok(picked.copied())
    }

    /// A small entry that was asked for becomes main, and is not visited any more.
    fn promoted(&self, group: &Group, mut victim: Victim) -> Victim {
        if victim.bucket.is_main() || self.visits(victim.hash) == 0 {
            return victim;
        }
        self.forget_visit(victim.hash);
        self.forget_visit(victim.hash);
        // A hint like the visits, so it is not noted; the shard is held, so nobody else writes it.
        let head_at = match victim.bucket.payload() {
            Some(payload) => payload.at,
            None => group.line_at(victim.place),
        };
        let at = head_at + WORD;
        self.view.store(at, Bucket::main_word(self.view.load(at), true));
        victim.bucket = victim.bucket.with_main(true);
        victim
    }

    /// Counts a visit, if there were not enough yet.
    #[inline]
    pub(crate) fn visit_hash(&self, hash: u64) {
        if self.evict == Evict::None {
            // Nobody asks for the visits of a store that evicts nothing.
            return;
        }
        let (at, low) = self.plan.visits_of(hash);
        let word = self.view.word(at);
        let seen = word.load(Relaxed) & (low | low << 1);
        if seen != low | low << 1 {
            word.fetch_or(if seen & low == 0 { low } else { low << 1 }, Relaxed);
        }
    }

    /// How many visits are counted: 0, 1 or 2.
    fn visits(&self, hash: u64) -> u32 {
        let (at, low) = self.plan.visits_of(hash);
        (self.view.word(at).load(Relaxed) & (low | low << 1)).count_ones()
    }

    /// Takes one visit back.
    fn forget_visit(&self, hash: u64) {
        let (at, low) = self.plan.visits_of(hash);
        let word = self.view.word(at);
        let seen = word.load(Relaxed);
        if seen & (low << 1) != 0 {
            word.fetch_and(!(low << 1), Relaxed);
        } else if seen & low != 0 {
            word.fetch_and(!low, Relaxed);
        }
    }

    /// Remembers that a small entry was dropped.
    pub(crate) fn remember(&self, victim: &Victim) {
        if victim.bucket.is_main() {
            return;
        }
        let word = self.view.word(self.plan.ghosts_of(victim.hash));
        // One of the eight makes way, by the version: those of a shard follow one another.
        let shift = victim.bucket.version() % 8 * 8;
        let others = word.load(Relaxed) & !(0xff << shift);
        word.store(others | ghost_of(victim.hash) << shift, Relaxed);
    }

    /// Whether an entry of this hash was dropped lately, when it was small.
    pub(crate) fn was_dropped_lately(&self, hash: u64) -> bool {
        let evictions = self.plan.shard_at(self.plan.shard_of(hash)) + shard::EVICTIONS;
        if self.view.word(evictions).load(Relaxed) == 0 {
            return false; // Most stores are never full: nothing else is touched for them.
        }
        let word = self.view.word(self.plan.ghosts_of(hash)).load(Relaxed);
        word.to_le_bytes().contains(&(ghost_of(hash) as u8))
    }
}

/// A byte of a hash, from where neither the row nor the table takes its bits; never 0.
fn ghost_of(hash: u64) -> u64 {
    (hash >> 32 & 0xff).max(1)
}

#[cfg(test)]
mod tests {
    use crate::{Create, Evict, Set, Store};

    #[test]
    fn visits_are_counted_to_two_and_taken_back() {
        let how = Create { memory_bytes: 1 << 20, mode: 0o600, evict: Evict::Policy };
        let session = &Store::anonymous(&how).unwrap().session;
        for hash in [0, 0xff00, u64::MAX] {
            for expected in [0, 1, 2, 2] {
                assert_eq!(session.visits(hash), expected);
                session.visit_hash(hash);
            }
            for expected in [1, 0, 0] {
                session.forget_visit(hash);
                assert_eq!(session.visits(hash), expected);
            }
        }
    }

    #[test]
    fn what_is_asked_for_outlives_what_is_not_and_comes_back_as_main() {
        let how = Create { memory_bytes: 1 << 20, mode: 0o600, evict: Evict::Policy };
        let mut store = Store::anonymous(&how).unwrap();
        let mut value = Vec::new();
        for number in 0..20_000u32 {
            store.set(&number.to_le_bytes(), &[1; 300], &Set::default()).unwrap();
            for hot in 0..200u32 {
                if number % 100 == 0 && number > 200 {
                    store.get(&hot.to_le_bytes(), &mut value).unwrap();
                }
            }
        }
        let stays = (0..200u32).filter(|n| store.peek(&n.to_le_bytes()).unwrap().is_some());
        assert!(stays.count() > 190);
        assert!(store.stat().evictions > 15_000);
    }
}
