//! The one door to core: every word that a heap keeps is read and written here.
//!
//! Promises: an offset becomes a pointer in one function, which checks it; a word that others rely
//! on goes to the journal before it is overwritten.
//! Knows nothing of what the words mean.

use core::ptr;
use core::sync::atomic::Ordering::{Relaxed, Release};
use core::sync::atomic::{AtomicU16, AtomicU64};

use crate::abort::broken;
use crate::journal::{Journal, NoJournal, UndoLog};
use crate::layout::{Offset, WORD};

/// How far core reaches when it is a whole process: no offset is out of bounds.
const WHOLE_PROCESS: u64 = u64::MAX;

/// The core of a heap, and the journal that hears of each change to it.
///
/// # Invariants
/// - `mapped`: `bytes` bytes from `base` are readable while this value lives; all that is written
///   is writable. In a process (base null) this holds for the regions, the state and the unit map
///   that its heap was given, and the heap names no other place.
/// - `held`: nobody else writes the words that are read or written plainly, meanwhile.
#[derive(Debug)]
pub struct Core<J> {
    base: usize,
    bytes: u64,
    journal: J,
}

impl Core<NoJournal> {
    /// The core of this process: an offset is an address.
    ///
    /// # Safety
    /// - Each region, state and map that a heap is given through this core is mapped, readable and
    ///   writable for as long as the heap has it, and nobody else's.
    /// - Who changes a heap through it holds that heap.
    #[inline(always)]
    #[must_use]
    pub const unsafe fn process() -> Self {
        Self { base: 0, bytes: WHOLE_PROCESS, journal: NoJournal }
    }
}

impl<J: Journal> Core<J> {
    /// The core of `bytes` bytes at `base`.
    ///
    /// # Safety
    /// - `base` is aligned to 16, and `bytes` bytes from there are mapped while this value lives:
    ///   readable, and writable unless it is only read through.
    /// - Who changes a heap through it holds that heap.
    #[must_use]
    pub unsafe fn new(base: *mut u8, bytes: u64, journal: J) -> Self {
        Self { base: base.expose_provenance(), bytes, journal }
    }

    /// How many bytes from the base on are core.
    #[inline(always)]
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Is this a whole process, in which an offset is an address?
    #[inline(always)]
    #[must_use]
    pub fn is_process(&self) -> bool {
        self.bytes == WHOLE_PROCESS
    }

    /// The journal that hears of each change.
    #[inline(always)]
    pub fn journal(&mut self) -> &mut J {
        &mut self.journal
    }

    /// The address of the `bytes` bytes at `at`: the only place where an offset becomes a pointer.
    ///
    /// # Panics
    /// `wild`: they are not all inside the core.
    #[inline(always)]
    #[must_use]
    pub fn pointer(&self, at: Offset, bytes: u64) -> *mut u8 {
        if !self.is_process() && !self.contains(at, bytes) {
            broken("wild", at);
        }
        ptr::with_exposed_provenance_mut(self.base.wrapping_add(at.0 as usize))
    }

    /// The offset of an address inside the core.
    #[inline(always)]
    #[must_use]
    pub fn offset(&self, address: *const u8) -> Offset {
        Offset(address.addr().wrapping_sub(self.base) as u64)
    }

    /// Are `bytes` bytes at `at` all inside the core?
    #[inline(always)]
    #[must_use]
    pub fn contains(&self, at: Offset, bytes: u64) -> bool {
        at.0 <= self.bytes && bytes <= self.bytes - at.0
    }

    /// Reads the word at `at`.
    #[inline(always)]
    #[must_use]
    pub fn read(&self, at: Offset) -> u64 {
        let word = self.word_pointer(at);
        if J::ACTIVE {
            return self.word(at).load(Relaxed);
        }
        // SAFETY: `mapped` and the check in `word_pointer`; by `held` nobody writes it meanwhile.
        unsafe { word.read() }
    }

    /// Reads the word at `at`, or says `None` if it is out of bounds or askew: for who does not
    /// trust what it follows.
    #[must_use]
    pub fn try_read(&self, at: Offset) -> Option<u64> {
        let is_sound = !at.is_none() && at.is_aligned(WORD) && self.contains(at, WORD);
        is_sound.then(|| self.word(at).load(Relaxed))
    }

