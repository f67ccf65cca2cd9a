//! Stores that are handed over: whoever gets a descriptor of one is attached to the same memory.
//!
//! ```text
//!   who has the store                          who wants it (perhaps in a container)
//!   a file, or memory without a name           connects to the socket
//!        |-- hand_over: descriptor ----------------->| attaches to what it got
//! ```
//!
//! No namespace of System V segments and no path need be shared, only the socket. What is handed
//! over to look only was opened to be read, so nothing can be written through it.
//!
//! Promises: memory that is made here cannot be shrunk by anyone: no page of a mapping goes away.
//! Source: unix(7), SCM_RIGHTS.

use std::io::ErrorKind;
use std::os::fd::{BorrowedFd, IntoRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use morecore_sys::descriptor::Descriptor;
use morecore_sys::file::{self as memory, Access};

use crate::mapping::Mapping;
use crate::{Create, Error, Observer, Store, file};

/// How long whoever shares a store may take to hand it over: it is one message.
const HANDOVER_MOST: Duration = Duration::from_secs(10);

impl Store {
    /// Makes a store in memory that has a descriptor and no name: whoever is given the descriptor
    /// attaches with [`Store::from_fd`]. It ends with the last who has it.
    ///
    /// ```
    /// # use morecore_store::{Create, Set, Store};
    /// let how = Create { memory_bytes: 8 << 20, ..Create::default() };
    /// let mut one = Store::memfd(&how)?;
    /// let descriptor = one.as_fd().expect("this kind has one").try_clone_to_owned().unwrap();
    /// one.set(b"k", b"v", &Set::default())?;
    /// let mut two = Store::from_fd(descriptor)?;
    /// assert_eq!(two.peek(b"k")?.unwrap().bytes, 1);
    /// # Ok::<(), morecore_store::Error>(())
    /// ```
    ///
    /// # Errors
    /// What the system says.
    pub fn memfd(how: &Create) -> Result<Self, Error> {
        Self::join(file::create_memory(how)?, Vec::new())
    }

    /// Attaches to the store behind a descriptor: a file's, or one of [`Store::memfd`].
    ///
    /// # Errors
    /// [`Error::ReadOnly`] if it was opened to be read; as [`Store::attach`].
    pub fn from_fd(descriptor: OwnedFd) -> Result<Self, Error> {
        Self::join(file::adopt(owned(descriptor), Access::Write)?, Vec::new())
    }

    /// Attaches to the store behind a descriptor to look only.
    ///
    /// # Errors
    /// As [`Store::attach`].
    pub fn observe_fd(descriptor: OwnedFd) -> Result<Observer, Error> {
        Observer::new(file::adopt(owned(descriptor), Access::Read)?)
    }

    /// The descriptor by which others attach to this store; `None` if it is a System V segment, or
    /// shared with children of fork only.
    #[must_use]
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        let descriptor = self.session.mapping.descriptor()?;
        // SAFETY: it is open while the mapping lives, which `self` keeps.
        Some(unsafe { BorrowedFd::borrow_raw(descriptor.number()) })
    }

    /// Hands this store over to whoever is at the other end of a socket; to look only, if that
    /// is all that it shall.
    ///
    /// # Errors
    /// [`Error::NoDescriptor`] if [`Store::as_fd`] has none; what the system says.
    pub fn hand_over(&self, to: &UnixStream, is_read_only: bool) -> Result<(), Error> {
        let descriptor = self.session.mapping.descriptor().ok_or(Error::NoDescriptor)?;
        let failed = |error| Error::System { call: "fcntl", error };
        let socket = owned(to.try_clone().map_err(failed)?.into());
        if !is_read_only {
            return Ok(memory::hand_over(&socket, descriptor)?);
        }
        let to_look = memory::open_again(descriptor, Access::Read)?;
        Ok(memory::hand_over(&socket, &to_look)?)
    }
}

/// Maps the store that whoever listens at `path` hands over.
pub(crate) fn attach(path: &Path, access: Access) -> Result<Arc<Mapping>, Error> {
    let failed = |call| move |error| Error::System { call, error };
    let stream = UnixStream::connect(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            Error::NotShared { path: path.display().to_string() }
        }
        _ => Error::System { call: "connect", error },
    })?;
    stream.set_read_timeout(Some(HANDOVER_MOST)).map_err(failed("setsockopt"))?;
    let taken = memory::take_over(&owned(stream.into()))?;
    file::adopt(taken.ok_or(Error::NothingHandedOver)?, access)
}

fn owned(descriptor: OwnedFd) -> Descriptor {
    // SAFETY: it is open, and given away.
    unsafe { Descriptor::from_number(descriptor.into_raw_fd()) }
}
