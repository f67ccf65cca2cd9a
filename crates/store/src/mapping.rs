//! A store's bytes in this process, for as long as anyone here uses them.

use morecore_sys::descriptor::Descriptor;
use morecore_sys::file::{self, Access};
use morecore_sys::segment::{self, Id, SegmentStat};
use morecore_sys::semaphore::{self, SetId};

use crate::Error;
use crate::view::View;

/// Mapped bytes, and how they are given back.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: *mut u8,
    bytes: u64,
    backing: Backing,
}

/// What keeps the bytes.
#[derive(Debug)]
pub(crate) enum Backing {
    /// A System V segment, and the semaphores that belong to it, if they could be made.
    Segment(Option<SetId>),
    /// A file that has a name and outlives the machine's boot.
    File(Descriptor),
    /// Memory without a name, for whoever has a descriptor of it.
    Memory(Descriptor),
    /// Memory that only children of fork share.
    Inherited,
    /// Memory that somebody else mapped.
    Borrowed,
}

// SAFETY: the bytes may be used from any thread; all use of them is by atomics.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Attaches a segment; its size comes from the kernel.
    pub(crate) fn attach(id: Id, read_only: bool) -> Result<Self, Error> {
        let SegmentStat { key, bytes, .. } = segment::stat(id)?;
        let base = segment::attach(id, read_only)?;
        // Who only looks is no participant; a key of 0 is that of a segment which was removed.
        let has_seats = !read_only && key != 0;
        let seats = if has_seats { semaphore::find(key).ok() } else { None };
        // A segment that was removed meanwhile has no key any more, and the set may be that of the
        // next one: nobody of ours sits there.
        let seats = if segment::stat(id)?.key == key { seats } else { None };
        Ok(Self { base, bytes, backing: Backing::Segment(seats) })
    }

    /// Maps a file of a store, whole; its size comes from the kernel.
    pub(crate) fn file(file: Descriptor, access: Access) -> Result<Self, Error> {
        let told = file::stat(&file)?;
        let refused = |failed: morecore_sys::Failed| match access {
            Access::Write if failed.errno.0 == EACCES => Error::ReadOnly,
            _ => failed.into(),
        };
        let base = file::map(&file, told.bytes, access).map_err(refused)?;
        // What nobody can shrink is memory of ours: `morecore_sys::file::memory` seals it.
        let is_memory = file::is_sealed(&file);
        let backing = if is_memory { Backing::Memory(file) } else { Backing::File(file) };
        Ok(Self { base, bytes: told.bytes, backing })
    }

    /// Fresh zeroed memory that children of fork share.
    pub(crate) fn anonymous(bytes: u64) -> Result<Self, Error> {
        Ok(Self { base: segment::map_shared(bytes)?, bytes, backing: Backing::Inherited })
    }

    /// Memory that somebody else mapped.
    ///
    /// # Safety
    /// - `bytes` bytes from `base` stay mapped, readable and writable, and aligned to a page, while
    ///   the mapping lives, and are only used through stores.
    pub(crate) unsafe fn borrowed(base: *mut u8, bytes: u64) -> Self {
        Self { base, bytes, backing: Backing::Borrowed }
    }

    /// The bytes; the view is used no longer than the mapping lives.
    pub(crate) fn view(&self) -> View {
        // SAFETY: the mapping keeps the bytes; every holder of a view holds the mapping too.
        unsafe { View::new(self.base, self.bytes) }
    }

    /// What keeps the bytes.
    pub(crate) fn backing(&self) -> &Backing {
        &self.backing
    }

    /// The descriptor that others can attach by.
    pub(crate) fn descriptor(&self) -> Option<&Descriptor> {
        match &self.backing {
            Backing::File(file) | Backing::Memory(file) => Some(file),
            Backing::Segment(_) | Backing::Inherited | Backing::Borrowed => None,
        }
    }

    /// Whether the kernel tells this user which pages of it are in memory: not of a file that only
    /// others may write.
    /// Source: mincore(2), since Linux 5.0.
    pub(crate) fn tells_what_is_resident(&self) -> bool {
        match &self.backing {
            Backing::File(file) | Backing::Memory(file) => {
                file::open_again(file, Access::Write).is_ok()
            }
            // Every segment's memory is the kernel's own file, which anybody may write who has it.
            Backing::Segment(_) | Backing::Inherited | Backing::Borrowed => true,
        }
    }

    /// Brings the first `bytes` bytes to the disk.
    pub(crate) fn bring_to_disk(&self, bytes: u64) -> Result<(), Error> {
        Ok(file::bring_to_disk(self.base, bytes.min(self.bytes))?)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // A failure would mean that nothing is mapped there any more, which is what is wanted.
        match self.backing {
            Backing::Segment(_) => {
                // SAFETY: attached in `attach`; views end before their mapping does.
                let _ = unsafe { segment::detach(self.base) };
            }
            Backing::File(_) | Backing::Memory(_) | Backing::Inherited => {
                // SAFETY: mapped in `file` or `anonymous`; views end before their mapping does.
                let _ = unsafe { segment::unmap_shared(self.base, self.bytes) };
            }
            Backing::Borrowed => {}
        }
    }
}

/// errno(3): not allowed.
const EACCES: i32 = 13;
