//! What the bench of mallocs plays: workloads, a recording, and the points of its shows.
//!
//! ```text
//!   cli   which pieces there are, and with which arguments each is played
//!   bin   morecore-player KIND WHAT SEED PART: plays one, prints the outcome
//! ```
//!
//! They call the allocator as any Rust program does. The program that plays them is as small as one
//! in C, for what it has resident itself is a floor under every peak that is measured: the whole of
//! `morecore`, with its parser, its server and its tables, would be 2.7 MiB more of it.
//!
//! Knows nothing of clocks, but for those of `scaling`, and of who competes.
#![forbid(unsafe_code)]

mod footprint;
mod piece;
pub mod recorded;
pub mod scaling;
mod workloads;

pub use piece::{Piece, Point};
pub use workloads::{Measure, WORKLOADS, Workload};
