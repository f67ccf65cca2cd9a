//! The medium tier: chunks of any size, in any number of regions.
//!
//! ```text
//!   region   [ bytes ][ next region ][ fence ][ chunk ][ chunk ] ... [ top ][ fence ]
//!
//!   state    [ fit ][ rover ][ growing fence ][ regions ][ core bytes ][ low ][ high ][ spare ]
//!            [ bitmap and heads of the bins ]
//! ```
//!
//! The *top* is the free chunk before the fence of the region that grows. It stands in no bin, so
//! it is used last, and core that borders on that fence joins it.
//!
//! Promises: with `Fit::Bins` every operation is O(1); no two free chunks are neighbours; a free of
//! what is no used chunk changes nothing and says so.
//! Knows nothing of slabs, sources and the unit map.

use crate::bins::{BINS_WORDS, Bins};
use crate::chunk::{CHUNK_LEAST, Chunk, Tag};
use crate::core::Core;
use crate::fit::{self, Fit, Request};
use crate::journal::Journal;
use crate::layout::{GRANULE, Offset, WORD};
use crate::misuse::{Misuse, Wrong};

const FIT: u64 = 0;
const ROVER: u64 = 1;
const FENCE: u64 = 2;
const REGIONS: u64 = 3;
const CORE_BYTES: u64 = 4;
const LOW: u64 = 5;
const HIGH: u64 = LOW + 1;

/// One more word is spare, so that the bitmap begins a line of its own if the state does.
const HEAD_WORDS: u64 = 8;

/// The most notes that one operation of the chunk tier makes in a journal: three chunks leave or
/// join a bin (seven words each), the tags of three chunks (six), two stale tags, the rover, and
/// the state's words when a region is added.
pub const CHUNKS_NOTES_MOST: u64 = 32;

/// The chunk tier of a heap: a small value that names its state in core.
///
/// # Invariants
/// - `tiled`: from a region's first fence to its last, each chunk begins where the one before ends.
/// - `coalesced`: no two neighbours are both free.
/// - those of [`Tag`] and of the bins.
#[derive(Clone, Copy, Debug)]
pub struct Chunks {
    state: Offset,
}

impl Chunks {
    /// The bytes of its state.
    pub const BYTES: u64 = (HEAD_WORDS + BINS_WORDS) * WORD;

    /// The chunk tier whose state stands at `state`.
    #[inline(always)]
    #[must_use]
    pub const fn at(state: Offset) -> Self {
        Self { state }
    }

    /// Makes a chunk tier without core in `Self::BYTES` zero bytes at `state`.
    pub fn format<J: Journal>(core: &mut Core<J>, state: Offset, fit: Fit) -> Self {
        let chunks = Self::at(state);
        chunks.set_fit(core, fit);
        chunks
    }

    /// How it chooses among free chunks.
    #[inline(always)]
    #[must_use]
    pub fn fit<J: Journal>(self, core: &Core<J>) -> Fit {
        match Fit::from_number(self.fit_number(core)) {
            Some(fit) => fit,
            None => crate::abort::broken("known fit", self.state),
        }
    }

    /// The number of its fit, as core has it.
    #[inline(always)]
    pub(crate) fn fit_number<J: Journal>(self, core: &Core<J>) -> u64 {
        core.read(self.state.word(FIT))
    }

    /// Changes how it chooses among free chunks; at any time.
    pub fn set_fit<J: Journal>(self, core: &mut Core<J>, fit: Fit) {
        core.write(self.state.word(FIT), fit.number());
    }

    /// A payload of at least `bytes` bytes at a multiple of `align`, a power of two; `None` if no
    /// free chunk is large enough.
    #[inline]
    pub fn allocate<J: Journal>(
        self,
        core: &mut Core<J>,
        bytes: u64,
        align: u64,
    ) -> Option<Offset> {
        let request = Request::new(bytes, align)?;
        let rover = self.rover(core);
        let found = fit::choose(core, self.bins(), self.fit(core), rover, request)
            .or_else(|| self.top(core).filter(|top| request.seat_in(*top).is_some()))?;
        let begin = request.seat_in(found)?;
        Some(self.carve(core, found, Chunk { begin, bytes: request.bytes }))
    }

    /// Gives a payload back. Returns the free chunk that it became part of, for who wants to give
    /// its pages to the system.
    ///
    /// # Errors
    /// It is no payload of a used chunk; nothing was changed.
    #[inline]
    pub fn free<J: Journal>(self, core: &mut Core<J>, payload: Offset) -> Result<Chunk, Misuse> {
        let chunk = self.used_chunk(core, payload)?;
        Ok(self.release(core, chunk))
    }

