//! A heap whose words are torn or hostile is called broken; nothing worse happens.

use morecore_heap::{
    Broken, Census, Chunks, Class, Fit, Fixed, Heap, NoJournal, Offset, Part, Parts, UNIT, Unit,
    Units, WORD, Walk, check,
};

use crate::array::{Array, random};

const ARRAY_BYTES: u64 = 4 << 20;

/// A heap with something of everything.
fn heap(array: &Array) -> Heap<Fixed, NoJournal> {
    // SAFETY: the array is zero and this heap's alone.
    let source = unsafe { Fixed::new(array.rest(64)) };
    let mut heap = Heap::format(array.plain(), source, Fit::Bins).unwrap();
    let payloads: Vec<Offset> =
        (0..200).map(|index| heap.allocate(index * 37 % 900, 16).unwrap()).collect();
    let large: Vec<Offset> = (0..8).map(|_| heap.allocate(20_000, 16).unwrap()).collect();
    for payload in payloads.iter().step_by(3).chain(large.iter().step_by(2)) {
        heap.free(*payload).unwrap();
    }
    heap
}

/// Changes the word at `at`, checks, and puts it back.
fn broken(array: &Array, heap: &Heap<Fixed, NoJournal>, at: Offset, value: u64) -> Option<Broken> {
    let mut core = array.plain();
    let old = core.read(at);
    core.write(at, value);
    let result = heap.check();
    let Parts { chunks, units, .. } = heap.parts();
    // A census may well come out; it must only end.
    let _ = Census::take(heap.core(), chunks, units);
    core.write(at, old);
    result.err()
}

#[test]
fn each_invariant_is_proved_by_its_name() {
    let array = Array::new(ARRAY_BYTES);
    let mut heap = heap(&array);
    let used = heap.allocate(30_000, 16).unwrap();
    let free = heap.allocate(30_000, 16).unwrap();
    let _fence = heap.allocate(30_000, 16).unwrap();
    heap.free(free).unwrap();
    let block = heap.allocate(64, 16).unwrap();
    let (slab, class) = heap.parts().units.slab_of(heap.core(), block).unwrap();
    assert_eq!(Some(class), Class::of(64));
    let free_bytes = heap.core().read(free - WORD);
    let name = |at: Offset, value: u64| broken(&array, &heap, at, value).map(|b| b.invariant);
    assert_eq!(name(used - WORD, 30_017 | 4), Some("granular"));
    assert_eq!(name(used - WORD, 1 << 40 | 1), Some("tiled"));
    assert_eq!(name(used - WORD, 48 | 1), Some("twinned"));
    assert_eq!(name(free, 0x4140), Some("doubly"));
    assert_eq!(name(free + WORD, 0x4140), Some("binned"));
    assert_eq!(name(slab.header(), 5), Some("formed"));
    assert_eq!(name(slab.header().word(2), 5), Some("ringed"));
    assert_eq!(name(slab.header().word(4), 5), Some("counted"));
    assert_eq!(name(slab.header().word(5), 1 << 40), Some("summed"));
    assert_eq!(
        name(slab.header().word(6 + u64::from(class.shape().words) - 1), u64::MAX),
        Some("within")
    );
    assert!(free_bytes > 30_000);
    heap.check().unwrap();
}

#[test]
fn two_free_neighbours_are_found() {
    let array = Array::new(ARRAY_BYTES);
    let mut core = array.plain();
    let chunks = Chunks::format(&mut core, Offset(64), Fit::Bins);
    let units = Units::format(&mut core, Offset(64) + Chunks::BYTES, ARRAY_BYTES);
    units.mark(&mut core, array.rest(0), Unit::CHUNKS);
    chunks.add_region(&mut core, array.rest(UNIT));
    let payload = chunks.allocate(&mut core, 48, 16).unwrap();
    core.write(payload - WORD, 64);
    core.write(payload + 48, 64);
    let error = check(&core, chunks, units, &[]).unwrap_err();
    assert_eq!(error.invariant, "binned");
}

/// Every word that the heap keeps for itself: state and map, tags and links, headers.
fn own_words(heap: &Heap<Fixed, NoJournal>) -> Vec<Offset> {
    let Parts { chunks, units, .. } = heap.parts();
    let first = chunks.regions(heap.core()).next().unwrap();
    let mut words: Vec<u64> = (8..first.begin.0 / WORD + 3).collect();
    for part in Walk::new(heap.core(), chunks, units) {
        match part.unwrap() {
            Part::Region(region) => words.push(region.end().0 / WORD - 1),
            Part::Used(chunk) | Part::Free(chunk) | Part::Top(chunk) => {
                words.extend((0..3).map(|index| chunk.begin.0 / WORD + index));
                words.push(chunk.last_tag().0 / WORD);
            }
            Part::Slab(chunk, slab, _) => {
                words.push(chunk.begin.0 / WORD);
                words.extend((0..24).map(|index| slab.header().0 / WORD + index));
            }
        }
    }
    words.into_iter().map(|index| Offset(index * WORD)).collect()
}

#[test]
fn any_word_can_be_torn_and_the_check_ends() {
    let array = Array::new(ARRAY_BYTES);
    let heap = heap(&array);
    let mut random = random();
    let (mut found, words) = (0, own_words(&heap));
    for _ in 0..5000 {
        let at = words[random.usize(..words.len())];
        let value = match random.u32(..4) {
            0 => random.u64(..),
            1 => random.u64(..ARRAY_BYTES),
            2 => random.u64(..ARRAY_BYTES) & !7,
            _ => heap.core().read(at) ^ 1 << random.u32(..64),
        };
        found += u32::from(broken(&array, &heap, at, value).is_some());
    }
    println!("{found} of 5000 torn words were found");
    heap.check().unwrap();
}
