//! The part of a group with whole entries: buckets on shelves of fifteen, each known by a mark.
//!
//! ```text
//!   shelf     15 marks, a byte each | spilled 8        two words behind the lines of the group
//!   mark      a byte of the hash of what stands in the bucket; 0 = it is empty
//!   spilled   bit n: an entry whose hash says n found no place here
//!
//!   home shelf --a mark is equal--> its bucket          --the bit is set--> the next shelf, round
//! ```
//!
//! Which bucket is the one is known before any of them is read: so a look-up has one miss whose
//! place does not depend on another bucket's, and an absent key mostly has none. An entry may stand
//! anywhere in its group, so that nothing is moved and a group fills up to its last bucket.
//!
//! A bit of `spilled` stays until the group is rebuilt: what it costs is a look at one more shelf.
//!
//! Promises: an entry stands on its home shelf, or on one that is reached from there by bits that
//! are set; what a bucket without a mark holds means nothing.
//! Source: M. Kulukundis, Designing a Fast, Efficient, Cache-friendly Hash Table (CppCon 2017);
//! J. M. Lopez Munoz, Inside boost::unordered_flat_map, 2022, for the spilled bits.

use crate::Error;
use crate::bucket::{BUCKET_BYTES, Bucket, Sought};
use crate::layout::WORD;
use crate::payload::{HASH_BITS, HASH_MASK};
use crate::table::Edit;
use crate::view::Look;

/// The buckets of a shelf: their marks and one byte are what is compared at once.
pub(crate) const SHELF: u64 = 15;

/// The bytes of a shelf's marks and of what has spilled.
pub(crate) const SHELF_BYTES: u64 = 2 * WORD;

/// A bit for each bucket of a full shelf.
pub(crate) const ALL: u32 = (1 << SHELF) - 1;

/// Which byte tells of what has spilled.
pub(crate) const SPILLED: u64 = SHELF;

/// Where in a hash the bits are that name the bit of `spilled`: above those of the mark.
const SPILLED_SHIFT: u32 = HASH_BITS + 8;

/// The mark of a hash: the byte above those bits that the home depends on; never 0.
#[inline(always)]
pub(crate) fn mark_of(hash: u64) -> u8 {
    ((hash >> HASH_BITS) as u8).max(1)
}

/// The bit of `spilled` that entries of a hash set.
#[inline(always)]
pub(crate) fn spilled_bit(hash: u64) -> u8 {
    1 << (hash >> SPILLED_SHIFT & 7)
}

/// The marks of a shelf, and what has spilled from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marks([u64; 2]);

impl Marks {
    /// Buckets with this mark, a bit each.
    #[inline]
    pub(crate) fn equal(self, mark: u8) -> u32 {
        let [low, high] = self.0.map(|word| equal_bytes(word, mark));
        (low | high << WORD) & ALL
    }

    /// The byte of a bucket, or the last one.
    #[inline]
    pub(crate) fn of(self, slot: u64) -> u8 {
        (self.0[(slot / WORD) as usize] >> (slot % WORD * 8)) as u8
    }

    #[inline]
    pub(crate) fn has_spilled(self, hash: u64) -> bool {
        self.of(SPILLED) & spilled_bit(hash) != 0
    }
}

/// Which bytes of a word are this one, a bit each.
#[inline]
fn equal_bytes(word: u64, byte: u8) -> u32 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const LOWS: u64 = 0x7f * ONES;
    let differences = word ^ (u64::from(byte) * ONES);
    // The highest bit of each byte that is 0, brought down; no sum reaches the next byte.
    let zeros = !(((differences & LOWS) + LOWS) | differences | LOWS) >> 7;
    // Bit 8n comes to bit 56 + n, and no two meet on the way.
    (zeros.wrapping_mul(0x0102_0408_1020_4080) >> 56) as u32
}

/// The shelves of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shelves {
    /// The first bucket.
    pub(crate) at: u64,
    /// The first mark.
    pub(crate) marks_at: u64,
    pub(crate) buckets: u64,
}

impl Shelves {
    /// How many shelves so many buckets stand on; the last one may be shorter.
    #[inline(always)]
    pub(crate) fn count_for(buckets: u64) -> u64 {
        buckets.div_ceil(SHELF)
    }

