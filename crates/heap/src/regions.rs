//! The regions of a chunk tier: how core is added to it, and taken away.
//!
//! ```text
//!   region   [ bytes ][ next region ][ fence ][ chunk ] ... [ chunk ][ fence ]
//!            ^ a multiple of 16               ^ 8 before one         ^ ends on one
//! ```
//!
//! Promises: a region that borders on the end of an earlier one extends it, so that chunks coalesce
//! over the seam.
//! Knows nothing of sources and pages.

use crate::chunk::{CHUNK_LEAST, Chunk, Tag};
use crate::chunks::Chunks;
use crate::core::Core;
use crate::journal::Journal;
use crate::layout::{GRANULE, Offset, WORD, align_up};
use crate::source::Region;

pub(crate) const BYTES: u64 = 0;
pub(crate) const NEXT: u64 = 1;
pub(crate) const FIRST_FENCE: u64 = 2;
const HEADER_WORDS: u64 = 3;

/// What a region costs beside its chunks: its header with the first fence, and the last fence.
pub const REGION_COST: u64 = (HEADER_WORDS + 1) * WORD;

/// The bytes of core that are surely enough for a payload of `bytes` at a multiple of `align`:
/// with what an unaligned region, its fences, and a chunk before an aligned one take.
#[must_use]
pub const fn core_for(bytes: u64, align: u64) -> u64 {
    let slack = if align > GRANULE { align_up(align, CHUNK_LEAST) + CHUNK_LEAST } else { 0 };
    Chunk::bytes_for(bytes) + slack + REGION_COST + 2 * GRANULE
}

impl Chunks {
    /// Adds core. It is used by nobody else from here on. A region too small for one chunk is
    /// left alone.
    pub fn add_region<J: Journal>(self, core: &mut Core<J>, region: Region) {
        let begin = region.begin.align_up(GRANULE);
        let end = region.end().align_down(GRANULE);
        if begin >= end {
            return;
        }
        let extended = self.regions(core).find(|earlier| earlier.end() == begin);
        if extended.is_none() && end - begin < REGION_COST + CHUNK_LEAST {
            return;
        }
        self.stretch_bounds(core, Region::between(begin, end));
        let free = match extended {
            Some(earlier) => self.extend(core, earlier, end),
            None => self.found(core, Region::between(begin, end)),
        };
        core.write(end - WORD, Tag::FENCE.0);
        self.move_top(core, free);
    }

    /// All regions, by address.
    pub fn regions<J: Journal>(self, core: &Core<J>) -> impl Iterator<Item = Region> {
        let mut begin = Offset(core.read(self.regions_at()));
        core::iter::from_fn(move || {
            if begin.is_none() {
                return None;
            }
            let region = Region { begin, bytes: core.read(begin.word(BYTES)) };
            begin = Offset(core.read(begin.word(NEXT)));
            Some(region)
        })
    }

    /// The chunks' part of a region: from behind its first fence to its last.
    #[must_use]
    pub fn inside(region: Region) -> Region {
        Region::between(region.begin.word(HEADER_WORDS), region.end() - WORD)
    }

    /// The part of the top that can be cut off at a multiple of `page`, with at least `keep` bytes
    /// of the top left.
    #[must_use]
    pub fn spare_top<J: Journal>(self, core: &Core<J>, keep: u64, page: u64) -> Option<Region> {
        let top = self.top(core)?;
        let end = top.end() + WORD;
        let cut = (top.begin + keep.max(CHUNK_LEAST) + WORD).align_up(page.max(GRANULE));
        (cut < end).then(|| Region::between(cut, end))
    }

    /// Cuts off what `spare_top` told; it is not this heap's any more.
    pub fn cut_top<J: Journal>(self, core: &mut Core<J>, spare: Region) {
        let Some(top) = self.top(core) else { return };
        let fence = spare.begin - WORD;
        debug_assert!(spare.end() == top.end() + WORD && fence >= top.begin + CHUNK_LEAST);
        let Some(region) = self.regions(core).find(|region| region.end() == spare.end()) else {
            crate::abort::broken("tiled", spare.begin);
        };
        core.write(fence, Tag::FENCE.0);
        self.set_fence(core, fence);
        Chunk::between(top.begin, fence).set_free(core);
        core.write(region.begin.word(BYTES), region.bytes - spare.bytes);
        let core_bytes = self.core_bytes(core) - spare.bytes;
        self.set_core_bytes(core, core_bytes);
    }

