//! A heap: all tiers together, and the source that feeds them.
//!
//! ```text
//!   allocate(bytes, align)
//!      | a class serves it          -> slabs: a block;  no slab has one -> seat a new slab
//!      | otherwise, or no room      -> chunks
//!      | no chunk is large enough   -> the source: more core;  none: give up kept slabs
//!
//!   free(payload)                   -> the unit map tells which tier
//! ```
//!
//! Promises: what does not fit is refused and harms nothing; a misuse changes nothing and is
//! named; at most one empty slab of each class is kept.
//! Knows nothing of threads, processes and systems. With a journal, begin and commit are the
//! caller's, and what the source gave is not taken back by a roll back: `reserve` first.

use core::ptr;

use crate::check::check;
use crate::chunk::CHUNK_LEAST;
use crate::chunks::Chunks;
use crate::core::Core;
use crate::fit::Fit;
use crate::journal::Journal;
use crate::layout::{CACHE_LINE, GRANULE, Offset, UNIT, WORD, align_up};
use crate::misuse::{Misuse, Wrong};
use crate::regions::{REGION_COST, core_for};
use crate::size::Class;
use crate::slab::Slab;
use crate::slabs::{Given, Slabs};
use crate::source::{Region, Source};
use crate::units::{LEAF_BYTES, Unit, Units};
use crate::walk::Broken;

/// The leaves of a map of all that 47 bits of address can name: a process's own half.
const PROCESS_LEAVES: u64 = 1 << 15;

/// A heap grows by this part of what it has, so that the number of its regions stays small and a
/// small program stays small.
const GROWTH_PART: u64 = 8;

/// The parts of a heap: small values that name their state in core.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    /// The medium tier.
    pub chunks: Chunks,
    /// The small tier.
    pub slabs: Slabs,
    /// The unit map.
    pub units: Units,
}

/// A heap with its core and its source. Whoever has it holds it.
#[derive(Debug)]
pub struct Heap<S, J> {
    core: Core<J>,
    source: S,
    parts: Parts,
}

impl<S: Source, J: Journal> Heap<S, J> {
    /// Makes a heap, its state in the first core that the source gives; `None` if that is too
    /// little.
    #[must_use]
    pub fn format(mut core: Core<J>, mut source: S, fit: Fit) -> Option<Self> {
        let map_bytes =
            if core.is_process() { PROCESS_LEAVES * WORD } else { Units::bytes(core.bytes()) };
        let bytes = Chunks::BYTES + Slabs::BYTES + map_bytes + CACHE_LINE;
        let region = source.more_core(bytes)?;
        let state = region.begin.align_up(CACHE_LINE);
        let slabs = Slabs::at(state + Chunks::BYTES);
        let map = state + Chunks::BYTES + Slabs::BYTES;
        let units = if core.is_process() {
            Units::new(map, PROCESS_LEAVES)
        } else {
            let bytes = core.bytes();
            Units::format(&mut core, map, bytes)
        };
        let chunks = Chunks::format(&mut core, state, fit);
        let mut heap = Self { core, source, parts: Parts { chunks, slabs, units } };
        heap.add(Region::between(map + map_bytes, region.end()));
        Some(heap)
    }

    /// A payload of at least `bytes` bytes at a multiple of `align`, a power of two; `None` if
    /// there is no room and the source gives no more.
    #[inline]
    pub fn allocate(&mut self, bytes: u64, align: u64) -> Option<Offset> {
        let Some(class) = Class::aligned(bytes, align) else {
            return self.allocate_chunk(bytes, align);
        };
        if let Some(block) = self.parts.slabs.take(&mut self.core, class) {
            return Some(block);
        }
        if self.seat(class) {
            return self.parts.slabs.take(&mut self.core, class);
        }
        self.allocate_chunk(bytes, align)
    }

    /// Gives a payload back.
    ///
    /// # Errors
    /// It is none, or free already; nothing was changed.
    #[inline]
    pub fn free(&mut self, payload: Offset) -> Result<(), Misuse> {
        let Some((slab, class)) = self.parts.units.slab_of(&self.core, payload) else {
            return self.free_chunk(payload);
        };
        if self.parts.slabs.give(&mut self.core, slab, class, payload)? == Given::Empty {
            self.unseat(slab, class)?;
        }
        Ok(())
    }

    /// Makes a payload larger or smaller; it may move, and its contents with it. `None` if there is
    /// no room: then it stays as it was.
    ///
    /// # Errors
    /// It is none, or free already; nothing was changed.
    pub fn resize(&mut self, payload: Offset, bytes: u64) -> Result<Option<Offset>, Misuse> {
        let earlier = self.payload_bytes(payload)?;
        if self.stays(payload, earlier, bytes)? {
            return Ok(Some(payload));
        }
        let Some(moved) = self.allocate(bytes, GRANULE) else { return Ok(None) };
        let count = earlier.min(bytes);
        let (from, to) = (self.core.pointer(payload, count), self.core.pointer(moved, count));
        // SAFETY: both payloads have `count` bytes in the core, and are not the same.
        unsafe { ptr::copy_nonoverlapping(from, to, count as usize) };
        self.free(payload)?;
        Ok(Some(moved))
    }

