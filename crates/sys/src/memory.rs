//! brk, mmap, mremap, madvise: where a process gets core, and how it gives it back.
//!
//! Promises: nothing here allocates, so an allocator can stand on it. Lengths and addresses are
//! passed as they are; the kernel rounds lengths up to whole pages.
//!
//! Source: mmap(2), mremap(2), madvise(2), sbrk(2).

use core::ffi::c_void;
use core::ptr;

use crate::{Errno, Failed};

/// What the kernel is told about a stretch of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// The contents are not needed any more: private pages go back and read as zero afterwards.
    Unneeded,
    /// As [`Advice::Unneeded`] for a shared mapping: the pages go back for everyone who maps them.
    Remove,
    /// Huge pages are welcome here.
    HugePages,
    /// Make huge pages of what is there, now.
    Collapse,
    /// Make every page present and writable now, in one call instead of a fault a page.
    Populate,
    /// A child of fork sees zeros here.
    WipeOnFork,
}

impl Advice {
    const fn number(self) -> i32 {
        match self {
            Self::Unneeded => libc::MADV_DONTNEED,
            Self::Remove => libc::MADV_REMOVE,
            Self::HugePages => libc::MADV_HUGEPAGE,
            Self::Collapse => libc::MADV_COLLAPSE,
            Self::Populate => libc::MADV_POPULATE_WRITE,
            Self::WipeOnFork => libc::MADV_WIPEONFORK,
        }
    }
}

/// Returns the bytes of a page, the unit in which the kernel maps.
#[must_use]
pub fn page_bytes() -> u64 {
    // SAFETY: `sysconf` has no preconditions.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(bytes).expect("every system has a page size")
}

/// Maps `bytes` of fresh private core, all zero; near `hint` if there is room (0: anywhere).
///
/// # Errors
/// As mmap(2) has it: no memory, or too many mappings.
pub fn map(hint: u64, bytes: u64) -> Result<u64, Failed> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let hint = ptr::without_provenance_mut::<c_void>(hint as usize);
    // SAFETY: without MAP_FIXED a new mapping never touches an old one.
    let at = unsafe { libc::mmap(hint, bytes as usize, protection, flags, -1, 0) };
    if at == libc::MAP_FAILED {
        return Err(Failed::last("mmap"));
    }
    Ok(at.expose_provenance() as u64)
}

/// Gives the pages of `bytes` from `at` on back to the system.
///
/// # Errors
/// As munmap(2) has it: a hole in the middle of a mapping can be one mapping too many.
///
/// # Safety
/// - The stretch is the caller's, and nobody uses it any more.
pub unsafe fn unmap(at: u64, bytes: u64) -> Result<(), Failed> {
    let at = ptr::with_exposed_provenance_mut::<c_void>(at as usize);
    // SAFETY: the stretch is the caller's to give, as our own contract says.
    let result = unsafe { libc::munmap(at, bytes as usize) };
    if result == 0 { Ok(()) } else { Err(Failed::last("munmap")) }
}

/// Changes the length of a mapping where it stands; its neighbours stay as they are.
///
/// # Errors
/// As mremap(2) has it: the space behind the mapping is taken, or there is no memory.
///
/// # Safety
/// - The stretch is one whole mapping of the caller's, and nobody uses what is cut off.
pub unsafe fn resize(at: u64, bytes: u64, wanted: u64) -> Result<(), Failed> {
    let at = ptr::with_exposed_provenance_mut::<c_void>(at as usize);
    // SAFETY: the mapping is the caller's, as our own contract says; without MREMAP_MAYMOVE it
    // stays where it is.
    let result = unsafe { libc::mremap(at, bytes as usize, wanted as usize, 0) };
    if result == libc::MAP_FAILED { Err(Failed::last("mremap")) } else { Ok(()) }
}

