//! What the first scan costs whoever has just attached.

use std::process;
use std::time::Instant;

use morecore_store::{Name, Set, Store};

use crate::{create, tidy};

/// Removes a store of this name in the end, whatever happens.
struct Removed(Name);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = Store::remove(&self.0);
    }
}

/// Fills a store with 1 GiB, attaches once more, and scans what is new to that mapping.
pub(crate) fn first_scan(value_bytes: usize) {
    let name: Name = format!("limits-{}", process::id()).parse().unwrap();
    let items = (1 << 30) / value_bytes as u64;
    let mut store = Store::create(&name, &create(3 << 30)).unwrap();
    let _removed = Removed(name.clone());
    let value = vec![7u8; value_bytes];
    for number in 0..items {
        store.set(&number.to_be_bytes(), &value, &Set::default()).unwrap();
    }
    tidy(&mut store);
    let begin = Instant::now();
    let mut attached = Store::attach(&name).unwrap();
    let attach_ms = begin.elapsed().as_secs_f64() * 1e3;
    let begin = Instant::now();
    let (mut cursor, mut seen) = (0, 0);
    loop {
        cursor = attached.scan(cursor, 1000, |_, _| seen += 1).unwrap();
        if cursor == 0 {
            break;
        }
    }
    let scan_ms = begin.elapsed().as_secs_f64() * 1e3;
    assert_eq!(seen, items);
    print!("attach {attach_ms:.3} ms, ");
    println!("first scan of {items} values of {value_bytes} B {scan_ms:.2} ms");
}
