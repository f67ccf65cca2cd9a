//! Question: is there a damaged segment on which someone who looks, or attaches, crashes or hangs, or
//! leaves the segment?
//!
//! The same body runs with random inputs, and with the corpus, in `cargo test -p morecore-store`.

#![no_main]
#![allow(clippy::unwrap_used, reason = "a fuzzer that cannot go on says so and ends")]

#[path = "../../crates/store/tests/it/hostile/body.rs"]
mod body;

use std::sync::Mutex;

static MEMORY: Mutex<Option<body::Fenced>> = Mutex::new(None);

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let mut memory = MEMORY.lock().unwrap();
    body::look(input, memory.get_or_insert_with(|| body::Fenced::new(1 << 20)));
});
