//! The two queues that a ring shares with the kernel.
//!
//! ```text
//!   submissions   | taken by the kernel | pushed, not told yet | free ...
//!                                 head ^                 tail ^
//!   completions   | taken by us | not taken yet | free ...
//!                         head ^          tail ^            each index is masked when used
//! ```
//!
//! Promises: of each queue one side writes the head and the other the tail. The kernel reads
//! submissions only inside of `enter`, so no order between them and the tail is needed beyond that.
//! Source: `io_uring`(7).

use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::abi::{self, Completed, Parameters, Submission};
use crate::Failed;
use crate::descriptor::Descriptor;
use crate::memory;

/// A stretch of a ring's memory, mapped here.
#[derive(Debug)]
struct Mapped {
    at: *mut u8,
    bytes: usize,
}

/// Both queues of a ring.
///
/// # Invariants
/// - `mapped`: every offset and count in here is the kernel's own for these mappings, so what is
///   reached by an index under its mask lies within them.
#[derive(Debug)]
pub(super) struct Queues {
    words: Mapped,
    entries: Mapped,
    submission_mask: u32,
    completion_mask: u32,
    submission_head: u32,
    submission_tail: u32,
    completion_head: u32,
    completion_tail: u32,
    completions_at: u32,
    /// Where the next submission goes; the tail follows when all are told.
    next: u32,
}

impl Queues {
    /// Maps the queues of a ring that was set up as `made` says.
    pub(super) fn map(ring: &Descriptor, made: &Parameters) -> Result<Self, Failed> {
        let (first, second) = (&made.submission_at, &made.completion_at);
        let array_end = first.array as usize + made.submissions as usize * size_of::<u32>();
        let completions = made.completions as usize * size_of::<Completed>();
        let bytes = array_end.max(second.entries_at as usize + completions);
        let words = Mapped::new(ring, 0, bytes)?;
        let bytes = made.submissions as usize * size_of::<Submission>();
        let entries = Mapped::new(ring, abi::SUBMISSIONS_AT, bytes)?;
        let queues = Self {
            submission_mask: words.word(first.mask).load(Relaxed),
            completion_mask: words.word(second.mask).load(Relaxed),
            submission_head: first.head,
            submission_tail: first.tail,
            completion_head: second.head,
            completion_tail: second.tail,
            completions_at: second.entries_at,
            next: words.word(first.tail).load(Relaxed),
            words,
            entries,
        };
        // The kernel takes submissions by way of an array of indices; ours stand in their order.
        for index in 0..made.submissions {
            let at = first.array + index * size_of::<u32>() as u32;
            queues.words.word(at).store(index, Relaxed);
        }
        Ok(queues)
    }

    /// Appends a submission; `false` where the queue is full.
    pub(super) fn push(&mut self, submission: Submission) -> bool {
        let taken = self.words.word(self.submission_head).load(Acquire);
        if self.next.wrapping_sub(taken) > self.submission_mask {
            return false;
        }
        let index = (self.next & self.submission_mask) as usize;
        let first = self.entries.at.cast::<Submission>();
        // SAFETY: `mapped`: there are as many entries as the mask has indices.
        let at = unsafe { first.add(index) };
        // SAFETY: `at` is within the mapping and aligned, and the kernel is done with this entry:
        // its head has passed it (the Acquire above).
        unsafe { at.write(submission) };
        self.next = self.next.wrapping_add(1);
        true
    }

    /// Tells the kernel's side of all that was pushed; returns how many it has not taken.
    pub(super) fn publish(&mut self) -> u32 {
        // Release pairs with the kernel's Acquire of the tail.
        self.words.word(self.submission_tail).store(self.next, Release);
        self.next.wrapping_sub(self.words.word(self.submission_head).load(Acquire))
    }

    /// Takes the next completion.
    pub(super) fn pop(&mut self) -> Option<Completed> {
        let head = self.words.word(self.completion_head).load(Relaxed);
        // Acquire pairs with the kernel's Release of the tail.
        if head == self.words.word(self.completion_tail).load(Acquire) {
            return None;
        }
        let at = self.completions_at as usize
            + (head & self.completion_mask) as usize * size_of::<Completed>();
        // SAFETY: `mapped`: there are as many entries as the mask has indices.
        let at = unsafe { self.words.at.add(at) };
        // SAFETY: `at` is within the mapping and aligned; the kernel has written this entry and
        // does not again until the head passes it.
        let completed = unsafe { at.cast::<Completed>().read() };
        // Release pairs with the kernel's Acquire: it may use the entry again from now on.
        self.words.word(self.completion_head).store(head.wrapping_add(1), Release);
        Some(completed)
    }
}

impl Mapped {
    fn new(ring: &Descriptor, offset: i64, bytes: usize) -> Result<Self, Failed> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
        let (hint, number) = (ptr::null_mut(), ring.number());
        // SAFETY: without MAP_FIXED a new mapping never touches an old one.
        let at = unsafe { libc::mmap(hint, bytes, protection, flags, number, offset) };
        if at == libc::MAP_FAILED {
            return Err(Failed::last("mmap"));
        }
        Ok(Self { at: at.cast(), bytes })
    }

    /// The word at an offset that the kernel told.
    fn word(&self, offset: u32) -> &AtomicU32 {
        debug_assert!(offset as usize + size_of::<u32>() <= self.bytes);
        // SAFETY: `mapped`: the offset is the kernel's own, so it is within the mapping.
        let at = unsafe { self.at.add(offset as usize) };
        // SAFETY: it is aligned, mapped while `self` lives, and only accessed as an atomic.
        unsafe { AtomicU32::from_ptr(at.cast()) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        let at = self.at.cast::<c_void>().expose_provenance() as u64;
        // SAFETY: the mapping is ours, and nobody uses it any more: `self` is gone.
        let _unmapped = unsafe { memory::unmap(at, self.bytes as u64) };
    }
}

// SAFETY: the mappings are reached through `self` alone, from whichever thread has it.
unsafe impl Send for Mapped {}
