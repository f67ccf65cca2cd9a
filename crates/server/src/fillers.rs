//! Who fills long values in: sessions of the store beside those that execute commands, because one
//! that has begun a value is busy with it until all of it has come.
//!
//! Promises: there are at most so many, they have no more than a small part of the store in hand,
//! and none waits for another: where there is none, a value is received as any argument is.

use std::sync::Mutex;

use morecore_store::{Filler, Store};

use crate::clients::locked;

/// The shortest value that is filled in. A shorter one mostly comes in one read with its command,
/// and is copied sooner than room for it is reserved.
pub(crate) const BYTES_LEAST: usize = 32 << 10;

/// How many values are on their way at once, in the largest store and in a smaller one: one for so
/// many bytes that a value of it may have. Each has a place among the store's participants, of
/// which there are up to 1024, and fewer in a store of less than some hundred MiB.
const MOST: usize = 64;
const BYTES_EACH: u64 = 1 << 20;

/// The part of the longest possible value, which is half of the heap, that all of them together may
/// have: clients that begin many and then send nothing more keep a sixteenth of the store.
const PART: u64 = 8;

/// The line end behind a value.
pub(crate) const END: [u8; 2] = *b"\r\n";

/// One who fills in, and the value that it was lent for.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) filler: Filler,
    /// The length of the value, and how much of it and of the end behind it has come.
    pub(crate) bytes: usize,
    pub(crate) filled: usize,
    pub(crate) end: [u8; END.len()],
}

/// A pool of them.
#[derive(Debug, Default)]
pub(crate) struct Fillers {
    pool: Mutex<Pool>,
}

#[derive(Debug, Default)]
struct Pool {
    /// The one that was used last is used next: what it touches is in the cache.
    #[expect(clippy::vec_box, reason = "it is lent to a connection, which has a word for it")]
    idle: Vec<Box<Job>>,
    /// How many there are, and whether the store would not have more of them.
    count: usize,
    is_full: bool,
    /// The bytes of all values on their way.
    bytes: u64,
}

impl Fillers {
    /// One that is idle, for a value of `bytes`; `None` if there is none.
    pub(crate) fn lend(
        &self,
        bytes: usize,
        value_bytes_most: u64,
        attach: impl FnOnce() -> Option<Store>,
    ) -> Option<Box<Job>> {
        let mut pool = locked(&self.pool);
        if bytes < BYTES_LEAST || pool.bytes + bytes as u64 > value_bytes_most / PART {
            return None;
        }
        let mut job = match pool.idle.pop() {
            Some(job) => job,
            None => pool.add(value_bytes_most, attach)?,
        };
        pool.bytes += bytes as u64;
        (job.bytes, job.filled, job.end) = (bytes, 0, [0; END.len()]);
        Some(job)
    }

    /// Takes one back that was lent; what it had begun and not sealed is abandoned.
    pub(crate) fn give_back(&self, mut job: Box<Job>) {
        job.filler.abandon();
        let mut pool = locked(&self.pool);
        pool.bytes -= job.bytes as u64;
        pool.idle.push(job);
    }
}

impl Job {
    /// Where the next bytes of the value belong.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        let room = self.filler.room();
        let from = self.filled.min(room.len());
        &mut room[from..]
    }
}

impl Pool {
    /// One more, if there may be.
    fn add(
        &mut self,
        value_bytes_most: u64,
        attach: impl FnOnce() -> Option<Store>,
    ) -> Option<Box<Job>> {
        let most = MOST.min((value_bytes_most / BYTES_EACH) as usize);
        if self.count >= most || self.is_full {
            return None;
        }
        let Some(store) = attach() else {
            // It would be asked in vain for every value from now on.
            self.is_full = true;
            return None;
        };
        self.count += 1;
        let filler = Filler::new(store);
        Some(Box::new(Job { filler, bytes: 0, filled: 0, end: [0; END.len()] }))
    }
}
