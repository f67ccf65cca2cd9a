//! shmget, shmat, shmdt, shmctl: memory with a number, which outlives every process.
//!
//! Promises: nothing here allocates. A segment's geometry comes from the kernel, never from what
//! stands in it.
//!
//! Source: shmget(2), shmop(2), shmctl(2).

use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr;

use crate::{Failed, memory};

/// shmctl(2): what the kernel keeps on all segments; the result is the highest index in use.
const SHM_INFO: i32 = 14;

/// shmctl(2): as `IPC_STAT`, by index instead of number, whether or not the caller may read it.
const SHM_STAT_ANY: i32 = 15;

/// A segment's number, as `ipcs` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id(pub i32);

/// What the kernel knows of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentStat {
    /// Its number.
    pub id: Id,
    /// Its key; 0 if it was removed and only lives until its last user leaves.
    pub key: u32,
    /// Its size.
    pub bytes: u64,
    /// Who may attach, as in chmod(1).
    pub mode: u32,
    /// How many have it attached.
    pub attached: u64,
    /// Who made it.
    pub creator_pid: u32,
}

/// Makes a segment of `bytes` under `key`, all zero; no swap is set aside for it, and pages come as
/// they are touched.
///
/// # Errors
/// `EEXIST` if there is one under this key; `EINVAL` and `ENOSPC` at the system's limits.
pub fn create(key: u32, bytes: u64, mode: u32) -> Result<Id, Failed> {
    let flags = libc::IPC_CREAT | libc::IPC_EXCL | libc::SHM_NORESERVE | (mode & 0o777) as i32;
    // SAFETY: `shmget` takes plain numbers.
    let id = unsafe { libc::shmget(key as libc::key_t, bytes as usize, flags) };
    if id < 0 { Err(Failed::last("shmget")) } else { Ok(Id(id)) }
}

/// Finds the segment under `key`.
///
/// # Errors
/// `ENOENT` if there is none.
pub fn find(key: u32) -> Result<Id, Failed> {
    // SAFETY: `shmget` takes plain numbers.
    let id = unsafe { libc::shmget(key as libc::key_t, 0, 0) };
    if id < 0 { Err(Failed::last("shmget")) } else { Ok(Id(id)) }
}

/// Attaches a segment where there is room, at a multiple of a huge page's bytes, and returns the
/// address.
///
/// # Errors
/// `EACCES` if its mode forbids it, `EIDRM` or `EINVAL` if it is gone.
pub fn attach(id: Id, read_only: bool) -> Result<*mut u8, Failed> {
    let bytes = stat(id)?.bytes;
    let room = memory::reserve_aligned(bytes, memory::HUGE_PAGE_BYTES)?;
    let flags = libc::SHM_REMAP | if read_only { libc::SHM_RDONLY } else { 0 };
    let at = ptr::with_exposed_provenance(room as usize);
    // SAFETY: the room was reserved in the line before, and nobody knows of it.
    let at = unsafe { libc::shmat(id.0, at, flags) };
    if at.addr() == usize::MAX {
        let failed = Failed::last("shmat");
        // SAFETY: as above.
        unsafe { memory::unmap(room, bytes) }?;
        return Err(failed);
    }
    Ok(at.cast())
}

/// Detaches what [`attach`] returned.
///
/// # Safety
/// - `at` came from [`attach`], and nobody uses the segment through it any more.
///
/// # Errors
/// `EINVAL` if nothing is attached there.
pub unsafe fn detach(at: *mut u8) -> Result<(), Failed> {
    // SAFETY: the caller's duty: nobody uses the memory any more.
    let failed = unsafe { libc::shmdt(at.cast::<c_void>()) };
    if failed == 0 { Ok(()) } else { Err(Failed::last("shmdt")) }
}

/// Asks the kernel for what it knows of a segment.
///
/// # Errors
/// `EACCES` if it may not be read, `EIDRM` or `EINVAL` if it is gone.
pub fn stat(id: Id) -> Result<SegmentStat, Failed> {
    let (_, status) = control(id.0, libc::IPC_STAT)?;
    Ok(from_kernel(id, &status))
}

/// Gives a segment to a group: the middle digit of its mode is for that.
///
/// # Errors
/// `EPERM` if it belongs to another user.
pub fn set_group(id: Id, group: u32) -> Result<(), Failed> {
    let (_, mut status) = control(id.0, libc::IPC_STAT)?;
    status.shm_perm.gid = group;
    // SAFETY: the kernel reads a `shmid_ds`, which it filled itself but for the group.
    let failed = unsafe { libc::shmctl(id.0, libc::IPC_SET, &raw mut status) };
    if failed == 0 { Ok(()) } else { Err(Failed::last("shmctl")) }
}

