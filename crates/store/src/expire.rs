//! What has expired goes, without anyone asking for it: a row of dues says where to look, and when.
//!
//! ```text
//!   all hashes   | stretch 0 | stretch 1 | stretch 2 | ...      about a group each
//!   dues         [   0       ][   17:04   ][   17:31   ] ...    when to look there; 0 = nothing
//! ```
//!
//! A due is at most [`LATE_MOST_MS`] behind the first expiry of its stretch. When it comes, all of
//! the stretch that has expired goes, and the next due is when some more will have: when eight
//! have within [`SOON_MS`], or when the first is late enough. So each look at a group finds eight,
//! or is the only one in a while; what it costs is in proportion to what expires, and never to what
//! is there.
//!
//! ```text
//!   due   unix ms 63 | is `LATE_MOST_MS` behind the first expiry     0 = nothing expires here
//! ```
//!
//! Whoever needs room does not wait for the first to be late, and `tidy`, which has the time and a
//! bound on its looks, waits for [`SOON_MS`] only: what is counted is hardly ever behind.
//!
//! Who looks: every writer now and then, at a few dues; `tidy`, at many; and whoever needs room,
//! before anything else is dropped.
//!
//! Promises: no expiry is forgotten: `verify` proves it by the name `due`. The row is hints: a due
//! that is too early costs a look in vain, and after a death that is all that can be wrong.
//! Source: J. Yang et al., Segcache, NSDI 2021, for expiring in bulk by time.

use crate::Error;
use crate::atomic::Relaxed;
use crate::evict::Sweep;
use crate::layout::header;
use crate::scan::end_of;
use crate::session::Session;
use crate::table::{Group, directory_of, group_of};

/// How long after the first expiry of a stretch it is looked at, at the latest.
pub(crate) const LATE_MOST_MS: u64 = 10_000;

/// How long after the first expiry who tidies looks, as far as it has looks to spend: no longer
/// than people take for at once.
pub(crate) const SOON_MS: u64 = 1000;

/// How many expiries are waited for before that: so many make a look at a group worth it.
const BATCH: usize = 8;

/// Stretches that are mostly of the same group: who has looked at one passes the others by, which
/// it has been through as well.
const NEIGHBOURS: u64 = 8;

/// How late after the first expiry of a stretch it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Late {
    /// At once.
    Not,
    /// [`SOON_MS`].
    Soon,
    /// [`LATE_MOST_MS`].
    Most,
}

impl Session {
    /// An entry of `hash` is about to expire at `expiry` (0 = never); its shard is held.
    #[inline]
    pub(crate) fn lower_due(&self, hash: u64, expiry: u64) {
        if expiry == 0 {
            return;
        }
        let word = self.view.word(self.plan.due_at(self.plan.due_of(hash)));
        let (due, new) = (Due(word.load(Relaxed)), Due::late(expiry));
        if due.is_none() || new.ms() < due.ms() {
            word.store(new.0, Relaxed);
        }
    }

    /// Looks at the next `dues` dues, and drops what has expired in at most `most` stretches that
    /// are due when they are so late; returns how many bytes that were. It waits for nobody.
    pub(crate) fn expire_some(
        &mut self,
        (dues, most): (u64, u32),
        late: Late,
    ) -> Result<u64, Error> {
        let first = self.view.word(header::DUE_HAND_AT).fetch_add(dues, Relaxed);
        let (mut dropped, mut looks, mut now) = (0, 0, None);
        for step in 0..dues.min(self.plan.dues) {
            let number = first.wrapping_add(step) % self.plan.dues;
            let due = Due(self.view.word(self.plan.due_at(number)).load(Relaxed));
            // The time is asked for only where something will expire at all.
            let has_come =
                !due.is_none() && due.comes_at(late) <= *now.get_or_insert_with(|| self.now_ms());
            if !has_come {
                continue;
            }
            dropped += self.expire_stretch(number)?;
            looks += 1;
            if looks == most {
                // The others are next, before these again.
                let done = (step + 1).max(NEIGHBOURS);
                let left = dues.saturating_sub(done);
                self.view.word(header::DUE_HAND_AT).fetch_sub(left, Relaxed);
                break;
            }
        }
        Ok(dropped)
    }

    /// Drops what has expired in a stretch, and says when to look again.
    fn expire_stretch(&mut self, number: u64) -> Result<u64, Error> {
        let shard = self.plan.shard_of(self.plan.first_of_due(number));
        if self.held.contains(&shard) || !self.try_hold(shard) {
            return Ok(0);
        }
        self.drop_and_let_go(|session| session.expire_held(shard, number))
    }

