//! What the tests share: core in an array, and random numbers from a told seed.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::copy_nonoverlapping;
use std::vec;
use std::vec::Vec;

use morecore_heap::{Core, Journal, NoJournal, Offset, Region, UNIT, UndoLog, WORD};

/// An array of zeros that begins on a multiple of a unit.
pub(crate) struct Array {
    address: *mut u8,
    layout: Layout,
}

impl Array {
    /// An array of `bytes` bytes, a multiple of 8 and not 0.
    pub(crate) fn new(bytes: u64) -> Self {
        let layout = Layout::from_size_align(bytes as usize, UNIT as usize).expect("no size fails");
        // SAFETY: no test asks for 0 bytes.
        let address = unsafe { alloc_zeroed(layout) };
        Self { address, layout }
    }

    /// How many bytes it has.
    pub(crate) fn bytes(&self) -> u64 {
        self.layout.size() as u64
    }

    /// All of it behind offset 0, in granules.
    pub(crate) fn rest(&self, begin: u64) -> Region {
        Region::between(Offset(begin), Offset(self.bytes()))
    }

    /// The array as core. A test uses one at a time.
    pub(crate) fn core<J: Journal>(&self, journal: J) -> Core<J> {
        // SAFETY: the array lives as long as the test, which is its only user.
        unsafe { Core::new(self.address, self.bytes(), journal) }
    }

    /// The array as core without a journal.
    pub(crate) fn plain(&self) -> Core<NoJournal> {
        self.core(NoJournal)
    }

    /// This array as an undo log.
    pub(crate) fn log(&self) -> UndoLog {
        let capacity = (self.bytes() / WORD - 1) / 2;
        // SAFETY: it has so many words; it lives as long as the test.
        unsafe { UndoLog::new(self.address.cast(), capacity) }
    }

    /// A copy of all its words.
    pub(crate) fn image(&self) -> Vec<u64> {
        let mut image = vec![0; (self.bytes() / WORD) as usize];
        // SAFETY: both have so many words, and are not the same.
        unsafe { copy_nonoverlapping(self.address.cast(), image.as_mut_ptr(), image.len()) };
        image
    }
}

impl Drop for Array {
    fn drop(&mut self) {
        // SAFETY: it came from `alloc_zeroed` with this layout.
        unsafe { dealloc(self.address, self.layout) }
    }
}

/// Random numbers: from the environment's SEED, or a new one; printed, so that a failure can be
/// had again.
pub(crate) fn random() -> fastrand::Rng {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    std::println!("SEED={seed}");
    fastrand::Rng::with_seed(seed)
}