    /// Overwrites the word at `at`, after the journal heard what stood there.
    #[inline(always)]
    pub fn write(&mut self, at: Offset, value: u64) {
        self.keep(at);
        self.write_fresh(at, value);
    }

    /// As `write`, for a word that others read meanwhile, as an atomic: the store is whole.
    #[inline(always)]
    pub fn write_shared(&mut self, at: Offset, value: u64) {
        self.keep(at);
        // Release pairs with an Acquire of whoever follows the word to what it is about.
        self.word(at).store(value, Release);
    }

    /// Tells the journal of a word that its next owner may overwrite without telling: a link of a
    /// free chunk that becomes payload.
    #[inline(always)]
    pub fn keep(&mut self, at: Offset) {
        if J::ACTIVE {
            let old = self.read(at);
            self.journal.note(at, old);
        }
    }

    /// Writes a word that nobody can reach yet, so that nothing needs to be taken back.
    ///
    /// What was freed in a transaction is not fresh in it: to roll back must give it back whole.
    #[inline(always)]
    pub fn write_fresh(&mut self, at: Offset, value: u64) {
        let word = self.word_pointer(at);
        if J::ACTIVE {
            // Release pairs with an Acquire of whoever looks without the hold: what was written
            // before a word that publishes it is seen with it.
            return self.word(at).store(value, Release);
        }
        // SAFETY: `mapped` and the check in `word_pointer`; by `held` nobody else uses it now.
        unsafe { word.write(value) }
    }

    /// Reads the half-word (16 bits) at `at`, which others may write meanwhile.
    #[inline(always)]
    #[must_use]
    pub fn read_u16(&self, at: Offset) -> u16 {
        self.half_word(at).load(Relaxed)
    }

    /// Overwrites the 16 bits at `at`, after the journal heard of the word that they are in.
    #[inline(always)]
    pub fn write_u16(&mut self, at: Offset, value: u16) {
        if J::ACTIVE {
            let word = at.align_down(WORD);
            let old = self.read(word);
            self.journal.note(word, old);
        }
        // Release pairs with whoever got an address by way of this entry, through an Acquire.
        self.half_word(at).store(value, Release);
    }

    /// The word at `at`, for those that share it without a hold.
    #[inline(always)]
    #[must_use]
    pub fn word(&self, at: Offset) -> &AtomicU64 {
        let word = self.word_pointer(at);
        // SAFETY: `mapped` and the check in `word_pointer`; it stays mapped while `self` lives.
        unsafe { AtomicU64::from_ptr(word) }
    }

    /// The address of the word at `at`: inside the core, and aligned.
    #[inline(always)]
    fn word_pointer(&self, at: Offset) -> *mut u64 {
        if !self.is_process() && !at.is_aligned(WORD) {
            broken("wild", at);
        }
        self.pointer(at, WORD).cast()
    }

    #[inline(always)]
    fn half_word(&self, at: Offset) -> &AtomicU16 {
        if !self.is_process() && !at.is_aligned(2) {
            broken("wild", at);
        }
        let half = self.pointer(at, 2).cast();
        // SAFETY: `mapped` and the check in `pointer`; entries of 16 bits are laid out aligned.
        unsafe { AtomicU16::from_ptr(half) }
    }
}

impl Core<UndoLog> {
    /// Ends a change: from here on it can not be taken back.
    #[inline]
    pub fn commit(&mut self) {
        self.journal.commit();
    }

    /// Takes back all that was noted since the last commit. To do it again changes nothing.
    pub fn roll_back(&mut self) {
        for index in (0..self.journal.length()).rev() {
            let (at, old) = self.journal.entry(index);
            self.write_fresh(at, old);
        }
        self.journal.commit();
    }
}

/// Here so that its assembly can be looked at: `NoJournal` must leave one `mov` (see there).
#[doc(hidden)]
#[inline(never)]
pub fn same_as_plain_store(at: Offset, value: u64) {
    // SAFETY: nothing calls it; it would be for the caller to name a mapped place.
    let mut core = unsafe { Core::process() };
    core.write(at, value);
}
