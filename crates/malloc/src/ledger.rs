//! The ledger: of each granule of core, whether a payload in use begins there; and of each unit,
//! whose slab it is in.
//!
//! ```text
//!   address:   | leaf: bits 29..48 | unit: bits 16..29 | granule: bits 4..16 | 0 |
//!
//!   root       [ leaf 0 ][ leaf 1 ][ none ] ...      one word for each 512 MiB
//!                 |
//!                 v
//!   leaf       [ used ] x 32 Mi                      one bit a granule, 1: a payload in use begins
//!              [ freed ] x 32 Mi                     one bit a granule: see `freed.rs`
//!              [ owner | mark ] x 8192               32 bits a unit; 0: in no slab of a thread
//!              [ freed in it ] x 8192                a line of the cache a unit
//! ```
//!
//! A block is used from when it is handed out until its owner has it back, be it by a free of its
//! own or by collecting what others freed. It is free in its slab's mask, or in a magazine. A chunk
//! is used from when it is handed out until anybody frees it.
//!
//! Promises: whether a free is right is one bit, which also tells a begin from an interior, without
//! a look at the slab, its header, a tag or the block. The bits of a slab are written by its owner
//! only; no two chunks have their bits in one word, for they are at least 1 KiB apart.
//! Knows nothing of masks and of who may own a slab.

pub(crate) mod freed;

use core::cell::Cell;
use core::ptr;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64};

use morecore_heap::abort::broken;
use morecore_heap::layout::UNIT_BITS;
use morecore_heap::{Class, Offset, Region, Slab, UNIT};
use morecore_sys::memory::{self, Advice};

use crate::line::keeping_errno;

/// The bytes that one leaf tells of, as a shift. A leaf of 512 MiB needs 8.5 MiB of addresses and
/// the root 4: together about the least that a choice of this can make it.
const LEAF_BITS: u32 = 29;

/// The bits of an address that a process can have.
const ADDRESS_BITS: u32 = 48;

/// The bytes that one word of bits tells of, as a shift.
pub(crate) const WORD_BITS: u32 = 10;

/// The bytes of a granule, as a shift.
const GRANULE_BITS: u32 = 4;

/// Entries of a leaf: one for each unit.
const ENTRIES: usize = 1 << (LEAF_BITS - UNIT_BITS);

/// Words of bits of a leaf.
const WORDS: usize = 1 << (LEAF_BITS - WORD_BITS);

/// What an owner has for a class takes this many bits of an entry, the owner all above.
const OWNER_SHIFT: u32 = 16;

/// The ledger's part for 512 MiB. The bits come first: that saves an addition at each free.
#[repr(C)]
struct Leaf {
    words: [AtomicU64; WORDS],
    freed: [AtomicU64; WORDS],
    entries: [AtomicU32; ENTRIES],
    units: [freed::Freed; ENTRIES],
}

/// A word of it for each leaf: 4 MiB, of which a page or two are ever touched.
static ROOT: [AtomicPtr<Leaf>; 1 << (ADDRESS_BITS - LEAF_BITS)] =
    [const { AtomicPtr::new(ptr::null_mut()) }; 1 << (ADDRESS_BITS - LEAF_BITS)];

/// What an owner has in its record, to know the entries that are its.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(u32);

impl Stamp {
    /// Whoever has this owns no slab of the ledger.
    pub(crate) const NOBODY: Self = Self(u32::MAX << OWNER_SHIFT);

    /// The stamp of owner `number`. Those after the first 65,534 have no stamp of their own: the
    /// ledger does not know their slabs, and their blocks take the slower path.
    pub(crate) fn of(number: u64) -> Self {
        if number == 0 || number >= 0xffff {
            return Self::NOBODY;
        }
        Self((number as u32) << OWNER_SHIFT)
    }
}

/// The bits of some 64 granules.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bits(&'static AtomicU64);

impl Bits {
    /// Sets the bit of the block at `at`: it is used from now on. The caller owns it.
    #[inline(always)]
    pub(crate) fn enter(self, at: u64) {
        // Relaxed, and no read-modify-write in one: only the owner of the slab writes here.
        self.0.store(self.0.load(Relaxed) | bit(at), Relaxed);
    }

