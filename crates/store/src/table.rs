//! The table: from a hash to an entry.
//!
//! ```text
//!   hash   | shard | directory index | ... | spilled 3 | mark 8 | home in a part of the group 21 |
//!
//!   shard --> directory [ group ][ group ][ group ][ group ]     2^depth words
//!                           |       |        \______/
//!                           v       v            v                one group may stand in several
//!            [ buckets: small entries whole | rows: seven stubs each | marks of the buckets ]
//!
//!   directory word   depth 8 | offset 56
//!   group word       rows 8 | buckets 10 | offset 40 (of 64 bytes) | own depth 6      0 = no group
//!   place            line 13 | number in the line 3
//! ```
//!
//! A group has two parts, and either may be empty: buckets for entries that fit in a line of the
//! cache (`shelf.rs`), and rows of stubs for those with a payload (`ring.rs`). A part that has no
//! place any more is rebuilt a little larger, with its group; and a group of many lines is split in
//! two. So the table grows by steps of microseconds, and its load stays high.
//!
//! Promises: a look-up reads one directory word, the marks and the row of its homes, and only lines
//! that these name; every loop ends whatever stands in the segment.
//! Source: R. Fagin et al., Extendible Hashing, 1979; and see `bucket.rs` and `payload.rs`.

use crate::Error;
use crate::bucket::{BUCKET_BYTES, Bucket, INLINE_BYTES, Sought};
use crate::layout::{Plan, WORD, shard};
use crate::payload::{self, STUBS, Stub};
use crate::ring::Ring;
use crate::shelf::{SHELF, SHELF_BYTES, Shelves};
use crate::view::Look;

/// The fewest buckets of a part that has any: a shelf.
pub(crate) const BUCKETS_LEAST: u64 = SHELF;

/// The most buckets of a group, and the most rows: what its word can say. Only a group that cannot
/// be split comes near.
pub(crate) const BUCKETS_MOST: u64 = 1023;
pub(crate) const ROWS_MOST: u64 = 255;

/// The most lines of a group.
pub(crate) const LINES_MOST: u64 = BUCKETS_MOST + ROWS_MOST;

/// The places of a line: a whole entry has the first, stubs have the others.
pub(crate) const PLACES: u64 = STUBS + 1;

/// The deepest directory: 16 M groups in one shard.
pub(crate) const DEPTH_MOST: u32 = 24;

/// The most notes that one change of one entry makes: what has spilled from each shelf, the bucket
/// itself, its mark, and counters.
pub(crate) const ENTRY_NOTES_MOST: u64 = BUCKETS_MOST.div_ceil(SHELF) + 32;

const OFFSET_MASK: u64 = 0x3fff_ffff_ffc0;
const BUCKETS_SHIFT: u32 = 46;
const ROWS_SHIFT: u32 = 56;
const DEPTH_MASK: u64 = 63;

/// A shard's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Directory {
    pub(crate) at: u64,
    pub(crate) depth: u32,
}

/// A group, and the directory's word that leads to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) at: u64,
    pub(crate) buckets: u64,
    pub(crate) rows: u64,
    /// How many bits of the hash behind the shard's all its entries have in common.
    pub(crate) depth: u32,
}

impl Directory {
    #[inline]
    pub(crate) fn from_word(word: u64) -> Result<Option<Self>, Error> {
        if word == 0 {
            return Ok(None);
        }
        let depth = (word >> 56) as u32;
        if depth > DEPTH_MOST {
            return Err(Error::Damaged { what: "a directory too deep", at: word });
        }
        Ok(Some(Self { at: word & ((1 << 56) - 1), depth }))
    }

    /// What a word says, whether it can be or not: where it leads must be checked. The depth is
    /// below 32.
    #[inline(always)]
    pub(crate) fn unchecked(word: u64) -> Self {
        Self { at: word & ((1 << 56) - 1), depth: (word >> 56) as u32 & 31 }
    }

    pub(crate) fn word(self) -> u64 {
        self.at | u64::from(self.depth) << 56
    }

    pub(crate) fn count(self) -> u64 {
        1 << self.depth
    }

