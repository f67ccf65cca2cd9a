//! A lock of one process, and what it guards.
//!
//! ```text
//!   free --take--> held --let go--> free
//!                   |
//!                   +-- another waits --> awaited --let go, wake one--> free
//! ```
//!
//! Promises: it never allocates and needs no making, so it works in a static from the first
//! instruction; a taken lock that nobody waits for costs two atomic operations.
//! Knows nothing of forks, but can be let go by force in a child.
//!
//! Source: U. Drepper, Futexes Are Tricky (the third mutex).

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::time::Duration;

use morecore_sys::futex;

use crate::line::keeping_errno;

const FREE: u32 = 0;
const HELD: u32 = 1;
const AWAITED: u32 = 2;

/// How often a waiter looks before it sleeps: what we do under a lock takes less than the
/// microsecond or two that sleeping and waking cost, and a look about 10 ns.
const LOOKS: u32 = 100;

/// A value that one thread at a time may use.
///
/// # Invariants
/// - `alone`: the value is used only by whoever changed the word from [`FREE`].
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
        if self.word.compare_exchange(FREE, HELD, Acquire, Relaxed).is_err() {
            self.wait();
        }
        Held { lock: self }
    }

    /// Takes the lock without a guard: the thread that forks does so before.
    pub(crate) fn take_for_fork(&self) {
        core::mem::forget(self.take());
    }

    /// Lets go what [`Lock::take_for_fork`] took, in the parent or in the child.
    ///
    /// # Safety
    /// - The caller is the thread that took it, or that thread's image in the child.
    pub(crate) unsafe fn let_go_after_fork(&self) {
        self.let_go();
    }

    #[cold]
    fn wait(&self) {
        for _ in 0..LOOKS {
            core::hint::spin_loop();
            let is_free = self.word.load(Relaxed) == FREE;
            if is_free && self.word.compare_exchange(FREE, HELD, Acquire, Relaxed).is_ok() {
                return;
            }
        }
        // Whoever slept takes the lock as awaited: others may still sleep.
        while self.word.swap(AWAITED, Acquire) != FREE {
            sleep(&self.word);
        }
    }

    #[inline]
    fn let_go(&self) {
        // Release pairs with the Acquire in `take`: the next owner sees all that we changed.
        if self.word.swap(FREE, Release) == AWAITED {
            wake_one(&self.word);
        }
    }
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
fn sleep(word: &AtomicU32) {
    keeping_errno(|| futex::wait(word, AWAITED, SLEEP_MOST));
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
            while lock.word.load(Relaxed) != AWAITED {
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
        lock.take_for_fork();
        // SAFETY: this thread took it in the line above.
        unsafe { lock.let_go_after_fork() };
        drop(lock.take());
    }
}
