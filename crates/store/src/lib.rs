//! The store: a key-value table in a shared segment, which survives the death of anyone.
//!
//! ```text
//!   store      what faces use: get, set, update, scan, verify ...
//!    |-- session    a participant and its transactions (hold, participant, recover)
//!    |-- many       many keys in one call, their misses under way together
//!    |-- change     entries, all or nothing (table, bucket, grow, clear)
//!    |-- evict      room in a full store (expire, pick, window)
//!    |-- reader     look-ups that wait for nobody (scan)
//!    |-- space      the heap in the segment: payloads and who claims them (stock)
//!    +-- system     segments: create, attach, list, remove
//! ```
//!
//! The promise: `kill -9` of any attached process, at any instruction, loses no acknowledged write,
//! leaves no half of an unacknowledged one, leaks no byte, and blocks nobody for longer than a few
//! milliseconds.

mod atomic;
mod bucket;
mod change;
mod clear;
mod error;
mod evict;
mod expire;
mod far;
mod fetch;
mod file;
mod give_back;
mod glance;
mod grow;
mod handover;
mod hash;
mod hold;
mod layout;
mod lease;
mod many;
mod mapping;
mod name;
mod number;
mod observer;
mod pages;
mod participant;
mod payload;
mod pick;
mod presence;
mod racy;
mod reader;
mod recover;
mod refill;
mod report;
mod reserve;
mod ring;
mod salvage;
mod scan;
mod session;
mod shelf;
mod space;
mod staged;
mod stock;
mod store;
mod system;
mod table;
mod transact;
mod types;
mod value;
mod verify;
mod view;
mod window;

pub(crate) use change::Act;
pub use error::Error;
pub use fetch::Fetching;
pub use lease::Lease;
pub use name::{NAME_BYTES_MOST, Name};
pub use observer::Observer;
pub use reserve::{Filler, Reserve};
pub use store::Store;
pub use types::{
    Broken, Census, Change, Condition, Create, Entry, Evict, Expiry, Listed, ListedState, Meta,
    Participant, Piece, PieceKind, Salvaged, Set, SetDone, Stat, Verified,
};
