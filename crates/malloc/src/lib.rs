//! Face 1: the heap of one process.
//!
//! ```text
//!   c, global      the C functions, and Rust's allocator
//!      |
//!   tiers          which tier serves a request, which tier an address came from
//!      |
//!   medium, large  chunks, and mappings
//!      |
//!   thread         magazines and slabs, a thread's own      (magazine, ledger, local, life)
//!      |
//!   arena          chunks, unit map and mappings, shared    (mapping, rows, warm, lock, conf)
//!      |
//!   source         brk, mmap; statistics says what is where
//! ```
//!
//! Promises: it works from the first instruction that the dynamic loader runs, in every thread, on
//! both sides of a fork; it allocates nothing from elsewhere and unwinds nothing. A double free, or
//! a free of what was never given, ends the process with a line that says so.
//!
//! Limits, stated:
//! - A double free across threads is seen at once, but for one: if two threads free a block in
//!   the same moment, it is seen when its owner collects what others freed.
//! - What others freed in a thread's slabs is collected when that thread runs out of blocks of a
//!   class, or ends: of a thread that sleeps for ever it stays.
//! - In the child of a fork, the slabs of threads that did not come along stay as they are; others
//!   may free what is in them, but nobody gets it again.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod c;
pub mod line;

mod arena;
mod clear;
mod conf;
mod global;
mod harden;
mod large;
mod ledger;
mod life;
mod local;
mod lock;
mod magazine;
mod mapping;
mod medium;
mod rows;
mod shelf;
mod sized;
mod source;
mod statistics;
mod thread;
mod tiers;
mod warm;

pub use crate::global::Morecore;
