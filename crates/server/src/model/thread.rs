//! A thread for each client, which reads, executes and writes in turn, and blocks while it waits.
//!
//! Promises: a client that does not take its replies, or sends half a command, keeps nobody but
//! its own thread. Desks are shared: a thread has one only while it executes.

use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow::{Break, Continue};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use morecore_sys::descriptor::Descriptor;
use morecore_sys::socket::{self, Way};

use super::Arrival;
use super::talk::talk;
use crate::clients::locked;
use crate::connection::Connection;
use crate::desk::{Desk, Desks};
use crate::error::system;
use crate::shared::Shared;

/// A thread's stack: the deepest call needs a few KiB, and only touched pages count.
const STACK_BYTES: usize = 256 << 10;

/// Every thread of the model.
pub(crate) struct Threads {
    house: Arc<House>,
}

/// What the threads share.
struct House {
    desks: Desks,
    shared: Arc<Shared>,
    /// Whom each thread serves, by the client's id.
    sockets: Mutex<HashMap<u64, Arc<Descriptor>>>,
    left: Condvar,
    is_stopping: AtomicBool,
}

/// A thread's entry in `sockets`; gone when the thread is.
struct Inside {
    house: Arc<House>,
    id: u64,
}

impl Threads {
    pub(crate) fn new(desks: Vec<Desk>) -> Self {
        let shared = Arc::clone(&desks.first().expect("at least one desk is made").shared);
        Self {
            house: Arc::new(House {
                desks: Desks::new(desks),
                shared,
                sockets: Mutex::default(),
                left: Condvar::new(),
                is_stopping: AtomicBool::new(false),
            }),
        }
    }

    /// Starts a thread for a client.
    pub(crate) fn serve(&self, Arrival { socket, place }: Arrival) -> io::Result<()> {
        let options = &self.house.shared.options;
        socket::set_timeouts(&socket, options.timeout_s).map_err(system)?;
        let socket = Arc::new(socket);
        let id = place.id;
        locked(&self.house.sockets).insert(id, Arc::clone(&socket));
        let inside = Inside { house: Arc::clone(&self.house), id };
        let connection = Connection::new(place, options);
        let thread = std::thread::Builder::new().name("client".into()).stack_size(STACK_BYTES);
        thread.spawn(move || inside.house.attend(&socket, connection))?;
        Ok(())
    }

    /// Has every thread come to its client's end, and waits for them.
    pub(crate) fn finish(self, until: Instant) {
        self.house.end(Way::In);
        self.house.wait_for_all(Some(until));
        // Who is left does not take its replies, or does not stop sending.
        self.house.is_stopping.store(true, Relaxed);
        self.house.end(Way::Both);
        self.house.wait_for_all(None);
    }
}

impl House {
    /// Serves one client until it leaves.
    fn attend(&self, socket: &Descriptor, mut connection: Connection) {
        let busy = self.shared.options.busy_poll();
        talk(socket, &mut connection, busy, |connection, input, spares| {
            self.desks.turn(|desk| connection.receive(input, desk, spares));
            if self.is_stopping.load(Relaxed) { Break(()) } else { Continue(()) }
        });
    }

    /// Ends one way of every client's connection: a thread that waits there comes to an end.
    fn end(&self, way: Way) {
        for socket in locked(&self.sockets).values() {
            // It fails where the client has gone already: then the thread is on its way out too.
            let _gone = socket::shutdown(socket, way);
        }
    }

    /// Waits until every thread has left, or it is `until`.
    fn wait_for_all(&self, until: Option<Instant>) {
        let mut sockets = locked(&self.sockets);
        while !sockets.is_empty() {
            sockets = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => self.left.wait(sockets).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => return,
                Some(left) => {
                    let waited = self.left.wait_timeout(sockets, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        locked(&self.house.sockets).remove(&self.id);
        self.house.left.notify_all();
    }
}
