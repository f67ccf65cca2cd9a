//! The heap of a store: payloads that a session claims, and gives back.
//!
//! Promises: a payload is either reachable from the table, or claimed in exactly one slot, or free;
//! the transaction that allocates or frees one also writes the claim, so no death comes between.

use morecore_heap::units::LEAF_CORE;
use morecore_heap::{
    CHUNK_TAGS, CHUNKS_NOTES_MOST, Chunk, Chunks, Class, Core, Fit, GRANULE, Given, Journal,
    Misuse, NoJournal, Offset, Region, SEAT_NOTES_MOST, SLABS_NOTES_MOST, Slabs, UNIT, Unit, Units,
};

use crate::Error;
use crate::give_back::Marks;
use crate::layout::{Plan, WORD, slot};
use crate::session::Session;
use crate::view::View;

/// The heap's state begins on a line of the cache, as its bins like it.
pub(crate) const STATE_ALIGN: u64 = 64;

/// The most notes to allocate or free one payload: a slab may be seated or unseated, in a chunk of
/// its own, and the claim is noted too.
const SPACE_NOTES_MOST: u64 = CHUNKS_NOTES_MOST + SEAT_NOTES_MOST + SLABS_NOTES_MOST + 1;

/// From this size on, small payloads stand in slabs: below, the slabs of some dozen classes would
/// take most of the memory.
const SLABS_FROM_BYTES: u64 = 256 << 20;

/// From this size on, payloads have the fine classes: if there are values of all sizes, a slab of
/// each of them stands half empty, which is 12 MB.
const FINE_FROM_BYTES: u64 = 512 << 20;

/// What a slab's header and its end cost each block is about this part of it.
const SLAB_COST_PART: u64 = 50;

/// The bytes of the heap's state in a segment of `bytes`.
pub(crate) fn state_bytes(bytes: u64) -> u64 {
    marks_from_state(bytes) + Marks::bytes(bytes)
}

/// Where the marks stand, from the begin of the state: behind the tiers.
fn marks_from_state(bytes: u64) -> u64 {
    (Chunks::BYTES + Slabs::FINE_BYTES + Units::bytes(bytes)).next_multiple_of(WORD)
}

/// The heap's tiers, which live in the segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Space {
    pub(crate) chunks: Chunks,
    pub(crate) slabs: Slabs,
    pub(crate) units: Units,
    pub(crate) marks: Marks,
    has_slabs: bool,
    has_fine: bool,
}

impl Space {
    /// The heap of a segment that was formatted.
    pub(crate) fn new(plan: &Plan) -> Self {
        let state = Offset(plan.heap_state_at);
        let leaves = plan.bytes.div_ceil(LEAF_CORE);
        Self {
            chunks: Chunks::at(state),
            slabs: Slabs::fine_at(state + Chunks::BYTES),
            units: Units::new(state + Chunks::BYTES + Slabs::FINE_BYTES, leaves),
            marks: Marks::at(state + marks_from_state(plan.bytes)),
            has_slabs: plan.bytes >= SLABS_FROM_BYTES,
            has_fine: plan.bytes >= FINE_FROM_BYTES,
        }
    }

    /// Makes the heap of a segment that is all zero and that nobody else knows yet.
    pub(crate) fn format(view: &View, plan: &Plan) {
        // SAFETY: the mapping is aligned to a page and lives through this call; the segment is
        // being made, so nobody else uses it.
        let mut core = unsafe { Core::new(view.base(), view.bytes(), NoJournal) };
        let space = Self::new(plan);
        Chunks::format(&mut core, Offset(plan.heap_state_at), Fit::Bins);
        let map_at = Offset(plan.heap_state_at) + Chunks::BYTES + Slabs::FINE_BYTES;
        Units::format(&mut core, map_at, plan.bytes);
        let region = Region { begin: Offset(plan.heap_at), bytes: plan.bytes - plan.heap_at };
        space.units.mark(&mut core, region, Unit::CHUNKS);
        space.chunks.add_region(&mut core, region);
    }

