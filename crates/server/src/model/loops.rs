//! Loops that wait for many sockets at once, each one thread with a desk of its own: a few with
//! epoll, or one with select.
//!
//! ```text
//!   accepted --> mailbox of the loop with the fewest clients --wake--> loop: seats
//!
//!   a turn:  wait -> read the clock -> for each ready seat: read once, execute, write once
//! ```
//!
//! Promises: a client gets one read and one batch a turn, so none can keep a loop for itself. A
//! client that does not take its replies is not read from until it does.
//!
//! One thread accepts and deals, rather than every loop with `SO_REUSEPORT` or `EPOLLEXCLUSIVE`:
//! those spread clients by a hash, or to whoever woke last, and a client stays where it came to, so
//! one loop may get nearly all; they differ for Unix sockets; and with them a limit on clients or
//! descriptors is everybody's business. Dealing costs one wake a connection.

use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use morecore_sys::descriptor::Descriptor;
use morecore_sys::ready::{Event, Events, Interest, Waker};
use morecore_sys::socket;

use super::Arrival;
use super::watch::Watch;
use crate::clients::locked;
use crate::connection::Connection;
use crate::desk::{Desk, Spares};
use crate::error::system;
use crate::seats::Seats;

/// Bytes read at once: as much as a socket's buffer mostly holds (`net.ipv4.tcp_rmem` begins with
/// 128 KiB, half of it payload), and a batch that still fits in the second cache.
const READ_BYTES: usize = 64 << 10;

/// What the loop's own waker is known by; seats are known by their index.
const WAKER: u64 = u64::MAX;

/// How often clients are looked over for silent ones, where there is a timeout, in milliseconds:
/// Redis too counts it in whole seconds.
const SWEEP_MS: u32 = 1000;

/// Every loop of the model.
pub(crate) struct Loops(Vec<Handle>);

struct Handle {
    mailbox: Arc<Mailbox>,
    thread: JoinHandle<()>,
}

/// Where the accepting thread leaves word for a loop.
struct Mailbox {
    waker: Waker,
    /// Clients here and on their way; only a hint for who deals.
    clients: AtomicUsize,
    letters: Mutex<Letters>,
}

#[derive(Default)]
struct Letters {
    arrivals: Vec<Arrival>,
    stop_until: Option<Instant>,
}

/// One thread's loop.
struct Loop<W> {
    watch: W,
    mailbox: Arc<Mailbox>,
    seats: Seats<Seat>,
    desk: Desk,
    spares: Spares,
    input: Box<[u8]>,
    /// Set on stop: when to give up on clients that do not take their replies.
    stop_until: Option<Instant>,
    swept_ms: u64,
}

/// A client in a loop. (Its socket closes before its place is given up.)
struct Seat {
    socket: Descriptor,
    connection: Connection,
    interest: Interest,
}

impl Loops {
    /// Starts a loop for each desk, which waits with `W`.
    pub(crate) fn start<W: Watch>(desks: Vec<Desk>) -> io::Result<Self> {
        let start = |(index, desk)| Handle::start::<W>(index, desk);
        Ok(Self(desks.into_iter().enumerate().map(start).collect::<io::Result<_>>()?))
    }

    /// Gives a client to the loop with the fewest.
    pub(crate) fn serve(&self, arrival: Arrival) {
        let fewest = self.0.iter().min_by_key(|handle| handle.mailbox.clients.load(Relaxed));
        if let Some(Handle { mailbox, .. }) = fewest {
            mailbox.clients.fetch_add(1, Relaxed);
            locked(&mailbox.letters).arrivals.push(arrival);
            mailbox.waker.wake();
        }
    }

    pub(crate) fn finish(self, until: Instant) {
        for Handle { mailbox, .. } in &self.0 {
            locked(&mailbox.letters).stop_until = Some(until);
            mailbox.waker.wake();
        }
        for Handle { thread, .. } in self.0 {
            // A loop that panicked has ended the process, or its test already.
            let _ended = thread.join();
        }
    }
}

impl Handle {
    fn start<W: Watch>(index: usize, desk: Desk) -> io::Result<Self> {
        let mailbox = Arc::new(Mailbox {
            waker: Waker::new().map_err(system)?,
            clients: AtomicUsize::new(0),
            letters: Mutex::default(),
        });
        let mut serving = Loop::<W>::new(desk, Arc::clone(&mailbox))?;
        let name = format!("{}-{index}", W::NAME);
        let thread = std::thread::Builder::new().name(name).spawn(move || serving.run())?;
        Ok(Self { mailbox, thread })
    }
}

impl<W: Watch> Loop<W> {
    fn new(desk: Desk, mailbox: Arc<Mailbox>) -> io::Result<Self> {
        let mut watch = W::new()?;
        watch.add(mailbox.waker.descriptor(), WAKER, Interest::Read)?;
        Ok(Self {
            watch,
            mailbox,
            seats: Seats::default(),
            swept_ms: desk.now_ms,
            desk,
            spares: Spares::default(),
            input: vec![0; READ_BYTES].into_boxed_slice(),
            stop_until: None,
        })
    }

    fn run(&mut self) {
        let mut events = Events::new();
        while !self.is_over() {
            if let Err(failed) = self.watch.wait(&mut events, self.patience_ms()) {
                // Only a broken set fails to be waited for, and nothing is served without it.
                panic!("cannot wait for clients: {failed}");
            }
            self.desk.begin_turn();
            for event in events.iter() {
                match event.token {
                    WAKER => self.read_letters(),
                    _ => self.attend(event),
                }
            }
            self.sweep();
            self.desk.end_turn();
        }
    }

