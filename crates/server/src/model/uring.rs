//! A loop that has the kernel receive and send, with `io_uring`, and hears what was done.
//!
//! ```text
//!   a turn:  submit all, wait -> read the clock
//!            -> for each completion: bytes came --> execute, ask to send the replies
//!                                    sent       --> what is left waits for room
//!
//!   receiving of a seat:   off --asked for--> on --cancelled, where it must wait--> ending --> off
//!                           ^------ the end, an error, a lack of buffers ---'
//!                          off --long values come--> awaited --something came--> off (and is read)
//! ```
//!
//! Long values are not received into the ring's buffers: they are read into their place in the
//! store, once it is told that something came, as a loop by readiness does it.
//!
//! Promises: as a loop by readiness has them (`ready.rs`). Replies of all clients of a turn leave
//! in one call. What a client that does not take its replies may send until its receive is
//! cancelled is bounded by the ring's buffers.
//!
//! A seat is known to the kernel by its index and a generation: what is told of one that was left
//! is told to nobody.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use morecore_sys::descriptor::Descriptor;
use morecore_sys::socket;
use morecore_sys::uring::{Completion, Uring};

use super::Arrival;
use super::loops::{Mailbox, Schedule, Serve};
use crate::connection::Connection;
use crate::desk::{Desk, Spares};
use crate::error::system;
use crate::seats::Seats;

/// The most bytes that are copied to be sent; longer replies are sent from where they are, which
/// costs a call of their own, and that is little beside them.
const COPIED_MOST: usize = 32 << 10;

/// Bytes read at once of what came before a goodbye.
const READ_BYTES: usize = 16 << 10;

/// Bytes read at once behind what is known to be a part of a long value, and the reads of one turn:
/// some lines, as a rule, and as many as a loop by readiness has.
const HEADS_BYTES: usize = 4 << 10;
const READS_MOST: usize = 16;

/// What the mailbox is known by: no seat has this index.
const MAILBOX: u64 = INDEX;

/// The parts of a token: what was asked for, the seat's generation, its index.
const INDEX: u64 = (1 << 32) - 1;
const GENERATION_SHIFT: u32 = 32;
const GENERATION: u64 = (1 << 29) - 1;
const ASKED_SHIFT: u32 = 61;

/// What is asked of the kernel for a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Receive = 0,
    Send = 1,
    Room = 2,
    Input = 3,
}

/// One thread's loop.
pub(crate) struct Loop {
    ring: Uring,
    mailbox: Arc<Mailbox>,
    schedule: Schedule,
    seats: Seats<Seat>,
    /// The seats of clients to whom others may speak, by the clients' numbers.
    attentive: HashMap<u64, usize>,
    /// Of the last seat that was taken.
    generation: u64,
    desk: Desk,
    spares: Spares,
}

/// A client in a loop.
struct Seat {
    socket: Descriptor,
    connection: Connection,
    /// What the seat is known by, without what is asked for.
    token: u64,
    receiving: Receiving,
    sending: Sending,
    /// Whether the socket was asked to tell when there is room.
    awaits_room: bool,
}

/// As in `ready.rs`, and a word more: what the kernel knows the seat by.
const _: () = assert!(size_of::<Seat>() <= 280);

/// How the output of a seat is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    /// Nothing is on its way.
    Idle,
    /// A copy of its beginning is.
    Copied,
    /// The socket took no more.
    Full,
}

/// The picture is at the top of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receiving {
    Off,
    On,
    Awaited,
    Ending,
}

impl Serve for Loop {
    const NAME: &'static str = "uring";

    fn new(desk: Desk, mailbox: Arc<Mailbox>) -> io::Result<Self> {
        Ok(Self {
            ring: Uring::new().map_err(system)?,
            mailbox,
            schedule: Schedule::new(&desk.shared.options),
            seats: Seats::default(),
            attentive: HashMap::new(),
            generation: 0,
            desk,
            spares: Spares::default(),
        })
    }

    fn run(&mut self) -> io::Result<()> {
        self.ring.watch(self.mailbox.descriptor(), MAILBOX).map_err(system)?;
        while !self.schedule.is_over(self.seats.is_empty()) {
            let (ring, mut first) = (&mut self.ring, None);
            self.schedule.wait(|ms| {
                ring.turn(ms).map_err(system)?;
                first = ring.completion();
                Ok(first.is_some())
            })?;
            self.desk.begin_turn();
            while let Some(done) = first.take().or_else(|| self.ring.completion()) {
                self.attend(done)?;
            }
            self.desk.end_turn();
        }
        // The last sockets are closed by what was asked for last.
        self.ring.turn(Some(0)).map_err(system)
    }
}

