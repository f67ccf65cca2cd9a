//! A copy of a whole segment, at another address than the original.
//!
//! Most pages of a segment were never touched: they are zero in the segment and in every copy. So
//! only those that someone touches are copied and compared, and a large store costs no more than a
//! small one. A file in memory counts its pages, which tells at once whether a survivor has touched
//! others since.

use std::collections::BTreeSet;
use std::io;
use std::ops::{Deref, Range};
use std::rc::Rc;

use morecore_store::Store;
use morecore_sys::descriptor::Descriptor;
use morecore_sys::file::{self, Access};
use morecore_sys::segment::{map_shared, unmap_shared};

pub(crate) const PAGE: usize = 4096;

/// The pages of a segment that are worth a look: stretches of bytes, ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pages(Rc<[Range<usize>]>);

impl Pages {
    /// The pages that were ever touched in the memory at each of `bases`, of `bytes` bytes.
    pub(crate) fn touched(bases: &[*const u8], bytes: u64) -> Self {
        let count = bytes as usize / PAGE;
        let mut is_touched = vec![false; count];
        for &base in bases {
            let mut state = vec![0u8; count];
            // SAFETY: the memory is mapped, and `state` has a byte for each of its pages.
            let failed =
                unsafe { libc::mincore(base.cast_mut().cast(), count * PAGE, state.as_mut_ptr()) };
            assert_eq!(failed, 0, "mincore: {}", io::Error::last_os_error());
            is_touched.iter_mut().zip(state).for_each(|(page, state)| *page |= state & 1 != 0);
        }
        Self::of((0..count).filter(|page| is_touched[*page]))
    }

    /// The pages of these numbers, which ascend.
    fn of(numbers: impl Iterator<Item = usize>) -> Self {
        let mut runs: Vec<Range<usize>> = Vec::new();
        for page in numbers {
            match runs.last_mut() {
                Some(run) if run.end == page * PAGE => run.end += PAGE,
                _ => runs.push(page * PAGE..(page + 1) * PAGE),
            }
        }
        Self(runs.into())
    }

    /// These pages, and those around `part`.
    pub(crate) fn with(&self, part: &Range<usize>) -> Self {
        let runs = self.0.iter().chain([part]);
        let numbers: BTreeSet<usize> =
            runs.flat_map(|run| run.start / PAGE..run.end.div_ceil(PAGE)).collect();
        Self::of(numbers.into_iter())
    }

    /// These pages, and those of another.
    pub(crate) fn and(&self, other: &Self) -> Self {
        other.0.iter().fold(self.clone(), |all, run| all.with(run))
    }

    /// How many bytes they have.
    fn bytes(&self) -> usize {
        self.0.iter().map(ExactSizeIterator::len).sum()
    }

    /// Whether all that `part` touches is in these pages.
    pub(crate) fn cover(&self, part: &Range<usize>) -> bool {
        self.0.iter().any(|run| run.start <= part.start && part.end <= run.end)
    }
}

/// Memory of a segment's size that children of fork share.
pub(crate) struct Image {
    base: *mut u8,
    bytes: usize,
    pages: Pages,
    file: Descriptor,
}

impl Image {
    /// Zeroed memory of `bytes` bytes, for copies of what stands in `pages`.
    pub(crate) fn new(bytes: u64, pages: &Pages) -> Self {
        let file = file::memory(c"image", bytes, 0o600).unwrap();
        let base = file::map(&file, bytes, Access::Write).unwrap();
        Self { base, bytes: bytes as usize, pages: pages.clone(), file }
    }

    /// Whether pages are in memory that it does not copy.
    pub(crate) fn has_others(&self) -> bool {
        const BLOCK_BYTES: u64 = 512; // As stat(2) has it.
        // SAFETY: plain numbers, for which all zero is a value.
        let mut status: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: the structure is ours to write.
        let failed = unsafe { libc::fstat(self.file.number(), &raw mut status) };
        assert_eq!(failed, 0, "fstat: {}", io::Error::last_os_error());
        status.st_blocks as u64 * BLOCK_BYTES > self.pages.bytes() as u64
    }

    /// Goes on with these pages, among which are those that it had.
    pub(crate) fn widen(&mut self, pages: &Pages) {
        self.pages = pages.clone();
    }

    /// A copy of all that was touched in the store's segment.
    pub(crate) fn of(store: &Store) -> Self {
        let (base, bytes) = store.memory();
        let image = Self::new(bytes, &Pages::touched(&[base], bytes));
        image.copy(base);
        image
    }

