//! Bins: the free chunks by size.
//!
//! ```text
//!   bin      2    3   ...  63      64 ... 71        72 ... 79      ...    383
//!   sizes   32   48   ... 1008   1024 ... 1920    2048 ... 3840   ...   all above
//!           one size each        a range each: eight to a doubling
//!
//!   state   [ bitmap ] x 6: 1 = the bin is not empty     [ head ] x 384
//!                                                           |
//!              the free chunks' payloads:                   v
//!                                      none <-previous- [ chunk ] <-> [ chunk ] -next-> none
//! ```
//!
//! Promises: push, unlink and "the next bin that is not empty" are O(1).
//! Knows nothing of tags and neighbours, nor which chunk of a bin is the best.
//! Source: D. Lea, "A Memory Allocator" (exact bins for small sizes, spaced ones above, a bitmap).

use crate::abort::broken;
use crate::chunk::Chunk;
use crate::core::Core;
use crate::journal::Journal;
use crate::layout::{GRANULE, Offset, WORD};

/// The bins of one size each are those of chunks below this.
const EXACT_BELOW: u64 = 1 << EXACT_BITS;
const EXACT_BITS: u32 = 10;

/// 64 exact bins (0 and 1 stay empty) and eight for each doubling from 1 KiB to 2^50: with these
/// the bitmap is six words whole, less than a cache line.
pub(crate) const BINS: u64 = 384;

/// The words of the bitmap.
pub(crate) const BITMAP_WORDS: u64 = BINS / 64;

/// The words of the bins' state: bitmap and heads.
pub(crate) const BINS_WORDS: u64 = BITMAP_WORDS + BINS;

/// The bins of a chunk tier: a small value that names their state in core.
///
/// # Invariants
/// - `binned`: each free chunk but the top stands in the bin of its size, and nothing else does.
/// - `doubly`: the links of a bin agree, forth and back.
/// - `mapped_bins`: a bit of the bitmap is 1 if and only if its bin is not empty.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bins {
    state: Offset,
    bounds: Offset,
}

/// The bin of chunks of `bytes` bytes.
#[inline(always)]
pub(crate) const fn bin_of(bytes: u64) -> u64 {
    if bytes < EXACT_BELOW {
        return bytes / GRANULE;
    }
    let doubling = 63 - bytes.leading_zeros();
    let eighth = bytes >> (doubling - 3) & 7;
    let bin = 64 + (doubling - EXACT_BITS) as u64 * 8 + eighth;
    if bin < BINS { bin } else { BINS - 1 }
}

/// Has `bin` chunks of one size only?
#[inline(always)]
pub(crate) const fn is_exact(bin: u64) -> bool {
    bin < EXACT_BELOW / GRANULE
}

/// Where a free chunk keeps the chunk after it in its bin.
#[inline(always)]
pub(crate) fn next_at(begin: Offset) -> Offset {
    Offset(begin.0.wrapping_add(WORD))
}

/// Where a free chunk keeps the chunk before it in its bin.
#[inline(always)]
pub(crate) fn previous_at(begin: Offset) -> Offset {
    Offset(begin.0.wrapping_add(2 * WORD))
}

impl Bins {
    /// The bins whose state stands at `state`; at `bounds` stand two words, before which no chunk
    /// begins and behind which none ends.
    #[inline(always)]
    pub(crate) const fn at(state: Offset, bounds: Offset) -> Self {
        Self { state, bounds }
    }

    /// The chunk after `begin` in its bin.
    #[inline(always)]
    pub(crate) fn next<J: Journal>(self, core: &Core<J>, begin: Offset) -> Offset {
        self.link(core, begin, next_at(begin))
    }

    /// What stands in a link of the free chunk at `begin`: none, or a place where a chunk may
    /// begin. Links lie in what was somebody's payload, and who writes into that after its free
    /// must not lead us out of the core.
    #[inline(always)]
    fn link<J: Journal>(self, core: &Core<J>, begin: Offset, at: Offset) -> Offset {
        let linked = core.read(at);
        let (low, high) = (core.read(self.bounds), core.read(self.bounds.word(1)));
        let is_inside = linked.wrapping_sub(low) < high.wrapping_sub(low);
        if linked != 0 && !(is_inside && linked % GRANULE == begin.0 % GRANULE) {
            broken("doubly", begin);
        }
        Offset(linked)
    }

    /// The first chunk of a bin.
    #[inline(always)]
    pub(crate) fn head<J: Journal>(self, core: &Core<J>, bin: u64) -> Offset {
        Offset(core.read(self.head_at(bin)))
    }

