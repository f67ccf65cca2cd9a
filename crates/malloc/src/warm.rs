//! Which free chunks have pages of memory, and since when: what is given back, and when.
//!
//! ```text
//!   a free chunk of 256 KiB or more
//!     | tag | next | previous | note | ............ whole pages ............ | tag |
//!                               clean: the pages went back, and read as zero
//!                               n:     it was freed in epoch n, and has pages that were written
//!
//!   freed --an epoch of rest, or more than may be--> its pages go back
//!         --taken--> faulted in again, as it is used
//! ```
//!
//! To fault a page in costs as much as a thousand small requests, so what was freed stays warm for
//! a while: up to as much again as is used, and until it has rested for an epoch. Time is looked at
//! in passing, by those who free, so a process that does nothing does not wake up for it.
//!
//! But many programs free something large once, and never ask for the like again: a buffer that was
//! outgrown, a table that was built anew. So a part of all that was ever touched may go back early,
//! as soon as a little more than nothing is warm: whatever the program does, that costs it no more
//! than this part of its first faults once more, and it is spent where peaks are made, at the
//! beginning. Half as much again may go back in the moment in which core is touched for the first
//! time: then there is a peak that grows, unless as much goes back elsewhere.
//!
//! # Invariants
//! - `noted`: each free chunk of [`NOTED_LEAST`] bytes or more has a note that is true. (Smaller
//!   ones may have a stale word there, so nobody reads it.)
//!
//! Knows nothing of bins, slabs and locks: whoever calls holds the arena.

use morecore_heap::{Chunk, Chunks, Offset, Region};
use morecore_sys::clock;
use morecore_sys::memory::{self, Advice};

use crate::ledger;
use crate::line::keeping_errno;
use crate::thread::core;

/// The least chunk that is noted, and whose pages go back: for less the call of the system costs
/// more than the faults that it may save others.
pub(crate) const NOTED_LEAST: u64 = 256 << 10;

/// From this on the pages of the ledger that tell of it go back as well: a page for each 512 KiB,
/// and as many if others freed there. For less that is not worth two more calls of the system.
const TOLD_LEAST: u64 = 4 << 20;

/// This much may be warm beside nothing in use: the common up and down of a working set. (With half
/// of it a program with payloads of 64 KiB to 8 MiB, 55 MiB of them at a time, took 1.5 times as
/// long, at the same peak.)
const WARM_LEAST: u64 = 64 << 20;

/// Beyond this, and this part of what is used, what is warm may go back early: for less a walk
/// through the free chunks is not worth it.
const EARLY_LEAST: u64 = 1 << 20;
const EARLY_PART: u64 = 8;

/// This part of all that is touched for the first time may go back early, and so much beside.
const FIRST_PART: u64 = 4;
const EARLY_FIRST: i64 = 4 << 20;

/// And this part beside it in the moment in which it is touched. (A Python of 83 MiB with large
/// lists and dictionaries takes 72 so. With half instead of a quarter a program whose payloads of
/// 64 KiB to 8 MiB come and go took 28 % more faults, not 8 %, at the same peak.)
const INSTEAD_PART: u64 = 4;

/// Half of the bounds above: no moment is better than this.
const INSTEAD_LEAST: u64 = EARLY_LEAST / 2;
const INSTEAD_WARM_PART: u64 = 2 * EARLY_PART;

/// How long an epoch is. What comes back sooner than that pays no faults; what does not has cost
/// its memory for a second at most.
const EPOCH_MS: u64 = 500;

/// Every so often somebody who frees looks at the clock: a look costs a tenth of such a free.
const FREES: u32 = 32;

/// What stands in the note of a chunk whose pages went back, mixed with where it is: no epoch is
/// ever so large.
const CLEAN: u64 = 0xc1ea_4000_0000_0000;

/// What is warm.
pub(crate) struct Warm {
    /// About so many bytes of free chunks have pages. The pages of a chunk that was only partly
    /// written are all counted; an epoch's end sets it right.
    bytes: u64,
    /// So many bytes may still go back early; less than none, if there were more than may be.
    early: i64,
    /// So many bytes of core were ever touched.
    touched: u64,
    epoch: u64,
    /// When the epoch ends.
    end_ms: u64,
    /// How many frees there were since the last look at the clock.
    frees: u32,
}

impl Warm {
    pub(crate) const fn new() -> Self {
        Self { bytes: 0, early: EARLY_FIRST, touched: 0, epoch: 1, end_ms: 0, frees: 0 }
    }

    /// About how many bytes of free chunks have pages.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes down that a free made the free chunk `free` out of `bytes` bytes and what was free
    /// beside them.
    pub(crate) fn freed(&mut self, free: Chunk, bytes: u64) {
        self.bytes += bytes;
        self.formed(free);
    }

