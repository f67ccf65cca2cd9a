//! A Rust program on this heap: collections that grow, shrink and are dropped elsewhere.

use std::collections::{BTreeMap, HashMap, VecDeque};

#[test]
fn collections_keep_what_they_were_given() {
    let mut random = crate::random();
    let mut plain: Vec<(u64, String)> = Vec::new();
    let (mut hashed, mut sorted) = (HashMap::new(), BTreeMap::new());
    for key in 0..20_000u64 {
        let value = "x".repeat(random.usize(0..200)) + &key.to_string();
        plain.push((key, value.clone()));
        hashed.insert(key, value.clone());
        sorted.insert(key, value.into_bytes());
        if random.u8(..) < 100 {
            let gone = random.u64(0..=key);
            hashed.remove(&gone);
            sorted.remove(&gone);
        }
    }
    assert_eq!(hashed.len(), sorted.len());
    for (key, value) in &plain {
        let same = hashed.get(key).map(String::as_bytes) == sorted.get(key).map(Vec::as_slice);
        assert!(same && hashed.get(key).is_none_or(|kept| kept == value));
    }
}

#[test]
fn a_queue_of_large_values_moves_through_every_tier() {
    let mut random = crate::random();
    let mut queue = VecDeque::new();
    for round in 0..3_000u32 {
        let length = 1 << random.u32(0..21);
        queue.push_back(vec![round as u8; length]);
        if queue.len() > 40 {
            let value: Vec<u8> = queue.pop_front().unwrap();
            assert!(value.iter().all(|byte| *byte == value[0]));
        }
    }
}

#[test]
fn alignment_above_a_granule_is_kept() {
    #[repr(align(4096))]
    struct Page([u8; 4096]);
    #[repr(align(64))]
    #[derive(Clone)]
    struct Line(u8);
    let pages: Vec<_> = (0..50).map(|i| Box::new(Page([i; 4096]))).collect();
    for (page, i) in pages.iter().zip(0..) {
        assert!(std::ptr::from_ref(page.as_ref()).addr().is_multiple_of(4096));
        assert!(page.0.iter().all(|byte| *byte == i));
    }
    let mut lines = Vec::new();
    for i in 0..1000u32 {
        lines.push(Line(i as u8));
        assert!(std::ptr::from_ref(&lines[0]).addr().is_multiple_of(64));
    }
    assert!(lines.iter().zip(0u32..).all(|(line, i)| line.0 == i as u8));
}
