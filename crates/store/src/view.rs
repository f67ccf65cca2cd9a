//! A segment as this process sees it: the one place where an offset becomes a reference.
//!
//! Promises: what lies outside of the segment is never touched, whatever an offset says; shared
//! bytes are only read and written as atomic words, or as `racy.rs` does, for another process may
//! write them meanwhile.

use std::slice;

use crate::Error;
use crate::atomic::{Acquire, AtomicU8, AtomicU32, AtomicU64, Relaxed, Release};
use crate::layout::WORD;
use crate::racy;

/// A line of the cache.
const LINE: u64 = 64;

/// The segment's bytes.
///
/// # Invariants
/// - `mapped`: `bytes` bytes from `base` are readable while this value is used, aligned to a page;
///   writable too unless the segment was attached read-only.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    base: *mut u8,
    bytes: u64,
}

impl View {
    /// The view of `bytes` bytes at `base`.
    ///
    /// # Safety
    /// - `mapped` holds for as long as the view or a copy of it is used.
    pub(crate) unsafe fn new(base: *mut u8, bytes: u64) -> Self {
        Self { base, bytes }
    }

    pub(crate) fn base(&self) -> *mut u8 {
        self.base
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The word at `at`, which comes from the plan: so it is inside.
    #[inline]
    pub(crate) fn word(&self, at: u64) -> &AtomicU64 {
        match self.find(at) {
            Some(word) => word,
            None => panic!("invariant `planned` broken: word at {at:#x} of {:#x}", self.bytes),
        }
    }

    /// The 32-bit word at `at`, which comes from the plan.
    pub(crate) fn half_word(&self, at: u64) -> &AtomicU32 {
        let word = self.word(at).as_ptr().cast::<u32>();
        // SAFETY: `word` is mapped and aligned to 8, and only ever used through atomics.
        unsafe { AtomicU32::from_ptr(word) }
    }

    /// The word at `at`, which comes from the segment: it may be anything.
    #[expect(
        clippy::unnecessary_lazy_evaluations,
        reason = "to make the error first is most of the work of a look that finds its word"
    )]
    #[inline]
    pub(crate) fn followed(&self, at: u64) -> Result<&AtomicU64, Error> {
        // Made only where it is needed: to drop an error that nobody gets is a call.
        self.find(at).ok_or_else(|| Error::Damaged { what: "an offset out of bounds", at })
    }

    /// Where `count` bytes from `at` on begin; an offset that comes from the segment.
    #[inline]
    pub(crate) fn stretch(&self, at: u64, count: u64) -> Result<*mut u8, Error> {
        if !self.contains(at, count) {
            return Err(Error::Damaged { what: "a payload out of bounds", at });
        }
        Ok(self.base.wrapping_add(at as usize))
    }

    /// The word at `at`, which comes from the segment; `None` if that is out of bounds. Whether it
    /// is what it should be, a fence and another look at a version must tell.
    #[inline(always)]
    pub(crate) fn peek(&self, at: u64) -> Option<u64> {
        Some(self.find(at)?.load(Relaxed))
    }

    /// The line at `at`, which comes from the segment; `None` if that is out of bounds.
    #[inline(always)]
    pub(crate) fn line(&self, at: u64) -> Option<&[AtomicU64; 8]> {
        // As in `find`.
        if at.rotate_right(LINE.trailing_zeros()) >= self.bytes / LINE {
            return None;
        }
        let line = self.base.wrapping_add(at as usize).cast::<[AtomicU64; 8]>();
        // SAFETY: inside the segment, as just checked, and aligned; `mapped` while `self` is used.
        Some(unsafe { &*line })
    }

    /// The `count` lines from `at` on, which comes from the segment; `None` if they are not all in
    /// bounds.
    #[inline(always)]
    pub(crate) fn lines(&self, at: u64, count: u64) -> Option<&[[AtomicU64; 8]]> {
        if !at.is_multiple_of(LINE) || !self.contains(at, count * LINE) {
            return None;
        }
        let first = self.base.wrapping_add(at as usize).cast::<[AtomicU64; 8]>();
        // SAFETY: inside the segment, as just checked, and aligned; `mapped` while `self` is used.
        Some(unsafe { slice::from_raw_parts(first, count as usize) })
    }

    /// The same, where neither number comes near to half of all that there are: one comparison.
    #[inline(always)]
    pub(crate) fn near(&self, at: u64, count: u64) -> Option<&[AtomicU8]> {
        debug_assert!(at < 1 << 62 && count < 1 << 62);
        if at + count > self.bytes {
            return None;
        }
        let first = self.base.wrapping_add(at as usize).cast::<AtomicU8>();
        // SAFETY: inside the segment, as just checked, for the sum of such numbers is exact;
        // `mapped` while `self` is used.
        Some(unsafe { slice::from_raw_parts(first, count as usize) })
    }

    /// The `count` bytes from `at` on, which comes from the segment; `None` if they are not all in
    /// bounds.
    #[inline(always)]
    pub(crate) fn shared(&self, at: u64, count: u64) -> Option<&[AtomicU8]> {
        if !self.contains(at, count) {
            return None;
        }
        let first = self.base.wrapping_add(at as usize).cast::<AtomicU8>();
        // SAFETY: inside the segment, as just checked; `mapped` while `self` is used.
        Some(unsafe { slice::from_raw_parts(first, count as usize) })
    }

    /// Appends `count` bytes from `at` on.
    #[inline]
    pub(crate) fn copy_out(&self, at: u64, count: u64, out: &mut Vec<u8>) -> Result<(), Error> {
        let from = self.stretch(at, count)?;
        let count = count as usize;
        out.reserve(count);
        let to = out.spare_capacity_mut().as_mut_ptr().cast::<u8>();
        // SAFETY: `stretch` says that the bytes are inside, and `reserve` made room for them.
        unsafe { racy::copy_out(from, to, count) };
        // SAFETY: the line before filled as many bytes behind the old length.
        unsafe { out.set_len(out.len() + count) };
        Ok(())
    }

    /// Fills `out` with the bytes from `at` on.
    pub(crate) fn copy_to(&self, at: u64, out: &mut [u8]) -> Result<(), Error> {
        let from = self.stretch(at, out.len() as u64)?;
        // SAFETY: `stretch` says that the bytes are inside, and `out` has room for them.
        unsafe { racy::copy_out(from, out.as_mut_ptr(), out.len()) };
        Ok(())
    }

    /// Whether these bytes stand from `at` on.
    #[inline]
    pub(crate) fn equals(&self, at: u64, bytes: &[u8]) -> Result<bool, Error> {
        let begin = self.stretch(at, bytes.len() as u64)?;
        // SAFETY: `stretch` says that the bytes are inside.
        Ok(unsafe { racy::equals(begin, bytes) })
    }

    /// Copies `bytes` to `at`: fresh payload that nobody else looks at yet.
    pub(crate) fn copy_in(&self, at: u64, bytes: &[u8]) {
        assert!(self.contains(at, bytes.len() as u64), "wild {at:#x}");
        // SAFETY: inside the segment, as just checked; `mapped`.
        unsafe { racy::copy_in(bytes, self.base.wrapping_add(at as usize)) };
    }

    /// Copies words to `at`, a fresh chunk that nobody else looks at yet.
    pub(crate) fn copy_words_in(&self, at: u64, words: &[u64]) {
        // SAFETY: words are as many bytes, any of which may be read as such.
        let bytes = unsafe { slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) };
        self.copy_in(at, bytes);
    }

    /// Asks the processor to fetch the line at `at`; any offset will do, also one out of bounds:
    /// where nothing is mapped nothing happens.
    #[inline]
    pub(crate) fn prefetch(&self, at: u64) {
        racy::fetch(self.base.wrapping_add(at as usize));
    }

    #[inline]
    pub(crate) fn load(&self, at: u64) -> u64 {
        self.word(at).load(Acquire)
    }

    #[inline]
    pub(crate) fn store(&self, at: u64, value: u64) {
        self.word(at).store(value, Release);
    }

    #[inline]
    fn contains(&self, at: u64, count: u64) -> bool {
        at <= self.bytes && count <= self.bytes - at
    }

    #[inline]
    fn find(&self, at: u64) -> Option<&AtomicU64> {
        // The number of the word. Of an offset between two words the low bits come out on top, so
        // that one comparison tells both.
        if at.rotate_right(WORD.trailing_zeros()) >= self.bytes / WORD {
            return None;
        }
        let word = self.base.wrapping_add(at as usize).cast::<u64>();
        // SAFETY: inside the segment, as just checked, and aligned; `mapped` while `self` is used.
        Some(unsafe { AtomicU64::from_ptr(word) })
    }
}

