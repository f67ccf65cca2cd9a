//! The ledger's other page: of each granule of a slab, whether a block that begins there was freed
//! by somebody who does not own it, and not yet taken back by who does.
//!
//! ```text
//!   used    [ 64 granules ][ 64 granules ] ...           the owner's page: only it writes there
//!   freed   [ 64 granules ][ 64 granules ] ...           this one: others add, the owner takes
//!               |               |
//!   unit    [ summary: a bit for each of its 64 words of `freed` that has some | link ]
//!                                                                       |
//!   a record's `told` --> unit --> unit --> none  <---------------------+
//! ```
//!
//! Promises: a free of another's block is one atomic operation, two if it is the first in its
//! word, and the owner is told by whoever is the first in a unit. It looks at nothing that the
//! owner writes but the used bits, and needs neither the slab nor its class.
//! Knows nothing of who owns a unit, and of how an owner is told.

use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use morecore_heap::Offset;
use morecore_heap::abort::broken;
use morecore_heap::layout::UNIT_BITS;

use super::{Bits, ENTRIES, GRANULE_BITS, LEAF_BITS, Leaf, ROOT, WORD_BITS, WORDS, bit, bits};

/// What others freed in one unit. A line of the cache, for neighbours may have other owners.
#[repr(C, align(64))]
pub(super) struct Freed {
    /// A bit for each word of the unit in which others freed something.
    summary: AtomicU64,
    /// The next unit in a record's list.
    link: AtomicU64,
}

/// What became of a free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// It is taken down, and the owner knows or will be told.
    Done,
    /// It is taken down, and the caller tells the owner: nothing else in the unit waits.
    Tell,
    /// No block in use begins there, or somebody else freed it already.
    Wrong,
}

/// Where the bits of a block are.
#[derive(Clone, Copy)]
pub(crate) struct Page {
    leaf: &'static Leaf,
    granule: u64,
}

impl Page {
    /// Where those of the block at `at` are, which is in core of ours; `None` if it is no granule's
    /// begin.
    #[inline(always)]
    pub(crate) fn at(at: Offset) -> Option<Self> {
        // As in `look`: what is not aligned has a number that is beyond all granules.
        let granule = at.0.rotate_right(GRANULE_BITS);
        let root = ROOT.get((granule >> (LEAF_BITS - GRANULE_BITS)) as usize)?;
        // SAFETY: a leaf is a mapping of its own, all zeros at first, which is never given back.
        let leaf = unsafe { root.load(Acquire).as_ref() }?;
        Some(Self { leaf, granule })
    }

    /// Where those of a unit's first granule are, which is in a slab of ours.
    pub(crate) fn of_unit(unit: Offset) -> Self {
        Self::at(unit).unwrap_or_else(|| broken("opened", unit))
    }

    /// Frees the block for somebody who does not own it. Until the owner has taken it back it is
    /// used, so its slab does not go away: whoever is to tell has all the time to do so.
    #[inline(always)]
    pub(crate) fn give(self) -> Given {
        let (word, bit) = (self.word(), 1 << (self.granule % 64));
        if self.leaf.words[word].load(Relaxed) & bit == 0 {
            return Given::Wrong;
        }
        // Release pairs with the Acquire in `take`: the owner hands the block out again only after
        // all that its last user did to it. An addition, for processors have one that gives the old
        // word; where the bit was there already, it is taken back.
        let freed = &self.leaf.freed[word];
        let old = freed.fetch_add(bit, AcqRel);
        if old & bit != 0 {
            freed.fetch_sub(bit, AcqRel);
            return Given::Wrong;
        }
        // Who finds a word that is not empty leaves the rest to the one who found it so; and as
        // `take` empties the summary before the words, the word's bit is not there yet.
        let is_first = old == 0 && {
            let bit = 1 << (word % WORDS_IN_UNIT);
            self.leaf.units[self.unit()].summary.fetch_add(bit, AcqRel) == 0
        };
        if is_first { Given::Tell } else { Given::Done }
    }

    /// Did somebody who does not own it free the block?
    pub(crate) fn is_freed(self) -> bool {
        self.leaf.freed[self.word()].load(Relaxed) >> (self.granule % 64) & 1 != 0
    }

    /// The word that links its unit in a record's list.
    pub(crate) fn link(self) -> &'static AtomicU64 {
        &self.leaf.units[self.unit()].link
    }

    fn unit(self) -> usize {
        (self.granule >> (UNIT_BITS - GRANULE_BITS)) as usize % ENTRIES
    }

    fn word(self) -> usize {
        (self.granule >> (WORD_BITS - GRANULE_BITS)) as usize % WORDS
    }
}

/// The words of bits of a unit: one bit each in its summary.
const WORDS_IN_UNIT: usize = 1 << (UNIT_BITS - WORD_BITS);

const _: () = assert!(WORDS_IN_UNIT == u64::BITS as usize);

/// Takes back all that others freed in a unit: calls `taken` with the address of the first granule
/// of each word that has some, the used bits of those granules, and which blocks. They are used
/// until the caller strikes them.
///
/// Only whoever was told may do so, once each time: somebody else might empty the slab before the
/// one who tells has done so.
pub(crate) fn take(unit: Offset, mut taken: impl FnMut(u64, Bits, u64)) {
    let page = Page::of_unit(unit);
    // Acquire pairs with the Release in `give`.
    let mut summary = page.leaf.units[page.unit()].summary.swap(0, AcqRel);
    while summary != 0 {
        let index = u64::from(summary.trailing_zeros());
        summary &= summary - 1;
        let first = unit.0 + (index << WORD_BITS);
        let freed = &page.leaf.freed[page.word() + index as usize];
        taken(first, bits(page.leaf, first), freed.swap(0, AcqRel));
    }
}

/// How many blocks that begin in a unit of a slab are in use: handed out, and freed by nobody.
/// (About, while others hand out and free.)
pub(crate) fn used_in(unit: Offset) -> u64 {
    let page = Page::of_unit(unit);
    let words = page.word()..page.word() + WORDS_IN_UNIT;
    let both = page.leaf.words[words.clone()].iter().zip(&page.leaf.freed[words]);
    both.map(|(used, freed)| u64::from((used.load(Relaxed) & !freed.load(Relaxed)).count_ones()))
        .sum()
}

impl Bits {
    /// As [`Bits::strike`], for all blocks of `many`. Returns those of which no bit was set.
    #[inline(always)]
    pub(crate) fn strike_all(self, many: u64) -> u64 {
        // Relaxed: as in `enter`.
        let bits = self.0.load(Relaxed);
        self.0.store(bits & !many, Relaxed);
        many & !bits
    }
}

/// Was the block at `at`, in a slab of ours, freed by somebody who does not own it?
pub(crate) fn is_freed(at: Offset) -> bool {
    Page::at(at).is_some_and(Page::is_freed)
}

/// The first place of those that `bits` has around `first`.
pub(crate) fn lowest(first: u64, bits: u64) -> Offset {
    debug_assert!(bits != 0 && bit(first) == 1);
    Offset(first + (u64::from(bits.trailing_zeros()) << GRANULE_BITS))
}
