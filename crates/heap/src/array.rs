//! A heap in an array, all of its requests served by the chunk tier: what a comparison of fits
//! stands on.
//!
//! ```text
//!   | state, map | used | free | used | ... used |         top: core not needed yet         |
//!                |<---------- footprint -------->|
//! ```
//!
//! Promises: safe to use with whatever numbers, because the array is borrowed for as long as the
//! heap lives, and every offset is checked against its bounds. The top is used last under every
//! fit, so where it begins is how much core a growing heap would have taken.
//! Knows nothing of slabs: there the fit has no say.

use core::marker::PhantomData;
use core::ptr;

use crate::core::Core;
use crate::fit::Fit;
use crate::heap::Heap;
use crate::journal::NoJournal;
use crate::layout::{CACHE_LINE, GRANULE, Offset};
use crate::misuse::Misuse;
use crate::regions::REGION_COST;
use crate::source::{Fixed, Region};
use crate::walk::{Broken, Walk};

/// A heap in an array of granules.
#[derive(Debug)]
pub struct ArrayHeap<'a> {
    heap: Heap<Fixed, NoJournal>,
    array: PhantomData<&'a mut [u128]>,
}

impl<'a> ArrayHeap<'a> {
    /// Makes a heap in `array`; `None` if it is too short to hold a heap's own state.
    #[must_use]
    pub fn new(array: &'a mut [u128], fit: Fit) -> Option<Self> {
        // Core that is handed out for the first time reads as zero.
        array.fill(0);
        let bytes = size_of_val(array) as u64;
        let base = array.as_mut_ptr().cast();
        // SAFETY: a `u128` is aligned to 16; the array is borrowed, for us alone, for as long as
        // this heap lives.
        let core = unsafe { Core::new(base, bytes, NoJournal) };
        // Offset 0 means none, so nothing may begin there.
        let stretch = Region::between(Offset(CACHE_LINE), Offset(bytes.max(CACHE_LINE)));
        // SAFETY: the same array, filled with zeroes above; nobody else hands it out.
        let source = unsafe { Fixed::new(stretch) };
        let mut heap = Heap::format(core, source, fit)?;
        // All of it at once: halves, because only the source knows how much is left. Each borders
        // on the one before, so it makes one region.
        let mut piece = bytes;
        while piece >= GRANULE {
            if !heap.reserve(piece) {
                piece /= 2;
            }
        }
        Some(Self { heap, array: PhantomData })
    }

    /// A payload of at least `bytes` bytes; `None` if there is no room.
    pub fn allocate(&mut self, bytes: u64) -> Option<Offset> {
        let chunks = self.heap.parts().chunks;
        chunks.allocate(self.heap.core_mut(), bytes, GRANULE)
    }

    /// Gives a payload back.
    ///
    /// # Errors
    /// It is none, or free already; nothing was changed.
    pub fn free(&mut self, payload: Offset) -> Result<(), Misuse> {
        let chunks = self.heap.parts().chunks;
        chunks.free(self.heap.core_mut(), payload).map(drop)
    }

    /// Makes a payload larger or smaller, where it is if there is room; `None` if there is none
    /// anywhere, and then it stays as it was.
    ///
    /// # Errors
    /// It is none, or free already; nothing was changed.
    pub fn resize(&mut self, payload: Offset, bytes: u64) -> Result<Option<Offset>, Misuse> {
        let chunks = self.heap.parts().chunks;
        let core = self.heap.core_mut();
        let count = chunks.payload_bytes(core, payload)?.min(bytes);
        if chunks.resize_in_place(core, payload, bytes)? {
            return Ok(Some(payload));
        }
        let Some(moved) = chunks.allocate(core, bytes, GRANULE) else { return Ok(None) };
        let (from, to) = (core.pointer(payload, count), core.pointer(moved, count));
        // SAFETY: both payloads have `count` bytes in the core, and are not the same.
        unsafe { ptr::copy_nonoverlapping(from, to, count as usize) };
        chunks.free(core, payload).map(|_| Some(moved))
    }

    /// How many bytes of core are needed for what is there: from the first chunk up to the top.
    #[must_use]
    pub fn footprint_bytes(&self) -> u64 {
        let (core, chunks) = (self.heap.core(), self.heap.parts().chunks);
        let top = chunks.top(core).map_or(0, |top| top.bytes);
        chunks.core_bytes(core) - top - REGION_COST
    }

    /// Every chunk, in the order of their offsets.
    #[must_use]
    pub fn walk(&self) -> Walk<'_, NoJournal> {
        let parts = self.heap.parts();
        Walk::new(self.heap.core(), parts.chunks, parts.units)
    }

    /// Proves every invariant.
    ///
    /// # Errors
    /// The first that does not hold.
    pub fn check(&self) -> Result<(), Broken> {
        self.heap.check()
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;
    use crate::misuse::Wrong;

    #[test]
    fn an_array_is_a_heap_from_one_footprint_to_the_next() {
        let mut array = vec![1; 4096];
        let mut heap = ArrayHeap::new(&mut array, Fit::Best).unwrap();
        assert_eq!(heap.footprint_bytes(), 0);
        let first = heap.allocate(96).unwrap();
        let second = heap.allocate(96).unwrap();
        assert_eq!(heap.footprint_bytes(), 224);
        assert_eq!(heap.resize(second, 200), Ok(Some(second)));
        heap.free(first).unwrap();
        assert_eq!(heap.footprint_bytes(), 336);
        assert_eq!(heap.free(first).unwrap_err().wrong, Wrong::DoubleFree);
        assert_eq!(heap.resize(second, 1 << 20), Ok(None));
        heap.check().unwrap();
        heap.free(second).unwrap();
        assert_eq!(heap.footprint_bytes(), 0);
    }

    #[test]
    fn a_short_array_is_no_heap() {
        assert!(ArrayHeap::new(&mut [], Fit::Bins).is_none());
        assert!(ArrayHeap::new(&mut [0; 100], Fit::Bins).is_none());
    }
}
