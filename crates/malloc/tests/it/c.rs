//! The corners of malloc(3) and its family.

use std::ffi::c_void;
use std::io;
use std::ptr;

use morecore_malloc::c::{
    aligned_alloc, calloc, free, free_aligned_sized, free_sized, mallinfo, mallinfo2, malloc,
    malloc_info, malloc_trim, malloc_usable_size, mallopt, memalign, posix_memalign, pvalloc,
    realloc, reallocarray, valloc,
};

const ENOMEM: i32 = 12;
const EINVAL: i32 = 22;
const PAGE: usize = 4096;

/// Sizes of every tier, and those beside each border.
const SIZES: [usize; 22] = [
    0, 1, 15, 16, 17, 24, 128, 129, 1000, 1024, 1025, 8191, 8192, 8193, 16_384, 16_385, 65_536,
    262_145, 1_048_576, 1_048_577, 5_000_000, 20_000_000,
];

fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap()
}

fn set_errno(number: i32) {
    morecore_sys::Errno(number).set();
}

/// A payload's bytes.
fn bytes<'a>(payload: *mut c_void, count: usize) -> &'a mut [u8] {
    // SAFETY: the tests call this with a payload of at least `count` bytes, while it is theirs.
    unsafe { std::slice::from_raw_parts_mut(payload.cast(), count) }
}

/// Frees a payload of this test.
fn give_back(payload: *mut c_void) {
    // SAFETY: every caller has just been given it, and uses it no more.
    unsafe { free(payload) };
}

#[track_caller]
fn check_refused(payload: *mut c_void, wanted: i32) {
    assert_eq!((payload, errno()), (ptr::null_mut(), wanted));
}

#[test]
fn every_size_is_writable_aligned_and_as_long_as_it_says() {
    for size in SIZES {
        set_errno(77);
        let payload = malloc(size);
        assert!(!payload.is_null() && payload.addr().is_multiple_of(16), "{size}");
        // SAFETY: just given.
        let usable = unsafe { malloc_usable_size(payload) };
        assert!(usable >= size.max(1), "{size} {usable}");
        bytes(payload, usable).fill(0xaa);
        // SAFETY: just given.
        assert_eq!(unsafe { malloc_usable_size(payload) }, usable, "stable");
        give_back(payload);
        assert_eq!(errno(), 77, "success leaves errno alone: {size}");
    }
}

#[test]
fn nothing_still_gets_a_payload_of_its_own() {
    let payloads: Vec<_> = (0..100).map(|_| malloc(0)).collect();
    for (index, payload) in payloads.iter().enumerate() {
        assert!(!payload.is_null() && !payloads[..index].contains(payload));
    }
    payloads.into_iter().for_each(give_back);
}

#[test]
fn what_no_address_space_holds_is_refused() {
    for size in [usize::MAX, usize::MAX - 15, isize::MAX as usize + 1, isize::MAX as usize, 1 << 50]
    {
        set_errno(0);
        check_refused(malloc(size), ENOMEM);
        check_refused(calloc(1, size), ENOMEM);
        check_refused(memalign(64, size), ENOMEM);
        check_refused(pvalloc(size), ENOMEM);
        check_refused(valloc(size), ENOMEM);
        let payload = malloc(10);
        bytes(payload, 10).fill(3);
        // SAFETY: just given; a refusal leaves it as it was.
        check_refused(unsafe { realloc(payload, size) }, ENOMEM);
        assert_eq!(bytes(payload, 10), [3; 10]);
        give_back(payload);
    }
}

#[test]
fn products_that_overflow_are_refused() {
    set_errno(0);
    check_refused(calloc(usize::MAX / 2, 3), ENOMEM);
    check_refused(calloc(1 << 33, 1 << 33), ENOMEM);
    // SAFETY: null is nothing.
    check_refused(unsafe { reallocarray(ptr::null_mut(), 1 << 33, 1 << 33) }, ENOMEM);
    // SAFETY: null is nothing.
    let payload = unsafe { reallocarray(ptr::null_mut(), 10, 10) };
    assert!(bytes(payload, 100).len() == 100);
    give_back(payload);
}

#[test]
fn cleared_payloads_are_zero_even_where_others_wrote_before() {
    for size in SIZES {
        for _ in 0..3 {
            let payload = calloc(size, 1);
            assert!(bytes(payload, size).iter().all(|byte| *byte == 0), "{size}");
            // SAFETY: just given.
            let usable = unsafe { malloc_usable_size(payload) };
            bytes(payload, usable).fill(0xff);
            give_back(payload);
        }
    }
}

#[test]
fn resizing_keeps_what_fits() {
    for from in SIZES {
        for to in SIZES.into_iter().filter(|to| *to > 0) {
            let payload = malloc(from);
            let kept = from.min(to);
            // The front and the end of what stays, each a different row of bytes.
            let ends = [(0, kept.min(500)), (kept - kept.min(500), kept)];
            for (begin, end) in ends {
                let row = &mut bytes(payload, end)[begin..];
                row.iter_mut().zip(begin..).for_each(|(byte, index)| *byte = (index % 251) as u8);
            }
            // SAFETY: just given, and used only under its new name.
            let payload = unsafe { realloc(payload, to) };
            for (begin, end) in ends {
                let mut row = bytes(payload, end)[begin..].iter().zip(begin..);
                assert!(row.all(|(byte, index)| *byte == (index % 251) as u8), "{from} -> {to}");
            }
            bytes(payload, to).fill(1);
            give_back(payload);
        }
    }
}

