//! An operation that stops between any two of its stores can be taken back whole.
//!
//! Each operation is begun again and again on the same heap: stopped before its n-th note, and
//! after its n-th note but before the store, for every n. Each time a rescuer, who knows only the
//! log, rolls back, and the core must be word for word what it was, but for the inside of free
//! chunks, which nobody relies on. Then the operation is done whole.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use morecore_heap::{
    CHUNKS_NOTES_MOST, Census, Chunk, Chunks, Class, Core, Fit, Fixed, Given, Heap, Journal,
    Misuse, Offset, Part, Region, SEAT_NOTES_MOST, SLABS_NOTES_MOST, Slabs, UNIT, UndoLog, Unit,
    Units, WORD, Walk, check,
};

use crate::array::{Array, random};

const ARRAY_BYTES: u64 = 2 << 20;
const CHUNKS_AT: Offset = Offset(64);
const SLABS_AT: Offset = Offset(64 + Chunks::BYTES);
const MAP_AT: Offset = Offset(64 + Chunks::BYTES + Slabs::BYTES);

/// Enough for some twenty operations of each kind; each is stopped some forty times.
const STEPS: u32 = 150;

/// A journal whose owner dies at a note.
struct Dying {
    log: UndoLog,
    notes_left: u64,
    /// Does it die after it wrote the note, before the store? Else before the note.
    is_noted: bool,
}

struct Died;

impl Journal for Dying {
    const ACTIVE: bool = true;

    fn note(&mut self, at: Offset, old: u64) {
        if self.notes_left == 0 {
            if self.is_noted {
                self.log.note(at, old);
            }
            resume_unwind(Box::new(Died));
        }
        self.notes_left -= 1;
        self.log.note(at, old);
    }
}

#[derive(Clone, Copy, Debug)]
enum Operation {
    Allocate { bytes: u64, align: u64 },
    Free(Offset),
    Resize { payload: Offset, bytes: u64 },
    Take(Class),
    Borrow(Class),
    Give(Offset),
    Seat(Class),
    Unseat(Class),
    AddRegion(Region),
    CutTop { keep: u64 },
}

#[derive(Debug)]
enum Outcome {
    Payload(Offset),
    Block(Offset),
    Blocks(Vec<Offset>),
    Gone,
    Nothing,
}

/// The parts of a heap whose state stands at the places above.
#[derive(Clone, Copy)]
struct Parts {
    chunks: Chunks,
    slabs: Slabs,
    units: Units,
}

impl Parts {
    fn run<J: Journal>(self, core: &mut Core<J>, operation: Operation) -> Result<Outcome, Misuse> {
        Ok(match operation {
            Operation::Allocate { bytes, align } => {
                let payload = self.chunks.allocate(core, bytes, align);
                if let Some(payload) = payload {
                    scribble(core, payload, bytes);
                }
                payload.map_or(Outcome::Nothing, Outcome::Payload)
            }
            Operation::Free(payload) => self.chunks.free(core, payload).map(|_| Outcome::Gone)?,
            Operation::Resize { payload, bytes } => {
                let before = self.chunks.payload_bytes(core, payload)?;
                if self.chunks.resize_in_place(core, payload, bytes)? && before < bytes {
                    scribble(core, payload + before, bytes - before);
                }
                Outcome::Nothing
            }
            Operation::Take(class) => {
                self.take(core, class).map_or(Outcome::Nothing, Outcome::Block)
            }
            Operation::Borrow(class) => self.borrow(core, class),
            Operation::Give(block) => self.give(core, block).map(|()| Outcome::Gone)?,
            Operation::Seat(class) => {
                self.seat(core, class);
                Outcome::Nothing
            }
            Operation::Unseat(class) => {
                if let Some(slab) = self.slabs.spare(core, class) {
                    self.slabs.unseat(core, self.units, slab, class);
                    self.chunks.free(core, slab.begin())?;
                }
                Outcome::Nothing
            }
            Operation::AddRegion(region) => {
                self.chunks.add_region(core, region);
                Outcome::Nothing
            }
            Operation::CutTop { keep } => {
                if let Some(spare) = self.chunks.spare_top(core, keep, 4096) {
                    self.chunks.cut_top(core, spare);
                    self.chunks.add_region(core, spare);
                }
                Outcome::Nothing
            }
        })
    }

    fn take<J: Journal>(self, core: &mut Core<J>, class: Class) -> Option<Offset> {
        if let Some(block) = self.slabs.take(core, class) {
            return Some(block);
        }
        self.seat(core, class)?;
        let block = self.slabs.take(core, class)?;
        scribble(core, block, class.shape().bytes.into());
        Some(block)
    }

    fn seat<J: Journal>(self, core: &mut Core<J>, class: Class) -> Option<()> {
        let payload = self.chunks.allocate(core, class.shape().payload_bytes(), UNIT)?;
        self.slabs.seat(core, self.units, class, payload, 3);
        Some(())
    }

