//! A thread's life: how it gets its record, how it gives it back, and both sides of a fork.
//!
//! ```text
//!   NOBODY --first request--> its record --key's destructor--> GONE
//!                                                               |
//!                             the late record, under a lock <---+  what still comes after the end
//! ```
//!
//! Promises: it works from the first instruction that the dynamic loader runs, and to the last one
//! of a thread. After a fork the child has a whole heap: the records of threads that did not come
//! along keep their blocks, which others may free but nobody gets again.
//! Knows nothing of what a record holds.

use core::ptr;

use morecore_sys::thread::{Key, at_fork};

use crate::arena;
use crate::line::keeping_errno;
use crate::local;
use crate::lock::Lock;
use crate::thread::{GONE, Thread, at_end};

/// The record of those who come after their end.
static LATE: Lock<Late> = Lock::new(Late(ptr::null_mut()));

/// The key whose destructor sees the end of each thread.
static KEY: Lock<Option<Key>> = Lock::new(None);

struct Late(*mut Thread);

// SAFETY: the record is used only under the lock.
unsafe impl Send for Late {}

/// Does `work` with a record that is this thread's for as long; `None` if there is no core for one.
pub(crate) fn with_record<T>(work: impl FnOnce(&Thread) -> T) -> Option<T> {
    let thread = local::thread();
    if thread == GONE.record() {
        let mut late = LATE.take();
        if late.0.is_null() {
            late.0 = arena::hold().thread();
        }
        // SAFETY: records are never given back, and this one is used under the lock only.
        return unsafe { late.0.as_ref() }.map(work);
    }
    let thread = if crate::tiers::is_nobody(thread) { begin() } else { thread };
    // SAFETY: records are never given back, and this one is this thread's.
    unsafe { thread.as_ref() }.map(work)
}

/// Gives this thread a record, and sees to it that its end is seen.
#[cold]
fn begin() -> *mut Thread {
    let thread = arena::hold().thread();
    if thread.is_null() {
        return thread;
    }
    // First this: should the C library allocate in what follows, it is served.
    local::set_thread(thread);
    keeping_errno(|| {
        if let Some(key) = key() {
            // SAFETY: the value is this thread's word, as `at_end` wants it. Should it fail, the
            // end goes unseen, and the record stays with its blocks.
            let _ = unsafe { key.set(thread.cast()) };
        }
    });
    thread
}

/// The key, made by the first who asks. The first request of a process comes before `main`, so it
/// is one of the first keys, which need no memory.
fn key() -> Option<Key> {
    let mut key = KEY.take();
    if key.is_none() {
        *key = Key::new(at_end).ok();
        // Without a handler a fork of a busy program could leave the child with a lock that nobody
        // lets go; there is nobody to tell.
        let _ = at_fork(before_fork, after_fork, after_fork);
    }
    *key
}

/// Takes every lock, so that no other thread is inside while the process is copied.
unsafe extern "C" fn before_fork() {
    KEY.take_for_fork();
    LATE.take_for_fork();
    arena::hold_for_fork();
}

/// Lets all go, on both sides.
unsafe extern "C" fn after_fork() {
    // SAFETY: the C library calls this in the thread that called `before_fork`, or its image.
    unsafe { arena::let_go_after_fork() };
    // SAFETY: as above.
    unsafe { LATE.let_go_after_fork() };
    // SAFETY: as above.
    unsafe { KEY.let_go_after_fork() };
}
