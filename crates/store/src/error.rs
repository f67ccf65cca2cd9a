//! Why the store said no.

use std::{fmt, io};

use crate::layout::BYTES_MOST;

/// Why the store said no. Each case is something a caller can act on; a broken invariant is not
/// one of them: that aborts.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// No store has this name.
    NoSuchStore {
        /// The name that was asked for.
        name: String,
    },
    /// A store of this name exists already.
    Exists {
        /// The name that was asked for.
        name: String,
    },
    /// A store behind a socket belongs to whoever shares it: it is made and removed there.
    NotHere {
        /// The name that was asked for.
        name: String,
    },
    /// What was given cannot be the name of a store.
    BadName {
        /// What was given.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Nobody shares a store at this socket.
    NotShared {
        /// Where the socket should be.
        path: String,
    },
    /// The store has no descriptor that could be handed over: it is a System V segment.
    NoDescriptor,
    /// Whoever listens at the socket handed no store over.
    NothingHandedOver,
    /// The file was in use when the machine stopped, or was copied while it was: what is in it may
    /// be torn.
    Unclean,
    /// Somebody who makes the store, comes to one in a file or leaves it does not get on with it.
    Busy {
        /// How long we waited.
        ms: u64,
    },
    /// The store is being made by a live process that does not get on with it.
    NotReady {
        /// The name that was asked for.
        name: String,
        /// Its maker.
        by_pid: u32,
    },
    /// The memory asked for is less than the smallest store needs, or more than the largest has.
    TooSmall {
        /// What was asked for.
        bytes: u64,
        /// The smallest that works.
        least: u64,
    },
    /// The segment has another layout than this program; nothing in it was touched.
    Layout {
        /// The number in the segment.
        found: u64,
        /// The number of this program.
        ours: u64,
    },
    /// The segment holds something that no store writes.
    Damaged {
        /// Which thing, and where.
        what: &'static str,
        /// Where it stands.
        at: u64,
    },
    /// No room for `bytes` more, also after eviction where the store evicts.
    Full {
        /// The bytes that were wanted.
        bytes: u64,
    },
    /// Every participant's slot is taken by a live one.
    TooManyParticipants {
        /// How many there are.
        most: u32,
    },
    /// This session reads as many values in place as it can.
    TooManyLeases {
        /// How many that are.
        most: u32,
    },
    /// The key is longer than a key may be.
    KeyTooLong {
        /// Its length.
        bytes: u64,
        /// The greatest length.
        most: u64,
    },
    /// The value is longer than this store can hold.
    ValueTooLong {
        /// Its length.
        bytes: u64,
        /// The greatest length.
        most: u64,
    },
    /// One change spans more keys than one journal can take back.
    TooManyKeys {
        /// How many there were.
        keys: u64,
        /// How many there may be.
        most: u64,
    },
    /// The value is not a decimal 64-bit integer.
    NotANumber,
    /// The sum does not fit in 64 bits.
    Overflow,
    /// This process may only look at the segment.
    ReadOnly,
    /// A live process that does not run keeps what we need.
    Held {
        /// Who.
        by_pid: u32,
        /// How long we waited.
        ms: u64,
    },
    /// A child of fork cannot go on with a change that its parent began.
    Forked,
    /// The system refused `call`.
    System {
        /// The call's name.
        call: &'static str,
        /// The system's reason.
        error: io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoSuchStore { name } => write!(f, "no store is named {name:?}"),
            Error::Exists { name } => write!(f, "a store named {name:?} exists already"),
            Error::NotHere { name } => {
                write!(f, "{name:?} is made and removed by whoever shares it")
            }
            Error::BadName { name, why } => write!(f, "{name:?} cannot name a store: {why}"),
            Error::NotShared { path } => {
                write!(f, "nobody shares a store at {path}; `morecore share {path}` would")
            }
            Error::NoDescriptor => f.write_str(
                "a store in a System V segment cannot be handed over; one in a file or memory can",
            ),
            Error::NothingHandedOver => {
                f.write_str("whoever listens at the socket handed no store over")
            }
            Error::Unclean => f.write_str(
                "the file was in use when the machine stopped, or when it was copied; \
                 `morecore verify --salvage NEW` keeps what is whole in it",
            ),
            Error::Busy { ms } => {
                write!(
                    f,
                    "somebody makes, opens or closes the store, and did not finish in {ms} ms"
                )
            }
            Error::NotReady { name, by_pid } => {
                write!(f, "store {name:?} is still being made by process {by_pid}")
            }
            Error::TooSmall { bytes, least } if bytes >= least => {
                write!(f, "a store of {bytes} bytes is too large, it has at most {BYTES_MOST}")
            }
            Error::TooSmall { bytes, least } => {
                write!(f, "a store of {bytes} bytes is too small, it needs at least {least}")
            }
            Error::Layout { found, ours } => write!(f, "segment has layout {found}, not {ours}"),
            Error::Damaged { what, at } => write!(f, "segment is damaged: {what} at offset {at}"),
            Error::Full { bytes } => write!(f, "store is full: no room for {bytes} bytes"),
            Error::TooManyParticipants { most } => {
                write!(f, "all {most} participants of the store are taken")
            }
            Error::TooManyLeases { most } => {
                write!(f, "all {most} leases of this session are taken, drop one first")
            }
            Error::KeyTooLong { bytes, most } => {
                write!(f, "key has {bytes} bytes, at most {most} are possible")
            }
            Error::ValueTooLong { bytes, most } => {
                write!(f, "value has {bytes} bytes, at most {most} are possible in this store")
            }
            Error::TooManyKeys { keys, most } => {
                write!(f, "one change of {keys} keys, at most {most} are possible")
            }
            Error::NotANumber => f.write_str("value is not an integer or out of range"),
            Error::Overflow => f.write_str("increment or decrement would overflow"),
            Error::ReadOnly => f.write_str("store is attached read-only"),
            Error::Held { by_pid, ms } => {
                write!(f, "process {by_pid} holds the store and did not let go for {ms} ms")
            }
            Error::Forked => f.write_str("a child of fork cannot go on with its parent's change"),
            Error::System { call, error } => write!(f, "{call}: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::System { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl From<morecore_sys::Failed> for Error {
    fn from(failed: morecore_sys::Failed) -> Self {
        let error = io::Error::from_raw_os_error(failed.errno.0);
        Error::System { call: failed.call, error }
    }
}
