//! What CONTRACT says of the program `morecore`, tried on the program itself.
// The lint's exception for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used)]

mod bad_input;
mod bench;
mod bench_faces;
mod demo;
mod misuse;
mod preload;
mod run;
mod serve;
mod stores;
mod support;
