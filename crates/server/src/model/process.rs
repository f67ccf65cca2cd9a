//! A child for each client, forked when it comes; each is a participant of the store of its own.
//!
//! ```text
//!   accepted --fork--> child: reads, executes, writes --> ends --> reaped, its place is free
//!                        |                                            |
//!                        +--killed: the client is hung up on ---------+--> its work is recovered
//! ```
//!
//! Promises: a child that is killed costs no client but its own. The parent has one thread: a copy
//! of several would have one of them, and what the others had in hand for ever.
//!
//! The parent keeps each client's socket too: so it can end a talk from outside, and the client of
//! a child that was killed is hung up on when the child is reaped.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use morecore_store::Store;
use morecore_sys::descriptor::Descriptor;
use morecore_sys::process::{self, Child};
use morecore_sys::ready::{Epoll, Events, Interest};
use morecore_sys::socket::{self, Way};

use super::Arrival;
use super::ear::Ear;
use super::talk::{Serve, talk};
use crate::clients::{Place, locked};
use crate::connection::Connection;
use crate::desk::{Desk, Spares};
use crate::error::system;
use crate::exchange::Reach;
use crate::exchange::line::Line;
use crate::log::Level;
use crate::seats::Seats;
use crate::shared::Shared;
use crate::tidy;
use crate::touches::forget_one;

/// What a client hears when the store's participants' places are all taken.
const NO_PLACE: &[u8] =
    b"-ERR max number of clients reached: the store has no participant's place\r\n";

/// How long a child has to end when its client's connection is cut, before it is killed: a turn
/// takes milliseconds.
const CUT_MOST: Duration = Duration::from_secs(1);

/// Every child.
pub(crate) struct Children {
    /// Tells of children that have ended.
    ends: Epoll,
    parent: RefCell<Parent>,
}

/// Who is to be looked at by the parent, because of what others said.
#[derive(Default)]
struct Bells {
    rung: Mutex<Vec<u64>>,
    cut: Mutex<Vec<u64>>,
}

/// What the parent has.
struct Parent {
    seats: Seats<Resident>,
    /// The seat of each client.
    seat_of: HashMap<u64, usize>,
    bells: Arc<Bells>,
    /// The session that children begin with a copy of; the parent tidies with it. It is `None` in
    /// a child that took it.
    store: Option<Store>,
    shared: Arc<Shared>,
    tidied: Instant,
}

/// A client, and who serves it.
struct Resident {
    child: Child,
    socket: Descriptor,
    place: Place,
    /// Nothing when the child has hung up.
    ear: Option<Ear>,
}

/// What an event is about: the seat, and whether its child has ended or something came by its line.
const fn end_token(index: usize) -> u64 {
    2 * index as u64
}

const fn line_token(index: usize) -> u64 {
    2 * index as u64 + 1
}

impl Children {
    pub(crate) fn new(desks: Vec<Desk>) -> io::Result<Self> {
        let Desk { store, shared, .. } = desks.into_iter().next().expect("at least one is made");
        let ends = Epoll::new().map_err(system)?;
        let (seats, tidied) = (Seats::default(), Instant::now());
        let store = Some(store.into_store());
        let bells = Arc::new(Bells::default());
        let reach: Arc<dyn Reach> = Arc::<Bells>::clone(&bells);
        shared.clients.exchange.begin(&reach);
        let seat_of = HashMap::new();
        let parent = RefCell::new(Parent { seats, seat_of, bells, store, shared, tidied });
        Ok(Self { ends, parent })
    }

