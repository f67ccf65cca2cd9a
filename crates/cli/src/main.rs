//! The program `morecore`.
#![forbid(unsafe_code)]

fn main() {}
