//! The unit map: for any place, whether it is ours, and in which slab it lies.
//!
//! ```text
//!   offset:    | leaf: bits 32.. | entry: bits 16..32 | inside the unit: bits 0..16 |
//!
//!   root       [ leaf 0 ][ leaf 1 ][ none ] ...       one word a leaf: its offset
//!                 |
//!                 v
//!   leaf       [ entry ][ entry ] ... 65536 of them   16 bits a unit
//!
//!   entry      1 | back, 7 bits | class, 8 bits       a slab, `back` units before this one
//!              0 | ...                          2     a large payload with its own mapping
//!              0 | ...                          1     chunks
//!              0 | ...                          0     foreign
//! ```
//!
//! Promises: a look-up is two loads, for any offset at all, and never leaves the map.
//! Knows nothing of what a slab holds. The leaves are its giver's: 128 KiB of zeros each, of which
//! only what is used is ever touched.

use core::sync::atomic::Ordering::Relaxed;

use crate::core::Core;
use crate::journal::Journal;
use crate::layout::{Offset, UNIT, UNIT_BITS, WORD, align_up};
use crate::size::Class;
use crate::slab::Slab;
use crate::source::Region;

/// The units that one leaf maps, as a shift: with 16 bits in the unit, a leaf maps 4 GiB.
const LEAF_BITS: u32 = 16;

/// The bytes of an entry.
const ENTRY: u64 = 2;

/// The bytes of a leaf.
pub const LEAF_BYTES: u64 = ENTRY << LEAF_BITS;

/// The bytes of core that a leaf maps.
pub const LEAF_CORE: u64 = UNIT << LEAF_BITS;

/// What the map says of one unit.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit(u16);

/// The unit map of a heap: a small value that names its place in core.
#[derive(Clone, Copy, Debug)]
pub struct Units {
    root: Offset,
    leaves: u64,
}

impl Unit {
    /// Not in core of ours.
    pub const FOREIGN: Self = Self(0);
    /// In a region of ours, and in no slab.
    pub const CHUNKS: Self = Self(1);
    /// In a large payload with a mapping of its own.
    pub const LARGE: Self = Self(2);

    const SLAB: u16 = 1 << 15;

    /// In a slab of `class` that begins `back` units before.
    #[must_use]
    pub const fn slab(class: Class, back: u16) -> Self {
        Self(Self::SLAB | back << 8 | class.number() as u16)
    }

    /// Is it in a slab?
    #[inline(always)]
    #[must_use]
    pub const fn is_slab(self) -> bool {
        self.0 & Self::SLAB != 0
    }

    /// The class of the slab; `None` if this is no slab.
    #[inline(always)]
    #[must_use]
    pub const fn class(self) -> Option<Class> {
        if self.is_slab() { Class::from_number(self.0 as u8) } else { None }
    }

    /// How many units before this one the slab begins.
    #[inline(always)]
    #[must_use]
    pub const fn back(self) -> u64 {
        (self.0 >> 8 & 0x7f) as u64
    }
}

impl Units {
    /// The map whose root of `leaves` words stands at `root`; words of zero are absent leaves.
    #[inline(always)]
    #[must_use]
    pub const fn new(root: Offset, leaves: u64) -> Self {
        Self { root, leaves }
    }

    /// The bytes of a map of `core_bytes` bytes, root and leaves in one piece (see `format`).
    #[must_use]
    pub const fn bytes(core_bytes: u64) -> u64 {
        let leaves = core_bytes.div_ceil(LEAF_CORE);
        leaves * WORD + align_up(core_bytes.div_ceil(UNIT) * ENTRY, WORD)
    }

    /// Makes the map of all of a core of `core_bytes` bytes, in `Self::bytes(core_bytes)` zero
    /// bytes at `at`.
    pub fn format<J: Journal>(core: &mut Core<J>, at: Offset, core_bytes: u64) -> Self {
        let units = Self::new(at, core_bytes.div_ceil(LEAF_CORE));
        let first = at.word(units.leaves);
        for index in 0..units.leaves {
            units.add_leaf(core, index, first + index * LEAF_BYTES);
        }
        units
    }