    /// Starts a child for a client.
    pub(crate) fn serve(&self, Arrival { socket, place }: Arrival) -> io::Result<()> {
        let parent = &mut *self.parent.borrow_mut();
        let (ours, theirs) = socket::pair().map_err(system)?;
        let theirs = Arc::new(theirs);
        let mut place = Some(place);
        let forked = process::fork([&socket, &theirs], || {
            // In the child these are copies, and its own.
            if let (Some(place), Some(store)) = (place.take(), parent.store.take()) {
                attend(&socket, place, store, &parent.shared, Line::new(Arc::clone(&theirs)));
            }
        });
        let child = forked.map_err(system)?;
        let Some(place) = place else { return Ok(()) };
        let (id, ear) = (place.id, Ear::new(ours));
        let index = parent.seats.add(Resident { child, socket, place, ear: Some(ear) });
        parent.seat_of.insert(id, index);
        if let Some(Resident { child, ear: Some(ear), .. }) = parent.seats.get(index) {
            let (end, line) = (child.descriptor(), ear.descriptor());
            self.ends.add(end, end_token(index), Interest::Read).map_err(system)?;
            self.ends.add(line, line_token(index), Interest::Read).map_err(system)?;
        }
        Ok(())
    }

    /// What is readable when a child has ended, and how long the parent may wait for it, in
    /// milliseconds, before it is to [`Self::tend`].
    pub(crate) const fn tended(&self) -> (&Descriptor, u32) {
        (self.ends.descriptor(), tidy::EVERY.as_millis() as u32)
    }

    /// Reaps children that ended, and tidies the store when it is time.
    pub(crate) fn tend(&self) {
        self.parent.borrow_mut().tend(&self.ends);
    }

    /// Has every child come to its client's end, and waits for them.
    pub(crate) fn finish(self, until: Instant) {
        let Self { ends, parent } = self;
        let parent = &mut parent.into_inner();
        parent.end(Way::In);
        parent.wait_for_all(&ends, until);
        // Who is left does not take its replies, or does not stop sending.
        parent.end(Way::Both);
        parent.wait_for_all(&ends, Instant::now() + CUT_MOST);
        for index in parent.seats.indices() {
            if let Some(resident) = parent.seats.get(index) {
                resident.child.kill();
            }
            parent.reap(index);
        }
    }
}

impl Parent {
    fn tend(&mut self, ends: &Epoll) {
        let was_killed = self.reap_ended(ends, 0);
        if was_killed || self.tidied.elapsed() >= tidy::EVERY {
            self.tidied = Instant::now();
            if let Some(store) = &mut self.store {
                tidy::tidy(store, &self.shared);
            }
            self.heed_bells(ends);
        }
    }

    /// Reaps who has ended; returns whether one of them did not do so by itself.
    fn reap_ended(&mut self, ends: &Epoll, timeout_ms: u32) -> bool {
        let mut events = Events::new();
        let mut was_killed = false;
        if ends.wait(&mut events, Some(timeout_ms)).is_ok() {
            for event in events.iter() {
                let index = (event.token / 2) as usize;
                if event.token == end_token(index) {
                    was_killed |= self.reap(index);
                } else {
                    self.hear(index, ends);
                }
            }
        }
        self.heed_bells(ends);
        was_killed
    }

    /// Answers what a child asks.
    fn hear(&mut self, index: usize, ends: &Epoll) {
        let Some(Resident { place, ear, .. }) = self.seats.get(index) else { return };
        if ear.as_mut().is_some_and(|ear| ear.hear(place).is_err()) {
            // The child has ended, which its other descriptor tells too.
            *ear = None;
        }
        // What was said is on its way before whoever said it hears so.
        self.heed_bells(ends);
        self.pass_on(index, ends);
    }

    /// Passes on what was said to a child's client.
    fn pass_on(&mut self, index: usize, ends: &Epoll) {
        let Some(Resident { ear: Some(ear), .. }) = self.seats.get(index) else { return };
        // A line that is broken is its child's end.
        let _gone = ear.pass_on();
        if ear.wanted() != ear.interest {
            ear.interest = ear.wanted();
            let _gone = ends.change(ear.descriptor(), line_token(index), ear.interest);
        }
    }

