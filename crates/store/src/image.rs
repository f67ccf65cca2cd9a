//! A group that is put together in private memory, to be copied into its chunk at once.
//!
//! Promises: no entry that finds no place on its home shelf takes that of one which does.
//! Knows nothing of chunks and claims.

use crate::Error;
use crate::bucket::{BUCKET_BYTES, Bucket};
use crate::layout::WORD;
use crate::payload::Stub;
use crate::shelf::{SHELF, SHELF_BYTES, mark_of};
use crate::table::{Edit, Group};
use crate::view::{Look, View};

/// The words of a bucket, and those of a shelf's marks.
const BUCKET_WORDS: usize = (BUCKET_BYTES / WORD) as usize;
const SHELF_WORDS: usize = (SHELF_BYTES / WORD) as usize;

/// What a group holds, on its way to another one.
#[derive(Default)]
pub(crate) struct Contents {
    pub(crate) whole: Vec<(u64, Bucket)>,
    pub(crate) stubs: Vec<Stub>,
    pub(crate) expired: Vec<(u64, Bucket)>,
    /// How many of those can be left behind now: each retires a payload, which takes a claim.
    pub(crate) expired_most: u64,
}

/// A group that is put together in private memory.
pub(crate) struct Image<'a> {
    view: &'a View,
    group: Group,
    /// Which of the words is the first with marks.
    marks_from: usize,
    pub(crate) words: Vec<u64>,
}

impl<'a> Image<'a> {
    pub(crate) fn new(view: &'a View, group: Group) -> Self {
        let marks_from = (group.lines() * BUCKET_BYTES / WORD) as usize;
        Self { view, group, marks_from, words: vec![0; (group.bytes() / WORD) as usize] }
    }

    /// Puts all entries in; false if one finds no place.
    pub(crate) fn fill(&mut self, contents: &Contents) -> Result<bool, Error> {
        let group = self.group;
        let shelves = group.whole();
        let (lines, marks) = self.words.split_at_mut(self.marks_from);
        let (lines, _) = lines.as_chunks_mut::<{ BUCKET_WORDS }>();
        let (marks, _) = marks.as_chunks_mut::<{ SHELF_WORDS }>();
        // How many buckets of each shelf are taken: those that find their home full come last.
        let mut taken = vec![0; marks.len()];
        let mut late = Vec::new();
        for (index, (hash, bucket)) in contents.whole.iter().enumerate() {
            let home = shelves.home(*hash) as usize;
            let slot: u64 = taken[home];
            let place = home as u64 * SHELF + slot;
            if slot == SHELF || place >= group.buckets {
                late.push(index);
                continue;
            }
            taken[home] += 1;
            lines[place as usize] = bucket.0;
            marks[home][(slot / WORD) as usize] |= u64::from(mark_of(*hash)) << (slot % WORD * 8);
        }
        for index in late {
            let (hash, bucket) = contents.whole[index];
            if !shelves.insert(self, hash, bucket)? {
                return Ok(false);
            }
        }
        for stub in &contents.stubs {
            if !group.insert_stub(self, *stub)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn index(&self, at: u64) -> usize {
        (at.wrapping_sub(self.group.at) / WORD) as usize
    }
}

impl Look for Image<'_> {
    fn read(&self, at: u64) -> Result<u64, Error> {
        let word = self.words.get(self.index(at));
        word.copied().ok_or(Error::Damaged { what: "an offset out of its group", at })
    }

    fn read_line(&self, at: u64) -> Result<[u64; 8], Error> {
        let index = self.index(at);
        let line = self.words.get(index..index + 8).and_then(|line| line.try_into().ok());
        line.ok_or(Error::Damaged { what: "a line out of its group", at })
    }

    fn view(&self) -> &View {
        self.view
    }
}

impl Edit for Image<'_> {
    fn write(&mut self, at: u64, value: u64) {
        let index = self.index(at);
        self.words[index] = value;
    }

    fn fill(&mut self, at: u64, value: u64) {
        self.write(at, value);
    }

    /// Entries with payloads come as stubs: their payloads stay as they are.
    fn prepare(&mut self, _: u64, _: u64) {}

    fn empties(&mut self) {}
}

impl Contents {
    /// Whether an entry is to be left behind: it has expired, and its payload's note has room.
    pub(crate) fn takes_as_expired(&self, bucket: &Bucket, now: u64) -> bool {
        let has_expired = bucket.expiry() != 0 && bucket.expiry() <= now;
        has_expired && (self.expired.len() as u64) < self.expired_most
    }
}