    pub(crate) fn count(self) -> u64 {
        Self::count_for(self.buckets)
    }

    /// The home of a hash among so many buckets: a shelf has as many of them as it has buckets.
    /// Multiplications instead of divisions.
    #[inline(always)]
    pub(crate) fn home_among(buckets: u64, hash: u64) -> u64 {
        (((hash & HASH_MASK) * buckets) >> HASH_BITS) / SHELF
    }

    #[inline]
    pub(crate) fn home(self, hash: u64) -> u64 {
        Self::home_among(self.buckets, hash)
    }

    /// The shelf behind one, round the group.
    pub(crate) fn after(self, shelf: u64) -> u64 {
        if shelf + 1 < self.count() { shelf + 1 } else { 0 }
    }

    /// The buckets that a shelf has, a bit each.
    #[inline]
    fn buckets_of(self, shelf: u64) -> u32 {
        let count = (self.buckets - shelf * SHELF).min(SHELF);
        (1 << count) - 1
    }

    #[inline]
    pub(crate) fn marks_of(self, shelf: u64) -> u64 {
        self.marks_at + shelf * SHELF_BYTES
    }

    #[inline]
    pub(crate) fn line_at(self, index: u64) -> u64 {
        self.at + index * BUCKET_BYTES
    }

    #[inline]
    pub(crate) fn marks(self, look: &impl Look, shelf: u64) -> Result<Marks, Error> {
        let at = self.marks_of(shelf);
        Ok(Marks([look.read(at)?, look.read(at + WORD)?]))
    }

    /// The word with the mark of a bucket, and how far up the mark stands in it.
    pub(crate) fn mark_word_of(self, index: u64) -> (u64, u32) {
        let slot = index % SHELF;
        let word = self.marks_of(index / SHELF) + slot / WORD * WORD;
        (word, (slot % WORD * 8) as u32)
    }

    /// The mark of a bucket; 0 if it is empty.
    pub(crate) fn mark(self, look: &impl Look, index: u64) -> Result<u8, Error> {
        let (at, shift) = self.mark_word_of(index);
        Ok((look.read(at)? >> shift) as u8)
    }

    /// Which of its buckets have the mark of a hash, and whether there may be more on the next.
    #[inline]
    fn candidates(self, look: &impl Look, shelf: u64, hash: u64) -> Result<(u32, bool), Error> {
        let marks = self.marks(look, shelf)?;
        let equal = marks.equal(mark_of(hash)) & self.buckets_of(shelf);
        Ok((equal, marks.has_spilled(hash)))
    }

    /// Looks a key up: the index of its bucket, and what stands there.
    pub(crate) fn find(
        self,
        look: &impl Look,
        sought: &Sought<'_>,
    ) -> Result<Option<(u64, Bucket)>, Error> {
        let mut shelf = self.home(sought.hash);
        for _ in 0..self.count() {
            let (mut found, has_spilled) = self.candidates(look, shelf, sought.hash)?;
            while found != 0 {
                let index = shelf * SHELF + u64::from(found.trailing_zeros());
                let bucket = Bucket(look.read_line(self.line_at(index))?);
                if bucket.is_of(sought) {
                    return Ok(Some((index, bucket)));
                }
                found &= found - 1;
            }
            if !has_spilled {
                break;
            }
            shelf = self.after(shelf);
        }
        Ok(None)
    }

    /// Whether a look-up of a hash comes to a bucket.
    pub(crate) fn leads_to(self, look: &impl Look, hash: u64, index: u64) -> Result<bool, Error> {
        let mut shelf = self.home(hash);
        for _ in 0..self.count() {
            if shelf == index / SHELF {
                return Ok(self.mark(look, index)? == mark_of(hash));
            }
            if !self.marks(look, shelf)?.has_spilled(hash) {
                return Ok(false);
            }
            shelf = self.after(shelf);
        }
        Ok(false)
    }

    /// The buckets of a shelf with an entry, a bit each.
    #[inline]
    pub(crate) fn used_on(self, look: &impl Look, shelf: u64) -> Result<u32, Error> {
        Ok(!self.marks(look, shelf)?.equal(0) & self.buckets_of(shelf))
    }

