//! The time that passes, for who only needs to know whether much of it has.
//!
//! Promises: a look costs some nanoseconds, and no system call where the kernel shares its clock.
//!
//! Source: clock_gettime(2).

/// Returns milliseconds since some moment in the past, up to a tick of the kernel (1 to 10 ms) old;
/// 0 where there is no such clock.
#[must_use]
pub fn coarse_ms() -> u64 {
    read_ms(libc::CLOCK_MONOTONIC_COARSE)
}

/// Returns a number that changes with each tick of the kernel and means nothing else: the cheapest
/// way to see that time has passed. It stays 0 where there is no such clock.
#[must_use]
#[inline]
pub fn coarse_mark() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is ours to be written. Where the call fails, it stays as it is.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut now) };
    // Nanoseconds of a second take 30 bits.
    now.tv_sec.unsigned_abs() << 30 | now.tv_nsec.unsigned_abs()
}

/// Returns milliseconds since 1970, up to a tick of the kernel (1 to 10 ms) old; 0 where there is
/// no such clock. The exact time takes five times as long, and stops what a processor has under
/// way.
#[must_use]
pub fn coarse_unix_ms() -> u64 {
    read_ms(libc::CLOCK_REALTIME_COARSE)
}

fn read_ms(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is ours to be written.
    let result = unsafe { libc::clock_gettime(clock, &raw mut now) };
    if result != 0 {
        return 0;
    }
    now.tv_sec.unsigned_abs() * 1000 + now.tv_nsec.unsigned_abs() / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_does_not_go_back() {
        let before = coarse_ms();
        assert!(before > 0 && coarse_ms() >= before);
    }

    #[test]
    fn its_mark_changes() {
        let before = coarse_mark();
        while coarse_mark() == before {}
    }

    #[test]
    fn it_counts_from_1970() {
        // This was written in 2026, and no clock is a century ahead.
        assert!((1_700_000_000_000..5_000_000_000_000).contains(&coarse_unix_ms()));
    }
}