    /// Becomes a copy of the segment at `from`, which nobody writes now.
    pub(crate) fn copy(&self, from: *const u8) {
        for run in self.pages.0.iter() {
            let (to, from) = (self.base.wrapping_add(run.start), from.wrapping_add(run.start));
            // SAFETY: both have `bytes` bytes, and they are different mappings.
            unsafe { std::ptr::copy_nonoverlapping(from, to, run.len()) };
        }
        // Now all of these are in memory.
        if self.has_others() {
            self.empty_others();
        }
    }

    /// Zeroes all pages that it does not copy.
    fn empty_others(&self) {
        let mut end = 0;
        for run in self.pages.0.iter() {
            self.empty(end..run.start);
            end = run.end;
        }
        self.empty(end..self.bytes);
    }

    /// Zeroes pages.
    fn empty(&self, pages: Range<usize>) {
        if !pages.is_empty() {
            let begin = self.base.wrapping_add(pages.start);
            // SAFETY: the mapping is ours and nobody is attached to it now.
            unsafe { libc::madvise(begin.cast(), pages.len(), libc::MADV_REMOVE) };
        }
    }

    /// Whether this is still a copy of the segment at `from`, which nobody writes now.
    pub(crate) fn is_copy(&self, from: *const u8) -> bool {
        self.pages.0.iter().all(|run| self.is_same(from, run.clone()))
    }

    /// Becomes a copy of the segment at `from` again, of which one instruction has written `near`
    /// since. Returns whether it has changed anything.
    pub(crate) fn follow(&mut self, from: *const u8, near: Option<Range<usize>>) -> bool {
        let Some(near) = near else {
            let is_changed = !self.is_copy(from);
            if is_changed {
                self.copy(from);
            }
            return is_changed;
        };
        let is_changed = !self.is_same(from, near.clone());
        let (to, source) = (self.base.wrapping_add(near.start), from.wrapping_add(near.start));
        // SAFETY: both have `bytes` bytes, and they are different mappings.
        unsafe { std::ptr::copy_nonoverlapping(source, to, near.len()) };
        let around = near.start / PAGE * PAGE..near.end.next_multiple_of(PAGE);
        assert!(self.is_same(from, around), "something was written unseen");
        is_changed
    }

    fn is_same(&self, from: *const u8, part: Range<usize>) -> bool {
        let (ours, theirs) = (self.base.wrapping_add(part.start), from.wrapping_add(part.start));
        // SAFETY: both have `bytes` readable bytes.
        unsafe { libc::memcmp(ours.cast(), theirs.cast(), part.len()) == 0 }
    }

    /// The words that differ from those of the segment at `from`, by number.
    pub(crate) fn differing(&self, from: *const u8) -> Vec<usize> {
        let words = self.pages.0.iter().flat_map(|run| run.start / 8..run.end / 8);
        words.filter(|word| !self.is_same(from, word * 8..word * 8 + 8)).collect()
    }

    /// How large it is.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes as u64
    }

    /// Where it begins.
    pub(crate) fn base(&self) -> *const u8 {
        self.base
    }

    /// Attaches to it as a survivor that takes the processes in `dead` for dead.
    pub(crate) fn attach(&self, dead: &[u32]) -> Store {
        // SAFETY: the mapping is page-aligned and lives as long as `self`, which outlives every
        // store that a test attaches to it.
        let store = unsafe { Store::attach_memory(self.base, self.bytes as u64, dead) };
        store.unwrap_or_else(|error| panic!("a survivor cannot attach: {error}"))
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nobody is attached to it any more.
        unsafe { unmap_shared(self.base, self.bytes as u64) }.unwrap();
    }
}

/// Something that is shared with children of fork; in memory that is zero at first.
pub(crate) struct Shared<T>(*mut T);

impl<T: Default> Default for Shared<T> {
    fn default() -> Self {
        const { assert!(size_of::<T>() <= PAGE) };
        let at = map_shared(PAGE as u64).unwrap().cast::<T>();
        // SAFETY: fresh memory, writable, aligned to a page and large enough.
        unsafe { at.write(T::default()) };
        Self(at)
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: filled in `default`, and mapped while this lives.
        unsafe { &*self.0 }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: mapped in `default`; whoever borrowed from it borrowed this.
        unsafe { unmap_shared(self.0.cast(), PAGE as u64) }.unwrap();
    }
}
