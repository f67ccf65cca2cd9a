//! Room in a full store: what has expired goes first, then what is not asked for.
//!
//! ```text
//!   room needed --> dues that have come (expire.rs) --> the hand's next turn --> pick (pick.rs)
//!                   large: a window of memory (window.rs)       in vain: windows, then groups
//! ```
//!
//! Each turn of the hand is a place in the row of all hashes, as far from all earlier ones as can
//! be, so that no part of the table is spared however many entries it has, and evictors that come
//! at once go to different shards.
//!
//! A large value needs memory that lies side by side, so nothing is dropped for it before a window
//! was found that holds nothing but what can go: then it is known to fit. When what the hand drops
//! for a smaller one does not help, because the free memory lies in pieces, windows are cleared
//! too; when nothing else is left, whole groups go, with all that is in them.
//!
//! Source: D. E. Knuth, The Art of Computer Programming, vol. 3, section 6.4 (the golden ratio
//! spreads best).

use std::ops::Range;

use morecore_heap::Offset;

use crate::atomic::Relaxed;
use crate::bucket::Bucket;
use crate::expire::Late;
use crate::grow::{Lacking, ROOM_BYTES};
use crate::layout::{WORD, header, shard, slot};
use crate::pick::Victim;
use crate::session::Session;
use crate::table::{Directory, ENTRY_NOTES_MOST, Group, directory_of, group_of};
use crate::view::Look;
use crate::{Error, Evict};

/// The most entries that one visit of the hand drops: each may need a claim for its payload.
const VICTIMS_MOST: u64 = 64;

/// How much the hand drops before a window is cleared: so many times what is wanted. In a store of
/// entries of one size the first is enough.
const PATIENCE: u64 = 2;

/// How many windows are cleared before whole groups go: a window may hold what cannot be dropped.
const WINDOWS_MOST: u32 = 64;

/// From this part of the heap on a value is large: what the hand drops for it, all over memory,
/// would hardly meet. Never is what a group needs: whole groups can go for that.
const LARGE_PART: u64 = 64;

/// How many dues are looked at before anything is evicted, and the most stretches that are gone
/// through for that: some cache lines, and some microseconds.
const DUES_FIRST: (u64, u32) = (64, 2);

/// What one turn of the hand advances by: 2^64 divided by the golden ratio.
const TURN: u64 = 0x9e37_79b9_7f4a_7c15;

