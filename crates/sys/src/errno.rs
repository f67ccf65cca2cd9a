//! Why the system said no: the call, and the number that it left in `errno`.
//!
//! Source: errno(3).

use core::fmt;

/// The number that the kernel gives for a failure, as errno(3) lists them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

/// A system call that failed: which one, and why.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    /// The name of the call, as its manual page has it.
    pub call: &'static str,
    /// Why.
    pub errno: Errno,
}

impl Errno {
    /// Returns what the last failed call of this thread left in `errno`.
    #[must_use]
    pub fn last() -> Self {
        // SAFETY: `__errno_location` has no preconditions and never returns null.
        let at = unsafe { libc::__errno_location() };
        // SAFETY: it points to this thread's own errno, which nobody else writes.
        Self(unsafe { *at })
    }

    /// Puts a number into this thread's `errno`, as the C functions that fail must.
    pub fn set(self) {
        // SAFETY: `__errno_location` has no preconditions and never returns null.
        let at = unsafe { libc::__errno_location() };
        // SAFETY: it points to this thread's own errno, which nobody else reads.
        unsafe { *at = self.0 };
    }
}

impl Failed {
    /// The failure of `call`, with the reason that it just left in `errno`.
    #[must_use]
    pub fn last(call: &'static str) -> Self {
        Self { call, errno: Errno::last() }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "errno {}", self.0)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; 128];
        // SAFETY: `text` is writable for its whole length, which is what we pass.
        let failed = unsafe { libc::strerror_r(self.0, text.as_mut_ptr().cast(), text.len()) };
        let words = core::ffi::CStr::from_bytes_until_nul(&text).ok().and_then(|t| t.to_str().ok());
        match words {
            Some(words) if failed == 0 => f.write_str(words),
            _ => write!(f, "errno {}", self.0),
        }
    }
}

impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, self.errno)
    }
}

impl core::error::Error for Errno {}
impl core::error::Error for Failed {}