    fn borrow<J: Journal>(self, core: &mut Core<J>, class: Class) -> Outcome {
        let Some(loan) = self.slabs.borrow(core, class, 40) else { return Outcome::Nothing };
        let bits = (0..64).filter(|bit| loan.bits >> bit & 1 != 0);
        let bytes = u64::from(class.shape().bytes);
        Outcome::Blocks(bits.map(|bit| loan.first + bit * bytes).collect())
    }

    fn give<J: Journal>(self, core: &mut Core<J>, block: Offset) -> Result<(), Misuse> {
        let (slab, class) = self.units.slab_of(core, block).expect("it came from a slab");
        if self.slabs.give(core, slab, class, block)? == Given::Empty {
            self.slabs.unseat(core, self.units, slab, class);
            self.chunks.free(core, slab.begin())?;
        }
        Ok(())
    }

    /// The insides of free chunks, in words: nobody relies on them.
    fn unreachable(self, array: &Array) -> Vec<Range<u64>> {
        let core = array.plain();
        let parts = Walk::new(&core, self.chunks, self.units);
        let free = parts.filter_map(|part| match part.unwrap() {
            Part::Free(chunk) => Some(inside(chunk, 3)),
            Part::Top(chunk) => Some(inside(chunk, 1)),
            _ => None,
        });
        free.collect()
    }
}

/// What an owner does to a new payload: it writes into it, and tells no journal. Then it makes one
/// more note, so that it dies with the payload written and the operation not committed.
fn scribble<J: Journal>(core: &mut Core<J>, payload: Offset, bytes: u64) {
    for index in 0..bytes / WORD {
        core.write_fresh(payload.word(index), 0x4141_4141_4141_4141);
    }
    core.keep(CHUNKS_AT);
}

/// The words of a free chunk but the first few and the last tag.
fn inside(chunk: Chunk, first: u64) -> Range<u64> {
    chunk.begin.0 / WORD + first..chunk.last_tag().0 / WORD
}

struct Stage {
    array: Array,
    log: Array,
    parts: Parts,
    payloads: Vec<Offset>,
    blocks: Vec<Offset>,
    /// Where the core that is not yet in a region begins.
    rest: Offset,
    notes_most: [u64; 3],
}

impl Stage {
    fn new(fit: Fit) -> Self {
        let array = Array::new(ARRAY_BYTES);
        let mut core = array.plain();
        let chunks = Chunks::format(&mut core, CHUNKS_AT, fit);
        let slabs = Slabs::at(SLABS_AT);
        let units = Units::format(&mut core, MAP_AT, ARRAY_BYTES);
        units.mark(&mut core, array.rest(0), Unit::CHUNKS);
        let rest = Offset(UNIT * 16);
        chunks.add_region(&mut core, Region::between(Offset(UNIT), rest));
        let log = Array::new(UndoLog::bytes(256));
        let parts = Parts { chunks, slabs, units };
        let (payloads, blocks, notes_most) = (Vec::new(), Vec::new(), [0; 3]);
        Self { array, log, parts, payloads, blocks, rest, notes_most }
    }

    fn choose(&mut self, random: &mut fastrand::Rng) -> Operation {
        let bytes = match random.u32(..3) {
            0 => random.u64(..1000),
            1 => random.u64(..20_000),
            _ => random.u64(..200_000),
        };
        let class = Class::of([16, 64, 520, 9000][random.usize(..4)]).unwrap();
        let any = |of: &mut Vec<Offset>, random: &mut fastrand::Rng| {
            (!of.is_empty()).then(|| of.swap_remove(random.usize(..of.len())))
        };
        match random.u32(..18) {
            0..3 => Operation::Allocate { bytes, align: 16 },
            3 => Operation::Allocate { bytes, align: 1 << random.u32(4..17) },
            4..7 => any(&mut self.payloads, random).map_or(Operation::Take(class), Operation::Free),
            7..9 => match self.payloads.last() {
                Some(payload) => Operation::Resize { payload: *payload, bytes },
                None => Operation::Take(class),
            },
            9..11 => Operation::Take(class),
            11 => Operation::Borrow(class),
            12..15 => any(&mut self.blocks, random).map_or(Operation::Take(class), Operation::Give),
            15 => Operation::Seat(class),
            16 => Operation::Unseat(class),
            _ if random.bool() => Operation::CutTop { keep: random.u64(..100_000) },
            _ => self.next_region(random),
        }
    }

    /// More core: at the end of the last region, or a hole further.
    fn next_region(&mut self, random: &mut fastrand::Rng) -> Operation {
        let hole = random.u64(..3) * 48;
        let bytes = random.u64(..20_000) & !15;
        let begin = self.rest + hole;
        if begin.0 + bytes > ARRAY_BYTES {
            return Operation::CutTop { keep: 0 };
        }
        Operation::AddRegion(Region { begin, bytes })
    }

