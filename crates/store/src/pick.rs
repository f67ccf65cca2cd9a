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
use crate::bucket::{BUCKET_BYTES, Bucket, Sought};
use crate::glance::Glimpse;
use crate::grow::Lacking;
use crate::layout::{Plan, WORD, shard};
use crate::reader::{Reader, Reading};
use crate::session::Session;
use crate::shelf::SHELF;
use crate::table::{Group, PLACES, group_of};
use crate::view::Look;
use crate::{Error, Evict};

/// How many stubs a sample has. Measured on three traces, a small sample is as good as a large
/// one: what it picks is less exact, but what it does not pick keeps its visits for longer.
const STUBS_SAMPLED: usize = 16;

/// How many whole entries a sample has. A new one takes the place of one near its home, so those of
/// a shelf share its luck; with two shelves in a sample a twentieth less is missed, with more of
/// them nothing is gained.
const WHOLE_SAMPLED: usize = 32;

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
    pub(crate) visits: Visits,
}

/// Two bits that count the visits of an entry: where their word is, and the lower one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Visits {
    pub(crate) word_at: u64,
    low: u64,
}

/// The line in which an entry stands whole, if the key has one that does.
struct FindLine<'a>(&'a Sought<'a>);

impl Reading for FindLine<'_> {
    /// `None` of the outer kind: there is no entry.
    type Out = Option<Option<u64>>;

    fn read(&mut self, look: &impl Look, plan: &Plan) -> Result<Self::Out, Error> {
        let Some(group) = group_of(look, plan, self.0.hash)? else { return Ok(None) };
        let found = group.find(look, self.0)?;
        Ok(found.map(|(place, bucket)| bucket.is_inline().then(|| group.line_at(place))))
    }
}

impl Plan {
    /// The bits of an entry that stands whole in the line at `line_at`: no two lines share them.
    /// What stood there before may have left some; that is soon put right.
    #[inline]
    pub(crate) fn visits_in(&self, line_at: u64) -> Visits {
        let pair = line_at / BUCKET_BYTES;
        Visits { word_at: self.visits_at + pair / 32 * WORD, low: 1 << (pair % 32 * 2) }
    }
}

impl Session {
    /// Picks the entry of a group that goes next, from the home of `hash` on in the part that
    /// something is lacking in: for a stub in at most `reach` lines. Its shard is held. One whose
    /// payload would not become free at once is spared.
    pub(crate) fn pick(
        &self,
        group: &Group,
        hash: u64,
        lacking: Lacking,
        reach: u64,
    ) -> Result<Option<Victim>, Error> {
        let (home, all, first, most, reach) = match lacking {
            Lacking::Bucket => {
                let home = group.whole().home(hash) * SHELF;
                (home, group.buckets, 0, WHOLE_SAMPLED, REACH_MOST)
            }
            Lacking::Stub => {
                let home = group.stubs().home(hash);
                (home, group.rows, group.buckets, STUBS_SAMPLED, reach.min(REACH_MOST))
            }
        };
        let mut sample: [Option<Victim>; WHOLE_SAMPLED] = [None; WHOLE_SAMPLED];
        let mut count = 0;
        let lines = reach.min(all);
        for number in 0..lines * PLACES {
            let line = first + (home + number / PLACES) % all;
            let place = line * PLACES + number % PLACES;
            let Some(bucket) = group.entry(&self.view, place)? else { continue };
            let hash = bucket.hash(&self.view, self.seed)?;
            let is_leased = bucket.payload().is_some_and(|payload| self.is_leased(payload.at));
            if is_leased || self.busy.contains(&hash) {
                continue;
            }
            let visits = self.visits_of(&bucket, hash, group.line_at(place));
            let victim = Victim { place, hash, bucket, visits };
            if self.has_expired(&bucket) {
                return Ok(Some(victim));
            }
            sample[count] = Some(self.promoted(group, victim));
            count += 1;
            if count == most {
                break;
            }
        }
        let sample = || sample.iter().flatten();
        let small = sample().filter(|victim| !victim.bucket.is_main()).count();
        let takes_small = small * SMALL_PART > count || small == count;
        let candidates = sample().filter(|victim| victim.bucket.is_main() != takes_small);
        let rank = |victim: &&Victim| (self.counted(victim.visits), victim.bucket.version());
        let picked = candidates.min_by_key(rank);
        if picked.is_some_and(|victim| self.counted(victim.visits) > 0) {
            // All of them were asked for: from here on each must be asked for once more.
            sample().for_each(|victim| self.forget_visit(victim.visits));
        }
        Ok(picked.copied())
    }