#[test]
fn a_payload_of_which_the_program_advised_a_part_can_be_resized() {
    // Long enough for a mapping of its own, whose pages it can advise on.
    const LONG: usize = 33 << 20;
    let payload = malloc(LONG);
    assert!(payload.addr().is_multiple_of(PAGE));
    bytes(payload, LONG).fill(7);
    let part = payload.wrapping_byte_add(PAGE);
    // numpy asks for huge pages in all but the first page of its large arrays; any advice that
    // splits the mapping will do, and this one every kernel has.
    // SAFETY: the part is the test's own, and the advice changes no contents.
    assert_eq!(unsafe { libc::madvise(part, LONG - 2 * PAGE, libc::MADV_DONTDUMP) }, 0);
    // SAFETY: just given.
    let longer = unsafe { realloc(payload, 2 * LONG) };
    assert!(!longer.is_null());
    assert!(bytes(longer, LONG).iter().all(|byte| *byte == 7));
    give_back(longer);
}

#[test]
fn resizing_null_allocates_and_resizing_to_nothing_frees() {
    // SAFETY: null is nothing.
    let payload = unsafe { realloc(ptr::null_mut(), 100) };
    assert!(!payload.is_null());
    // SAFETY: just given.
    assert!(unsafe { realloc(payload, 0) }.is_null());
    // SAFETY: null is nothing.
    unsafe { free(ptr::null_mut()) };
    // SAFETY: null is nothing.
    assert_eq!(unsafe { malloc_usable_size(ptr::null_mut()) }, 0);
}

#[test]
fn alignments_up_to_far_above_a_page_are_kept() {
    for shift in 0..24 {
        for size in [0, 1, 100, 5000, 100_000, 3_000_000] {
            let payload = memalign(1 << shift, size);
            assert!(payload.addr().is_multiple_of(1 << shift), "{size} at {shift}");
            bytes(payload, size).fill(7);
            // SAFETY: just given, and used only under its new name.
            let payload = unsafe { realloc(payload, size + 50_000) };
            assert!(bytes(payload, size).iter().all(|byte| *byte == 7));
            give_back(payload);
        }
    }
}

#[test]
fn wrong_alignments_are_refused() {
    let untouched = ptr::without_provenance_mut(4711);
    let mut place: *mut c_void = untouched;
    set_errno(77);
    for align in [0, 1, 2, 4, 7, 24, 100, usize::MAX] {
        // SAFETY: the place is ours.
        assert_eq!(unsafe { posix_memalign(&raw mut place, align, 10) }, EINVAL, "{align}");
    }
    // SAFETY: the place is ours.
    assert_eq!(unsafe { posix_memalign(&raw mut place, 8, usize::MAX) }, ENOMEM);
    assert_eq!((place, errno()), (untouched, 77));
    // SAFETY: the place is ours.
    assert_eq!(unsafe { posix_memalign(&raw mut place, 8, 10) }, 0);
    give_back(place);
    check_refused(aligned_alloc(0, 10), EINVAL);
    check_refused(aligned_alloc(48, 10), EINVAL);
    check_refused(memalign(usize::MAX, 10), EINVAL);
    let rounded = memalign(48, 10);
    assert!(rounded.addr().is_multiple_of(64));
    give_back(rounded);
}

#[test]
fn pages_are_whole() {
    for size in [0, 1, PAGE, PAGE + 1] {
        let (plain, whole) = (valloc(size), pvalloc(size));
        assert!(plain.addr().is_multiple_of(PAGE) && whole.addr().is_multiple_of(PAGE));
        bytes(whole, size.max(1).next_multiple_of(PAGE)).fill(1);
        give_back(plain);
        give_back(whole);
    }
}

#[test]
fn whoever_knows_the_size_may_say_so() {
    // SAFETY: just given, with that size.
    unsafe { free_sized(malloc(100), 100) };
    // SAFETY: just given, with that size and alignment.
    unsafe { free_aligned_sized(aligned_alloc(64, 128), 64, 128) };
}

#[test]
fn what_is_free_goes_back_to_the_system() {
    let payloads: Vec<_> = (0..200).map(|_| malloc(100_000)).collect();
    payloads.iter().for_each(|payload| bytes(*payload, 100_000).fill(1));
    payloads.into_iter().for_each(give_back);
    assert_eq!(malloc_trim(0), 1);
    assert_eq!((mallopt(-3, 1 << 20), mallopt(99, 1)), (1, 0));
}

#[test]
fn what_is_allocated_is_told() {
    let before = mallinfo2();
    let (chunk, mapping) = (malloc(500_000), malloc(50_000_000));
    let after = mallinfo2();
    assert!(after.hblkhd >= before.hblkhd.min(50_000_000) && after.hblks >= 1);
    assert!(after.uordblks >= 500_000 && after.uordblks + after.fordblks == after.arena);
    assert_eq!(size_of_val(&mallinfo()), 40);
    give_back(chunk);
    give_back(mapping);
}

#[test]
fn the_tale_of_the_heap_can_be_parsed() {
    let (mut text, mut length) = (ptr::null_mut(), 0);
    // SAFETY: both places are ours, and live until the stream is closed.
    let stream = unsafe { libc::open_memstream(&raw mut text, &raw mut length) };
    // SAFETY: the stream is open.
    assert_eq!(unsafe { malloc_info(1, stream.cast()) }, EINVAL);
    // SAFETY: the stream is open.
    assert_eq!(unsafe { malloc_info(0, stream.cast()) }, 0);
    // SAFETY: the stream is open, and used no more.
    unsafe { libc::fclose(stream) };
    let told = String::from_utf8_lossy(bytes(text.cast(), length)).into_owned();
    assert!(told.starts_with("<malloc version=\"1\">") && told.ends_with("</malloc>\n"), "{told}");
    assert_eq!(told.matches("<heap").count(), told.matches("</heap>").count());
    // SAFETY: the C library made it with its own malloc, which is not ours in this program.
    unsafe { libc::free(text.cast()) };
}
