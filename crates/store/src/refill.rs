//! What a group holds, on its way into fresh ones.
//!
//! ```text
//!   old group, line by line:   hash --> home in the fresh one --room--> the line is copied there
//!                                                             --none--> late, after all others
//!   then                       the marks, which were put together aside
//! ```
//!
//! Nobody knows a fresh group yet, so nothing of it is noted, and nothing of the old one changes.
//! What an entry costs is a hash and a copy of its line.
//!
//! Promises: no entry that finds no place on its home shelf takes that of one which does.
//! Knows nothing of chunks and claims.

use crate::Error;
use crate::atomic::AtomicU64;
use crate::bucket::{BUCKET_BYTES, Bucket, has_expired_by, hash_of_line};
use crate::payload::{STUBS, Stub};
use crate::racy;
use crate::shelf::{SHELF, SHELF_BYTES, SPILLED, Shelves, mark_of, spilled_bit};
use crate::table::{BUCKETS_MOST, Group};
use crate::view::{Look, View};

/// The most shelves of a group.
const SHELVES_MOST: usize = BUCKETS_MOST.div_ceil(SHELF) as usize;

/// How many lines are fetched ahead of the one that is read or written: as many as a core has
/// under way at once. The processor itself looks no further than to the end of a page.
const AHEAD: u64 = 2 * SHELF;

/// So many entries find their home shelf full in most groups: some 8 % do, of up to 128.
const LATE_USUAL: usize = 32;

/// The words of a line of the cache.
type Line = [AtomicU64; 8];

/// A group that is to be replaced.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Old<'v> {
    pub(crate) view: &'v View,
    pub(crate) seed: u64,
    pub(crate) group: Group,
    /// The time that decides what has expired.
    pub(crate) now: u64,
    /// How much of that can be left behind now: each retires a payload, which takes a claim.
    pub(crate) expired_most: u64,
}

/// What has expired and does not come along.
pub(crate) type Expired = Vec<(u64, Bucket)>;

impl<'v> Old<'v> {
    /// Has the first lines on their way, for who has something else to do meanwhile.
    pub(crate) fn fetch(view: &View, group: &Group) {
        view.prefetch(group.whole().marks_at);
        fetch_lines(view, group.at, AHEAD.min(group.lines()));
    }

    /// Shows each whole entry that stays to `each`, with its hash; returns the others that have
    /// expired.
    #[inline(always)]
    pub(crate) fn each_whole(&self, mut each: impl FnMut(u64, &'v Line)) -> Result<Expired, Error> {
        let (Group { at, buckets, .. }, shelves) = (self.group, self.group.whole());
        let (seed, now) = (self.seed, self.now);
        let Some(lines) = self.view.lines(at, buckets) else {
            return Err(Error::Damaged { what: "a group out of bounds", at });
        };
        let mut expired = Vec::new();
        for (shelf, lines) in lines.chunks(SHELF as usize).enumerate() {
            let first = shelf as u64 * SHELF;
            fetch_lines(self.view, shelves.line_at(first + AHEAD), SHELF);
            let used = shelves.used_on(self.view, shelf as u64)?;
            for (slot, line) in lines.iter().enumerate() {
                if used >> slot & 1 == 0 {
                    continue;
                }
                let Some(hash) = hash_of_line(seed, line) else {
                    let at = shelves.line_at(first + slot as u64);
                    return Err(Error::Damaged { what: "a mark of no entry", at });
                };
                if has_expired_by(line, now) && (expired.len() as u64) < self.expired_most {
                    expired.push((hash, shelves.bucket(self.view, first + slot as u64)?));
                } else {
                    each(hash, line);
                }
            }
        }
        Ok(expired)
    }

    /// All its stubs.
    pub(crate) fn stubs(&self) -> Result<Vec<Stub>, Error> {
        let mut stubs = Vec::with_capacity((self.group.rows * STUBS) as usize);
        for index in 0..self.group.rows {
            let row = self.view.read_line(self.group.stubs().line_at(index))?;
            stubs.extend(row[1..].iter().filter(|&&word| word != 0).map(|&word| Stub(word)));
        }
        Ok(stubs)
    }

    /// Whether an entry with a payload is to be left behind, beside so many others.
    pub(crate) fn is_left(&self, bucket: &Bucket, others: usize) -> bool {
        let has_expired = bucket.expiry() != 0 && bucket.expiry() <= self.now;
        has_expired && (others as u64) < self.expired_most
    }
}

/// A fresh group while it is filled: the marks of its buckets, and how many of each shelf are
/// taken, which are the first ones.
pub(crate) struct Fresh<'v> {
    view: &'v View,
    group: Group,
    shelves: Shelves,
    lines: &'v [Line],
    marks: [[u8; SHELF_BYTES as usize]; SHELVES_MOST],
    taken: [u8; SHELVES_MOST],
    /// What found its home shelf full.
    late: Vec<(u64, &'v Line)>,
}

impl<'v> Fresh<'v> {
    /// In a chunk that was just claimed for it.
    #[inline(always)]
    pub(crate) fn new(view: &'v View, group: Group) -> Self {
        fetch_lines(view, group.at, AHEAD.min(group.buckets));
        let lines = view.lines(group.at, group.buckets);
        Self {
            view,
            group,
            shelves: group.whole(),
            lines: lines.expect("the heap has nothing outside of the segment"),
            marks: [[0; SHELF_BYTES as usize]; SHELVES_MOST],
            taken: [0; SHELVES_MOST],
            late: Vec::with_capacity(LATE_USUAL),
        }
    }