    /// Looks after those whom somebody spoke to, or wants to be hung up on.
    fn heed_bells(&mut self, ends: &Epoll) {
        let rung = std::mem::take(&mut *locked(&self.bells.rung));
        for id in rung {
            if let Some(&index) = self.seat_of.get(&id) {
                if let Some(Resident { place, ear: Some(ear), .. }) = self.seats.get(index) {
                    ear.sit(place);
                }
                self.pass_on(index, ends);
            }
        }
        let cut = std::mem::take(&mut *locked(&self.bells.cut));
        for id in cut {
            let index = self.seat_of.get(&id).copied();
            if let Some(resident) = index.and_then(|index| self.seats.get(index)) {
                let _gone = socket::shutdown(&resident.socket, Way::Both);
            }
        }
    }

    /// Waits for a child's end; returns whether it was killed.
    fn reap(&mut self, index: usize) -> bool {
        let Some(Resident { child, socket, place, .. }) = self.seats.remove(index) else {
            return false;
        };
        self.seat_of.remove(&place.id);
        let was_killed = child.wait().is_ok_and(|ended| ended.status != 0);
        if was_killed {
            let words = format_args!("the process of client {} was killed", place.id);
            self.shared.log.line(Level::Warning, words);
            if place.is_shown_watching() {
                forget_one(&place.exchange().words().watchers);
            }
        }
        drop(place);
        // Whoever it served is hung up on, also where a copy of the socket is somewhere yet.
        let _gone_already = socket::shutdown(&socket, Way::Both);
        was_killed
    }

    fn end(&mut self, way: Way) {
        for index in self.seats.indices() {
            if let Some(resident) = self.seats.get(index) {
                // It fails where the client has gone already: then the child is on its way too.
                let _gone = socket::shutdown(&resident.socket, way);
            }
        }
    }

    fn wait_for_all(&mut self, ends: &Epoll, until: Instant) {
        while !self.seats.is_empty() && Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now());
            self.reap_ended(ends, left.as_millis() as u32 + 1);
        }
    }
}

/// A child has one desk, and serves its client with it.
impl Serve for Desk {
    fn turn(
        &mut self,
        connection: &mut Connection,
        bytes: &[u8],
        spares: &mut Spares,
    ) -> ControlFlow<()> {
        self.begin_turn();
        connection.receive(bytes, self, spares);
        self.end_turn();
        Continue(())
    }

    fn collect(
        &mut self,
        connection: &mut Connection,
        is_rung: bool,
        spares: &mut Spares,
    ) -> ControlFlow<()> {
        if is_rung && self.line().is_none_or(|line| line.receive().is_err()) {
            // The parent is gone.
            return Break(());
        }
        self.begin_turn();
        connection.collect(self, spares);
        self.end_turn();
        Continue(())
    }

    fn has_word(&mut self) -> bool {
        // Who asks the parent may have read it together with the answer.
        self.line().is_some_and(|line| line.has_messages())
    }

    fn has_bell(&mut self) -> bool {
        // It is there from the start, and what came by it is readable.
        true
    }

    fn bell(&mut self) -> Option<&Descriptor> {
        self.line().map(|line| line.descriptor())
    }
}

impl Reach for Bells {
    fn ring(&self, _: Option<usize>, id: u64) {
        locked(&self.rung).push(id);
    }

    fn cut(&self, id: u64) {
        locked(&self.cut).push(id);
    }
}

/// A child's work: one client, until it leaves.
fn attend(socket: &Descriptor, place: Place, mut store: Store, shared: &Arc<Shared>, line: Line) {
    // The first call makes this process a participant.
    if store.peek(b"").is_err() {
        let _gone = socket::send(socket, NO_PLACE);
        let _gone = socket::shutdown(socket, Way::Both);
        return;
    }
    let mut desk = Desk::new(store, Arc::clone(shared), place.row()).asking_by(line);
    let mut connection = Connection::new(place, shared);
    let busy = shared.options.busy_poll();
    talk(socket, &mut connection, busy, &mut desk);
    drop(connection);
    drop(desk);
    // The parent has the socket too, until it reaps us.
    let _gone = socket::shutdown(socket, Way::Both);
}