/// Moves the pages of `bytes` from `from` over the mapping at `to`, without copying them, and
/// makes the mapping there `wanted` bytes long.
///
/// # Errors
/// As mremap(2) has it.
///
/// # Safety
/// - Both stretches are the caller's, they do not overlap, and nobody uses what is at `to`.
/// - Nobody uses `from` afterwards: it is unmapped.
pub unsafe fn move_over(from: u64, bytes: u64, to: u64, wanted: u64) -> Result<(), Failed> {
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    let from = ptr::with_exposed_provenance_mut::<c_void>(from as usize);
    let to = ptr::with_exposed_provenance_mut::<c_void>(to as usize);
    // SAFETY: both stretches are the caller's, as our own contract says.
    let result = unsafe { libc::mremap(from, bytes as usize, wanted as usize, flags, to) };
    if result == libc::MAP_FAILED { Err(Failed::last("mremap")) } else { Ok(()) }
}

/// Tells the kernel how `bytes` from `at` on will be used.
///
/// # Errors
/// As madvise(2) has it; a kernel that does not know the advice says `EINVAL`.
///
/// # Safety
/// - The stretch is the caller's; with [`Advice::Unneeded`] and [`Advice::Remove`] nobody needs
///   its contents any more.
pub unsafe fn advise(at: u64, bytes: u64, advice: Advice) -> Result<(), Failed> {
    let at = ptr::with_exposed_provenance_mut::<c_void>(at as usize);
    // SAFETY: the stretch is the caller's to advise on, as our own contract says.
    let result = unsafe { libc::madvise(at, bytes as usize, advice.number()) };
    if result == 0 { Ok(()) } else { Err(Failed::last("madvise")) }
}

/// Moves the program break up or down by `bytes`, and returns where it was before.
///
/// # Errors
/// As sbrk(2) has it: the limit of data is reached, or something is mapped above the break.
///
/// # Safety
/// - Moving down: what lies above the new break is the caller's, and nobody uses it any more.
pub unsafe fn move_break(bytes: i64) -> Result<u64, Failed> {
    let bytes = isize::try_from(bytes).map_err(|_| TOO_FAR)?;
    // SAFETY: moving up takes only what nobody has; moving down is the caller's duty.
    let before = unsafe { libc::sbrk(bytes) };
    if before.addr() == usize::MAX {
        return Err(Failed::last("sbrk"));
    }
    Ok(before.expose_provenance() as u64)
}

/// What a break that does not fit in an address fails with.
const TOO_FAR: Failed = Failed { call: "sbrk", errno: Errno(libc::ENOMEM) };

#[cfg(test)]
mod tests {
    use super::*;

    fn byte(at: u64) -> *mut u8 {
        ptr::with_exposed_provenance_mut(at as usize)
    }

    #[test]
    fn fresh_core_is_zero_and_writable_and_can_be_dropped() {
        let page = page_bytes();
        let at = map(0, 2 * page).unwrap();
        // SAFETY: the page was mapped in the line above, and is ours alone.
        unsafe { assert_eq!(byte(at).read(), 0) };
        // SAFETY: as above.
        unsafe { byte(at).write(7) };
        // SAFETY: ours alone, and its contents are not needed.
        unsafe { advise(at, page, Advice::Unneeded) }.unwrap();
        // SAFETY: still mapped.
        unsafe { assert_eq!(byte(at).read(), 0) };
        // SAFETY: ours alone, and used no more.
        unsafe { unmap(at, 2 * page) }.unwrap();
    }

    #[test]
    fn pages_move_without_being_copied() {
        let page = page_bytes();
        let (from, to) = (map(0, page).unwrap(), map(0, 2 * page).unwrap());
        // SAFETY: mapped above, ours alone.
        unsafe { byte(from).write(9) };
        // SAFETY: both mapped above, ours alone, apart.
        unsafe { move_over(from, page, to, 2 * page) }.unwrap();
        // SAFETY: the page stands here now.
        unsafe { assert_eq!(byte(to).read(), 9) };
        // SAFETY: ours alone, and used no more.
        unsafe { unmap(to, 2 * page) }.unwrap();
    }

    #[test]
    fn an_impossible_length_is_refused_with_the_name_of_the_call() {
        let failed = map(0, u64::MAX / 2).unwrap_err();
        assert_eq!((failed.call, failed.errno), ("mmap", Errno(libc::ENOMEM)));
    }
}