impl Loop {
    fn attend(&mut self, done: Completion) -> io::Result<()> {
        if done.token == MAILBOX {
            if done.is_last {
                self.ring.watch(self.mailbox.descriptor(), MAILBOX).map_err(system)?;
            }
            return self.read_letters();
        }
        let (token, asked) = (done.token & !(3 << ASKED_SHIFT), done.token >> ASKED_SHIFT);
        let index = (token & INDEX) as usize;
        let Some(seat) = self.seats.get(index).filter(|seat| seat.token == token) else {
            // It was left.
            done.filled.into_iter().for_each(|filled| self.ring.give_back(filled));
            return Ok(());
        };
        match asked {
            0 => {
                seat.received(done, &mut self.ring, &mut self.desk, &mut self.spares);
                if seat.receiving == Receiving::Off && self.schedule.is_stopping() {
                    return self.part(index);
                }
            }
            1 => seat.sent(&done, &self.desk, &mut self.spares),
            3 => {
                seat.read(&done, &mut self.desk, &mut self.spares);
                if self.schedule.is_stopping() {
                    return self.part(index);
                }
            }
            _ => {
                (seat.awaits_room, seat.sending) = (false, Sending::Idle);
                seat.flush(&self.desk, &mut self.spares);
            }
        }
        self.settle(index)
    }

    fn read_letters(&mut self) -> io::Result<()> {
        let letters = self.mailbox.read();
        for arrival in letters.arrivals {
            let index = self.seat(arrival);
            self.settle(index)?;
        }
        letters.rung.into_iter().try_for_each(|id| self.hear(id))?;
        letters.cut.into_iter().try_for_each(|id| self.cut(id))?;
        if self.schedule.stop(letters.stop_until) {
            self.seats.indices().try_for_each(|index| self.part(index))?;
        }
        Ok(())
    }

    /// Passes on what others have said to a client.
    fn hear(&mut self, id: u64) -> io::Result<()> {
        let Some(index) = self.index_of(id) else { return Ok(()) };
        let Some(seat) = self.seats.get(index) else { return Ok(()) };
        seat.connection.collect(&mut self.desk, &mut self.spares);
        self.settle(index)
    }

    /// Where a client sits, if it is here: one that was never spoken to is looked for everywhere.
    fn index_of(&mut self, id: u64) -> Option<usize> {
        let Self { attentive, seats, .. } = self;
        let mut all = seats.indices();
        let mut is_it = |index| seats.get(index).is_some_and(|seat| seat.connection.id() == id);
        attentive.get(&id).copied().or_else(|| all.find(|index| is_it(*index)))
    }

    /// Hangs up on a client, if it is here.
    fn cut(&mut self, id: u64) -> io::Result<()> {
        for index in self.seats.indices() {
            if let Some(seat) = self.seats.get(index).filter(|seat| seat.connection.id() == id) {
                seat.connection.abandon();
                return self.settle(index);
            }
        }
        Ok(())
    }

    fn seat(&mut self, Arrival { socket, place }: Arrival) -> usize {
        self.generation = (self.generation + 1) & GENERATION;
        let connection = Connection::new(place, &self.desk.shared);
        let index = self.seats.add(Seat {
            socket,
            connection,
            token: 0,
            receiving: Receiving::Off,
            sending: Sending::Idle,
            awaits_room: false,
        });
        if let Some(seat) = self.seats.get(index) {
            seat.token = self.generation << GENERATION_SHIFT | index as u64;
        }
        index
    }

    /// After anything at a seat: it goes on, and leaves, or has the right things asked for.
    fn settle(&mut self, index: usize) -> io::Result<()> {
        let Some(seat) = self.seats.get(index) else { return Ok(()) };
        loop {
            seat.send(&mut self.ring, &self.desk, &mut self.spares)?;
            if !seat.connection.can_go_on() {
                break;
            }
            // What waited for its replies to be taken.
            seat.connection.receive(&[], &mut self.desk, &mut self.spares);
        }
        if seat.connection.is_over() {
            return self.leave(index);
        }
        if seat.connection.is_attentive() {
            self.attentive.insert(seat.connection.id(), index);
        }
        if seat.sending == Sending::Full && !seat.awaits_room {
            seat.awaits_room = true;
            let token = seat.asked(Asked::Room);
            self.ring.await_room(&seat.socket, token).map_err(system)?;
        }
        let is_wanted = seat.connection.is_receptive() && !self.schedule.is_stopping();
        let is_long = seat.connection.is_filling_often();
        match (is_wanted, seat.receiving) {
            (true, Receiving::Off) if is_long => {
                seat.receiving = Receiving::Awaited;
                let token = seat.asked(Asked::Input);
                self.ring.await_input(&seat.socket, token).map_err(system)
            }
            (true, Receiving::Off) => {
                seat.receiving = Receiving::On;
                let token = seat.asked(Asked::Receive);
                self.ring.receive(&seat.socket, token).map_err(system)
            }
            (true, Receiving::On) if is_long => seat.end_receiving(&mut self.ring),
            (false, Receiving::On | Receiving::Awaited) => seat.end_receiving(&mut self.ring),
            _ => Ok(()),
        }
    }

    fn leave(&mut self, index: usize) -> io::Result<()> {
        let Some(mut seat) = self.seats.remove(index) else { return Ok(()) };
        self.attentive.remove(&seat.connection.id());
        if matches!(seat.receiving, Receiving::On | Receiving::Awaited) {
            seat.end_receiving(&mut self.ring)?;
        }
        if seat.awaits_room {
            self.ring.cancel(seat.asked(Asked::Room)).map_err(system)?;
        }
        seat.connection.give_back(&mut self.spares);
        self.mailbox.count_leave();
        self.ring.close(seat.socket).map_err(system)
    }

