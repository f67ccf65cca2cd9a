//! A walk that proves every invariant of a heap, by name.
//!
//! Chunks by their tags; bins and rings from both sides: each free chunk is linked where its size
//! says, and what the bins hold together is exactly what the walk saw: as many, as many bytes, and
//! the same sum of scattered offsets. So nothing is remembered, and nothing is allocated.
//!
//! Promises: it writes nothing, and whatever the words say, it ends, stays inside the core, and
//! names the first invariant that does not hold.

use crate::bins::{BINS, bin_of, next_at, previous_at};
use crate::chunk::{Chunk, Tag};
use crate::chunks::Chunks;
use crate::core::Core;
use crate::fit::Fit;
use crate::journal::Journal;
use crate::layout::{Offset, UNIT};
use crate::size::Class;
use crate::slab::Slab;
use crate::slabs::Slabs;
use crate::units::{Unit, Units};
use crate::walk::{Broken, Part, Walk};

/// Proves that a heap is whole: its chunk tier, its unit map, and all small tiers (`tiers`) that
/// have slabs in it. The caller holds the heap, and no mask word is on its way between two places.
///
/// # Errors
/// The first invariant that does not hold.
pub fn check<J: Journal>(
    core: &Core<J>,
    chunks: Chunks,
    units: Units,
    tiers: &[Slabs],
) -> Result<(), Broken> {
    let mut seen = Seen::default();
    let mut was_free = false;
    for part in Walk::new(core, chunks, units) {
        let part = part?;
        let is_free = matches!(part, Part::Free(_) | Part::Top(_));
        if is_free && was_free {
            return Broken::at("coalesced", begin_of(part));
        }
        was_free = is_free;
        check_part(core, chunks, units, part, &mut seen)?;
    }
    check_state(core, chunks, &seen)?;
    check_bins(core, chunks, &seen)?;
    check_rings(core, units, tiers, &seen)
}

/// What must come out the same from both sides.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    count: u64,
    scattered: u64,
}

/// What a walk saw.
#[derive(Default)]
struct Seen {
    core_bytes: u64,
    low: Offset,
    high: Offset,
    has_growing: bool,
    binned: Sum,
    listed: Sum,
}

impl Sum {
    /// Adds an offset, scattered (the finaliser of splitmix64) so that no two sets that differ have
    /// the same sum but by a chance of 2^-64.
    fn add(&mut self, at: Offset) {
        let mut bits = at.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.count += 1;
        self.scattered = self.scattered.wrapping_add(bits ^ bits >> 31);
    }
}

fn begin_of(part: Part) -> Offset {
    match part {
        Part::Region(region) => region.begin,
        Part::Free(chunk) | Part::Top(chunk) | Part::Used(chunk) | Part::Slab(chunk, ..) => {
            chunk.begin
        }
    }
}

fn check_part<J: Journal>(
    core: &Core<J>,
    chunks: Chunks,
    units: Units,
    part: Part,
    seen: &mut Seen,
) -> Result<(), Broken> {
    match part {
        Part::Region(region) => {
            if seen.core_bytes == 0 {
                seen.low = region.begin;
            }
            seen.high = region.end();
            seen.core_bytes += region.bytes;
            seen.has_growing |= Chunks::inside(region).end() == chunks.fence(core);
            Ok(())
        }
        Part::Used(chunk) | Part::Top(chunk) => check_unmarked(core, units, chunk),
        Part::Free(chunk) => {
            seen.binned.add(chunk.begin);
            check_unmarked(core, units, chunk)?;
            check_links(core, chunks, chunk)
        }
        Part::Slab(_, slab, class) => {
            if slab.free_count(core) > 0 {
                seen.listed.add(slab.begin());
            }
            check_slab(core, units, slab, class)
        }
    }
}

/// The unit map calls no part of a chunk that is no slab a slab.
fn check_unmarked<J: Journal>(core: &Core<J>, units: Units, chunk: Chunk) -> Result<(), Broken> {
    let mut at = chunk.payload().align_down(UNIT);
    while at < chunk.end() {
        if units.try_entry(core, at) != Some(Unit::CHUNKS) {
            return Broken::at("mapped", at);
        }
        at = at + UNIT;
    }
    Ok(())
}

/// A free chunk and its neighbours in its bin agree.
fn check_links<J: Journal>(core: &Core<J>, chunks: Chunks, chunk: Chunk) -> Result<(), Broken> {
    let next = Offset(core.read(next_at(chunk.begin)));
    let previous = Offset(core.read(previous_at(chunk.begin)));
    let wanted = Some(chunk.begin.0);
    if !next.is_none() && core.try_read(previous_at(next)) != wanted {
        return Broken::at("doubly", chunk.begin);
    }
    let is_named = if previous.is_none() {
        chunks.bins().head(core, bin_of(chunk.bytes)) == chunk.begin
    } else {
        core.try_read(next_at(previous)) == wanted
    };
    if is_named { Ok(()) } else { Broken::at("binned", chunk.begin) }
}

