//! Frees by whoever knows the size: C23's, and C++'s sized `delete`.
//!
//! Promises: a size that the payload cannot have been asked for with ends the process with a line.
//! The class of a block of this thread's own is known anyway, so the question costs a comparison.
//! Knows nothing of how a payload is taken back.

use morecore_heap::Class;

use crate::line::abort;
use crate::local;
use crate::magazine::Magazine;
use crate::{harden, tiers};

/// A chunk that is longer than what was asked for is so by less than the shortest chunk and a
/// granule: what is left over is not worth being one.
const SLACK_MOST: u64 = 64;

/// Takes a payload back that was asked for with `bytes`; null is nothing.
///
/// # Safety
/// - As for [`tiers::free`].
#[inline]
pub(crate) unsafe fn free(payload: *mut u8, bytes: usize) {
    // SAFETY: a thread's word names a record that is this thread's, or one that stays empty.
    let thread = unsafe { &*local::thread() };
    let is_right = match (thread.look(payload.addr() as u64), Class::of(bytes as u64)) {
        (Some((distance, _)), Some(class)) => distance == Magazine::distance(class),
        _ => false,
    };
    if !is_right {
        check(payload, bytes as u64, 1);
    }
    // SAFETY: the caller's duty, passed on.
    unsafe { tiers::free(payload) };
}

/// The same for a payload that was asked for at a multiple of `align`.
///
/// # Safety
/// - As for [`tiers::free`].
pub(crate) unsafe fn free_aligned(payload: *mut u8, bytes: usize, align: usize) {
    check(payload, bytes as u64, align as u64);
    // SAFETY: the caller's duty, passed on.
    unsafe { tiers::free(payload) };
}

/// Ends the process if the payload cannot be of this size, or not at this alignment.
#[cold]
#[inline(never)]
fn check(payload: *mut u8, bytes: u64, align: u64) {
    if payload.is_null() {
        return;
    }
    let at = payload.addr();
    // What is no payload ends the process here.
    let has =
        if harden::is_on() { harden::payload_bytes(payload) } else { tiers::raw_bytes(payload) };
    let is_size = if harden::is_on() { has == bytes } else { may_be(has, bytes, align) };
    if !is_size {
        abort(format_args!(
            "free of {at:#x} with a wrong size: payload of {has} bytes, not {bytes}"
        ));
    }
    if align.is_power_of_two() && !(at as u64).is_multiple_of(align) {
        abort(format_args!(
            "free of {at:#x} with a wrong alignment: it is not at a multiple of {align}"
        ));
    }
}

/// May a payload that has `has` bytes have been asked for with `bytes`?
fn may_be(has: u64, bytes: u64, align: u64) -> bool {
    let class = if align <= 16 { Class::of(bytes) } else { Class::aligned(bytes, align) };
    let is_class = class.is_some_and(|class| u64::from(class.shape().bytes) == has);
    // A resize leaves a payload where it is unless it shrinks to half or less.
    is_class || bytes <= has && (2 * bytes > has || bytes + SLACK_MOST >= has)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(has: u64, right: &[u64], wrong: &[u64]) {
        assert!(right.iter().all(|bytes| may_be(has, *bytes, 1)), "{has}: {right:?}");
        assert!(!wrong.iter().any(|bytes| may_be(has, *bytes, 1)), "{has}: {wrong:?}");
    }

    #[test]
    fn a_size_of_another_payload_is_not_this_ones() {
        check(1024, &[1024, 1000, 513], &[1025, 4096, 512, 100]);
        check(16, &[0, 1, 16], &[17, 64]);
        check(40_016, &[40_000, 30_000], &[160_000, 10_000]);
    }
}
