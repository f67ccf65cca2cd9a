//! A part of a group: lines in a ring, each the home of some hashes.
//!
//! ```text
//!   home of a hash: its low 21 bits, times the lines, divided by 2^21
//!
//!   | line | home | .... | entry | ....        bit 2 of the home's hop: the entry is of this home
//!            0      1      2
//! ```
//!
//! Promises: an entry stands at most 15 lines after its home; whoever puts one in moves others only
//! within that distance of theirs.
//! Source: M. Herlihy, N. Shavit, M. Tzafrir, Hopscotch Hashing, 2008.

use crate::Error;
use crate::bucket::{BUCKET_BYTES, Bucket, HOP};
use crate::layout::WORD;
use crate::payload::{HASH_BITS, HASH_MASK};
use crate::table::Edit;
use crate::view::Look;

/// How far from the home a free place is looked for.
const SEARCH_MOST: u64 = 64;

/// How many lines of that are fetched ahead: one after the other they would be as many misses.
const SEARCH_AHEAD: u64 = 8;

/// The buckets of a group, or its rows: lines in a ring, each the home of some hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ring {
    pub(crate) at: u64,
    pub(crate) lines: u64,
}

impl Ring {
    /// The home of a hash: a multiplication instead of a division.
    #[inline]
    pub(crate) fn home(self, hash: u64) -> u64 {
        ((hash & HASH_MASK) * self.lines) >> HASH_BITS
    }

    /// The index `distance` lines on.
    #[inline]
    pub(crate) fn after(self, index: u64, distance: u64) -> u64 {
        let sum = index + distance;
        // A part may have fewer lines than a hop reaches.
        if sum < self.lines { sum } else { sum % self.lines }
    }

    /// How many lines `index` is after `home`.
    pub(crate) fn distance(self, home: u64, index: u64) -> u64 {
        if index >= home { index - home } else { index + self.lines - home }
    }

    #[inline]
    pub(crate) fn line_at(self, index: u64) -> u64 {
        self.at + index * BUCKET_BYTES
    }

    /// How far from its home an entry may stand.
    pub(crate) fn reach(self) -> u64 {
        HOP.min(self.lines)
    }

    /// The distances from `home` of the lines with its entries, a bit each.
    #[inline]
    pub(crate) fn hop(self, look: &impl Look, home: u64) -> Result<u64, Error> {
        Ok(Bucket::hop(look.read(self.line_at(home))?))
    }

    pub(crate) fn set_hop(
        self,
        edit: &mut impl Edit,
        home: u64,
        distance: u64,
        is_set: bool,
    ) -> Result<(), Error> {
        if distance >= HOP {
            return Err(Error::Damaged { what: "an entry too far from its home", at: self.at });
        }
        let at = self.line_at(home);
        let word = edit.read(at)?;
        let new = Bucket::with_hop_bit(word, distance, is_set);
        if new != word {
            edit.write(at, new);
        }
        Ok(())
    }
}

impl Ring {
    /// How far the next empty bucket is from `home`.
    pub(crate) fn free_distance(self, edit: &impl Edit, home: u64) -> Result<Option<u64>, Error> {
        let view = *edit.view();
        for ahead in 0..SEARCH_AHEAD {
            view.prefetch(self.line_at(self.after(home, ahead)));
        }
        for distance in 0..SEARCH_MOST.min(self.lines) {
            view.prefetch(self.line_at(self.after(home, distance + SEARCH_AHEAD)));
            let word = edit.read(self.line_at(self.after(home, distance)))?;
            if !Bucket::is_used(word) {
                return Ok(Some(distance));
            }
        }
        Ok(None)
    }

    /// Moves an entry into the empty bucket at `distance`, so that one nearer becomes empty.
    pub(crate) fn free_nearer(
        self,
        edit: &mut impl Edit,
        home: u64,
        distance: u64,
    ) -> Result<Option<u64>, Error> {
        for back in (1..HOP).rev() {
            let other = self.after(home, distance - back);
            let step = u64::from(self.hop(edit, other)?.trailing_zeros());
            if step >= back {
                continue;
            }
            let from_at = self.line_at(self.after(other, step));
            let moved = Bucket(edit.read_line(from_at)?);
            self.place(edit, other, back, moved)?;
            self.set_hop(edit, other, step, false)?;
            let word = edit.read(from_at)?;
            edit.write(from_at, Bucket::emptied(word));
            edit.empties();
            return Ok(Some(distance - back + step));
        }
        Ok(None)
    }

    /// Writes an entry into the empty bucket `distance` after its home.
    pub(crate) fn place(
        self,
        edit: &mut impl Edit,
        home: u64,
        distance: u64,
        bucket: Bucket,
    ) -> Result<(), Error> {
        let at = self.line_at(self.after(home, distance));
        for number in 1..8 {
            edit.fill(at + number as u64 * WORD, bucket.0[number]);
        }
        let word = edit.read(at)?;
        edit.write(at, bucket.placed(word).0[0]);
        self.set_hop(edit, home, distance, true)
    }
}
