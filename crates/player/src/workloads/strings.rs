//! Strings: an index of the words of a text, made, sorted, joined and thrown away.
//!
//! Asks: how does a program fare that allocates as most do, without thinking of it? Like the
//! interpreters and `z3` of the suites.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};

use fastrand::Rng;

use super::Measure;

/// Words in a text.
const WORDS: usize = 220_000;

/// Different words, at most.
const VOCABULARY: u32 = 40_000;

/// Texts, one after the other.
const TEXTS: usize = 4;

/// The same order of iteration in every run: the standard one is seeded anew by each process.
type Index = HashMap<String, Vec<usize>, BuildHasherDefault<DefaultHasher>>;

pub(super) fn play(measure: Measure) -> u64 {
    (0..TEXTS).fold(0, |sum: u64, text| sum.wrapping_add(index(measure, &mut measure.rng(text))))
}

/// Makes an index of one text and gives the length of what is written out of it.
fn index(measure: Measure, rng: &mut Rng) -> u64 {
    let mut places = Index::default();
    for place in 0..measure.share(WORDS) {
        places.entry(word(rng)).or_default().push(place);
    }
    let mut lines = BTreeMap::new();
    for (word, places) in places {
        let places: Vec<String> = places.iter().map(usize::to_string).collect();
        lines.insert(word.to_uppercase(), places.join(","));
    }
    let lines: Vec<String> =
        lines.iter().map(|(word, places)| format!("{word}: {places}")).collect();
    lines.join("\n").len() as u64
}

/// A word, the first of the vocabulary more often than the last.
fn word(rng: &mut Rng) -> String {
    let most = rng.u32(1..=VOCABULARY);
    let number = rng.u32(..most);
    format!("word-{number}-{}", "x".repeat(number as usize % 23))
}
