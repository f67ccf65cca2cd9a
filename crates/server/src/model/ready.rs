//! A loop that waits until sockets are ready, with epoll or select, and then reads and writes.
//!
//! ```text
//!   a turn:  wait -> read the clock -> for each ready seat: read once, execute
//!                                   -> for each seat with replies: write once
//! ```
//!
//! Writing comes last because a client that sleeps is woken by it: the first of a turn works
//! through its replies while the others' are written, instead of being woken for each.
//!
//! Promises: a client gets one read and one batch a turn, or the reads of one long command, so none
//! can keep a loop for itself. A client that does not take its replies is not read from until it
//! does.
//!
//! What can be read is told once (`watch.rs`). A read of less than there was room for says that
//! nothing more is there; where more may be, the seat forgets what it waits for, and so asks again
//! at the end of its turn. (Urgent data ends a read early as well: who sends such waits until it
//! sends more.)

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use morecore_sys::descriptor::Descriptor;
use morecore_sys::ready::{Event, Events, Interest};
use morecore_sys::socket;

use super::Arrival;
use super::loops::{Mailbox, Schedule, Serve};
use super::watch::Watch;
use crate::connection::Connection;
use crate::desk::{Desk, Spares};
use crate::error::system;
use crate::seats::Seats;

/// Bytes read at once: as much as a socket's buffer mostly holds (`net.ipv4.tcp_rmem` begins with
/// 128 KiB, half of it payload), and a batch that still fits in the second cache.
const READ_BYTES: usize = 64 << 10;

/// Reads of one turn while a command has begun and is not whole: a value of 1 MiB comes in one
/// turn, and what has come of it is still in the cache when the rest does.
const READS_MOST: usize = 16;

/// Replies that are too long to wait for the end of a turn: what is to be sent soon should still be
/// in the first cache, and many of them at once would be a lot of memory.
const DEFERRED_MOST: usize = 16 << 10;

/// What the mailbox is known by; seats are known by their index.
const MAILBOX: u64 = u64::MAX;

/// One thread's loop.
pub(crate) struct Loop<W> {
    watch: W,
    mailbox: Arc<Mailbox>,
    schedule: Schedule,
    seats: Seats<Seat>,
    /// The seats of clients to whom others may speak, by the clients' numbers.
    attentive: HashMap<u64, usize>,
    /// Seats with replies that are written at the end of the turn.
    deferred: Vec<usize>,
    desk: Desk,
    spares: Spares,
    input: Box<[u8]>,
}

/// What a read has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    /// As much as there was room for: more may be there.
    More,
    /// All that was there.
    All,
    /// Nothing, or the end.
    Nothing,
}

/// A client in a loop. (Its socket closes before its place is given up.)
struct Seat {
    socket: Descriptor,
    connection: Connection,
    /// What it waits for; nothing, too, where it is to ask again.
    interest: Interest,
}

/// A client costs a seat also while it is silent. With its [`Client`](crate::clients::Client) and
/// what both are kept in this stays below the 500 bytes that a connection may cost.
const _: () = assert!(size_of::<Seat>() <= 272);

impl<W: Watch> Serve for Loop<W> {
    const NAME: &'static str = W::NAME;