    /// A small entry that was asked for becomes main, and is not visited any more.
    fn promoted(&self, group: &Group, mut victim: Victim) -> Victim {
        if victim.bucket.is_main() || self.counted(victim.visits) == 0 {
            return victim;
        }
        self.forget_visit(victim.visits);
        self.forget_visit(victim.visits);
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

    /// The bits of an entry: those of its line if it stands whole, else those of its hash.
    #[inline]
    pub(crate) fn visits_of(&self, bucket: &Bucket, hash: u64, line_at: u64) -> Visits {
        if bucket.is_inline() { self.plan.visits_in(line_at) } else { self.visits_of_hash(hash) }
    }

    #[inline]
    fn visits_of_hash(&self, hash: u64) -> Visits {
        let (word_at, low) = self.plan.visits_of(hash);
        Visits { word_at, low }
    }

    /// Counts a visit of an entry that a glance found; `None` if it was found otherwise.
    #[inline(always)]
    pub(crate) fn visit(&self, hash: u64, key: &[u8], glimpse: Option<Glimpse<'_>>) {
        if self.evict == Evict::None {
            // Nobody asks for the visits of a store that evicts nothing.
            return;
        }
        match glimpse {
            Some(glimpse) if glimpse.meta().is_inline(key) => {
                // The byte before the value is in the entry's line, even if the value is empty.
                let at = glimpse.value_begin().addr() - self.view.base().addr() - 1;
                self.count_visit(self.plan.visits_in(at as u64));
            }
            Some(_) => self.count_visit(self.visits_of_hash(hash)),
            None => self.visit_found(&Sought::hashed(hash, key)),
        }
    }

    /// Looks an entry up to count a visit of it, if there is one.
    #[cold]
    pub(crate) fn visit_found(&self, sought: &Sought<'_>) {
        if self.evict == Evict::None {
            return;
        }
        let reader = Reader { view: &self.view, plan: &self.plan };
        // A visit is a hint: one that cannot be counted is not worth an error.
        match reader.read(self.plan.shard_of(sought.hash), &mut FindLine(sought)) {
            Ok((Some(Some(line_at)), _)) => self.count_visit(self.plan.visits_in(line_at)),
            Ok((Some(None), _)) => self.count_visit(self.visits_of_hash(sought.hash)),
            _ => {}
        }
    }

    /// Counts a visit, if there were not enough yet.
    #[inline]
    pub(crate) fn count_visit(&self, Visits { word_at, low }: Visits) {
        if self.evict == Evict::None {
            return;
        }
        let word = self.view.word(word_at);
        let seen = word.load(Relaxed) & (low | low << 1);
        if seen != low | low << 1 {
            word.fetch_or(if seen & low == 0 { low } else { low << 1 }, Relaxed);
        }
    }

    /// How many visits are counted: 0, 1 or 2.
    fn counted(&self, Visits { word_at, low }: Visits) -> u32 {
        (self.view.word(word_at).load(Relaxed) & (low | low << 1)).count_ones()
    }

    /// Takes one visit back.
    fn forget_visit(&self, Visits { word_at, low }: Visits) {
        let word = self.view.word(word_at);
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
    use super::*;
    use crate::{Create, Set, Store};

    #[test]
    fn visits_are_counted_to_two_and_taken_back() {
        let how = Create { memory_bytes: 1 << 20, mode: 0o600, evict: Evict::Policy };
        let session = &Store::anonymous(&how).unwrap().session;
        let lines = [0, session.plan.bytes - BUCKET_BYTES].map(|at| session.plan.visits_in(at));
        let hashes = [0, 0xff00, u64::MAX].map(|hash| session.visits_of_hash(hash));
        for visits in lines.into_iter().chain(hashes) {
            for expected in [0, 1, 2, 2] {
                assert_eq!(session.counted(visits), expected);
                session.count_visit(visits);
            }
            for expected in [1, 0, 0] {
                session.forget_visit(visits);
                assert_eq!(session.counted(visits), expected);
            }
        }
    }

    #[test]
    fn an_entry_that_stands_whole_shares_its_visits_with_no_other() {
        let how = Create { memory_bytes: 1 << 20, mode: 0o600, evict: Evict::Policy };
        let mut store = Store::anonymous(&how).unwrap();
        let flagged = Set { flags: 7, ..Set::default() };
        for number in 0..3000u32 {
            let how = if number % 2 == 0 { &flagged } else { &Set::default() };
            store.set(&number.to_le_bytes(), b"", how).unwrap();
        }
        let plan = store.session.plan;
        let counted = |store: &Store| -> u32 {
            let words = (0..plan.visits_words).map(|word| plan.visits_at + word * WORD);
            words.map(|at| store.session.view.load(at).count_ones()).sum()
        };
        let mut value = Vec::new();
        for number in 0..3000u32 {
            assert_eq!(counted(&store), number);
            store.get(&number.to_le_bytes(), &mut value).unwrap();
        }
        for number in 0..3000u32 {
            assert_eq!(counted(&store), 3000 + number);
            store.touch(&number.to_le_bytes()).unwrap();
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
