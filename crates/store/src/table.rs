//! The table: from a hash to a bucket.
//!
//! ```text
//!   hash   | shard | directory index |    ...    | home in the group (low 32) |
//!
//!   shard --> directory [ group ][ group ][ group ][ group ]     2^depth words
//!                           |       |        \______/
//!                           v       v            v                one group may stand in several
//!                       16 to 512 buckets of one line each
//!
//!   directory word   offset 56 | depth 8
//!   group word       buckets 16 | offset 42 (of 64 bytes) | own depth 6       0 = no group
//! ```
//!
//! Within a group an entry stands at most 15 places after its home (hopscotch). A group that has no
//! place any more is rebuilt a quarter larger, and from 512 buckets on split in two; so the table
//! grows by steps of microseconds, and its load stays high.
//!
//! Promises: a look-up reads one directory word, the home, and only buckets of the same home; every
//! loop ends whatever stands in the segment.
//! Source: R. Fagin et al., Extendible Hashing, 1979; and see `bucket.rs`.

use crate::Error;
use crate::bucket::{BUCKET_BYTES, Bucket, HOP, Sought};
use crate::layout::{Plan, WORD, shard};
use crate::view::Look;

/// The fewest buckets of a group: as many as a hop reaches.
pub(crate) const BUCKETS_LEAST: u64 = HOP;

/// From this many buckets on, a group is split instead of enlarged: 32 KiB, which are copied in a
/// few microseconds.
pub(crate) const BUCKETS_SPLIT: u64 = 512;

/// The most buckets of a group: a rebuild that finds no place for all tries again, larger.
pub(crate) const BUCKETS_MOST: u64 = 4096;

/// The deepest directory: 16 M groups in one shard.
pub(crate) const DEPTH_MOST: u32 = 24;

/// How far from the home a free place is looked for.
const SEARCH_MOST: u64 = 128;

/// How many entries are moved to bring a free place near: each costs up to ten notes.
const MOVES_MOST: u32 = 8;

/// The most notes that one change of one entry makes: the moves, the bucket itself, and counters.
pub(crate) const ENTRY_NOTES_MOST: u64 = MOVES_MOST as u64 * 10 + 16;

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
    /// How many bits of the hash behind the shard's all its entries have in common.
    pub(crate) depth: u32,
}

impl Directory {
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
        let buckets = word >> 48;
        if word == 0 {
            return Ok(None);
        }
        if !(BUCKETS_LEAST..=BUCKETS_MOST).contains(&buckets) {
            return Err(Error::Damaged { what: "a group of an impossible size", at: word });
        }
        Ok(Some(Self { at: word & 0xffff_ffff_ffc0, buckets, depth: (word & 63) as u32 }))
    }

    pub(crate) fn word(self) -> u64 {
        self.buckets << 48 | self.at | u64::from(self.depth)
    }

    /// The home of a hash: a multiplication instead of a division.
    #[inline]
    pub(crate) fn home(&self, hash: u64) -> u64 {
        ((hash & 0xffff_ffff) * self.buckets) >> 32
    }

    /// The index `distance` places on.
    #[inline]
    pub(crate) fn after(&self, index: u64, distance: u64) -> u64 {
        let sum = index + distance;
        if sum >= self.buckets { sum - self.buckets } else { sum }
    }

    /// How many places `index` is after `home`.
    pub(crate) fn distance(&self, home: u64, index: u64) -> u64 {
        if index >= home { index - home } else { index + self.buckets - home }
    }

    #[inline]
    pub(crate) fn bucket_at(&self, index: u64) -> u64 {
        self.at + index * BUCKET_BYTES
    }

    /// Looks a key up: where it stands, and what.
    #[inline]
    pub(crate) fn find(
        &self,
        look: &impl Look,
        sought: &Sought<'_>,
    ) -> Result<Option<(u64, Bucket)>, Error> {
        let home = self.home(sought.hash);
        let mut hop = Bucket::hop(look.read(self.bucket_at(home))?);
        while hop != 0 {
            let index = self.after(home, u64::from(hop.trailing_zeros()));
            let bucket = Bucket(look.read_line(self.bucket_at(index))?);
            if bucket.is_of(look, sought)? {
                return Ok(Some((index, bucket)));
            }
            hop &= hop - 1;
        }
        Ok(None)
    }
}

