//! The sole right to change a part of the store: a lock that knows its owner.
//!
//! ```text
//!   free --take--> held by a --let go--> free
//!                     |
//!                     +-- a died --a rescuer rolls back--> free
//!
//!   word   waiters 1 | owner's slot + 1: 31        0 = free
//! ```
//!
//! Each arrow is one atomic operation, so a process may die between any two. A waiter that dies, or
//! an owner that dies before it wakes the waiters, costs a millisecond: nobody sleeps for longer.
//!
//! Knows nothing of what is held, nor of who is alive: `recover.rs` frees the holds of the dead.

use std::time::Duration;

use crate::atomic::{Acquire, AtomicU32, Relaxed, Release, wait, wake};

const WAITERS: u32 = 1 << 31;

/// How long a waiter sleeps before it looks again whether the owner lives: a few of these are what
/// the death of an owner costs the living.
const NAP: Duration = Duration::from_millis(1);

/// How often a taker looks before it sleeps: holds last well under a microsecond. A model tries
/// every order of steps, so for it one look says as much.
const SPINS: u32 = if cfg!(loom) { 1 } else { 100 };

/// What one look at a hold counts for at most: it takes a nap, and up to a second on a busy
/// machine. Who was stopped together with the owner, as a container is, did not wait all that time.
const LOOK_MOST: Duration = Duration::from_secs(1);

/// How long somebody has waited for a hold, looking at it again and again.
#[derive(Debug, Default)]
pub(crate) struct Waited(pub(crate) Duration);

impl Waited {
    /// Counts one look, and how long it took.
    pub(crate) fn add(&mut self, look: Duration) {
        self.0 += look.min(LOOK_MOST);
    }
}

/// The word of a hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hold<'a>(pub(crate) &'a AtomicU32);

impl Hold<'_> {
    /// Takes it for `slot` if it is free.
    #[inline]
    pub(crate) fn try_take(self, slot: u64) -> bool {
        // Acquire pairs with the Release in `let_go`: we see all that the last owner changed.
        self.0.compare_exchange(0, slot as u32 + 1, Acquire, Relaxed).is_ok()
    }

    /// Takes it if it becomes free within a nap; else says whose it is.
    pub(crate) fn take_within_nap(self, slot: u64) -> Result<(), Option<u64>> {
        for _ in 0..SPINS {
            if self.try_take(slot) {
                return Ok(());
            }
            std::hint::spin_loop();
        }
        let word = self.0.load(Relaxed);
        let waited = word | WAITERS;
        if word != 0 && (word == waited || self.mark(word)) {
            wait(self.0, waited, NAP);
        }
        // Others may still sleep: whoever comes from a nap leaves the mark, and wakes them later.
        let own = (slot as u32 + 1) | WAITERS;
        if self.0.compare_exchange(0, own, Acquire, Relaxed).is_ok() {
            return Ok(());
        }
        Err(self.owner())
    }

    /// Lets go.
    #[inline]
    pub(crate) fn let_go(self) {
        // Release pairs with the Acquire in `try_take`.
        if self.0.swap(0, Release) & WAITERS != 0 {
            wake(self.0, 1);
        }
    }

    /// Frees it for a dead owner, if it is `slot`'s.
    pub(crate) fn free_of(self, slot: u64) {
        // A waiter may set its mark at any time: what is freed is what was seen, or seen again.
        while self.owner() == Some(slot) {
            let word = self.0.load(Relaxed);
            let is_theirs = word & !WAITERS == slot as u32 + 1;
            if is_theirs && self.0.compare_exchange(word, 0, Release, Relaxed).is_ok() {
                wake(self.0, i32::MAX);
            }
        }
    }

    /// The slot of whoever holds it.
    #[inline]
    pub(crate) fn owner(self) -> Option<u64> {
        // Acquire pairs with the taker's success, for readers who go on to its journal.
        (self.0.load(Acquire) & !WAITERS).checked_sub(1).map(u64::from)
    }

    /// Whether it is marked for nobody: only damage does that, and nobody would ever let go of it.
    pub(crate) fn is_of_nobody(self) -> bool {
        self.0.load(Relaxed) == WAITERS
    }

    fn mark(self, word: u32) -> bool {
        self.0.compare_exchange(word, word | WAITERS, Relaxed, Relaxed).is_ok()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_hold_knows_its_owner() {
        let word = AtomicU32::new(0);
        let hold = Hold(&word);
        assert!(hold.try_take(7));
        assert_eq!((hold.owner(), hold.try_take(8)), (Some(7), false));
        hold.free_of(8);
        assert_eq!(hold.take_within_nap(8), Err(Some(7)));
        hold.let_go();
        assert_eq!((hold.owner(), hold.take_within_nap(8)), (None, Ok(())));
        hold.free_of(8);
        assert_eq!(hold.owner(), None);
    }

    #[test]
    fn who_was_stopped_together_with_the_owner_has_not_waited() {
        let mut waited = Waited::default();
        waited.add(NAP);
        waited.add(Duration::from_secs(60));
        assert_eq!(waited.0, NAP + LOOK_MOST);
    }

    #[test]
    fn takers_exclude_one_another() {
        let (word, mut count) = (AtomicU32::new(0), 0u64);
        let at = std::ptr::from_mut(&mut count).expose_provenance();
        std::thread::scope(|threads| {
            for slot in 0..4 {
                let hold = Hold(&word);
                threads.spawn(move || {
                    let count = std::ptr::with_exposed_provenance_mut::<u64>(at);
                    for _ in 0..2000 {
                        while hold.take_within_nap(slot).is_err() {}
                        // SAFETY: the hold rules out every other thread, and `count` outlives them.
                        unsafe { *count += 1 };
                        hold.let_go();
                    }
                });
            }
        });
        assert_eq!(count, 8000);
    }
}
