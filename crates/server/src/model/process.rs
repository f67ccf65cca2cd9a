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
use std::io;
use std::ops::ControlFlow::Continue;
use std::sync::Arc;
use std::time::{Duration, Instant};

use morecore_store::Store;
use morecore_sys::descriptor::Descriptor;
use morecore_sys::process::{self, Child};
use morecore_sys::ready::{Epoll, Events, Interest};
use morecore_sys::socket::{self, Way};

use super::Arrival;
use super::talk::talk;
use crate::clients::Place;
use crate::connection::Connection;
use crate::desk::Desk;
use crate::error::system;
use crate::log::Level;
use crate::seats::Seats;
use crate::shared::Shared;
use crate::tidy;

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

/// What the parent has.
struct Parent {
    seats: Seats<Resident>,
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
}

impl Children {
    pub(crate) fn new(desks: Vec<Desk>) -> io::Result<Self> {
        let Desk { store, shared, .. } = desks.into_iter().next().expect("at least one is made");
        let ends = Epoll::new().map_err(system)?;
        let (seats, tidied) = (Seats::default(), Instant::now());
        let store = Some(store.into_store());
        let parent = RefCell::new(Parent { seats, store, shared, tidied });
        Ok(Self { ends, parent })
    }

    /// Starts a child for a client.
    pub(crate) fn serve(&self, Arrival { socket, place }: Arrival) -> io::Result<()> {
        let parent = &mut *self.parent.borrow_mut();
        socket::set_timeouts(&socket, parent.shared.options.timeout_s).map_err(system)?;
        let mut place = Some(place);
        let forked = process::fork(&socket, || {
            // In the child these are copies, and its own.
            if let (Some(place), Some(store)) = (place.take(), parent.store.take()) {
                attend(&socket, place, store, &parent.shared);
            }
        });
        let child = forked.map_err(system)?;
        let Some(place) = place else { return Ok(()) };
        let index = parent.seats.add(Resident { child, socket, place });
        if let Some(resident) = parent.seats.get(index) {
            let end = resident.child.descriptor();
            self.ends.add(end, index as u64, Interest::Read).map_err(system)?;
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
                tidy::tidy(store, self.shared.log);
            }
        }
    }

    /// Reaps who has ended; returns whether one of them did not do so by itself.
    fn reap_ended(&mut self, ends: &Epoll, timeout_ms: u32) -> bool {
        let mut events = Events::new();
        let mut was_killed = false;
        if ends.wait(&mut events, Some(timeout_ms)).is_ok() {
            for event in events.iter() {
                was_killed |= self.reap(event.token as usize);
            }
        }
        was_killed
    }

    /// Waits for a child's end; returns whether it was killed.
    fn reap(&mut self, index: usize) -> bool {
        let Some(Resident { child, socket, place }) = self.seats.remove(index) else {
            return false;
        };
        let was_killed = child.wait().is_ok_and(|ended| ended.status != 0);
        if was_killed {
            let words = format_args!("the process of client {} was killed", place.id);
            self.shared.log.line(Level::Warning, words);
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

/// A child's work: one client, until it leaves.
fn attend(socket: &Descriptor, place: Place, mut store: Store, shared: &Arc<Shared>) {
    // The first call makes this process a participant.
    if store.peek(b"").is_err() {
        let _gone = socket::send(socket, NO_PLACE);
        let _gone = socket::shutdown(socket, Way::Both);
        return;
    }
    let mut desk = Desk::new(store, Arc::clone(shared), place.row());
    let mut connection = Connection::new(place, &shared.options);
    let busy = shared.options.busy_poll();
    talk(socket, &mut connection, busy, |connection, input, spares| {
        desk.begin_turn();
        connection.receive(input, &mut desk, spares);
        desk.end_turn();
        Continue(())
    });
    drop(connection);
    drop(desk);
    // The parent has the socket too, until it reaps us.
    let _gone = socket::shutdown(socket, Way::Both);
}
