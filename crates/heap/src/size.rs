//! From a request to its class, and what a slab of each class looks like.
//!
//! ```text
//!   classes 0..8     16  32  48  64  80  96 112 128          one granule apart
//!   classes 8..16   144 160 176 192 208 224 240 256          then eight to a doubling,
//!   classes 16..24  288 320 352 384 416 448 480 512          to 16 KiB
//!   ...
//!   fine    64..120  72  80  88  96 .. 512                    a word apart, and from there
//!          120..156 528 544 560 576 .. 1088                   a granule, for who asks for them
//! ```
//!
//! Promises: a block is at most 1/8 larger than the request (15 bytes below 128); a look-up is one
//! load; the index of a block in its slab is one multiplication, and exact.
//! Source: the spacing is that of jemalloc's small classes, doubled (eight a doubling, not four).

use crate::layout::{CACHE_LINE, GRANULE, UNIT, WORD, align_up};

/// How many classes there are: eight, and eight for each of the seven doublings to 16 KiB.
pub const CLASSES: usize = 64;

/// How many fine classes there are besides. They are for heaps with very many payloads of a few
/// sizes, in which it shows that a block is larger than what is in it; where sizes are of all
/// kinds, a slab for each of so many classes would cost more than that.
pub(crate) const FINE_CLASSES: usize = 92;

/// All classes together: a number is a byte.
pub const ALL_CLASSES: usize = CLASSES + FINE_CLASSES;

/// The blocks of the first fine class: below, a word more or less is for the others.
const FINE_LEAST: u64 = 72;

/// Up to this, fine classes are a word apart: further on a granule is a small part of a block.
const FINE_BY_WORDS_MOST: u64 = 512;

/// The largest request that a fine class serves: a key and a value of 1 KiB, and what is told of
/// it.
const FINE_MOST: u64 = 1088;

/// The fine classes whose blocks are a word apart.
const FINE_BY_WORDS: usize = ((FINE_BY_WORDS_MOST - FINE_LEAST) / WORD + 1) as usize;

/// The units of a slab of a fine class: so that its header and its end are half a percent of it.
const FINE_UNITS: u64 = 4;

/// The largest request that a class serves. Above it four blocks a unit are left, so that a
/// slab would save little over chunks, whose sizes are exact.
pub const SMALL_MOST: u64 = 16 << 10;

/// How far the header of a slab may be moved into it, in bytes: sixteen places, a cache line apart.
/// Without that all headers would stand 64 KiB apart and so in the same few sets of every cache:
/// with more slabs than ways, each look at a header would miss. It costs 1.5 % of a unit.
pub(crate) const COLOUR_BYTES: u64 = 15 * CACHE_LINE;

/// The last two granules of a slab's last unit belong to tags: its chunk's own and the next one's.
pub(crate) const SLAB_TAGS: u64 = 2 * WORD;

/// The words at the head of a slab: what it is, its owner, two links, free count, summary.
pub(crate) const HEAD_WORDS: u64 = 6;

/// A slab has at least this many blocks, so that the cost of its header is shared.
const BLOCKS_LEAST: u64 = 8;

/// What does not fit at the end of a slab is at most this part of it: with the header it is the
/// price of equal blocks, and 1/12 lets 4 KiB blocks live in one unit (15 of them).
const TAIL_PART: u64 = 12;

/// The most units of one slab: the 4 bits that an entry of the unit map has for the way back.
pub(crate) const SLAB_UNITS_MOST: u64 = 16;

/// Blocks are aligned to at most a page: more is for chunks.
const ALIGN_MOST: u64 = 4096;

/// Blocks keep their natural alignment up to this, also where it costs a block: aligned requests
/// beyond it are rare, and up to it a request of its own size need not go to a larger class.
const ALIGN_SURE: u64 = 256;

/// Distances are multiplied and shifted by this: 40 bits leave the error of the rounded-up
/// reciprocal too small to matter below 1 MiB (the test tries every distance).
const RECIPROCAL_BITS: u32 = 40;

/// One of the small sizes.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class(u8);