/// How words of the table are read: as they stand, or as they stood before an unfinished change.
pub(crate) trait Look {
    /// Returns the word at `at`, an offset that comes from the segment.
    fn read(&self, at: u64) -> Result<u64, Error>;
    /// Returns the eight words of the line at `at`.
    fn read_line(&self, at: u64) -> Result<[u64; 8], Error>;
    /// The segment itself, for payloads: they do not change while they are reachable.
    fn view(&self) -> &View;
}

impl Look for View {
    #[inline]
    fn read(&self, at: u64) -> Result<u64, Error> {
        // Acquire pairs with the Release of every logged write: what it publishes is seen with it.
        Ok(self.followed(at)?.load(Acquire))
    }

    #[inline]
    fn read_line(&self, at: u64) -> Result<[u64; 8], Error> {
        if !at.is_multiple_of(LINE) || !self.contains(at, LINE) {
            return Err(Error::Damaged { what: "a bucket out of bounds", at });
        }
        let mut words = [0; 8];
        let mut from = self.base.wrapping_add(at as usize).cast::<u64>();
        for word in &mut words {
            // SAFETY: inside the segment, as just checked, and aligned; `mapped`.
            *word = unsafe { AtomicU64::from_ptr(from) }.load(Acquire);
            from = from.wrapping_add(1);
        }
        Ok(words)
    }

    fn view(&self) -> &View {
        self
    }
}
