//! Question: is there a talk that is answered otherwise piece by piece, or that hurts the server?
//!
//! The same body runs with the corpus and with damaged inputs in `cargo test -p morecore-server`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| morecore_server::fuzz_connection(input));
