//! The heap of this test program, proven whole after many threads used it. (The program itself
//! allocates elsewhere, so all that is here is these tests' own: each is run by a process of its
//! own, for a heap that others change meanwhile proves nothing.)

mod stress;

use std::string::String;
use std::sync::Mutex;
use std::thread;
use std::vec::Vec;

use morecore_heap::{Slabs, check};

use super::*;
use crate::{local, tiers};

/// A payload on its way to whoever frees it.
struct Parcel(*mut u8);

// SAFETY: a parcel is its payload's only owner.
unsafe impl Send for Parcel {}

impl Drop for Parcel {
    fn drop(&mut self) {
        // SAFETY: the payload is ours, and used no more.
        unsafe { tiers::free(self.0) };
    }
}

/// A payload that was asked to be zero, and is; dirty from now on.
fn cleared(bytes: usize) -> Parcel {
    let payload = tiers::allocate_zeroed(bytes);
    // SAFETY: the payload is new, and so long.
    let contents = unsafe { std::slice::from_raw_parts_mut(payload, bytes) };
    assert!(contents.iter().all(|byte| *byte == 0), "of {bytes} bytes");
    contents.fill(0xee);
    Parcel(payload)
}

/// A payload at some alignment, dirty.
fn aligned(bytes: usize, random: &mut fastrand::Rng) -> Parcel {
    let payload = tiers::allocate_aligned(bytes, 1 << random.u32(0..14));
    // SAFETY: the payload is new, and so long.
    unsafe { payload.write_bytes(0xdd, bytes) };
    Parcel(payload)
}

/// Allocates and frees in every tier; what it keeps goes to the heap of parcels that all share, and
/// each takes from there what others made.
fn work(mut random: fastrand::Rng, shared: &Mutex<Vec<Parcel>>) {
    let mut own = Vec::new();
    for _ in 0..20_000 {
        if random.u32(0..1000) == 0 {
            hold().end_epoch();
        }
        let bytes = match random.u32(0..1000) {
            0 => random.usize(0..6_000_000),
            1..50 => random.usize(0..200_000),
            _ => random.usize(0..2_000),
        };
        own.push(if random.u8(..) < 50 { cleared(bytes) } else { aligned(bytes, &mut random) });
        if random.u8(..) < 120 {
            let index = random.usize(0..own.len());
            let mut shared = shared.lock().expect("nobody panics with it");
            shared.push(own.swap_remove(index));
        }
        if random.u8(..) < 100 {
            let mut shared = shared.lock().expect("nobody panics with it");
            let index = random.usize(0..shared.len().max(1));
            let freed = (index < shared.len()).then(|| shared.swap_remove(index));
            drop(shared);
            drop(freed);
        }
        if own.len() > 300 {
            own.swap_remove(random.usize(0..own.len()));
        }
    }
}

/// Proves every invariant of the heap. Nobody else uses it meanwhile.
fn prove(arena: &Arena) {
    let mut tiers: Vec<Slabs> = Vec::new();
    each_record(arena, |record| tiers.push(record.slabs()));
    check(&core(), chunks(), units(), &tiers).expect("the heap is whole");
    let census = arena.census();
    assert!(census.is_whole());
    assert_eq!(arena.used_bytes, census.used.bytes + census.slabs.bytes);
}

/// Calls `visit` with this thread's record and with each that is idle.
fn each_record(arena: &Arena, mut visit: impl FnMut(&Thread)) {
    // SAFETY: a thread's word names a record that is this thread's.
    visit(unsafe { &*local::thread() });
    let mut idle = arena.first_idle();
    // SAFETY: idle records are ours while we hold the arena.
    while let Some(record) = unsafe { idle.as_ref() } {
        visit(record);
        idle = record.next_idle.get();
    }
}

/// The variable that says to a child that it is one.
const ALONE: &str = "MORECORE_TEST_ALONE";

/// Runs `work` in a child of its own, so that no other test uses the heap meanwhile: the test
/// called `name` is run again, alone, and then does `work` itself.
fn alone(name: &str, work: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some() {
        return work();
    }
    // By this name it is found also if it was built anew meanwhile.
    let mut child = std::process::Command::new("/proc/self/exe");
    let name = std::format!("arena::tests::{name}");
    child.args(["--exact", &name, "--include-ignored", "--nocapture"]).env(ALONE, "1");
    let output = child.output().expect("this program can be started again");
    let told = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&told));
}

