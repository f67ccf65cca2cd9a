//! malloc(3) and its family, as functions: what C programs and the C library rely on.
//!
//! Promises, for all of them: a success leaves `errno` as it was, and so does every free; a failure
//! is null and `ENOMEM` (or `EINVAL`), and changes nothing. A request of 0 bytes gets a payload of
//! its own. No payload is longer than `PTRDIFF_MAX`, so C programs may subtract any two addresses
//! in it: what no address space holds is refused below.
//! Knows nothing of tiers, threads or where core comes from.
//!
//! Source: C23 7.24.3, POSIX.1-2024, malloc(3), posix_memalign(3), malloc_usable_size(3), and for
//! the corners that those leave open what glibc does.

use core::ffi::{CStr, c_int, c_void};
use core::ptr::{self, NonNull};

use morecore_sys::Errno;
use morecore_sys::environment::{self, StandardError, Stream};

use crate::arena;
use crate::line::keeping_errno;
use crate::statistics::Statistics;
use crate::{harden, life, sized, tiers};

/// `ENOMEM` and `EINVAL`: the same numbers on every Linux.
const NO_MEMORY: Errno = Errno(12);
const INVALID: Errno = Errno(22);

/// A payload of `bytes` bytes, or null and `ENOMEM`.
#[inline(always)]
#[must_use]
pub fn malloc(bytes: usize) -> *mut c_void {
    tiers::allocate(bytes).cast()
}

/// A payload for `count` things of `bytes` bytes each, all zero, or null and `ENOMEM`.
#[must_use]
pub fn calloc(count: usize, bytes: usize) -> *mut c_void {
    let Some(bytes) = count.checked_mul(bytes) else { return failed(NO_MEMORY) };
    tiers::allocate_zeroed(bytes).cast()
}

/// Makes a payload `bytes` long; where it has to move, its contents move with it.
///
/// Null as `payload` allocates. 0 as `bytes` frees and returns null, as in glibc. If there is no
/// memory it returns null and `ENOMEM`, and the old payload stays as it was.
///
/// # Safety
/// - `payload` is null or was given by this family, was not freed, and is not used meanwhile.
#[must_use]
pub unsafe fn realloc(payload: *mut c_void, bytes: usize) -> *mut c_void {
    if payload.is_null() {
        return malloc(bytes);
    }
    if bytes == 0 {
        // SAFETY: the payload is the caller's to free.
        unsafe { free(payload) };
        return ptr::null_mut();
    }
    // SAFETY: the payload is the caller's to resize.
    unsafe { tiers::resize(payload.cast(), bytes) }.cast()
}

/// As [`realloc`] for `count` things of `bytes` bytes each.
///
/// # Safety
/// - As for [`realloc`].
#[must_use]
pub unsafe fn reallocarray(payload: *mut c_void, count: usize, bytes: usize) -> *mut c_void {
    let Some(bytes) = count.checked_mul(bytes) else { return failed(NO_MEMORY) };
    // SAFETY: the caller's duty, passed on.
    unsafe { realloc(payload, bytes) }
}

/// Takes a payload back; null is nothing.
///
/// # Safety
/// - `payload` is null or was given by this family, and nobody uses it any more. (If it was not, or
///   was freed already, the process ends with a line that says so.)
#[inline(always)]
pub unsafe fn free(payload: *mut c_void) {
    // SAFETY: the caller's duty, passed on.
    unsafe { tiers::free(payload.cast()) };
}

/// As [`free`], for who knows the size (C23). A size that the payload cannot have been asked for
/// with ends the process with a line that says so.
///
/// # Safety
/// - As for [`free`].
#[inline(always)]
pub unsafe fn free_sized(payload: *mut c_void, bytes: usize) {
    // SAFETY: the caller's duty, passed on.
    unsafe { sized::free(payload.cast(), bytes) };
}

/// As [`free_sized`], for who knows the alignment as well (C23).
///
/// # Safety
/// - As for [`free`].
pub unsafe fn free_aligned_sized(payload: *mut c_void, align: usize, bytes: usize) {
    // SAFETY: the caller's duty, passed on.
    unsafe { sized::free_aligned(payload.cast(), bytes, align) };
}

/// Puts a payload of `bytes` bytes at a multiple of `align` into `place`. Returns 0, or the number
/// of what is wrong, and leaves `place` and `errno` alone then.
///
/// # Safety
/// - `place` can be written.
#[must_use]
pub unsafe fn posix_memalign(place: *mut *mut c_void, align: usize, bytes: usize) -> c_int {
    if !align.is_power_of_two() || !align.is_multiple_of(size_of::<*mut c_void>()) {
        return INVALID.0;
    }
    let payload = keeping_errno(|| tiers::allocate_aligned(bytes, align));
    if payload.is_null() {
        return NO_MEMORY.0;
    }
    // SAFETY: the caller's duty.
    unsafe { place.write(payload.cast()) };
    0
}

/// A payload of `bytes` bytes at a multiple of `align`, which must be a power of two, or null and
/// `EINVAL`.
#[must_use]
pub fn aligned_alloc(align: usize, bytes: usize) -> *mut c_void {
    if !align.is_power_of_two() {
        return failed(INVALID);
    }
    tiers::allocate_aligned(bytes, align).cast()
}

/// As [`aligned_alloc`], with an alignment that is not a power of two rounded up to one.
#[must_use]
pub fn memalign(align: usize, bytes: usize) -> *mut c_void {
    match align.checked_next_power_of_two() {
        Some(align) => aligned_alloc(align, bytes),
        None => failed(INVALID),
    }
}

