//! How the table grows: a group is rebuilt with one of its parts larger, or split in two.
//!
//! ```text
//!   claim fresh chunks --> fill them, unlogged --> publish: one directory word (or a few), and
//!                                                  the old group takes the new one's claim
//! ```
//!
//! How a fresh chunk is filled, `refill.rs` knows.
//!
//! Promises: readers see the old group or the new one; whoever dies meanwhile leaves the old one
//! and a claim. Entries that have expired are left behind.

use morecore_heap::{GRANULE, Offset};

use crate::atomic::{Release, fence};
use crate::bucket::{BUCKET_BYTES, Bucket};
use crate::layout::{WORD, shard, slot};
use crate::payload::{self, STUBS, Stub};
use crate::refill::{Expired, Fresh, Old};
use crate::ring::HOP;
use crate::session::Session;
use crate::table::{
    BUCKETS_LEAST, BUCKETS_MOST, DEPTH_MOST, Directory, Group, ROWS_MOST, directory_of, group_of,
    prefix,
};
use crate::view::{Look, View};
use crate::{Error, Evict};

/// From this many lines on, a group is split instead of enlarged: 8 KiB, which are rebuilt in a few
/// microseconds.
const LINES_SPLIT: u64 = 128;

/// Room for so many bytes is made when a group can neither grow nor drop what is in the way: for
/// two halves, each with a first part of what is lacking, and a directory that names them. With
/// less, what is free could be enough to say that there is room, and not for all that is needed.
pub(crate) const ROOM_BYTES: u64 = 2 * (LINES_SPLIT + BUCKETS_LEAST) * BUCKET_BYTES;

/// A part of a group grows by this part of itself: the less, the higher its load is, and the more
/// often its entries are copied. A tenth takes 1.1 bytes an item more and 0.2 microseconds an
/// insert less, a twentieth 0.5 less and 0.2 more.
const GROWTH_PART: u64 = 16;

/// The most directory words that are changed in place, and the most payloads of expired entries
/// that are left behind at once: so many notes fit in any journal.
const WORDS_MOST: u64 = 64;

/// The claims that growth takes for itself: two groups, a directory, and some that were too small.
const GROWTH_CLAIMS: u64 = 8;

/// How many payloads are fetched ahead of the one that is read: about as many misses as a core has
/// under way at once.
const PREFETCH_STUBS: usize = 16;

/// What of an entry has no place in the table yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lacking {
    /// A bucket for a whole one.
    Bucket,
    /// A stub for one with a payload.
    Stub,
}

impl Lacking {
    pub(crate) fn of(bucket: &Bucket) -> Self {
        if bucket.is_inline() { Self::Bucket } else { Self::Stub }
    }
}

/// How many lines the parts of a group have.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    buckets: u64,
    rows: u64,
}

impl Sizes {
    /// The first group of a stretch.
    fn first(lacking: Lacking) -> Self {
        match lacking {
            Lacking::Bucket => Self { buckets: BUCKETS_LEAST, rows: 0 },
            Lacking::Stub => Self { buckets: 0, rows: 1 },
        }
    }

    /// As a group, with more of what is lacking.
    fn larger(group: &Group, lacking: Lacking) -> Self {
        let Group { buckets, rows, .. } = *group;
        match lacking {
            Lacking::Bucket => {
                let more = (buckets + (buckets / GROWTH_PART).max(2)).max(BUCKETS_LEAST);
                Self { buckets: more, rows }
            }
            Lacking::Stub => Self { buckets, rows: rows + (rows / GROWTH_PART).max(1) },
        }
    }

    /// For so many entries, and a few more of each kind.
    fn with_some(whole: u64, stubs: u64) -> Self {
        let with_some = |count: u64| count + count / GROWTH_PART + 1;
        let buckets = if whole == 0 { 0 } else { with_some(whole).max(BUCKETS_LEAST) };
        let rows = if stubs == 0 { 0 } else { with_some(stubs).div_ceil(STUBS) };
        if buckets + rows == 0 { Self::first(Lacking::Stub) } else { Self { buckets, rows } }
    }

    fn can_be(self) -> bool {
        self.buckets <= BUCKETS_MOST && self.rows <= ROWS_MOST
    }
}

