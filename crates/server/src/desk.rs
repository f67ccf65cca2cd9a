//! What a thread needs to serve clients: a way into the store, the time, and buffers to lend.
//!
//! Promises: the clock is read once a turn. A desk serves one client at a time.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use morecore_store::Store;
use morecore_wire::{Encoder, memcached};

use crate::caller::Caller;
use crate::clients::locked;
use crate::connection::{Ahead, Leases, Lent};
use crate::exchange::line::Line;
use crate::exchange::{Asked, Attention, Inbox, Message, Standing, Who};
use crate::execute::each_key;
use crate::fillers::Job;
use crate::keyspace::Keyspace;
use crate::shared::{Counts, Shared, now_ms};
use crate::slow::Watch;
use crate::tally::Tally;

/// What executes commands: one for each loop, or a few that many threads share.
pub(crate) struct Desk {
    pub(crate) store: Keyspace,
    pub(crate) shared: Arc<Shared>,
    /// When this turn began, in unix milliseconds: the time for all that happens in it.
    pub(crate) now_ms: u64,
    pub(crate) counts: Counts,
    /// Notices commands that take long.
    pub(crate) watch: Watch,
    /// Which of the totals it adds to.
    index: usize,
    /// Room for a value on its way; what it holds means nothing between two commands.
    pub(crate) scratch: Vec<u8>,
    /// The length of the last value that was found: a guess at the next.
    pub(crate) expected_bytes: usize,
    /// Values that the last replies have in them and that are sent from where they stand.
    pub(crate) lent: Vec<Lent>,
    /// How many values were leased for the client that is served, in this turn.
    pub(crate) leases: usize,
    /// What was read ahead of the client that is served.
    pub(crate) ahead: Ahead,
    /// It reads ahead of a connection's own parser.
    memcached_scout: memcached::Parser,
    /// Where the exchange is asked, if it is another process's.
    line: Option<Line>,
    /// What is to be heeded by the commands that are executed next.
    pub(crate) attention: Attention,
    /// Whether the exchange was told of changes since a turn of a client began.
    pub(crate) has_told_changes: bool,
}

/// Buffers that connections borrow while they have something in them, so that an idle client
/// costs none, and a busy one no allocation.
#[derive(Debug, Default)]
pub(crate) struct Spares {
    input: Vec<u8>,
    /// As many as had replies in them at once: a loop writes those of a turn together.
    outputs: Vec<Vec<u8>>,
    /// What `outputs` have room for.
    outputs_bytes: usize,
    /// Room for the leases of one client's replies: they are gone before the next one's.
    pub(crate) leased: Option<Box<Leases>>,
}

/// Desks that many threads share. Each attached `Store` takes one of a bounded number of
/// participants' slots, so a thousand threads cannot have one each; more than run at once would
/// be of no use either.
pub(crate) struct Desks {
    free: Mutex<Vec<Desk>>,
    freed: Condvar,
}

/// Commands whose keys are fetched together: about as many misses as a core has in flight at once.
const COMMANDS_AHEAD: usize = 16;

/// What a client hears of a child whose parent is gone: it will be in a moment, too.
const ALONE: &str = "ERR the server ends";

/// A spare buffer that grew beyond this, or would have all of them together do so, is given up:
/// rare large values must not stay for ever.
const SPARE_BYTES_MOST: usize = 4 << 20;

impl Desk {
    /// The desk that adds to the totals `index`; no other does.
    pub(crate) fn new(store: Store, shared: Arc<Shared>, index: usize) -> Self {
        Self {
            index,
            store: Keyspace::new(store),
            shared,
            now_ms: now_ms(),
            counts: Counts::default(),
            scratch: Vec::new(),
            expected_bytes: 0,
            lent: Vec::new(),
            leases: 0,
            ahead: Ahead::default(),
            memcached_scout: memcached::Parser::default(),
            line: None,
            watch: Watch::new(),
            attention: Attention::default(),
            has_told_changes: false,
        }
    }

    /// The same for a child, whose parent has the exchange.
    pub(crate) fn asking_by(mut self, line: Line) -> Self {
        self.line = Some(line);
        self
    }

    /// Where the exchange is asked, if it is another process's.
    pub(crate) const fn line(&mut self) -> Option<&mut Line> {
        self.line.as_mut()
    }

    /// Asks the exchange for a client; the answer is the reply.
    pub(crate) fn ask(&mut self, asked: Asked<'_>, caller: &mut Caller, reply: &mut Encoder<'_>) {
        let id = caller.place.id;
        let standing = match &mut self.line {
            None => {
                let (who, is_crowded) = (Who { id, desk: self.index }, caller.place.is_crowded());
                caller.place.exchange().answer(who, asked, is_crowded, reply)
            }
            Some(line) => line.ask(asked, reply).unwrap_or_else(|_| {
                reply.error(ALONE);
                Standing::default()
            }),
        };
        caller.stand(standing, self.line.is_none());
    }

    /// Tells the exchange something for a client; nothing is answered.
    pub(crate) fn tell(&mut self, asked: Asked<'_>, caller: &Caller) {
        match &mut self.line {
            None => {
                let who = Who { id: caller.place.id, desk: self.index };
                let (nobody, is_crowded) = (&mut Vec::new(), caller.place.is_crowded());
                let reply = &mut Encoder::new(nobody, caller.version);
                caller.place.exchange().answer(who, asked, is_crowded, reply);
            }
            // Where the parent is gone, nobody is left to be told.
            Some(line) => line.tell(asked).unwrap_or_default(),
        }
    }