    /// Clears the bit of the block at `at`, if there is one: `false` if no block in use begins
    /// there. The caller owns the slab.
    #[inline(always)]
    pub(crate) fn strike(self, at: u64) -> bool {
        let bits = self.0.load(Relaxed);
        let struck = bits & !bit(at);
        if struck == bits {
            return false;
        }
        // Relaxed: as in `enter`.
        self.0.store(struck, Relaxed);
        true
    }

    /// As [`Bits::strike`], for a chunk, which has no owner: of two who free it in the same moment
    /// one is told so.
    #[inline(always)]
    pub(crate) fn strike_shared(self, at: u64) -> bool {
        // AcqRel: whoever gets the chunk next sees all that its last user did to it.
        self.0.fetch_and(!bit(at), AcqRel) & bit(at) != 0
    }

    /// Does a payload in use begin at `at`?
    #[inline(always)]
    pub(crate) fn has(self, at: u64) -> bool {
        self.0.load(Relaxed) & bit(at) != 0
    }

    /// Where it stands, to be kept beside a block of its granules.
    #[inline(always)]
    pub(crate) fn place(self) -> *const AtomicU64 {
        self.0
    }

    /// The bits that stand at `place`.
    ///
    /// # Safety
    /// - `place` is what [`Bits::place`] told.
    #[inline(always)]
    pub(crate) unsafe fn at(place: *const AtomicU64) -> Self {
        // SAFETY: the caller's duty; a leaf is never given back.
        Self(unsafe { &*place })
    }
}

/// A leaf, once looked up, for who asks about blocks beside each other.
#[derive(Clone, Copy)]
pub(crate) struct Look {
    leaf: &'static Leaf,
    index: u64,
}

impl Look {
    /// The leaf that tells of `at`, which is in a slab of ours.
    #[inline]
    pub(crate) fn at(at: u64) -> Self {
        match leaf(at) {
            Some(leaf) => Self { leaf, index: at >> LEAF_BITS },
            None => broken("opened", Offset(at)),
        }
    }

    /// Does the leaf tell of `at` as well?
    pub(crate) fn covers(self, at: u64) -> bool {
        at >> LEAF_BITS == self.index
    }

    /// The bits of the granules around `at`, of which the leaf tells.
    #[inline(always)]
    pub(crate) fn bits(self, at: u64) -> Bits {
        debug_assert!(self.covers(at));
        bits(self.leaf, at)
    }
}

/// The leaf that an owner learned of last: mostly there is one for all that it has.
///
/// # Invariants
/// - `numbered`: the leaf is that of `number`; where there is none, the number is no leaf's.
pub(crate) struct Known {
    number: Cell<u64>,
    leaf: Cell<*const Leaf>,
}

impl Known {
    pub(crate) const fn none() -> Self {
        Self { number: Cell::new(u64::MAX), leaf: Cell::new(ptr::null()) }
    }

    /// Learns of the leaf that tells of `at`; `false` if it is known, or there is none.
    #[inline(always)]
    pub(crate) fn learn(&self, at: u64) -> bool {
        at >> LEAF_BITS != self.number.get() && self.learn_other(at)
    }

    #[cold]
    #[inline(never)]
    fn learn_other(&self, at: u64) -> bool {
        let Some(leaf) = leaf(at) else { return false };
        self.leaf.set(leaf);
        self.number.set(at >> LEAF_BITS);
        true
    }
}

/// What the owner with `stamp` has for the class of the block at `at` (see [`assign`]), and the
/// bits of its granules, if the slab that it is in is its, and the leaf known. `None` also if `at`
/// is no granule's begin.
#[inline(always)]
pub(crate) fn look(at: u64, known: &Known, stamp: Stamp) -> Option<(u32, Bits)> {
    // What is not aligned has a number that is beyond all granules: one question for both.
    let granule = at.rotate_right(GRANULE_BITS);
    if granule >> (LEAF_BITS - GRANULE_BITS) != known.number.get() {
        return None;
    }
    // SAFETY: by `numbered` it is a leaf, which is never given back.
    let leaf = unsafe { &*known.leaf.get() };
    let unit = (granule >> (UNIT_BITS - GRANULE_BITS)) as usize % ENTRIES;
    // Relaxed: only its owner ever says of a slab that it is its own.
    let entry = leaf.entries[unit].load(Relaxed) ^ stamp.0;
    if entry >> OWNER_SHIFT != 0 {
        return None;
    }
    let word = (granule >> (WORD_BITS - GRANULE_BITS)) as usize % WORDS;
    Some((entry, Bits(&leaf.words[word])))
}

