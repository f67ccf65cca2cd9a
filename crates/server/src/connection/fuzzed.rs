//! What a fuzzer does with an input, for a whole connection.
//!
//! ```text
//!   pieces 8 | bytes ...    so many bytes are sent and read at a time, each in its turn
//! ```
//!
//! Promises: ends with a panic where a client that sends and reads piece by piece is answered
//! otherwise than one that sends all at once.

use std::sync::Arc;

use morecore_store::{Create, Store};

use super::Connection;
use crate::clients::Origin;
use crate::desk::{Desk, Spares};
use crate::options::Options;
use crate::shared::Shared;

/// The store of one input: enough for all that an input of a few KiB puts there.
const STORE_BYTES: u64 = 16 << 20;

/// What tells of the moment, of chance or of the connection itself, and so differs each time; and
/// what sets such a thing for later.
const DIFFERING: [&[u8]; 22] = [
    b"info", b"time", b"rand", b"keys", b"scan", b"client", b"slow", b"config", b"memory", b"ttl",
    b"expir", b"ex", b"px", b"stats", b"mg", b"ms", b"ma", b"md", b"gat", b"touch", b"hello",
    b"gets",
];

/// A connection, and what a model brings for it.
struct Talk {
    connection: Connection,
    desk: Desk,
    spares: Spares,
    received: Vec<u8>,
}

/// Lets two clients send what `input` says.
pub(crate) fn run(input: &[u8]) {
    let Some((pieces, bytes)) = input.split_first_chunk::<8>() else { return };
    let mut counts = pieces.iter().cycle().map(|&count| usize::from(count).max(1));
    let mut count = || counts.next().unwrap_or(1);
    let mut piecemeal = Talk::new();
    let mut rest = bytes;
    while !rest.is_empty() && piecemeal.connection.is_receptive() {
        let (piece, behind) = rest.split_at(count().min(rest.len()));
        piecemeal.receive(piece);
        piecemeal.take(count());
        rest = behind;
    }
    let found = piecemeal.finish();
    let mut at_once = Talk::new();
    at_once.receive(bytes);
    let wanted = at_once.finish();
    let lower = bytes.to_ascii_lowercase();
    let has = |word: &&[u8]| lower.windows(word.len()).any(|window| window == *word);
    if !DIFFERING.iter().any(has) {
        assert_eq!(found.escape_ascii().to_string(), wanted.escape_ascii().to_string());
    }
}

impl Talk {
    fn new() -> Self {
        let create = Create { memory_bytes: STORE_BYTES, ..Create::default() };
        let store = Store::anonymous(&create).expect("there is memory for a small store");
        let shared = Shared::new(Options::default(), None, 1).expect("there is memory for counts");
        let shared = Arc::new(shared);
        let (remote, local) = (String::new(), String::new());
        let origin = Origin { remote, local, descriptor: 0, since_ms: shared.started_ms };
        let connection = Connection::new(shared.clients.enter(origin), &shared);
        let desk = Desk::new(store, shared, 0);
        Self { connection, desk, spares: Spares::default(), received: Vec::new() }
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.connection.receive(bytes, &mut self.desk, &mut self.spares);
    }

    /// The client reads at most `count` bytes.
    fn take(&mut self, count: usize) {
        let mut output = Vec::new();
        self.connection.send(|pieces| output = pieces.concat());
        let count = count.min(output.len());
        self.received.extend_from_slice(&output[..count]);
        self.connection.sent(count, &mut self.spares);
    }

    /// The client sends no more, and reads all; returns what it got.
    fn finish(mut self) -> Vec<u8> {
        self.connection.finish();
        loop {
            self.take(usize::MAX);
            if !self.connection.can_go_on() {
                return self.received;
            }
            self.receive(b"");
        }
    }
}
