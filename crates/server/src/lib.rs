//! Face 3: sockets on one side, the store on the other.
//!
//! ```text
//!   accept --> model: socket --bytes--> connection ---commands--> execute --> store
//!                     socket <--bytes-- connection <---replies--- execute <-- store
//! ```
//!
//! ```no_run
//! use morecore_server::{Options, Server};
//! use morecore_store::{Create, Store};
//!
//! let store = Store::anonymous(&Create::default())?;
//! let server = Server::bind(store, Options { port: Some(0), ..Options::default() })?;
//! println!("ready port={:?}", server.port());
//! server.run()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Promises: what a client is answered does not depend on the model; no client can cost another
//! its time, or the server more than a bounded amount of memory. It reaches memory only through
//! the store.
#![forbid(unsafe_code)]

mod accept;
mod board;
mod caller;
mod claims;
mod clients;
mod connection;
mod desk;
mod error;
mod exchange;
mod execute;
mod fillers;
mod keyspace;
mod listen;
mod log;
mod measures;
mod model;
mod notices;
mod options;
mod password;
mod rates;
mod seats;
mod serve;
mod settings;
mod shared;
mod slow;
mod tally;
mod tidy;
mod touches;
mod transaction;

pub use error::Error;
pub use log::Level;
pub use morecore_wire::Protocol;
pub use options::{Model, Options};
pub use serve::{Listening, Server, Stopper};

/// Runs the fuzzer of connections with one input; only fuzzers see it.
///
/// # Panics
/// Where a client is answered otherwise that sends piece by piece.
#[cfg(fuzzing)]
pub fn fuzz_connection(input: &[u8]) {
    connection::fuzzed::run(input);
}