/// The bits of the granules around `at`, which is in core of ours.
#[inline]
pub(crate) fn bits_of(at: u64) -> Bits {
    Look::at(at).bits(at)
}

/// Does a payload in use begin at `at`, a granule in core of ours?
pub(crate) fn is_used(at: Offset) -> bool {
    bits_of(at.0).has(at.0)
}

/// Says of the units of a slab that it belongs to the owner with `stamp`, who wants to be told
/// `mark` of its blocks: a number below 2^16.
pub(crate) fn assign(slab: Slab, class: Class, stamp: Stamp, mark: u32) {
    debug_assert!(mark >> OWNER_SHIFT == 0);
    write(slab, class, if stamp == Stamp::NOBODY { 0 } else { stamp.0 | mark });
}

/// Says of the units of a slab that they are in none any more.
pub(crate) fn retract(slab: Slab, class: Class) {
    write(slab, class, 0);
}

fn write(slab: Slab, class: Class, entry: u32) {
    for unit in 0..u64::from(class.shape().units) {
        let at = slab.begin().0 + unit * UNIT;
        if let Some(leaf) = leaf(at) {
            leaf.entries[(at >> UNIT_BITS) as usize % ENTRIES].store(entry, Relaxed);
        }
    }
}

/// Makes the leaves for a region of core; `false` if there is no core for them. Whoever calls this
/// holds the arena.
pub(crate) fn open(region: Region) -> bool {
    let first = region.begin.0 >> LEAF_BITS;
    let last = (region.end().0 - 1) >> LEAF_BITS;
    (first..=last).all(|index| {
        let Some(root) = ROOT.get(index as usize) else { return false };
        if root.load(Relaxed).is_null() {
            let bytes = size_of::<Leaf>() as u64;
            let Ok(leaf) = keeping_errno(|| memory::map(0, bytes)) else { return false };
            // Release pairs with the Acquire in `leaf`. All zeros are a leaf.
            root.store(ptr::with_exposed_provenance_mut(leaf as usize), Release);
        }
        true
    })
}

/// Gives those pages of bits back that tell of nothing but `free`, a part of a free chunk: no bit
/// of them is set, so they are zeros again when somebody looks. Whoever calls this holds the arena.
pub(crate) fn give_back(free: Region) {
    let page = memory::page_bytes();
    let told = (page / size_of::<u64>() as u64) << WORD_BITS;
    let (mut begin, end) = (free.begin.align_up(told), free.end().align_down(told));
    while begin < end {
        let stop = end.min(Offset(((begin.0 >> LEAF_BITS) + 1) << LEAF_BITS));
        let Some(leaf) = leaf(begin.0) else { return };
        let (first, bytes) =
            ((begin.0 >> WORD_BITS) as usize % WORDS, (stop - begin) / told * page);
        for words in [&leaf.words, &leaf.freed] {
            let at = ptr::from_ref(&words[first]).addr() as u64;
            // SAFETY: both rows of words begin on a page; nobody sets a bit of a free chunk before
            // the arena has handed it out, and whoever reads one finds 0 before and after.
            let advise = || unsafe { memory::advise(at, bytes, Advice::Unneeded) };
            // What is locked stays: it is right.
            let _ = keeping_errno(advise);
        }
        begin = stop;
    }
}

#[inline(always)]
fn leaf(at: u64) -> Option<&'static Leaf> {
    let root = ROOT.get((at >> LEAF_BITS) as usize)?;
    // SAFETY: a leaf is a mapping of its own, all zeros at first, which is never given back.
    unsafe { root.load(Acquire).as_ref() }
}

#[inline(always)]
fn bits(leaf: &'static Leaf, at: u64) -> Bits {
    Bits(&leaf.words[(at >> WORD_BITS) as usize % WORDS])
}

#[inline(always)]
const fn bit(at: u64) -> u64 {
    1 << ((at >> GRANULE_BITS) % 64)
}
