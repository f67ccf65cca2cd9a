//! Question: are there bytes that RESP's parser reads otherwise piece by piece, or that hurt it?
//!
//! The same body runs with the corpus and with damaged inputs in `cargo test -p morecore-wire`.

#![no_main]

#[path = "../../crates/wire/tests/it/fuzzed/body.rs"]
#[allow(dead_code, reason = "each fuzzer runs one of the bodies")]
mod body;

libfuzzer_sys::fuzz_target!(|input: &[u8]| body::resp(input));
