//! The end of a heap that lies.
//!
//! A broken invariant is no error that a caller could act on: what the heap says of its own bytes
//! is wrong, and to go on would hand out memory twice. So it ends the process, with the name of the
//! invariant and the place. The message is formatted in place: nothing is allocated.

use crate::layout::Offset;

/// Ends the process: the heap's word at `at` does not hold what `invariant` promises.
#[cold]
#[inline(never)]
pub fn broken(invariant: &'static str, at: Offset) -> ! {
    panic!("invariant `{invariant}` broken at {at}")
}
