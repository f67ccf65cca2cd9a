//! Memory in files: how it is made, sealed, mapped, brought to the disk, locked and handed over.
//!
//! Promises: nothing here allocates. A file's size comes from the kernel. A lock belongs to one
//! opening of a file, and the kernel lets go of it when the last descriptor of that opening is
//! closed: at the latest when the last process that has one ends, however it ends.
//!
//! Source: open(2), memfd_create(2), fallocate(2), fcntl(2) (open file description locks, file
//! sealing), mmap(2), msync(2), linkat(2), unix(7).

use core::ffi::CStr;
use core::fmt::Write;
use core::mem::MaybeUninit;
use core::ptr;

use crate::descriptor::{Descriptor, again};
use crate::{Errno, Failed};

/// What the kernel knows of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStat {
    /// Its size.
    pub bytes: u64,
    /// Who may open it, as in chmod(1).
    pub mode: u32,
    /// Whether it is a regular file, or memory without a name.
    pub is_regular: bool,
    /// The device and the inode: no other file of this machine has both.
    pub identity: (u64, u64),
}

/// What may be done to an opened file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To read it.
    Read,
    /// To read and write it.
    Write,
}

/// Opens a file.
///
/// # Errors
/// As open(2): `ENOENT` if there is none, `EACCES` if its mode forbids it.
pub fn open(path: &CStr, access: Access) -> Result<Descriptor, Failed> {
    // SAFETY: the path ends with a zero.
    let made = unsafe { libc::open(path.as_ptr(), flags(access) | libc::O_CLOEXEC) };
    // SAFETY: `made` is what open returned in the line above.
    unsafe { Descriptor::from_call("open", made) }
}

/// Opens what a descriptor stands for once more, so that locks do not count for both.
///
/// # Errors
/// As open(2): also `ENOENT` where /proc is not mounted.
pub fn open_again(file: &Descriptor, access: Access) -> Result<Descriptor, Failed> {
    open(link_of(file).path(), access)
}

/// Makes a file without a name in a folder; [`link`] gives it one. It vanishes with its last
/// descriptor otherwise.
///
/// # Errors
/// As open(2): `EOPNOTSUPP` where the file system has no such files.
pub fn unnamed(folder: &CStr, mode: u32) -> Result<Descriptor, Failed> {
    let flags = libc::O_TMPFILE | libc::O_RDWR | libc::O_CLOEXEC;
    // SAFETY: the path ends with a zero.
    let made = unsafe { libc::open(folder.as_ptr(), flags, mode) };
    // SAFETY: `made` is what open returned in the line above.
    let file = unsafe { Descriptor::from_call("open", made) }?;
    set_mode(&file, mode)?; // The umask may have taken some of it.
    Ok(file)
}

/// Gives a file that has no name this one.
///
/// # Errors
/// As linkat(2): `EEXIST` if the name is taken.
pub fn link(file: &Descriptor, path: &CStr) -> Result<(), Failed> {
    let from = link_of(file);
    let (here, flags) = (libc::AT_FDCWD, libc::AT_SYMLINK_FOLLOW);
    // SAFETY: both paths end with a zero.
    let failed = unsafe { libc::linkat(here, from.path().as_ptr(), here, path.as_ptr(), flags) };
    done("linkat", failed)
}

/// Makes memory of `bytes` bytes, all zero, that has a descriptor and no name, and whose size
/// nobody can change any more. `name` is what /proc shows.
///
/// # Errors
/// As `memfd_create(2)`, ftruncate(2) and fcntl(2).
pub fn memory(name: &CStr, bytes: u64, mode: u32) -> Result<Descriptor, Failed> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name ends with a zero.
    let made = unsafe { libc::memfd_create(name.as_ptr(), flags) };
    // SAFETY: `made` is what memfd_create returned in the line above.
    let file = unsafe { Descriptor::from_call("memfd_create", made) }?;
    // SAFETY: no pointers are passed.
    done("ftruncate", unsafe { libc::ftruncate(file.number(), bytes as libc::off_t) })?;
    set_mode(&file, mode)?;
    let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    // SAFETY: F_ADD_SEALS takes a number.
    done("fcntl", unsafe { libc::fcntl(file.number(), libc::F_ADD_SEALS, seals) })?;
    Ok(file)
}

