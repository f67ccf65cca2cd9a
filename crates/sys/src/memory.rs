//! brk, mmap, mremap, madvise, mincore: where a process gets core, and how it gives it back.
//!
//! Promises: nothing here allocates, so an allocator can stand on it. Lengths and addresses are
//! passed as they are; the kernel rounds lengths up to whole pages.
//!
//! Source: mmap(2), mremap(2), madvise(2), mincore(2), sbrk(2).

use core::ffi::c_void;
use core::ptr;

use crate::{Errno, Failed};

/// The bytes of a huge page. A shared mapping can have them if it begins on a multiple of this.
pub const HUGE_PAGE_BYTES: u64 = 2 << 20;

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
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let hint = ptr::without_provenance_mut::<c_void>(hint as usize);
    // SAFETY: without MAP_FIXED a new mapping never touches an old one.
    let at = unsafe { libc::mmap(hint, bytes as usize, protection, flags, -1, 0) };
    if at == libc::MAP_FAILED {
        return Err(Failed::last("mmap"));
    }
    Ok(at.expose_provenance() as u64)
}

/// Reserves `bytes` of address space that nothing can be read from or written to yet.
///
/// # Errors
/// As mmap(2) has it: no such stretch of addresses, or too many mappings.
pub fn reserve(bytes: u64) -> Result<u64, Failed> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: without MAP_FIXED a new mapping never touches an old one.
    let at = unsafe { libc::mmap(ptr::null_mut(), bytes as usize, libc::PROT_NONE, flags, -1, 0) };
    if at == libc::MAP_FAILED {
        return Err(Failed::last("mmap"));
    }
    Ok(at.expose_provenance() as u64)
}

/// As [`reserve`], from a multiple of `align` on, a power of two from a page on.
///
/// # Errors
/// As [`reserve`].
pub fn reserve_aligned(bytes: u64, align: u64) -> Result<u64, Failed> {
    let bytes = bytes.next_multiple_of(page_bytes());
    let all = reserve(bytes + align)?;
    let at = all.next_multiple_of(align);
    if at != all {
        // SAFETY: just reserved, and nobody knows of it.
        unsafe { unmap(all, at - all) }?;
    }
    // SAFETY: as above; `at` is less than `align` behind `all`, so that something is left over.
    unsafe { unmap(at + bytes, all + align - at) }?;
    Ok(at)
}

/// Makes a part of a reservation readable and writable: fresh private core, all zero.
///
/// # Errors
/// As mprotect(2) has it: no memory.
///
/// # Safety
/// - The stretch is a part of what [`reserve`] gave to the caller.
pub unsafe fn open(at: u64, bytes: u64) -> Result<(), Failed> {
    let at = ptr::with_exposed_provenance_mut::<c_void>(at as usize);
    // SAFETY: the stretch is the caller's, as our own contract says.
    let result = unsafe { libc::mprotect(at, bytes as usize, libc::PROT_READ | libc::PROT_WRITE) };
    if result == 0 { Ok(()) } else { Err(Failed::last("mprotect")) }
}

/// Gives the pages of a part of a reservation back to the system, and keeps the addresses.
///
/// # Errors
/// As mmap(2) has it.
///
/// # Safety
/// - The stretch is a part of what [`reserve`] gave to the caller, and nobody uses it any more.
pub unsafe fn close(at: u64, bytes: u64) -> Result<(), Failed> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
    let at = ptr::with_exposed_provenance_mut::<c_void>(at as usize);
    // SAFETY: the stretch is the caller's to overwrite, as our own contract says.
    let now = unsafe { libc::mmap(at, bytes as usize, libc::PROT_NONE, flags, -1, 0) };
    if now == libc::MAP_FAILED { Err(Failed::last("mmap")) } else { Ok(()) }
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

/// Changes the length of a mapping, without copying its pages, and returns where it is now; with
/// `may_move` that can be elsewhere.
///
/// # Errors
/// As mremap(2) has it: the space behind the mapping is taken, or there is no memory.
///
/// # Safety
/// - The stretch is one whole mapping of the caller's, and nobody uses what is cut off; if it may
///   move, nobody uses the old place any more.
pub unsafe fn resize(at: u64, bytes: u64, wanted: u64, may_move: bool) -> Result<u64, Failed> {
    let at = ptr::with_exposed_provenance_mut::<c_void>(at as usize);
    let flags = if may_move { libc::MREMAP_MAYMOVE } else { 0 };
    // SAFETY: the mapping is the caller's, as our own contract says.
    let now = unsafe { libc::mremap(at, bytes as usize, wanted as usize, flags) };
    if now == libc::MAP_FAILED {
        return Err(Failed::last("mremap"));
    }
    Ok(now.expose_provenance() as u64)
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

/// Says of each page from `at` on, one byte each, whether it is there (bit 0) or would have to be
/// faulted in.
///
/// # Errors
/// As mincore(2) has it: not all of it is mapped.
pub fn look_for_pages(at: u64, pages: &mut [u8]) -> Result<(), Failed> {
    let at = ptr::with_exposed_provenance_mut::<c_void>(at as usize);
    let bytes = pages.len() * page_bytes() as usize;
    // SAFETY: it writes one byte a page, and reads nothing of what is mapped there.
    let result = unsafe { libc::mincore(at, bytes, pages.as_mut_ptr()) };
    if result == 0 { Ok(()) } else { Err(Failed::last("mincore")) }
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
    fn a_reservation_begins_where_it_should_and_leaves_nothing_beside_it() {
        let at = reserve_aligned(3 * page_bytes() - 1, HUGE_PAGE_BYTES).unwrap();
        assert!(at.is_multiple_of(HUGE_PAGE_BYTES), "{at:#x}");
        // SAFETY: reserved in the first line, and nobody uses it.
        unsafe { unmap(at, 3 * page_bytes()) }.unwrap();
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
    fn a_mapping_grows_with_its_contents() {
        let page = page_bytes();
        let at = map(0, page).unwrap();
        // SAFETY: mapped above, ours alone.
        unsafe { byte(at).write(9) };
        // SAFETY: one whole mapping, ours alone.
        let now = unsafe { resize(at, page, 100 * page, true) }.unwrap();
        // SAFETY: the page stands here now.
        unsafe { assert_eq!(byte(now).read(), 9) };
        // SAFETY: ours alone, and used no more.
        unsafe { unmap(now, 100 * page) }.unwrap();
    }

    #[test]
    fn an_impossible_length_is_refused_with_the_name_of_the_call() {
        let failed = map(0, u64::MAX / 2).unwrap_err();
        assert_eq!((failed.call, failed.errno), ("mmap", Errno(libc::ENOMEM)));
    }
}
