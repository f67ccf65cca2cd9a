//! Bytes that another process may write meanwhile: read and written at any alignment, and fast.
//!
//! Promises: nothing is assumed of what is read; a byte that is written meanwhile is the old one
//! or the new one.
//!
//! Why it is sound: to the language, each function here is a loop of relaxed atomic loads (or
//! stores) of single bytes, and that is what it is on processors for which nothing else is written
//! here. On x86-64 the same is done by instructions of 8 and 16 bytes, inside of `asm!`, so that
//! the compiler sees no access that could race, and must take what comes out as it is.

use crate::atomic::{AtomicU8, AtomicU64};

#[cfg(not(target_arch = "x86_64"))]
use self::plain as imp;
#[cfg(target_arch = "x86_64")]
use self::x86_64 as imp;

/// How many of a word's highest bits are compared by [`equal_tops`].
pub(crate) const TOP_BITS: u32 = 21;

/// Copies `count` bytes from shared memory to private memory.
///
/// # Safety
/// - `count` bytes from `from` on are mapped and readable; from `to` on they are writable, and
///   nobody else uses those.
#[inline(always)]
pub(crate) unsafe fn copy_out(from: *const u8, to: *mut u8, count: usize) {
    // SAFETY: the caller's duty.
    unsafe { imp::copy_out(from, to, count) }
}

/// Appends bytes of shared memory, which do not count yet: the length stays.
#[inline(always)]
pub(crate) fn copy_behind(from: &[AtomicU8], out: &mut Vec<u8>) {
    if out.capacity() - out.len() < from.len() {
        out.reserve(from.len());
    }
    let to = out.spare_capacity_mut().as_mut_ptr().cast::<u8>();
    // SAFETY: the slice is mapped while it is borrowed, and there is room for as many bytes.
    unsafe { copy_out(from.as_ptr().cast(), to, from.len()) };
}

/// The word at any alignment.
///
/// # Safety
/// - 8 bytes from `at` on are mapped and readable.
#[inline(always)]
pub(crate) unsafe fn load_word(at: *const u8) -> u64 {
    // SAFETY: the caller's duty.
    unsafe { imp::load_word(at) }
}

/// Which of 16 bytes are this one, a bit each.
///
/// # Safety
/// - 16 bytes from `at` on are mapped and readable.
#[inline(always)]
pub(crate) unsafe fn equal_bytes(at: *const u8, byte: u8) -> u32 {
    // SAFETY: the caller's duty.
    unsafe { imp::equal_bytes(at, byte) }
}

/// Which of a line's eight words have these [`TOP_BITS`] on top, a bit each.
///
/// # Safety
/// - 64 bytes from `line` on are mapped and readable.
#[inline(always)]
pub(crate) unsafe fn equal_tops(line: *const u8, top: u32) -> u32 {
    // SAFETY: the caller's duty.
    unsafe { imp::equal_tops(line, top) }
}

/// Copies bytes to shared memory.
///
/// # Safety
/// - As many bytes from `to` on are mapped and writable.
#[inline(always)]
pub(crate) unsafe fn copy_in(from: &[u8], to: *mut u8) {
    // SAFETY: the caller's duty.
    unsafe { imp::copy_in(from, to) }
}

/// Copies a line of the cache within shared memory.
#[inline(always)]
pub(crate) fn copy_line(from: &[AtomicU64; 8], to: &[AtomicU64; 8]) {
    // SAFETY: both are mapped while they are borrowed, and whoever may store into atomics may
    // write them.
    unsafe { imp::copy_line(from.as_ptr().cast(), to.as_ptr().cast_mut().cast()) }
}

