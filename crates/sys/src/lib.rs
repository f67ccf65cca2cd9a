//! The system: each call wrapped once, by feature.
//!
//! Promises: every wrapper is a thin, typed name for one system call; it allocates nothing and
//! knows nothing of heaps, stores or protocols. Every failure is the kernel's own [`Errno`], passed
//! up unchanged with the name of the call.
//!
//! It is `no_std` so that `libmorecore.so`, which replaces malloc, can stand on it.
#![no_std]

pub mod clock;
pub mod descriptor;
pub mod environment;
mod errno;
pub mod file;
pub mod futex;
pub mod memory;
pub mod process;
pub mod ready;
pub mod segment;
pub mod semaphore;
pub mod socket;
pub mod streams;
pub mod thread;
pub mod uring;

pub use errno::{Errno, Failed};
