//! Why a server cannot start, or go on.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::{fmt, io};

use morecore_store as store;
use morecore_sys as sys;

/// Why a server cannot start, or go on. Its text is one line that says what to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// Nowhere to listen: neither an address nor a Unix socket was given.
    Nowhere,
    /// The address cannot be listened on.
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The Unix socket cannot be listened on.
    UnixSocket {
        /// Its path.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// So few descriptors may be open that no client could be served.
    Descriptors {
        /// How many may be open.
        most: u64,
        /// How many the server itself needs.
        needed: u64,
    },
    /// The store does not let us in as often as there are threads.
    Store(store::Error),
    /// The system refused `call`.
    System {
        /// The name of the call.
        call: &'static str,
        /// Why.
        error: io::Error,
    },
}

/// The standard library's form of a failed call.
pub(crate) fn system(failed: sys::Failed) -> io::Error {
    io::Error::from_raw_os_error(failed.errno.0)
}

impl From<sys::Failed> for Error {
    fn from(failed: sys::Failed) -> Self {
        Self::System { call: failed.call, error: system(failed) }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere => f.write_str("nowhere to listen: give a port or a unix socket"),
            Self::Listen { address, error } => match error.kind() {
                io::ErrorKind::AddrInUse => write!(
                    f,
                    "port {} of {} is taken by another process: stop it, or choose another port \
                     (0 asks for a free one)",
                    address.port(),
                    address.ip()
                ),
                io::ErrorKind::AddrNotAvailable => {
                    write!(f, "{} is not an address of this machine", address.ip())
                }
                io::ErrorKind::PermissionDenied => write!(
                    f,
                    "port {} needs a privileged user: choose one above 1023",
                    address.port()
                ),
                _ => write!(f, "cannot listen on {address}: {error}"),
            },
            Self::UnixSocket { path, error } => {
                write!(f, "cannot listen on {}: {error}", path.display())
            }
            Self::Descriptors { most, needed } => write!(
                f,
                "only {most} descriptors may be open, and the server needs {needed} for itself: \
                 raise the limit (ulimit -n)"
            ),
            Self::Store(error) => error.fmt(f),
            Self::System { call, error } => write!(f, "{call}: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listen { error, .. }
            | Self::UnixSocket { error, .. }
            | Self::System { error, .. } => Some(error),
            Self::Store(error) => Some(error),
            Self::Nowhere | Self::Descriptors { .. } => None,
        }
    }
}
