//! What an item takes, beyond its key and its value.

use morecore_store::{Create, Evict, PieceKind, Set, Store};

/// Room for the fine classes; what is not used of it costs nothing.
const MEMORY_BYTES: u64 = 512 << 20;

/// So many that slabs and groups which are begun do not count.
const ITEMS: u64 = 100_000;

/// Fills a store with keys of 16 bytes and values of these lengths in turn, and compares what an
/// item's share of slabs, payloads and groups is beyond its key and value.
#[track_caller]
fn check(lengths: &[usize], most: f64) {
    let how = Create { memory_bytes: MEMORY_BYTES, mode: 0o600, evict: Evict::None };
    let mut store = Store::anonymous(&how).unwrap();
    for number in 0..ITEMS {
        let value = vec![7; lengths[number as usize % lengths.len()]];
        let key = format!("{number:016}");
        store.set(key.as_bytes(), &value, &Set::default()).unwrap();
    }
    let is_item = |kind| matches!(kind, PieceKind::Payload | PieceKind::Group);
    let pieces = store.census().pieces;
    let bytes: u64 = pieces.iter().filter(|it| is_item(it.kind)).map(|it| it.bytes).sum();
    let beyond = (bytes as f64 - store.stat().content_bytes as f64) / ITEMS as f64;
    assert!(beyond <= most, "{beyond:.1} bytes beyond key and value, not {most}");
    crate::prove(&mut store);
}

#[test]
fn an_item_of_200_bytes_takes_29_more() {
    check(&[200], 29.0);
}

#[test]
fn an_item_of_1_kib_takes_33_more() {
    check(&[1024], 33.0);
}

#[test]
fn slabs_of_many_lengths_are_not_many() {
    // Of some ninety classes a slab each stands half empty: 12 MB, or 120 bytes an item.
    let lengths: Vec<usize> = (100..1000).step_by(9).collect();
    check(&lengths, 160.0);
}