/// A payload of `bytes` bytes at the beginning of a page.
#[must_use]
pub fn valloc(bytes: usize) -> *mut c_void {
    aligned_alloc(tiers::page_bytes(), bytes)
}

/// Whole pages for `bytes` bytes, at least one.
#[must_use]
pub fn pvalloc(bytes: usize) -> *mut c_void {
    let page = tiers::page_bytes();
    match bytes.max(1).checked_next_multiple_of(page) {
        Some(bytes) => aligned_alloc(page, bytes),
        None => failed(NO_MEMORY),
    }
}

/// Returns how many bytes of a payload may be used: at least what was asked for. 0 for null.
///
/// # Safety
/// - `payload` is null or was given by this family, and was not freed.
#[must_use]
pub unsafe fn malloc_usable_size(payload: *mut c_void) -> usize {
    if payload.is_null() {
        return 0;
    }
    // SAFETY: the caller's duty, passed on.
    unsafe { tiers::payload_bytes(payload.cast()) }
}

/// Gives back to the system what is free, but for `pad` bytes. Returns 1 if anything went back.
pub fn malloc_trim(pad: usize) -> c_int {
    c_int::from(tiers::trim(pad))
}

/// Accepts the parameters that mallopt(3) lists, and does nothing about them: 1 if it is one of
/// those, 0 otherwise. What can be chosen here is chosen by `MORECORE_CONF`.
#[must_use]
pub fn mallopt(parameter: c_int, _value: c_int) -> c_int {
    // M_ARENA_MAX -8, M_ARENA_TEST -7, M_PERTURB -6, M_CHECK_ACTION -5, M_MMAP_MAX -4,
    // M_MMAP_THRESHOLD -3, M_TOP_PAD -2, M_TRIM_THRESHOLD -1; M_MXFAST 1, M_NLBLKS 2, M_GRAIN 3,
    // M_KEEP 4.
    c_int::from(matches!(parameter, -8..=-1 | 1..=4))
}

/// What `mallinfo2` tells: mallinfo(3) explains each.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mallinfo2 {
    /// Bytes of core in regions.
    pub arena: usize,
    /// Free chunks.
    pub ordblks: usize,
    /// 0.
    pub smblks: usize,
    /// Mappings.
    pub hblks: usize,
    /// Bytes in mappings.
    pub hblkhd: usize,
    /// 0.
    pub usmblks: usize,
    /// 0.
    pub fsmblks: usize,
    /// Bytes in use in regions.
    pub uordblks: usize,
    /// Bytes that are free in regions.
    pub fordblks: usize,
    /// Bytes of the top.
    pub keepcost: usize,
}

/// [`Mallinfo2`] with fields that are too small since memories passed 2 GiB: what does not fit is
/// cut off, as in glibc.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mallinfo([c_int; 10]);

/// Returns what the heap consists of.
#[must_use]
pub fn mallinfo2() -> Mallinfo2 {
    numbers_of(&Statistics::take())
}

/// The statistics as C programs ask for them.
pub(crate) fn numbers_of(statistics: &Statistics) -> Mallinfo2 {
    let census = statistics.census;
    let used_bytes = census.used_bytes();
    Mallinfo2 {
        arena: census.regions.bytes as usize,
        ordblks: census.free.count as usize,
        hblks: statistics.mappings.count as usize,
        hblkhd: statistics.mappings.bytes as usize,
        uordblks: used_bytes as usize,
        fordblks: (census.regions.bytes - used_bytes) as usize,
        keepcost: census.top as usize,
        ..Mallinfo2::default()
    }
}

/// As [`mallinfo2`], in numbers of 32 bits.
#[must_use]
pub fn mallinfo() -> Mallinfo {
    let wide = mallinfo2();
    let Mallinfo2 { arena, ordblks, hblks, hblkhd, uordblks, fordblks, keepcost, .. } = wide;
    let fields = [arena, ordblks, 0, hblks, hblkhd, 0, 0, uordblks, fordblks, keepcost];
    Mallinfo(fields.map(|field| field as c_int))
}

/// Writes what the heap consists of to standard error.
pub fn malloc_stats() {
    // A line that can not be written is lost.
    let _ = Statistics::take().write_lines(&mut { StandardError::NOW });
}

/// Writes what the heap consists of to the stream `file`, as XML. 0; or what is wrong if `options`
/// is not 0.
///
/// # Safety
/// - `file` is a `FILE` of the C library.
#[must_use]
pub unsafe fn malloc_info(options: c_int, file: *mut c_void) -> c_int {
    if options != 0 {
        return INVALID.0;
    }
    // The stream may allocate its buffer here, so nothing is held meanwhile.
    let statistics = Statistics::take();
    // SAFETY: the caller's duty, passed on.
    let mut stream = unsafe { Stream::new(file) };
    let _ = statistics.write_xml(&mut stream);
    0
}

/// The function called `name` of the libraries that were loaded after the one that this code is in:
/// what would be called if that were not there. `None` if there is none.
#[must_use]
pub fn behind(name: &CStr) -> Option<NonNull<c_void>> {
    environment::symbol_behind(name)
}

/// Called when the program begins, for what it may do before its first request.
pub fn at_start() {
    life::see_forks();
}

/// Called when the program ends: looks for late misuses, and prints the statistics, if the user
/// asked for them.
pub fn at_exit() {
    if harden::is_on() {
        harden::check_all();
    }
    let asked = arena::hold().statistics_to();
    if let Some(mut standard_error) = asked {
        let _ = Statistics::take().write_lines(&mut standard_error);
    }
}

/// Null, and the reason in `errno`.
#[cold]
fn failed(errno: Errno) -> *mut c_void {
    errno.set();
    ptr::null_mut()
}