    /// The region that a free chunk is the whole of, if it is: nothing in it is used.
    #[must_use]
    pub fn unused_region<J: Journal>(self, core: &Core<J>, free: Chunk) -> Option<Region> {
        let is_whole = Tag::read(core, free.begin - WORD) == Tag::FENCE
            && Tag::read(core, free.end()) == Tag::FENCE;
        let begin = free.begin - HEADER_WORDS * WORD;
        is_whole.then(|| Region::between(begin, free.end() + WORD))
    }

    /// Takes an unused region away, as `unused_region` told it; it is not this heap's any more.
    pub fn drop_region<J: Journal>(self, core: &mut Core<J>, region: Region) {
        let inside = Self::inside(region);
        self.leave_bins(core, Chunk { begin: inside.begin, bytes: inside.bytes });
        if self.fence(core) == inside.end() {
            self.set_fence(core, Offset::NONE);
        }
        let link = self.link_before(core, |next| next >= region.begin);
        if core.read(link) != region.begin.0 {
            crate::abort::broken("tiled", region.begin);
        }
        let next = core.read(region.begin.word(NEXT));
        core.write(link, next);
        let core_bytes = self.core_bytes(core) - region.bytes;
        self.set_core_bytes(core, core_bytes);
    }

    /// The whole pages inside a free chunk: what may be given to the system while it stays free.
    /// They hold neither tags nor links, nor the word behind the links, which is left to whoever
    /// wants to note something about a free chunk.
    #[must_use]
    pub fn free_pages(chunk: Chunk, page: u64) -> Option<Region> {
        let begin = (chunk.begin + CHUNK_LEAST).align_up(page);
        let end = chunk.last_tag().align_down(page);
        (begin < end).then(|| Region::between(begin, end))
    }

    /// Makes an earlier region longer: its last fence becomes the begin of a free chunk.
    fn extend<J: Journal>(self, core: &mut Core<J>, earlier: Region, end: Offset) -> Chunk {
        core.write(earlier.begin.word(BYTES), end - earlier.begin);
        let core_bytes = self.core_bytes(core) + (end - earlier.end());
        self.set_core_bytes(core, core_bytes);
        let new = Chunk::between(earlier.end() - WORD, end - WORD);
        let Some(before) = new.free_before(core) else { return new };
        self.leave_bins(core, before);
        core.write(new.begin, 0);
        Chunk::between(before.begin, new.end())
    }

    /// Makes a region of its own, in its place in the row of regions.
    fn found<J: Journal>(self, core: &mut Core<J>, region: Region) -> Chunk {
        let link = self.link_before(core, |next| next > region.begin);
        let next = core.read(link);
        core.write(region.begin.word(BYTES), region.bytes);
        core.write(region.begin.word(NEXT), next);
        core.write(region.begin.word(FIRST_FENCE), Tag::FENCE.0);
        core.write(link, region.begin.0);
        let core_bytes = self.core_bytes(core) + region.bytes;
        self.set_core_bytes(core, core_bytes);
        let inside = Self::inside(region);
        Chunk { begin: inside.begin, bytes: inside.bytes }
    }

    /// Makes a free chunk at a region's end the top; the one that was it goes to its bin.
    fn move_top<J: Journal>(self, core: &mut Core<J>, free: Chunk) {
        let fence = self.fence(core);
        let is_swallowed = fence >= free.begin && fence < free.end();
        if !is_swallowed && let Some(old) = self.top(core) {
            self.bins().push(core, old);
        }
        self.set_fence(core, free.end());
        free.set_free(core);
    }

    /// Where the row of regions names the first one that `is_wanted`, or its end.
    fn link_before<J: Journal>(self, core: &Core<J>, is_wanted: impl Fn(Offset) -> bool) -> Offset {
        let mut link = self.regions_at();
        loop {
            let next = Offset(core.read(link));
            if next.is_none() || is_wanted(next) {
                return link;
            }
            link = next.word(NEXT);
        }
    }

    fn stretch_bounds<J: Journal>(self, core: &mut Core<J>, region: Region) {
        let (low, high) = (self.low(core), self.high(core));
        let low = if low.is_none() { region.begin } else { low.min(region.begin) };
        self.set_bounds(core, low, high.max(region.end()));
    }
}