    /// The entry in a bucket that has a mark.
    #[inline]
    pub(crate) fn bucket(self, look: &impl Look, index: u64) -> Result<Bucket, Error> {
        let at = self.line_at(index);
        let bucket = Bucket(look.read_line(at)?);
        if !bucket.is_inline() {
            return Err(Error::Damaged { what: "a mark of no entry", at });
        }
        Ok(bucket)
    }

    /// Puts an entry in; false if the group is full.
    pub(crate) fn insert(
        self,
        edit: &mut impl Edit,
        hash: u64,
        bucket: &Bucket,
    ) -> Result<bool, Error> {
        let home = self.home(hash);
        let mut shelf = home;
        for _ in 0..self.count() {
            let marks = self.marks(edit, shelf)?;
            let free = marks.equal(0) & self.buckets_of(shelf);
            if free == 0 {
                shelf = self.after(shelf);
                continue;
            }
            let slot = u64::from(free.trailing_zeros());
            edit.fill(self.line_at(shelf * SHELF + slot), bucket)?;
            let word =
                marks.0[(slot / WORD) as usize] | u64::from(mark_of(hash)) << (slot % WORD * 8);
            edit.write(self.marks_of(shelf) + slot / WORD * WORD, word);
            self.spill(edit, hash, home, shelf)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Sets the bits that lead from one shelf to another.
    fn spill(self, edit: &mut impl Edit, hash: u64, from: u64, to: u64) -> Result<(), Error> {
        let mut shelf = from;
        while shelf != to {
            let at = self.marks_of(shelf) + WORD;
            let word = edit.read(at)?;
            let new = word | u64::from(spilled_bit(hash)) << (SPILLED % WORD * 8);
            if new != word {
                edit.write(at, new);
            }
            shelf = self.after(shelf);
        }
        Ok(())
    }

    /// Empties a bucket: its mark goes, all else stays.
    pub(crate) fn remove(self, edit: &mut impl Edit, index: u64) -> Result<(), Error> {
        let (at, shift) = self.mark_word_of(index);
        let word = edit.read(at)?;
        edit.write(at, word & !(0xff << shift));
        edit.empties();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_tell_which_buckets_are_equal_and_the_last_byte_is_none() {
        let marks = Marks([0x0700_0000_0000_0009, 0x09ff_0000_0000_0009]);
        assert_eq!(marks.equal(9), 1 | 1 << 8);
        assert_eq!(marks.equal(7), 1 << 7);
        assert_eq!(marks.equal(0xff), 1 << 14);
        assert_eq!(marks.equal(0).count_ones(), 11);
        assert_eq!(marks.of(SPILLED), 9);
    }

    #[test]
    fn every_byte_is_told_from_every_other() {
        for (wanted, other) in (0..=255u8).flat_map(|one| (0..=255u8).map(move |two| (one, two))) {
            for index in 0..8 {
                let mut bytes = [other; 8];
                bytes[index] = wanted;
                let expected = if wanted == other { 0xff } else { 1 << index };
                assert_eq!(equal_bytes(u64::from_le_bytes(bytes), wanted), expected);
            }
        }
    }

    #[test]
    fn every_shelf_is_the_home_of_as_many_hashes_as_it_has_buckets() {
        for buckets in [1, 14, 15, 16, 100, 128, 1023] {
            let count = Shelves::count_for(buckets);
            let mut homes = vec![0u64; count as usize];
            for hash in 0..1 << HASH_BITS {
                homes[Shelves::home_among(buckets, hash) as usize] += 1;
            }
            for (shelf, &hashes) in homes.iter().enumerate() {
                let own = (buckets - shelf as u64 * SHELF).min(SHELF);
                let fair = (own << HASH_BITS) / buckets;
                assert!(hashes.abs_diff(fair) <= SHELF, "{buckets}: {hashes} and not {fair}");
            }
        }
    }

    #[test]
    fn no_hash_has_the_mark_of_an_empty_bucket() {
        assert!((0..=0xff).all(|byte| mark_of(byte << HASH_BITS) != 0));
    }
}