    /// The messages that came for a client; also for one that never asked for any.
    pub(crate) fn messages_for(&mut self, caller: &mut Caller) -> Vec<Message> {
        if self.line.is_none() && caller.inbox().is_none() {
            let who = Who { id: caller.place.id, desk: self.index };
            if let Some(standing) = caller.place.exchange().sit(who) {
                caller.stand(standing, true);
            }
        }
        match &mut self.line {
            None => caller.inbox().map_or_else(Vec::new, Inbox::take),
            Some(line) => line.take_messages(),
        }
    }

    /// Takes note of what is to be heeded by what came.
    #[inline]
    pub(crate) fn heed(&mut self) {
        self.attention = self.shared.clients.exchange.attention();
    }

    /// Has those who hear of changes told together what a client's commands changed, before it gets
    /// its replies.
    #[inline]
    pub(crate) fn tell_gathered(&mut self, caller: &Caller) {
        if std::mem::take(&mut self.has_told_changes) {
            self.tell(Asked::EndTurn, caller);
        }
    }

    /// Begins a turn: what is executed until [`Desk::end_turn`] happens now.
    pub(crate) fn begin_turn(&mut self) {
        self.now_ms = now_ms();
        self.store.set_now(self.now_ms);
        self.watch.begin(self.shared.settings.slow_us.load(Relaxed).cast_signed());
        self.shared.flush_if_due(self.now_ms, || self.store.clear());
    }

    /// Ends a turn.
    pub(crate) fn end_turn(&mut self) {
        self.shared.totals[self.index].add(&mut self.counts);
        if self.scratch.capacity() > SPARE_BYTES_MOST {
            self.scratch = Vec::new();
        }
    }

    /// Has the memory of the keys in the next commands of a pipeline of memcached's on its way by
    /// the time they are executed; returns how many bytes of `input` these commands are. Finding
    /// them takes a few tens of nanoseconds each, and waiting for one line of memory a hundred or
    /// more.
    pub(crate) fn fetch_ahead_memcached(&mut self, input: &[u8]) -> usize {
        let mut done = 0;
        for _ in 0..COMMANDS_AHEAD {
            match self.memcached_scout.parse(&input[done..]) {
                Ok(memcached::Progress::Whole { consumed, command: Ok(command) }) => {
                    each_key(&command, COMMANDS_AHEAD, |key| self.store.prefetch(key));
                    done += consumed;
                }
                // The end, or what only the connection's own parser may judge.
                _ => {
                    self.memcached_scout = memcached::Parser::default();
                    return input.len();
                }
            }
            if done == input.len() {
                break;
            }
        }
        done
    }

    /// Who may fill in a value of `bytes` for a client; a child copies, for a session more for each
    /// would take the places of others.
    pub(crate) fn filler(&self, bytes: usize) -> Option<Box<Job>> {
        if self.line.is_some() {
            return None;
        }
        let most = self.store.value_bytes_most();
        self.shared.fillers.lend(bytes, most, || self.store.attach())
    }

    /// Counts what a client of memcached met with.
    pub(crate) const fn count(&mut self, tally: Tally) {
        self.counts.tallies[tally as usize] += 1;
    }

    /// Counts whether a key that was asked for was there.
    pub(crate) const fn count_look_up(&mut self, is_there: bool) {
        if is_there {
            self.counts.hits += 1;
        } else {
            self.counts.misses += 1;
        }
    }
}

impl Desks {
    pub(crate) fn new(desks: Vec<Desk>) -> Self {
        Self { free: Mutex::new(desks), freed: Condvar::new() }
    }

    /// Takes a desk for one turn; waits until one is free.
    pub(crate) fn turn<R>(&self, serve: impl FnOnce(&mut Desk) -> R) -> R {
        let mut free = locked(&self.free);
        let mut desk = loop {
            match free.pop() {
                Some(desk) => break desk,
                None => free = self.freed.wait(free).unwrap_or_else(PoisonError::into_inner),
            }
        };
        drop(free);
        desk.begin_turn();
        let result = serve(&mut desk);
        desk.end_turn();
        locked(&self.free).push(desk);
        self.freed.notify_one();
        result
    }
}

impl Spares {
    pub(crate) fn lend_input(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.input)
    }

    pub(crate) fn lend_output(&mut self) -> Vec<u8> {
        let output = self.outputs.pop().unwrap_or_default();
        self.outputs_bytes -= output.capacity();
        output
    }

    /// Keeps the larger of two buffers for input, if it is not too large.
    pub(crate) fn take_back_input(&mut self, mut buffer: Vec<u8>) {
        let bytes = buffer.capacity();
        if bytes > self.input.capacity() && bytes <= SPARE_BYTES_MOST {
            buffer.clear();
            self.input = buffer;
        }
    }

    /// Keeps a buffer for replies, if there are not too many.
    pub(crate) fn take_back_output(&mut self, mut buffer: Vec<u8>) {
        let bytes = self.outputs_bytes + buffer.capacity();
        if buffer.capacity() > 0 && bytes <= SPARE_BYTES_MOST {
            buffer.clear();
            self.outputs.push(buffer);
            self.outputs_bytes = bytes;
        }
    }
}
