//! Batches: thousands of payloads at once, freed as they came, backwards, or shuffled.
//!
//! Asks: what does it cost to go from empty to full and back, and does the order of frees matter?
//! Like `sh6bench` and `sh8bench`.

use super::{Measure, Payload, give_back, payload, small};

/// How often a batch is made.
const BATCHES: usize = 240;

/// Payloads in a batch.
const BATCH: usize = 40_000;

pub(super) fn play(measure: Measure) -> u64 {
    let mut rng = measure.rng(0);
    let mut sum = 0;
    let mut batch: Vec<Payload> = Vec::new();
    for turn in 0..measure.share(BATCHES) {
        batch.extend((0..BATCH).map(|number| payload(small(&mut rng), number as u8)));
        match turn % 3 {
            0 => {}
            1 => batch.reverse(),
            _ => rng.shuffle(&mut batch),
        }
        // A fifth stays for the next batch, so the heap is never quite empty.
        let stays = batch.len() / 5;
        sum += batch.drain(stays..).map(give_back).sum::<u64>();
    }
    sum
}