    /// The first bin from `bin` on that is not empty.
    #[inline(always)]
    pub(crate) fn first_from<J: Journal>(self, core: &Core<J>, bin: u64) -> Option<u64> {
        if bin >= BINS {
            return None;
        }
        let mut word = bin / 64;
        let mut bits = core.read(self.state.word(word)) & u64::MAX << (bin % 64);
        while bits == 0 {
            word += 1;
            if word == BITMAP_WORDS {
                return None;
            }
            bits = core.read(self.state.word(word));
        }
        Some(word * 64 + u64::from(bits.trailing_zeros()))
    }

    /// All chunks of at least `bytes` bytes, bin by bin.
    pub(crate) fn chunks_from<J: Journal>(
        self,
        core: &Core<J>,
        bytes: u64,
    ) -> impl Iterator<Item = Chunk> {
        let (mut bin, mut begin) = (bin_of(bytes), Offset::NONE);
        core::iter::from_fn(move || {
            while begin.is_none() {
                let found = self.first_from(core, bin)?;
                begin = self.head(core, found);
                bin = found + 1;
            }
            let chunk = Chunk::at(core, begin);
            begin = self.next(core, begin);
            Some(chunk)
        })
        .filter(move |chunk| chunk.bytes >= bytes)
    }

    /// Does the bitmap say that a bin is not empty?
    pub(crate) fn is_marked<J: Journal>(self, core: &Core<J>, bin: u64) -> bool {
        core.read(self.state.word(bin / 64)) >> (bin % 64) & 1 != 0
    }

    /// Puts a free chunk at the head of its bin.
    #[inline]
    pub(crate) fn push<J: Journal>(self, core: &mut Core<J>, chunk: Chunk) {
        let bin = bin_of(chunk.bytes);
        let head = self.head(core, bin);
        core.write(next_at(chunk.begin), head.0);
        core.write(previous_at(chunk.begin), 0);
        if head.is_none() {
            let map_at = self.state.word(bin / 64);
            let map = core.read(map_at) | 1 << (bin % 64);
            core.write(map_at, map);
        } else {
            core.write(previous_at(head), chunk.begin.0);
        }
        core.write(self.head_at(bin), chunk.begin.0);
    }

    /// Takes a free chunk out of its bin.
    #[inline]
    pub(crate) fn unlink<J: Journal>(self, core: &mut Core<J>, chunk: Chunk) {
        let next = self.link(core, chunk.begin, next_at(chunk.begin));
        let previous = self.link(core, chunk.begin, previous_at(chunk.begin));
        // Its links become payload, which is written unlogged: to roll back must find them whole.
        core.keep(next_at(chunk.begin));
        core.keep(previous_at(chunk.begin));
        if !next.is_none() {
            if core.read(previous_at(next)) != chunk.begin.0 {
                broken("doubly", chunk.begin);
            }
            core.write(previous_at(next), previous.0);
        }
        if !previous.is_none() {
            if core.read(next_at(previous)) != chunk.begin.0 {
                broken("doubly", chunk.begin);
            }
            return core.write(next_at(previous), next.0);
        }
        self.unlink_head(core, chunk, next);
    }

    #[inline]
    fn unlink_head<J: Journal>(self, core: &mut Core<J>, chunk: Chunk, next: Offset) {
        let bin = bin_of(chunk.bytes);
        if self.head(core, bin) != chunk.begin {
            broken("binned", chunk.begin);
        }
        core.write(self.head_at(bin), next.0);
        if next.is_none() {
            let map_at = self.state.word(bin / 64);
            let map = core.read(map_at) & !(1 << (bin % 64));
            core.write(map_at, map);
        }
    }

    #[inline(always)]
    fn head_at(self, bin: u64) -> Offset {
        self.state.word(BITMAP_WORDS + bin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_size_has_the_bin_that_the_picture_says() {
        for (bytes, bin) in [
            (32, 2),
            (48, 3),
            (1008, 63),
            (1024, 64),
            (1136, 64),
            (1152, 65),
            (1920, 71),
            (2032, 71),
            (2048, 72),
            (3840, 79),
            (1 << 50, BINS - 1),
            (!15, BINS - 1),
        ] {
            assert_eq!(bin_of(bytes), bin, "{bytes}");
        }
    }

    #[test]
    fn a_larger_chunk_never_has_a_smaller_bin() {
        for bytes in (32..1 << 16).step_by(16) {
            assert!(bin_of(bytes) <= bin_of(bytes + 16), "{bytes}");
        }
    }
}
