//! Churn: small payloads, each of which lives until chance picks its place for another.
//!
//! Asks: what does a free cost that comes in no order, in a heap larger than the nearest cache?
//! Like `alloc-test`.

use super::{Measure, give_back, in_threads, payload, small};

/// Payloads in all.
const COUNT: usize = 4_000_000;

/// Payloads that live at a time, over all threads: some 16 MiB with what holds them.
const LIVE: usize = 160_000;

pub(super) fn one(measure: Measure) -> u64 {
    play(measure, 1)
}

pub(super) fn two(measure: Measure) -> u64 {
    play(measure, 2)
}

pub(super) fn eight(measure: Measure) -> u64 {
    play(measure, 8)
}

fn play(measure: Measure, threads: usize) -> u64 {
    in_threads(threads, |index| {
        let mut rng = measure.rng(index);
        let fresh = |turn| payload(16, turn as u8);
        let mut live: Vec<_> = (0..measure.share(LIVE / threads)).map(fresh).collect();
        let mut sum = 0;
        for turn in 0..measure.share(COUNT / threads) {
            let place = rng.usize(..live.len());
            let next = payload(small(&mut rng), turn as u8);
            sum += give_back(std::mem::replace(&mut live[place], next));
        }
        sum + live.into_iter().map(give_back).sum::<u64>()
    })
}