/// A new group and the claim that keeps it until it is published.
type Built = (Group, u64);

impl Session {
    /// Makes place for one more entry of `hash`, whose shard is held: by growth, or, if there is no
    /// memory for that, by dropping an entry near its home.
    pub(crate) fn make_place(&mut self, hash: u64, lacking: Lacking) -> Result<(), Error> {
        let claims = self.claims;
        let grown = self.grow(hash, lacking);
        if !self.open.is_empty() {
            self.undo();
        }
        // What was retired, and what was built in vain: nobody else holds the heap for long.
        self.free_claims(claims)?;
        if grown? || self.drop_near(hash, lacking)? {
            return Ok(());
        }
        // Nothing near is in its way: the group has no such part yet, and needs room for one.
        self.claim_evicting(ROOM_BYTES, BUCKET_BYTES)?;
        self.free_claims(claims)
    }

    /// Grows the group of a hash; false if there is no memory for it.
    fn grow(&mut self, hash: u64, lacking: Lacking) -> Result<bool, Error> {
        let shard = self.plan.shard_of(hash);
        let Some(directory) = directory_of(&self.view, &self.plan, shard)? else {
            return self.found_directory(shard, lacking).map(|()| true);
        };
        let Some(group) = group_of(&self.view, &self.plan, hash)? else {
            return self.found_group(directory, hash, lacking).map(|()| true);
        };
        if group.depth > directory.depth {
            let what = "a group deeper than its directory";
            return Err(Error::Damaged { what, at: group.at });
        }
        Old::fetch(&self.view, &group);
        if group.lines() < LINES_SPLIT || group.depth >= DEPTH_MOST {
            return self.enlarge(directory, &group, hash, lacking);
        }
        self.split(directory, &group, hash)
    }

    /// Gives a shard its first directory, of one word, and that a small group.
    fn found_directory(&mut self, shard: u64, lacking: Lacking) -> Result<(), Error> {
        let (at, directory_claim) = self.claim_evicting(WORD, GRANULE)?;
        let (group, group_claim) = self.first_group(lacking, 0)?;
        self.view.store(at, group.word());
        self.begin(&[shard]);
        let word_at = Offset(self.plan.shard_at(shard) + shard::DIRECTORY);
        self.core.write(word_at, Directory { at, depth: 0 }.word());
        self.publish(Some(directory_claim), None)?;
        self.publish(Some(group_claim), None)?;
        self.commit();
        Ok(())
    }

    /// Puts a small group where a directory has none.
    fn found_group(
        &mut self,
        directory: Directory,
        hash: u64,
        lacking: Lacking,
    ) -> Result<(), Error> {
        let (group, claim) = self.first_group(lacking, directory.depth)?;
        self.begin(&[self.plan.shard_of(hash)]);
        self.core.write(Offset(directory.entry_at(&self.plan, hash)), group.word());
        self.publish(Some(claim), None)?;
        self.commit();
        Ok(())
    }

    fn first_group(&mut self, lacking: Lacking, depth: u32) -> Result<Built, Error> {
        let Sizes { buckets, rows } = Sizes::first(lacking);
        let group = Group { at: 0, buckets, rows, depth };
        let (at, claim) = self.claim_evicting(group.bytes(), BUCKET_BYTES)?;
        let group = Group { at, ..group };
        Fresh::new(&self.view, group).finish(&[]);
        Ok((group, claim))
    }

    /// Replaces a group by one with a larger part; by one as large if it held much that has
    /// expired.
    fn enlarge(
        &mut self,
        directory: Directory,
        group: &Group,
        hash: u64,
        lacking: Lacking,
    ) -> Result<bool, Error> {
        let sizes = Sizes::larger(group, lacking);
        // The memory first: where there is none, nothing else needs to be done.
        let Some(fresh) = self.claim_group(sizes, group.depth)? else { return Ok(false) };
        let view = self.view;
        let old = self.old(&view, group);
        let stubs = [old.stubs()?];
        let Some(([mut built], mut expired)) = self.fill(&old, [fresh], &stubs, |_| 0)? else {
            return Ok(false);
        };
        let is_roomy = expired.len() as u64 >= group.buckets / 8;
        if is_roomy && lacking == Lacking::Bucket && group.buckets != 0 {
            built.0.buckets = group.buckets;
            let again = self.fill(&old, [built], &stubs, |_| 0)?;
            let Some(filled) = again else { return Ok(false) };
            ([built], expired) = filled;
        }
        self.replace_group(directory, group, &[built], &expired, hash)
    }

