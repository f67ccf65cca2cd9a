//! Words that a process has in common with its children of fork, and one that it has not.
//!
//! Promises: nothing here allocates but whole pages.
//!
//! Source: mmap(2), `MAP_SHARED`; madvise(2), `MADV_WIPEONFORK`.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Release};

use crate::{Failed, memory, segment};

/// A word that is zero again in a child of fork: its page is wiped.
pub struct ForkWord(&'static AtomicU32);

impl ForkWord {
    /// Makes one; its page lives as long as the process.
    ///
    /// # Errors
    /// As mmap(2) and madvise(2) have it.
    pub fn new() -> Result<Self, Failed> {
        let bytes = memory::page_bytes();
        let at = memory::map(0, bytes)?;
        // SAFETY: the page was mapped in the line above, and nobody knows it yet.
        unsafe { memory::advise(at, bytes, memory::Advice::WipeOnFork) }?;
        let word = core::ptr::with_exposed_provenance::<AtomicU32>(at as usize);
        // SAFETY: the page is mapped for good, zeroed, aligned, and only used as this atomic.
        Ok(Self(unsafe { &*word }))
    }

    /// Returns the word: 0 in a process that has not set it yet.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u32 {
        // Acquire pairs with the Release in `set`: what was prepared before it is seen.
        self.0.load(Acquire)
    }

    /// Sets the word, for this process and not for its children.
    pub fn set(&self, value: u32) {
        self.0.store(value, Release);
    }
}

/// Words that a process shares with its children of fork; all zero at first.
#[derive(Debug)]
pub struct SharedWords {
    at: *const AtomicU64,
    count: usize,
}

// SAFETY: the words are atomics, mapped until this is dropped.
unsafe impl Send for SharedWords {}
// SAFETY: as above.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    /// Makes `count` words, at least one.
    ///
    /// # Errors
    /// As mmap(2) has it.
    pub fn new(count: usize) -> Result<Self, Failed> {
        let at = segment::map_shared((count * size_of::<AtomicU64>()) as u64)?;
        Ok(Self { at: at.cast(), count })
    }
}

impl core::ops::Deref for SharedWords {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: as many words are mapped while this lives, and used as atomics only.
        unsafe { core::slice::from_raw_parts(self.at, self.count) }
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        let bytes = (self.count * size_of::<AtomicU64>()) as u64;
        // SAFETY: mapped in `new`; whoever borrowed the words borrowed this.
        let _unmapped = unsafe { segment::unmap_shared(self.at.cast_mut().cast(), bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_word_holds_what_is_set() {
        let word = ForkWord::new().unwrap();
        assert_eq!(word.get(), 0);
        word.set(7);
        assert_eq!(word.get(), 7);
    }
}