/// Asks the processor to fetch the line at `at`; where nothing is mapped nothing happens.
#[inline(always)]
pub(crate) fn fetch(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: to prefetch reads nothing that a program could see, and never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// The same for a line some lines behind this one.
#[inline(always)]
pub(crate) fn fetch_behind(line: &[AtomicU64; 8], lines: usize) {
    fetch(std::ptr::from_ref(line).wrapping_add(lines).cast());
}

/// Whether shared memory holds these bytes.
///
/// # Safety
/// - As many bytes from `at` on are mapped and readable.
#[inline(always)]
pub(crate) unsafe fn equals(at: *const u8, bytes: &[u8]) -> bool {
    // SAFETY: the caller's duty.
    unsafe { imp::equals(at, bytes) }
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::asm;
    use std::arch::x86_64::{
        __m128i, _mm_castps_si128, _mm_castsi128_ps, _mm_cmpeq_epi8, _mm_cmpeq_epi32,
        _mm_movemask_epi8, _mm_packs_epi16, _mm_packs_epi32, _mm_set1_epi8, _mm_set1_epi32,
        _mm_setzero_si128, _mm_shuffle_ps, _mm_srli_epi32, _mm_storeu_si128,
    };

    use super::plain;

    /// The bytes of the widest registers that every such processor has.
    const WIDE: usize = size_of::<__m128i>();
    const WORD: usize = size_of::<u64>();

    /// The bits that `equal_tops` compares of a word.
    const TOP_BITS: i32 = super::TOP_BITS as i32;

    /// From so many bytes on they are copied by the registers of 32 bytes.
    const BY_128_FROM: usize = 128;

    /// From so many on, more than a core's own caches hold, past the caches: what is overwritten is
    /// not fetched. 100 MB take 8.4 ms instead of 10.2; `rep movsb` takes 29 where the two ends are
    /// not aligned alike.
    const STREAM_FROM: usize = 2 << 20;

    /// # Safety
    /// - 16 bytes from `from` on are mapped and readable.
    #[inline(always)]
    unsafe fn load_wide(from: *const u8) -> __m128i {
        let value;
        // SAFETY: it reads the 16 bytes that the caller speaks of, at any alignment.
        unsafe {
            asm!("movdqu {value}, xmmword ptr [{from}]", from = in(reg) from,
                value = out(xmm_reg) value, options(nostack, preserves_flags, readonly));
        }
        value
    }

    /// # Safety
    /// - 8 bytes from `from` on are mapped and readable.
    #[inline(always)]
    pub(super) unsafe fn load_word(from: *const u8) -> u64 {
        let value;
        // SAFETY: it reads the 8 bytes that the caller speaks of, at any alignment.
        unsafe {
            asm!("mov {value}, qword ptr [{from}]", from = in(reg) from,
                value = out(reg) value, options(nostack, preserves_flags, readonly));
        }
        value
    }

    /// # Safety
    /// - As `super::equal_bytes`.
    #[inline(always)]
    pub(super) unsafe fn equal_bytes(at: *const u8, byte: u8) -> u32 {
        // SAFETY: the caller's duty.
        let bytes = unsafe { load_wide(at) };
        // SAFETY: as the next two, part of what every such processor has, and of no memory.
        let wanted = unsafe { _mm_set1_epi8(byte as i8) };
        // SAFETY: as above.
        let equal = unsafe { _mm_cmpeq_epi8(bytes, wanted) };
        // SAFETY: as above.
        unsafe { _mm_movemask_epi8(equal) as u32 }
    }

    /// # Safety
    /// - As `super::equal_tops`.
    #[inline(always)]
    pub(super) unsafe fn equal_tops(line: *const u8, top: u32) -> u32 {
        let load = |at: usize| {
            // SAFETY: two of the eight words.
            unsafe { load_wide(line.wrapping_add(at)) }
        };
        let words = [load(0), load(WIDE), load(2 * WIDE), load(3 * WIDE)];
        // SAFETY: every such processor has what this needs.
        unsafe { tops_in(words, top) }
    }

    /// Which of eight words have these bits on top, a bit each.
    #[inline]
    #[target_feature(enable = "sse2")]
    fn tops_in([a, b, c, d]: [__m128i; 4], top: u32) -> u32 {
        let equal = |low: __m128i, high: __m128i| {
            // The upper halves of four words.
            let (low, high) = (_mm_castsi128_ps(low), _mm_castsi128_ps(high));
            let halves = _mm_castps_si128(_mm_shuffle_ps::<0b11_01_11_01>(low, high));
            _mm_cmpeq_epi32(_mm_srli_epi32::<{ 32 - TOP_BITS }>(halves), _mm_set1_epi32(top as i32))
        };
        let words = _mm_packs_epi32(equal(a, b), equal(c, d));
        _mm_movemask_epi8(_mm_packs_epi16(words, _mm_setzero_si128())) as u32
    }

    /// # Safety
    /// - 16 bytes from `to` on are mapped and writable.
    #[inline(always)]
    unsafe fn store_wide(to: *mut u8, value: __m128i) {
        // SAFETY: it writes the 16 bytes that the caller speaks of, at any alignment.
        unsafe {
            asm!("movdqu xmmword ptr [{to}], {value}", to = in(reg) to,
                value = in(xmm_reg) value, options(nostack, preserves_flags));
        }
    }

    /// # Safety
    /// - As `super::copy_out`.
    #[inline(always)]
    pub(super) unsafe fn copy_out(from: *const u8, to: *mut u8, count: usize) {
        let step = |at: usize| {
            // SAFETY: each step is inside the `count` bytes of the caller.
            let value = unsafe { load_wide(from.wrapping_add(at)) };
            // SAFETY: as above; to private memory.
            unsafe { _mm_storeu_si128(to.wrapping_add(at).cast(), value) };
        };
        if count < WIDE {
            // SAFETY: the caller's duty.
            return unsafe { copy_out_short(from, to, count) };
        }
        if count <= 3 * WIDE {
            // What a bucket holds, without a branch: first, second and last 16, some of them twice.
            let last = count - WIDE;
            step(0);
            step(last.min(WIDE));
            return step(last);
        }
        // SAFETY: the caller's duty.
        unsafe { copy_long(from, to, count) }
    }

    /// Copies 16 bytes or more; at either end others may write meanwhile.
    ///
    /// # Safety
    /// - `count` bytes from `from` on are mapped and readable, from `to` on writable.
    #[inline(always)]
    unsafe fn copy_long(from: *const u8, to: *mut u8, count: usize) {
        if count >= BY_128_FROM && is_x86_feature_detected!("avx") {
            // SAFETY: the caller's duty; and the processor has these instructions.
            return unsafe { copy_by_128(from, to, count) };
        }
        let step = |at: usize| {
            // SAFETY: each step is inside the `count` bytes of the caller.
            let value = unsafe { load_wide(from.wrapping_add(at)) };
            // SAFETY: as above.
            unsafe { store_wide(to.wrapping_add(at), value) };
        };
        let mut at = 0;
        while at + 4 * WIDE <= count {
            step(at);
            step(at + WIDE);
            step(at + 2 * WIDE);
            step(at + 3 * WIDE);
            at += 4 * WIDE;
        }
        while at + WIDE <= count {
            step(at);
            at += WIDE;
        }
        if at < count {
            // The last 16, some of them for the second time.
            step(count - WIDE);
        }
    }

    /// Copies 128 bytes or more. A processor that waits for memory has only so many instructions
    /// under way: the fewer there are for each line, the more lines are, and what comes next too.
    ///
    /// # Safety
    /// - As `copy_long`; and the processor has AVX.
    #[inline(never)]
    unsafe fn copy_by_128(from: *const u8, to: *mut u8, count: usize) {
        if count >= STREAM_FROM {
            // SAFETY: the caller's duty; and it is more than 160 bytes.
            return unsafe { stream_by_128(from, to, count) };
        }
        // SAFETY: each 128 bytes are inside of what the caller speaks of: those of the loop by its
        // count, and the last ones, some of them for the second time, because there are so many.
        unsafe {
            asm!(
                "sub rcx, 128",
                "2:",
                "vmovdqu ymm0, ymmword ptr [rsi]",
                "vmovdqu ymm1, ymmword ptr [rsi + 32]",
                "vmovdqu ymm2, ymmword ptr [rsi + 64]",
                "vmovdqu ymm3, ymmword ptr [rsi + 96]",
                "vmovdqu ymmword ptr [rdi], ymm0",
                "vmovdqu ymmword ptr [rdi + 32], ymm1",
                "vmovdqu ymmword ptr [rdi + 64], ymm2",
                "vmovdqu ymmword ptr [rdi + 96], ymm3",
                "add rsi, 128",
                "add rdi, 128",
                "sub rcx, 128",
                "jae 2b",
                // What is left is 128 more than that: up to 127 bytes.
                "vmovdqu ymm0, ymmword ptr [rsi + rcx]",
                "vmovdqu ymm1, ymmword ptr [rsi + rcx + 32]",
                "vmovdqu ymm2, ymmword ptr [rsi + rcx + 64]",
                "vmovdqu ymm3, ymmword ptr [rsi + rcx + 96]",
                "vmovdqu ymmword ptr [rdi + rcx], ymm0",
                "vmovdqu ymmword ptr [rdi + rcx + 32], ymm1",
                "vmovdqu ymmword ptr [rdi + rcx + 64], ymm2",
                "vmovdqu ymmword ptr [rdi + rcx + 96], ymm3",
                "vzeroupper",
                inout("rsi") from => _, inout("rdi") to => _, inout("rcx") count => _,
                clobber_abi("sysv64"), options(nostack),
            );
        }
    }

    /// The same for 160 bytes or more, past the caches.
    ///
    /// # Safety
    /// - As `copy_by_128`.
    #[inline(never)]
    unsafe fn stream_by_128(from: *const u8, to: *mut u8, count: usize) {
        // SAFETY: as in `copy_by_128`; the first 32 bytes, of which those before a multiple of 32
        // are not copied again, are inside too. The fence has all of it written before whatever
        // tells others that it is.
        unsafe {
            asm!(
                "vmovdqu ymm0, ymmword ptr [rsi]",
                "vmovdqu ymmword ptr [rdi], ymm0",
                "mov rax, rdi",
                "neg rax",
                "and rax, 31",
                "add rsi, rax",
                "add rdi, rax",
                "sub rcx, rax",
                "sub rcx, 128",
                "2:",
                "vmovdqu ymm0, ymmword ptr [rsi]",
                "vmovdqu ymm1, ymmword ptr [rsi + 32]",
                "vmovdqu ymm2, ymmword ptr [rsi + 64]",
                "vmovdqu ymm3, ymmword ptr [rsi + 96]",
                "vmovntdq ymmword ptr [rdi], ymm0",
                "vmovntdq ymmword ptr [rdi + 32], ymm1",
                "vmovntdq ymmword ptr [rdi + 64], ymm2",
                "vmovntdq ymmword ptr [rdi + 96], ymm3",
                "add rsi, 128",
                "add rdi, 128",
                "sub rcx, 128",
                "jae 2b",
                "vmovdqu ymm0, ymmword ptr [rsi + rcx]",
                "vmovdqu ymm1, ymmword ptr [rsi + rcx + 32]",
                "vmovdqu ymm2, ymmword ptr [rsi + rcx + 64]",
                "vmovdqu ymm3, ymmword ptr [rsi + rcx + 96]",
                "vmovdqu ymmword ptr [rdi + rcx], ymm0",
                "vmovdqu ymmword ptr [rdi + rcx + 32], ymm1",
                "vmovdqu ymmword ptr [rdi + rcx + 64], ymm2",
                "vmovdqu ymmword ptr [rdi + rcx + 96], ymm3",
                "sfence",
                "vzeroupper",
                inout("rsi") from => _, inout("rdi") to => _, inout("rcx") count => _,
                clobber_abi("sysv64"), options(nostack),
            );
        }
    }

    /// # Safety
    /// - As `super::copy_out`, for less than 16 bytes.
    #[inline(always)]
    unsafe fn copy_out_short(from: *const u8, to: *mut u8, count: usize) {
        if count < WORD {
            // SAFETY: the caller's duty.
            return unsafe { plain::copy_out(from, to, count) };
        }
        for at in [0, count - WORD] {
            // SAFETY: inside the `count` bytes of the caller.
            let value = unsafe { load_word(from.wrapping_add(at)) };
            // SAFETY: as above; to private memory.
            unsafe { to.wrapping_add(at).cast::<u64>().write_unaligned(value) };
        }
    }

    /// # Safety
    /// - As `super::copy_in`.
    #[inline(always)]
    pub(super) unsafe fn copy_in(from: &[u8], to: *mut u8) {
        let count = from.len();
        if count < WIDE {
            // SAFETY: the caller's duty.
            return unsafe { plain::copy_in(from, to) };
        }
        // SAFETY: the caller's duty; the slice is as many bytes.
        unsafe { copy_long(from.as_ptr(), to, count) }
    }

    /// # Safety
    /// - 64 bytes from `from` on are mapped and readable, from `to` on writable.
    #[inline(always)]
    pub(super) unsafe fn copy_line(from: *const u8, to: *mut u8) {
        for at in [0, WIDE, 2 * WIDE, 3 * WIDE] {
            // SAFETY: inside of the 64 bytes.
            let value = unsafe { load_wide(from.wrapping_add(at)) };
            // SAFETY: as above.
            unsafe { store_wide(to.wrapping_add(at), value) };
        }
    }

    /// # Safety
    /// - As `super::equals`.
    #[inline(always)]
    pub(super) unsafe fn equals(at: *const u8, bytes: &[u8]) -> bool {
        let Some((_, last)) = bytes.split_last_chunk::<WORD>() else {
            // SAFETY: the caller's duty.
            return unsafe { plain::equals(at, bytes) };
        };
        for (index, chunk) in bytes.as_chunks::<WORD>().0.iter().enumerate() {
            // SAFETY: inside the bytes of the caller.
            let word = unsafe { load_word(at.wrapping_add(index * WORD)) };
            if word != u64::from_le_bytes(*chunk) {
                return false;
            }
        }
        // SAFETY: the last 8 bytes, some of them for the second time.
        let word = unsafe { load_word(at.wrapping_add(bytes.len() - WORD)) };
        word == u64::from_le_bytes(*last)
    }
}

#[cfg_attr(target_arch = "x86_64", allow(dead_code, reason = "short ones, and the tests"))]
mod plain;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_sixteen_bytes_is_told_from_the_others() {
        for index in 0..16usize {
            let mut bytes = [0x80u8; 33];
            bytes[index + 7] = 0x7f;
            let at = bytes.as_ptr().wrapping_add(7);
            for found in [
                // SAFETY: 16 bytes behind the seventh are inside.
                unsafe { equal_bytes(at, 0x7f) },
                // SAFETY: as above.
                unsafe { plain::equal_bytes(at, 0x7f) },
            ] {
                assert_eq!(found, 1 << index);
            }
        }
    }

    #[test]
    fn each_of_eight_words_is_told_by_its_highest_bits() {
        let top = 0x1f_ff55u32;
        for index in 0..8usize {
            let mut words = [u64::from(top ^ 1) << 43 | 7; 8];
            words[index] = u64::from(top) << 43 | u64::MAX >> 21;
            let line = words.as_ptr().cast();
            // SAFETY: eight words are as many bytes.
            assert_eq!(unsafe { equal_tops(line, top) }, 1 << index);
            // SAFETY: as above.
            assert_eq!(unsafe { plain::equal_tops(line, top) }, 1 << index);
        }
    }

    #[test]
    fn every_length_at_every_alignment_is_copied_whole_and_no_more() {
        let source: Vec<u8> = (0..420).map(|index: u32| index as u8).collect();
        for (count, skip) in (0..400).flat_map(|count| (0..17).map(move |skip| (count, skip))) {
            let bytes = &source[skip..skip + count];
            let (mut shared, mut out) = ([0xee; 420], [0xdd; 420]);
            // SAFETY: `count + skip` is below 420.
            unsafe { copy_in(bytes, shared.as_mut_ptr().wrapping_add(skip)) };
            assert_eq!((&shared[skip..skip + count], shared[skip + count]), (bytes, 0xee));
            // SAFETY: as above.
            unsafe { copy_out(shared.as_ptr().wrapping_add(skip), out.as_mut_ptr(), count) };
            assert_eq!((&out[..count], out[count]), (bytes, 0xdd));
            let at = shared.as_ptr().wrapping_add(skip);
            // SAFETY: as above.
            assert!(unsafe { equals(at, bytes) });
            for wrong in 0..count {
                let mut other = bytes.to_vec();
                other[wrong] ^= 1;
                // SAFETY: as above.
                assert!(!unsafe { equals(at, &other) }, "byte {wrong} of {count}");
            }
        }
    }

    #[test]
    fn what_no_cache_holds_is_copied_whole_and_no_more() {
        let bytes: Vec<u8> = (0..(3u32 << 20) + 5).map(|index| (index / 7) as u8).collect();
        let mut shared = vec![0xee; bytes.len() + 1];
        let mut out = shared.clone();
        for skip in [0, 1, 8, 31] {
            let (bytes, count) = (&bytes[skip..], bytes.len() - skip);
            shared.fill(0xee);
            out.fill(0xdd);
            // SAFETY: there is room for as many bytes behind the first ones.
            unsafe { copy_in(bytes, shared.as_mut_ptr().wrapping_add(skip)) };
            assert!(shared[skip..skip + count] == *bytes && shared[skip + count] == 0xee);
            assert!(shared[..skip].iter().all(|&byte| byte == 0xee));
            // SAFETY: as above.
            unsafe { copy_out(shared.as_ptr().wrapping_add(skip), out.as_mut_ptr(), count) };
            assert!(out[..count] == *bytes && out[count] == 0xdd);
        }
    }
}
