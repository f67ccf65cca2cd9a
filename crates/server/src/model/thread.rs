//! A thread for each client, which reads, executes and writes in turn, and blocks while it waits.
//!
//! Promises: a client that does not take its replies, or sends half a command, keeps nobody but
//! its own thread. Desks are shared: a thread has one only while it executes.

use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use morecore_sys::descriptor::Descriptor;
use morecore_sys::ready::Waker;
use morecore_sys::socket::{self, Way};

use super::Arrival;
use super::talk::{Serve, talk};
use crate::clients::locked;
use crate::connection::Connection;
use crate::desk::{Desk, Desks, Spares};
use crate::exchange::Reach;
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
    sockets: Mutex<HashMap<u64, Served>>,
    left: Condvar,
    is_stopping: AtomicBool,
}

/// How a thread and its client are reached.
struct Served {
    socket: Arc<Descriptor>,
    /// There from when others may speak to the client.
    bell: Option<Arc<Waker>>,
}

/// What a thread has to serve its client with.
struct Clerk<'a> {
    house: &'a House,
    id: u64,
    bell: Option<Arc<Waker>>,
}

/// A thread's entry in `sockets`; gone when the thread is.
struct Inside {
    house: Arc<House>,
    id: u64,
}

impl Threads {
    pub(crate) fn new(desks: Vec<Desk>) -> Self {
        let shared = Arc::clone(&desks.first().expect("at least one desk is made").shared);
        let house = Arc::new(House {
            desks: Desks::new(desks),
            shared,
            sockets: Mutex::default(),
            left: Condvar::new(),
            is_stopping: AtomicBool::new(false),
        });
        let reach: Arc<dyn Reach> = Arc::<House>::clone(&house);
        house.shared.clients.exchange.begin(&reach);
        Self { house }
    }

    /// Starts a thread for a client.
    pub(crate) fn serve(&self, Arrival { socket, place }: Arrival) -> io::Result<()> {
        let socket = Arc::new(socket);
        let id = place.id;
        let served = Served { socket: Arc::clone(&socket), bell: None };
        locked(&self.house.sockets).insert(id, served);
        let inside = Inside { house: Arc::clone(&self.house), id };
        let connection = Connection::new(place, &self.house.shared);
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
        let mut clerk = Clerk { house: self, id: connection.id(), bell: None };
        talk(socket, &mut connection, busy, &mut clerk);
    }

    /// Ends one way of every client's connection: a thread that waits there comes to an end.
    fn end(&self, way: Way) {
        for Served { socket, .. } in locked(&self.sockets).values() {
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

impl Serve for Clerk<'_> {
    fn turn(
        &mut self,
        connection: &mut Connection,
        bytes: &[u8],
        spares: &mut Spares,
    ) -> ControlFlow<()> {
        self.house.desks.turn(|desk| connection.receive(bytes, desk, spares));
        if self.house.is_stopping.load(Relaxed) { Break(()) } else { Continue(()) }
    }

    fn collect(
        &mut self,
        connection: &mut Connection,
        is_rung: bool,
        spares: &mut Spares,
    ) -> ControlFlow<()> {
        if let Some(bell) = self.bell.as_ref().filter(|_| is_rung) {
            bell.rest();
        }
        self.house.desks.turn(|desk| connection.collect(desk, spares));
        Continue(())
    }

    fn has_word(&mut self) -> bool {
        // The bell rings until it is put to rest, which is before the messages are taken.
        false
    }

    fn has_bell(&mut self) -> bool {
        self.bell.is_some()
    }

    fn bell(&mut self) -> Option<&Descriptor> {
        if self.bell.is_none() {
            let bell = Arc::new(Waker::new().ok()?);
            locked(&self.house.sockets).get_mut(&self.id)?.bell = Some(Arc::clone(&bell));
            self.bell = Some(bell);
        }
        self.bell.as_deref().map(Waker::descriptor)
    }
}

impl Reach for House {
    fn ring(&self, _: Option<usize>, id: u64) {
        // Where there is no bell yet, its thread will look before it waits.
        if let Some(Served { bell: Some(bell), .. }) = locked(&self.sockets).get(&id) {
            bell.wake();
        }
    }

    fn cut(&self, id: u64) {
        if let Some(Served { socket, .. }) = locked(&self.sockets).get(&id) {
            // It fails where the client has gone already.
            let _gone = socket::shutdown(socket, Way::Both);
        }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        locked(&self.house.sockets).remove(&self.id);
        self.house.left.notify_all();
    }
}
