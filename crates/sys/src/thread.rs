//! Threads and forks, as the C library tells of them: a thread's end, both sides of a fork.
//!
//! Promises: nothing here allocates, as long as the key is one of the first 32 of the process (the
//! C library keeps those in the thread's own descriptor).
//!
//! Source: pthread_key_create(3), pthread_atfork(3).

use core::ffi::c_void;

use crate::{Errno, Failed};

/// A word that every thread has of its own, and a function that sees it when the thread ends.
#[derive(Clone, Copy, Debug)]
pub struct Key(libc::pthread_key_t);

impl Key {
    /// A new key. `at_end` runs in every thread that ends with a value other than null, and gets
    /// that value.
    ///
    /// # Errors
    /// The process has no key left.
    pub fn new(at_end: unsafe extern "C" fn(*mut c_void)) -> Result<Self, Failed> {
        let mut key = 0;
        // SAFETY: `key` is ours to be written.
        let number = unsafe { libc::pthread_key_create(&raw mut key, Some(at_end)) };
        returned(number, "pthread_key_create").map(|()| Self(key))
    }

    /// Sets this thread's word.
    ///
    /// # Errors
    /// The C library has no memory for it.
    ///
    /// # Safety
    /// - `value` is null, or what the function that [`Key::new`] got may be called with when this
    ///   thread ends.
    pub unsafe fn set(self, value: *const c_void) -> Result<(), Failed> {
        // SAFETY: the key was made by `new`, and is never deleted; the C library does not look
        // behind the value.
        let number = unsafe { libc::pthread_setspecific(self.0, value) };
        returned(number, "pthread_setspecific")
    }
}

/// From now on a fork calls `before` first, and afterwards `parent` and `child`, each on its side.
///
/// # Errors
/// The C library has no memory for it.
pub fn at_fork(
    before: unsafe extern "C" fn(),
    parent: unsafe extern "C" fn(),
    child: unsafe extern "C" fn(),
) -> Result<(), Failed> {
    // SAFETY: the functions live as long as the program.
    let number = unsafe { libc::pthread_atfork(Some(before), Some(parent), Some(child)) };
    returned(number, "pthread_atfork")
}

/// Lets other threads run on this processor.
pub fn give_way() {
    // SAFETY: `sched_yield` has no preconditions.
    unsafe { libc::sched_yield() };
}

/// The pthread functions return their reason instead of leaving it in `errno`.
fn returned(number: i32, call: &'static str) -> Result<(), Failed> {
    if number == 0 { Ok(()) } else { Err(Failed { call, errno: Errno(number) }) }
}
