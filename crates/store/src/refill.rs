//! What a group holds, on its way into a fresh one.
//!
//! ```text
//!   old group --one pass--> hash and index of each whole entry; stubs --sizes known, memory claimed-->
//!             --one more--> whole lines to where they belong, marks and rows put together aside
//! ```
//!
//! Nobody knows the fresh group yet, so nothing of it is noted, and nothing of the old one changes.
//! An entry costs a hash and a copy of its line.
//!
//! Promises: no entry that finds no place on its home shelf takes that of one which does.
//! Knows nothing of chunks and claims.

use crate::Error;
use crate::atomic::{AtomicU64, Relaxed};
use crate::bucket::{Bucket, has_expired_by, hash_of_line, is_inline_line};
use crate::payload::{STUBS, Stub};
use crate::shelf::{SHELF, SHELF_BYTES, SPILLED, Shelves, mark_of, spilled_bit};
use crate::table::{BUCKETS_MOST, Group};
use crate::view::{Look, View};

/// The most shelves of a group.
const SHELVES_MOST: usize = BUCKETS_MOST.div_ceil(SHELF) as usize;

/// The words of a line of the cache.
type Line = [AtomicU64; 8];

/// What a group holds.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// The hash of each whole entry that stays, and the index of its bucket.
    pub(crate) whole: Vec<(u64, u32)>,
    pub(crate) stubs: Vec<Stub>,
    /// What has expired and does not come along.
    pub(crate) expired: Vec<(u64, Bucket)>,
    /// How many of those can be left behind now: each retires a payload, which takes a claim.
    pub(crate) expired_most: u64,
}

impl Contents {
    /// All that a group holds; `expired_most` of what has expired by `now` stands apart.
    pub(crate) fn of(
        view: &View,
        seed: u64,
        group: &Group,
        now: u64,
        expired_most: u64,
    ) -> Result<Self, Error> {
        let mut contents = Self { expired_most, ..Self::default() };
        contents.take_whole(view, seed, group, now)?;
        contents.take_stubs(view, group)?;
        Ok(contents)
    }

    fn take_whole(&mut self, view: &View, seed: u64, group: &Group, now: u64) -> Result<(), Error> {
        let (lines, shelves) = (lines_of(view, group)?, group.whole());
        self.whole.reserve(lines.len());
        for shelf in 0..shelves.count() {
            let mut used = shelves.used_on(view, shelf)?;
            while used != 0 {
                let index = shelf * SHELF + u64::from(used.trailing_zeros());
                used &= used - 1;
                let line = &lines[index as usize];
                if !is_inline_line(line) {
                    return Err(Error::Damaged {
                        what: "a mark of no entry",
                        at: shelves.line_at(index),
                    });
                }
                let hash = hash_of_line(seed, line);
                if has_expired_by(line, now) && (self.expired.len() as u64) < self.expired_most {
                    self.expired.push((hash, shelves.bucket(view, index)?));
                } else {
                    self.whole.push((hash, index as u32));
                }
            }
        }
        Ok(())
    }

    fn take_stubs(&mut self, view: &View, group: &Group) -> Result<(), Error> {
        self.stubs.reserve((group.rows * STUBS) as usize);
        for index in 0..group.rows {
            let row = view.read_line(group.stubs().line_at(index))?;
            self.stubs.extend(row[1..].iter().filter(|&&word| word != 0).map(|&word| Stub(word)));
        }
        Ok(())
    }

    /// Whether an entry is to be left behind: it has expired, and its payload's note has room.
    pub(crate) fn takes_as_expired(&self, bucket: &Bucket, now: u64) -> bool {
        let has_expired = bucket.expiry() != 0 && bucket.expiry() <= now;
        has_expired && (self.expired.len() as u64) < self.expired_most
    }

    /// Copies all into a fresh group; false if something finds no place in it.
    pub(crate) fn fill(&self, view: &View, from: &Group, to: &Group) -> Result<bool, Error> {
        Ok(self.fill_whole(view, from, to)? && self.fill_rows(view, to))
    }

