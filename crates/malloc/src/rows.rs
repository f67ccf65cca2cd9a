//! Rows: chunks that several slabs of one unit share.
//!
//! ```text
//!   chunk   | tag | slab | slab | spare | slab | slab | spare | spare | spare | tag |
//!                                   |                            |
//!                                   warm: a slab was there       untouched, or its pages went back
//! ```
//!
//! A slab in a chunk of its own has tags before and behind it. Where a thread has few payloads of a
//! class, its slab is used on the first page only, and the tags touch one more: as much again. In a
//! row they do so once for eight slabs.
//!
//! Promises: a unit that was used before is taken before one that was not. What rested in a row
//! goes back to the system as what rested in a free chunk does.
//!
//! Knows nothing of chunks, and of what stands in a slab: whoever calls holds the arena.

use morecore_heap::{CHUNK_TAGS, Offset, Tally, UNIT};
use morecore_sys::memory::{self, Advice};

use crate::line::keeping_errno;

/// The units of a row: with eight the tags' page is an eighth of what it was, and what a row takes
/// of the addresses (half a MiB) still is less than core grows by.
const UNITS: u64 = 8;

/// The payload of a row's chunk. Its tags have the place of those of its first and last slab.
pub(crate) const ROW_BYTES: u64 = UNITS * UNIT - CHUNK_TAGS;

/// So many rows there are at most, 32 MiB of slabs: a program that has more of them uses most of
/// their pages, and to look for one among more would cost more than its free.
const ROWS_MOST: usize = 64;

/// A row: each of its units has a bit in each mask.
///
/// # Invariants
/// - `spare`: no slab is in a unit whose bit is 1 in `spare`, and one in each other.
/// - `warm`: a bit of `warm` is one of `spare`, and one of `rested` was one of `warm` when an epoch
///   ended.
#[derive(Clone, Copy)]
struct Row {
    begin: Offset,
    spare: u8,
    warm: u8,
    rested: u8,
}

/// All rows.
pub(crate) struct Rows {
    rows: [Row; ROWS_MOST],
    count: usize,
}

/// A unit of a row that a slab may have.
pub(crate) struct Taken {
    /// Where it begins.
    pub(crate) unit: Offset,
    /// Was it used before, and still has its pages?
    pub(crate) is_warm: bool,
}

/// What became of a unit that a slab had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// It is in no row: the slab has a chunk of its own.
    Alone,
    /// It is spare now.
    Kept,
    /// No slab is left in the row at `row`; it is none any more, and its chunk may be freed. So
    /// many bytes of it were warm before.
    Empty { row: Offset, warm_bytes: u64 },
}

impl Rows {
    pub(crate) const fn new() -> Self {
        let none = Row { begin: Offset::NONE, spare: 0, warm: 0, rested: 0 };
        Self { rows: [none; ROWS_MOST], count: 0 }
    }

    /// Is there room for one more?
    pub(crate) fn is_full(&self) -> bool {
        self.count == ROWS_MOST
    }

    /// Makes a row out of a payload of [`ROW_BYTES`] bytes at a multiple of [`UNIT`]. There is room
    /// for it.
    pub(crate) fn add(&mut self, begin: Offset) {
        self.rows[self.count] = Row { begin, spare: u8::MAX, warm: 0, rested: 0 };
        self.count += 1;
    }

    /// Takes a unit for a slab, if one is spare: first one that is warm.
    pub(crate) fn take(&mut self) -> Option<Taken> {
        let rows = &mut self.rows[..self.count];
        let found = rows.iter().position(|row| row.warm != 0);
        let found = found.or_else(|| rows.iter().position(|row| row.spare != 0))?;
        let row = &mut rows[found];
        let is_warm = row.warm != 0;
        let index = if is_warm { row.warm } else { row.spare }.trailing_zeros();
        let others = !(1 << index);
        row.spare &= others;
        row.warm &= others;
        row.rested &= others;
        Some(Taken { unit: row.begin + u64::from(index) * UNIT, is_warm })
    }

    /// Takes back the unit of a slab.
    pub(crate) fn give(&mut self, unit: Offset) -> Given {
        let is_here = |row: &Row| unit >= row.begin && unit < row.begin + UNITS * UNIT;
        let Some(found) = self.rows[..self.count].iter().position(is_here) else {
            return Given::Alone;
        };
        let row = &mut self.rows[found];
        let bit = 1 << ((unit - row.begin) / UNIT);
        row.spare |= bit;
        if row.spare != u8::MAX {
            row.warm |= bit;
            return Given::Kept;
        }
        let warm_bytes = u64::from(row.warm.count_ones()) * UNIT;
        let row = row.begin;
        self.count -= 1;
        self.rows[found] = self.rows[self.count];
        Given::Empty { row, warm_bytes }
    }

