//! Turnover: thousands of short threads, each with a little to do.
//!
//! Asks: what does a thread's first malloc cost, and its end? A malloc that builds much for a
//! thread loses here.

use super::{Measure, give_back, in_threads, payload, small};

/// Threads in all.
const THREADS: usize = 12_000;

/// Threads at a time.
const AT_ONCE: usize = 4;

/// What each does: about the payloads of a request to a server.
const COUNT: usize = 300;

pub(super) fn play(measure: Measure) -> u64 {
    let mut sum = 0u64;
    for first in 0..measure.share(THREADS / AT_ONCE) {
        sum += in_threads(AT_ONCE, |index| {
            let mut rng = measure.rng(first * AT_ONCE + index);
            let live: Vec<_> =
                (0..COUNT).map(|number| payload(small(&mut rng), number as u8)).collect();
            live.into_iter().map(give_back).sum()
        });
    }
    sum
}
