//! A slab: a chunk's payload cut into equal blocks, under a mask that says which are free.
//!
//! ```text
//!   begin (a multiple of UNIT)                                               last unit's end
//!   | colour | header |    | block 0 | block 1 | ...              | tail | tag | next's tag |
//!            ^             ^
//!            |             first: where the shape of the class says
//!            a cache line of the first sixteen, told by the slab's own offset
//!
//!   header   [ kind | class ][ owner ][ next ][ previous ][ free count ][ summary ]
//!            [ mask ] x words                      bit = 1: the block is free
//! ```
//!
//! Promises: nothing is ever written into a free block, so a use after free harms no heap; a block
//! that is freed twice, or that is none, is recognised exactly, from one bit.
//! Knows nothing of lists of slabs: that is `slabs.rs`.

use core::sync::atomic::AtomicU64;

use crate::core::Core;
use crate::journal::Journal;
use crate::layout::{CACHE_LINE, Offset, UNIT_BITS};
use crate::misuse::{Misuse, Wrong};
use crate::size::{Class, HEAD_WORDS};

/// The upper half of a header's first word: "this is a slab", for `check` and for who looks at
/// bytes ("slab" read in a dump).
const KIND: u64 = 0x7361_6c62 << 32;

const OWNER: u64 = 1;
const NEXT: u64 = 2;
const PREVIOUS: u64 = 3;
const FREE_COUNT: u64 = 4;
const SUMMARY: u64 = 5;

/// A slab, named by where it begins.
///
/// # Invariants
/// - `formed`: its header says that it is a slab, and of which class.
/// - `counted`: the free count is the number of bits in the mask.
/// - `summed`: a bit of the summary is 1 where its mask word is not 0.
/// - `within`: the mask has no bit for a block that the slab does not have.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slab(Offset);

/// Where a block's bit stands.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Which mask word.
    pub word: u64,
    /// The bit in that word.
    pub bit: u64,
}

impl Slab {
    /// The slab that begins at `begin`.
    #[inline(always)]
    #[must_use]
    pub const fn at(begin: Offset) -> Self {
        Self(begin)
    }

    /// Where it begins: the payload of its chunk.
    #[inline(always)]
    #[must_use]
    pub const fn begin(self) -> Offset {
        self.0
    }

    /// Where its header stands.
    #[inline(always)]
    #[must_use]
    pub const fn header(self) -> Offset {
        let unit = self.0.0 >> UNIT_BITS;
        // The higher bits are mixed in because slabs of 16 units would all share one colour.
        let colour = (unit ^ unit >> 4) & 15;
        Offset(self.0.0 + colour * CACHE_LINE)
    }

    /// Writes the header of a slab of `class` with all blocks free, in no list.
    pub(crate) fn format<J: Journal>(self, core: &mut Core<J>, class: Class, owner: u64) {
        let shape = class.shape();
        let words = u64::from(shape.words);
        let header = self.header();
        core.write_fresh(header, KIND | u64::from(class.number()));
        core.write_fresh(header.word(OWNER), owner);
        core.write_fresh(header.word(NEXT), 0);
        core.write_fresh(header.word(PREVIOUS), 0);
        core.write_fresh(header.word(FREE_COUNT), u64::from(shape.blocks));
        core.write_fresh(header.word(SUMMARY), u64::MAX >> (64 - words));
        for word in 0..words {
            core.write_fresh(header.word(HEAD_WORDS + word), shape.full_mask(word));
        }
    }

    /// Makes the header say that this is no slab any more.
    pub(crate) fn clear<J: Journal>(self, core: &mut Core<J>) {
        core.write(self.header(), 0);
    }

    /// The class that the header names; `None` if this is no slab.
    #[must_use]
    pub fn class<J: Journal>(self, core: &Core<J>) -> Option<Class> {
        let word = core.try_read(self.header())?;
        let number = u8::try_from(word ^ KIND).ok()?;
        Class::from_number(number)
    }

    /// Who it belongs to, as its face counts owners; atomic, for those that do not own it.
    #[inline(always)]
    #[must_use]
    pub fn owner<J: Journal>(self, core: &Core<J>) -> &AtomicU64 {
        core.word(self.header().word(OWNER))
    }

    /// How many blocks are free in the mask.
    #[inline(always)]
    #[must_use]
    pub fn free_count<J: Journal>(self, core: &Core<J>) -> u64 {
        core.read(self.header().word(FREE_COUNT))
    }

    /// Mask word `word`.
    #[inline(always)]
    #[must_use]
    pub fn mask<J: Journal>(self, core: &Core<J>, word: u64) -> u64 {
        core.read(self.header().word(HEAD_WORDS + word))
    }

    /// Which mask words are not 0.
    #[inline(always)]
    #[must_use]
    pub fn summary<J: Journal>(self, core: &Core<J>) -> u64 {
        core.read(self.header().word(SUMMARY))
    }

