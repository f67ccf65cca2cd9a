//! What to drop when the store is full: a hand goes round the groups and spares the visited.
//!
//! ```text
//!   hand --> shard --> group --> bucket    expired: it goes
//!                                          visited: the bit is cleared, it stays
//!                                          else:    it goes
//! ```
//!
//! A look-up sets a bit that its hash names, in a row of bits that never moves; so a reader writes
//! nothing that could have become something else meanwhile. Two entries may share a bit: one of
//! them is spared once without reason.
//!
//! When what it drops does not help, because the free memory lies in pieces, a window of memory is
//! cleared (`window.rs`). When nothing else is left, whole groups go, with all that is in them.
//!
//! Source: F. J. Corbató's clock (1968); SIEVE (Y. Zhang et al., NSDI 2024).

use std::ops::Range;

use morecore_heap::Offset;

use crate::atomic::Relaxed;
use crate::bucket::{BUCKET_BYTES, Bucket};
use crate::layout::{WORD, header, shard, slot};
use crate::session::Session;
use crate::table::{Directory, ENTRY_NOTES_MOST, Group, directory_of};
use crate::view::Look;
use crate::{Error, Evict};

/// The most entries that one visit of the hand drops: each may need a claim for its payload.
const VICTIMS_MOST: u64 = 64;

/// How much the hand drops before a window is cleared: so many times what is wanted. In a store of
/// entries of one size the first is enough.
const PATIENCE: u64 = 2;

/// How many windows are cleared before whole groups go: a window may hold what cannot be dropped.
const WINDOWS_MOST: u32 = 64;

/// What a sweep takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sweep {
    /// Entries with payloads that were not visited, until there is enough.
    Unvisited,
    /// All entries.
    All,
    /// Only what has expired.
    Expired,
    /// All entries, because somebody wants the store empty: that is no eviction.
    Clear,
}

/// How far a search for room has come.
#[derive(Debug, Default)]
struct Search {
    dropped_bytes: u64,
    idle_visits: u64,
    windows: u32,
    takes_groups: bool,
}

impl Session {
    /// Claims a payload, dropping entries for it if the store does that; returns where it is and
    /// the number of the claim. Shards that we hold are spared.
    pub(crate) fn claim_evicting(&mut self, bytes: u64, align: u64) -> Result<(u64, u64), Error> {
        if let Some(found) = self.claim(bytes, align)? {
            return Ok(found);
        }
        self.free_leases_of_the_dead()?;
        let mut search = Search::default();
        loop {
            if let Some(found) = self.claim(bytes, align)? {
                return Ok(found);
            }
            if self.evict == Evict::None || !self.make_room(bytes, &mut search)? {
                return Err(Error::Full { bytes });
            }
        }
    }

    /// Lets the hand visit shards until something is dropped; false if there is nothing.
    fn make_room(&mut self, bytes: u64, search: &mut Search) -> Result<bool, Error> {
        loop {
            if search.dropped_bytes > bytes * PATIENCE && search.windows < WINDOWS_MOST {
                search.windows += 1;
                if self.clear_window(bytes)? != 0 {
                    return Ok(true);
                }
                continue;
            }
            search.takes_groups |= search.windows >= WINDOWS_MOST;
            let what = if search.takes_groups { Sweep::All } else { Sweep::Unvisited };
            let dropped = self.visit_next_shard(bytes, what)?;
            search.dropped_bytes += dropped;
            search.idle_visits = if dropped == 0 { search.idle_visits + 1 } else { 0 };
            if search.idle_visits > 4 * self.plan.shards {
                if search.takes_groups {
                    return Ok(false);
                }
                (search.takes_groups, search.idle_visits) = (true, 0);
            }
            if dropped != 0 {
                return Ok(true);
            }
        }
    }

    /// Visits the group under the hand of the next shard; returns how many bytes were dropped.
    pub(crate) fn visit_next_shard(&mut self, bytes: u64, what: Sweep) -> Result<u64, Error> {
        let turn = self.view.word(header::HAND_AT).fetch_add(1, Relaxed);
        let shard = turn % self.plan.shards;
        if !self.hold_for_eviction(shard)? {
            return Ok(0);
        }
        let claims = self.claims;
        let dropped = self.visit(shard, bytes, what);
        if dropped.is_err() && !self.open.is_empty() {
            self.undo();
            self.claims = claims;
        }
        self.let_go_last();
        self.free_claims(claims)?;
        dropped
    }

    /// Takes a shard to drop from; false if we hold it already, or somebody has it whom we must not
    /// wait for because we hold others.
    pub(crate) fn hold_for_eviction(&mut self, shard: u64) -> Result<bool, Error> {
        if self.held.contains(&shard) {
            return Ok(false);
        }
        if self.held.is_empty() {
            return self.hold(&[shard]).map(|()| true);
        }
        Ok(self.try_hold(shard))
    }

