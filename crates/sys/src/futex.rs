//! Sleep and wake on a word, also between processes.
//!
//! Promises: the word may lie in memory that several processes share, at another address in each.
//! A wait may end for no reason at all; the caller looks at the word again.
//!
//! Source: futex(2).

use core::sync::atomic::AtomicU32;
use core::time::Duration;

/// Sleeps while `word` is `expected`, for `most` at the longest.
///
/// It returns when woken, when the time is over, when the word has another value, or when a signal
/// came: which of these is told by the word alone, so none is reported.
pub fn wait(word: &AtomicU32, expected: u32, most: Duration) {
    let timeout = libc::timespec {
        tv_sec: libc::time_t::try_from(most.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: most.subsec_nanos().into(),
    };
    let operation = libc::FUTEX_WAIT;
    // SAFETY: the word and the timeout live through the call, and the kernel only reads them.
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), operation, expected, &raw const timeout)
    };
}

/// Wakes at most `count` of those who sleep on `word`.
pub fn wake(word: &AtomicU32, count: i32) {
    // SAFETY: the word is only an address to the kernel here, and it lives through the call.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, count) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::Ordering::{Acquire, Release};

    extern crate std;

    #[test]
    fn a_wait_on_another_value_returns_at_once() {
        wait(&AtomicU32::new(1), 0, Duration::from_secs(60));
    }

    #[test]
    fn a_sleeper_is_woken() {
        let word = AtomicU32::new(0);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                while word.load(Acquire) == 0 {
                    wait(&word, 0, Duration::from_secs(60));
                }
            });
            word.store(1, Release);
            wake(&word, i32::MAX);
        });
    }
}
