//! What is where, summed up.
//!
//! Promises: one walk; allocates nothing; the sums tile the core: regions' own words, used and free
//! chunks together are every byte of it.
//! Knows nothing of who asked for what.

use crate::chunks::Chunks;
use crate::core::Core;
use crate::journal::Journal;
use crate::regions::REGION_COST;
use crate::size::{ALL_CLASSES, Class};
use crate::slab::Slab;
use crate::units::Units;
use crate::walk::{Broken, Part, Walk};

/// How many, and how many bytes together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The slabs of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassTally {
    /// The slabs and the bytes of their chunks.
    pub slabs: Tally,
    /// All blocks in them.
    pub blocks: u64,
    /// Those that are free.
    pub free_blocks: u64,
}

/// What a heap consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Census {
    /// The regions: all core of the chunk tier.
    pub regions: Tally,
    /// The used chunks that are no slabs.
    pub used: Tally,
    /// The free chunks, the top among them.
    pub free: Tally,
    /// The bytes of the largest free chunk.
    pub largest_free: u64,
    /// The bytes of the top.
    pub top: u64,
    /// The slabs of all classes.
    pub slabs: Tally,
    /// The slabs by class.
    pub classes: [ClassTally; ALL_CLASSES],
}

impl Tally {
    fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }
}

impl Default for Census {
    fn default() -> Self {
        Self {
            regions: Tally::default(),
            used: Tally::default(),
            free: Tally::default(),
            largest_free: 0,
            top: 0,
            slabs: Tally::default(),
            classes: [ClassTally::default(); ALL_CLASSES],
        }
    }
}

impl Census {
    /// Walks a heap and sums up what is there.
    ///
    /// # Errors
    /// The walk found something broken.
    pub fn take<J: Journal>(core: &Core<J>, chunks: Chunks, units: Units) -> Result<Self, Broken> {
        Self::take_by(core, chunks, units, |slab, class| in_masks(core, slab, class))
    }

    /// As `take`, for a face that knows of free blocks beside those in the masks: `free` counts
    /// those of a slab.
    ///
    /// # Errors
    /// The walk found something broken.
    pub fn take_by<J: Journal>(
        core: &Core<J>,
        chunks: Chunks,
        units: Units,
        mut free: impl FnMut(Slab, Class) -> u64,
    ) -> Result<Self, Broken> {
        let mut census = Self::default();
        for part in Walk::new(core, chunks, units) {
            census.count(part?, &mut free);
        }
        Ok(census)
    }

    /// The bytes of blocks and payloads that are in use.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        let in_chunks = self.used.bytes - self.used.count * crate::chunk::CHUNK_TAGS;
        let in_blocks = Class::all_and_fine().map(|class| {
            let tally = &self.classes[usize::from(class.number())];
            (tally.blocks - tally.free_blocks) * u64::from(class.shape().bytes)
        });
        in_chunks + in_blocks.sum::<u64>()
    }

    /// Do the parts tile the whole? All bytes of all regions are in a chunk or a fence.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let fences = self.regions.count * REGION_COST;
        self.used.bytes + self.free.bytes + self.slabs.bytes + fences == self.regions.bytes
    }

    fn count(&mut self, part: Part, free: &mut impl FnMut(Slab, Class) -> u64) {
        match part {
            Part::Region(region) => self.regions.add(region.bytes),
            Part::Used(chunk) => self.used.add(chunk.bytes),
            Part::Free(chunk) => self.count_free(chunk.bytes),
            Part::Top(chunk) => {
                self.count_free(chunk.bytes);
                self.top = chunk.bytes;
            }
            Part::Slab(chunk, slab, class) => {
                self.slabs.add(chunk.bytes);
                self.count_slab(class, chunk.bytes, free(slab, class));
            }
        }
    }

    fn count_free(&mut self, bytes: u64) {
        self.free.add(bytes);
        self.largest_free = self.largest_free.max(bytes);
    }

    fn count_slab(&mut self, class: Class, bytes: u64, free_blocks: u64) {
        let tally = &mut self.classes[usize::from(class.number())];
        tally.slabs.add(bytes);
        tally.blocks += u64::from(class.shape().blocks);
        tally.free_blocks += free_blocks;
    }
}

/// How many blocks of a slab are free in its masks.
fn in_masks<J: Journal>(core: &Core<J>, slab: Slab, class: Class) -> u64 {
    let shape = class.shape();
    let free =
        (0..u64::from(shape.words)).map(|word| slab.mask(core, word) & shape.full_mask(word));
    free.map(|mask| u64::from(mask.count_ones())).sum()
}
