//! The small tier, in an array, beside the chunk tier that its slabs come from.

use std::collections::BTreeSet;
use std::vec::Vec;

use super::*;
use crate::census::Census;
use crate::check::check as prove;
use crate::chunks::Chunks;
use crate::fit::Fit;
use crate::misuse::Wrong;
use crate::testing::Array;
use crate::walk::{Part, Walk};

const ARRAY_BYTES: u64 = 64 * UNIT;

/// A small tier in an array, and the chunk tier that its slabs come from.
struct Tier {
    array: Array,
    chunks: Chunks,
    slabs: Slabs,
    units: Units,
}

impl Tier {
    fn new() -> Self {
        let array = Array::new(ARRAY_BYTES);
        let mut core = array.plain();
        let chunks = Chunks::format(&mut core, Offset(64), Fit::Bins);
        let slabs = Slabs::at(Offset(64) + Chunks::BYTES);
        let map = Offset(64) + Chunks::BYTES + Slabs::BYTES;
        let units = Units::format(&mut core, map, ARRAY_BYTES);
        units.mark(&mut core, array.rest(0), Unit::CHUNKS);
        chunks.add_region(&mut core, array.rest(UNIT - 8 * WORD));
        Self { array, chunks, slabs, units }
    }

    fn seat(&self, class: Class) -> Slab {
        let mut core = self.array.plain();
        let bytes = class.shape().payload_bytes();
        let payload = self.chunks.allocate(&mut core, bytes, UNIT).unwrap();
        self.slabs.seat(&mut core, self.units, class, payload, 7)
    }

    fn prove(&self) {
        prove(&self.array.plain(), self.chunks, self.units, &[self.slabs]).unwrap();
    }

    fn give(&self, block: Offset) -> Result<Given, Misuse> {
        let mut core = self.array.plain();
        let (slab, class) = self.units.slab_of(&core, block).unwrap();
        self.slabs.give(&mut core, slab, class, block)
    }
}

#[test]
fn all_blocks_of_each_class_are_apart_aligned_and_inside() {
    for class in Class::all() {
        let tier = Tier::new();
        let slab = tier.seat(class);
        let shape = class.shape();
        let mut core = tier.array.plain();
        let blocks: Vec<Offset> =
            std::iter::from_fn(|| tier.slabs.take(&mut core, class)).collect();
        assert_eq!(blocks.len(), usize::from(shape.blocks));
        assert!(blocks.windows(2).all(|pair| pair[1] - pair[0] == u64::from(shape.bytes)));
        assert!(blocks.iter().all(|block| block.is_aligned(u64::from(shape.align))));
        let end = *blocks.last().unwrap() + u64::from(shape.bytes);
        assert!(end <= slab.begin() + shape.payload_bytes());
        for block in blocks {
            assert_eq!(tier.units.slab_of(&core, block), Some((slab, class)));
            assert_eq!(tier.give(block), Ok(Given::Kept));
        }
        assert_eq!(slab.free_count(&core), u64::from(shape.blocks));
        assert_eq!(slab.owner(&core).load(std::sync::atomic::Ordering::Relaxed), 7);
        tier.prove();
    }
}

#[test]
fn nothing_is_written_into_a_block() {
    let class = Class::of(48).unwrap();
    let tier = Tier::new();
    tier.seat(class);
    let mut core = tier.array.plain();
    let block = tier.slabs.take(&mut core, class).unwrap();
    core.write(block, 0x1234);
    core.write(block + 40, 0x5678);
    tier.give(block).unwrap();
    assert_eq!((core.read(block), core.read(block + 40)), (0x1234, 0x5678));
}

#[test]
fn a_misuse_is_named_and_changes_nothing() {
    let class = Class::of(100).unwrap();
    let tier = Tier::new();
    let slab = tier.seat(class);
    let mut core = tier.array.plain();
    let taken = tier.slabs.take(&mut core, class).unwrap();
    let freed = tier.slabs.take(&mut core, class).unwrap();
    tier.give(freed).unwrap();
    let before = tier.array.image();
    let refuse = |at: Offset, wrong: Wrong, begin: Offset| {
        let misuse = tier.give(at).unwrap_err();
        assert_eq!((misuse.wrong, misuse.at, misuse.begin), (wrong, at, begin));
        assert_eq!(misuse.class, Some(class));
    };
    refuse(freed, Wrong::DoubleFree, freed);
    refuse(taken + 16, Wrong::Interior, taken);
    refuse(taken + 1, Wrong::Interior, taken);
    refuse(slab.begin(), Wrong::NotABlock, Offset::NONE);
    refuse(slab.header(), Wrong::NotABlock, Offset::NONE);
    refuse(slab.begin() + class.shape().payload_bytes(), Wrong::NotABlock, Offset::NONE);
    assert_eq!(tier.array.image(), before);
}

#[test]
fn a_slab_leaves_when_full_and_comes_first_when_it_gets_a_block_back() {
    let class = Class::of(16384).unwrap();
    let tier = Tier::new();
    let (first, second) = (tier.seat(class), tier.seat(class));
    let mut core = tier.array.plain();
    let blocks: Vec<Offset> =
        (0..class.shape().blocks).map(|_| tier.slabs.take(&mut core, class).unwrap()).collect();
    assert_eq!(tier.slabs.head(&core, class), Some(first));
    assert_eq!(second.free_count(&core), 0);
    tier.prove();
    assert_eq!(tier.give(blocks[3]), Ok(Given::Kept));
    assert_eq!(tier.slabs.head(&core, class), Some(second));
    assert_eq!(tier.slabs.take(&mut core, class), Some(blocks[3]));
    blocks[1..].iter().for_each(|block| assert_eq!(tier.give(*block), Ok(Given::Kept)));
    assert_eq!(tier.give(blocks[0]), Ok(Given::Empty));
    tier.prove();
    assert_eq!(tier.slabs.spare(&core, class), Some(first));
    for slab in [second, first] {
        tier.slabs.unseat(&mut core, tier.units, slab, class);
        tier.chunks.free(&mut core, slab.begin()).unwrap();
        assert_eq!(tier.units.entry(&core, slab.begin()), Unit::CHUNKS);
        assert_eq!(slab.class(&core), None);
        tier.prove();
    }
    assert_eq!(tier.slabs.head(&core, class), None);
}