    /// How many bytes a payload has.
    ///
    /// # Errors
    /// It is none, or free already.
    pub fn payload_bytes(&self, payload: Offset) -> Result<u64, Misuse> {
        let Some((slab, class)) = self.parts.units.slab_of(&self.core, payload) else {
            return self.parts.chunks.payload_bytes(&self.core, payload);
        };
        let place = slab.place(class, payload)?;
        if slab.mask(&self.core, place.word) & place.bit != 0 {
            return Err(slab.twice(class, payload));
        }
        Ok(u64::from(class.shape().bytes))
    }

    /// Asks the source for core now; `false` if it has not so much in one piece.
    pub fn reserve(&mut self, bytes: u64) -> bool {
        let Some(region) = self.source.more_core(bytes) else { return false };
        self.add(region)
    }

    /// Gives core back to the source: empty slabs that are kept, and of the top all but `keep`
    /// bytes, in whole pages of `page` bytes. `true` if the source took some.
    pub fn trim(&mut self, keep: u64, page: u64) -> bool {
        self.unseat_kept();
        let Some(spare) = self.parts.chunks.spare_top(&self.core, keep, page) else { return false };
        self.parts.chunks.cut_top(&mut self.core, spare);
        if self.source.less_core(spare) {
            return true;
        }
        self.parts.chunks.add_region(&mut self.core, spare);
        false
    }

    /// Proves every invariant.
    ///
    /// # Errors
    /// The first that does not hold.
    pub fn check(&self) -> Result<(), Broken> {
        check(&self.core, self.parts.chunks, self.parts.units, &[self.parts.slabs])
    }

    /// What it consists of.
    #[must_use]
    pub fn parts(&self) -> Parts {
        self.parts
    }

    /// Its core, to walk it.
    #[must_use]
    pub fn core(&self) -> &Core<J> {
        &self.core
    }

    /// Its core, to begin and commit a change.
    pub fn core_mut(&mut self) -> &mut Core<J> {
        &mut self.core
    }

    #[inline(never)]
    fn allocate_chunk(&mut self, bytes: u64, align: u64) -> Option<Offset> {
        let payload = self.parts.chunks.allocate(&mut self.core, bytes, align);
        if payload.is_some() {
            return payload;
        }
        if self.grow_for(bytes, align) || self.unseat_kept() {
            return self.parts.chunks.allocate(&mut self.core, bytes, align);
        }
        None
    }

    /// Gets core for a request; `true` if there is a chance now that it fits.
    fn grow_for(&mut self, bytes: u64, align: u64) -> bool {
        if bytes.max(align) > crate::layout::REQUEST_MOST {
            return false;
        }
        let needed = core_for(bytes, align);
        let growth = self.parts.chunks.core_bytes(&self.core) / GROWTH_PART;
        let generous = align_up(needed.max(growth), UNIT);
        if self.reserve(generous) || self.reserve(needed) {
            return true;
        }
        // The last of a source that goes on where it ended is enough together with the top.
        let top = self.parts.chunks.top(&self.core).map_or(0, |top| top.bytes);
        self.reserve(needed.saturating_sub(top).max(REGION_COST + CHUNK_LEAST))
    }

    /// Makes a new slab for a class; `false` if there is no room.
    #[cold]
    fn seat(&mut self, class: Class) -> bool {
        let bytes = class.shape().payload_bytes();
        let Some(payload) = self.allocate_chunk(bytes, UNIT) else { return false };
        let Parts { slabs, units, .. } = self.parts;
        slabs.seat(&mut self.core, units, class, payload, 0);
        true
    }

    fn unseat(&mut self, slab: Slab, class: Class) -> Result<(), Misuse> {
        let Parts { chunks, slabs, units } = self.parts;
        slabs.unseat(&mut self.core, units, slab, class);
        chunks.free(&mut self.core, slab.begin()).map(drop)
    }

    /// Gives up the empty slabs that are kept; `true` if there was one.
    fn unseat_kept(&mut self) -> bool {
        let mut had_one = false;
        for class in Class::all() {
            while let Some(slab) = self.parts.slabs.spare(&self.core, class) {
                had_one |= self.unseat(slab, class).is_ok();
            }
        }
        had_one
    }

    fn free_chunk(&mut self, payload: Offset) -> Result<(), Misuse> {
        if self.parts.units.entry(&self.core, payload) != Unit::CHUNKS {
            return Err(Misuse::new(Wrong::Foreign, payload));
        }
        self.parts.chunks.free(&mut self.core, payload).map(drop)
    }

    /// Can the payload have its new size where it is?
    fn stays(&mut self, payload: Offset, earlier: u64, bytes: u64) -> Result<bool, Misuse> {
        if self.parts.units.entry(&self.core, payload).is_slab() {
            let class = Class::of(bytes);
            return Ok(class.is_some_and(|class| u64::from(class.shape().bytes) == earlier));
        }
        self.parts.chunks.resize_in_place(&mut self.core, payload, bytes)
    }

    /// Adds a region, and maps it; `false` if there is no core for the map.
    fn add(&mut self, region: Region) -> bool {
        let Parts { chunks, units, .. } = self.parts;
        if region.bytes < GRANULE {
            return false;
        }
        while let Some(index) = units.missing_leaf(&self.core, region) {
            let Some(leaf) = self.source.more_core(LEAF_BYTES) else { return false };
            units.add_leaf(&mut self.core, index, leaf.begin.align_up(WORD));
        }
        units.mark(&mut self.core, region, Unit::CHUNKS);
        chunks.add_region(&mut self.core, region);
        true
    }
}
