//! The environment and the streams of a process, also before the C library is awake.
//!
//! Promises: allocates nothing, calls no constructor, and leaves `errno` as it was (but for a
//! [`Stream`], which may do both).
//!
//! Source: environ(7), proc_pid_environ(5), getauxval(3).

use core::ffi::{CStr, c_char, c_int, c_void};
use core::fmt;
use core::ptr::NonNull;

use crate::Errno;

/// The longest entry (`NAME=value`) that is seen before the C library knows its environment; a
/// longer one is taken for unset. Ours are short; the limit keeps the reader on the stack.
const ENTRY_MOST: usize = 1024;

/// A copy of standard error gets at least this number: shells and scripts use those below 10 by
/// number, and programs expect their first files to be 3, 4, ...
const COPY_LEAST: c_int = 100;

unsafe extern "C" {
    static environ: *const *const c_char;
}

/// Copies the value of the variable `name` to the front of `into`, cut off if it is longer, and
/// returns what was copied; `None` if it is not set, or if the program runs with rights that
/// whoever started it may not have (setuid; `AT_SECURE` of getauxval(3)): then what they want is
/// ignored.
///
/// # Safety
/// - No other thread changes the environment meanwhile (`setenv` is never safe beside threads).
pub unsafe fn value<'a>(name: &[u8], into: &'a mut [u8]) -> Option<&'a [u8]> {
    if has_rights_of_others() {
        return None;
    }
    // SAFETY: the word is the C library's; nobody changes it, by our own contract.
    let entries = unsafe { environ };
    let count = if entries.is_null() {
        // The dynamic loader may call us before the C library took its environment over.
        from_kernel(name, into)?
    } else {
        // SAFETY: `environ` is a list of C strings, ended by null.
        unsafe { from_list(entries, name, into)? }
    };
    Some(&into[..count])
}

/// Does the kernel say that this program has rights that its caller does not have?
fn has_rights_of_others() -> bool {
    let errno = Errno::last();
    // SAFETY: `getauxval` has no preconditions.
    let is_secure = unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
    errno.set();
    is_secure
}

/// Writes all of `bytes` to standard error, or as much as it takes.
pub fn write_to_standard_error(bytes: &[u8]) {
    write_to(StandardError::NOW.0, bytes);
}

fn write_to(file: c_int, mut bytes: &[u8]) {
    let errno = Errno::last();
    while !bytes.is_empty() {
        // SAFETY: `bytes` is readable for its whole length.
        let count = unsafe { libc::write(file, bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(count) {
            Ok(count) => bytes = &bytes[count..],
            Err(_) if Errno::last() == Errno(libc::EINTR) => {}
            Err(_) => break,
        }
    }
    errno.set();
}

/// Standard error, for `write!`.
#[derive(Clone, Copy, Debug)]
pub struct StandardError(c_int);

impl StandardError {
    /// What is standard error now.
    pub const NOW: Self = Self(2);

    /// A copy of standard error, for who has something to say when the program has closed its own
    /// (as `ls` and its kin do at their end). Programs that are executed do not get it.
    #[must_use]
    pub fn copy() -> Option<Self> {
        let errno = Errno::last();
        // SAFETY: duplicating a descriptor touches no memory.
        let file = unsafe { libc::fcntl(2, libc::F_DUPFD_CLOEXEC, COPY_LEAST) };
        errno.set();
        (file >= 0).then_some(Self(file))
    }
}

impl fmt::Write for StandardError {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write_to(self.0, text.as_bytes());
        Ok(())
    }
}

/// A stream of the C library, for `write!`.
#[derive(Debug)]
pub struct Stream(*mut libc::FILE);

impl Stream {
    /// The stream `file`.
    ///
    /// # Safety
    /// - `file` is a `FILE` of the C library, and open while this value lives.
    #[must_use]
    pub unsafe fn new(file: *mut c_void) -> Self {
        Self(file.cast())
    }
}

impl fmt::Write for Stream {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: the text is readable for its whole length; the stream is open, as `new` asks.
        let count = unsafe { libc::fwrite(text.as_ptr().cast(), 1, text.len(), self.0) };
        if count == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

/// Finds the function or object `name` in the libraries that were loaded after the one that this
/// code is in (`RTLD_NEXT` of dlsym(3)). The C library may allocate for it.
#[must_use]
pub fn symbol_behind(name: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: the name is a C string; looking it up calls nothing of it.
    NonNull::new(unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) })
}

