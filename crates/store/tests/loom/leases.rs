//! A payload, its entry, a lease for each reader, and the word that says that a lease ended.
//!
//! ```text
//!   reader   entry's payload --> lease = it --> fence --> still the entry's? reads it
//!            lease = 0 --> fence --> anything pending? dropped = 1
//!   writer   entry = another --> fence --> leased?  no: frees it
//!                yes: pending = it --> dropped = 0 --> fence --> leased?  no: frees it
//! ```
//!
//! A reader that dies between is one whose lease is ended by a rescuer, with the same steps.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use crate::atomic::{Acquire, AtomicU64, Relaxed, Release, SeqCst, fence};
use crate::check;

/// The payload's name, as an entry and a lease have it; and that of what replaces it.
const OLD: u64 = 1;
const NEW: u64 = 2;

/// What stands in a payload while it is in use, and once it is free.
const VALUE: u64 = 7;
const FREE: u64 = 0;

struct Shared {
    entry: AtomicU64,
    leases: [AtomicU64; 2],
    pending: AtomicU64,
    dropped: AtomicU64,
    payload: UnsafeCell<u64>,
    frees: AtomicU64,
}

impl Shared {
    fn new() -> Arc<Self> {
        let zero = || AtomicU64::new(0);
        Arc::new(Self {
            entry: AtomicU64::new(OLD),
            leases: [zero(), zero()],
            pending: zero(),
            dropped: zero(),
            payload: UnsafeCell::new(VALUE),
            frees: zero(),
        })
    }

    /// `Session::lease` and `Seat::pin`; whether it is leased.
    fn lease(&self, own: usize) -> bool {
        let found = self.entry.load(Acquire);
        if found != OLD {
            return false;
        }
        self.leases[own].store(found, Release);
        fence(SeqCst);
        let is_leased = self.entry.load(Acquire) == found;
        if !is_leased {
            self.unpin(own);
        }
        is_leased
    }

    fn look(&self) {
        // SAFETY: it is leased; loom checks that nobody frees it.
        assert_eq!(self.payload.with(|payload| unsafe { *payload }), VALUE);
    }

    /// `Seat::unpin`, `end_leases` and `tell_dropped`.
    fn unpin(&self, own: usize) {
        self.leases[own].store(0, Release);
        fence(SeqCst);
        if self.pending.load(Acquire) != 0 {
            self.dropped.store(1, Release);
        }
    }

    /// `leased`.
    fn is_leased(&self) -> bool {
        fence(SeqCst);
        self.leases.iter().any(|lease| lease.load(Acquire) == OLD)
    }

    fn free(&self) {
        // SAFETY: nobody leases it; loom checks that nobody reads it.
        self.payload.with_mut(|payload| unsafe { *payload = FREE });
        self.frees.fetch_add(1, Relaxed);
    }

    /// `Session::claim_dropped`, and the freeing that follows.
    fn free_dropped(&self) {
        if self.pending.load(Acquire) == 0 {
            return;
        }
        self.dropped.store(0, Release);
        if !self.is_leased() {
            self.pending.store(0, Release);
            self.free();
        }
    }

    /// A change of the entry, and `Session::free_or_keep`.
    fn replace(&self) {
        self.entry.store(NEW, Release);
        if self.is_leased() {
            self.pending.store(OLD, Release);
        } else {
            self.free();
        }
        self.free_dropped();
    }

    /// All leases have ended: it is free, or the next change frees it.
    fn check_end(&self) {
        if self.dropped.load(Acquire) != 0 {
            self.free_dropped();
        }
        assert_eq!(self.frees.load(Relaxed), 1, "freed once, and not never");
    }
}

fn read(shared: &Shared, own: usize) {
    if shared.lease(own) {
        shared.look();
        shared.unpin(own);
    }
}

#[test]
fn what_is_leased_is_not_freed_and_what_was_is() {
    check(|| {
        let shared = Shared::new();
        let reader = shared.clone();
        let thread = thread::spawn(move || read(&reader, 0));
        shared.replace();
        thread.join().unwrap();
        shared.check_end();
    });
}

#[test]
fn the_last_of_two_leases_frees() {
    check(|| {
        let shared = Shared::new();
        let readers = [0, 1].map(|own| {
            let reader = shared.clone();
            thread::spawn(move || read(&reader, own))
        });
        shared.replace();
        for reader in readers {
            reader.join().unwrap();
        }
        shared.check_end();
    });
}

#[test]
fn the_lease_of_the_dead_is_ended_by_a_rescuer_beside_a_writer() {
    check(|| {
        let shared = Shared::new();
        assert!(shared.lease(0));
        let rescuer = shared.clone();
        let thread = thread::spawn(move || rescuer.unpin(0));
        shared.replace();
        thread.join().unwrap();
        shared.check_end();
    });
}