    fn visit(&mut self, shard: u64, bytes: u64, what: Sweep) -> Result<u64, Error> {
        let Some(directory) = directory_of(&self.view, &self.plan, shard)? else { return Ok(0) };
        let hand_at = self.plan.shard_at(shard) + shard::HAND;
        let hand = self.view.load(hand_at);
        let (mut index, mut bucket) = ((hand >> 16) % directory.count(), hand & 0xffff);
        for _ in 0..directory.count() {
            let word = self.view.read(directory.at + index * WORD)?;
            let Some(group) = Group::from_word(word)? else {
                (index, bucket) = ((index + 1) % directory.count(), 0);
                continue;
            };
            let takes_groups = what == Sweep::All;
            let first = if takes_groups { 0 } else { bucket };
            let (mut dropped, next) = self.sweep(shard, &group, first, bytes, what)?;
            let mut next_index = index;
            if next >= group.buckets {
                let span = 1u64 << directory.depth.saturating_sub(group.depth);
                next_index = (index / span * span + span) % directory.count();
                if takes_groups {
                    let first = index / span * span;
                    dropped += self.drop_group(shard, directory, &group, first, span)?;
                }
            }
            let next_bucket = if next >= group.buckets { 0 } else { next };
            self.view.store(hand_at, next_index << 16 | next_bucket);
            return Ok(dropped);
        }
        Ok(0)
    }

    /// Drops from a group, from bucket `first` on, until `bytes` are free or it ends; returns how
    /// many bytes it dropped, and where it stopped.
    pub(crate) fn sweep(
        &mut self,
        shard: u64,
        group: &Group,
        first: u64,
        bytes: u64,
        what: Sweep,
    ) -> Result<(u64, u64), Error> {
        let (mut dropped, mut victims, mut index) = (0, 0, first);
        self.begin(&[shard]);
        while index < group.buckets {
            let has_room = self.core.journal().room() >= ENTRY_NOTES_MOST
                && victims < VICTIMS_MOST
                && self.claims + 2 < slot::CLAIMS_MOST;
            if !has_room || (dropped >= bytes && what == Sweep::Unvisited) {
                break;
            }
            let bucket = Bucket(self.view.read_line(group.bucket_at(index))?);
            let may_go = what != Sweep::Expired || self.has_expired(&bucket);
            if !bucket.is_empty() && may_go {
                let hash = bucket.hash(&self.view, self.seed)?;
                if self.is_taken(&bucket, hash, what) {
                    self.remove(group, hash, index, &bucket)?;
                    self.tally_drop(&bucket, hash, what);
                    dropped += bucket.content_bytes() + 1;
                    victims += 1;
                }
            }
            index += 1;
        }
        self.commit();
        Ok((dropped, index))
    }

    /// Whether an entry goes. Only payloads give room, so one without is spared unless all go.
    fn is_taken(&self, bucket: &Bucket, hash: u64, what: Sweep) -> bool {
        self.has_expired(bucket)
            || match what {
                Sweep::All | Sweep::Clear => true,
                Sweep::Unvisited => bucket
                    .payload()
                    .is_some_and(|payload| !self.take_visit(hash) && !self.is_leased(payload.at)),
                Sweep::Expired => false,
            }
    }

    fn tally_drop(&self, bucket: &Bucket, hash: u64, what: Sweep) {
        if self.has_expired(bucket) {
            self.tally(hash, shard::EXPIRED);
        } else if what != Sweep::Clear {
            self.tally(hash, shard::EVICTIONS);
        }
    }

    /// Takes an empty group out of its directory, and the directory too if that was the last;
    /// returns how many bytes that freed.
    pub(crate) fn drop_group(
        &mut self,
        shard: u64,
        directory: Directory,
        group: &Group,
        first: u64,
        span: u64,
    ) -> Result<u64, Error> {
        for index in 0..group.buckets {
            if Bucket::is_used(self.view.read(group.bucket_at(index))?) {
                return Ok(0);
            }
        }
        if span > VICTIMS_MOST || self.claims + 2 > slot::CLAIMS_MOST {
            return Ok(0);
        }
        let is_last = self.is_last_group(directory, first..first + span)?;
        self.begin(&[shard]);
        if is_last {
            // A directory left alone would keep the free chunks around it apart.
            self.core.write(Offset(self.plan.shard_at(shard) + shard::DIRECTORY), 0);
            self.publish(None, Some(directory.at))?;
        } else {
            for index in first..first + span {
                self.core.write(Offset(directory.at + index * WORD), 0);
            }
        }
        self.publish(None, Some(group.at))?;
        self.commit();
        Ok(group.buckets * BUCKET_BYTES)
    }

    /// Whether a directory leads nowhere but by these words.
    fn is_last_group(&self, directory: Directory, words: Range<u64>) -> Result<bool, Error> {
        for index in (0..directory.count()).filter(|index| !words.contains(index)) {
            if self.view.read(directory.at + index * WORD)? != 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Marks a hash as visited, if it is not yet.
    #[inline]
    pub(crate) fn visit_hash(&self, hash: u64) {
        let (at, bit) = self.plan.visited_of(hash);
        let word = self.view.word(at);
        if word.load(Relaxed) & bit == 0 {
            word.fetch_or(bit, Relaxed);
        }
    }

    /// Whether a hash was visited; it is not any more.
    pub(crate) fn take_visit(&self, hash: u64) -> bool {
        let (at, bit) = self.plan.visited_of(hash);
        let word = self.view.word(at);
        word.load(Relaxed) & bit != 0 && word.fetch_and(!bit, Relaxed) & bit != 0
    }

    /// Counts one in a counter of a hash's shard, which is held.
    pub(crate) fn tally(&self, hash: u64, counter: u64) {
        self.view
            .word(self.plan.shard_at(self.plan.shard_of(hash)) + counter)
            .fetch_add(1, Relaxed);
    }
}
