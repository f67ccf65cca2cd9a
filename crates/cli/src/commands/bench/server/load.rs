//! The load: one thread that keeps many connections busy, and measures what it waits for.
//!
//! ```text
//! connection:  write a batch --> read until its replies are whole --> write the next
//!                    |<--------- the time of each of its commands -------->|
//! ```
//!
//! Promises: every byte of every reply is compared with the one that is expected. Each connection
//! has one batch under way, so a slow server is asked less; its times are those that its clients
//! see. Once a run is over, nothing is under way. It sleeps where nothing has come, as clients
//! mostly do, and is woken by the server; or it asks again and again.
//! Knows nothing of who is at the other end.
//! Source: epoll(7).

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::sendfile::sendfile64;

use super::batch::{Batch, Batches};
use super::histogram::Histogram;

/// The longest that a server may leave a batch unanswered: a minute is no load but a fault.
const PATIENCE_MS: u16 = 60_000;

/// Events taken at once: what epoll(7) calls fair to all, and few calls with 1000 connections.
const EVENTS: usize = 256;

/// More than the replies to one batch, 64 values of 1 KiB, take; they come in one read.
const READ_BYTES: usize = 256 << 10;

/// How a load waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// It sleeps until something comes.
    Sleeping,
    /// It asks again and again.
    Asking,
}

/// Connections to one server.
pub(super) struct Load {
    epoll: Epoll,
    waiting: Waiting,
    connections: Vec<Connection>,
    buffer: Box<[u8]>,
}

/// What a run of a load found.
pub(super) struct Measured {
    /// Commands that were answered within the time of the run.
    pub(super) answered: u64,
    /// The same and those that were under way when it was over.
    pub(super) all: u64,
    /// From the first write until the last answer that counts.
    pub(super) elapsed: Duration,
    /// How long each command was waited for.
    pub(super) times: Histogram,
}

struct Connection {
    /// A socket, used as the file that it is.
    socket: File,
    /// The batch under way.
    index: usize,
    sent: usize,
    received: usize,
    since: Instant,
    is_busy: bool,
    /// Does epoll wait for room to write, too?
    awaits_room: bool,
}

impl Load {
    /// Takes `count` sockets that `connect` makes.
    pub(super) fn open(
        count: usize,
        waiting: Waiting,
        connect: impl Fn() -> io::Result<OwnedFd>,
    ) -> io::Result<Load> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut connections = Vec::with_capacity(count);
        for place in 0..count {
            let socket = File::from(connect()?);
            fcntl(&socket, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
            epoll.add(&socket, event(false, place))?;
            connections.push(Connection::new(socket));
        }
        Ok(Load { epoll, waiting, connections, buffer: vec![0; READ_BYTES].into_boxed_slice() })
    }

    /// Sends each of `batches` once, over the first connection.
    pub(super) fn send_once(&mut self, batches: &Batches) -> io::Result<()> {
        for index in 0..batches.len() {
            self.begin(0, batches, index)?;
            while self.connections[0].is_busy {
                self.turn(batches, |_, _| None)?;
            }
        }
        Ok(())
    }

    /// Keeps every connection busy with `batches`, over and over, for `time`.
    pub(super) fn run(&mut self, batches: &Batches, time: Duration) -> io::Result<Measured> {
        let start = Instant::now();
        let until = start + time;
        let (mut answered, mut all, mut elapsed) = (0, 0, Duration::ZERO);
        let mut times = Histogram::new();
        let mut busy = self.connections.len();
        // Each begins elsewhere, so that they do not all ask for the same keys.
        let stride = batches.len().div_ceil(busy);
        for place in 0..busy {
            self.begin(place, batches, place * stride % batches.len())?;
        }
        while busy > 0 {
            self.turn(batches, |index, since| {
                let now = Instant::now();
                let commands = batches[index].commands;
                all += commands;
                // However short the time, something is to be told of it.
                if now >= until && answered > 0 {
                    busy -= 1;
                    return None;
                }
                times.record(now - since, commands);
                answered += commands;
                elapsed = now - start;
                Some((index + 1) % batches.len())
            })?;
        }
        Ok(Measured { answered, all, elapsed, times })
    }

    /// Has the connection at `place` send a batch.
    fn begin(&mut self, place: usize, batches: &Batches, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[place];
        connection.begin(index);
        connection.send(batches)?;
        connection.await_room(&batches[index], &self.epoll, place)
    }

