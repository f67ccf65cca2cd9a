//! What is freed next, where blocks are freed in a row: it is fetched ahead.
//!
//! ```text
//!   freed: the last 64 | 64 that | and | are fetched |
//!   [][][][][][][][][] | . . . . . . . | = = = = = = |          or all of it downwards
//! ```
//!
//! Who drops a tree, a list or a table of boxes frees blocks in the order of their addresses, and
//! looks into each before. Processors fetch ahead where addresses follow each other; but they lose
//! the row where a slab's header is, and do not find it again in the order in which a tree is
//! dropped: each line is waited for then. (Of 57 ms for two million nodes 40 were that; with this
//! it takes 16. A whole half magazine fetched at once is more than is on its way at a time: 27.)
//!
//! Promises: nothing changes that a program could see. Who frees in no order pays two comparisons
//! each half magazine, and the fast paths nothing.
//! Knows nothing of where slabs begin and end: to fetch what is not mapped does nothing.

use core::ops::Range;

use morecore_heap::Class;
use morecore_heap::layout::CACHE_LINE;

use crate::magazine::Waiting;

/// So many of the blocks that were freed last say whether they lie in a row: as many as a mask word
/// has.
pub(super) const LOOKED_AT: usize = 64;

/// They do if so many times as many would have room between the first and the last of them: what
/// lives on between them is no hindrance.
const SPARSE: u64 = 2;

/// Blocks of at most a line: of larger ones nobody knows which lines will be looked at.
const BLOCK_MOST: u64 = CACHE_LINE;

/// What lies so many times the row's length ahead is fetched: what is nearer was, or is wanted too
/// soon.
const ROWS_AHEAD: u64 = 2;

/// Fetches what is going to be freed soon, if `newest`, the blocks that were freed last into a full
/// magazine, lie in a row; `false`: they do not.
pub(super) fn fetch(newest: &[Waiting], class: Class) -> bool {
    let bytes = u64::from(class.shape().bytes);
    let (Some(first), Some(last)) = (newest.first(), newest.last()) else { return false };
    if newest.len() < LOOKED_AT || bytes > BLOCK_MOST {
        return false;
    }
    let Some(stretch) = ahead(first.block(), last.block(), bytes) else { return false };
    stretch.step_by(CACHE_LINE as usize).for_each(fetch_line);
    true
}

/// What to fetch, if blocks of `bytes` bytes were freed in a row from `first` to `last`.
fn ahead(first: u64, last: u64, bytes: u64) -> Option<Range<u64>> {
    let row = LOOKED_AT as u64 * bytes;
    let (near, far) = (ROWS_AHEAD * row, (ROWS_AHEAD + 1) * row);
    if last.wrapping_sub(first) < SPARSE * row {
        Some(last + near..last + far)
    } else if first.wrapping_sub(last) < SPARSE * row {
        Some(last.saturating_sub(far)..last.saturating_sub(near))
    } else {
        None
    }
}

/// Asks the processor for the line at `at`.
#[inline(always)]
fn fetch_line(at: u64) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let line = core::ptr::without_provenance::<i8>(at as usize);
        // SAFETY: to prefetch reads nothing that a program could see, and never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row of 64 blocks of 16 bytes.
    const ROW: u64 = 1024;

    fn check(first: u64, last: u64, expected: Option<Range<u64>>) {
        assert_eq!(ahead(first, last, 16), expected);
    }

    #[test]
    fn a_row_upwards_goes_on_upwards() {
        let last = 0x10000 + ROW - 16;
        check(0x10000, last, Some(last + 2 * ROW..last + 3 * ROW));
    }

    #[test]
    fn a_row_downwards_goes_on_downwards() {
        let first = 0x20000 + ROW - 16;
        check(first, 0x20000, Some(0x20000 - 3 * ROW..0x20000 - 2 * ROW));
    }

    #[test]
    fn a_row_of_which_half_lives_on_is_one() {
        let last = 0x10000 + 2 * ROW - 32;
        check(0x10000, last, Some(last + 2 * ROW..last + 3 * ROW));
    }

    #[test]
    fn what_lies_further_apart_is_no_row() {
        for last in [0x10000 + 2 * ROW, 0x10000 - 2 * ROW, 0x7000_0000] {
            check(0x10000, last, None);
        }
    }

    #[test]
    fn nothing_is_before_the_first_address() {
        check(2 * ROW + ROW / 2, ROW * 5 / 2 - ROW + 16, Some(0..0));
        check(4 * ROW - 16, 3 * ROW, Some(0..ROW));
    }
}