/// Ends the process as abort(3) does.
pub fn abort() -> ! {
    // SAFETY: `abort` has no preconditions.
    unsafe { libc::abort() }
}

/// Looks `name` up in a list of entries.
///
/// # Safety
/// - `entries` points to a list of C strings, ended by null, that nobody changes meanwhile.
unsafe fn from_list(
    mut entries: *const *const c_char,
    name: &[u8],
    into: &mut [u8],
) -> Option<usize> {
    loop {
        // SAFETY: the list is ended by null, and we have not passed its end.
        let entry = unsafe { entries.read() };
        if entry.is_null() {
            return None;
        }
        // SAFETY: an entry of the list is a C string.
        let entry = unsafe { CStr::from_ptr(entry) };
        if let Some(count) = copied(entry.to_bytes(), name, into) {
            return Some(count);
        }
        // SAFETY: this entry was not the end, so there is a next one.
        entries = unsafe { entries.add(1) };
    }
}

/// Looks `name` up in what the kernel keeps of the environment that the program was started with.
fn from_kernel(name: &[u8], into: &mut [u8]) -> Option<usize> {
    let errno = Errno::last();
    // SAFETY: the path is a C string.
    let file = unsafe { libc::open(c"/proc/self/environ".as_ptr(), libc::O_RDONLY) };
    if file < 0 {
        errno.set();
        return None;
    }
    let found = from_file(file, name, into);
    // SAFETY: the descriptor was opened above, and is used no more.
    unsafe { libc::close(file) };
    errno.set();
    found
}

/// Reads entries, each ended by a zero byte, until one sets `name`.
fn from_file(file: c_int, name: &[u8], into: &mut [u8]) -> Option<usize> {
    let mut entry = [0; ENTRY_MOST];
    let mut length = 0;
    let mut bytes = [0; ENTRY_MOST];
    loop {
        // SAFETY: `bytes` is writable for its whole length.
        let count = unsafe { libc::read(file, bytes.as_mut_ptr().cast(), bytes.len()) };
        let count = usize::try_from(count).ok().filter(|count| *count > 0)?;
        for &byte in &bytes[..count] {
            if byte == 0 {
                if let Some(count) = entry.get(..length).and_then(|e| copied(e, name, into)) {
                    return Some(count);
                }
                length = 0;
            } else {
                if let Some(place) = entry.get_mut(length) {
                    *place = byte;
                }
                length += 1;
            }
        }
    }
}

/// Copies the value, and returns its length, if `entry` sets `name`.
fn copied(entry: &[u8], name: &[u8], into: &mut [u8]) -> Option<usize> {
    let value = entry.strip_prefix(name)?.strip_prefix(b"=")?;
    let count = value.len().min(into.len());
    into[..count].copy_from_slice(&value[..count]);
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_and_the_list_agree() {
        let (mut from_list, mut from_file) = ([0; 512], [0; 512]);
        // SAFETY: no test of this crate changes the environment.
        let listed = unsafe { value(b"PATH", &mut from_list) }.unwrap();
        let count = from_kernel(b"PATH", &mut from_file).unwrap();
        assert_eq!(listed, &from_file[..count]);
    }

    #[test]
    fn a_name_that_is_not_set_has_no_value() {
        let mut into = [0; 8];
        // SAFETY: no test of this crate changes the environment.
        assert_eq!(unsafe { value(b"MORECORE_NOT_SET", &mut into) }, None);
        assert_eq!(from_kernel(b"MORECORE_NOT_SET", &mut into), None);
    }
}