/// Whether nobody can shrink it: then no page of a mapping can go away.
#[must_use]
pub fn is_sealed(file: &Descriptor) -> bool {
    // SAFETY: F_GET_SEALS takes nothing.
    let seals = unsafe { libc::fcntl(file.number(), libc::F_GET_SEALS) };
    seals >= 0 && seals & libc::F_SEAL_SHRINK != 0
}

/// Makes a file `bytes` long, with a place on the disk for each of them: a write to a mapping of it
/// never finds the disk full.
///
/// # Errors
/// As `posix_fallocate(3)`: `ENOSPC` if there is not so much room.
pub fn allocate(file: &Descriptor, bytes: u64) -> Result<(), Failed> {
    // SAFETY: no pointers are passed.
    match unsafe { libc::posix_fallocate(file.number(), 0, bytes as libc::off_t) } {
        0 => Ok(()),
        number => Err(Failed { call: "posix_fallocate", errno: Errno(number) }),
    }
}

/// Asks the kernel for what it knows of a file.
///
/// # Errors
/// As fstat(2).
pub fn stat(file: &Descriptor) -> Result<FileStat, Failed> {
    let mut status = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the structure is ours to write.
    done("fstat", unsafe { libc::fstat(file.number(), status.as_mut_ptr()) })?;
    // SAFETY: the call filled it.
    let status = unsafe { status.assume_init() };
    Ok(FileStat {
        bytes: status.st_size as u64,
        mode: status.st_mode & 0o777,
        is_regular: status.st_mode & libc::S_IFMT == libc::S_IFREG,
        identity: (status.st_dev, status.st_ino),
    })
}

/// Says who may open a file.
///
/// # Errors
/// As fchmod(2).
pub fn set_mode(file: &Descriptor, mode: u32) -> Result<(), Failed> {
    // SAFETY: no pointers are passed.
    done("fchmod", unsafe { libc::fchmod(file.number(), mode & 0o777) })
}

/// Gives a file to a group.
///
/// # Errors
/// As fchown(2): `EPERM` if this process may not.
pub fn set_group(file: &Descriptor, group: u32) -> Result<(), Failed> {
    const SAME: u32 = u32::MAX;
    // SAFETY: no pointers are passed.
    done("fchown", unsafe { libc::fchown(file.number(), SAME, group) })
}

/// Maps the first `bytes` of a file; every process that does sees what the others write.
///
/// # Errors
/// As mmap(2): `EACCES` if it was not opened for that.
pub fn map(file: &Descriptor, bytes: u64, access: Access) -> Result<*mut u8, Failed> {
    let protection = match access {
        Access::Read => libc::PROT_READ,
        Access::Write => libc::PROT_READ | libc::PROT_WRITE,
    };
    let (flags, bytes) = (libc::MAP_SHARED | libc::MAP_NORESERVE, bytes as usize);
    // SAFETY: without MAP_FIXED a new mapping never touches an old one.
    let at = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags, file.number(), 0) };
    if at == libc::MAP_FAILED { Err(Failed::last("mmap")) } else { Ok(at.cast()) }
}

/// Brings `bytes` bytes of a mapping from `at` on to the disk; returns when they are there.
///
/// # Errors
/// As msync(2): `EIO` if the disk failed.
pub fn bring_to_disk(at: *mut u8, bytes: u64) -> Result<(), Failed> {
    // SAFETY: it reads what is mapped, and fails where nothing is.
    done("msync", unsafe { libc::msync(at.cast(), bytes as usize, libc::MS_SYNC) })
}

/// Locks one byte of a file for this opening of it, and waits for others if need be.
///
/// # Errors
/// As fcntl(2).
pub fn lock(file: &Descriptor, at: u64) -> Result<(), Failed> {
    set_lock(file, libc::F_OFD_SETLKW, libc::F_WRLCK, at)
}

/// Locks one byte of a file for this opening of it; false if another has it.
///
/// # Errors
/// As fcntl(2).
pub fn try_lock(file: &Descriptor, at: u64) -> Result<bool, Failed> {
    match set_lock(file, libc::F_OFD_SETLK, libc::F_WRLCK, at) {
        Ok(()) => Ok(true),
        Err(failed) if matches!(failed.errno.0, libc::EAGAIN | libc::EACCES) => Ok(false),
        Err(failed) => Err(failed),
    }
}