    /// Replaces a group by two, by the next bit of the hash.
    fn split(&mut self, directory: Directory, group: &Group, hash: u64) -> Result<bool, Error> {
        let skip = self.plan.shard_bits() + group.depth;
        let half_of = |hash: u64| (hash << skip >> 63) as usize;
        let view = self.view;
        let old = self.old(&view, group);
        let mut whole = [0; 2];
        let expired = old.each_whole(|hash, _| whole[half_of(hash)] += 1)?;
        let (stubs, left) = self.halves_of_stubs(&old, expired.len(), half_of)?;
        let mut built = [(Group { at: 0, ..*group }, 0); 2];
        for half in 0..2 {
            let sizes = Sizes::with_some(whole[half], stubs[half].len() as u64);
            let Some(claimed) = self.claim_group(sizes, group.depth + 1)? else { return Ok(false) };
            built[half] = claimed;
        }
        let Some((built, mut expired)) = self.fill(&old, built, &stubs, half_of)? else {
            return Ok(false);
        };
        expired.extend(left);
        self.replace_group(directory, group, &built, &expired, hash)
    }

    /// Publishes what replaces a group, in the directory or in a copy of it.
    fn replace_group(
        &mut self,
        directory: Directory,
        group: &Group,
        built: &[Built],
        expired: &[(u64, Bucket)],
        hash: u64,
    ) -> Result<bool, Error> {
        let depth = directory.depth.max(built[0].0.depth);
        let words = 1 << (directory.depth - group.depth);
        let copy = if depth > directory.depth || words > WORDS_MOST {
            let Some((at, claim)) = self.claim(WORD << depth, GRANULE)? else { return Ok(false) };
            let copy = Directory { at, depth };
            self.copy_directory(directory, copy)?;
            Some((copy, claim))
        } else {
            None
        };
        let first = prefix(hash << self.plan.shard_bits(), group.depth);
        let shard = self.plan.shard_of(hash);
        if let Some((copy, _)) = copy {
            for (at, word) in words_of(copy, first, group.depth, built) {
                self.view.store(at, word);
            }
        }
        // Pairs with the Acquire of readers who come by way of the published word.
        fence(Release);
        self.begin(&[shard]);
        match copy {
            Some((copy, claim)) => {
                let at = Offset(self.plan.shard_at(shard) + shard::DIRECTORY);
                self.core.write(at, copy.word());
                self.publish(Some(claim), Some(directory.at))?;
            }
            None => {
                for (at, word) in words_of(directory, first, group.depth, built) {
                    self.core.write(Offset(at), word);
                }
            }
        }
        self.publish(Some(built[0].1), Some(group.at))?;
        for (_, claim) in &built[1..] {
            self.publish(Some(*claim), None)?;
        }
        self.leave_behind(expired)?;
        self.commit();
        Ok(true)
    }

    /// Counts expired entries that were not taken along, and retires their payloads.
    fn leave_behind(&mut self, expired: &[(u64, Bucket)]) -> Result<(), Error> {
        for (hash, bucket) in expired {
            self.publish(None, bucket.payload().map(|payload| payload.at))?;
            self.count(*hash, -1, 0, bucket.content_bytes());
            self.tally(*hash, shard::EXPIRED);
        }
        Ok(())
    }

    /// Copies a directory into a fresh one, as deep or one deeper.
    fn copy_directory(&self, from: Directory, to: Directory) -> Result<(), Error> {
        let more = to.depth - from.depth;
        for index in 0..to.count() {
            let word = self.view.read(from.at + (index >> more) * WORD)?;
            self.view.store(to.at + index * WORD, word);
        }
        Ok(())
    }