    fn expire_held(&mut self, shard: u64, number: u64) -> Result<u64, Error> {
        let mut next = NextDue::default();
        let (mut hash, mut dropped) = (self.plan.first_of_due(number), 0);
        // A stretch may be a part of one group, or span several.
        loop {
            let group = group_of(&self.view, &self.plan, hash)?;
            if let Some(group) = group {
                dropped += self.expire_group(shard, number, &group, &mut next)?;
            }
            let bits = self.plan.shard_bits()
                + match group {
                    Some(group) => group.depth,
                    None => {
                        directory_of(&self.view, &self.plan, shard)?.map_or(0, |found| found.depth)
                    }
                };
            let end = end_of(hash, bits);
            if end == 0 || self.plan.due_of(end) != number {
                break;
            }
            hash = end;
        }
        self.view.word(self.plan.due_at(number)).store(next.due().0, Relaxed);
        Ok(dropped)
    }

    fn expire_group(
        &mut self,
        shard: u64,
        number: u64,
        group: &Group,
        next: &mut NextDue,
    ) -> Result<u64, Error> {
        let (mut dropped, mut index) = (0, 0);
        while index < group.places() {
            let claims = self.claims;
            let (more, stopped) = self.sweep(shard, group, index, Sweep::Expired)?;
            (dropped, index) = (dropped + more, stopped);
            self.free_claims(claims)?;
        }
        let mut place = 0;
        while place < group.places() {
            if let Some(bucket) = group.entry(&self.view, place)?
                && bucket.expiry() != 0
                && self.plan.due_of(bucket.hash(&self.view, self.seed)?) == number
            {
                next.add(bucket.expiry());
            }
            place = group.next_place(place);
        }
        Ok(dropped)
    }
}

/// When to look at a stretch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due(pub(crate) u64);

impl Due {
    const NONE: Self = Self(0);

    /// As late after the first expiry as can be.
    fn late(first: u64) -> Self {
        Self((first + LATE_MOST_MS) << 1 | 1)
    }

    fn is_none(self) -> bool {
        self == Self::NONE
    }

    fn ms(self) -> u64 {
        self.0 >> 1
    }

    fn comes_at(self, late: Late) -> u64 {
        let early = match late {
            _ if self.0 & 1 == 0 => 0,
            Late::Not => LATE_MOST_MS,
            Late::Soon => LATE_MOST_MS - SOON_MS,
            Late::Most => 0,
        };
        self.ms().saturating_sub(early)
    }

    /// Whether an entry that expires at `expiry` is looked at in time.
    pub(crate) fn covers(self, expiry: u64) -> bool {
        !self.is_none() && self.ms() <= expiry + LATE_MOST_MS
    }
}

/// The first expiries of a stretch, ascending.
#[derive(Debug, Default)]
struct NextDue {
    first: [u64; BATCH],
    count: usize,
}

impl NextDue {
    fn add(&mut self, expiry: u64) {
        let place = self.first[..self.count].partition_point(|&other| other <= expiry);
        if place == BATCH {
            return;
        }
        self.count = (self.count + 1).min(BATCH);
        self.first[place..self.count].rotate_right(1);
        self.first[place] = expiry;
    }

    /// When to look again.
    fn due(&self) -> Due {
        let late = Due::late(self.first[0]);
        match self.count {
            0 => Due::NONE,
            BATCH if self.first[BATCH - 1] <= self.first[0] + SOON_MS => {
                Due(self.first[BATCH - 1] << 1)
            }
            _ => late,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expiries: &[u64], due: u64) {
        let mut next = NextDue::default();
        expiries.iter().for_each(|&expiry| next.add(expiry));
        assert_eq!(next.due().ms(), due, "{expiries:?}");
        let first = if due < LATE_MOST_MS { due } else { due - LATE_MOST_MS };
        let soon = if due < LATE_MOST_MS { due } else { first + SOON_MS };
        assert_eq!(next.due().comes_at(Late::Not), first, "{expiries:?}");
        assert_eq!(next.due().comes_at(Late::Soon), soon, "{expiries:?}");
        assert_eq!(next.due().comes_at(Late::Most), due, "{expiries:?}");
    }

    #[test]
    fn the_next_look_is_when_eight_have_expired_or_the_first_is_late() {
        check(&[], 0);
        check(&[70, 50, 60], 50 + LATE_MOST_MS);
        check(&[8, 7, 6, 5, 4, 3, 2, 1], 8);
        check(&[9, 8, 7, 6, 5, 4, 3, 2, 1, 10], 8);
        check(&[1, 2, 3, 4, 5, 6, 7, 1001], 1001);
        check(&[1, 2, 3, 4, 5, 6, 7, 1002], 1 + LATE_MOST_MS);
    }
}
