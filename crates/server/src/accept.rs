//! Lets clients in, one after the other, and keeps the limits on how many.
//!
//! Promises: a client over a limit is told so and sent away at once, instead of being left to wait
//! in the kernel; a want of descriptors or memory is waited out, never spun on.
//! Source: accept(2); Redis's words for who comes too late.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use morecore_sys::descriptor::Descriptor;
use morecore_sys::ready::Waker;
use morecore_sys::{Failed, socket};
use morecore_wire::Protocol;

use crate::clients::Origin;
use crate::error::{Error, system};
use crate::listen::{BACKLOG, Door, Place};
use crate::log::Level;
use crate::model::{Arrival, Running};
use crate::shared::{Shared, now_ms};

/// What a client hears that finds the house full: one of Redis's, and also whoever has not told yet
/// what it speaks.
const FULL: &[u8] = b"-ERR max number of clients reached\r\n";

/// The same in memcached's words, where all clients are its.
const FULL_FOR_MEMCACHED: &[u8] = b"ERROR Too many open connections\r\n";

/// Clients taken from one door before the others, and a stop, are looked at again.
const AT_ONCE: usize = 64;

/// How long the doors stay shut when the system is out of something, in milliseconds: long enough
/// to cost nothing, short enough to be hardly noticed when it passes.
const SHUT_MS: u32 = 100;

/// Lets clients in.
pub(crate) struct Doorkeeper<'a> {
    shared: &'a Shared,
    running: &'a Running,
    /// A descriptor in reserve: closed to make room for a client that is to be sent away, when
    /// there are no others. `None` when even that one could not be had back.
    reserve: Option<Waker>,
    is_shut: bool,
}

impl<'a> Doorkeeper<'a> {
    pub(crate) fn new(shared: &'a Shared, running: &'a Running) -> Result<Self, Error> {
        Ok(Self { shared, running, reserve: Some(Waker::new()?), is_shut: false })
    }

    /// How long nobody is to be let in from now on, if that is so.
    pub(crate) fn shut_ms(&self) -> Option<u32> {
        self.is_shut.then_some(SHUT_MS)
    }

    /// Lets clients in again.
    pub(crate) fn open_again(&mut self) {
        self.is_shut = false;
        if self.reserve.is_none() {
            self.reserve = Waker::new().ok();
        }
    }

    /// Lets in who waits at a door; returns whether more may be waiting.
    pub(crate) fn accept(&mut self, door: &Door) -> bool {
        for _ in 0..AT_ONCE {
            if let Err(failed) = self.accept_one(door) {
                return self.judge(failed, door);
            }
        }
        true
    }

    /// Lets in who waits at a door that is about to close: as many as can have waited, and not
    /// whoever goes on coming.
    pub(crate) fn accept_last(&mut self, door: &Door) {
        let rounds = BACKLOG as usize / AT_ONCE;
        // It stops at the first round that leaves nobody.
        let _is_more = (0..rounds).all(|_| self.accept(door));
    }

    /// Whether a client has asked the server to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        self.shared.is_stopping.load(Relaxed) != 0
    }

    fn accept_one(&mut self, door: &Door) -> Result<(), Failed> {
        let (socket, remote) = socket::accept(&door.socket, self.running.wait())?;
        let most = self.shared.settings.clients_most.load(Relaxed);
        if self.shared.clients.count_own() as u64 >= most {
            self.turn_away(&socket, self.full());
            return Ok(());
        }
        if let Some(words) = self.running.refuses(&socket) {
            self.turn_away(&socket, words);
            return Ok(());
        }
        self.set_keep_alive(&socket, door)?;
        let remote = match &door.place {
            Place::Internet(_) => remote.map(|remote| remote.to_string()).unwrap_or_default(),
            Place::Unix(_) => door.name.to_string(),
        };
        let (remote, local) = (remote.into(), local(&socket, door)?);
        let origin = Origin { remote, local, descriptor: socket.number(), since_ms: now_ms() };
        self.shared.connections.fetch_add(1, Relaxed);
        let place = self.shared.clients.enter(origin);
        self.shared.log.line(Level::Verbose, format_args!("client {} came", place.id));
        if let Err(error) = self.running.serve(Arrival { socket, place }) {
            self.complain("cannot serve another client", &error);
        }
        Ok(())
    }

    /// A socket has what its door had when it was opened; what is set since is set here.
    fn set_keep_alive(&self, socket: &Descriptor, door: &Door) -> Result<(), Failed> {
        let seconds = self.shared.settings.keep_alive_s.load(Relaxed);
        let is_as_opened = seconds == u64::from(self.shared.options.keep_alive_s);
        if is_as_opened || door.address().is_none() {
            return Ok(());
        }
        socket::set_keep_alive(socket, u32::try_from(seconds).unwrap_or(u32::MAX))
    }

    fn full(&self) -> &'static [u8] {
        match self.shared.options.protocol {
            Some(Protocol::Memcached) => FULL_FOR_MEMCACHED,
            Some(Protocol::Resp) | None => FULL,
        }
    }

    /// Tells a client why there is no room for it. A fresh socket takes so few bytes at once; one
    /// that does not has lost its client.
    fn turn_away(&self, socket: &Descriptor, words: &[u8]) {
        self.shared.rejected.fetch_add(1, Relaxed);
        let _gone = socket::send(socket, words);
    }

    /// What a failed accept means; returns whether the next may do better.
    fn judge(&mut self, failed: Failed, door: &Door) -> bool {
        let error = system(failed);
        match error.kind() {
            io::ErrorKind::WouldBlock => false,
            // This one left before it was let in; the next is somebody else.
            io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset => true,
            _ if self.reserve.take().is_some() => {
                let accepted = socket::accept(&door.socket, self.running.wait());
                if let Ok((socket, _)) = &accepted {
                    self.turn_away(socket, self.full());
                }
                let is_more = accepted.is_ok();
                drop(accepted);
                self.reserve = Waker::new().ok();
                if !is_more {
                    self.complain("cannot let clients in", &error);
                }
                is_more
            }
            _ => {
                self.complain("cannot let clients in", &error);
                false
            }
        }
    }

    /// Tells the operator, and shuts the doors for a moment, so that it is told a few times a
    /// second at most.
    fn complain(&mut self, what: &str, error: &io::Error) {
        self.is_shut = true;
        self.shared.log.line(Level::Warning, format_args!("{what}: {error}"));
    }
}

/// Our end of a connection: the door's name, but where its address is all of them.
fn local(socket: &Descriptor, door: &Door) -> Result<Arc<str>, Failed> {
    if door.address().is_some_and(|address| address.ip().is_unspecified())
        && let Some(address) = socket::local_address(socket)?
    {
        return Ok(address.to_string().into());
    }
    Ok(Arc::clone(&door.name))
}