    /// Stops an operation at every note, and at last lets it pass.
    fn play(&mut self, operation: Operation) {
        let before = self.array.image();
        let unreachable = self.parts.unreachable(&self.array);
        for stop in 0.. {
            let (notes_left, is_noted) = (stop / 2, stop % 2 == 1);
            let journal = Dying { log: self.log.log(), notes_left, is_noted };
            let mut core = self.array.core(journal);
            let result = catch_unwind(AssertUnwindSafe(|| self.parts.run(&mut core, operation)));
            match result {
                Ok(outcome) => return self.finish(operation, outcome.unwrap()),
                Err(panic) if panic.is::<Died>() => {}
                Err(panic) => resume_unwind(panic),
            }
            self.rescue(stop);
            self.expect(&before, &unreachable, operation, stop);
        }
    }

    /// What the next comer does. Some rescuers die half-way.
    fn rescue(&mut self, stop: u64) {
        let mut core = self.array.core(self.log.log());
        let length = core.journal().length();
        for index in (length - stop % (length + 1)..length).rev() {
            let (at, old) = core.journal().entry(index);
            core.write_fresh(at, old);
        }
        core.roll_back();
        assert_eq!(core.journal().length(), 0);
    }

    fn expect(&self, before: &[u64], free: &[Range<u64>], operation: Operation, stop: u64) {
        let after = self.array.image();
        if before == after {
            return self.prove();
        }
        let differ = before.iter().zip(&after).enumerate().find(|(index, (old, new))| {
            old != new && !free.iter().any(|range| range.contains(&(*index as u64)))
        });
        if let Some((index, (old, new))) = differ {
            let at = index as u64 * WORD;
            panic!("{operation:?} stopped at {stop}: word {at:#x} is {new:#x}, was {old:#x}");
        }
        self.prove();
    }

    fn finish(&mut self, operation: Operation, outcome: Outcome) {
        let mut core = self.array.core(self.log.log());
        let kind = match operation {
            Operation::Allocate { .. } | Operation::Free(_) | Operation::Resize { .. } => 0,
            Operation::AddRegion(_) => 0,
            // It is two operations: cut and add.
            Operation::CutTop { .. } => 2,
            _ => 1,
        };
        let notes = core.journal().length();
        self.notes_most[kind] = self.notes_most[kind].max(notes);
        core.commit();
        match outcome {
            Outcome::Payload(payload) => self.payloads.push(payload),
            Outcome::Block(block) => self.blocks.push(block),
            Outcome::Blocks(blocks) => self.blocks.extend(blocks),
            Outcome::Gone | Outcome::Nothing => {}
        }
        if let Operation::AddRegion(region) = operation {
            self.rest = region.end();
        }
        self.prove();
    }

    fn prove(&self) {
        let Parts { chunks, slabs, units } = self.parts;
        check(&self.array.plain(), chunks, units, &[slabs]).unwrap();
    }
}

fn check_fit(fit: Fit) {
    let mut random = random();
    let mut stage = Stage::new(fit);
    for _ in 0..STEPS {
        let operation = stage.choose(&mut random);
        stage.play(operation);
    }
    let [chunks, slabs, cut_top] = stage.notes_most;
    println!("{fit:?}: most notes: chunks {chunks}, slabs {slabs}, cut top {cut_top}");
    // One note is the scribbler's own.
    assert!(chunks <= CHUNKS_NOTES_MOST + 1);
    assert!(slabs <= SLABS_NOTES_MOST + SEAT_NOTES_MOST + CHUNKS_NOTES_MOST + 1);
    assert!(cut_top <= 2 * CHUNKS_NOTES_MOST);
}

#[test]
fn bins_can_be_taken_back() {
    check_fit(Fit::Bins);
}

#[test]
fn next_can_be_taken_back() {
    check_fit(Fit::Next);
}

#[test]
fn first_and_best_can_be_taken_back() {
    check_fit(Fit::First);
    check_fit(Fit::Best);
}

#[test]
fn a_heap_forgets_what_was_rolled_back() {
    let (array, log) = (Array::new(ARRAY_BYTES), Array::new(UndoLog::bytes(4096)));
    // SAFETY: the array is zero and this heap's alone.
    let source = unsafe { Fixed::new(array.rest(64)) };
    let mut heap = Heap::format(array.core(log.log()), source, Fit::Bins).unwrap();
    assert!(heap.reserve(1 << 20));
    let kept = heap.allocate(30_000, 16).unwrap();
    heap.core_mut().commit();
    let census = |heap: &Heap<Fixed, UndoLog>| {
        Census::take(heap.core(), heap.parts().chunks, heap.parts().units).unwrap()
    };
    let before = census(&heap);
    let sizes = [10, 100, 1000, 10_000, 100_000];
    let payloads = sizes.map(|bytes| heap.allocate(bytes, 16).unwrap());
    let moved = heap.resize(kept, 90_000).unwrap().unwrap();
    assert_ne!(census(&heap), before);
    heap.core_mut().roll_back();
    assert_eq!(census(&heap), before);
    heap.check().unwrap();
    assert_eq!(sizes.map(|bytes| heap.allocate(bytes, 16).unwrap()), payloads);
    assert_eq!(heap.resize(kept, 90_000).unwrap(), Some(moved));
    heap.core_mut().commit();
    heap.check().unwrap();
}