    /// The next slab of its list.
    #[inline(always)]
    #[must_use]
    pub fn next<J: Journal>(self, core: &Core<J>) -> Offset {
        Offset(core.read(self.header().word(NEXT)))
    }

    /// The slab before it in its list.
    #[inline(always)]
    #[must_use]
    pub fn previous<J: Journal>(self, core: &Core<J>) -> Offset {
        Offset(core.read(self.header().word(PREVIOUS)))
    }

    pub(crate) fn set_next<J: Journal>(self, core: &mut Core<J>, next: Offset) {
        core.write(self.header().word(NEXT), next.0);
    }

    pub(crate) fn set_previous<J: Journal>(self, core: &mut Core<J>, previous: Offset) {
        core.write(self.header().word(PREVIOUS), previous.0);
    }

    /// Takes `bits` out of mask word `word`; says how many blocks are still free.
    #[inline(always)]
    pub(crate) fn take_bits<J: Journal>(self, core: &mut Core<J>, word: u64, bits: u64) -> u64 {
        let header = self.header();
        let mask = core.read(header.word(HEAD_WORDS + word)) & !bits;
        // Others look at it, for a double free.
        core.write_shared(header.word(HEAD_WORDS + word), mask);
        if mask == 0 {
            let summary = core.read(header.word(SUMMARY)) & !(1 << word);
            core.write(header.word(SUMMARY), summary);
        }
        let count = core.read(header.word(FREE_COUNT)) - u64::from(bits.count_ones());
        core.write(header.word(FREE_COUNT), count);
        count
    }

    /// Puts `bits`, of which there are `many`, into mask word `word`, where none of them is; says
    /// how many blocks are free now.
    #[inline(always)]
    pub(crate) fn give_bits<J: Journal>(
        self,
        core: &mut Core<J>,
        word: u64,
        bits: u64,
        many: u64,
    ) -> u64 {
        let header = self.header();
        let mask = core.read(header.word(HEAD_WORDS + word));
        core.write_shared(header.word(HEAD_WORDS + word), mask | bits);
        if mask == 0 {
            let summary = core.read(header.word(SUMMARY)) | 1 << word;
            core.write(header.word(SUMMARY), summary);
        }
        let count = core.read(header.word(FREE_COUNT)) + many;
        core.write(header.word(FREE_COUNT), count);
        count
    }

    /// The mask word and bit of the block at `at`.
    ///
    /// # Errors
    /// No block of this slab begins there.
    #[inline(always)]
    pub fn place(self, class: Class, at: Offset) -> Result<Place, Misuse> {
        self.try_place(class, at).ok_or_else(|| self.misplaced(class, at))
    }

    /// As `place`; `None` if no block begins there.
    #[inline(always)]
    #[must_use]
    pub fn try_place(self, class: Class, at: Offset) -> Option<Place> {
        let shape = class.shape();
        let distance = at.0.wrapping_sub(self.0.0 + u64::from(shape.first));
        // An `at` before the first block wraps to a huge distance, whose index means nothing; the
        // comparison with the exact begin tells.
        let index = shape.index(distance & 0xf_ffff);
        let is_block = index * u64::from(shape.bytes) == distance;
        (is_block && index < u64::from(shape.blocks))
            .then_some(Place { word: index / 64, bit: 1 << (index % 64) })
    }

    /// As `place`, for who knows that a block of this slab begins there.
    #[inline(always)]
    #[must_use]
    pub fn sure_place(self, class: Class, at: Offset) -> Place {
        let shape = class.shape();
        let index = shape.index(at - self.0 - u64::from(shape.first));
        debug_assert!(self.block(class, index / 64, index % 64) == at);
        Place { word: index / 64, bit: 1 << (index % 64) }
    }

    /// The block of bit number `index` in mask word `word`.
    #[inline(always)]
    #[must_use]
    pub fn block(self, class: Class, word: u64, index: u64) -> Offset {
        self.0 + class.shape().block(word * 64 + index)
    }

    /// The misuse "freed twice" of the block that begins at `at`.
    #[cold]
    #[inline(never)]
    #[must_use]
    pub fn twice(self, class: Class, at: Offset) -> Misuse {
        let bytes = u64::from(class.shape().bytes);
        Misuse { wrong: Wrong::DoubleFree, at, begin: at, bytes, class: Some(class) }
    }

    /// The misuse of a place in the slab where no block begins.
    #[cold]
    #[inline(never)]
    fn misplaced(self, class: Class, at: Offset) -> Misuse {
        let shape = class.shape();
        let first = self.0 + u64::from(shape.first);
        if at < first || at >= self.0 + shape.block(u64::from(shape.blocks)) {
            return Misuse { class: Some(class), ..Misuse::new(Wrong::NotABlock, at) };
        }
        let begin = first + shape.index(at - first) * u64::from(shape.bytes);
        let bytes = u64::from(shape.bytes);
        Misuse { wrong: Wrong::Interior, at, begin, bytes, class: Some(class) }
    }
}
