//! A copy of a whole segment, at another address than the original.
//!
//! Most pages of a segment were never touched: they are zero in the segment and in every copy. So
//! only those that someone touches are copied and compared, and a large store costs no more than a
//! small one.

use std::io;
use std::ops::Range;
use std::rc::Rc;

use morecore_store::Store;

const PAGE: usize = 4096;

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
        let mut runs: Vec<Range<usize>> = Vec::new();
        for page in (0..count).filter(|page| is_touched[*page]) {
            match runs.last_mut() {
                Some(run) if run.end == page * PAGE => run.end += PAGE,
                _ => runs.push(page * PAGE..(page + 1) * PAGE),
            }
        }
        Self(runs.into())
    }

    /// Whether all of `other`'s pages are among these.
    pub(crate) fn contain(&self, other: &Self) -> bool {
        let is_inside = |run: &Range<usize>| {
            self.0.iter().any(|ours| ours.start <= run.start && run.end <= ours.end)
        };
        other.0.iter().all(is_inside)
    }
}

/// Memory of a segment's size that children of fork share.
pub(crate) struct Image {
    base: *mut u8,
    bytes: usize,
    pages: Pages,
}

impl Image {
    /// Zeroed memory of `bytes` bytes, for copies of what stands in `pages`.
    pub(crate) fn new(bytes: u64, pages: &Pages) -> Self {
        let bytes = bytes as usize;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a fresh mapping at a place of the kernel's choice touches nobody's memory.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
        assert_ne!(base, libc::MAP_FAILED, "mmap: {}", io::Error::last_os_error());
        Self { base: base.cast(), bytes, pages: pages.clone() }
    }

    /// A copy of all that was touched in the store's segment.
    pub(crate) fn of(store: &Store) -> Self {
        let (base, bytes) = store.memory();
        let mut image = Self::new(bytes, &Pages::touched(&[base], bytes));
        image.copy(base);
        image
    }

    /// Becomes a copy of the segment at `from`, which nobody writes now.
    pub(crate) fn copy(&mut self, from: *const u8) {
        // SAFETY: the mapping is ours and nobody is attached to it now; its pages become zero.
        unsafe { libc::madvise(self.base.cast(), self.bytes, libc::MADV_REMOVE) };
        for run in self.pages.0.iter() {
            let (to, from) = (self.base.wrapping_add(run.start), from.wrapping_add(run.start));
            // SAFETY: both have `bytes` bytes, and they are different mappings.
            unsafe { std::ptr::copy_nonoverlapping(from, to, run.len()) };
        }
    }

    /// Whether this is still a copy of the segment at `from`, which nobody writes now.
    pub(crate) fn is_copy(&self, from: *const u8) -> bool {
        self.pages.0.iter().all(|run| {
            let (ours, theirs) = (self.base.wrapping_add(run.start), from.wrapping_add(run.start));
            // SAFETY: both have `bytes` readable bytes.
            unsafe { libc::memcmp(ours.cast(), theirs.cast(), run.len()) == 0 }
        })
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
        unsafe { libc::munmap(self.base.cast(), self.bytes) };
    }
}
