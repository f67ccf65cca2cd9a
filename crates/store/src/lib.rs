//! The store: a key-value table in a shared segment, which survives the death of anyone.

mod error;
mod name;
mod store;
mod types;

pub use error::Error;
pub use name::{NAME_BYTES_MOST, Name};
pub use store::{Observer, Store};
pub use types::{
    Broken, Census, Change, Condition, Create, Entry, Evict, Expiry, Listed, ListedState, Meta,
    Participant, Piece, PieceKind, Set, SetDone, Stat, Verified,
};
