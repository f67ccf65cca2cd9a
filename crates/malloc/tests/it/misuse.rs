//! A program that frees wrongly ends at once, with a line that says what it did.
//!
//! Each test runs this very program again, as a child that does the wrong thing.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::thread;

use morecore_malloc::c::{
    aligned_alloc, free, free_aligned_sized, free_sized, malloc, malloc_usable_size, realloc,
};

/// The variable that tells a child what to do.
const DEED: &str = "MORECORE_TEST_DEED";

/// Runs the deed called `name` in a child, and checks that it was killed by SIGABRT, with one line
/// on standard error that has each of `parts` in it.
#[track_caller]
fn check(name: &str, parts: &[&str]) {
    let program = std::env::current_exe().unwrap();
    let mut child = Command::new(program);
    child.args(["--exact", "misuse::does_the_deed", "--nocapture", "--test-threads=1"]);
    let output = child.env(DEED, name).output().unwrap();
    let line = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{name}: {line}");
    for part in parts {
        assert!(line.contains(part), "{name}: no `{part}` in: {line}");
    }
    assert_eq!(line.matches("morecore: ").count(), 1, "{line}");
}

/// What a child does. In the parent there is no deed, and this test is nothing.
#[test]
fn does_the_deed() {
    let Ok(deed) = std::env::var(DEED) else { return };
    // SAFETY: none; that is what is tested, and the child ends by it.
    unsafe { wrong(&deed) };
    panic!("the deed `{deed}` went unseen");
}

/// # Safety
/// - There is none: the caller is a child that is about to be killed.
unsafe fn wrong(deed: &str) {
    let free = |payload: *mut u8| {
        // SAFETY: none; that is what is tested.
        unsafe { free(payload.cast()) };
    };
    let payload = |bytes| malloc(bytes).cast::<u8>();
    let many = |bytes| -> Vec<usize> { (0..300).map(|_| malloc(bytes).addr()).collect() };
    let there = |address: usize| std::ptr::with_exposed_provenance_mut::<u8>(address);
    match deed {
        "small twice" | "medium twice" | "large twice" => {
            let bytes = match deed {
                "small twice" => 40,
                "medium twice" => 100_000,
                _ => 30_000_000,
            };
            let twice = payload(bytes);
            free(twice);
            free(twice);
        }
        "small twice, others between" => {
            let all = many(40);
            all.iter().for_each(|address| free(there(*address)));
            free(there(all[0]));
        }
        "medium twice, others between" => {
            let all = [payload(40_000), payload(50_000), payload(60_000)];
            all.iter().for_each(|payload| free(*payload));
            free(all[1]);
        }
        "elsewhere twice" => {
            let all = many(40);
            let first = all[0];
            thread::spawn(move || (0..2).for_each(|_| free(there(first)))).join().unwrap();
        }
        "here, then elsewhere" => {
            let all = many(40);
            let first = all[0];
            free(there(first));
            thread::spawn(move || free(there(first))).join().unwrap();
        }
        "elsewhere, then here" => {
            let all = many(40);
            let first = all[0];
            thread::spawn(move || free(there(first))).join().unwrap();
            free(there(first));
        }
        "medium twice, with a handler" | "large twice, with a handler" => {
            let handler = allocates as *const () as libc::sighandler_t;
            // SAFETY: the handler is for signals that this thread raises itself.
            unsafe { libc::signal(libc::SIGABRT, handler) };
            let twice = payload(if deed.starts_with("medium") { 100_000 } else { 30_000_000 });
            free(twice);
            free(twice);
        }
        "inside a block" => free(payload(100).wrapping_add(16)),
        "inside a chunk" => free(payload(100_000).wrapping_add(4096)),
        "inside a mapping" => free(payload(30_000_000).wrapping_add(4096)),
        "on the stack" => {
            let mut local = 0u8;
            free(&raw mut local);
        }
        "static" => free(c"text".as_ptr().cast_mut().cast()),
        "no address" => free(there(0x1234_5678_9abc_def0)),
        "resize of a freed" => {
            let freed = payload(40);
            free(freed);
            // SAFETY: none; that is what is tested.
            let _ = unsafe { realloc(freed.cast(), 100) };
        }
        "a larger size" | "a smaller size" => {
            let bytes = if deed == "a larger size" { 4000 } else { 100 };
            // SAFETY: none; that is what is tested.
            unsafe { free_sized(malloc(1000), bytes) };
        }
        "another alignment" => {
            // SAFETY: none; that is what is tested.
            unsafe { free_aligned_sized(aligned_alloc(64, 64 << 10), 4096, 4 << 20) };
        }
        "overrun" => {
            let first = payload(100_000);
            let _second = payload(100_000);
            // SAFETY: just given.
            let bytes = unsafe { malloc_usable_size(first.cast()) };
            // SAFETY: none; the word behind a chunk's payload is its last tag.
            unsafe { first.wrapping_add(bytes).write_bytes(0x41, 8) };
            free(first);
        }
        _ => {}
    }
}

#[test]
fn a_second_free_is_a_double_free() {
    check("small twice", &["double free of 0x", "of 48 bytes"]);
    check("small twice, others between", &["double free of 0x", "of 48 bytes"]);
    check("medium twice", &["double free of 0x"]);
    check("medium twice, others between", &["double free of 0x"]);
    check("large twice", &["free of 0x"]);
    check("resize of a freed", &["of 0x"]);
}

/// What a program that wants to tell more of its end does: it allocates, in every tier.
extern "C" fn allocates(_signal: i32) {
    // If the heap were not to be had here, the child would be ended by another signal than the
    // awaited one.
    // SAFETY: `alarm` has no preconditions.
    unsafe { libc::alarm(10) };
    for bytes in [40, 100_000, 30_000_000] {
        assert!(!malloc(bytes).is_null());
    }
}

#[test]
fn a_handler_of_the_end_may_allocate() {
    check("medium twice, with a handler", &["double free of 0x"]);
    check("large twice, with a handler", &["free of 0x"]);
}

#[test]
fn a_second_free_in_another_thread_is_a_double_free() {
    check("elsewhere twice", &["double free of 0x"]);
    check("here, then elsewhere", &["double free of 0x"]);
    check("elsewhere, then here", &["double free of 0x"]);
}

#[test]
fn a_free_of_what_was_never_given_is_named() {
    check("inside a block", &["free of 0x", "112"]);
    check("inside a chunk", &["free of 0x"]);
    check("inside a mapping", &["free of 0x"]);
    check("on the stack", &["free of 0x"]);
    check("static", &["free of 0x"]);
    check("no address", &["free of 0x123456789abcdef0"]);
}

#[test]
fn a_tag_that_was_overwritten_is_named() {
    check("overrun", &["0x"]);
}

#[test]
fn a_size_that_is_not_the_payloads_is_named() {
    check("a larger size", &["free of 0x", "wrong size", "1024 bytes, not 4000"]);
    check("a smaller size", &["free of 0x", "wrong size", "1024 bytes, not 100"]);
    check("another alignment", &["free of 0x", "wrong"]);
}
