//! A segment's bytes in this process, for as long as anyone here uses them.

use morecore_sys::segment::{self, Id};

use crate::Error;
use crate::view::View;

/// Mapped bytes, and how they are given back.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: *mut u8,
    bytes: u64,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    SystemV,
    Anonymous,
    Borrowed,
}

// SAFETY: the bytes may be used from any thread; all use of them is by atomics.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Attaches a segment; its size comes from the kernel.
    pub(crate) fn attach(id: Id, read_only: bool) -> Result<Self, Error> {
        let bytes = segment::stat(id)?.bytes;
        let base = segment::attach(id, read_only)?;
        Ok(Self { base, bytes, kind: Kind::SystemV })
    }

    /// Fresh zeroed memory that children of fork share.
    pub(crate) fn anonymous(bytes: u64) -> Result<Self, Error> {
        Ok(Self { base: segment::map_shared(bytes)?, bytes, kind: Kind::Anonymous })
    }

    /// Memory that somebody else mapped.
    ///
    /// # Safety
    /// - `bytes` bytes from `base` stay mapped, readable and writable, and aligned to a page, while
    ///   the mapping lives, and are only used through stores.
    pub(crate) unsafe fn borrowed(base: *mut u8, bytes: u64) -> Self {
        Self { base, bytes, kind: Kind::Borrowed }
    }

    /// The bytes; the view is used no longer than the mapping lives.
    pub(crate) fn view(&self) -> View {
        // SAFETY: the mapping keeps the bytes; every holder of a view holds the mapping too.
        unsafe { View::new(self.base, self.bytes) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // A failure would mean that nothing is mapped there any more, which is what is wanted.
        match self.kind {
            Kind::SystemV => {
                // SAFETY: attached in `attach`; views end before their mapping does.
                let _ = unsafe { segment::detach(self.base) };
            }
            Kind::Anonymous => {
                // SAFETY: mapped in `anonymous`; views end before their mapping does.
                let _ = unsafe { segment::unmap_shared(self.base, self.bytes) };
            }
            Kind::Borrowed => {}
        }
    }
}
