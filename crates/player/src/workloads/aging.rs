//! Aging: a long life in which the sizes that are wanted drift, and a little of everything stays.
//!
//! ```text
//! phase 0   sizes around 32      nine tenths go, a tenth stays
//! phase 1   sizes around 48      into what holes?
//! phase 2   sizes around 72 ...
//! ```
//!
//! Asks: how much memory does it take in the end for what is live? Like `rptest`.
//! Source: M. S. Johnstone and P. R. Wilson, The Memory Fragmentation Problem: Solved?, ISMM 1998.

use fastrand::Rng;

use super::{Measure, Payload, give_back, payload};

/// Bytes that live at the height of each phase.
const LIVE_BYTES: usize = 24 << 20;

/// Phases: sizes grow by half in each, up to 32 * 1.5^14 = 9 KiB, and then begin anew.
const PHASES: usize = 20;

/// Sizes in a round of phases.
const SIZES: usize = 15;

pub(super) fn play(measure: Measure) -> u64 {
    let mut rng = measure.rng(0);
    let mut live: Vec<Payload> = Vec::new();
    let (mut bytes, mut sum) = (0, 0);
    for phase in 0..PHASES {
        let around = grown(32, phase % SIZES);
        while bytes < measure.share(LIVE_BYTES) {
            let payload = written(&mut rng, around);
            bytes += payload.capacity();
            live.push(payload);
        }
        rng.shuffle(&mut live);
        let stays = live.len() / 10;
        sum += live.drain(stays..).map(give_back).sum::<u64>();
        bytes = live.iter().map(Payload::capacity).sum();
    }
    sum + live.into_iter().map(give_back).sum::<u64>()
}

/// Half as much again, `steps` times.
fn grown(bytes: usize, steps: usize) -> usize {
    (0..steps).fold(bytes, |bytes, _| bytes + bytes / 2)
}

/// A payload of about that size, written from end to end: what is not used takes no memory.
fn written(rng: &mut Rng, around: usize) -> Payload {
    let mut payload = payload(rng.usize(around / 2..=around + around / 2), rng.u8(..));
    payload.resize(payload.capacity(), 1);
    payload
}