    /// Allocates a payload.
    fn allocate<J: Journal>(self, core: &mut Core<J>, bytes: u64, align: u64) -> Option<Offset> {
        let Some(class) = self.class_for(bytes, align) else {
            return self.chunks.allocate(core, bytes, align);
        };
        if let Some(block) = self.slabs.take(core, class) {
            return Some(block);
        }
        let slab_bytes = class.shape().payload_bytes();
        if let Some(payload) = self.chunks.allocate(core, slab_bytes, UNIT) {
            self.slabs.seat(core, self.units, class, payload, 0);
            return self.slabs.take(core, class);
        }
        self.chunks.allocate(core, bytes, align)
    }

    /// The class whose blocks are for this; `None` if a chunk of its own is.
    fn class_for(self, bytes: u64, align: u64) -> Option<Class> {
        // Groups, of which there are few of each size, ask for more alignment.
        let fine = if self.has_fine && align <= WORD { Class::fine(bytes) } else { None };
        fine.or_else(|| if self.has_slabs { worthwhile_class(bytes, align) } else { None })
    }

    /// Frees a payload. If that frees a chunk, returns it, and the free one that it became part of.
    fn free<J: Journal>(
        self,
        core: &mut Core<J>,
        payload: Offset,
    ) -> Result<Option<(Chunk, Chunk)>, Misuse> {
        let Some((slab, class)) = self.units.slab_of(core, payload) else {
            return self.free_chunk(core, payload).map(Some);
        };
        if self.slabs.give(core, slab, class, payload)? == Given::Kept {
            return Ok(None);
        }
        self.slabs.unseat(core, self.units, slab, class);
        self.free_chunk(core, slab.begin()).map(Some)
    }

    fn free_chunk<J: Journal>(
        self,
        core: &mut Core<J>,
        payload: Offset,
    ) -> Result<(Chunk, Chunk), Misuse> {
        let payload_bytes = self.chunks.payload_bytes(core, payload)?;
        let freed = Chunk { begin: payload - WORD, bytes: payload_bytes + CHUNK_TAGS };
        Ok((freed, self.chunks.free(core, payload)?))
    }
}

/// The class whose blocks serve a payload with less waste than a chunk of its own: groups have
/// sizes of many kinds, whose slabs would stand half empty; and above some hundred bytes what a
/// block is larger than it need be is often more than a chunk's tags.
fn worthwhile_class(bytes: u64, align: u64) -> Option<Class> {
    let class = Class::aligned(bytes, align).filter(|_| align <= GRANULE)?;
    let block = u64::from(class.shape().bytes);
    let chunk = bytes.next_multiple_of(GRANULE) + CHUNK_TAGS;
    (block + block / SLAB_COST_PART <= chunk).then_some(class)
}

impl Session {
    /// Allocates a payload and claims it; `None` if there is no room now. Returns where it is, and
    /// the number of the claim.
    pub(crate) fn claim(&mut self, bytes: u64, align: u64) -> Result<Option<(u64, u64)>, Error> {
        self.hold_heap()?;
        let claimed = self.claim_held(bytes, align);
        self.let_go_heap();
        claimed
    }

    /// The same, for whoever holds the heap for several.
    pub(crate) fn claim_held(
        &mut self,
        bytes: u64,
        align: u64,
    ) -> Result<Option<(u64, u64)>, Error> {
        let claim = self.next_claim()?;
        let payload = self.claim_as(claim, bytes, align);
        if payload.is_none() {
            self.claims -= 1;
        }
        Ok(payload.map(|payload| (payload, claim)))
    }

