//! How a change is undone if its maker dies.
//!
//! ```text
//!   words of an undo log:   [ length ][ offset, old ][ offset, old ] ... capacity times
//!
//!   note:       entry[length] = (offset, old);  length += 1;       then the caller overwrites
//!   commit:     length = 0
//!   roll back:  put the old values back, last first;  length = 0
//! ```
//!
//! Promises: whoever stops between any two stores leaves a log that takes all of them back. To roll
//! back twice, or half and then whole, gives the same. A process that dies stops between two
//! instructions and all that it stored is seen, so only the compiler must keep the order.
//! Knows nothing of what the words mean. Begin and commit belong to the caller: one log may serve a
//! change that spans several heaps of one core.

use core::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use core::sync::atomic::{AtomicU64, compiler_fence};

use crate::abort::broken;
use crate::layout::{Offset, WORD};

/// What is told of each word before it is overwritten.
pub trait Journal {
    /// Does `note` do anything? If not, stores may be plain ones.
    const ACTIVE: bool;

    /// Takes down that the word at `at` is about to be overwritten, and what stood there.
    fn note(&mut self, at: Offset, old: u64);
}

/// The journal of a heap that dies with its only process: it compiles to nothing.
///
/// To see that: `cargo rustc -p morecore-heap --release -- --emit asm` and look at the function
/// `same_as_plain_store` of `core.rs`: one `mov`, and no more, for `Core::write`.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoJournal;

impl Journal for NoJournal {
    const ACTIVE: bool = false;

    #[inline(always)]
    fn note(&mut self, _at: Offset, _old: u64) {}
}

/// A journal in shared words, which outlives whoever writes it.
///
/// # Invariants
/// - `roomy`: its length is at most its capacity.
#[derive(Debug)]
pub struct UndoLog {
    words: *mut u64,
    capacity: u64,
}

impl UndoLog {
    /// The bytes of a log with room for `capacity` notes.
    #[must_use]
    pub const fn bytes(capacity: u64) -> u64 {
        WORD + capacity * 2 * WORD
    }

    /// The log that lives at `words`; all-zero words are an empty one.
    ///
    /// # Safety
    /// - `words` is aligned to 8, and `bytes(capacity)` bytes from there are mapped, readable and
    ///   writable while this value lives.
    /// - Nobody else writes them meanwhile.
    #[must_use]
    pub const unsafe fn new(words: *mut u64, capacity: u64) -> Self {
        Self { words, capacity }
    }

    /// How many notes are in it: 0 when no change is under way.
    #[must_use]
    pub fn length(&self) -> u64 {
        // Acquire pairs with the Release in `note`: the entries up to here are whole.
        let length = self.word(0).load(Acquire);
        if length > self.capacity {
            broken("roomy", Offset(length));
        }
        length
    }

    /// How many more notes it has room for.
    #[must_use]
    pub fn room(&self) -> u64 {
        self.capacity - self.length()
    }

    /// Note `index`: which word, and what stood there. `index` is below `length()`.
    #[must_use]
    pub fn entry(&self, index: u64) -> (Offset, u64) {
        let at = self.word(1 + 2 * index).load(Relaxed);
        let old = self.word(2 + 2 * index).load(Relaxed);
        (Offset(at), old)
    }

    /// Ends a change: from here on it can not be taken back.
    #[inline]
    pub fn commit(&mut self) {
        // Release pairs with the Acquire in `length`: who sees 0 sees the whole change.
        self.word(0).store(0, Release);
        // A later change must not begin, for a dead maker's rescuer, before this one has ended.
        compiler_fence(SeqCst);
    }

    #[inline(always)]
    fn word(&self, index: u64) -> &AtomicU64 {
        debug_assert!(index <= 2 * self.capacity);
        let word = self.words.wrapping_add(index as usize);
        // SAFETY: `new` was promised `bytes(capacity)` mapped bytes, aligned; `roomy` keeps the
        // index inside them; whoever reads beside us does so by atomics too.
        unsafe { AtomicU64::from_ptr(word) }
    }
}

impl Journal for UndoLog {
    const ACTIVE: bool = true;

    #[inline]
    fn note(&mut self, at: Offset, old: u64) {
        let length = self.word(0).load(Relaxed);
        if length >= self.capacity {
            broken("roomy", at);
        }
        self.word(1 + 2 * length).store(at.0, Relaxed);
        self.word(2 + 2 * length).store(old, Relaxed);
        // Release pairs with the Acquire in `length`: a counted entry is whole.
        self.word(0).store(length + 1, Release);
        // The store that this note is about must not come before it.
        compiler_fence(SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Array;

    #[test]
    fn a_change_is_taken_back_last_first() {
        let (array, log) = (Array::new(128), Array::new(UndoLog::bytes(3)));
        let mut core = array.core(log.log());
        core.write(Offset(64), 1);
        core.commit();
        core.write(Offset(64), 2);
        core.write(Offset(72), 3);
        core.write(Offset(64), 4);
        assert_eq!(core.journal().length(), 3);
        assert_eq!(core.journal().entry(2), (Offset(64), 2));
        core.roll_back();
        assert_eq!((core.read(Offset(64)), core.read(Offset(72))), (1, 0));
        assert_eq!(core.journal().length(), 0);
    }

    #[test]
    fn to_roll_back_twice_changes_nothing_more() {
        let (array, log) = (Array::new(128), Array::new(UndoLog::bytes(3)));
        let mut core = array.core(log.log());
        core.write(Offset(64), 2);
        core.roll_back();
        core.write_fresh(Offset(64), 5);
        core.roll_back();
        assert_eq!(core.read(Offset(64)), 5);
    }

    #[test]
    fn sixteen_bits_are_taken_back_with_their_word() {
        let (array, log) = (Array::new(128), Array::new(UndoLog::bytes(3)));
        let mut core = array.core(log.log());
        core.write_fresh(Offset(64), 0x0004_0003_0002_0001);
        core.write_u16(Offset(68), 7);
        assert_eq!(core.read(Offset(64)), 0x0004_0007_0002_0001);
        assert_eq!(core.read_u16(Offset(68)), 7);
        core.roll_back();
        assert_eq!(core.read(Offset(64)), 0x0004_0003_0002_0001);
    }

    #[test]
    #[should_panic(expected = "invariant `roomy` broken at 0x40")]
    fn a_full_log_ends_it_before_the_store() {
        let (array, log) = (Array::new(128), Array::new(UndoLog::bytes(2)));
        let mut core = array.core(log.log());
        assert_eq!(core.journal().room(), 2);
        (0..3).for_each(|value| core.write(Offset(64), value));
    }

    #[test]
    #[should_panic(expected = "invariant `wild` broken at 0x80")]
    fn an_offset_out_of_bounds_ends_it() {
        let array = Array::new(128);
        let _ = array.plain().read(Offset(128));
    }

    #[test]
    #[should_panic(expected = "invariant `wild` broken at 0x44")]
    fn an_offset_askew_ends_it() {
        let array = Array::new(128);
        let _ = array.plain().read(Offset(68));
    }

    #[test]
    fn who_does_not_trust_an_offset_gets_none() {
        let array = Array::new(128);
        for at in [0, 4, 121, 128, 1 << 40, u64::MAX, u64::MAX - 7] {
            assert_eq!(array.plain().try_read(Offset(at)), None, "{at}");
        }
        assert_eq!(array.plain().try_read(Offset(120)), Some(0));
    }
}
