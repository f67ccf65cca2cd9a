//! A group that is put together in private memory, to be copied into its chunk at once.
//!
//! Promises: entries are placed in the order of their homes, each at the first free bucket from its
//! home on: no other order brings the farthest of them nearer.
//! Knows nothing of chunks and claims.

use crate::Error;
use crate::bucket::{Bucket, HOP};
use crate::layout::WORD;
use crate::payload::Stub;
use crate::table::{Edit, Group, PLACES};
use crate::view::{Look, View};

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
    pub(crate) words: Vec<u64>,
}

impl<'a> Image<'a> {
    pub(crate) fn new(view: &'a View, group: Group) -> Self {
        Self { view, group, words: vec![0; (group.lines() * PLACES) as usize] }
    }

    /// Puts all entries in; false if one finds no place.
    pub(crate) fn fill(&mut self, contents: &Contents) -> Result<bool, Error> {
        let group = self.group;
        let ring = group.whole();
        // By home: so many entries for each, and where those of each begin.
        let mut begins = vec![0u16; ring.lines as usize + 1];
        for (hash, _) in &contents.whole {
            begins[ring.home(*hash) as usize + 1] += 1;
        }
        for home in 0..ring.lines as usize {
            begins[home + 1] += begins[home];
        }
        let mut order = vec![0u16; contents.whole.len()];
        for (index, (hash, _)) in contents.whole.iter().enumerate() {
            let begin = &mut begins[ring.home(*hash) as usize];
            order[usize::from(*begin)] = index as u16;
            *begin += 1;
        }
        // Those that fit before the end each at the first free bucket from its home on, the others
        // round the end where there is place.
        let (mut next, mut late) = (0, Vec::new());
        for index in order {
            let (hash, bucket) = contents.whole[usize::from(index)];
            let home = ring.home(hash);
            let at = home.max(next);
            if at < ring.lines && at - home < HOP {
                ring.place(self, home, at - home, bucket)?;
                next = at + 1;
            } else {
                late.push((hash, bucket));
            }
        }
        for (hash, bucket) in late {
            if !group.insert(self, hash, bucket)? {
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
