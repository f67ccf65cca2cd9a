//! Models: every order of steps that the memory model allows, tried by loom.
//!
//! The holds are the store's own code, on loom's atomics. Versions are read and changed step by
//! step as `session.rs` and `reader.rs` do it, on a shard of two words; leases are taken and end as
//! in `lease.rs`.
//!
//! `cargo xtask loom`, or `RUSTFLAGS="--cfg loom" cargo test --release --test loom`; without that
//! flag there is nothing here.
#![cfg(loom)]

mod atomic {
    //! What `src/atomic.rs` gives, by loom. Whoever sleeps may wake at any time, so a nap is none.

    pub(crate) use loom::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
    pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, fence};

    pub(crate) fn wait(_word: &AtomicU32, _expected: u32, _nap: std::time::Duration) {
        loom::thread::yield_now();
    }

    pub(crate) fn wake(_word: &AtomicU32, _count: i32) {}
}

#[path = "../../src/hold.rs"]
#[allow(dead_code, reason = "models ask less of a hold than the store does")]
mod hold;
mod leases;
mod versions;

use atomic::AtomicU32;
use hold::Hold;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

/// Tries all orders with at most two preemptions: of those who look, few need more.
fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(model);
}

/// How often a taker waits for a nap in a model.
const TRIES: u32 = 2;

/// Something that a hold guards.
struct Guarded {
    word: AtomicU32,
    count: UnsafeCell<u32>,
}

impl Guarded {
    fn new() -> Arc<Self> {
        Arc::new(Self { word: AtomicU32::new(0), count: UnsafeCell::new(0) })
    }

    /// Takes the hold and adds one; loom finds out if two are in here at once. Whether it came to
    /// that: a model that waits without end has no end.
    fn add(&self, slot: u64) -> bool {
        let hold = Hold(&self.word);
        let is_taken = (0..TRIES).any(|_| hold.take_within_nap(slot).is_ok());
        if is_taken {
            // SAFETY: the hold rules out every other thread; loom checks it.
            self.count.with_mut(|count| unsafe { *count += 1 });
            hold.let_go();
        }
        is_taken
    }

    /// All are gone: the hold is free, and each who was in here is counted.
    fn check_end(&self, adders: [bool; 2]) {
        assert_eq!(Hold(&self.word).owner(), None);
        assert!(self.add(3), "a free hold is not to be had");
        let expected = 1 + adders.into_iter().map(u32::from).sum::<u32>();
        // SAFETY: nobody else is left.
        assert_eq!(self.count.with(|count| unsafe { *count }), expected);
    }
}

#[test]
fn takers_exclude_one_another() {
    check(|| {
        let guarded = Guarded::new();
        let other = guarded.clone();
        let thread = thread::spawn(move || other.add(1));
        let ours = guarded.add(2);
        guarded.check_end([ours, thread.join().unwrap()]);
    });
}

#[test]
fn the_hold_of_the_dead_goes_to_one_of_the_living() {
    check(|| {
        let guarded = Guarded::new();
        assert!(Hold(&guarded.word).try_take(7));
        let other = guarded.clone();
        let thread = thread::spawn(move || other.add(1));
        // The rescuer, who takes the hold itself then.
        Hold(&guarded.word).free_of(7);
        let ours = guarded.add(2);
        guarded.check_end([ours, thread.join().unwrap()]);
    });
}

#[test]
fn two_rescuers_free_a_hold_once() {
    check(|| {
        let guarded = Guarded::new();
        assert!(Hold(&guarded.word).try_take(7));
        let other = guarded.clone();
        // As in `recover.rs`: a word says who is the rescuer, and only that one frees.
        let rescuer = Arc::new(AtomicU32::new(0));
        let theirs = rescuer.clone();
        let rescue = |guarded: &Guarded, rescuer: &AtomicU32, own: u32| {
            if rescuer.compare_exchange(0, own, atomic::Acquire, atomic::Relaxed).is_ok() {
                Hold(&guarded.word).free_of(7);
                rescuer.store(0, atomic::Release);
            }
            guarded.add(u64::from(own))
        };
        let thread = thread::spawn(move || rescue(&other, &theirs, 1));
        let ours = rescue(&guarded, &rescuer, 2);
        guarded.check_end([ours, thread.join().unwrap()]);
    });
}
