//! Where slabs stand: in a row, in a hole among the chunks, or in a chunk of their own.
//!
//! Promises: what is counted as used and as warm is the same wherever a slab stands.
//! Knows nothing of what is in a slab.

use morecore_heap::{CHUNK_LEAST, CHUNK_TAGS, Chunk, Class, Offset, Region, Slab, UNIT};

use super::{Arena, FAR, chunks};
use crate::line::rightly;
use crate::rows::{Given, ROW_BYTES};
use crate::thread::core;

/// So many free chunks are looked at, whether a slab has room in one.
const HOLES_MOST: usize = 8;

impl Arena {
    /// The payload of a slab: in a row, if it has one unit and there is no hole that it fits into.
    pub(crate) fn allocate_slab(&mut self, class: Class) -> Option<Offset> {
        let bytes = class.shape().payload_bytes();
        if class.shape().units == 1 {
            if let Some(unit) = self.take_unit() {
                return Some(unit);
            }
            if !self.rows.is_full() && !has_hole(bytes) {
                // Where there is no core for a row there may be some for one slab.
                if let Some(row) = self.allocate(ROW_BYTES, UNIT) {
                    self.rows.add(row.payload);
                    self.used_bytes -= ROW_BYTES + CHUNK_TAGS;
                    return self.take_unit();
                }
            }
        }
        Some(self.allocate(bytes, UNIT)?.payload)
    }

    /// A spare unit of a row.
    fn take_unit(&mut self) -> Option<Offset> {
        let taken = self.rows.take()?;
        self.used_bytes += UNIT;
        if taken.is_warm {
            self.warm.used(Region { begin: taken.unit, bytes: UNIT }, FAR);
        }
        Some(taken.unit)
    }

    /// Takes the payload of a slab back.
    pub(crate) fn free_slab(&mut self, slab: Slab) {
        match self.rows.give(slab.begin()) {
            Given::Alone => rightly(self.free(slab.begin())),
            Given::Kept => {
                self.used_bytes -= UNIT;
                self.warm.spared(UNIT);
                self.tick();
            }
            Given::Empty { row, warm_bytes } => {
                // The chunk is used as a whole, until it is freed as a whole.
                self.used_bytes += ROW_BYTES + CHUNK_TAGS - UNIT;
                self.warm.used(Region { begin: row, bytes: warm_bytes }, FAR);
                rightly(self.release(row, Some(warm_bytes + UNIT)));
            }
        }
    }
}

/// Is there a free chunk, but for the top, in which the payload of a slab has room?
fn has_hole(bytes: u64) -> bool {
    let core = core();
    let end = chunks().top(&core).map(Chunk::end);
    let fits = |free: Chunk| {
        let payload = (free.begin + CHUNK_LEAST).align_up(UNIT);
        payload + bytes <= free.last_tag()
    };
    let free = chunks().free_from(&core, bytes).take(HOLES_MOST);
    free.filter(|free| Some(free.end()) != end).any(fits)
}
