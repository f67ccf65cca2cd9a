//! A copy of a whole segment, at another address than the original.

use std::io;

use morecore_store::Store;

/// Memory of a segment's size that children of fork share.
pub struct Image {
    base: *mut u8,
    bytes: usize,
}

impl Image {
    /// Zeroed memory of `bytes` bytes.
    pub fn new(bytes: u64) -> Self {
        let bytes = usize::try_from(bytes).expect("a test's segment fits in memory");
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        // SAFETY: a fresh mapping at a place of the kernel's choice touches nobody's memory.
        let base = unsafe {
            libc::mmap(std::ptr::null_mut(), bytes, protection, flags | libc::MAP_ANONYMOUS, -1, 0)
        };
        assert_ne!(base, libc::MAP_FAILED, "mmap: {}", io::Error::last_os_error());
        Self { base: base.cast(), bytes }
    }

    /// Becomes a copy of the segment at `from`, which nobody writes now.
    pub fn copy(&mut self, from: *const u8) {
        // SAFETY: both have `bytes` bytes, and they are different mappings.
        unsafe { std::ptr::copy_nonoverlapping(from, self.base, self.bytes) };
    }

    /// Whether this is still a copy of the segment at `from`, which nobody writes now.
    pub fn is_copy(&self, from: *const u8) -> bool {
        // SAFETY: both have `bytes` readable bytes.
        unsafe { libc::memcmp(self.base.cast(), from.cast(), self.bytes) == 0 }
    }

    /// Where it begins.
    pub fn base(&self) -> *const u8 {
        self.base
    }

    /// Attaches to it as a survivor that takes the processes in `dead` for dead.
    pub fn attach(&self, dead: &[u32]) -> Store {
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
