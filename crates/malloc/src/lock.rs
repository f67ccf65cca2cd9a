//! A lock of one process, and what it guards.
//!
//! ```text
//!   free --take--> held by a thread --let go--> free
//!                        |
//!                        +-- another waits --> awaited --let go, wake one--> free
//! ```
//!
//! Promises: it never allocates and needs no making, so it works in a static from the first
//! instruction; a taken lock that nobody waits for costs two atomic operations. Its word tells who
//! has it, so that a fork in a signal handler does not wait for the very thread that it interrupts.
//! Knows nothing of what else a fork has to do.
//!
//! Source: U. Drepper, Futexes Are Tricky (the second mutex).

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::time::Duration;

use morecore_sys::{futex, thread};

use crate::line::keeping_errno;
use crate::local::thread_pointer;

/// Nobody has it. Else the word is the owner's number, with this bit if others may sleep.
const FREE: u32 = 0;
const AWAITED: u32 = 1;

/// How often a waiter looks before it sleeps: what we do under a lock takes less than the
/// microsecond or two that sleeping and waking cost, and a look about 10 ns.
const LOOKS: u32 = 100;

/// How often a thread that forks gives way before it believes that it has the lock itself: another
/// whose number is the same by chance has let go by then.
const DOUBTS: u32 = 1000;

/// A value that one thread at a time may use.
///
/// # Invariants
/// - `alone`: the value is used only by whoever changed the word from [`FREE`] to its number.
pub(crate) struct Lock<T> {
    word: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: by `alone` no two threads use the value at once; it may move between them as it is
// `Send`.
unsafe impl<T: Send> Sync for Lock<T> {}

/// The right to use the value, until it is dropped.
pub(crate) struct Held<'a, T> {
    lock: &'a Lock<T>,
}

impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self { word: AtomicU32::new(FREE), value: UnsafeCell::new(value) }
    }

    /// Waits until the value is free, and takes it.
    #[inline]
    pub(crate) fn take(&self) -> Held<'_, T> {
        // Acquire pairs with the Release in `let_go`: we see all that the last owner changed.
        let own = own_number();
        if self.word.compare_exchange(FREE, own, Acquire, Relaxed).is_err() {
            self.wait(own);
        }
        Held { lock: self }
    }

    /// Takes the lock without a guard, before a fork. `false`: this very thread has it already,
    /// because a signal handler forks that has interrupted it. What it is about to change it
    /// changes on both sides when the handler returns; so it must not be let go after the fork.
    #[must_use]
    pub(crate) fn take_for_fork(&self) -> bool {
        let own = own_number();
        for _ in 0..DOUBTS {
            if self.word.load(Relaxed) & !AWAITED != own {
                core::mem::forget(self.take());
                return true;
            }
            thread::give_way();
        }
        false
    }

    /// Lets go what [`Lock::take_for_fork`] took, in the parent or in the child.
    ///
    /// # Safety
    /// - The caller is the thread that took it, or that thread's image in the child.
    pub(crate) unsafe fn let_go_after_fork(&self) {
        self.let_go();
    }

    #[cold]
    fn wait(&self, own: u32) {
        for _ in 0..LOOKS {
            core::hint::spin_loop();
            let is_free = self.word.load(Relaxed) == FREE;
            if is_free && self.word.compare_exchange(FREE, own, Acquire, Relaxed).is_ok() {
                return;
            }
        }
        loop {
            let seen = self.word.load(Relaxed);
            if seen == FREE {
                // Whoever slept takes the lock as awaited: others may still sleep.
                if self.word.compare_exchange(FREE, own | AWAITED, Acquire, Relaxed).is_ok() {
                    return;
                }
            } else {
                let marked = seen | AWAITED;
                if self.word.compare_exchange(seen, marked, Relaxed, Relaxed).is_ok() {
                    sleep(&self.word, marked);
                }
            }
        }
    }

    #[inline]
    fn let_go(&self) {
        // Release pairs with the Acquire in `take`: the next owner sees all that we changed.
        if self.word.swap(FREE, Release) & AWAITED != 0 {
            wake_one(&self.word);
        }
    }
}

/// What stands in the word while this thread has the lock: even, and not 0. Two threads whose parts
/// of memory are a multiple of 128 GiB apart have the same.
#[inline(always)]
fn own_number() -> u32 {
    // A thread's part of memory begins at a multiple of 64 bytes.
    ((thread_pointer() >> 6) as u32) << 1 | 1 << 31
}

impl<T> Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: by `alone` the value is ours until this guard is dropped.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Held<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: by `alone` the value is ours until this guard is dropped.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Held<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.let_go();
    }
}

/// A sleeper looks again after this time at the latest: a limit that only costs a wake-up.
const SLEEP_MOST: Duration = Duration::from_secs(1);

#[cold]
fn sleep(word: &AtomicU32, seen: u32) {
    keeping_errno(|| futex::wait(word, seen, SLEEP_MOST));
}

#[cold]
fn wake_one(word: &AtomicU32) {
    keeping_errno(|| futex::wake(word, 1));
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn one_at_a_time_even_when_all_wait() {
        let lock = Lock::new(0u64);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        let mut value = lock.take();
                        let seen = *value;
                        core::hint::black_box(&mut value);
                        *value = seen + 1;
                    }
                });
            }
        });
        assert_eq!(*lock.take(), 80_000);
    }

    #[test]
    fn a_sleeper_is_woken() {
        let lock = Lock::new(false);
        let held = lock.take();
        thread::scope(|scope| {
            let waiter = scope.spawn(|| *lock.take() = true);
            // Only a word that says so tells that the other is asleep, or about to be.
            while lock.word.load(Relaxed) & AWAITED == 0 {
                thread::yield_now();
            }
            drop(held);
            waiter.join().expect("the waiter does not panic");
        });
        assert!(*lock.take());
    }

    #[test]
    fn what_was_taken_for_a_fork_is_let_go_after_it() {
        let lock = Lock::new(());
        assert!(lock.take_for_fork());
        // SAFETY: this thread took it in the line above.
        unsafe { lock.let_go_after_fork() };
        drop(lock.take());
    }

    #[test]
    fn who_has_it_does_not_wait_for_itself_to_fork() {
        let lock = Lock::new(());
        let held = lock.take();
        assert!(!lock.take_for_fork());
        drop(held);
        assert!(lock.take_for_fork());
    }
}
