//! Face 1: the heap of one process.
//!
//! ```text
//!   c, global      the C functions, and Rust's allocator
//!      |
//!   tiers          which tier serves a request, which tier an address came from
//!      |
//!   thread         magazines and slabs, a thread's own      (magazine, local, life)
//!      |
//!   arena          chunks, unit map and mappings, shared    (mapping, lock, conf)
//!      |
//!   source         brk, mmap; statistics says what is where
//! ```
//!
//! Promises: it works from the first instruction that the dynamic loader runs, in every thread, on
//! both sides of a fork; it allocates nothing from elsewhere and unwinds nothing. A double free, or
//! a free of what was never given, ends the process with a line that says so.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod c;
pub mod line;

mod arena;
mod conf;
mod global;
mod life;
mod local;
mod lock;
mod magazine;
mod mapping;
mod source;
mod statistics;
mod thread;
mod tiers;

pub use crate::global::Morecore;