/// What a sweep takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sweep {
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

    /// Does something that may drop entries, but, of the shards that we hold, none of these hashes;
    /// if the caller has not said already which are to stay. What else is in these shards may go,
    /// too: in a small store that is some of any window of memory.
    pub(crate) fn sparing<R>(
        &mut self,
        hashes: impl IntoIterator<Item = u64>,
        work: impl FnOnce(&mut Self) -> R,
    ) -> R {
        if !self.busy.is_empty() || self.held.is_empty() {
            return work(self);
        }
        self.busy.extend(hashes);
        let done = work(self);
        self.busy.clear();
        done
    }

    /// Drops something; false if there is nothing, or nothing that would help.
    fn make_room(&mut self, bytes: u64, search: &mut Search) -> Result<bool, Error> {
        if self.expire_some(DUES_FIRST, Late::Not)? != 0 {
            return Ok(true);
        }
        let heap_bytes = self.plan.bytes - self.plan.heap_at;
        if bytes > (heap_bytes / LARGE_PART).max(ROOM_BYTES) {
            search.windows += 1;
            return Ok(search.windows <= WINDOWS_MOST && self.clear_sure_window(bytes)? != 0);
        }
        loop {
            if search.dropped_bytes > bytes * PATIENCE && search.windows < WINDOWS_MOST {
                search.windows += 1;
                if self.clear_window(bytes)? != 0 {
                    return Ok(true);
                }
                continue;
            }
            search.takes_groups |= search.windows >= WINDOWS_MOST;
            let dropped =
                if search.takes_groups { self.drop_next_group()? } else { self.drop_next()? };
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

    /// Where the hand is next.
    pub(crate) fn next_turn(&self) -> u64 {
        self.view.word(header::HAND_AT).fetch_add(1, Relaxed).wrapping_mul(TURN)
    }

    /// Drops one entry with a payload at the hand's next place; returns how many bytes it had.
    fn drop_next(&mut self) -> Result<u64, Error> {
        let place = self.next_turn();
        self.with_shard(self.plan.shard_of(place), |session| {
            let Some(group) = group_of(&session.view, &session.plan, place)? else { return Ok(0) };
            match session.pick(&group, place, Lacking::Stub, u64::MAX)? {
                Some(victim) => session.drop_picked(&group, &victim),
                None => Ok(0),
            }
        })
    }

    /// Drops a group at the hand's next place, with all that is in it.
    fn drop_next_group(&mut self) -> Result<u64, Error> {
        let place = self.next_turn();
        let shard = self.plan.shard_of(place);
        self.with_shard(shard, |session| {
            let Some(group) = group_of(&session.view, &session.plan, place)? else { return Ok(0) };
            session.drop_group_of(shard, &group, place)
        })
    }

    /// Drops an entry that was picked; its shard is held.
    pub(crate) fn drop_picked(&mut self, group: &Group, victim: &Victim) -> Result<u64, Error> {
        let Victim { place, hash, bucket, .. } = *victim;
        self.begin(&[self.plan.shard_of(hash)]);
        self.remove(group, hash, place, &bucket)?;
        self.commit();
        if self.has_expired(&bucket) {
            self.tally(hash, shard::EXPIRED);
        } else {
            self.tally(hash, shard::EVICTIONS);
            self.remember(victim);
        }
        Ok(bucket.content_bytes() + 1)
    }

    /// Drops something under a shard's hold, frees what that retires, and returns how many bytes it
    /// was; 0 if the shard is not to be had.
    pub(crate) fn with_shard(
        &mut self,
        shard: u64,
        drop_some: impl FnOnce(&mut Self) -> Result<u64, Error>,
    ) -> Result<u64, Error> {
        if self.held.contains(&shard) {
            // Only if it is known which entries must stay.
            return if self.busy.is_empty() { Ok(0) } else { self.drop_under_hold(drop_some) };
        }
        if !self.hold_for_eviction(shard)? {
            return Ok(0);
        }
        self.drop_and_let_go(drop_some)
    }

    /// Drops something under the hold that was taken last, and lets go of it.
    pub(crate) fn drop_and_let_go(
        &mut self,
        drop_some: impl FnOnce(&mut Self) -> Result<u64, Error>,
    ) -> Result<u64, Error> {
        let claims = self.claims;
        let dropped = self.drop_or_undo(drop_some);
        self.let_go_last();
        self.free_claims(claims)?;
        dropped
    }

    /// Drops something under a hold that stays.
    fn drop_under_hold(
        &mut self,
        drop_some: impl FnOnce(&mut Self) -> Result<u64, Error>,
    ) -> Result<u64, Error> {
        let claims = self.claims;
        let dropped = self.drop_or_undo(drop_some);
        self.free_claims(claims)?;
        dropped
    }

    fn drop_or_undo(
        &mut self,
        drop_some: impl FnOnce(&mut Self) -> Result<u64, Error>,
    ) -> Result<u64, Error> {
        let claims = self.claims;
        let dropped = drop_some(self);
        if dropped.is_err() && !self.open.is_empty() {
            self.undo();
            self.claims = claims;
        }
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

    /// Drops from a group, from place `first` on, as many as one transaction takes; returns how
    /// many bytes it dropped, and where it stopped.
    pub(crate) fn sweep(
        &mut self,
        shard: u64,
        group: &Group,
        first: u64,
        what: Sweep,
    ) -> Result<(u64, u64), Error> {
        let (mut dropped, mut victims, mut index) = (0, 0, first);
        while index < group.places() {
            if let Some(bucket) = group.entry(&self.view, index)?
                && (what != Sweep::Expired || self.has_expired(&bucket))
                && let hash = bucket.hash(&self.view, self.seed)?
                && !self.busy.contains(&hash)
            {
                if victims == 0 {
                    self.begin(&[shard]);
                }
                let has_room = self.core.journal().room() >= ENTRY_NOTES_MOST
                    && victims < VICTIMS_MOST
                    && self.claims + 2 < slot::STOCK_FIRST;
                if !has_room {
                    break;
                }
                self.remove(group, hash, index, &bucket)?;
                self.tally_drop(&bucket, hash, what);
                dropped += bucket.content_bytes() + 1;
                victims += 1;
            }
            index = group.next_place(index);
        }
        if !self.open.is_empty() {
            self.commit();
        }
        Ok((dropped, index))
    }

    /// Drops a group with all that is in it; its shard is held, and `hash` leads to it.
    pub(crate) fn drop_group_of(
        &mut self,
        shard: u64,
        group: &Group,
        hash: u64,
    ) -> Result<u64, Error> {
        let (mut dropped, mut next) = (0, 0);
        while next < group.places() {
            let claims = self.claims;
            let (more, stopped) = self.sweep(shard, group, next, Sweep::All)?;
            (dropped, next) = (dropped + more, stopped);
            self.free_claims(claims)?;
        }
        let Some(directory) = directory_of(&self.view, &self.plan, shard)? else {
            return Ok(dropped);
        };
        let span = 1u64 << directory.depth.saturating_sub(group.depth);
        let index = (directory.entry_at(&self.plan, hash) - directory.at) / WORD;
        let first = index / span * span;
        Ok(dropped + self.drop_group(shard, directory, group, first, span)?)
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
        if !group.is_empty(&self.view)? {
            return Ok(0);
        }
        if span > VICTIMS_MOST || self.claims + 2 > slot::STOCK_FIRST {
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
        Ok(group.bytes())
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

    /// Counts one in a counter of a hash's shard, which is held.
    pub(crate) fn tally(&self, hash: u64, counter: u64) {
        self.view
            .word(self.plan.shard_at(self.plan.shard_of(hash)) + counter)
            .fetch_add(1, Relaxed);
    }
}