    /// How long to wait: until something happens, or a limit in time is to be looked after.
    fn patience_ms(&self) -> Option<u32> {
        match self.stop_until {
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                // Rounded up, so that the end of patience is not spun through.
                Some(u32::try_from(left.as_millis()).unwrap_or(u32::MAX).saturating_add(1))
            }
            None if self.desk.shared.options.timeout_s > 0 => Some(SWEEP_MS),
            None => None,
        }
    }

    fn is_over(&self) -> bool {
        self.stop_until.is_some_and(|until| self.seats.is_empty() || Instant::now() >= until)
    }

    fn read_letters(&mut self) {
        self.mailbox.waker.rest();
        let letters = std::mem::take(&mut *locked(&self.mailbox.letters));
        for arrival in letters.arrivals {
            self.seat(arrival);
        }
        if letters.stop_until.is_some() && self.stop_until.is_none() {
            self.stop_until = letters.stop_until;
            self.say_goodbye();
        }
    }

    fn seat(&mut self, Arrival { socket, place }: Arrival) {
        let connection = Connection::new(place, &self.desk.shared.options);
        let seat = Seat { socket, connection, interest: Interest::Read };
        let index = self.seats.add(seat);
        let Some(seat) = self.seats.get(index) else { return };
        if self.watch.add(&seat.socket, index as u64, Interest::Read).is_err() {
            // A limit of the kernel's is reached; this client cannot be served.
            self.leave(index);
        }
    }

    /// Deals with what is ready at one seat.
    fn attend(&mut self, event: Event) {
        let index = event.token as usize;
        let Some(seat) = self.seats.get(index) else { return };
        if event.is_writable && seat.connection.has_output() {
            seat.flush(&mut self.desk, &mut self.spares);
        }
        if event.is_readable && seat.connection.is_receptive() {
            seat.read(&mut self.input, &mut self.desk, &mut self.spares);
        } else {
            // What waited for its replies to be taken.
            seat.go_on(&mut self.desk, &mut self.spares);
        }
        self.settle(index);
    }

    /// After anything at a seat: it leaves, or waits for the right things.
    fn settle(&mut self, index: usize) {
        let Some(seat) = self.seats.get(index) else { return };
        if seat.connection.is_over() {
            return self.leave(index);
        }
        let interest = seat.wanted();
        if interest != seat.interest {
            seat.interest = interest;
            if self.watch.change(&seat.socket, index as u64, interest).is_err() {
                self.leave(index);
            }
        }
    }

    fn leave(&mut self, index: usize) {
        if let Some(seat) = self.seats.remove(index) {
            self.watch.remove(&seat.socket);
            seat.connection.give_back(&mut self.spares);
            self.mailbox.clients.fetch_sub(1, Relaxed);
        }
    }

    /// Sends away who has been silent for too long; at most once a second.
    fn sweep(&mut self) {
        let timeout_ms = u64::from(self.desk.shared.options.timeout_s) * 1000;
        let now_ms = self.desk.now_ms;
        if timeout_ms == 0 || now_ms.abs_diff(self.swept_ms) < u64::from(SWEEP_MS) {
            return;
        }
        self.swept_ms = now_ms;
        for index in self.seats.indices() {
            let is_silent = |seat: &mut Seat| seat.connection.is_silent(now_ms, timeout_ms);
            if self.seats.get(index).is_some_and(is_silent) {
                self.leave(index);
            }
        }
    }

    /// Answers what every client has sent until now, and takes no more from it.
    fn say_goodbye(&mut self) {
        for index in self.seats.indices() {
            let Some(seat) = self.seats.get(index) else { continue };
            while seat.connection.is_receptive()
                && seat.read(&mut self.input, &mut self.desk, &mut self.spares)
                && self.stop_until.is_some_and(|until| Instant::now() < until)
            {}
            seat.connection.finish();
            self.settle(index);
        }
    }
}

impl Seat {
    /// Reads once, executes what is whole, and writes once. Returns whether more may be there.
    fn read(&mut self, input: &mut [u8], desk: &mut Desk, spares: &mut Spares) -> bool {
        match socket::receive(&self.socket, input).map_err(system) {
            Ok(0) => {
                self.connection.finish();
                return false;
            }
            Ok(count) => self.connection.receive(&input[..count], desk, spares),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(_) => {
                self.connection.abandon();
                return false;
            }
        }
        self.flush(desk, spares);
        true
    }

    /// Executes what waits in the connection's own buffer, if it may.
    fn go_on(&mut self, desk: &mut Desk, spares: &mut Spares) {
        if self.connection.can_go_on() {
            self.connection.receive(&[], desk, spares);
            self.flush(desk, spares);
        }
    }

    /// Writes what the socket takes now.
    fn flush(&mut self, desk: &mut Desk, spares: &mut Spares) {
        while self.connection.has_output() {
            match socket::send(&self.socket, self.connection.output()).map_err(system) {
                Ok(count) => {
                    self.connection.touch(desk.now_ms);
                    self.connection.sent(count, spares);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.connection.abandon(),
            }
        }
    }

    /// What this seat is to be woken for.
    fn wanted(&self) -> Interest {
        let (reads, writes) = (self.connection.is_receptive(), self.connection.wants_to_write());
        match (reads, writes) {
            (true, true) => Interest::Both,
            (true, false) => Interest::Read,
            (false, true) => Interest::Write,
            (false, false) => Interest::None,
        }
    }
}