/// Lets go of a byte.
///
/// # Errors
/// As fcntl(2).
pub fn unlock(file: &Descriptor, at: u64) -> Result<(), Failed> {
    set_lock(file, libc::F_OFD_SETLK, libc::F_UNLCK, at)
}

/// Whether another opening of the file has this byte locked.
///
/// # Errors
/// As fcntl(2).
pub fn is_locked(file: &Descriptor, at: u64) -> Result<bool, Failed> {
    let mut lock = byte_lock(libc::F_WRLCK, at);
    // SAFETY: the structure is ours to write.
    let failed = unsafe { libc::fcntl(file.number(), libc::F_OFD_GETLK, &raw mut lock) };
    done("fcntl", failed)?;
    Ok(lock.l_type != libc::F_UNLCK as i16)
}

fn set_lock(file: &Descriptor, command: i32, kind: i32, at: u64) -> Result<(), Failed> {
    let lock = byte_lock(kind, at);
    let set = || {
        // SAFETY: the structure lives through the call.
        let failed = unsafe { libc::fcntl(file.number(), command, &raw const lock) };
        failed as isize
    };
    again("fcntl", set).map(drop)
}

fn byte_lock(kind: i32, at: u64) -> libc::flock {
    // SAFETY: the structure is plain numbers, for which all zero is a value.
    let mut lock: libc::flock = unsafe { MaybeUninit::zeroed().assume_init() };
    lock.l_type = kind as i16;
    lock.l_whence = libc::SEEK_SET as i16;
    lock.l_start = at as libc::off_t;
    lock.l_len = 1;
    lock
}

/// Hands a descriptor to whoever is at the other end of a Unix socket, with one byte.
///
/// # Errors
/// As sendmsg(2).
pub fn hand_over(socket: &Descriptor, file: &Descriptor) -> Result<(), Failed> {
    let mut byte = *b"m";
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: byte.len() };
    let mut control = Control::new();
    let message = control.message(&mut part);
    // SAFETY: the message's control buffer is large enough for one header, and zeroed.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    let about = libc::cmsghdr {
        cmsg_len: control_bytes(),
        cmsg_level: libc::SOL_SOCKET,
        cmsg_type: libc::SCM_RIGHTS,
    };
    // SAFETY: the header stands in the control buffer, which is aligned for it.
    unsafe { header.write(about) };
    // SAFETY: as above; the data stands behind it.
    let data = unsafe { libc::CMSG_DATA(header) };
    // SAFETY: the control buffer has room for one number there.
    unsafe { data.cast::<i32>().write_unaligned(file.number()) };
    // SAFETY: the message and all that it points to live through the call.
    let send = || unsafe { libc::sendmsg(socket.number(), &raw const message, libc::MSG_NOSIGNAL) };
    again("sendmsg", send).map(drop)
}

/// Takes a descriptor that [`hand_over`] sent; `None` if something else came, or nothing.
///
/// # Errors
/// As recvmsg(2).
pub fn take_over(socket: &Descriptor) -> Result<Option<Descriptor>, Failed> {
    let mut byte = [0u8; 1];
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: byte.len() };
    let mut control = Control::new();
    let mut message = control.message(&mut part);
    let receive = || {
        // SAFETY: the message and all that it points to are ours to write, and live.
        unsafe { libc::recvmsg(socket.number(), &raw mut message, libc::MSG_CMSG_CLOEXEC) }
    };
    again("recvmsg", receive)?;
    // SAFETY: the kernel filled the message.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    if header.is_null() {
        return Ok(None);
    }
    // SAFETY: a header that is not null stands in the control buffer, aligned.
    let about = unsafe { header.read() };
    let is_rights = about.cmsg_level == libc::SOL_SOCKET && about.cmsg_type == libc::SCM_RIGHTS;
    if !is_rights || about.cmsg_len != control_bytes() {
        return Ok(None);
    }
    // SAFETY: as above.
    let data = unsafe { libc::CMSG_DATA(header) };
    // SAFETY: by its length the header has one number behind it.
    let number = unsafe { data.cast::<i32>().read_unaligned() };
    // SAFETY: the kernel has just opened it for us.
    Ok(Some(unsafe { Descriptor::from_number(number) }))
}