/// What every slab of a class looks like.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Bytes of a block.
    pub bytes: u32,
    /// Where the first block begins, from the slab's begin.
    pub first: u32,
    /// How many blocks there are.
    pub blocks: u16,
    /// How many mask words: one bit a block.
    pub words: u8,
    /// How many units the slab spans.
    pub units: u8,
    /// Every block is aligned to this, a power of two.
    pub align: u32,
    reciprocal: u64,
}

impl Class {
    /// The class with this number, if there is one, be it a fine one.
    #[inline(always)]
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        if (number as usize) < ALL_CLASSES { Some(Self(number)) } else { None }
    }

    /// The least fine class whose blocks have `bytes` bytes, if one serves so many: they are
    /// aligned to a word.
    #[inline]
    #[must_use]
    pub const fn fine(bytes: u64) -> Option<Self> {
        if bytes <= FINE_LEAST - WORD || bytes > FINE_MOST {
            return None;
        }
        let index = if bytes <= FINE_BY_WORDS_MOST {
            (bytes + WORD - FINE_LEAST - 1) / WORD
        } else {
            FINE_BY_WORDS as u64 + (bytes - FINE_BY_WORDS_MOST).div_ceil(GRANULE) - 1
        };
        Some(Self((CLASSES as u64 + index) as u8))
    }

    /// The least class whose blocks have `bytes` bytes, if a class serves so many.
    #[inline(always)]
    #[must_use]
    pub const fn of(bytes: u64) -> Option<Self> {
        if bytes > SMALL_MOST {
            return None;
        }
        Some(Self(NUMBERS[bytes.div_ceil(GRANULE) as usize]))
    }

    /// The least class whose blocks have `bytes` bytes and are aligned to `align`.
    #[inline]
    #[must_use]
    pub fn aligned(bytes: u64, align: u64) -> Option<Self> {
        if align <= GRANULE {
            return Self::of(bytes);
        }
        let least = Self::of(bytes.max(align))?;
        Self::all().skip(least.index()).find(|class| u64::from(class.shape().align) >= align)
    }

    /// All classes but the fine ones, the least first.
    pub fn all() -> impl Iterator<Item = Self> + Clone {
        (0..CLASSES as u8).map(Self)
    }

    /// All classes: the least first, then the fine ones.
    pub fn all_and_fine() -> impl Iterator<Item = Self> + Clone {
        (0..ALL_CLASSES as u8).map(Self)
    }

    /// Its number, from 0 on.
    #[inline(always)]
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Its number, to index a table of `CLASSES` entries; it is not a fine one.
    #[inline(always)]
    #[must_use]
    pub const fn index(self) -> usize {
        debug_assert!((self.0 as usize) < CLASSES);
        // The mask is for the compiler: it sees that no bounds check is needed.
        self.0 as usize & (CLASSES - 1)
    }

    /// What its slabs look like.
    #[inline(always)]
    #[must_use]
    pub const fn shape(self) -> &'static Shape {
        // A byte needs no bounds check either.
        &SHAPES[self.0 as usize]
    }
}

impl Shape {
    /// The index of the block that contains the byte at `distance` from the first block.
    /// `distance` is below 1 MiB, as all are in a slab.
    #[inline(always)]
    #[must_use]
    pub const fn index(&self, distance: u64) -> u64 {
        (distance * self.reciprocal) >> RECIPROCAL_BITS
    }

    /// The distance of block `index` from the slab's begin.
    #[inline(always)]
    #[must_use]
    pub const fn block(&self, index: u64) -> u64 {
        self.first as u64 + index * self.bytes as u64
    }

    /// The mask of word `word` when all its blocks are free.
    #[inline]
    #[must_use]
    pub const fn full_mask(&self, word: u64) -> u64 {
        let blocks = self.blocks as u64 - word * 64;
        if blocks >= 64 { u64::MAX } else { (1 << blocks) - 1 }
    }

    /// The bytes of the payload that a slab needs of its chunk.
    #[inline]
    #[must_use]
    pub const fn payload_bytes(&self) -> u64 {
        self.units as u64 * UNIT - SLAB_TAGS
    }

