//! Where this process gets core: the program break, or anonymous mappings.
//!
//! ```text
//!   brk    | data |==== core ====>          |     the break moves up; others may move it as well
//!
//!   mmap   |==== core ====>  reserved  |          a reservation, made usable from its begin on
//! ```
//!
//! Promises: core comes in whole units, zero, and each piece as far as possible behind the one
//! before, so that the chunk tier sees one region that grows.
//! Knows nothing of what core is used for.

use morecore_heap::layout::align_up;
use morecore_heap::{Offset, Region, Source, UNIT};
use morecore_sys::memory;

use crate::conf::From;
use crate::line::keeping_errno;

/// How much address space is reserved at once: it costs nothing but addresses, and a heap that
/// outgrows it gets another, which does not border on it. 1 GiB is far more than most need.
const RESERVED: u64 = 1 << 30;

/// Where core comes from.
#[derive(Debug)]
pub(crate) enum System {
    /// The program break. It falls back to mappings where something stands in its way.
    Brk(Mmap),
    /// Mappings.
    Mmap(Mmap),
}

/// What is left of a reservation.
#[derive(Debug)]
pub(crate) struct Mmap {
    next: u64,
    end: u64,
}

impl System {
    pub(crate) const fn new(from: From) -> Self {
        let mmap = Mmap { next: 0, end: 0 };
        match from {
            From::Brk => Self::Brk(mmap),
            From::Mmap => Self::Mmap(mmap),
        }
    }
}

impl System {
    /// Gives back to the system the addresses that are reserved and not used yet; `true` if there
    /// were any.
    pub(crate) fn give_up_reserved(&mut self) -> bool {
        let (Self::Brk(rest) | Self::Mmap(rest)) = self;
        let Mmap { next, end } = *rest;
        // SAFETY: nobody uses this part of the reservation.
        let is_gone =
            next < end && keeping_errno(|| unsafe { memory::unmap(next, end - next) }).is_ok();
        if is_gone {
            rest.end = next;
        }
        is_gone
    }
}

// SAFETY: what brk and mmap hand out is readable, writable, zero, and handed out once: the break
// only moves up here (down in `less_core`), and a reservation is used up from its begin on.
unsafe impl Source for System {
    fn more_core(&mut self, bytes: u64) -> Option<Region> {
        let bytes = bytes.checked_next_multiple_of(UNIT)?;
        keeping_errno(|| match self {
            Self::Brk(rest) => more_by_break(bytes).or_else(|| rest.more(bytes)),
            Self::Mmap(rest) => rest.more(bytes),
        })
    }

    fn less_core(&mut self, region: Region) -> bool {
        keeping_errno(|| match self {
            Self::Brk(_) if less_by_break(region) => true,
            Self::Brk(rest) | Self::Mmap(rest) => rest.less(region),
        })
    }
}

impl Mmap {
    fn more(&mut self, bytes: u64) -> Option<Region> {
        if self.end - self.next < bytes && !self.reserve(bytes) {
            return None;
        }
        // SAFETY: the reservation is ours, and nobody uses this part of it yet.
        unsafe { memory::open(self.next, bytes) }.ok()?;
        let region = Region { begin: Offset(self.next), bytes };
        self.next += bytes;
        Some(region)
    }

    /// Gives back what borders on the rest of the reservation: its pages go to the system, its
    /// addresses are used again.
    fn less(&mut self, region: Region) -> bool {
        if region.end().0 != self.next {
            return false;
        }
        // SAFETY: the heap does not use it any more; closing drops the pages.
        if unsafe { memory::close(region.begin.0, region.bytes) }.is_err() {
            return false;
        }
        self.next = region.begin.0;
        true
    }

    /// Reserves room for `bytes`; what is left of the last reservation stays unused.
    #[cold]
    fn reserve(&mut self, bytes: u64) -> bool {
        // Where addresses are limited (`ulimit -v`), what is needed now has to do.
        let wanted = [bytes.max(RESERVED), bytes];
        let reserved = wanted.into_iter().find_map(|bytes| {
            let bytes = bytes.checked_add(UNIT)?;
            Some((memory::reserve(bytes).ok()?, bytes))
        });
        let Some((at, bytes)) = reserved else { return false };
        if at == self.end {
            // It borders on the last one: the two are one.
            self.end = at + bytes;
            return true;
        }
        self.next = align_up(at, UNIT);
        self.end = (at + bytes) & !(UNIT - 1);
        true
    }
}

/// Moves the break up, first to a whole unit if others left it elsewhere.
fn more_by_break(bytes: u64) -> Option<Region> {
    // SAFETY: the break does not move.
    let now = unsafe { memory::move_break(0) }.ok()?;
    let begin = now.checked_next_multiple_of(UNIT)?;
    let step = i64::try_from(begin - now + bytes).ok()?;
    // SAFETY: the break moves up.
    let before = unsafe { memory::move_break(step) }.ok()?;
    // Somebody moved it between the two calls: what we got does not begin where we thought. It is
    // lost, but for what a unit's begin leaves; others do this once, if ever.
    (before == now).then_some(Region { begin: Offset(begin), bytes })
}

/// Moves the break down, if it stands where the region ends.
fn less_by_break(region: Region) -> bool {
    // SAFETY: the break does not move.
    let now = unsafe { memory::move_break(0) };
    let Ok(step) = i64::try_from(region.bytes) else { return false };
    // SAFETY: the heap does not use the region any more, and it ends at the break.
    now == Ok(region.end().0) && unsafe { memory::move_break(-step) }.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::thread::core;

    fn is_zero(region: Region) -> bool {
        (0..region.bytes / 8).all(|index| core().read(region.begin.word(index)) == 0)
    }

    fn dirty(region: Region) {
        (0..region.bytes / 8).for_each(|index| core().write(region.begin.word(index), 7));
    }

    #[test]
    fn mappings_come_zero_in_whole_units_each_behind_the_one_before() {
        let mut source = System::new(From::Mmap);
        let first = source.more_core(1).expect("there is core");
        let second = source.more_core(3 * UNIT).expect("there is core");
        assert_eq!((first.bytes, second.bytes), (UNIT, 3 * UNIT));
        assert_eq!(first.end(), second.begin);
        assert!(first.begin.is_aligned(UNIT) && is_zero(first) && is_zero(second));
        dirty(second);
        assert!(!source.less_core(first), "it does not border on the rest");
        assert!(source.less_core(second));
        assert_eq!(source.more_core(3 * UNIT), Some(second));
        assert!(is_zero(second));
    }

    #[test]
    fn what_outgrows_a_reservation_gets_another() {
        let mut source = System::new(From::Mmap);
        let first = source.more_core(UNIT).expect("there is core");
        let large = source.more_core(2 * RESERVED).expect("there is core");
        assert!(large.begin.is_aligned(UNIT) && large.bytes == 2 * RESERVED);
        assert!(large.end() <= first.begin || first.end() <= large.begin);
        assert_eq!(source.more_core(1 << 60), None);
    }

    #[test]
    fn the_break_moves_up_and_down() {
        let mut source = System::new(From::Brk);
        let region = source.more_core(UNIT).expect("there is core");
        assert!(region.begin.is_aligned(UNIT) && region.bytes == UNIT && is_zero(region));
        dirty(region);
        // Nobody else in this process moves the break, but if somebody did it only stays.
        if source.less_core(region) {
            let again = source.more_core(UNIT).expect("there is core");
            assert!(again == region && is_zero(again));
        }
    }
}