    /// Answers what a client has sent until now, and takes no more from it; not before the kernel
    /// has stopped receiving from it.
    fn part(&mut self, index: usize) -> io::Result<()> {
        let Some(seat) = self.seats.get(index) else { return Ok(()) };
        match seat.receiving {
            Receiving::On | Receiving::Awaited => return seat.end_receiving(&mut self.ring),
            Receiving::Ending => return Ok(()),
            Receiving::Off => {}
        }
        let mut input = [0; READ_BYTES];
        while seat.connection.is_receptive() && self.schedule.has_time() {
            match socket::receive_now(&seat.socket, &mut input) {
                Ok(0) | Err(_) => break,
                Ok(count) => {
                    seat.connection.receive(&input[..count], &mut self.desk, &mut self.spares);
                    seat.send(&mut self.ring, &self.desk, &mut self.spares)?;
                }
            }
        }
        seat.connection.finish();
        self.settle(index)
    }
}

impl Seat {
    fn asked(&self, what: Asked) -> u64 {
        self.token | (what as u64) << ASKED_SHIFT
    }

    fn end_receiving(&mut self, ring: &mut Uring) -> io::Result<()> {
        let asked = match self.receiving {
            Receiving::Awaited => Asked::Input,
            _ => Asked::Receive,
        };
        self.receiving = Receiving::Ending;
        ring.cancel(self.asked(asked)).map_err(system)
    }

    /// Reads what came, each part where it belongs, and executes it.
    fn read(&mut self, done: &Completion, desk: &mut Desk, spares: &mut Spares) {
        let was_awaited = self.receiving == Receiving::Awaited;
        self.receiving = Receiving::Off;
        match done.result {
            Ok(_) if was_awaited => {}
            // It was cancelled, though perhaps too late.
            Ok(_) => return,
            Err(_) if done.is_paused() => return,
            Err(_) => return self.connection.abandon(),
        }
        let mut input = [0; HEADS_BYTES];
        for _ in 0..READS_MOST {
            let (room, behind) = self.connection.room();
            let input = &mut input[..behind.min(HEADS_BYTES)];
            let (placed, most) = (room.len(), room.len() + input.len());
            match socket::receive_into_now(&self.socket, room, input).map_err(system) {
                Ok(0) => return self.connection.finish(),
                Ok(count) => {
                    let placed = count.min(placed);
                    self.connection.fill(placed);
                    self.connection.receive(&input[..count - placed], desk, spares);
                    if count < most || !self.connection.has_begun() {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.connection.abandon(),
            }
        }
    }

    /// Executes what was received.
    fn received(
        &mut self,
        mut done: Completion,
        ring: &mut Uring,
        desk: &mut Desk,
        spares: &mut Spares,
    ) {
        if let Some(filled) = done.filled.take() {
            let bytes = ring.bytes(&filled);
            if !bytes.is_empty() {
                self.connection.receive(bytes, desk, spares);
            }
            ring.give_back(filled);
        }
        if done.is_last {
            self.receiving = Receiving::Off;
        }
        match done.result {
            Ok(0) => self.connection.finish(),
            Ok(_) => {}
            // Where there was no buffer, it is asked for again.
            Err(_) if done.is_paused() => {}
            Err(_) => self.connection.abandon(),
        }
    }

    /// Takes note of what was sent.
    fn sent(&mut self, done: &Completion, desk: &Desk, spares: &mut Spares) {
        self.sending = Sending::Idle;
        match done.result.map_err(system) {
            Ok(count) => {
                self.connection.touch(desk.now_ms);
                self.connection.sent(count as usize, spares);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.connection.abandon(),
        }
        self.flush(desk, spares);
    }

    /// Has the output sent: with the next submit where it is short, else now.
    fn send(&mut self, ring: &mut Uring, desk: &Desk, spares: &mut Spares) -> io::Result<()> {
        if self.sending != Sending::Idle || !self.connection.has_output() {
            // It waits, if there is anything.
            self.connection.keep_output();
            return Ok(());
        }
        let token = self.asked(Asked::Send);
        if let Some(output) = self.connection.whole_output()
            && output.len() <= COPIED_MOST
            && ring.send(&self.socket, output, token).map_err(system)?
        {
            self.sending = Sending::Copied;
        } else {
            self.flush(desk, spares);
        }
        Ok(())
    }

    /// Writes what the socket takes now.
    fn flush(&mut self, desk: &Desk, spares: &mut Spares) {
        while self.connection.has_output() {
            let send = |pieces: &[&[u8]]| socket::send_pieces_now(&self.socket, pieces);
            match self.connection.send(send).map_err(system) {
                Ok(count) => {
                    self.connection.touch(desk.now_ms);
                    self.connection.sent(count, spares);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.sending = Sending::Full;
                    self.connection.keep_output();
                    break;
                }
                Err(_) => self.connection.abandon(),
            }
        }
    }
}
