//! Where core comes from.
//!
//! Promises: a source never sees the heap, so no call comes back up.

use crate::layout::{GRANULE, Offset};

/// One unbroken stretch of core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Where it begins.
    pub begin: Offset,
    /// How long it is.
    pub bytes: u64,
}

impl Region {
    /// The stretch from `begin` up to `end`.
    #[must_use]
    pub fn between(begin: Offset, end: Offset) -> Self {
        Self { begin, bytes: end - begin }
    }

    /// Where it ends: the first offset behind it.
    #[must_use]
    pub fn end(self) -> Offset {
        self.begin + self.bytes
    }
}

/// What hands out core. It never sees the heap, so no call comes back up.
///
/// # Safety
/// - A region is readable, writable and nobody else's until it is taken back.
/// - It reads as zero when it is handed out.
pub unsafe trait Source {
    /// A region of at least `bytes` bytes, or `None` if there is no more.
    fn more_core(&mut self, bytes: u64) -> Option<Region>;
    /// Takes a region back; `false` if this source keeps what it gave.
    fn less_core(&mut self, region: Region) -> bool;
}

/// One stretch that never grows: a segment, a file, an array in a test.
#[derive(Clone, Copy, Debug)]
pub struct Fixed {
    rest: Region,
}

impl Fixed {
    /// Hands out `stretch`, from its beginning on.
    ///
    /// # Safety
    /// - `stretch` is readable, writable, all zero, and nobody else's.
    #[must_use]
    pub const unsafe fn new(stretch: Region) -> Self {
        Self { rest: stretch }
    }
}

// SAFETY: what is handed out is cut off the rest, so it is handed out once; `new` was promised
// that it is usable and zero.
unsafe impl Source for Fixed {
    fn more_core(&mut self, bytes: u64) -> Option<Region> {
        if bytes > self.rest.bytes {
            return None;
        }
        let bytes = (bytes + (GRANULE - 1)).min(self.rest.bytes) & !(GRANULE - 1);
        let region = Region { begin: self.rest.begin, bytes };
        self.rest = Region::between(region.end(), self.rest.end());
        Some(region)
    }

    fn less_core(&mut self, region: Region) -> bool {
        let _ = region;
        false
    }
}
