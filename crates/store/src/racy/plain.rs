//! Bytes that another process may write meanwhile, one at a time: what `racy.rs` means, on any
//! processor.
//!
//! Promises: as `racy.rs`.

use crate::atomic::{AtomicU8, Relaxed};

/// # Safety
/// - The byte at `at` is mapped.
#[inline(always)]
unsafe fn byte<'a>(at: *const u8) -> &'a AtomicU8 {
    // SAFETY: mapped, as the caller says; every use of shared bytes is atomic.
    unsafe { AtomicU8::from_ptr(at.cast_mut()) }
}

/// # Safety
/// - As `super::copy_out`.
#[inline(always)]
pub(super) unsafe fn copy_out(from: *const u8, to: *mut u8, count: usize) {
    for at in 0..count {
        // SAFETY: inside the `count` bytes of the caller.
        let value = unsafe { byte(from.wrapping_add(at)) }.load(Relaxed);
        // SAFETY: as above; to private memory.
        unsafe { to.wrapping_add(at).write(value) };
    }
}

/// # Safety
/// - As `super::load_word`.
#[inline(always)]
pub(super) unsafe fn load_word(at: *const u8) -> u64 {
    let mut bytes = [0; size_of::<u64>()];
    // SAFETY: the caller's duty, and there is room for eight.
    unsafe { copy_out(at, bytes.as_mut_ptr(), bytes.len()) };
    u64::from_le_bytes(bytes)
}

/// # Safety
/// - As `super::equal_bytes`.
#[inline(always)]
pub(super) unsafe fn equal_bytes(at: *const u8, wanted: u8) -> u32 {
    (0..16).fold(0, |found, index| {
        // SAFETY: one of the 16 bytes of the caller.
        let value = unsafe { byte(at.wrapping_add(index)) }.load(Relaxed);
        found | u32::from(value == wanted) << index
    })
}

/// # Safety
/// - As `super::equal_tops`.
#[inline(always)]
pub(super) unsafe fn equal_tops(line: *const u8, top: u32) -> u32 {
    (0..8).fold(0, |found, index| {
        // SAFETY: one of the eight words of the caller.
        let word = unsafe { load_word(line.wrapping_add(index * size_of::<u64>())) };
        found | u32::from(word >> (64 - super::TOP_BITS) == u64::from(top)) << index
    })
}

/// # Safety
/// - As `super::copy_in`.
#[inline(always)]
pub(super) unsafe fn copy_in(from: &[u8], to: *mut u8) {
    for (at, &value) in from.iter().enumerate() {
        // SAFETY: inside the bytes of the caller.
        unsafe { byte(to.wrapping_add(at)) }.store(value, Relaxed);
    }
}

/// # Safety
/// - 64 bytes from `from` on are mapped, and from `to` on.
#[inline(always)]
pub(super) unsafe fn copy_line(from: *const u8, to: *mut u8) {
    for index in 0..64 {
        // SAFETY: one of the bytes that the caller speaks of.
        let value = unsafe { byte(from.wrapping_add(index)) }.load(Relaxed);
        // SAFETY: as above.
        unsafe { byte(to.wrapping_add(index)) }.store(value, Relaxed);
    }
}

/// # Safety
/// - As `super::equals`.
#[inline(always)]
pub(super) unsafe fn equals(at: *const u8, bytes: &[u8]) -> bool {
    bytes.iter().enumerate().all(|(index, &wanted)| {
        // SAFETY: inside the bytes of the caller.
        unsafe { byte(at.wrapping_add(index)) }.load(Relaxed) == wanted
    })
}