    /// The stretches of spare units: how many, and how many bytes they have.
    pub(crate) fn spare(&self) -> Tally {
        // A stretch begins where no unit before is spare.
        let count = self.sum(|row| row.spare & !(row.spare << 1));
        Tally { count, bytes: self.sum(|row| row.spare) * UNIT }
    }

    /// The bytes of those that are warm.
    pub(crate) fn warm_bytes(&self) -> u64 {
        self.sum(|row| row.warm) * UNIT
    }

    fn sum(&self, mask: impl Fn(&Row) -> u8) -> u64 {
        self.rows[..self.count].iter().map(|row| u64::from(mask(row).count_ones())).sum()
    }

    /// Gives the pages of all that is warm back to the system; says how many bytes.
    pub(crate) fn give_back(&mut self) -> u64 {
        self.rows[..self.count].iter_mut().map(|row| row.give_back(row.warm)).sum()
    }

    /// Ends an epoch: gives back the pages of what was warm during all of it.
    pub(crate) fn end_epoch(&mut self) {
        for row in &mut self.rows[..self.count] {
            row.give_back(row.rested);
            row.rested = row.warm;
        }
    }
}

impl Row {
    /// Gives back the pages of those spare units that `mask` has; says how many bytes.
    fn give_back(&mut self, mask: u8) -> u64 {
        let mut gone = 0;
        for index in 0..UNITS {
            if mask >> index & 1 == 0 {
                continue;
            }
            let begin = self.begin + index * UNIT;
            // On the last page of the last unit stands the chunk's tag.
            let kept = if index + 1 == UNITS { memory::page_bytes() } else { 0 };
            // SAFETY: by `spare` no slab is there, and the unit is this row's, so nobody uses it.
            let advise = || unsafe { memory::advise(begin.0, UNIT - kept, Advice::Unneeded) };
            // Pages that are locked stay.
            if keeping_errno(advise).is_ok() {
                gone += UNIT;
            }
        }
        self.warm &= !mask;
        self.rested &= !mask;
        gone
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn a_unit_is_taken_and_given_until_its_row_is_empty() {
        let begin = Offset(memory::map(0, (UNITS + 1) * UNIT).expect("so little")).align_up(UNIT);
        let mut rows = Rows::new();
        assert!(rows.take().is_none());
        rows.add(begin);
        assert_eq!(rows.spare(), Tally { count: 1, bytes: UNITS * UNIT });
        let units: Vec<_> = (0..UNITS).map(|_| rows.take().expect("spare").unit).collect();
        assert!(units.iter().zip(0..).all(|(unit, index)| *unit == begin + index * UNIT));
        assert!(rows.take().is_none());
        assert_eq!(rows.give(begin + UNITS * UNIT), Given::Alone);
        assert_eq!((rows.give(units[5]), rows.warm_bytes()), (Given::Kept, UNIT));
        assert_eq!(rows.give(units[7]), Given::Kept);
        assert_eq!(rows.spare(), Tally { count: 2, bytes: 2 * UNIT });
        let taken = [rows.take().expect("spare"), rows.take().expect("spare")];
        assert!(taken[0].unit == units[5] && taken[0].is_warm && taken[1].unit == units[7]);
        for unit in &units[..7] {
            assert_eq!(rows.give(*unit), Given::Kept);
        }
        assert_eq!((rows.give_back(), rows.warm_bytes()), (7 * UNIT, 0));
        assert!(!rows.take().expect("spare").is_warm);
        assert_eq!(rows.give(units[0]), Given::Kept);
        assert_eq!(rows.give(units[7]), Given::Empty { row: begin, warm_bytes: UNIT });
        assert_eq!((rows.spare(), rows.give(units[0])), (Tally::default(), Given::Alone));
    }

    #[test]
    fn what_rested_for_an_epoch_goes_back_and_the_tag_behind_it_stays() {
        let begin = Offset(memory::map(0, (UNITS + 1) * UNIT).expect("so little")).align_up(UNIT);
        let at = |at: Offset| core::ptr::with_exposed_provenance_mut::<u64>(at.0 as usize);
        let tag = at(begin + (UNITS * UNIT - 16));
        let last = at(begin + (UNITS - 1) * UNIT);
        let mut rows = Rows::new();
        rows.add(begin);
        (0..UNITS).for_each(|_| assert!(rows.take().is_some()));
        assert_eq!(rows.give(begin + (UNITS - 1) * UNIT), Given::Kept);
        // SAFETY: the test's own mapping.
        unsafe { last.write(7) };
        // SAFETY: as above.
        unsafe { tag.write(9) };
        rows.end_epoch();
        // SAFETY: as above.
        assert_eq!((rows.warm_bytes(), unsafe { last.read() }), (UNIT, 7));
        rows.end_epoch();
        // SAFETY: as above.
        assert_eq!((rows.warm_bytes(), unsafe { last.read() }), (0, 0));
        // SAFETY: as above.
        assert_eq!(unsafe { tag.read() }, 9);
    }
}
