//! Growth by realloc: what a vector does that nobody told how long it becomes.
//!
//! Asks: does a payload grow in place, or by moving pages, or is it copied?

use std::hint::black_box;

use super::Measure;

/// Vectors that grow beside each other, so that each is in the other's way.
const VECTORS: usize = 64;

/// How long the longest of them becomes, in words.
const WORDS: usize = 40_000;

/// How often they grow from nothing.
const TIMES: usize = 12;

/// How long the one alone becomes, in words: 256 MiB.
const WORDS_ALONE: usize = 32 << 20;

/// Each time it asks for this many words more, an eighth of a MiB: as a program does that reads
/// without knowing how much comes.
const STEP: usize = 16 << 10;

pub(super) fn many(measure: Measure) -> u64 {
    let mut rng = measure.rng(0);
    let mut sum = 0u64;
    for _ in 0..TIMES {
        let mut vectors: Vec<Vec<u64>> = (0..VECTORS).map(|_| Vec::new()).collect();
        for number in 0..measure.share(VECTORS * WORDS) {
            vectors[rng.usize(..VECTORS)].push(number as u64);
        }
        for mut vector in black_box(vectors) {
            vector.shrink_to_fit();
            sum = sum.wrapping_add(vector.iter().sum::<u64>());
        }
    }
    sum
}

pub(super) fn one(measure: Measure) -> u64 {
    let mut vector: Vec<u64> = Vec::new();
    for number in 0..measure.share(WORDS_ALONE / STEP) {
        vector.reserve_exact(STEP);
        vector.resize(vector.len() + STEP, number as u64);
        black_box(&mut vector);
    }
    vector.iter().step_by(STEP).sum()
}
