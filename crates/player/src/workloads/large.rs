//! Large payloads with random lives, used from end to end.
//!
//! Asks: is memory reused, split and coalesced, or does every payload cost page faults? Like
//! `malloc-large`.

use std::ops::Range;

use super::{Measure, PAGE, Payload, give_back, payload};

pub(super) fn medium(measure: Measure) -> u64 {
    play(measure, 10..17, 2_000, 900_000)
}

pub(super) fn large(measure: Measure) -> u64 {
    play(measure, 16..24, 24, 6_000)
}

/// `count` payloads of 2^`sizes` bytes, `most` of them at a time.
fn play(measure: Measure, sizes: Range<u32>, most: usize, count: usize) -> u64 {
    let mut rng = measure.rng(0);
    let mut live: Vec<Payload> = (0..most).map(|_| payload(16, 0)).collect();
    let mut sum = 0;
    for turn in 0..measure.share(count) {
        let place = rng.usize(..most);
        let least = 1usize << rng.u32(sizes.start..sizes.end - 1);
        // The old one goes first: whoever replaces a buffer seldom has room for both.
        sum += give_back(std::mem::replace(&mut live[place], Vec::from([0])));
        live[place] = used(rng.usize(least..2 * least), turn as u8);
    }
    sum + live.into_iter().map(give_back).sum::<u64>()
}

/// A payload with a byte written in each page.
fn used(bytes: usize, mark: u8) -> Payload {
    let mut payload = payload(bytes, mark);
    for page in payload.spare_capacity_mut().chunks_mut(PAGE) {
        page[0].write(mark);
    }
    payload
}