    /// Where the word of the hash's group stands.
    #[inline]
    pub(crate) fn entry_at(self, plan: &Plan, hash: u64) -> u64 {
        self.at + prefix(hash << plan.shard_bits(), self.depth) * WORD
    }
}

impl Group {
    #[inline]
    pub(crate) fn from_word(word: u64) -> Result<Option<Self>, Error> {
        if word == 0 {
            return Ok(None);
        }
        let (rows, buckets) = (word >> ROWS_SHIFT, word >> BUCKETS_SHIFT & BUCKETS_MOST);
        if rows + buckets == 0 {
            return Err(Error::Damaged { what: "a group of an impossible size", at: word });
        }
        let depth = (word & DEPTH_MASK) as u32;
        Ok(Some(Self { at: word & OFFSET_MASK, buckets, rows, depth }))
    }

    /// What a word says, whether it can be or not: where it leads must be checked. `None` if it
    /// says that there is no group.
    #[inline(always)]
    pub(crate) fn unchecked(word: u64) -> Option<Self> {
        let (rows, buckets) = (word >> ROWS_SHIFT, word >> BUCKETS_SHIFT & BUCKETS_MOST);
        let depth = (word & DEPTH_MASK) as u32;
        (word != 0).then_some(Self { at: word & OFFSET_MASK, buckets, rows, depth })
    }

    /// Where the buckets begin in a group that a word leads to, and how many there are; `None` if
    /// it has rows or no buckets.
    #[inline(always)]
    pub(crate) fn whole_in(word: u64) -> Option<(u64, u64)> {
        // The rows stand above the buckets in the word.
        let buckets = word >> BUCKETS_SHIFT;
        (buckets.wrapping_sub(1) < BUCKETS_MOST).then_some((word & OFFSET_MASK, buckets))
    }

    /// The same for the rows of a group that has nothing else.
    #[inline(always)]
    pub(crate) fn rows_in(word: u64) -> Option<(u64, u64)> {
        let (rows, is_alone) = (word >> ROWS_SHIFT, word >> BUCKETS_SHIFT & BUCKETS_MOST == 0);
        (is_alone && rows != 0).then_some((word & OFFSET_MASK, rows))
    }

    pub(crate) fn word(self) -> u64 {
        self.rows << ROWS_SHIFT | self.buckets << BUCKETS_SHIFT | self.at | u64::from(self.depth)
    }

    pub(crate) fn lines(&self) -> u64 {
        self.buckets + self.rows
    }

    /// The bytes of all parts together.
    pub(crate) fn bytes(&self) -> u64 {
        self.lines() * BUCKET_BYTES + Shelves::count_for(self.buckets) * SHELF_BYTES
    }

    pub(crate) fn places(&self) -> u64 {
        self.lines() * PLACES
    }

    /// The line that a place is in.
    pub(crate) fn line_at(&self, place: u64) -> u64 {
        self.at + place / PLACES * BUCKET_BYTES
    }

    /// The part with entries whole.
    #[inline]
    pub(crate) fn whole(&self) -> Shelves {
        let marks_at = self.at + self.lines() * BUCKET_BYTES;
        Shelves { at: self.at, marks_at, buckets: self.buckets }
    }

    /// The index of the bucket at an offset, if it is one of this group.
    pub(crate) fn whole_at(&self, at: u64) -> Option<u64> {
        let index = at.checked_sub(self.at)? / BUCKET_BYTES;
        (index < self.buckets).then_some(index)
    }

    /// The part with stubs.
    #[inline]
    pub(crate) fn stubs(&self) -> Ring {
        Ring { at: self.at + self.buckets * BUCKET_BYTES, lines: self.rows }
    }

    /// Looks a key up: its place, and what stands there.
    #[inline]
    pub(crate) fn find(
        &self,
        look: &impl Look,
        sought: &Sought<'_>,
    ) -> Result<Option<(u64, Bucket)>, Error> {
        if sought.key.len() <= INLINE_BYTES
            && let Some((index, bucket)) = self.whole().find(look, sought)?
        {
            return Ok(Some((index * PLACES, bucket)));
        }
        let is_of = |bucket: &Bucket| {
            let is_as_long = bucket.key_bytes() == sought.key.len() as u64;
            Ok(is_as_long && look.view().equals(bucket.key_at(), sought.key)?)
        };
        self.find_stub(look, sought.hash, is_of)
    }

