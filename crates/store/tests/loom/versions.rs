//! A shard of two words that change together, its version and its journal; and a reader of both.
//!
//! ```text
//!   writer   note, length --> version odd, fence --> word, word --> length 0 --> version even
//!   reader   even: words, fence, version again      odd: the notes' old values, if nothing moved
//! ```

use loom::sync::Arc;
use loom::thread;

use crate::atomic::{Acquire, AtomicU64, Relaxed, Release, fence};
use crate::check;

struct Shard {
    version: AtomicU64,
    length: AtomicU64,
    /// The old values of the two words: loom's atomics stand apart, so their places need no name.
    notes: [AtomicU64; 2],
    words: [AtomicU64; 2],
}

impl Shard {
    fn new() -> Arc<Self> {
        let zeros = || [AtomicU64::new(0), AtomicU64::new(0)];
        let (version, length) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self { version, length, notes: zeros(), words: zeros() })
    }

    /// `UndoLog::note`, for word `index`.
    fn note(&self, index: usize) {
        self.notes[index].store(self.words[index].load(Relaxed), Relaxed);
        self.length.store(index as u64 + 1, Release);
    }

    /// `Session::begin`, two writes, and `Session::commit`; it stops where `steps` says.
    fn change(&self, value: u64, steps: u32) {
        self.note(0);
        let version = self.version.load(Relaxed) | 1;
        self.version.store(version, Release);
        fence(Release);
        if steps == 0 {
            return;
        }
        self.words[0].store(value, Release);
        self.note(1);
        self.words[1].store(value, Release);
        if steps == 1 {
            return;
        }
        self.length.store(0, Release);
        self.version.store(version + 1, Release);
    }

    fn words(&self) -> [u64; 2] {
        [0, 1].map(|index| self.words[index].load(Acquire))
    }

    /// `Reader::read` and `Reader::read_before`; `None` if something moved.
    fn read(&self) -> Option<[u64; 2]> {
        let before = self.version.load(Acquire);
        if before & 1 == 0 {
            let words = self.words();
            fence(Acquire);
            return (self.version.load(Relaxed) == before).then_some(words);
        }
        let count = self.length.load(Acquire);
        let notes = [0, 1].map(|index| self.notes[index].load(Relaxed));
        let mut words = self.words();
        (0..count as usize).for_each(|index| words[index] = notes[index]);
        fence(Acquire);
        let is_same = self.length.load(Relaxed) == count && self.version.load(Relaxed) == before;
        is_same.then_some(words)
    }
}

/// A writer changes twice and stops; whatever a reader sees beside it is whole.
fn check_reads(steps: u32) {
    check(move || {
        let shard = Shard::new();
        let other = shard.clone();
        let writer = thread::spawn(move || {
            other.change(1, 2);
            other.change(2, steps);
        });
        if let Some([one, two]) = shard.read() {
            assert_eq!(one, two, "half of a change was seen");
        }
        writer.join().unwrap();
        let last = if steps == 2 { 2 } else { 1 };
        assert_eq!(shard.read(), Some([last; 2]), "what was left is not the last that counts");
    });
}

#[test]
fn a_reader_sees_a_change_whole_or_not_at_all() {
    check_reads(2);
}

#[test]
fn a_reader_sees_what_was_before_an_unfinished_change() {
    check_reads(1);
    check_reads(0);
}