    /// The shape of a slab of `units` units with blocks of `bytes`, aligned to `align`.
    const fn of(bytes: u64, units: u64, align: u64) -> Self {
        let payload_bytes = units * UNIT - SLAB_TAGS;
        let words_most = (payload_bytes / bytes).div_ceil(64);
        let first = align_up(COLOUR_BYTES + header_bytes(words_most), align);
        let blocks = (payload_bytes - first) / bytes;
        Self {
            bytes: bytes as u32,
            first: first as u32,
            blocks: blocks as u16,
            words: blocks.div_ceil(64) as u8,
            units: units as u8,
            align: align as u32,
            reciprocal: (1u64 << RECIPROCAL_BITS).div_ceil(bytes),
        }
    }

    /// The bytes at the slab's end that no block uses.
    const fn tail(&self) -> u64 {
        self.payload_bytes() - self.block(self.blocks as u64)
    }
}

/// The bytes of a slab's header with `words` mask words.
pub(crate) const fn header_bytes(words: u64) -> u64 {
    (HEAD_WORDS + words) * WORD
}

/// The bytes of class `number`'s blocks.
const fn bytes_of(number: usize) -> u64 {
    if number < 8 {
        return (number as u64 + 1) * GRANULE;
    }
    let doubling = (number as u64 - 8) / 8;
    let step = GRANULE << doubling;
    (128 << doubling) + (number as u64 % 8 + 1) * step
}

/// The best shape for blocks of `bytes`: the fewest units with enough blocks and a short tail, and
/// in them the greatest natural alignment that costs no block (or is sure).
const fn shape_of(bytes: u64) -> Shape {
    let natural = bytes & bytes.wrapping_neg();
    let mut units = 1;
    loop {
        let tight = Shape::of(bytes, units, GRANULE);
        let is_short = tight.tail() * TAIL_PART <= units * UNIT;
        if tight.blocks as u64 >= BLOCKS_LEAST && is_short || units == SLAB_UNITS_MOST {
            break;
        }
        units += 1;
    }
    let tight = Shape::of(bytes, units, GRANULE);
    let mut align = if natural < ALIGN_MOST { natural } else { ALIGN_MOST };
    while align > ALIGN_SURE && Shape::of(bytes, units, align).blocks < tight.blocks {
        align /= 2;
    }
    Shape::of(bytes, units, align)
}

/// The bytes of the blocks of fine class `index`, counted from the first fine one.
const fn fine_bytes_of(index: usize) -> u64 {
    if index < FINE_BY_WORDS {
        return FINE_LEAST + index as u64 * WORD;
    }
    FINE_BY_WORDS_MOST + (index - FINE_BY_WORDS + 1) as u64 * GRANULE
}

const fn all_shapes() -> [Shape; NUMBERS_MOST] {
    let mut shapes = [shape_of(GRANULE); NUMBERS_MOST];
    let mut number = 1;
    while number < CLASSES {
        shapes[number] = shape_of(bytes_of(number));
        number += 1;
    }
    while number < ALL_CLASSES {
        shapes[number] = Shape::of(fine_bytes_of(number - CLASSES), FINE_UNITS, WORD);
        number += 1;
    }
    shapes
}

const fn all_numbers() -> [u8; SMALL_MOST as usize / GRANULE as usize + 1] {
    let mut numbers = [0; SMALL_MOST as usize / GRANULE as usize + 1];
    let mut granules = 1;
    let mut number = 0;
    while granules < numbers.len() {
        if granules as u64 * GRANULE > bytes_of(number) {
            number += 1;
        }
        numbers[granules] = number as u8;
        granules += 1;
    }
    numbers
}

/// As many shapes as a byte has values; those behind the last class are nobody's.
static SHAPES: [Shape; NUMBERS_MOST] = all_shapes();

/// How many numbers a byte can be.
const NUMBERS_MOST: usize = 1 << u8::BITS;

/// The class of a request of so many granules: a byte each, so that the small ones share a line.
static NUMBERS: [u8; SMALL_MOST as usize / GRANULE as usize + 1] = all_numbers();

