//! False sharing: each thread writes to a tiny payload of its own, over and over.
//!
//! Asks: do payloads of two threads lie in one cache line, so that every write of one takes the
//! line from the other? Like `cache-thrash` (its own payloads) and `cache-scratch` (payloads that
//! another thread asked for; freed, they must not give the line to two).

use std::hint::black_box;

use super::{Measure, Payload, in_threads, payload};

/// Threads: no more than a small machine has processors, or they would not run at the same time.
const THREADS: usize = 2;

/// Payloads that each thread writes to, one after the other.
const PAYLOADS: usize = 400;

/// How often each is written to.
const WRITES: usize = 1_500_000;

/// Eight of this size fit in a cache line.
const BYTES: usize = 8;

pub(super) fn own(measure: Measure) -> u64 {
    in_threads(THREADS, |_| (0..PAYLOADS).map(|_| write(measure)).sum())
}

pub(super) fn given(measure: Measure) -> u64 {
    // Asked for by one thread, one after the other, so they may well be neighbours.
    let gifts: Vec<_> = (0..THREADS).map(|_| std::sync::Mutex::new(Some(gift()))).collect();
    in_threads(THREADS, |index| {
        let given = gifts[index].lock().ok().and_then(|mut gift| gift.take());
        drop(black_box(given));
        (0..PAYLOADS).map(|_| write(measure)).sum()
    })
}

fn gift() -> Payload {
    payload(BYTES, 0)
}

/// Asks for a payload, writes to it many times, and gives what stands in it in the end.
fn write(measure: Measure) -> u64 {
    let mut payload = payload(BYTES, 0);
    for _ in 0..measure.share(WRITES) {
        // Each write must reach the cache, or there is nothing to share.
        let byte = black_box(&mut payload[0]);
        *byte = byte.wrapping_add(1);
    }
    u64::from(payload[0])
}