    /// Takes down that `bytes` bytes that have pages are free in a row of slabs.
    pub(crate) fn spared(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Takes down that `bytes` of those went back.
    pub(crate) fn gone(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Takes down that a free chunk was formed otherwise.
    pub(crate) fn formed(&self, free: Chunk) {
        set_note(free, self.epoch);
    }

    /// Takes down that `chunk` is used now, cut out of a free one, and was never touched from
    /// `fresh` on. Returns those of its pages that are known to be zero, for they had gone back.
    pub(crate) fn taken(&mut self, chunk: Chunk, fresh: Offset) -> Option<Region> {
        let (front, rest) = (chunk.free_before(&core()), chunk.free_after(&core()));
        let begin = front.map_or(chunk.begin, |front| front.begin);
        let end = rest.map_or(chunk.end(), Chunk::end);
        let found = Chunk::between(begin, end);
        let note = note(found);
        // Neither links nor tags that were written since are where the note is, unless what is left
        // in front is the least chunk; then its tag is no note that means anything.
        let is_clean = note == Some(CLEAN ^ begin.0);
        for left in [front, rest].into_iter().flatten() {
            let age = note.unwrap_or(self.epoch).min(self.epoch);
            set_note(left, if is_clean { CLEAN ^ left.begin.0 } else { age });
        }
        if !is_clean {
            self.used(Region::between(chunk.begin, chunk.end()), fresh);
            return None;
        }
        if front.is_none() {
            core().write(note_at(begin), 0);
        }
        Chunks::free_pages(found, memory::page_bytes())
    }

    /// Takes down that what is in `region` before `fresh`, and was warm, is used now.
    pub(crate) fn used(&mut self, region: Region, fresh: Offset) {
        let warm = region.end().min(fresh).0.saturating_sub(region.begin.0);
        self.bytes = self.bytes.saturating_sub(warm);
    }

    /// Takes down that `bytes` bytes were touched for the first time.
    #[inline]
    pub(crate) fn touched(&mut self, bytes: u64) {
        self.early += (bytes / FIRST_PART) as i64;
        self.touched += bytes;
    }

    /// Is there more warm than there should be beside `used` bytes? (As much again as is used, for
    /// a program that drops all that it has mostly builds it anew.)
    pub(crate) fn is_too_much(&self, used: u64) -> bool {
        self.bytes > WARM_LEAST + used
    }

    /// Is there more than a little warm beside `used` bytes, and may it go back early?
    pub(crate) fn may_go_early(&self, used: u64) -> bool {
        self.early > 0 && self.bytes > EARLY_LEAST + used / EARLY_PART
    }

    /// May what is warm beside `used` bytes go back now that core was touched for the first time?
    pub(crate) fn may_go_instead(&self, used: u64) -> bool {
        let budget = self.early + (self.touched / INSTEAD_PART) as i64;
        budget > 0 && self.bytes > INSTEAD_LEAST + used / INSTEAD_WARM_PART
    }

    /// Gives the pages inside a free chunk back, those before `fresh`: behind that none was ever
    /// touched. Returns how many bytes of them there may have been.
    pub(crate) fn give_back(&mut self, free: Chunk, fresh: Offset) -> u64 {
        if note(free) == Some(CLEAN ^ free.begin.0) {
            return 0;
        }
        let page = memory::page_bytes();
        let Some(pages) = Chunks::free_pages(free, page) else { return 0 };
        let end = pages.end().min(fresh.align_up(page));
        let bytes = end.0.saturating_sub(pages.begin.0);
        let give_back = || {
            // SAFETY: they lie in a free chunk, and hold neither tags nor links.
            unsafe { memory::advise(pages.begin.0, bytes, Advice::Unneeded) }
        };
        // Pages that are locked stay, and keep what is in them.
        if bytes == 0 || keeping_errno(give_back).is_ok() {
            set_note(free, CLEAN ^ free.begin.0);
            self.bytes = self.bytes.saturating_sub(bytes);
            if bytes >= TOLD_LEAST {
                ledger::give_back(Region { begin: pages.begin, bytes });
            }
            return bytes;
        }
        0
    }

    /// Gives back early what is warm of the free chunks `all` that are noted. `fresh` says of a
    /// chunk from where on it was never touched.
    pub(crate) fn give_back_early(
        &mut self,
        all: impl Iterator<Item = Chunk>,
        fresh: impl Fn(Chunk) -> Offset,
    ) {
        let gone: u64 = all.map(|free| self.give_back(free, fresh(free))).sum();
        self.early -= gone as i64;
        self.bytes = 0;
    }

    /// Called at each free: has an epoch ended?
    pub(crate) fn is_over(&mut self) -> bool {
        self.frees += 1;
        if self.frees < FREES {
            return false;
        }
        self.frees = 0;
        clock::coarse_ms() >= self.end_ms
    }

    /// Ends the epoch: gives back what rested during all of it, of the free chunks `all` that are
    /// noted. `fresh` says of a chunk from where on it was never touched.
    pub(crate) fn end_epoch(
        &mut self,
        all: impl Iterator<Item = Chunk>,
        fresh: impl Fn(Chunk) -> Offset,
    ) {
        self.end_ms = clock::coarse_ms() + EPOCH_MS;
        let mut warm = 0;
        for free in all {
            let Some(note) = note(free).filter(|note| *note != CLEAN ^ free.begin.0) else {
                continue;
            };
            if note < self.epoch {
                self.give_back(free, fresh(free));
            } else {
                warm += free.end().min(fresh(free)).0.saturating_sub(free.begin.0);
            }
        }
        self.bytes = warm;
        self.epoch += 1;
    }
}

/// Behind the tag and the two links.
fn note_at(begin: Offset) -> Offset {
    begin.word(3)
}

/// The note of a free chunk, if it has one.
fn note(free: Chunk) -> Option<u64> {
    (free.bytes >= NOTED_LEAST).then(|| core().read(note_at(free.begin)))
}

fn set_note(free: Chunk, note: u64) {
    if free.bytes >= NOTED_LEAST {
        core().write(note_at(free.begin), note);
    }
}
