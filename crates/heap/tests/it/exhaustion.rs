//! A heap that is full refuses, and stays as it was.

use morecore_heap::{Fit, Fixed, Heap, NoJournal, Offset, REQUEST_MOST};

use crate::array::Array;

const ARRAY_BYTES: u64 = 2 << 20;

fn heap(array: &Array) -> Heap<Fixed, NoJournal> {
    // SAFETY: the array is zero and this heap's alone.
    let source = unsafe { Fixed::new(array.rest(64)) };
    Heap::format(array.plain(), source, Fit::Bins).unwrap()
}

/// Fills a heap with payloads of `bytes` bytes; says which they are.
fn fill(heap: &mut Heap<Fixed, NoJournal>, bytes: u64) -> Vec<Offset> {
    std::iter::from_fn(|| heap.allocate(bytes, 16)).collect()
}

fn check(bytes: u64, part_least: f64) {
    let array = Array::new(ARRAY_BYTES);
    let mut heap = heap(&array);
    let payloads = fill(&mut heap, bytes);
    let part = (payloads.len() as u64 * bytes) as f64 / ARRAY_BYTES as f64;
    assert!(part >= part_least, "{bytes}: only {part} of the core was used");
    let before = array.image();
    for more in [bytes, bytes * 2, ARRAY_BYTES, REQUEST_MOST, u64::MAX] {
        assert_eq!(heap.allocate(more, 16), None);
        assert_eq!(heap.allocate(more, 1 << 20), None);
        assert_eq!(heap.resize(payloads[0], more.max(1 << 21)), Ok(None));
    }
    assert!(array.image() == before, "a refusal changed something");
    heap.check().unwrap();
    for payload in &payloads {
        heap.free(*payload).unwrap();
    }
    heap.check().unwrap();
    // One slab was kept wherever it stood, so the second round may tile a little worse.
    assert!(fill(&mut heap, bytes).len() * 10 >= payloads.len() * 9);
}

#[test]
fn a_heap_full_of_small_blocks_refuses_and_stays_as_it_was() {
    check(16, 0.90);
    check(100, 0.80);
    check(16384, 0.85);
}

#[test]
fn a_heap_full_of_chunks_refuses_and_stays_as_it_was() {
    check(20_000, 0.95);
    check(100_000, 0.90);
}

#[test]
fn kept_slabs_make_room_for_others() {
    let array = Array::new(ARRAY_BYTES);
    let mut heap = heap(&array);
    for bytes in (16..4096).step_by(16) {
        if let Some(payload) = heap.allocate(bytes, 16) {
            heap.free(payload).unwrap();
        }
    }
    let most = ARRAY_BYTES * 9 / 10;
    let payload = heap.allocate(most, 16).unwrap();
    assert!(heap.payload_bytes(payload).unwrap() >= most);
    heap.check().unwrap();
}

#[test]
fn a_core_that_is_too_small_makes_no_heap() {
    let array = Array::new(2048);
    // SAFETY: the array is zero and this heap's alone.
    let source = unsafe { Fixed::new(array.rest(64)) };
    assert!(Heap::format(array.plain(), source, Fit::Bins).is_none());
}