    fn new(desk: Desk, mailbox: Arc<Mailbox>) -> io::Result<Self> {
        let mut watch = W::new()?;
        watch.add(mailbox.descriptor(), MAILBOX, Interest::Read)?;
        Ok(Self {
            watch,
            mailbox,
            schedule: Schedule::new(&desk.shared.options),
            seats: Seats::default(),
            attentive: HashMap::new(),
            deferred: Vec::new(),
            desk,
            spares: Spares::default(),
            input: vec![0; READ_BYTES].into_boxed_slice(),
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::new();
        while !self.schedule.is_over(self.seats.is_empty()) {
            let watch = &mut self.watch;
            self.schedule.wait(|ms| Ok(watch.wait(&mut events, ms)? > 0))?;
            self.desk.begin_turn();
            for event in events.iter() {
                match event.token {
                    MAILBOX => self.read_letters(),
                    _ => self.attend(event),
                }
            }
            self.deliver();
            self.desk.end_turn();
        }
        Ok(())
    }
}

impl<W: Watch> Loop<W> {
    fn read_letters(&mut self) {
        let letters = self.mailbox.read();
        for arrival in letters.arrivals {
            self.seat(arrival);
        }
        letters.rung.into_iter().for_each(|id| self.hear(id));
        letters.cut.into_iter().for_each(|id| self.cut(id));
        if self.schedule.stop(letters.stop_until) {
            self.say_goodbye();
        }
    }

    fn seat(&mut self, Arrival { socket, place }: Arrival) {
        let connection = Connection::new(place, &self.desk.shared);
        let seat = Seat { socket, connection, interest: Interest::Read };
        let index = self.seats.add(seat);
        let Some(seat) = self.seats.get(index) else { return };
        if self.watch.add(&seat.socket, index as u64, Interest::Read).is_err() {
            // A limit of the kernel's is reached; this client cannot be served.
            self.leave(index);
        }
    }

    /// Passes on what others have said to a client.
    fn hear(&mut self, id: u64) {
        let Some(index) = self.index_of(id) else { return };
        let Some(seat) = self.seats.get(index) else { return };
        seat.connection.collect(&mut self.desk, &mut self.spares);
        seat.flush(&mut self.desk, &mut self.spares);
        // What waited for the end of a pause.
        seat.go_on(&mut self.desk, &mut self.spares);
        self.settle(index);
    }

    /// Where a client sits, if it is here: one that was never spoken to is looked for everywhere.
    fn index_of(&mut self, id: u64) -> Option<usize> {
        let Self { attentive, seats, .. } = self;
        let mut all = seats.indices();
        let mut is_it = |index| seats.get(index).is_some_and(|seat| seat.connection.id() == id);
        attentive.get(&id).copied().or_else(|| all.find(|index| is_it(*index)))
    }

    /// Hangs up on a client, if it is here.
    fn cut(&mut self, id: u64) {
        for index in self.seats.indices() {
            if let Some(seat) = self.seats.get(index).filter(|seat| seat.connection.id() == id) {
                seat.connection.abandon();
                return self.settle(index);
            }
        }
    }

    /// Deals with what is ready at one seat.
    fn attend(&mut self, event: Event) {
        let index = event.token as usize;
        let Some(seat) = self.seats.get(index) else { return };
        if event.is_writable && seat.connection.has_output() {
            seat.flush(&mut self.desk, &mut self.spares);
        }
        let is_read = event.is_readable && seat.connection.is_receptive();
        let is_missed = event.is_readable && !is_read && seat.interest.has_read();
        if is_missed || (is_read && event.is_ended) {
            seat.interest = Interest::None;
        }
        if is_read {
            let mut read = Read::More;
            for _ in 0..READS_MOST {
                read = seat.read(&mut self.input, &mut self.desk, &mut self.spares);
                if read != Read::More || !seat.connection.has_begun() {
                    break;
                }
            }
            if read == Read::More {
                seat.interest = Interest::None;
            }
            if (1..=DEFERRED_MOST).contains(&seat.connection.output_bytes()) {
                return self.deferred.push(index);
            }
            seat.flush(&mut self.desk, &mut self.spares);
        } else {
            // What waited for its replies to be taken.
            seat.go_on(&mut self.desk, &mut self.spares);
        }
        self.settle(index);
    }

    /// Writes the replies of this turn.
    fn deliver(&mut self) {
        let deferred = std::mem::take(&mut self.deferred);
        for &index in &deferred {
            if let Some(seat) = self.seats.get(index) {
                seat.flush(&mut self.desk, &mut self.spares);
                self.settle(index);
            }
        }
        self.deferred = deferred;
        self.deferred.clear();
    }

    /// After anything at a seat: it leaves, or waits for the right things.
    fn settle(&mut self, index: usize) {
        let Some(seat) = self.seats.get(index) else { return };
        if seat.connection.is_over() {
            return self.leave(index);
        }
        if seat.connection.is_attentive() {
            self.attentive.insert(seat.connection.id(), index);
        }
        if seat.connection.can_go_on() {
            // There may be room already, which is told again only if it is asked for.
            seat.interest = Interest::None;
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
            self.attentive.remove(&seat.connection.id());
            self.watch.remove(&seat.socket);
            seat.connection.give_back(&mut self.spares);
            self.mailbox.count_leave();
        }
    }

    /// Answers what every client has sent until now, and takes no more from it.
    fn say_goodbye(&mut self) {
        for index in self.seats.indices() {
            let Some(seat) = self.seats.get(index) else { continue };
            while seat.connection.is_receptive()
                && seat.read(&mut self.input, &mut self.desk, &mut self.spares) != Read::Nothing
                && self.schedule.has_time()
            {
                seat.flush(&mut self.desk, &mut self.spares);
            }
            seat.flush(&mut self.desk, &mut self.spares);
            seat.connection.finish();
            self.settle(index);
        }
    }
}

impl Seat {
    /// Reads once and executes what is whole.
    fn read(&mut self, input: &mut [u8], desk: &mut Desk, spares: &mut Spares) -> Read {
        let (room, behind) = self.connection.room();
        let input = &mut input[..behind.min(READ_BYTES)];
        let (placed, most) = (room.len(), room.len() + input.len());
        match socket::receive_into(&self.socket, room, input).map_err(system) {
            Ok(0) => {
                self.connection.finish();
                Read::Nothing
            }
            Ok(count) => {
                let placed = count.min(placed);
                self.connection.fill(placed);
                self.connection.receive(&input[..count - placed], desk, spares);
                if count == most { Read::More } else { Read::All }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Read::Nothing,
            Err(_) => {
                self.connection.abandon();
                Read::Nothing
            }
        }
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
            let send = |pieces: &[&[u8]]| socket::send_pieces(&self.socket, pieces);
            match self.connection.send(send).map_err(system) {
                Ok(count) => {
                    self.connection.touch(desk.now_ms);
                    self.connection.sent(count, spares);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.connection.keep_output();
                    break;
                }
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
