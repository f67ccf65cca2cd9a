//! The stress: threads that come and go, all tiers, all verbs, payloads that wander between
//! threads, their contents checked; and the heap proven whole at its end.
//!
//! Not run unless asked for (`cargo xtask stress`): it takes `STRESS_SECONDS`, 60 if unset, and is
//! alone with the heap, which is as `MORECORE_CONF` has it.

use std::time::{Duration, Instant};

use super::*;
use crate::{c, harden};

/// Lines of threads, each of which is followed by another when it ends: more than processors.
const LINES: usize = 8;

/// What a thread does in its life.
const CALLS: usize = 10_000;

/// Payloads that a line has at a time: with the sizes below some 20 MB.
const LIVE: usize = 500;

/// Of a long payload so much is written whole, and then a word in each of as many bytes.
const WHOLE: usize = 4096;

/// A payload that may travel, and what stands in it: at each offset that is written, `mark` and the
/// offset.
struct Marked {
    payload: *mut u8,
    bytes: usize,
    mark: u64,
}

// SAFETY: it is its payload's only owner.
unsafe impl Send for Marked {}

impl Marked {
    fn new(random: &mut fastrand::Rng) -> Self {
        let bytes = some_size(random);
        let payload: *mut u8 = match random.u32(0..10) {
            0 => {
                let align = 1 << random.u32(4..15);
                let payload = c::aligned_alloc(align, bytes);
                assert!(payload.addr().is_multiple_of(align), "{payload:?} at {align}");
                payload.cast()
            }
            1 => {
                let payload: *mut u8 = c::calloc(1, bytes).cast();
                let is_zero = |offset: usize| {
                    // SAFETY: the payload is so long.
                    let byte = unsafe { payload.wrapping_add(offset).read() };
                    byte == 0
                };
                // All of a short one, and a hundred thousand bytes of a long one.
                let all = (0..bytes).step_by(1 + bytes / 100_000).all(is_zero);
                assert!(!payload.is_null() && all, "calloc of {bytes}");
                payload
            }
            _ => c::malloc(bytes).cast(),
        };
        assert!(!payload.is_null() && payload.addr().is_multiple_of(16), "{payload:?}: {bytes}");
        let marked = Self { payload, bytes, mark: random.u64(..) };
        // SAFETY: it is ours.
        assert!(unsafe { c::malloc_usable_size(payload.cast()) } >= bytes);
        marked.write();
        marked
    }

    /// Where words are written in a payload of `bytes`.
    fn offsets(bytes: usize) -> impl Iterator<Item = usize> {
        let words = bytes / 8;
        let whole = (0..words.min(WHOLE / 8)).map(|word| word * 8);
        whole.chain((WHOLE..words * 8).step_by(WHOLE)).chain(words.checked_sub(1).map(|at| at * 8))
    }

    fn write(&self) {
        for offset in Self::offsets(self.bytes) {
            let word = self.mark.wrapping_add(offset as u64);
            // SAFETY: the payload is ours, and so long.
            unsafe { self.payload.wrapping_add(offset).cast::<u64>().write_unaligned(word) };
        }
    }

    /// What was written is there, as far as it was within `bytes`.
    fn check(&self, bytes: usize) {
        for offset in Self::offsets(self.bytes).take_while(|offset| offset + 8 <= bytes) {
            // SAFETY: the payload is ours, and so long.
            let word = unsafe { self.payload.wrapping_add(offset).cast::<u64>().read_unaligned() };
            assert_eq!(
                word,
                self.mark.wrapping_add(offset as u64),
                "at {offset} of {}",
                self.bytes
            );
        }
    }

    fn resize(&mut self, random: &mut fastrand::Rng) {
        let bytes = some_size(random);
        // SAFETY: it is ours.
        self.payload = unsafe { c::realloc(self.payload.cast(), bytes) }.cast();
        assert!(!self.payload.is_null(), "realloc to {bytes}");
        self.check(bytes.min(self.bytes));
        self.bytes = bytes;
        self.write();
    }
}

impl Drop for Marked {
    fn drop(&mut self) {
        self.check(self.bytes);
        // SAFETY: it is ours, and used no more.
        unsafe { c::free(self.payload.cast()) };
    }
}

/// Mostly small; each tier has its share of the bytes.
fn some_size(random: &mut fastrand::Rng) -> usize {
    match random.u32(0..1000) {
        0 if random.u8(..) < 64 => random.usize(1..80_000_000),
        0..5 => random.usize(1..5_000_000),
        5..50 => random.usize(1..300_000),
        50..300 => random.usize(1..20_000),
        _ => random.usize(1..1_000),
    }
}

/// One thread's life with what its line has; `inboxes` are of all lines, `own` is its own.
fn live(
    mut random: fastrand::Rng,
    line: &mut Vec<Marked>,
    inboxes: &[Mutex<Vec<Marked>>],
    own: usize,
) {
    for _ in 0..CALLS {
        let place = random.usize(0..LIVE);
        match random.u32(0..100) {
            _ if place >= line.len() => line.push(Marked::new(&mut random)),
            0..10 => line[place].resize(&mut random),
            10..25 => {
                let other = random.usize(0..inboxes.len());
                let mut inbox = inboxes[other].lock().expect("nobody panics with it");
                inbox.push(line.swap_remove(place));
            }
            25..40 => {
                let came = std::mem::take(&mut *inboxes[own].lock().expect("as above"));
                drop(came);
            }
            _ => line[place] = Marked::new(&mut random),
        }
    }
}

/// Waits until no other thread has a record.
fn wait_for_all() {
    loop {
        let arena = hold();
        let mut count = 0;
        each_record(&arena, |_| count += 1);
        if count == arena.threads() {
            return;
        }
        drop(arena);
        thread::yield_now();
    }
}

#[test]
#[ignore = "it takes as long as it is given, and wants to be alone: cargo xtask stress"]
fn whatever_threads_do_contents_stay_and_the_heap_is_whole() {
    let seconds = std::env::var("STRESS_SECONDS").map_or(60.0, |text| text.parse().unwrap());
    let seed = std::env::var("SEED").map_or_else(|_| fastrand::u64(..), |s| s.parse().unwrap());
    std::println!("SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let inboxes: Vec<_> = (0..LINES).map(|_| Mutex::new(Vec::new())).collect();
    let mut lines: Vec<_> = (0..LINES).map(|_| Vec::new()).collect();
    let mut rounds = 0;
    while Instant::now() < end {
        thread::scope(|scope| {
            for (own, line) in lines.iter_mut().enumerate() {
                let (random, inboxes) = (random.fork(), &inboxes);
                scope.spawn(move || live(random, line, inboxes, own));
            }
        });
        rounds += 1;
    }
    std::println!("{rounds} rounds of {LINES} threads, {CALLS} calls each");
    drop((lines, inboxes));
    // A hardened heap has one record for all threads, which nobody else knows.
    if !harden::is_on() {
        drop(Marked::new(&mut random));
        wait_for_all();
        prove(&hold());
        c::malloc_trim(0);
        prove(&hold());
    }
    assert!(hold().census().is_whole());
}