/// The `bits` highest bits.
#[inline]
pub(crate) fn prefix(hash: u64, bits: u32) -> u64 {
    if bits == 0 { 0 } else { hash >> (64 - bits) }
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
    /// Overwrites a word, not the first, of a bucket that is empty.
    fn fill(&mut self, at: u64, value: u64);
    /// Told that a bucket was emptied: until the commit, its words still count.
    fn empties(&mut self);
}

impl Group {
    /// Puts an entry in; false if there is no place near enough to its home. Then entries may have
    /// been moved all the same.
    pub(crate) fn insert(
        &self,
        edit: &mut impl Edit,
        hash: u64,
        bucket: Bucket,
    ) -> Result<bool, Error> {
        let home = self.home(hash);
        let Some(mut distance) = self.free_distance(edit, home)? else { return Ok(false) };
        let mut moves = 0;
        while distance >= HOP {
            let Some(nearer) = self.free_nearer(edit, home, distance)? else { return Ok(false) };
            distance = nearer;
            moves += 1;
            if moves > MOVES_MOST {
                return Ok(false);
            }
        }
        self.place(edit, home, distance, bucket)?;
        Ok(true)
    }

    /// Takes the entry at `index` out.
    pub(crate) fn remove(&self, edit: &mut impl Edit, hash: u64, index: u64) -> Result<(), Error> {
        let home = self.home(hash);
        let at = self.bucket_at(index);
        let word = edit.read(at)?;
        edit.write(at, Bucket::emptied(word));
        let distance = self.distance(home, index);
        self.set_hop(edit, home, distance, false)?;
        edit.empties();
        Ok(())
    }

    /// Overwrites the entry at `index` with one of the same key.
    pub(crate) fn replace(
        &self,
        edit: &mut impl Edit,
        index: u64,
        bucket: Bucket,
    ) -> Result<(), Error> {
        let at = self.bucket_at(index);
        let earlier = Bucket(edit.read_line(at)?);
        let bucket = bucket.placed(earlier.0[0]);
        for number in (0..8).rev() {
            if bucket.0[number] != earlier.0[number] {
                edit.write(at + number as u64 * WORD, bucket.0[number]);
            }
        }
        Ok(())
    }

    /// How far the next empty bucket is from `home`.
    fn free_distance(&self, edit: &impl Edit, home: u64) -> Result<Option<u64>, Error> {
        for distance in 0..SEARCH_MOST.min(self.buckets) {
            let word = edit.read(self.bucket_at(self.after(home, distance)))?;
            if !Bucket::is_used(word) {
                return Ok(Some(distance));
            }
        }
        Ok(None)
    }

    /// Moves an entry into the empty bucket at `distance`, so that one nearer becomes empty.
    fn free_nearer(
        &self,
        edit: &mut impl Edit,
        home: u64,
        distance: u64,
    ) -> Result<Option<u64>, Error> {
        for back in (1..HOP).rev() {
            let other = self.after(home, distance - back);
            let hop = Bucket::hop(edit.read(self.bucket_at(other))?);
            let step = u64::from(hop.trailing_zeros());
            if step >= back {
                continue;
            }
            let from_at = self.bucket_at(self.after(other, step));
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
    fn place(
        &self,
        edit: &mut impl Edit,
        home: u64,
        distance: u64,
        bucket: Bucket,
    ) -> Result<(), Error> {
        let at = self.bucket_at(self.after(home, distance));
        for number in 1..8 {
            edit.fill(at + number as u64 * WORD, bucket.0[number]);
        }
        let word = edit.read(at)?;
        edit.write(at, bucket.placed(word).0[0]);
        self.set_hop(edit, home, distance, true)
    }

    fn set_hop(
        &self,
        edit: &mut impl Edit,
        home: u64,
        distance: u64,
        is_set: bool,
    ) -> Result<(), Error> {
        if distance >= HOP {
            return Err(Error::Damaged { what: "an entry too far from its home", at: self.at });
        }
        let at = self.bucket_at(home);
        let word = edit.read(at)?;
        edit.write(at, Bucket::with_hop_bit(word, distance, is_set));
        Ok(())
    }
}