    /// Allocates a payload as a claim of this number; the heap is held.
    pub(crate) fn claim_as(&mut self, claim: u64, bytes: u64, align: u64) -> Option<u64> {
        let Some(payload) = self.space.allocate(&mut self.core, bytes, align) else {
            self.core.roll_back();
            return None;
        };
        self.core.write(Offset(self.plan.claim_at(self.slot, claim)), payload.0);
        self.core.commit();
        self.grown_to(payload.0 + bytes);
        Some(payload.0)
    }

    /// The number of a claim that is not in use, for a payload or for one that is to be retired.
    pub(crate) fn next_claim(&mut self) -> Result<u64, Error> {
        if self.claims >= slot::STOCK_FIRST {
            return Err(Error::TooManyKeys { keys: self.claims + 1, most: slot::STOCK_FIRST });
        }
        self.claims += 1;
        Ok(self.claims - 1)
    }

    /// Frees what we claim from the `from`-th claim on, and what was pending for leases that ended.
    pub(crate) fn free_claims(&mut self, from: u64) -> Result<(), Error> {
        let (slot, to) = (self.slot, self.claims);
        let has_dropped = from == 0 && self.has_dropped_leases();
        if to <= from && !has_dropped {
            return Ok(());
        }
        // All claims are ours when the slot was a dead one's: then see `free_claims_of`.
        let may_be_adopted = to == slot::CLAIMS_MOST;
        let is_used = |claim| self.view.load(self.plan.claim_at(slot, claim)) != 0;
        if may_be_adopted || has_dropped || (from..to).any(is_used) {
            self.free_claims_in(slot, from, to)?;
        }
        self.claims = from;
        Ok(())
    }

    /// Frees all that a dead participant claims; we are its rescuer. The heap is held before its
    /// claims are read: an earlier rescuer may have died over them, and then they read as free
    /// until that one's journal is rolled back.
    pub(crate) fn free_claims_of(&mut self, dead: u64) -> Result<(), Error> {
        self.free_claims_in(dead, 0, slot::CLAIMS_MOST)
    }

    fn free_claims_in(&mut self, slot: u64, from: u64, to: u64) -> Result<(), Error> {
        self.hold_heap()?;
        let freed = self.free_or_keep(slot, from, to).and_then(|()| self.free_dropped());
        if freed.is_err() {
            self.core.roll_back();
        }
        self.let_go_heap();
        freed
    }

    /// Frees claimed payloads; those that are leased become pending. The heap is held.
    pub(crate) fn free_or_keep(&mut self, slot: u64, from: u64, to: u64) -> Result<(), Error> {
        let leased = self.leased();
        for claim in from..to {
            let at = Offset(self.plan.claim_at(slot, claim));
            let payload = Offset(self.core.read(at));
            if payload.is_none() {
                continue;
            }
            if self.core.journal().room() < SPACE_NOTES_MOST {
                self.core.commit();
            }
            if leased.binary_search(&payload.0).is_ok() {
                self.make_pending(at, payload)?;
                continue;
            }
            match self.space.free(&mut self.core, payload) {
                Ok(Some((freed, whole))) => self.has_freed(freed, whole),
                Ok(None) => {}
                // All claims are freed for a dead one only: what it left may be anything.
                Err(_) if to == slot::CLAIMS_MOST => {
                    let what = "a claim of what is not in use";
                    return Err(Error::Damaged { what, at: at.0 });
                }
                Err(misuse) => panic!("invariant `claimed` broken: {misuse}"),
            }
            self.core.write(at, 0);
        }
        self.core.commit();
        Ok(())
    }

    /// Frees what was pending for leases that ended.
    pub(crate) fn free_pending(&mut self) -> Result<(), Error> {
        self.free_claims_in(self.slot, 0, 0)
    }

    /// Frees what was pending for leases that ended. The heap is held.
    fn free_dropped(&mut self) -> Result<(), Error> {
        let (slot, first) = (self.slot, self.claims);
        self.claim_dropped()?;
        if self.claims != first {
            self.free_or_keep(slot, first, self.claims)?;
            self.claims = first;
        }
        Ok(())
    }
}
