//! Pages that are free go back to the system, once they have rested.
//!
//! ```text
//!   heap     | used | free chunk of a unit or more .................. | used |
//!   units    |   0    |   7    |   7    |   0    |   9    |   0    |
//!                         ^ freed in epoch 7      ^ in epoch 9        0: no page that we know of
//! ```
//!
//! For each unit of the heap a byte says when something in it was freed last. Who tidies, and every
//! writer now and then, takes the whole pages of large free chunks in units that have rested since,
//! and lets the system have them, for all processes at once. What is taken and freed over and over
//! never rests, so it keeps its pages: to fault one in again costs as much as a small change.
//!
//! A page goes only under the heap's hold, and only from inside a free chunk, which the bins name:
//! not its tags, not its links. What stood there means nothing to anybody, so it makes no
//! difference where its giver dies. A reader that is late finds zeros, and then that the version
//! has changed.
//!
//! Of a huge page less than a quarter is not given back: for it the rest would become small pages.
//!
//! Promises: changes nothing that counts; holds the heap for about a tenth of a millisecond at a
//! time. The bytes are hints: one that is lost keeps a page that nobody needs.
//! Not for files: their pages have places on the disk, which a later write must find.
//! Source: madvise(2), MADV_REMOVE.

use morecore_heap::{Chunk, Chunks, Offset, Region, UNIT};
use morecore_sys::memory::{Advice, HUGE_PAGE_BYTES, advise};

use crate::Error;
use crate::atomic::Relaxed;
use crate::layout::{PAGE, WORD, header};
use crate::mapping::Backing;
use crate::session::Session;

/// The least chunk whose pages go back: in a smaller one a call of the system would save little,
/// and those of this size begin in units of their own.
const CHUNK_LEAST: u64 = UNIT;

/// How long an epoch is, in milliseconds: what comes back sooner pays no faults.
const EPOCH_MS: u64 = 500;

/// How many epochs something rests, so that it was free for a whole one.
const REST: u64 = 2;

/// Epochs count from 1 to this, and round again.
const EPOCHS: u64 = 250;

/// What stays though it has rested: a small part of a huge page. It goes when more around it
/// does.
const STAYS: u8 = 255;

/// What goes back under one hold of the heap, at least, and of small pages at most: 64 of them take
/// a tenth of a millisecond, a huge one a twentieth.
const BATCH_BYTES: u64 = 256 << 10;

/// How many chunks are looked at under one hold: a hundred microseconds, once in an epoch, if a
/// heap is all in pieces.
const LOOKS_MOST: usize = 1024;

/// The least part of a huge page that is worth it that the rest becomes small pages, which take the
/// processor longer to find.
const HUGE_PART_LEAST: u64 = HUGE_PAGE_BYTES / 4;

/// The marks of a heap's units.
///
/// ```text
///   word 0    when it is worth to look next, in unix milliseconds; 0 = nothing was freed
///   then      a byte a unit: 0, or an epoch, or `STAYS`
/// ```
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marks {
    at: u64,
}

impl Marks {
    /// The bytes of the marks of a segment of `bytes`.
    pub(crate) fn bytes(bytes: u64) -> u64 {
        WORD + bytes.div_ceil(UNIT).next_multiple_of(WORD)
    }

    pub(crate) fn at(at: Offset) -> Self {
        Self { at: at.0 }
    }
}

/// What one look at the free chunks came to.
#[derive(Debug, Default)]
struct Given {
    bytes: u64,
    /// Whether something may be left that rests now, or has rested.
    is_left: bool,
}

impl Session {
    /// A chunk was freed and became part of `whole`; the heap is held.
    pub(crate) fn has_freed(&self, freed: Chunk, whole: Chunk) {
        if whole.bytes < CHUNK_LEAST || matches!(self.mapping.backing(), Backing::File(_)) {
            return;
        }
        // Neighbours that were too small to be marked when they were freed are within reach.
        let from = whole.begin.0.max(freed.begin.0.saturating_sub(CHUNK_LEAST));
        let to = whole.end().0.min(freed.end().0 + CHUNK_LEAST);
        let now = self.now_ms();
        for unit in from / UNIT..to.div_ceil(UNIT) {
            self.set_mark(unit, epoch(now));
        }
        let due = self.view.word(self.space.marks.at);
        if due.load(Relaxed) == 0 {
            due.store(now + REST * EPOCH_MS, Relaxed);
        }
    }

    /// Gives pages that have rested back to the system, at most about `most` bytes of them; returns
    /// how many.
    pub(crate) fn give_back(&mut self, most: u64) -> Result<u64, Error> {
        let mut given = 0;
        while given < most && self.is_worth_a_look() {
            self.hold_heap()?;
            let found = self.give_back_held();
            let next = match found {
                Given { is_left: false, .. } => 0,
                Given { bytes: 0, .. } => self.now_ms() + EPOCH_MS,
                _ => self.now_ms(),
            };
            self.view.word(self.space.marks.at).store(next, Relaxed);
            self.let_go_heap();
            given += found.bytes;
        }
        Ok(given)
    }

    /// Whether something was freed, and has rested by now.
    #[inline]
    fn is_worth_a_look(&self) -> bool {
        let due = self.view.word(self.space.marks.at).load(Relaxed);
        if due == 0 || !self.has_pages_to_give() {
            return false;
        }
        let now = self.now_ms();
        // A clock that was set back makes nobody wait for it.
        due <= now || due > now + REST * EPOCH_MS
    }

    /// Whether a hole can be made in this memory: not in files, and not in what is not ours to map.
    fn has_pages_to_give(&self) -> bool {
        matches!(
            self.mapping.backing(),
            Backing::Segment(_) | Backing::Memory(_) | Backing::Inherited
        )
    }

