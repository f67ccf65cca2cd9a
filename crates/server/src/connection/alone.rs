//! A connection without a socket, and what a model brings for it: for tests and fuzzers.

use std::sync::Arc;

use morecore_store::{Create, Store};

use super::Connection;
use crate::clients::Origin;
use crate::desk::{Desk, Spares};
use crate::options::Options;
use crate::shared::Shared;

/// A connection without a socket.
pub(crate) struct Alone {
    pub(crate) connection: Connection,
    pub(crate) desk: Desk,
    pub(crate) spares: Spares,
    /// What the client got.
    pub(crate) received: Vec<u8>,
}

impl Alone {
    /// Makes one, before a store of its own of this size.
    pub(crate) fn new(memory_bytes: u64) -> Self {
        let create = Create { memory_bytes, ..Create::default() };
        let store = Store::anonymous(&create).expect("there is memory for a small store");
        let shared = Shared::new(Options::default(), None, 1).expect("there is memory for counts");
        let shared = Arc::new(shared);
        let (remote, local) = ("".into(), "".into());
        let origin = Origin { remote, local, descriptor: 0, since_ms: shared.started_ms };
        let connection = Connection::new(shared.clients.enter(origin), &shared);
        let desk = Desk::new(store, shared, 0);
        Self { connection, desk, spares: Spares::default(), received: Vec::new() }
    }

    /// The client sends this.
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.connection.receive(bytes, &mut self.desk, &mut self.spares);
    }

    /// The client takes at most `count` bytes.
    pub(crate) fn take(&mut self, count: usize) {
        let mut output = Vec::new();
        self.connection.send(|pieces| output = pieces.concat());
        let count = count.min(output.len());
        self.received.extend_from_slice(&output[..count]);
        self.connection.sent(count, &mut self.spares);
    }
}