    /// Makes a payload larger or smaller without moving it; `false` if it can not grow here, and
    /// then nothing was changed.
    ///
    /// # Errors
    /// It is no payload of a used chunk; nothing was changed.
    pub fn resize_in_place<J: Journal>(
        self,
        core: &mut Core<J>,
        payload: Offset,
        bytes: u64,
    ) -> Result<bool, Misuse> {
        let chunk = self.used_chunk(core, payload)?;
        let Some(request) = Request::new(bytes, GRANULE) else { return Ok(false) };
        let mut whole = chunk;
        if chunk.bytes < request.bytes {
            let Some(after) = chunk.free_after(core) else { return Ok(false) };
            if chunk.bytes.saturating_add(after.bytes) < request.bytes {
                return Ok(false);
            }
            self.leave_bins(core, after);
            // Both tags between the two become payload, which is written unlogged.
            core.keep(chunk.last_tag());
            core.write(after.begin, 0);
            whole.absorb(after);
        }
        let kept = Chunk { bytes: request.bytes, ..chunk };
        self.split_tail(core, whole, kept);
        Ok(true)
    }

    /// How many bytes a payload has.
    ///
    /// # Errors
    /// It is no payload of a used chunk.
    #[inline]
    pub fn payload_bytes<J: Journal>(self, core: &Core<J>, payload: Offset) -> Result<u64, Misuse> {
        Ok(self.used_chunk(core, payload)?.payload_bytes())
    }

    /// The top: the free chunk that borders on core that can still grow.
    #[inline]
    #[must_use]
    pub fn top<J: Journal>(self, core: &Core<J>) -> Option<Chunk> {
        let fence = self.fence(core);
        if fence.is_none() {
            return None;
        }
        Chunk::between(fence, fence).free_before(core)
    }

    /// All free chunks of at least `bytes` bytes: the top and those of the bins.
    pub fn free_from<J: Journal>(self, core: &Core<J>, bytes: u64) -> impl Iterator<Item = Chunk> {
        let top = self.top(core).filter(move |top| top.bytes >= bytes);
        top.into_iter().chain(self.bins().chunks_from(core, bytes))
    }

    /// The bytes of all its regions.
    #[must_use]
    pub fn core_bytes<J: Journal>(self, core: &Core<J>) -> u64 {
        core.read(self.state.word(CORE_BYTES))
    }

    /// Makes a chunk out of a part of a free one; what is left before and behind stays free.
    #[inline]
    fn carve<J: Journal>(self, core: &mut Core<J>, free: Chunk, wanted: Chunk) -> Offset {
        self.leave_bins(core, free);
        if wanted.begin != free.begin {
            let front = Chunk::between(free.begin, wanted.begin);
            front.set_free(core);
            self.bins().push(core, front);
        }
        self.cut(core, Chunk::between(wanted.begin, free.end()), wanted);
        if self.fit(core) == Fit::Next {
            core.write(self.state.word(ROVER), wanted.end().0);
        }
        wanted.payload()
    }

    /// Makes `wanted` a used chunk at the begin of `whole`; the rest, if it is enough for a chunk,
    /// becomes a free one. Behind `whole` stands no free chunk.
    #[inline]
    fn cut<J: Journal>(self, core: &mut Core<J>, whole: Chunk, wanted: Chunk) {
        let rest = Chunk::between(wanted.end(), whole.end());
        if rest.bytes < CHUNK_LEAST {
            return whole.set_used(core);
        }
        rest.set_free(core);
        self.join_bins(core, rest);
        wanted.set_used(core);
    }

    /// As `cut`, but a free chunk may stand behind `whole`, and joins what is left.
    fn split_tail<J: Journal>(self, core: &mut Core<J>, whole: Chunk, kept: Chunk) {
        let rest = Chunk::between(kept.end(), whole.end());
        if rest.bytes < CHUNK_LEAST {
            return whole.set_used(core);
        }
        kept.set_used(core);
        self.release(core, rest);
    }

    /// Makes a stretch without an owner a free chunk, together with the free ones beside it. Its
    /// own tags need not be there.
    #[inline]
    pub(crate) fn release<J: Journal>(self, core: &mut Core<J>, chunk: Chunk) -> Chunk {
        let mut whole = chunk;
        if let Some(after) = chunk.free_after(core) {
            self.leave_bins(core, after);
            core.write(after.begin, 0);
            whole.absorb(after);
        }
        if let Some(before) = chunk.free_before(core) {
            self.leave_bins(core, before);
            core.write(chunk.begin, 0);
            whole = Chunk::between(before.begin, whole.end());
        }
        whole.set_free(core);
        self.join_bins(core, whole);
        whole
    }