    fn fill_whole(&self, view: &View, from: &Group, to: &Group) -> Result<bool, Error> {
        let (from, to_lines) = (lines_of(view, from)?, lines_of(view, to)?);
        let mut shelves = Filling::new(to.whole());
        let mut late = Vec::new();
        for &(hash, index) in &self.whole {
            let home = shelves.shelves.home(hash) as usize;
            match shelves.take(home, hash) {
                Some(place) => copy_line(&from[index as usize], &to_lines[place]),
                None => late.push((hash, index)),
            }
        }
        for (hash, index) in late {
            let Some(place) = shelves.take_late(hash) else { return Ok(false) };
            copy_line(&from[index as usize], &to_lines[place]);
        }
        view.copy_in(shelves.shelves.marks_at, shelves.marks());
        Ok(true)
    }

    /// Puts the stubs into rows, as near to their homes as the table itself would.
    fn fill_rows(&self, view: &View, to: &Group) -> bool {
        let ring = to.stubs();
        let mut rows = vec![[0u64; 1 + STUBS as usize]; ring.lines as usize];
        let mut taken = vec![0u8; ring.lines as usize];
        for stub in &self.stubs {
            if ring.lines == 0 {
                return false;
            }
            let home = ring.home(stub.hash());
            let is_roomy =
                |&distance: &u64| taken[ring.after(home, distance) as usize] < STUBS as u8;
            let Some(distance) = (0..ring.reach()).find(is_roomy) else { return false };
            let index = ring.after(home, distance) as usize;
            taken[index] += 1;
            rows[index][usize::from(taken[index])] = stub.0;
            rows[home as usize][0] |= 1 << distance;
        }
        view.copy_words_in(ring.at, rows.as_flattened());
        true
    }
}

/// The marks of a fresh group, and how many buckets of each shelf are taken: the first ones.
struct Filling {
    shelves: Shelves,
    marks: [[u8; SHELF_BYTES as usize]; SHELVES_MOST],
    taken: [u8; SHELVES_MOST],
}

impl Filling {
    fn new(shelves: Shelves) -> Self {
        Self { shelves, marks: [[0; SHELF_BYTES as usize]; SHELVES_MOST], taken: [0; SHELVES_MOST] }
    }

    /// Takes the next bucket of a shelf for an entry; its index, or `None` if the shelf is full.
    #[inline]
    fn take(&mut self, shelf: usize, hash: u64) -> Option<usize> {
        let (slot, index) =
            (self.taken[shelf], shelf * SHELF as usize + usize::from(self.taken[shelf]));
        if u64::from(slot) == SHELF || index as u64 >= self.shelves.buckets {
            return None;
        }
        self.taken[shelf] = slot + 1;
        self.marks[shelf][usize::from(slot)] = mark_of(hash);
        Some(index)
    }

    /// The same for one whose home shelf is full: it takes the next with room.
    #[cold]
    fn take_late(&mut self, hash: u64) -> Option<usize> {
        let mut shelf = self.shelves.home(hash);
        for _ in 0..self.shelves.count() {
            if let Some(index) = self.take(shelf as usize, hash) {
                return Some(index);
            }
            self.marks[shelf as usize][SPILLED as usize] |= spilled_bit(hash);
            shelf = self.shelves.after(shelf);
        }
        None
    }

    /// The marks as they stand in a group: the first one in the lowest byte of a word.
    fn marks(&self) -> &[u8] {
        self.marks[..self.shelves.count() as usize].as_flattened()
    }
}

/// The buckets of a group.
fn lines_of<'v>(view: &'v View, group: &Group) -> Result<&'v [Line], Error> {
    let what = "a group out of bounds";
    view.lines(group.at, group.buckets).ok_or_else(|| Error::Damaged { what, at: group.at })
}

#[inline]
fn copy_line(from: &Line, to: &Line) {
    for (from, to) in from.iter().zip(to) {
        to.store(from.load(Relaxed), Relaxed);
    }
}
