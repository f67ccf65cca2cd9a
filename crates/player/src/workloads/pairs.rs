//! Pairs: payloads that live for a moment, as the temporary values of a computation do.
//!
//! Asks: what does the shortest way through malloc and free cost? Like `cfrac` and `glibc-simple`.

use super::{Measure, give_back, in_threads, payload, small};

/// Payloads in all.
const COUNT: usize = 30_000_000;

/// A computation has a few values at hand at a time.
const LIVE: usize = 8;

pub(super) fn one(measure: Measure) -> u64 {
    in_threads(1, |index| play(measure, index, COUNT))
}

pub(super) fn two(measure: Measure) -> u64 {
    in_threads(2, |index| play(measure, index, COUNT / 2))
}

fn play(measure: Measure, index: usize, count: usize) -> u64 {
    let mut rng = measure.rng(index);
    let mut live: [_; LIVE] = std::array::from_fn(|_| payload(16, 0));
    let mut sum = 0;
    for turn in 0..measure.share(count) {
        let next = payload(small(&mut rng), turn as u8);
        sum += give_back(std::mem::replace(&mut live[turn % LIVE], next));
    }
    sum
}