    /// Puts a free chunk where it belongs: into its bin, unless it is the top.
    #[inline]
    pub(crate) fn join_bins<J: Journal>(self, core: &mut Core<J>, chunk: Chunk) {
        if chunk.end() != self.fence(core) {
            self.bins().push(core, chunk);
        }
    }

    /// Takes a free chunk from where it belongs.
    #[inline]
    pub(crate) fn leave_bins<J: Journal>(self, core: &mut Core<J>, chunk: Chunk) {
        if chunk.end() != self.fence(core) {
            self.bins().unlink(core, chunk);
        }
    }

    /// The used chunk of a payload.
    #[inline]
    fn used_chunk<J: Journal>(self, core: &Core<J>, payload: Offset) -> Result<Chunk, Misuse> {
        let is_ours = payload >= self.low(core) && payload < self.high(core);
        if !is_ours {
            return Err(Misuse::new(Wrong::Foreign, payload));
        }
        if !payload.is_aligned(GRANULE) {
            return Err(Misuse::new(Wrong::NotABlock, payload));
        }
        let tag = Tag::read(core, payload - WORD);
        let chunk = Chunk { begin: payload - WORD, bytes: tag.bytes() };
        let is_inside = tag.is_sound() && tag.bytes() <= self.high(core) - chunk.begin;
        if !is_inside || !tag.is_used() || Tag::read(core, chunk.last_tag()) != tag {
            return Err(self.not_used(core, chunk, tag, is_inside));
        }
        Ok(chunk)
    }

    /// Why a place is no payload of a used chunk. A sound tag that has no twin may also be a word
    /// of somebody's payload; an overrun is by far the likelier.
    #[cold]
    #[inline(never)]
    fn not_used<J: Journal>(
        self,
        core: &Core<J>,
        chunk: Chunk,
        tag: Tag,
        is_inside: bool,
    ) -> Misuse {
        let payload = chunk.payload();
        // A chunk that was freed and coalesced left 0 where its tag was. (So may a caller who
        // frees the interior of a payload of zeros; that is the rarer mistake.)
        if tag.0 == 0 {
            return Misuse { begin: payload, ..Misuse::new(Wrong::DoubleFree, payload) };
        }
        if !is_inside {
            return Misuse::new(Wrong::NotABlock, payload);
        }
        let is_twinned = Tag::read(core, chunk.last_tag()) == tag;
        let wrong = match (tag.is_used(), is_twinned) {
            (false, true) => Wrong::DoubleFree,
            (false, false) => return Misuse::new(Wrong::NotABlock, payload),
            (true, _) => Wrong::Overrun,
        };
        let bytes = chunk.payload_bytes();
        Misuse { begin: payload, bytes, ..Misuse::new(wrong, payload) }
    }

    #[inline(always)]
    pub(crate) fn bins(self) -> Bins {
        Bins::at(self.state.word(HEAD_WORDS), self.state.word(LOW))
    }

    #[inline(always)]
    fn rover<J: Journal>(self, core: &Core<J>) -> Offset {
        Offset(core.read(self.state.word(ROVER)))
    }

    /// The fence behind the top.
    #[inline(always)]
    pub(crate) fn fence<J: Journal>(self, core: &Core<J>) -> Offset {
        Offset(core.read(self.state.word(FENCE)))
    }

    pub(crate) fn set_fence<J: Journal>(self, core: &mut Core<J>, fence: Offset) {
        core.write(self.state.word(FENCE), fence.0);
    }

    /// Where the row of regions begins, the lowest first.
    pub(crate) fn regions_at(self) -> Offset {
        self.state.word(REGIONS)
    }

    pub(crate) fn set_core_bytes<J: Journal>(self, core: &mut Core<J>, bytes: u64) {
        core.write(self.state.word(CORE_BYTES), bytes);
    }

    /// No region begins before this.
    #[inline(always)]
    pub(crate) fn low<J: Journal>(self, core: &Core<J>) -> Offset {
        Offset(core.read(self.state.word(LOW)))
    }

    /// No region ends behind this.
    #[inline(always)]
    pub(crate) fn high<J: Journal>(self, core: &Core<J>) -> Offset {
        Offset(core.read(self.state.word(HIGH)))
    }

    pub(crate) fn set_bounds<J: Journal>(self, core: &mut Core<J>, low: Offset, high: Offset) {
        core.write(self.state.word(LOW), low.0);
        core.write(self.state.word(HIGH), high.0);
    }
}

#[cfg(test)]
mod tests;
