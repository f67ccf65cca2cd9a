//! Every region, chunk and slab of a heap, in address order.
//!
//! ```text
//!   Region  Used Slab Free Used ... Free(top)   Region  Used Free ...
//! ```
//!
//! Of a used chunk in which several slabs stand, unit by unit, each is a part of its own, as if it
//! had a chunk; and so is what is between them.
//!
//! Promises: allocates nothing; trusts nothing: whatever the words say, a walk ends, stays inside
//! the core, and says what is broken instead of following it.
//! Knows nothing of bins and rings: that is `check.rs`.

use core::fmt;

use crate::chunk::{Chunk, Tag};
use crate::chunks::Chunks;
use crate::core::Core;
use crate::journal::Journal;
use crate::layout::{GRANULE, Offset, UNIT, WORD};
use crate::regions::{BYTES, FIRST_FENCE, NEXT, REGION_COST};
use crate::size::Class;
use crate::slab::Slab;
use crate::source::Region;
use crate::units::Units;

/// An invariant that does not hold, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Its name, as the type that it belongs to gives it.
    pub invariant: &'static str,
    /// Where it was seen not to hold.
    pub at: Offset,
}

/// What a walk comes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A region begins; its chunks follow.
    Region(Region),
    /// A free chunk.
    Free(Chunk),
    /// The free chunk that borders on core that can still grow.
    Top(Chunk),
    /// A used chunk.
    Used(Chunk),
    /// A used chunk that is a slab.
    Slab(Chunk, Slab, Class),
}

/// A walk over all regions of a chunk tier.
#[derive(Debug)]
pub struct Walk<'a, J> {
    core: &'a Core<J>,
    units: Units,
    fence: Offset,
    /// Where the next region is named.
    link: Offset,
    /// The next region must begin here or later.
    floor: Offset,
    /// The next chunk of the region that is walked, and the region's last fence.
    at: Offset,
    end: Offset,
    /// What is left of a used chunk of which a part was told; none if it has no bytes.
    rest: Chunk,
}

/// No part of a chunk.
const NOTHING: Chunk = Chunk { begin: Offset::NONE, bytes: 0 };

impl Broken {
    /// Says so as an error.
    pub(crate) fn at<T>(invariant: &'static str, at: Offset) -> Result<T, Self> {
        Err(Self { invariant, at })
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invariant `{}` broken at {}", self.invariant, self.at)
    }
}

impl core::error::Error for Broken {}

impl<'a, J: Journal> Walk<'a, J> {
    /// A walk over all that `chunks` has; `units` tells which chunks are slabs.
    #[must_use]
    pub fn new(core: &'a Core<J>, chunks: Chunks, units: Units) -> Self {
        Self {
            core,
            units,
            fence: chunks.fence(core),
            link: chunks.regions_at(),
            floor: Offset(1),
            at: Offset::NONE,
            end: Offset::NONE,
            rest: NOTHING,
        }
    }

    /// The word at `at`.
    fn read(&self, at: Offset) -> Result<u64, Broken> {
        self.core.try_read(at).ok_or(Broken { invariant: "inside", at })
    }

    fn enter_region(&mut self) -> Result<Option<Part>, Broken> {
        let begin = Offset(self.read(self.link)?);
        if begin.is_none() {
            return Ok(None);
        }
        // Ascending: so that a row of regions that bites its tail ends the walk.
        if begin < self.floor || !begin.is_aligned(GRANULE) {
            return Broken::at("ascending", begin);
        }
        let bytes = self.read(begin.word(BYTES))?;
        let is_whole = bytes > REGION_COST && bytes.is_multiple_of(GRANULE);
        if !is_whole || !self.core.contains(begin, bytes) {
            return Broken::at("inside", begin);
        }
        let region = Region { begin, bytes };
        if self.read(begin.word(FIRST_FENCE))? != Tag::FENCE.0 {
            return Broken::at("fenced", begin);
        }
        let inside = Chunks::inside(region);
        (self.at, self.end) = (inside.begin, inside.end());
        (self.link, self.floor) = (begin.word(NEXT), region.end());
        Ok(Some(Part::Region(region)))
    }

    fn leave_region(&mut self) -> Result<(), Broken> {
        if self.read(self.end)? != Tag::FENCE.0 {
            return Broken::at("fenced", self.end);
        }
        (self.at, self.end) = (Offset::NONE, Offset::NONE);
        Ok(())
    }

    fn next_chunk(&mut self) -> Result<Part, Broken> {
        let at = self.at;
        let tag = Tag(self.read(at)?);
        if !tag.is_sound() || !(at + WORD).is_aligned(GRANULE) {
            return Broken::at("granular", at);
        }
        if tag.bytes() > self.end - at {
            return Broken::at("tiled", at);
        }
        let chunk = Chunk { begin: at, bytes: tag.bytes() };
        if self.read(chunk.last_tag())? != tag.0 {
            return Broken::at("twinned", at);
        }
        self.at = chunk.end();
        if tag.is_used() {
            return self.used(chunk);
        }
        Ok(if chunk.end() == self.fence { Part::Top(chunk) } else { Part::Free(chunk) })
    }

    /// A used chunk, or what is left of one: its first part.
    fn used(&mut self, chunk: Chunk) -> Result<Part, Broken> {
        self.rest = NOTHING;
        let payload = chunk.payload();
        if !payload.is_aligned(UNIT) {
            return Ok(Part::Used(chunk));
        }
        let Some((slab, class)) = self.slab_at(payload) else {
            let mut units = 1..chunk.payload_bytes().div_ceil(UNIT);
            let next = units.find(|units| self.slab_at(payload + units * UNIT).is_some());
            return Ok(Part::Used(self.cut(chunk, next)));
        };
        if chunk.payload_bytes() < class.shape().payload_bytes() {
            return Broken::at("roomy slab", payload);
        }
        let units = u64::from(class.shape().units);
        let has_more = chunk.bytes >= (units + 1) * UNIT;
        Ok(Part::Slab(self.cut(chunk, has_more.then_some(units)), slab, class))
    }

    /// The first so many units of a chunk, if that is not all of it; the rest is looked at next.
    fn cut(&mut self, chunk: Chunk, units: Option<u64>) -> Chunk {
        let Some(units) = units else { return chunk };
        let part = Chunk { bytes: units * UNIT, ..chunk };
        self.rest = Chunk::between(part.end(), chunk.end());
        part
    }

    /// The slab that begins at `unit`, as the unit map has it.
    fn slab_at(&self, unit: Offset) -> Option<(Slab, Class)> {
        let found = self.units.try_slab_of(self.core, unit);
        found.filter(|(slab, _)| slab.begin() == unit)
    }

    fn step(&mut self) -> Result<Option<Part>, Broken> {
        if self.rest != NOTHING {
            return self.used(self.rest).map(Some);
        }
        if !self.at.is_none() && self.at == self.end {
            self.leave_region()?;
        }
        if self.at.is_none() {
            return self.enter_region();
        }
        self.next_chunk().map(Some)
    }
}

impl<J: Journal> Iterator for Walk<'_, J> {
    type Item = Result<Part, Broken>;

    /// After something broken the walk can not go on: it ends.
    fn next(&mut self) -> Option<Self::Item> {
        if self.link.is_none() {
            return None;
        }
        let step = self.step().transpose();
        if !matches!(step, Some(Ok(_))) {
            self.link = Offset::NONE;
        }
        step
    }
}
