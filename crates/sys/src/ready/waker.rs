//! A descriptor that another thread makes readable, to end a wait.
//!
//! Source: eventfd(2).

use crate::Failed;
use crate::descriptor::Descriptor;

/// Readable from [`Waker::wake`] until [`Waker::rest`].
#[derive(Debug)]
pub struct Waker(Descriptor);

impl Waker {
    /// Makes one that is at rest.
    ///
    /// # Errors
    /// As eventfd(2): `EMFILE`.
    pub fn new() -> Result<Self, Failed> {
        // SAFETY: no pointers are passed.
        let made = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        // SAFETY: `made` is what eventfd returned in the line above.
        Ok(Self(unsafe { Descriptor::from_call("eventfd", made) }?))
    }

    /// Makes it readable. It fails only (`EAGAIN`) where 2^64 - 2 wakes are unread: then it is.
    pub fn wake(&self) {
        let _already_awake = self.0.write(&1_u64.to_ne_bytes());
    }

    /// Makes it unreadable again. It fails only (`EAGAIN`) where it is so already.
    pub fn rest(&self) {
        let _already_at_rest = self.0.read(&mut [0; 8]);
    }

    /// Returns the descriptor to wait for.
    #[must_use]
    pub const fn descriptor(&self) -> &Descriptor {
        &self.0
    }
}