    /// Goes through the free chunks until a batch was given back; the heap is held.
    fn give_back_held(&self) -> Given {
        let mut given = Given::default();
        let epoch = epoch(self.now_ms());
        let mut chunks = self.space.chunks.free_from(&self.core, CHUNK_LEAST);
        for chunk in chunks.by_ref().take(LOOKS_MOST) {
            if let Some(pages) = Chunks::free_pages(chunk, PAGE) {
                self.give_back_rested(chunk, pages, epoch, &mut given);
            }
            if given.bytes >= BATCH_BYTES {
                given.is_left = true;
                return given;
            }
        }
        // What was freed last comes first, so behind so many in vain there is hardly anything.
        given.is_left |= chunks.next().is_some() && given.bytes > 0;
        given
    }

    /// Gives back what has rested of a chunk's pages, run by run, until that is a batch.
    fn give_back_rested(&self, chunk: Chunk, pages: Region, epoch: u8, given: &mut Given) {
        let end_unit = pages.end().0.div_ceil(UNIT);
        let mut unit = pages.begin.0 / UNIT;
        while unit < end_unit && given.bytes < BATCH_BYTES {
            let first = unit;
            let is_huge = first * UNIT < self.view.load(header::HUGE_TO_AT);
            let run_bytes = if is_huge { HUGE_PAGE_BYTES } else { BATCH_BYTES };
            let mut has_rested = false;
            while unit < end_unit && is_rested(self.mark(unit), epoch) {
                has_rested |= self.mark(unit) != STAYS;
                unit += 1;
                // Each run is of one huge page, or of a batch of small ones.
                if (unit * UNIT).is_multiple_of(run_bytes) {
                    break;
                }
            }
            if has_rested {
                let from = pages.begin.0.max(first * UNIT);
                let to = pages.end().0.min(unit * UNIT);
                given.bytes += self.give_back_run(chunk, from, to);
            }
            if unit == first {
                given.is_left |= self.mark(unit) != 0;
                unit = self.next_marked(unit + 1);
            }
        }
    }

    /// Gives back the pages from `from` up to `to`, which lie in a free chunk and in one huge page,
    /// if it is one; returns how many bytes that were.
    fn give_back_run(&self, chunk: Chunk, from: u64, to: u64) -> u64 {
        let is_huge = from < self.view.load(header::HUGE_TO_AT);
        let stays = is_huge && to - from < HUGE_PART_LEAST;
        for unit in from / UNIT..to.div_ceil(UNIT) {
            self.set_mark(unit, if stays { STAYS } else { 0 });
        }
        if stays || !self.remove_pages(from, to - from) {
            return 0;
        }
        if is_huge && self.space.chunks.top(&self.core) == Some(chunk) {
            self.heap_shrank_to(chunk.begin.0);
        }
        to - from
    }

    /// Lets the system have pages that nobody needs. One that refuses keeps them.
    fn remove_pages(&self, at: u64, bytes: u64) -> bool {
        let base = self.view.base().expose_provenance() as u64;
        // SAFETY: whole pages inside of a free chunk of the heap that we hold: nobody needs what is
        // in them, and all who look at them by mistake are used to find anything there.
        unsafe { advise(base + at, bytes, Advice::Remove) }.is_ok()
    }

    /// The first unit from `unit` on that may have a mark: words without any are passed over.
    fn next_marked(&self, mut unit: u64) -> u64 {
        while unit.is_multiple_of(WORD)
            && unit < self.plan.bytes / UNIT
            && self.view.load(self.mark_at(unit).0) == 0
        {
            unit += WORD;
        }
        unit
    }

    fn mark(&self, unit: u64) -> u8 {
        let (word, shift) = self.mark_at(unit);
        (self.view.load(word) >> shift) as u8
    }

    /// Marks a unit; the heap is held, so nobody else writes this word.
    fn set_mark(&self, unit: u64, mark: u8) {
        let (word, shift) = self.mark_at(unit);
        let others = self.view.load(word) & !(0xff << shift);
        self.view.word(word).store(others | u64::from(mark) << shift, Relaxed);
    }

    fn mark_at(&self, unit: u64) -> (u64, u64) {
        (self.space.marks.at + WORD + unit / WORD * WORD, unit % WORD * 8)
    }
}

/// The epoch of a unix millisecond.
fn epoch(now_ms: u64) -> u8 {
    (now_ms / EPOCH_MS % EPOCHS + 1) as u8
}

/// Whether what was marked so was free and has rested by this epoch.
fn is_rested(mark: u8, epoch: u8) -> bool {
    let age = (u64::from(epoch) + EPOCHS - u64::from(mark).min(EPOCHS)) % EPOCHS;
    mark != 0 && (mark == STAYS || age >= REST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(freed_ms: u64, now_ms: u64, expected: bool) {
        assert_eq!(is_rested(epoch(freed_ms), epoch(now_ms)), expected, "{freed_ms} {now_ms}");
    }

    #[test]
    fn what_was_free_for_a_whole_epoch_has_rested() {
        check(0, 0, false);
        check(0, 2 * EPOCH_MS - 1, false);
        check(0, 2 * EPOCH_MS, true);
        check(EPOCH_MS - 1, 2 * EPOCH_MS, true);
        check((EPOCHS - 1) * EPOCH_MS, EPOCHS * EPOCH_MS, false);
        check((EPOCHS - 1) * EPOCH_MS, (EPOCHS + 1) * EPOCH_MS, true);
    }

    #[test]
    fn what_is_not_marked_never_rests_and_what_stayed_always_has() {
        for epoch in 1..=EPOCHS as u8 {
            assert!(!is_rested(0, epoch) && is_rested(STAYS, epoch));
        }
    }
}
