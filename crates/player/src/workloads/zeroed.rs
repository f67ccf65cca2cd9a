//! Zeroed payloads, small and large, of which little is used.
//!
//! Asks: does calloc know that memory is zero already, or does it write zeroes over zeroes?

use std::hint::black_box;

use super::{Measure, Payload};

/// Small ones.
const SMALL: usize = 6_000_000;

/// Small ones that live at a time.
const LIVE: usize = 20_000;

/// Large ones: tables, mostly empty.
const LARGE: usize = 600;

/// How large they are, at most.
const LARGE_BYTES: usize = 4 << 20;

/// How many of them live at a time.
const LARGE_LIVE: usize = 8;

pub(super) fn play(measure: Measure) -> u64 {
    let mut rng = measure.rng(0);
    let mut sum = 0;
    let mut live: Vec<Payload> = (0..LIVE).map(|_| vec![0; 16]).collect();
    for _ in 0..measure.share(SMALL) {
        let mut payload = black_box(vec![0u8; rng.usize(16..=256)]);
        payload[0] += 1;
        let old = std::mem::replace(&mut live[rng.usize(..LIVE)], payload);
        sum += old.iter().step_by(16).map(|&byte| u64::from(byte)).sum::<u64>();
    }
    let mut tables: Vec<Payload> = (0..LARGE_LIVE).map(|_| Vec::new()).collect();
    for turn in 0..measure.share(LARGE) {
        let mut table = black_box(vec![0u8; rng.usize(LARGE_BYTES / 8..=LARGE_BYTES)]);
        for _ in 0..16 {
            let place = rng.usize(..table.len());
            table[place] += 1;
            sum += u64::from(table[place]);
        }
        tables[turn % LARGE_LIVE] = table;
    }
    sum
}