    /// The entry with a payload, of this hash, that `is_it` says is the one.
    pub(crate) fn find_stub<L: Look>(
        &self,
        look: &L,
        hash: u64,
        is_it: impl Fn(&Bucket) -> Result<bool, Error>,
    ) -> Result<Option<(u64, Bucket)>, Error> {
        if self.rows == 0 {
            return Ok(None);
        }
        let ring = self.stubs();
        let home = ring.home(hash);
        let mut hop = ring.hop(look, home)?;
        while hop != 0 {
            let index = ring.after(home, u64::from(hop.trailing_zeros()));
            let row = look.read_line(ring.line_at(index))?;
            for number in 1..PLACES {
                let stub = Stub(row[number as usize]);
                if stub.may_be_of(hash) {
                    let bucket = payload::read(look, stub.at())?;
                    if is_it(&bucket)? {
                        return Ok(Some(((self.buckets + index) * PLACES + number, bucket)));
                    }
                }
            }
            hop &= hop - 1;
        }
        Ok(None)
    }

    /// What stands at a place, with its payload's head read; `None` if nothing does.
    pub(crate) fn entry(&self, look: &impl Look, place: u64) -> Result<Option<Bucket>, Error> {
        let (index, number) = (place / PLACES, place % PLACES);
        if index < self.buckets {
            if number != 0 || self.whole().mark(look, index)? == 0 {
                return Ok(None);
            }
            return self.whole().bucket(look, index).map(Some);
        }
        let stub = if number == 0 { Stub(0) } else { self.stub(look, place)? };
        if stub.is_none() { Ok(None) } else { payload::read(look, stub.at()).map(Some) }
    }

