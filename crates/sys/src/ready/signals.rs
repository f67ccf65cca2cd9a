//! Signals as something to read, instead of a handler that may run between any two instructions.
//!
//! Promises: while a [`Signals`] lives, the thread that made it, and each that it starts, is not
//! interrupted by these signals; they wait in the kernel until they are read. Threads that were
//! there before are not covered, so it must be made before they are.
//! Source: signalfd(2), pthread_sigmask(3).

use core::mem::size_of;

use crate::descriptor::Descriptor;
use crate::{Errno, Failed};

/// Signals that ask a server to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// `SIGINT`: a key on the terminal.
    Interrupt,
    /// `SIGTERM`: `kill`, or the system's manager of services.
    Terminate,
}

/// Readable when one of its signals waits.
#[derive(Debug)]
pub struct Signals(Descriptor);

impl Signals {
    /// Takes `signals` of this thread and those that it will start.
    ///
    /// # Errors
    /// As signalfd(2): `EMFILE`.
    pub fn take(signals: &[Signal]) -> Result<Self, Failed> {
        let set = set(signals);
        // SAFETY: `set` is a live signal set; the old one is not asked for.
        let errno = unsafe {
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, core::ptr::null_mut())
        };
        if errno != 0 {
            return Err(Failed { call: "pthread_sigmask", errno: Errno(errno) });
        }
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: `set` is a live signal set; -1 asks for a new descriptor.
        let made = unsafe { libc::signalfd(-1, &raw const set, flags) };
        // SAFETY: `made` is what signalfd returned in the line above.
        Ok(Self(unsafe { Descriptor::from_call("signalfd", made) }?))
    }

    /// Returns the next signal that waits, if one does.
    #[must_use]
    pub fn next(&self) -> Option<Signal> {
        let mut told = [0; size_of::<libc::signalfd_siginfo>()];
        let count = self.0.read(&mut told).ok()?;
        // The first field is the number of the signal.
        let number = told[..count].first_chunk().map(|bytes| i32::from_ne_bytes(*bytes))?;
        [Signal::Interrupt, Signal::Terminate].into_iter().find(|s| s.number() == number)
    }

    /// Returns the descriptor to wait for.
    #[must_use]
    pub const fn descriptor(&self) -> &Descriptor {
        &self.0
    }
}

impl Signal {
    const fn number(self) -> i32 {
        match self {
            Self::Interrupt => libc::SIGINT,
            Self::Terminate => libc::SIGTERM,
        }
    }
}

/// The kernel's form of a set of signals.
fn set(signals: &[Signal]) -> libc::sigset_t {
    // SAFETY: all zeroes is a sigset_t (the empty one, on Linux).
    let mut set: libc::sigset_t = unsafe { core::mem::zeroed() };
    for signal in signals {
        // SAFETY: `set` is a live, exclusive set, and the number is one of a signal.
        unsafe { libc::sigaddset(&raw mut set, signal.number()) };
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ready::{Polled, poll};

    #[test]
    fn a_signal_waits_until_it_is_read() {
        let signals = Signals::take(&[Signal::Terminate]).unwrap();
        assert_eq!(signals.next(), None);
        // SAFETY: the signal is blocked in this thread, so it only waits.
        unsafe { libc::raise(libc::SIGTERM) };
        assert_eq!(poll(&mut [Polled::readable(signals.descriptor())], None), Ok(1));
        assert_eq!(signals.next(), Some(Signal::Terminate));
        assert_eq!(signals.next(), None);
    }
}