/// Removes a segment: it has no key any more, and goes when the last one detaches.
///
/// # Errors
/// `EPERM` if it belongs to another user, `EIDRM` or `EINVAL` if it is gone.
pub fn remove(id: Id) -> Result<(), Failed> {
    control(id.0, libc::IPC_RMID).map(|_| ())
}

/// Calls `each` with every segment of this machine (of this IPC namespace).
///
/// # Errors
/// What shmctl(2) says to `SHM_INFO`; segments that vanish meanwhile are passed over.
pub fn for_each(mut each: impl FnMut(SegmentStat)) -> Result<(), Failed> {
    let (highest, _) = control(0, SHM_INFO)?;
    for index in 0..=highest {
        if let Ok((id, status)) = control(index, SHM_STAT_ANY) {
            each(from_kernel(Id(id), &status));
        }
    }
    Ok(())
}

/// Maps `bytes` of fresh memory, all zero, that the children of fork share with their parent, at a
/// multiple of a huge page's bytes.
///
/// # Errors
/// As mmap(2) has it.
pub fn map_shared(bytes: u64) -> Result<*mut u8, Failed> {
    let room = memory::reserve_aligned(bytes, memory::HUGE_PAGE_BYTES)?;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
    let at = ptr::with_exposed_provenance_mut(room as usize);
    // SAFETY: the room was reserved in the first line, and nobody knows of it.
    let at = unsafe { libc::mmap(at, bytes as usize, protection, flags, -1, 0) };
    if at == libc::MAP_FAILED { Err(Failed::last("mmap")) } else { Ok(at.cast()) }
}

/// Unmaps what [`map_shared`] returned.
///
/// # Safety
/// - `at` and `bytes` are what [`map_shared`] gave, and nobody uses the memory any more.
///
/// # Errors
/// As munmap(2) has it.
pub unsafe fn unmap_shared(at: *mut u8, bytes: u64) -> Result<(), Failed> {
    // SAFETY: the caller's duty: nobody uses the memory any more.
    let failed = unsafe { libc::munmap(at.cast::<c_void>(), bytes as usize) };
    if failed == 0 { Ok(()) } else { Err(Failed::last("munmap")) }
}

/// One shmctl(2): its result, and the structure that it filled (zero where it fills another one).
fn control(id: i32, command: i32) -> Result<(i32, libc::shmid_ds), Failed> {
    // SAFETY: `shmid_ds` is plain numbers, for which all zero is a value.
    let mut status: libc::shmid_ds = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: the kernel writes a `shmid_ds`, or for SHM_INFO a `shm_info`, which is smaller.
    let result = unsafe { libc::shmctl(id, command, &raw mut status) };
    if result < 0 { Err(Failed::last("shmctl")) } else { Ok((result, status)) }
}

fn from_kernel(id: Id, status: &libc::shmid_ds) -> SegmentStat {
    SegmentStat {
        id,
        key: status.shm_perm.__key as u32,
        bytes: status.shm_segsz as u64,
        mode: u32::from(status.shm_perm.mode) & 0o777,
        attached: status.shm_nattch,
        creator_pid: status.shm_cpid as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Removes a test's segment also when the test fails.
    struct Removed(Id);

    impl Drop for Removed {
        fn drop(&mut self) {
            let _ = remove(self.0);
        }
    }

    #[test]
    fn a_segment_is_made_found_attached_twice_and_removed() {
        let key = 0x7e57_0000 | (crate::process::id() & 0xffff);
        let made = Removed(create(key, 8192, 0o600).unwrap());
        assert_eq!(find(key).unwrap(), made.0);
        assert_eq!(create(key, 8192, 0o600).unwrap_err().errno.0, libc::EEXIST);
        let (one, two) = (attach(made.0, false).unwrap(), attach(made.0, true).unwrap());
        // SAFETY: `one` is 8192 bytes of memory that only this test uses.
        unsafe { one.write_volatile(7) };
        // SAFETY: `two` is the same memory, mapped to be read.
        assert_eq!(unsafe { two.read_volatile() }, 7);
        let told = stat(made.0).unwrap();
        assert_eq!((told.key, told.bytes, told.attached), (key, 8192, 2));
        let mut is_listed = false;
        for_each(|segment| is_listed |= segment.id == made.0).unwrap();
        assert!(is_listed);
        for at in [one, two] {
            // SAFETY: nothing refers to the memory any more.
            unsafe { detach(at) }.unwrap();
        }
        drop(made);
        assert_eq!(find(key).unwrap_err().errno.0, libc::ENOENT);
    }
}