#[test]
fn after_threads_that_freed_what_others_made_every_byte_is_accounted_for() {
    alone("after_threads_that_freed_what_others_made_every_byte_is_accounted_for", account_for_all);
}

fn account_for_all() {
    let seed = std::env::var("SEED").map_or_else(|_| fastrand::u64(..), |s| s.parse().unwrap());
    std::println!("SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let shared = Mutex::new(Vec::new());
    shared.lock().unwrap().push(Parcel(tiers::allocate(1)));
    for _ in 0..3 {
        thread::scope(|scope| {
            for _ in 0..4 {
                let (random, shared) = (random.fork(), &shared);
                scope.spawn(move || work(random, shared));
            }
        });
        // A scope ends before its threads are quite gone; the word of each must be read back.
        wait_for_idle(4);
        let mut arena = hold();
        prove(&arena);
        arena.trim(0);
        prove(&arena);
    }
    drop(shared);
    let mut arena = hold();
    let mut records = Vec::new();
    each_record(&arena, |record| records.push(std::ptr::from_ref(record)));
    for record in records {
        // SAFETY: all of them are idle, or this thread's.
        unsafe { &*record }.empty(&mut arena);
    }
    prove(&arena);
    let census = arena.census();
    assert_eq!((census.slabs.count, census.used.count), (0, arena.threads()), "blocks are lost");
    assert_eq!((census.used.bytes, 0), (arena.used_bytes, arena.mappings.used().0));
    let core_bytes = arena.census().regions.bytes;
    assert!(arena.trim(0) && arena.census().regions.bytes <= core_bytes);
    prove(&arena);
    drop(arena);
    // What went back comes again, and is zero.
    let payload = tiers::allocate_zeroed(3_000_000);
    // SAFETY: the payload is new, and so long.
    let bytes = unsafe { std::slice::from_raw_parts(payload, 3_000_000) };
    assert!(bytes.iter().all(|byte| *byte == 0));
    drop(Parcel(payload));
    prove(&hold());
}

#[test]
fn what_is_warm_goes_back_where_a_peak_would_grow() {
    alone("what_is_warm_goes_back_where_a_peak_would_grow", grow_a_peak);
}

fn grow_a_peak() {
    let payload = |bytes: usize| Parcel(tiers::allocate(bytes));
    let (warm, _between) = (payload(768 << 10), payload(64 << 10));
    let page = memory::page_bytes();
    let inside = warm.0.addr() as u64 / page * page + 4 * page;
    // SAFETY: the payload is ours, and longer than that.
    unsafe { warm.0.write_bytes(7, 512 << 10) };
    let is_there = || {
        let mut seen = [0];
        memory::look_for_pages(inside, &mut seen).expect("the page is mapped");
        seen[0] & 1 != 0
    };
    drop(warm);
    assert!(is_there() && hold().warm.bytes() >= 768 << 10, "little enough to stay warm");
    let _fresh = payload(1 << 20);
    assert!(!is_there() && hold().warm.bytes() == 0, "core was touched for the first time");
}

#[test]
fn what_the_ledger_has_of_memory_that_went_back_goes_back() {
    alone("what_the_ledger_has_of_memory_that_went_back_goes_back", fill_and_empty);
}

fn fill_and_empty() {
    let all: Vec<_> = (0..32 << 10).map(|_| Parcel(tiers::allocate(1 << 10))).collect();
    let middle = all[all.len() / 2].0.addr() as u64;
    let is_told = || {
        let mut seen = [0];
        let page = memory::page_bytes();
        let at = ledger::bits_of(middle & !15).place().addr() as u64 / page * page;
        memory::look_for_pages(at, &mut seen).expect("the page is mapped");
        seen[0] & 1 != 0
    };
    assert!(is_told() && ledger::is_used(Offset(middle)));
    drop(all);
    assert!(tiers::trim(0));
    assert!(!is_told());
    assert!(!ledger::is_used(Offset(middle)), "it reads as before");
    // All of it is there again for who wants it, and is taken down.
    let all: Vec<_> = (0..32 << 10).map(|_| Parcel(tiers::allocate(1 << 10))).collect();
    assert!(all.iter().all(|parcel| ledger::is_used(Offset(parcel.0.addr() as u64))));
    drop(all);
    prove(&hold());
}

/// Waits until so many records are idle.
fn wait_for_idle(count: usize) {
    loop {
        let mut idle = 0;
        each_record(&hold(), |_| idle += 1);
        if idle > count {
            return;
        }
        thread::yield_now();
    }
}
