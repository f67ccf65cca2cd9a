//! What calloc(3) clears itself, and what it may leave to the system, where others move the break.

use morecore_malloc::c::{calloc, free, malloc, malloc_trim};

const PAGE: usize = 4096;

/// Asserts that `count` payloads of about `bytes` bytes, in a row, are cleared.
#[track_caller]
fn check_zero(count: usize, bytes: usize) {
    for number in 0..count {
        // Of different lengths, so that their ends fall anywhere.
        let bytes = bytes + number * 1000;
        let payload = calloc(1, bytes).cast::<u8>();
        // SAFETY: just given, and so long.
        let payload = unsafe { std::slice::from_raw_parts(payload, bytes) };
        let dirty = payload.iter().position(|byte| *byte != 0);
        assert_eq!(dirty, None, "payload {number} of {bytes} bytes at {:p}", payload.as_ptr());
    }
}

#[test]
fn core_that_the_system_would_not_take_back_is_zero() {
    let name = "zeros::core_that_the_system_would_not_take_back_is_zero";
    crate::alone_with(name, "source:brk", || {
        let _below = malloc(100_000);
        // SAFETY: the break moves up; what is there is never used.
        let above = unsafe { libc::sbrk(PAGE as isize) };
        assert_ne!(above.addr(), usize::MAX);
        malloc_trim(0);
        check_zero(60, 60_000);
    });
}

#[test]
fn core_behind_what_was_used_before_is_zero() {
    let name = "zeros::core_behind_what_was_used_before_is_zero";
    crate::alone_with(name, "source:brk", || {
        let _below = malloc(100_000);
        let used = malloc(700_000).cast::<u8>();
        // SAFETY: just given, and so long.
        unsafe { used.write_bytes(0xff, 700_000) };
        // SAFETY: just given, and used no more.
        unsafe { free(used.cast()) };
        // SAFETY: the break does not move.
        let end = unsafe { libc::sbrk(0) };
        // While this is in the way, core comes from elsewhere; then from behind the break again.
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        // SAFETY: a new mapping that takes no other's place.
        let wall = unsafe { libc::mmap(end, PAGE, libc::PROT_NONE, flags, -1, 0) };
        assert_eq!(wall, end);
        assert!(!malloc(1_500_000).is_null());
        // SAFETY: mapped above.
        assert_eq!(unsafe { libc::munmap(wall, PAGE) }, 0);
        check_zero(4, 1_200_000);
    });
}