    /// Whether it holds no entry.
    pub(crate) fn is_empty(&self, look: &impl Look) -> Result<bool, Error> {
        for index in 0..self.buckets {
            if self.whole().mark(look, index)? != 0 {
                return Ok(false);
            }
        }
        for index in 0..self.rows {
            let row = look.read_line(self.stubs().line_at(index))?;
            if row[1..].iter().any(|&word| word != 0) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The stub at a place in a row.
    pub(crate) fn stub(&self, look: &impl Look, place: u64) -> Result<Stub, Error> {
        Ok(Stub(look.read(self.line_at(place) + place % PLACES * WORD)?))
    }

    /// The first place from `place` on that is worth a look: an entry whole has only one in a line.
    pub(crate) fn next_place(&self, place: u64) -> u64 {
        if place / PLACES < self.buckets { (place / PLACES + 1) * PLACES } else { place + 1 }
    }
}

/// The `bits` highest bits.
#[inline]
pub(crate) fn prefix(hash: u64, bits: u32) -> u64 {
    // In two steps, for a shift by 64 is none.
    hash >> 1 >> (63 - bits)
}

/// The directory of a shard.
#[inline]
pub(crate) fn directory_of(
    look: &impl Look,
    plan: &Plan,
    shard: u64,
) -> Result<Option<Directory>, Error> {
    Directory::from_word(look.read(plan.shard_at(shard) + shard::DIRECTORY)?)
}

/// The group of a hash.
#[inline]
pub(crate) fn group_of(look: &impl Look, plan: &Plan, hash: u64) -> Result<Option<Group>, Error> {
    let Some(directory) = directory_of(look, plan, plan.shard_of(hash))? else { return Ok(None) };
    Group::from_word(look.read(directory.entry_at(plan, hash))?)
}

/// How the table's words are changed: noted first, or fresh.
pub(crate) trait Edit: Look {
    /// Overwrites a word that others may rely on.
    fn write(&mut self, at: u64, value: u64);
    /// Overwrites a bucket that is empty.
    fn fill(&mut self, at: u64, bucket: &Bucket) -> Result<(), Error>;
    /// Overwrites a word of a payload that nobody can reach yet.
    fn prepare(&mut self, at: u64, value: u64);
    /// Told that a bucket was emptied: until the commit, its words still count.
    fn empties(&mut self);
}

impl Group {
    /// Puts an entry in; false if there is no place for it.
    pub(crate) fn insert(
        &self,
        edit: &mut impl Edit,
        hash: u64,
        bucket: Bucket,
    ) -> Result<bool, Error> {
        if let Some(payload) = bucket.payload() {
            let is_placed = self.insert_stub(edit, Stub::new(hash, payload.at))?;
            if is_placed {
                prepare_head(edit, payload.at, &bucket);
            }
            return Ok(is_placed);
        }
        self.whole().insert(edit, hash, &bucket)
    }

    /// Puts a stub in; false if there is no place near enough to its home.
    pub(crate) fn insert_stub(&self, edit: &mut impl Edit, stub: Stub) -> Result<bool, Error> {
        let ring = self.stubs();
        if ring.lines == 0 {
            return Ok(false);
        }
        let home = ring.home(stub.hash());
        for distance in 0..ring.reach() {
            let line_at = ring.line_at(ring.after(home, distance));
            let row = edit.read_line(line_at)?;
            let Some(number) = row[1..].iter().position(|&word| word == 0) else { continue };
            edit.write(line_at + (number as u64 + 1) * WORD, stub.0);
            ring.set_hop(edit, home, distance, true)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Takes the entry at `place` out.
    pub(crate) fn remove(&self, edit: &mut impl Edit, hash: u64, place: u64) -> Result<(), Error> {
        let index = place / PLACES;
        if index >= self.buckets {
            return self.remove_stub(edit, hash, place);
        }
        self.whole().remove(edit, index)
    }

    fn remove_stub(&self, edit: &mut impl Edit, hash: u64, place: u64) -> Result<(), Error> {
        let ring = self.stubs();
        let (index, home) = (place / PLACES - self.buckets, ring.home(hash));
        let line_at = ring.line_at(index);
        edit.write(line_at + place % PLACES * WORD, 0);
        let row = edit.read_line(line_at)?;
        let is_of_home = |&word: &u64| word != 0 && ring.home(Stub(word).hash()) == home;
        if row[1..].iter().any(is_of_home) {
            return Ok(());
        }
        ring.set_hop(edit, home, ring.distance(home, index), false)
    }

    /// Overwrites the entry at `place` with one of the same key and kind, of this hash.
    pub(crate) fn replace(
        &self,
        edit: &mut impl Edit,
        hash: u64,
        place: u64,
        bucket: Bucket,
    ) -> Result<(), Error> {
        let at = self.line_at(place);
        if let Some(payload) = bucket.payload() {
            let (stub_at, new) = (at + place % PLACES * WORD, Stub::new(hash, payload.at));
            if edit.read(stub_at)? == new.0 {
                return rewrite_head(edit, payload.at, &bucket);
            }
            prepare_head(edit, payload.at, &bucket);
            edit.write(stub_at, new.0);
            return Ok(());
        }
        let earlier = Bucket(edit.read_line(at)?);
        for number in (0..8).rev() {
            if bucket.0[number] != earlier.0[number] {
                edit.write(at + number as u64 * WORD, bucket.0[number]);
            }
        }
        Ok(())
    }
}

/// Writes what a payload begins with, while nobody can reach it.
fn prepare_head(edit: &mut impl Edit, at: u64, bucket: &Bucket) {
    let (head, count) = payload::head_of(bucket);
    for (index, word) in head.into_iter().enumerate().take(count) {
        edit.prepare(at + index as u64 * WORD, word);
    }
}

/// Changes what a payload begins with, while everybody can.
fn rewrite_head(edit: &mut impl Edit, at: u64, bucket: &Bucket) -> Result<(), Error> {
    let (head, count) = payload::head_of(bucket);
    for (index, word) in head.into_iter().enumerate().take(count) {
        let at = at + index as u64 * WORD;
        if edit.read(at)? != word {
            edit.write(at, word);
        }
    }
    Ok(())
}