fn check_state<J: Journal>(core: &Core<J>, chunks: Chunks, seen: &Seen) -> Result<(), Broken> {
    let at = chunks.regions_at();
    if Fit::from_number(chunks.fit_number(core)).is_none() {
        return Broken::at("known fit", at);
    }
    if chunks.core_bytes(core) != seen.core_bytes {
        return Broken::at("summed", at);
    }
    if seen.core_bytes > 0 && (chunks.low(core) > seen.low || chunks.high(core) < seen.high) {
        return Broken::at("bounded", at);
    }
    let fence = chunks.fence(core);
    if !fence.is_none() && !seen.has_growing {
        return Broken::at("fenced", fence);
    }
    Ok(())
}

/// The bins hold the free chunks that the walk saw, each in the right one, and nothing else.
fn check_bins<J: Journal>(core: &Core<J>, chunks: Chunks, seen: &Seen) -> Result<(), Broken> {
    let mut binned = Sum::default();
    for bin in 0..BINS {
        let head = chunks.bins().head(core, bin);
        if chunks.bins().is_marked(core, bin) == head.is_none() {
            return Broken::at("mapped_bins", head);
        }
        let mut begin = head;
        while !begin.is_none() {
            let tag = core.try_read(begin).map(Tag);
            if tag.is_none_or(|tag| tag.is_used() || bin_of(tag.bytes()) != bin) {
                return Broken::at("binned", begin);
            }
            binned.add(begin);
            // So many can not be: the bin bites its tail.
            if binned.count > seen.binned.count {
                return Broken::at("binned", begin);
            }
            let next = core.try_read(next_at(begin));
            begin = Offset(next.ok_or(Broken { invariant: "binned", at: begin })?);
        }
    }
    if binned == seen.binned { Ok(()) } else { Broken::at("binned", chunks.regions_at()) }
}

fn check_slab<J: Journal>(
    core: &Core<J>,
    units: Units,
    slab: Slab,
    class: Class,
) -> Result<(), Broken> {
    let shape = class.shape();
    if slab.class(core) != Some(class) {
        return Broken::at("formed", slab.begin());
    }
    for back in 0..u16::from(shape.units) {
        let at = slab.begin() + u64::from(back) * UNIT;
        if units.try_entry(core, at) != Some(Unit::slab(class, back)) {
            return Broken::at("mapped", at);
        }
    }
    check_masks(core, slab, class)
}

fn check_masks<J: Journal>(core: &Core<J>, slab: Slab, class: Class) -> Result<(), Broken> {
    let shape = class.shape();
    let (mut count, mut summary) = (0, 0);
    for word in 0..u64::from(shape.words) {
        let mask = slab.mask(core, word);
        if mask & !shape.full_mask(word) != 0 {
            return Broken::at("within", slab.begin());
        }
        count += u64::from(mask.count_ones());
        summary |= u64::from(mask != 0) << word;
    }
    if count != slab.free_count(core) {
        return Broken::at("counted", slab.begin());
    }
    if summary != slab.summary(core) {
        return Broken::at("summed", slab.begin());
    }
    Ok(())
}

/// The rings hold the slabs with a free block that the walk saw, and nothing else.
fn check_rings<J: Journal>(
    core: &Core<J>,
    units: Units,
    tiers: &[Slabs],
    seen: &Seen,
) -> Result<(), Broken> {
    let mut listed = Sum::default();
    let rings = tiers.iter().flat_map(|tier| tier.classes().map(move |class| (tier, class)));
    for (tier, class) in rings {
        let Some(head) = tier.head(core, class) else { continue };
        let mut slab = head;
        loop {
            check_ringed(core, units, class, slab)?;
            listed.add(slab.begin());
            if listed.count > seen.listed.count {
                return Broken::at("listed", slab.begin());
            }
            slab = Slab::at(slab.next(core));
            if slab == head {
                break;
            }
        }
    }
    if listed == seen.listed { Ok(()) } else { Broken::at("listed", seen.low) }
}

/// A slab of a ring is one, of the ring's class, and the next one names it.
fn check_ringed<J: Journal>(
    core: &Core<J>,
    units: Units,
    class: Class,
    slab: Slab,
) -> Result<(), Broken> {
    let at = slab.begin();
    let is_slab = |slab: Slab| {
        core.contains(slab.begin(), class.shape().payload_bytes())
            && units.try_slab_of(core, slab.begin()) == Some((slab, class))
    };
    if !is_slab(slab) || slab.free_count(core) == 0 {
        return Broken::at("listed", at);
    }
    let next = Slab::at(slab.next(core));
    if !is_slab(next) || next.previous(core) != at {
        return Broken::at("ringed", at);
    }
    Ok(())
}