    fn old<'v>(&self, view: &'v View, group: &Group) -> Old<'v> {
        // The caller of a change of many keys may have most of the claims.
        let claims = slot::STOCK_FIRST.saturating_sub(self.claims + GROWTH_CLAIMS);
        let (seed, now, expired_most) = (self.seed, self.now_ms(), claims.min(WORDS_MOST));
        Old { view, seed, group: *group, now, expired_most }
    }

    /// The stubs of a group by the next bit of the hash; and of their entries those that have
    /// expired and are left behind, beside `others` that are.
    fn halves_of_stubs(
        &self,
        old: &Old<'_>,
        others: usize,
        half_of: impl Fn(u64) -> usize,
    ) -> Result<([Vec<Stub>; 2], Expired), Error> {
        let all = old.stubs()?;
        let (mut halves, mut expired) = ([Vec::new(), Vec::new()], Expired::new());
        for (index, stub) in all.iter().enumerate() {
            if let Some(later) = all.get(index + PREFETCH_STUBS) {
                self.view.prefetch(later.at());
            }
            // A stub does not have this bit of the hash.
            let bucket = payload::read(&self.view, stub.at())?;
            let hash = bucket.hash(&self.view, self.seed)?;
            if old.is_left(&bucket, others + expired.len()) {
                expired.push((hash, bucket));
            } else {
                halves[half_of(hash)].push(*stub);
            }
        }
        Ok((halves, expired))
    }

    /// Claims the chunk of a group; `None` if there is no memory for it.
    fn claim_group(&mut self, sizes: Sizes, depth: u32) -> Result<Option<Built>, Error> {
        if !sizes.can_be() {
            return Ok(None);
        }
        let Sizes { buckets, rows } = sizes;
        let group = Group { at: 0, buckets, rows, depth };
        let claimed = self.claim(group.bytes(), BUCKET_BYTES)?;
        Ok(claimed.map(|(at, claim)| (Group { at, ..group }, claim)))
    }

    /// Fills fresh groups with what an old one holds, each hash in the one that `part_of` says. If
    /// something finds no place, a larger one is taken, as rare hashes need; `None` if there is no
    /// memory for that.
    #[inline(never)] // Its loop needs all registers.
    fn fill<const PARTS: usize>(
        &mut self,
        old: &Old<'_>,
        mut built: [Built; PARTS],
        stubs: &[Vec<Stub>; PARTS],
        part_of: impl Fn(u64) -> usize,
    ) -> Result<Option<([Built; PARTS], Expired)>, Error> {
        loop {
            let mut fresh = built.map(|(group, _)| Fresh::new(old.view, group));
            let expired = old.each_whole(|hash, line| fresh[part_of(hash)].put(hash, line))?;
            let mut is_done = true;
            for part in 0..PARTS {
                if fresh[part].finish(&stubs[part]) {
                    continue;
                }
                is_done = false;
                let group = built[part].0;
                let mut sizes = Sizes::larger(&group, Lacking::Stub);
                if group.buckets != 0 {
                    sizes.buckets = Sizes::larger(&group, Lacking::Bucket).buckets;
                }
                // What was too small is freed with the other claims.
                let Some(larger) = self.claim_group(sizes, group.depth)? else { return Ok(None) };
                built[part] = larger;
            }
            if is_done {
                return Ok(Some((built, expired)));
            }
        }
    }

    /// Drops an entry whose place a new one of `hash` can have; false if there is none.
    fn drop_near(&mut self, hash: u64, lacking: Lacking) -> Result<bool, Error> {
        let full = Error::Full { bytes: BUCKETS_LEAST * BUCKET_BYTES };
        let group = group_of(&self.view, &self.plan, hash)?;
        let (Some(group), Evict::Policy) = (group, self.evict) else { return Err(full) };
        let claims = self.claims;
        let Some(victim) = self.pick(&group, hash, lacking, HOP)? else { return Ok(false) };
        self.drop_picked(&group, &victim)?;
        self.free_claims(claims).map(|()| true)
    }
}

/// The words that lead to what replaces a group of `depth`, the `first`-th of that depth.
fn words_of(
    directory: Directory,
    first: u64,
    depth: u32,
    built: &[Built],
) -> impl Iterator<Item = (u64, u64)> {
    let count = 1u64 << (directory.depth - depth);
    let each = count / built.len() as u64;
    (0..count).map(move |index| {
        let (group, _) = built[(index / each) as usize];
        (directory.at + (first * count + index) * WORD, group.word())
    })
}

#[cfg(test)]
mod tests;