const _: () = assert!(bytes_of(CLASSES - 1) == SMALL_MOST);
const _: () = assert!(fine_bytes_of(FINE_CLASSES - 1) == FINE_MOST);
const _: () = assert!(ALL_CLASSES <= NUMBERS_MOST);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_gets_the_least_class_that_holds_it() {
        for bytes in 0..=SMALL_MOST {
            let class = Class::of(bytes).unwrap();
            assert!(u64::from(class.shape().bytes) >= bytes);
            let is_least = class.index() == 0 || bytes_of(class.index() - 1) < bytes;
            assert!(is_least, "{bytes} got {class:?}");
        }
        assert_eq!(Class::of(SMALL_MOST + 1), None);
    }

    #[test]
    fn a_request_gets_the_least_fine_class_that_holds_it() {
        for bytes in FINE_LEAST - WORD + 1..=FINE_MOST {
            let class = Class::fine(bytes).unwrap();
            assert!(u64::from(class.shape().bytes) >= bytes, "{bytes} got {class:?}");
            let before = usize::from(class.number()).checked_sub(CLASSES + 1);
            let is_least = before.is_none_or(|before| fine_bytes_of(before) < bytes);
            assert!(is_least, "{bytes} got {class:?}");
        }
        assert_eq!(Class::fine(FINE_LEAST - WORD), None);
        assert_eq!(Class::fine(FINE_MOST + 1), None);
    }

    #[test]
    fn a_block_of_a_fine_class_costs_hardly_more_than_its_bytes() {
        for class in Class::all_and_fine().skip(CLASSES) {
            let shape = class.shape();
            let each = f64::from(shape.units) * UNIT as f64 / f64::from(shape.blocks);
            assert!(each < f64::from(shape.bytes) * 1.01, "{class:?} {shape:?}");
        }
    }

    #[test]
    fn at_most_an_eighth_is_wasted() {
        for bytes in 128..=SMALL_MOST {
            let block = u64::from(Class::of(bytes).unwrap().shape().bytes);
            assert!((block - bytes) * 8 <= block, "{bytes} in {block}");
        }
    }

    #[test]
    fn the_index_is_exact_for_every_distance() {
        for class in Class::all_and_fine() {
            let shape = class.shape();
            let block = u64::from(shape.bytes);
            for distance in 0..u64::from(shape.units) * UNIT {
                assert_eq!(shape.index(distance), distance / block, "{class:?} {distance}");
            }
        }
    }

    #[test]
    fn every_shape_fits_its_units() {
        for class in Class::all_and_fine() {
            let shape = class.shape();
            let blocks = u64::from(shape.blocks);
            assert!(blocks >= BLOCKS_LEAST, "{class:?}: {shape:?}");
            assert!(u64::from(shape.words) <= 64, "{class:?}: one summary word: {shape:?}");
            assert!(shape.block(blocks) <= shape.payload_bytes(), "{class:?}: {shape:?}");
            let header = COLOUR_BYTES + header_bytes(u64::from(shape.words));
            assert!(header <= u64::from(shape.first), "{class:?}: {shape:?}");
            let used = blocks * u64::from(shape.bytes);
            assert!(used * 100 >= shape.payload_bytes() * 90, "{class:?}: {shape:?}");
        }
    }

    #[test]
    fn a_request_of_its_own_alignment_gets_the_class_of_its_size() {
        for align in [16, 32, 64, 128, 256] {
            assert_eq!(Class::aligned(align, align), Class::of(align), "{align}");
        }
    }

    #[test]
    fn an_aligned_request_gets_aligned_blocks() {
        for align in [16, 32, 64, 128, 256, 512, 1024] {
            for bytes in [0, 1, 24, 100, 1000, 1024, 4000] {
                let shape = Class::aligned(bytes, align).unwrap().shape();
                assert!(u64::from(shape.bytes) >= bytes);
                assert_eq!(u64::from(shape.first) % align, 0);
                assert_eq!(u64::from(shape.bytes) % align, 0);
            }
        }
    }
}
