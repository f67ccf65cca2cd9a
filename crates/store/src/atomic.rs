//! The only door to atomics, and to waiting on one, so that they can be replaced in one place: the
//! models in `tests/loom` do.

use std::time::Duration;

use morecore_sys::futex;

pub(crate) use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
pub(crate) use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, fence};

/// Sleeps until the word is woken, is no longer `expected`, or the nap is over.
pub(crate) fn wait(word: &AtomicU32, expected: u32, nap: Duration) {
    futex::wait(word, expected, nap);
}

/// Wakes so many who sleep on a word.
pub(crate) fn wake(word: &AtomicU32, count: i32) {
    futex::wake(word, count);
}
