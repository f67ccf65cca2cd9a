//! The part of a group with stubs: rows in a ring, each the home of some hashes.
//!
//! ```text
//!   home of a hash: its low 21 bits, times the rows, divided by 2^21
//!
//!   | row | home | .... | row | ....        bit 2 of the home's hop: a stub there is of this home
//!           0      1      2
//! ```
//!
//! Promises: a stub stands at most 15 rows after its home.
//! Source: M. Herlihy, N. Shavit, M. Tzafrir, Hopscotch Hashing, 2008.

use crate::Error;
use crate::bucket::BUCKET_BYTES;
use crate::payload::{HASH_BITS, HASH_MASK};
use crate::table::Edit;
use crate::view::Look;

/// How far from its home a stub may stand, in rows; one bit each in the hop.
pub(crate) const HOP: u64 = 16;

/// The hop in word 0 of a row.
const HOP_MASK: u64 = (1 << HOP) - 1;

/// The rows of a group: lines in a ring, each the home of some hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ring {
    pub(crate) at: u64,
    pub(crate) lines: u64,
}

/// The hop in word 0 of a row.
#[inline]
pub(crate) fn hop_in(word0: u64) -> u64 {
    word0 & HOP_MASK
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

    /// How far from its home a stub may stand.
    pub(crate) fn reach(self) -> u64 {
        HOP.min(self.lines)
    }

    /// The distances from `home` of the lines with its stubs, a bit each.
    #[inline]
    pub(crate) fn hop(self, look: &impl Look, home: u64) -> Result<u64, Error> {
        Ok(hop_in(look.read(self.line_at(home))?))
    }

    pub(crate) fn set_hop(
        self,
        edit: &mut impl Edit,
        home: u64,
        distance: u64,
        is_set: bool,
    ) -> Result<(), Error> {
        if distance >= HOP {
            return Err(Error::Damaged { what: "a stub too far from its home", at: self.at });
        }
        let at = self.line_at(home);
        let word = edit.read(at)?;
        let new = if is_set { word | 1 << distance } else { word & !(1 << distance) };
        if new != word {
            edit.write(at, new);
        }
        Ok(())
    }
}