    /// Waits for some connections and moves their bytes. `done` is told which batch was answered
    /// and when it was begun, and says which is next, if any.
    fn turn(
        &mut self,
        batches: &Batches,
        mut done: impl FnMut(usize, Instant) -> Option<usize>,
    ) -> io::Result<()> {
        let mut events = [EpollEvent::empty(); EVENTS];
        let count = self.wait(&mut events)?;
        for event in &events[..count] {
            let place = event.data() as usize;
            let connection = &mut self.connections[place];
            connection.send(batches)?;
            if connection.receive(&batches[connection.index], &mut self.buffer)?
                && let Some(next) = done(connection.index, connection.since)
            {
                connection.begin(next);
                connection.send(batches)?;
            }
            connection.await_room(&batches[connection.index], &self.epoll, place)?;
        }
        Ok(())
    }
}

impl Load {
    /// Waits until something has come, within our patience.
    fn wait(&self, events: &mut [EpollEvent]) -> io::Result<usize> {
        let mut since = Instant::now();
        let patience = match self.waiting {
            Waiting::Sleeping => EpollTimeout::from(PATIENCE_MS),
            Waiting::Asking => EpollTimeout::ZERO,
        };
        loop {
            let count = match self.epoll.wait(events, patience) {
                // We were stopped, and go on: that time does not count.
                Err(Errno::EINTR) => {
                    since = Instant::now();
                    0
                }
                found => found?,
            };
            if count > 0 {
                return Ok(count);
            }
            if since.elapsed() >= Duration::from_millis(PATIENCE_MS.into()) {
                return Err(ErrorKind::TimedOut.into());
            }
        }
    }
}

/// What a connection is waited for: what comes, told once until more comes, and room if that is
/// wanted.
fn event(wants_room: bool, place: usize) -> EpollEvent {
    let room = if wants_room { EpollFlags::EPOLLOUT } else { EpollFlags::empty() };
    EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET | room, place as u64)
}

impl Connection {
    fn new(socket: File) -> Connection {
        Connection {
            socket,
            index: 0,
            sent: 0,
            received: 0,
            since: Instant::now(),
            is_busy: false,
            awaits_room: false,
        }
    }

    /// A batch is under way from now on.
    fn begin(&mut self, index: usize) {
        self.index = index;
        (self.sent, self.received) = (0, 0);
        self.since = Instant::now();
        self.is_busy = true;
    }

    /// Sends what is left of the batch, as far as there is room.
    fn send(&mut self, batches: &Batches) -> io::Result<()> {
        let unsent = &batches[self.index].sent;
        while self.sent < unsent.len() {
            let unsent = &unsent[self.sent..];
            let sent = match batches.filed(self.index) {
                None => self.socket.write(unsent),
                Some((file, at)) => {
                    let mut at = at as i64 + self.sent as i64;
                    sendfile64(&self.socket, file, Some(&mut at), unsent.len())
                        .map_err(io::Error::from)
                }
            };
            match sent {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes what has arrived; true if the batch is answered by it. Room in `buffer` that is left
    /// over says that nothing more is there.
    fn receive(&mut self, batch: &Batch, buffer: &mut [u8]) -> io::Result<bool> {
        loop {
            let count = match self.socket.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            let expected = &batch.expected[self.received..];
            if !expected.starts_with(&buffer[..count]) {
                return Err(unexpected(&buffer[..count], expected));
            }
            self.received += count;
            if count < buffer.len() {
                break;
            }
        }
        let is_answered = self.is_busy && self.received == batch.expected.len();
        self.is_busy &= !is_answered;
        Ok(is_answered)
    }

    /// Has epoll wait for room to write exactly while some of the batch is unsent.
    fn await_room(&mut self, batch: &Batch, epoll: &Epoll, place: usize) -> io::Result<()> {
        let is_unsent = self.sent < batch.sent.len();
        if is_unsent != self.awaits_room {
            self.awaits_room = is_unsent;
            epoll.modify(&self.socket, &mut event(is_unsent, place))?;
        }
        Ok(())
    }
}

/// Why a reply is wrong: its beginning, and the one that it should have.
fn unexpected(found: &[u8], expected: &[u8]) -> io::Error {
    /// A line of most replies.
    const SHOWN: usize = 60;
    let shown = |bytes: &[u8]| crate::output::escaped(&bytes[..bytes.len().min(SHOWN)]);
    let (found, expected) = (shown(found), shown(expected));
    io::Error::other(format!("the server answered `{found}`, not `{expected}`"))
}
