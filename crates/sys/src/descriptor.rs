//! A file descriptor that closes itself, and how many of them a process may have.
//!
//! Promises: a [`Descriptor`] is open from its birth to its drop, and closed once. A call that a
//! signal interrupted before it did anything is made again. Knows nothing of what it stands for:
//! sockets are in `socket`, files in segments' modules.
//! Source: open(2), read(2), write(2), close(2), getrlimit(2).

use crate::{Errno, Failed};

/// An open file descriptor, closed when dropped.
///
/// # Invariants
/// - `open`: the number is open while this lives, and nobody else closes it.
#[derive(Debug, PartialEq, Eq)]
pub struct Descriptor(i32);

/// How many descriptors this process may have open: its own limit, and how far it may raise that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What holds now (the soft limit).
    pub now: u64,
    /// What an unprivileged process may raise it to (the hard limit).
    pub most: u64,
}

impl Descriptor {
    /// Takes charge of an open descriptor.
    ///
    /// # Safety
    /// - `number` is open.
    /// - Nobody else closes it from now on.
    #[must_use]
    pub const unsafe fn from_number(number: i32) -> Self {
        Self(number)
    }

    /// Takes charge of what `call` just returned; a negative number is its failure.
    ///
    /// # Safety
    /// - `returned` is the result of a call that makes a new descriptor or fails with -1 and
    ///   `errno`, made by this thread just now.
    pub(crate) unsafe fn from_call(call: &'static str, returned: i32) -> Result<Self, Failed> {
        if returned < 0 { Err(Failed::last(call)) } else { Ok(Self(returned)) }
    }

    /// Returns the number, for calls that are wrapped elsewhere. It is valid while `self` lives.
    #[must_use]
    pub const fn number(&self) -> i32 {
        self.0
    }

    /// Reads what there is, at most the length of `into`; returns how many bytes, 0 at the end.
    ///
    /// # Errors
    /// As read(2): among them `EAGAIN` when there is nothing now and it does not block.
    pub fn read(&self, into: &mut [u8]) -> Result<usize, Failed> {
        // SAFETY: `open`; the address and length are those of a live, exclusive slice.
        again("read", || unsafe { libc::read(self.0, into.as_mut_ptr().cast(), into.len()) })
    }

    /// Writes what fits now of `from`; returns how many bytes.
    ///
    /// # Errors
    /// As write(2).
    pub fn write(&self, from: &[u8]) -> Result<usize, Failed> {
        // SAFETY: `open`; the address and length are those of a live slice.
        again("write", || unsafe { libc::write(self.0, from.as_ptr().cast(), from.len()) })
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: `open`: it is ours, and this is the last use. Linux frees the number whatever
        // close returns, so a failure must not be tried again.
        unsafe { libc::close(self.0) };
    }
}

/// Returns how many descriptors this process may have.
///
/// # Errors
/// As getrlimit(2).
pub fn limit() -> Result<Limit, Failed> {
    let mut found = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `found` is a live, exclusive rlimit.
    match unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut found) } {
        0 => Ok(Limit { now: found.rlim_cur, most: found.rlim_max }),
        _ => Err(Failed::last("getrlimit")),
    }
}

/// Raises the limit to `wanted` descriptors, or as near as the system lets this process come;
/// returns what holds now.
///
/// # Errors
/// As getrlimit(2).
pub fn raise_limit(wanted: u64) -> Result<u64, Failed> {
    let found = limit()?;
    if found.now >= wanted {
        return Ok(found.now);
    }
    // Beyond the hard limit only a privileged process may go, so that is tried first.
    for (now, most) in [(wanted, found.most.max(wanted)), (found.most.min(wanted), found.most)] {
        let asked = libc::rlimit { rlim_cur: now, rlim_max: most };
        // SAFETY: `asked` is a live rlimit.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const asked) } == 0 {
            return Ok(now);
        }
    }
    Ok(found.now)
}

/// Makes a call that returns a count or -1, again as long as a signal interrupts it.
pub(crate) fn again(call: &'static str, mut make: impl FnMut() -> isize) -> Result<usize, Failed> {
    loop {
        if let Ok(count) = usize::try_from(make()) {
            return Ok(count);
        }
        let failed = Failed::last(call);
        if failed.errno != Errno(libc::EINTR) {
            return Err(failed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_descriptor_is_closed() {
        // SAFETY: eventfd has no preconditions.
        let number = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        // SAFETY: it is the result of that call.
        let made = unsafe { Descriptor::from_call("eventfd", number) }.unwrap();
        let number = made.number();
        let other = {
            drop(made);
            // SAFETY: F_GETFD takes no pointer; a closed number gives EBADF.
            unsafe { libc::fcntl(number, libc::F_GETFD) }
        };
        // Another test may have been given the number meanwhile; then it is open, but not ours.
        assert!(other == -1 || other == libc::FD_CLOEXEC);
    }

    #[test]
    fn the_limit_rises_no_further_than_allowed() {
        let before = limit().unwrap();
        let now = raise_limit(before.now).unwrap();
        assert_eq!(now, before.now);
    }
}
