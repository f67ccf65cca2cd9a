//! The only door to atomics, so that they can be replaced in one place.

pub(crate) use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
pub(crate) use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, fence};
