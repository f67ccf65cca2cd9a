//! Making new payloads zero: writing zeros, or giving pages back to the system, which hands out
//! zeros when somebody wants them.
//!
//! To write is ten times cheaper than to fault the pages in again, if all of them are used; not to
//! is cheaper, and saves the memory, if few are: a hash table, a matrix that is mostly empty. So
//! the one that was cleared last is looked at when it is freed: how much of it had been touched?
//!
//! Promises: what is asked to be zero is zero, whatever the guess; a wrong guess costs time only.
//! Knows nothing of where payloads come from.

use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicU32, AtomicU64};

use morecore_heap::{Offset, Region};
use morecore_sys::memory::{self, Advice};

use crate::line::keeping_errno;
use crate::thread::core;

/// From this on pages may be given back instead: below it a call of the system costs as much as
/// writing zeros into all of it.
const PAGES_LEAST: u64 = 512 << 10;

/// So many pages of one that is freed are looked at, its first ones; one byte of the stack each.
const LOOKED_AT: usize = 256;

/// One that had this part of its pages touched, or more, was used as a whole: from there on faults
/// cost more than zeros.
const FILLED_PART: usize = 8;

/// After so many more that were filled than were not, zeros are written; twice as many are counted.
const FILLED_MOST: u32 = 2;

/// Of so many that get zeros one has its pages given back, to see whether things have changed.
const TRY_AGAIN: u32 = 16;

/// The payload that was last cleared by giving back its pages, until it is freed.
static LAST: AtomicU64 = AtomicU64::new(0);

/// How many more of them were filled than were not, from 0 on. (That the counts of several threads
/// mix, or one is lost, only spoils a guess.)
static FILLED: AtomicU32 = AtomicU32::new(0);

/// How many got zeros because of it.
static WRITTEN: AtomicU32 = AtomicU32::new(0);

/// Makes a part of a new payload zero. Nobody else uses it yet.
pub(crate) fn clear(dirty: Region) {
    if dirty.bytes < PAGES_LEAST || !is_worth_it() || !give_back(dirty) {
        write_zeros(dirty);
    }
}

/// Looks at a payload that is about to be freed.
#[inline]
pub(crate) fn look_at(payload: Offset, bytes: u64) {
    if LAST.load(Relaxed) == payload.0 {
        look_closely(payload, bytes);
    }
}

/// Is it likely that few of the pages are going to be used?
fn is_worth_it() -> bool {
    FILLED.load(Relaxed) < FILLED_MOST || WRITTEN.fetch_add(1, Relaxed).is_multiple_of(TRY_AGAIN)
}

/// Gives the pages of `dirty` back and writes zeros to what is left of it; `false`: the system will
/// not have them, for they are locked.
fn give_back(dirty: Region) -> bool {
    let page = memory::page_bytes();
    let begin = dirty.begin.align_up(page);
    let end = dirty.end().align_down(page);
    // SAFETY: the payload is new, so nobody needs what is in these pages.
    let advise = || unsafe { memory::advise(begin.0, end - begin, Advice::Unneeded) };
    if keeping_errno(advise).is_err() {
        return false;
    }
    write_zeros(Region::between(dirty.begin, begin));
    write_zeros(Region::between(end, dirty.end()));
    LAST.store(dirty.begin.0, Relaxed);
    true
}

fn write_zeros(dirty: Region) {
    let bytes = core().pointer(dirty.begin, dirty.bytes);
    // SAFETY: the payload is new, and nobody else's.
    unsafe { bytes.write_bytes(0, dirty.bytes as usize) };
}

#[cold]
fn look_closely(payload: Offset, bytes: u64) {
    LAST.store(0, Relaxed);
    let page = memory::page_bytes();
    let begin = payload.align_up(page);
    let pages = ((payload + bytes).align_down(page).0.saturating_sub(begin.0) / page) as usize;
    let mut seen = [0; LOOKED_AT];
    let seen = &mut seen[..pages.min(LOOKED_AT)];
    if keeping_errno(|| memory::look_for_pages(begin.0, seen)).is_err() {
        return;
    }
    let there = seen.iter().filter(|page| **page & 1 != 0).count();
    let filled = FILLED.load(Relaxed);
    let filled = if there * FILLED_PART >= seen.len() {
        (filled + 1).min(2 * FILLED_MOST)
    } else {
        filled.saturating_sub(1)
    };
    FILLED.store(filled, Relaxed);
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;

    #[test]
    fn who_fills_gets_zeros_that_were_written() {
        let mut payload = vec![7u64; 1 << 17];
        let region = Region { begin: core().offset(payload.as_ptr().cast()), bytes: 1 << 20 };
        let mut play = |is_filled: bool| {
            LAST.store(0, Relaxed);
            clear(region);
            let was_given_back = LAST.load(Relaxed) == region.begin.0;
            assert!([0, 1, 77_777, (1 << 17) - 1].iter().all(|at| payload[*at] == 0));
            if is_filled {
                payload.fill(7);
            }
            look_at(region.begin, region.bytes);
            was_given_back
        };
        assert!(play(true) && play(true), "at first nobody knows");
        let tries = |is_filled, play: &mut dyn FnMut(bool) -> bool| {
            (0..4 * TRY_AGAIN).filter(|_| play(is_filled)).count()
        };
        assert!(tries(true, &mut play) <= 4);
        tries(false, &mut play);
        assert!(play(false), "it has seen that things have changed");
    }
}