    /// Puts a whole entry in.
    #[inline(always)]
    pub(crate) fn put(&mut self, hash: u64, line: &'v Line) {
        let home = self.shelves.home(hash) as usize;
        match self.take(home, hash) {
            Some(to) => {
                racy::copy_line(line, to);
                // The homes of what comes next are near, for the old ones were.
                racy::fetch_behind(to, AHEAD as usize);
            }
            None => self.late.push((hash, line)),
        }
    }

    /// Takes the next bucket of a shelf for an entry; `None` if the shelf is full.
    #[inline(always)]
    fn take(&mut self, shelf: usize, hash: u64) -> Option<&'v Line> {
        let taken = self.taken.get_mut(shelf)?;
        let slot = usize::from(*taken);
        if slot >= SHELF as usize {
            return None;
        }
        let line = self.lines.get(shelf * SHELF as usize + slot)?;
        *taken += 1;
        self.marks[shelf][slot] = mark_of(hash);
        Some(line)
    }

    /// The same for one whose home shelf is full: it takes the next with room.
    fn take_late(&mut self, hash: u64) -> Option<&'v Line> {
        let mut shelf = self.shelves.home(hash);
        for _ in 0..self.shelves.count() {
            if let Some(line) = self.take(shelf as usize, hash) {
                return Some(line);
            }
            self.marks[shelf as usize][SPILLED as usize] |= spilled_bit(hash);
            shelf = self.shelves.after(shelf);
        }
        None
    }

    /// Puts in what is late, the marks, and stubs; false if something finds no place.
    pub(crate) fn finish(&mut self, stubs: &[Stub]) -> bool {
        for (hash, line) in std::mem::take(&mut self.late) {
            let Some(to) = self.take_late(hash) else { return false };
            racy::copy_line(line, to);
        }
        // The first mark stands in the lowest byte of a word, as `Marks` has it.
        let marks = &self.marks[..self.shelves.count() as usize];
        self.view.copy_in(self.shelves.marks_at, marks.as_flattened());
        self.group.rows == 0 && stubs.is_empty() || self.finish_rows(stubs)
    }

    /// Puts stubs into rows, as near to their homes as the table itself would.
    fn finish_rows(&self, stubs: &[Stub]) -> bool {
        let ring = self.group.stubs();
        let mut rows = vec![[0; 1 + STUBS as usize]; ring.lines as usize];
        let mut taken = vec![0u8; ring.lines as usize];
        for stub in stubs {
            if ring.lines == 0 {
                return false;
            }
            let home = ring.home(stub.hash());
            let index_at = |distance| ring.after(home, distance) as usize;
            let mut distances = 0..ring.reach();
            let Some(distance) = distances.find(|&d| u64::from(taken[index_at(d)]) < STUBS) else {
                return false;
            };
            let index = index_at(distance);
            taken[index] += 1;
            rows[index][usize::from(taken[index])] = stub.0;
            rows[home as usize][0] |= 1 << distance;
        }
        self.view.copy_words_in(ring.at, rows.as_flattened());
        true
    }
}

#[inline]
fn fetch_lines(view: &View, at: u64, count: u64) {
    (0..count).for_each(|index| view.prefetch(at + index * BUCKET_BYTES));
}
