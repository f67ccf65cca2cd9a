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
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicBool, AtomicU32};

use morecore_sys::streams;
use morecore_sys::thread::{Key, at_fork};

use crate::arena;
use crate::harden;
use crate::line::keeping_errno;
use crate::local;
use crate::lock::Lock;
use crate::thread::{GONE, Thread, at_end};

/// The record of those who come after their end.
static LATE: Lock<Late> = Lock::new(Late(ptr::null_mut()));

/// The key whose destructor sees the end of each thread.
static KEY: Lock<Option<Key>> = Lock::new(None);

/// Are forks seen?
static SEES_FORKS: AtomicBool = AtomicBool::new(false);

/// Which locks the fork that is under way has taken, a bit each; above them those of the fork that
/// it interrupts, if it is a signal handler's.
static TAKEN: AtomicU32 = AtomicU32::new(0);

/// The locks there are: [`KEY`], [`LATE`], the quarantine's, the arena's.
const LOCKS: u32 = 4;

struct Late(*mut Thread);

// SAFETY: the record is used only under the lock.
unsafe impl Send for Late {}

/// Does `work` with a record that is this thread's for as long; `None` if there is no core for one.
pub(crate) fn with_record<T>(work: impl FnOnce(&Thread) -> T) -> Option<T> {
    let thread = local::thread();
    // A hardened heap has no magazines, so all its threads are as those after their end.
    if thread == GONE.record() || harden::is_on() {
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
        see_forks();
    }
    *key
}

/// Sees to it that forks are seen: at the first small request, or when the program begins, if there
/// was none.
pub(crate) fn see_forks() {
    if !SEES_FORKS.swap(true, Relaxed) {
        // Without a handler a fork of a busy program could leave the child with a lock that nobody
        // lets go; there is nobody to tell.
        let _ = at_fork(before_fork, after_fork_here, after_fork_in_child);
    }
}

/// Takes every lock, so that no other thread is inside while the process is copied. First those of
/// the C library's streams, which its fork takes after us: whoever has them may be about to
/// allocate.
unsafe extern "C" fn before_fork() {
    streams::hold();
    let taken = u32::from(KEY.take_for_fork())
        | u32::from(LATE.take_for_fork()) << 1
        | u32::from(harden::hold_for_fork()) << 2
        | u32::from(arena::hold_for_fork()) << 3;
    // Relaxed: whoever forks has all the locks that are told of here, or interrupts who has.
    TAKEN.store(TAKEN.load(Relaxed) << LOCKS | taken, Relaxed);
}

unsafe extern "C" fn after_fork_here() {
    let_all_go();
    streams::let_go();
}

unsafe extern "C" fn after_fork_in_child() {
    let_all_go();
    streams::reset();
}

/// Lets go what was taken: the C library calls this in the thread that called `before_fork`, or its
/// image in the child.
fn let_all_go() {
    let taken = TAKEN.load(Relaxed);
    TAKEN.store(taken >> LOCKS, Relaxed);
    if taken >> 3 & 1 != 0 {
        // SAFETY: as above; it was taken.
        unsafe { arena::let_go_after_fork() };
    }
    if taken >> 2 & 1 != 0 {
        // SAFETY: as above.
        unsafe { harden::let_go_after_fork() };
    }
    if taken >> 1 & 1 != 0 {
        // SAFETY: as above.
        unsafe { LATE.let_go_after_fork() };
    }
    if taken & 1 != 0 {
        // SAFETY: as above.
        unsafe { KEY.let_go_after_fork() };
    }
}