/// Room for a control message with one descriptor, aligned for its header.
struct Control([u64; 4]);

impl Control {
    fn new() -> Self {
        assert!(control_bytes() <= size_of::<Self>());
        Self([0; 4])
    }

    /// A message of one part, with this control buffer.
    fn message(&mut self, part: &mut libc::iovec) -> libc::msghdr {
        // SAFETY: the structure is numbers and pointers, for which all zero is a value.
        let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        message.msg_iov = part;
        message.msg_iovlen = 1;
        message.msg_control = self.0.as_mut_ptr().cast();
        message.msg_controllen = control_bytes();
        message
    }
}

/// The length of a control message with one descriptor.
fn control_bytes() -> usize {
    // SAFETY: it only computes.
    unsafe { libc::CMSG_LEN(size_of::<i32>() as u32) as usize }
}

/// The path by which /proc knows one of our descriptors.
struct Link([u8; 32]);

impl Link {
    fn path(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or(c"")
    }
}

impl Write for Link {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let count = self.0.iter().position(|&byte| byte == 0).unwrap_or(self.0.len());
        let place = self.0[count..].get_mut(..text.len()).ok_or(core::fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        Ok(())
    }
}

fn link_of(file: &Descriptor) -> Link {
    let mut link = Link([0; 32]);
    // 14 bytes and at most 10 digits: it fits.
    let _ = write!(link, "/proc/self/fd/{}", file.number());
    link
}

fn flags(access: Access) -> i32 {
    match access {
        Access::Read => libc::O_RDONLY,
        Access::Write => libc::O_RDWR,
    }
}

fn done(call: &'static str, returned: i32) -> Result<(), Failed> {
    if returned < 0 { Err(Failed::last(call)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;

    use std::os::fd::IntoRawFd;

    fn made() -> Descriptor {
        memory(c"test", 8192, 0o640).unwrap()
    }

    #[test]
    fn memory_has_a_size_that_nobody_changes() {
        let file = made();
        let told = stat(&file).unwrap();
        assert_eq!((told.bytes, told.mode, is_sealed(&file)), (8192, 0o640, true));
        // SAFETY: no pointers are passed.
        assert_eq!(unsafe { libc::ftruncate(file.number(), 0) }, -1);
        let (one, two) = (map(&file, 8192, Access::Write), map(&file, 8192, Access::Read));
        let (one, two) = (one.unwrap(), two.unwrap());
        // SAFETY: `one` is 8192 bytes of memory that only this test uses.
        unsafe { one.write_volatile(7) };
        // SAFETY: `two` is the same memory, mapped to be read.
        assert_eq!(unsafe { two.read_volatile() }, 7);
        for at in [one, two] {
            // SAFETY: nothing refers to the memory any more.
            unsafe { crate::segment::unmap_shared(at, 8192) }.unwrap();
        }
    }

    #[test]
    fn a_lock_belongs_to_one_opening() {
        let one = made();
        let two = open_again(&one, Access::Write).unwrap();
        lock(&one, 3).unwrap();
        assert!(try_lock(&one, 3).unwrap() && is_locked(&two, 3).unwrap());
        assert!(!try_lock(&two, 3).unwrap() && try_lock(&two, 4).unwrap());
        drop(one);
        assert!(!is_locked(&two, 3).unwrap() && try_lock(&two, 3).unwrap());
        unlock(&two, 3).unwrap();
    }

    #[test]
    fn a_descriptor_is_handed_over() {
        let (one, two) = std::os::unix::net::UnixStream::pair().unwrap();
        // SAFETY: both were just opened, and are given away.
        let [one, two] =
            [one, two].map(|end| unsafe { Descriptor::from_number(end.into_raw_fd()) });
        let file = made();
        hand_over(&one, &file).unwrap();
        let taken = take_over(&two).unwrap().unwrap();
        assert_ne!(taken.number(), file.number());
        assert_eq!(stat(&taken).unwrap(), stat(&file).unwrap());
        one.write(b"x").unwrap();
        assert!(take_over(&two).unwrap().is_none());
        drop(one);
        assert!(take_over(&two).unwrap().is_none());
    }
}
