//! Shelves: the sizes between the small ones and those that are seldom, whose chunks wait in a
//! thread's magazines as blocks do.
//!
//! ```text
//!   shelf 0    18 KiB      8    36 KiB     16    72 KiB     24   144 KiB
//!         1    20 KiB      9    40 KiB     17    80 KiB     25   160 KiB
//!         ...              ...             ...              ...             eight to a doubling,
//!         7    32 KiB     15    64 KiB     23   128 KiB     31   256 KiB    as the classes are
//! ```
//!
//! Promises: a request gets at most 1/8 more than it asked for, of which nobody touches the end; a
//! chunk of any size has a shelf for whose requests it is long enough.
//! Knows nothing of chunks and threads.

use morecore_heap::SMALL_MOST;

/// How many shelves there are: eight for each of four doublings.
pub(crate) const SHELVES: usize = 32;

/// The largest request that a shelf serves. What is larger is asked for less often than its pages
/// are touched, and to let it wait holds too much memory.
pub(crate) const SHELF_MOST: u64 = SMALL_MOST << 4;

/// The first doubling, as a shift.
const FIRST: u32 = SMALL_MOST.ilog2();

/// The number of a shelf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shelf(usize);

impl Shelf {
    /// The shelf that serves a request of `bytes` bytes.
    #[inline(always)]
    pub(crate) fn of(bytes: u64) -> Option<Self> {
        if bytes <= SMALL_MOST || bytes > SHELF_MOST {
            return None;
        }
        let doubling = (bytes - 1).ilog2();
        let eighth = (bytes - 1) >> (doubling - 3) & 7;
        Some(Self((doubling - FIRST) as usize * 8 + eighth as usize))
    }

    /// The shelf on which a payload of `bytes` bytes may wait: it is long enough for all that ask
    /// there.
    #[inline(always)]
    pub(crate) fn holding(bytes: u64) -> Option<Self> {
        if bytes >= 2 * SHELF_MOST {
            return None;
        }
        let above = Self::of(bytes.min(SHELF_MOST - 1) + 1)?;
        if bytes >= SHELF_MOST { Some(above) } else { above.0.checked_sub(1).map(Self) }
    }

    /// All of them.
    pub(crate) fn all() -> impl Iterator<Item = Self> + Clone {
        (0..SHELVES).map(Self)
    }

    /// Its number, from 0 on.
    #[inline(always)]
    pub(crate) fn index(self) -> usize {
        self.0
    }

    /// What a request that it serves gets.
    #[inline(always)]
    pub(crate) fn bytes(self) -> u64 {
        (9 + self.0 as u64 % 8) << (self.0 as u32 / 8 + FIRST - 3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_is_served_by_the_least_shelf_that_is_long_enough() {
        for bytes in (SMALL_MOST + 1..=SHELF_MOST).step_by(7).chain([SHELF_MOST]) {
            let shelf = Shelf::of(bytes).expect("there is one for these");
            assert!(shelf.bytes() >= bytes && shelf.bytes() - bytes <= bytes / 8, "{bytes}");
            assert!(shelf.0 == 0 || Shelf(shelf.0 - 1).bytes() < bytes, "{bytes}");
        }
        assert_eq!((Shelf::of(SMALL_MOST), Shelf::of(SHELF_MOST + 1)), (None, None));
    }

    #[test]
    fn what_waits_is_long_enough() {
        for bytes in (0..2 * SHELF_MOST).step_by(16) {
            let next = |shelf: Shelf| Shelf(shelf.0 + 1).bytes();
            match Shelf::holding(bytes) {
                Some(shelf) if shelf.0 + 1 < SHELVES => {
                    assert!(shelf.bytes() <= bytes && bytes < next(shelf), "{bytes}");
                }
                Some(shelf) => assert!(shelf.bytes() <= bytes, "{bytes}"),
                None => assert!(bytes < Shelf(0).bytes(), "{bytes}"),
            }
        }
        let all: std::vec::Vec<_> = Shelf::all().map(Shelf::bytes).collect();
        assert!(all.is_sorted() && all.len() == SHELVES && all[31] == SHELF_MOST);
    }
}
