//! Chunks: stretches of a region that carry their size at both ends.
//!
//! ```text
//!     +-----+------------------------------+-----+
//! ... | tag |           payload            | tag | ...      sizes count all three parts
//!     +-----+------------------------------+-----+
//!           ^ a multiple of 16
//!
//!     tag   [ size, a multiple of 16 | 0 0 0 | used ]
//!
//!     while it is free, the payload begins with [ next ][ previous ] of its bin
//! ```
//!
//! A region has a tag of a used chunk of size 0, a fence, at both its ends, so that no chunk looks
//! past them.
//!
//! Promises: both neighbours of a chunk are found in O(1), so `free` coalesces in O(1). Where two
//! chunks were coalesced no tag is left between them, so that a second free finds none.
//! Knows nothing of bins, fits or slabs.
//! Source: D. E. Knuth, The Art of Computer Programming, vol. 1, section 2.5 (boundary tags).

use crate::core::Core;
use crate::journal::Journal;
use crate::layout::{GRANULE, Offset, WORD, align_up};

/// The smallest chunk, in bytes: two tags and, while it is free, the two links of its bin.
pub const CHUNK_LEAST: u64 = 4 * WORD;

/// What the two tags of a chunk take of it.
pub const CHUNK_TAGS: u64 = 2 * WORD;

const _: () = assert!(CHUNK_LEAST.is_multiple_of(GRANULE));

/// One word at either end of a chunk: the chunk's size, and whether it is used.
///
/// # Invariants
/// - `granular`: the size is a multiple of [`GRANULE`] and at least [`CHUNK_LEAST`].
/// - `seated`: it ends on a multiple of [`GRANULE`], so the payload behind it is aligned.
/// - `twinned`: the last tag equals the first, except while someone holds the heap.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(pub u64);

/// A stretch of a region with tags at both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Where its first tag stands.
    pub begin: Offset,
    /// Its size, tags and all.
    pub bytes: u64,
}

impl Tag {
    const USED: u64 = 1;

    /// What stands at both ends of a region: a used chunk of no size.
    pub const FENCE: Self = Self(Self::USED);

    /// The tag of a used chunk.
    #[inline(always)]
    #[must_use]
    pub const fn used(bytes: u64) -> Self {
        Self(bytes | Self::USED)
    }

    /// The tag of a free chunk.
    #[inline(always)]
    #[must_use]
    pub const fn free(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Is its chunk used?
    #[inline(always)]
    #[must_use]
    pub const fn is_used(self) -> bool {
        self.0 & Self::USED != 0
    }

    /// The size of its chunk.
    #[inline(always)]
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0 & !(GRANULE - 1)
    }

    /// May this stand before a chunk? (`granular`)
    #[inline(always)]
    #[must_use]
    pub const fn is_sound(self) -> bool {
        self.0 & (GRANULE - 1) & !Self::USED == 0 && self.bytes() >= CHUNK_LEAST
    }

    /// The tag at `at`.
    #[inline(always)]
    #[must_use]
    pub fn read<J: Journal>(core: &Core<J>, at: Offset) -> Self {
        Self(core.read(at))
    }
}

impl Chunk {
    /// The chunk that spans from `begin` up to `end`.
    #[inline(always)]
    #[must_use]
    pub fn between(begin: Offset, end: Offset) -> Self {
        Self { begin, bytes: end - begin }
    }

    /// The chunk whose first tag stands at `begin`.
    #[inline(always)]
    #[must_use]
    pub fn at<J: Journal>(core: &Core<J>, begin: Offset) -> Self {
        Self { begin, bytes: Tag::read(core, begin).bytes() }
    }

    /// The size of the chunk that is needed for a payload of `bytes` bytes.
    #[inline(always)]
    #[must_use]
    pub const fn bytes_for(bytes: u64) -> u64 {
        let needed = align_up(bytes + CHUNK_TAGS, GRANULE);
        if needed < CHUNK_LEAST { CHUNK_LEAST } else { needed }
    }

    /// Where it ends: the first offset behind its last tag.
    #[inline(always)]
    #[must_use]
    pub fn end(self) -> Offset {
        self.begin + self.bytes
    }

    /// Where its payload begins.
    #[inline(always)]
    #[must_use]
    pub fn payload(self) -> Offset {
        self.begin + WORD
    }

    /// The bytes of its payload.
    #[inline(always)]
    #[must_use]
    pub fn payload_bytes(self) -> u64 {
        self.bytes - CHUNK_TAGS
    }

    /// Where its last tag stands.
    #[inline(always)]
    #[must_use]
    pub fn last_tag(self) -> Offset {
        self.end() - WORD
    }

    /// Takes in the chunk behind it. A damaged one may say any size: then so does the whole, and
    /// its last tag is a wild place.
    #[inline(always)]
    pub(crate) fn absorb(&mut self, after: Self) {
        self.bytes = self.bytes.saturating_add(after.bytes);
    }

    /// Writes both its tags.
    #[inline(always)]
    pub(crate) fn set_used<J: Journal>(self, core: &mut Core<J>) {
        core.write(self.begin, Tag::used(self.bytes).0);
        core.write(self.last_tag(), Tag::used(self.bytes).0);
    }

    /// Writes both its tags.
    #[inline(always)]
    pub(crate) fn set_free<J: Journal>(self, core: &mut Core<J>) {
        core.write(self.begin, Tag::free(self.bytes).0);
        core.write(self.last_tag(), Tag::free(self.bytes).0);
    }

    /// The chunk before it, if that is free.
    #[inline(always)]
    #[must_use]
    pub fn free_before<J: Journal>(self, core: &Core<J>) -> Option<Self> {
        let tag = Tag::read(core, self.begin - WORD);
        if tag.is_used() {
            return None;
        }
        Some(Self { begin: self.begin - tag.bytes(), bytes: tag.bytes() })
    }

    /// The chunk after it, if that is free.
    #[inline(always)]
    #[must_use]
    pub fn free_after<J: Journal>(self, core: &Core<J>) -> Option<Self> {
        let tag = Tag::read(core, self.end());
        if tag.is_used() {
            return None;
        }
        Some(Self { begin: self.end(), bytes: tag.bytes() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_of_any_size_gets_a_granular_chunk() {
        for bytes in 0..1000 {
            let needed = Chunk::bytes_for(bytes);
            assert!(Tag::free(needed).is_sound(), "{bytes}");
            assert!(needed - CHUNK_TAGS >= bytes, "{bytes}");
            assert!(needed == CHUNK_LEAST || needed - CHUNK_TAGS - bytes < GRANULE, "{bytes}");
        }
    }

    #[test]
    fn a_tag_says_size_and_use() {
        assert_eq!(Tag::used(64).bytes(), 64);
        assert!(Tag::used(64).is_used());
        assert!(!Tag::free(64).is_used());
        assert!(!Tag::FENCE.is_sound());
        assert!(!Tag(0).is_sound());
        assert!(!Tag(64 | 2).is_sound());
    }
}
