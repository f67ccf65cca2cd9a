//! A few descriptors, told anew at each wait.
//!
//! Source: poll(2).

use core::marker::PhantomData;

use crate::descriptor::Descriptor;
use crate::{Errno, Failed};

/// A descriptor to wait for, and whether it is readable since the last wait.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct Polled<'a>(libc::pollfd, PhantomData<&'a Descriptor>);

impl<'a> Polled<'a> {
    /// Waits for something to read from `what`, or its end.
    #[must_use]
    pub const fn readable(what: &'a Descriptor) -> Self {
        let asked = libc::pollfd { fd: what.number(), events: libc::POLLIN, revents: 0 };
        Self(asked, PhantomData)
    }

    /// Whether the last [`poll`] found a read that would not wait (it may bring an error).
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        self.0.revents != 0
    }
}

/// Waits until one of `these` is ready, or `timeout_ms` is over (`None`: for ever); returns how
/// many are. A signal ends the wait early, with none.
///
/// # Errors
/// As poll(2), but never `EINTR`.
pub fn poll(these: &mut [Polled<'_>], timeout_ms: Option<u32>) -> Result<usize, Failed> {
    let (at, count) = (these.as_mut_ptr().cast(), these.len() as libc::nfds_t);
    // SAFETY: `Polled` is a transparent pollfd, so `at` is an exclusive array of `count` of them;
    // each descriptor is borrowed, so it is open.
    counted("poll", unsafe { libc::poll(at, count, milliseconds(timeout_ms)) })
}

/// The timeout as poll and epoll take it: -1 is for ever.
pub(super) fn milliseconds(timeout_ms: Option<u32>) -> i32 {
    timeout_ms.map_or(-1, |ms| i32::try_from(ms).unwrap_or(i32::MAX))
}

/// What a wait returned; one that a signal ended found nothing.
pub(super) fn counted(call: &'static str, returned: i32) -> Result<usize, Failed> {
    match usize::try_from(returned) {
        Ok(count) => Ok(count),
        Err(_) if Errno::last() == Errno(libc::EINTR) => Ok(0),
        Err(_) => Err(Failed::last(call)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ready::Waker;

    #[test]
    fn tells_which_of_a_few_is_ready() {
        let (one, two) = (Waker::new().unwrap(), Waker::new().unwrap());
        two.wake();
        let mut both = [Polled::readable(one.descriptor()), Polled::readable(two.descriptor())];
        assert_eq!(poll(&mut both, None), Ok(1));
        assert_eq!(both.map(|polled| polled.is_ready()), [false, true]);
        two.rest();
        assert_eq!(poll(&mut both, Some(0)), Ok(0));
        assert_eq!(both.map(|polled| polled.is_ready()), [false, false]);
    }
}
