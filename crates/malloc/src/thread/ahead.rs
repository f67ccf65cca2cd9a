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

/// They do if so many times as many would have room between the first and the last of them, and the
/// header of a slab: what lives on between them is no hindrance.
const SPARSE: u64 = 2;
const HEADER_MOST: u64 = 4 << 10;

/// And if each of so many comes before or behind the one before it: it is enough to ask some.
const ASKED: usize = 8;

/// Blocks of at most a line: of larger ones nobody knows which lines will be looked at.
const BLOCK_MOST: u64 = CACHE_LINE;

/// What lies so many times the row's length ahead is fetched: what is nearer was, or is wanted too
/// soon.
const ROWS_AHEAD: u64 = 2;

/// Fetches what is going to be freed soon, if `newest`, the blocks that were freed last into a full
/// magazine, lie in a row; `false`: they do not.
pub(super) fn fetch(newest: &[Waiting], class: Class) -> bool {
    let bytes = u64::from(class.shape().bytes);
    if newest.len() < LOOKED_AT || bytes > BLOCK_MOST {
        return false;
    }
    let asked = newest.iter().step_by(LOOKED_AT / ASKED).map(|one| one.block());
    let Some(stretch) = ahead(asked, bytes) else { return false };
    stretch.step_by(CACHE_LINE as usize).for_each(fetch_line);
    true
}

/// What to fetch, if blocks of `bytes` bytes, of which `asked` are some, were freed in a row.
fn ahead(asked: impl Iterator<Item = u64> + Clone, bytes: u64) -> Option<Range<u64>> {
    let (first, last) = (asked.clone().next()?, asked.clone().last()?);
    let row = LOOKED_AT as u64 * bytes;
    let (near, far) = (ROWS_AHEAD * row, (ROWS_AHEAD + 1) * row);
    if first.abs_diff(last) >= SPARSE * row + HEADER_MOST {
        None
    } else if asked.clone().is_sorted() {
        Some(last + near..last + far)
    } else if asked.is_sorted_by(|before, after| before >= after) {
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

    fn check(asked: &[u64], expected: Option<Range<u64>>) {
        assert_eq!(ahead(asked.iter().copied(), 16), expected);
    }

    #[test]
    fn a_row_upwards_goes_on_upwards() {
        let last = 0x10000 + ROW - 16;
        check(&[0x10000, 0x10200, last], Some(last + 2 * ROW..last + 3 * ROW));
    }

    #[test]
    fn a_row_downwards_goes_on_downwards() {
        let last = 0x20000;
        check(&[last + ROW, last + 32, last], Some(last - 3 * ROW..last - 2 * ROW));
    }

    #[test]
    fn a_row_goes_over_a_header_and_what_lives_on() {
        let last = 0x10000 + 2 * ROW + HEADER_MOST - 16;
        check(&[0x10000, last], Some(last + 2 * ROW..last + 3 * ROW));
        check(&[0x10000, last + 16], None);
    }

    #[test]
    fn what_goes_up_and_down_is_no_row() {
        check(&[0x10000, 0x10200, 0x10100, 0x10300], None);
        check(&[0x10000, 0x7000_0000], None);
        check(&[], None);
    }

    #[test]
    fn nothing_is_before_the_first_address() {
        check(&[2 * ROW, ROW], Some(0..0));
        check(&[4 * ROW, 3 * ROW], Some(0..ROW));
    }
}