    /// What the map says of the unit that contains `at`.
    #[inline(always)]
    #[must_use]
    pub fn entry<J: Journal>(self, core: &Core<J>, at: Offset) -> Unit {
        let index = at.0 >> (UNIT_BITS + LEAF_BITS);
        if index >= self.leaves {
            return Unit::FOREIGN;
        }
        // Relaxed: whoever asks about a place of ours was told of it after the map was.
        let leaf = Offset(core.word(self.root.word(index)).load(Relaxed));
        if leaf.is_none() {
            return Unit::FOREIGN;
        }
        Unit(core.read_u16(entry_at(leaf, at)))
    }

    /// The slab that contains `at`, and its class.
    #[inline(always)]
    #[must_use]
    pub fn slab_of<J: Journal>(self, core: &Core<J>, at: Offset) -> Option<(Slab, Class)> {
        let unit = self.entry(core, at);
        let begin = at.align_down(UNIT).0.wrapping_sub(unit.back() * UNIT);
        Some((Slab::at(Offset(begin)), unit.class()?))
    }

    /// As `slab_of`, for who does not trust the map: `None` also if it leads out of the core.
    #[must_use]
    pub(crate) fn try_slab_of<J: Journal>(
        self,
        core: &Core<J>,
        at: Offset,
    ) -> Option<(Slab, Class)> {
        let unit = self.try_entry(core, at)?;
        let begin = at.align_down(UNIT).0.wrapping_sub(unit.back() * UNIT);
        Some((Slab::at(Offset(begin)), unit.class()?))
    }

    /// As `entry`, for who does not trust the map: `None` if it leads out of the core.
    #[must_use]
    pub(crate) fn try_entry<J: Journal>(self, core: &Core<J>, at: Offset) -> Option<Unit> {
        let index = at.0 >> (UNIT_BITS + LEAF_BITS);
        if index >= self.leaves {
            return Some(Unit::FOREIGN);
        }
        let leaf = Offset(core.try_read(self.root.word(index))?);
        if leaf.is_none() {
            return Some(Unit::FOREIGN);
        }
        let is_sound = leaf.is_aligned(WORD) && core.contains(leaf, WORD);
        if !is_sound || !core.contains(entry_at(leaf, at), ENTRY) {
            return None;
        }
        Some(Unit(core.read_u16(entry_at(leaf, at))))
    }

    /// A leaf that is needed to map `region` and is not there yet.
    #[must_use]
    pub fn missing_leaf<J: Journal>(self, core: &Core<J>, region: Region) -> Option<u64> {
        let first = region.begin.0 / LEAF_CORE;
        let last = (region.end().0 - 1) / LEAF_CORE;
        (first..=last).filter(|index| *index < self.leaves).find(|index| {
            let leaf = core.read(self.root.word(*index));
            leaf == 0
        })
    }

    /// Puts a leaf of [`LEAF_BYTES`] zero bytes into the root.
    pub fn add_leaf<J: Journal>(self, core: &mut Core<J>, index: u64, leaf: Offset) {
        core.write_shared(self.root.word(index), leaf.0);
    }

    /// Says `unit` of each unit that `region` touches. The leaves are there.
    pub fn mark<J: Journal>(self, core: &mut Core<J>, region: Region, unit: Unit) {
        let mut at = region.begin.align_down(UNIT);
        while at < region.end() {
            self.set(core, at, unit);
            at = at + UNIT;
        }
    }

    /// Says of the units of a slab that they are its.
    pub(crate) fn mark_slab<J: Journal>(self, core: &mut Core<J>, slab: Slab, class: Class) {
        for back in 0..u16::from(class.shape().units) {
            self.set(core, slab.begin() + u64::from(back) * UNIT, Unit::slab(class, back));
        }
    }

    fn set<J: Journal>(self, core: &mut Core<J>, at: Offset, unit: Unit) {
        let index = at.0 / LEAF_CORE;
        let leaf = Offset(core.read(self.root.word(index)));
        if index >= self.leaves || leaf.is_none() {
            crate::abort::broken("mapped", at);
        }
        if core.read_u16(entry_at(leaf, at)) != unit.0 {
            core.write_u16(entry_at(leaf, at), unit.0);
        }
    }
}

/// The place of the entry for `at` in its leaf.
#[inline(always)]
fn entry_at(leaf: Offset, at: Offset) -> Offset {
    leaf + (at.0 >> UNIT_BITS & ((1 << LEAF_BITS) - 1)) * ENTRY
}
