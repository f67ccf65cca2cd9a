//! Random operations beside a plain model, with a check of every invariant after each.

use std::collections::BTreeMap;
use std::ptr::copy_nonoverlapping;

use morecore_heap::{
    Census, Core, Fit, Fixed, Heap, NoJournal, Offset, Parts, Region, SMALL_MOST, Wrong,
};

use crate::array::{Array, random};

/// Small enough that it is full again and again.
const ARRAY_BYTES: u64 = 6 << 20;

/// Enough that each class is seated and left, and bins of all kinds are used; each costs a walk.
const STEPS: u32 = 1500;

/// A heap and what it must contain: each payload's bytes, and the seed of its contents.
struct Pair {
    heap: Heap<Fixed, NoJournal>,
    model: BTreeMap<Offset, (u64, u64)>,
    random: fastrand::Rng,
}

/// The bytes that are written into a payload and must be found there.
fn contents(seed: u64, bytes: u64) -> Vec<u8> {
    let mut contents = vec![0; bytes as usize];
    fastrand::Rng::with_seed(seed).fill(&mut contents);
    contents
}

fn fill(core: &Core<NoJournal>, payload: Offset, bytes: u64, seed: u64) {
    let contents = contents(seed, bytes);
    let to = core.pointer(payload, bytes);
    // SAFETY: the payload has `bytes` bytes, and is this test's own.
    unsafe { copy_nonoverlapping(contents.as_ptr(), to, contents.len()) };
}

/// The first `count` bytes of a payload of `bytes` are those of `seed`.
fn expect(core: &Core<NoJournal>, payload: Offset, bytes: u64, seed: u64, count: u64) {
    let mut found = vec![0; count as usize];
    let from = core.pointer(payload, count);
    // SAFETY: the payload has at least `count` bytes, and nobody writes them meanwhile.
    unsafe { copy_nonoverlapping(from, found.as_mut_ptr(), found.len()) };
    assert!(found == contents(seed, bytes)[..found.len()], "the contents of {payload} changed");
}

impl Pair {
    /// A size of any tier; small ones are common, as they are in programs.
    fn bytes(&mut self) -> u64 {
        match self.random.u32(..10) {
            0..4 => self.random.u64(0..256),
            4..7 => self.random.u64(0..SMALL_MOST + 100),
            7..9 => self.random.u64(0..80_000),
            _ => self.random.u64(0..700_000),
        }
    }

    fn allocate(&mut self) {
        let bytes = self.bytes();
        let align = if self.random.u8(..4) == 0 { 1 << self.random.u32(4..18) } else { 16 };
        let Some(payload) = self.heap.allocate(bytes, align) else { return };
        assert_eq!(payload.0 % align, 0);
        self.own(payload, bytes);
    }

    /// Takes a new payload into the model; it must not touch any other.
    fn own(&mut self, payload: Offset, bytes: u64) {
        assert!(self.heap.payload_bytes(payload).unwrap() >= bytes);
        if let Some((before, (length, _))) = self.model.range(..=payload).next_back() {
            assert!(*before + *length <= payload && *before != payload);
        }
        if let Some((after, _)) = self.model.range(payload..).next() {
            assert!(payload + bytes <= *after);
        }
        let seed = self.random.u64(..);
        fill(self.heap.core(), payload, bytes, seed);
        self.model.insert(payload, (bytes, seed));
    }

    fn any(&mut self) -> Option<Offset> {
        let index = self.random.usize(..self.model.len().max(1));
        self.model.keys().nth(index).copied()
    }

    fn free(&mut self) {
        let Some(payload) = self.any() else { return };
        let (bytes, seed) = self.model.remove(&payload).unwrap();
        expect(self.heap.core(), payload, bytes, seed, bytes);
        self.heap.free(payload).unwrap();
        let twice = self.heap.free(payload).unwrap_err();
        assert!(matches!(twice.wrong, Wrong::DoubleFree | Wrong::NotABlock), "{twice}");
    }

    fn resize(&mut self) {
        let Some(payload) = self.any() else { return };
        let (bytes, seed) = self.model[&payload];
        let wanted = self.bytes();
        let Some(moved) = self.heap.resize(payload, wanted).unwrap() else {
            return expect(self.heap.core(), payload, bytes, seed, bytes);
        };
        self.model.remove(&payload);
        expect(self.heap.core(), moved, bytes, seed, bytes.min(wanted));
        self.own(moved, wanted);
    }

    fn prove(&self) {
        self.heap.check().unwrap();
        let Parts { chunks, units, .. } = self.heap.parts();
        let census = Census::take(self.heap.core(), chunks, units).unwrap();
        assert!(census.is_whole(), "{census:?}");
        let payloads = self.model.keys().map(|at| self.heap.payload_bytes(*at).unwrap());
        assert_eq!(census.used_bytes(), payloads.sum::<u64>());
    }
}

/// A heap in an array, its offsets counted from the array's begin.
fn based(array: &Array, fit: Fit) -> Heap<Fixed, NoJournal> {
    // SAFETY: the array is zero and this heap's alone.
    let source = unsafe { Fixed::new(array.rest(64)) };
    Heap::format(array.plain(), source, fit).unwrap()
}

fn check(fit: Fit) {
    let array = Array::new(ARRAY_BYTES);
    check_heap(based(&array, fit));
}

fn check_heap(heap: Heap<Fixed, NoJournal>) {
    let mut pair = Pair { heap, model: BTreeMap::new(), random: random() };
    for _ in 0..STEPS {
        match pair.random.u32(..16) {
            0..8 => pair.allocate(),
            8..13 => pair.free(),
            13..15 => pair.resize(),
            _ => drop(pair.heap.trim(pair.random.u64(..1 << 20), 4096)),
        }
        pair.prove();
    }
    while !pair.model.is_empty() {
        pair.free();
    }
    pair.heap.trim(0, 4096);
    pair.prove();
    let Parts { chunks, units, .. } = pair.heap.parts();
    let census = Census::take(pair.heap.core(), chunks, units).unwrap();
    assert_eq!((census.used.count, census.slabs.count), (0, 0));
    assert_eq!(census.free.count, census.regions.count);
}

#[test]
fn bins_keeps_all_promises() {
    check(Fit::Bins);
}

#[test]
fn first_keeps_all_promises() {
    check(Fit::First);
}

#[test]
fn next_keeps_all_promises() {
    check(Fit::Next);
}

#[test]
fn best_keeps_all_promises() {
    check(Fit::Best);
}

#[test]
fn in_a_process_an_offset_is_an_address() {
    let array = Array::new(ARRAY_BYTES);
    // SAFETY: the heap gets core only inside the array, which outlives it.
    let core = unsafe { Core::process() };
    let begin = core.offset(array.plain().pointer(Offset(64), 8));
    // SAFETY: the array is zero and this heap's alone.
    let source = unsafe { Fixed::new(Region { begin, bytes: ARRAY_BYTES - 64 }) };
    let heap = Heap::format(core, source, Fit::Bins).unwrap();
    assert!(heap.core().is_process());
    check_heap(heap);
}

#[test]
fn the_fit_can_be_changed_at_any_time() {
    let array = Array::new(ARRAY_BYTES);
    let heap = based(&array, Fit::Bins);
    let mut pair = Pair { heap, model: BTreeMap::new(), random: random() };
    for step in 0..400 {
        let chunks = pair.heap.parts().chunks;
        chunks.set_fit(pair.heap.core_mut(), Fit::ALL[step / 7 % 4]);
        if pair.random.bool() {
            pair.allocate();
        } else {
            pair.free();
        }
        pair.prove();
    }
}