#[test]
fn a_borrowed_word_comes_back_bit_by_bit() {
    let class = Class::of(64).unwrap();
    let tier = Tier::new();
    let slab = tier.seat(class);
    let mut core = tier.array.plain();
    let loan = tier.slabs.borrow(&mut core, class, 64).unwrap();
    assert_eq!((loan.slab, loan.word, loan.bits), (slab, 0, u64::MAX));
    assert_eq!(loan.first, slab.begin() + u64::from(class.shape().first));
    assert_eq!(slab.free_count(&core), u64::from(class.shape().blocks) - 64);
    tier.prove();
    let next = tier.slabs.borrow(&mut core, class, 40).unwrap();
    assert_eq!((next.word, next.first), (1, loan.first + 64 * 64));
    assert_eq!(next.bits, (1 << 40) - 1);
    let rest = tier.slabs.borrow(&mut core, class, 40).unwrap();
    assert_eq!((rest.word, rest.bits), (1, !next.bits));
    tier.slabs.return_word(&mut core, slab, class, 0, 0b1010).unwrap();
    let twice = tier.slabs.return_word(&mut core, slab, class, 0, 0b0110).unwrap_err();
    assert_eq!((twice.wrong, twice.at), (Wrong::DoubleFree, loan.first + 64));
    tier.prove();
}

#[test]
fn a_block_that_is_known_to_be_one_goes_back_by_its_place() {
    for class in Class::all_and_fine().filter(|class| class.shape().units == 1) {
        let tier = Tier::new();
        let slab = tier.seat(class);
        let mut core = tier.array.plain();
        let blocks: Vec<Offset> =
            std::iter::from_fn(|| tier.slabs.take(&mut core, class)).collect();
        for block in blocks {
            let place = slab.sure_place(class, block);
            let checked = slab.place(class, block).unwrap();
            assert_eq!((place.word, place.bit), (checked.word, checked.bit));
            assert_eq!(tier.slabs.give_place(&mut core, slab, class, place), Some(Given::Kept));
            assert_eq!(tier.slabs.give_place(&mut core, slab, class, place), None);
        }
        tier.prove();
    }
}

#[test]
fn a_place_outside_of_all_slabs_is_in_none() {
    let tier = Tier::new();
    let core = tier.array.plain();
    for at in [0, 8, UNIT, ARRAY_BYTES - 1, ARRAY_BYTES * 8, 1 << 40, u64::MAX] {
        assert_eq!(tier.units.slab_of(&core, Offset(at % (4 << 30))), None);
        assert_eq!(tier.units.slab_of(&core, Offset(at | 1 << 48)), None);
    }
}

#[test]
fn headers_of_neighbouring_slabs_stand_in_different_sets() {
    let class = Class::of(16).unwrap();
    let tier = Tier::new();
    let lines: BTreeSet<u64> = (0..16).map(|_| tier.seat(class).header().0 % UNIT).collect();
    assert!(lines.len() >= 8, "{lines:?}");
}

#[test]
fn slabs_that_share_a_chunk_are_parts_of_a_walk_each() {
    let tier = Tier::new();
    let mut core = tier.array.plain();
    let class = Class::of(48).unwrap();
    let first = tier.chunks.allocate(&mut core, 4 * UNIT - 2 * WORD, UNIT).unwrap();
    let unit = |index: u64| first + index * UNIT;
    let expected = |used: &[u64]| -> Vec<(bool, Offset, u64)> {
        let parts = [0, 1, 2, 3].map(|index| (used.contains(&index), unit(index), UNIT));
        // What is between slabs is one part, however many units it has.
        let mut joined: Vec<(bool, Offset, u64)> = Vec::new();
        for part in parts {
            match joined.last_mut() {
                Some(last) if !last.0 && !part.0 => last.2 += UNIT,
                _ => joined.push(part),
            }
        }
        joined
    };
    for used in [&[][..], &[0], &[3], &[0, 3], &[1, 2], &[0, 1, 2, 3]] {
        let slabs: Vec<Slab> = used
            .iter()
            .map(|index| tier.slabs.seat(&mut core, tier.units, class, unit(*index), 7))
            .collect();
        let parts: Vec<_> = Walk::new(&core, tier.chunks, tier.units)
            .filter_map(|part| match part.unwrap() {
                Part::Slab(chunk, slab, _) => {
                    assert_eq!(chunk.payload(), slab.begin());
                    Some((true, chunk.payload(), chunk.bytes))
                }
                Part::Used(chunk) => Some((false, chunk.payload(), chunk.bytes)),
                _ => None,
            })
            .collect();
        assert_eq!(parts, expected(used), "slabs in {used:?}");
        tier.prove();
        let census = Census::take(&core, tier.chunks, tier.units).unwrap();
        assert!(census.is_whole() && census.slabs.count == used.len() as u64);
        slabs.iter().for_each(|slab| tier.slabs.unseat(&mut core, tier.units, *slab, class));
    }
}
