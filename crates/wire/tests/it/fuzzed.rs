//! The fuzzers' bodies, with their corpus and with what damage makes of it.

mod body;

use std::path::{Path, PathBuf};

use crate::random::{damage, random};

/// Damaged inputs for each of the corpus.
const ROUNDS: usize = 40;

/// The inputs that are kept for the fuzzer `name`.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let entries = std::fs::read_dir(&folder).expect("the corpus is there");
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths.iter().map(|path| std::fs::read(path).expect("an input can be read")).collect()
}

/// Runs `body` with the corpus of `name`, whole and damaged.
fn check(name: &str, body: impl Fn(&[u8])) {
    let mut random = random();
    for input in corpus(name) {
        body(&input);
        for _ in 0..ROUNDS {
            let mut damaged = input.clone();
            damage(&mut random, &mut damaged);
            body(&damaged);
        }
    }
}

#[test]
fn resp_takes_what_the_fuzzer_found() {
    check("resp", body::resp);
}

#[test]
fn memcacheds_language_takes_what_the_fuzzer_found() {
    check("memcached", body::memcached);
}
