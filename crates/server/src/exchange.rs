//! Who listens to what, and who is to hear of it: channels, patterns, monitors.
//!
//! ```text
//!   one client: PUBLISH --> exchange --> inboxes of those who listen --ring--> whoever serves them
//!                                                                                     |
//!   another client <-------------------- output <-------- take what is in the inbox --+
//! ```
//!
//! Under `process` the exchange is the parent's, and a child asks it by a line (`line.rs`); under
//! all other models everyone asks it here.
//!
//! Promises: who speaks waits for no listener. A client that does not take its messages costs a
//! bounded number of bytes, and is then cut off, with a line that says so.
//! Knows nothing of sockets, nor of who serves whom: [`Reach`] does.
//! Source: pubsub.c of Redis 7.0.15.

mod asked;
mod inbox;
pub(crate) mod line;
mod rooms;

use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use morecore_wire::{Channels, Encoder, PubSub, Version};

use crate::clients::locked;
use crate::log::{Level, Log};

pub(crate) use asked::Asked;
pub(crate) use inbox::{Inbox, Message, WAITING_BYTES_CROWDED, WAITING_BYTES_MOST, append};
use rooms::Rooms;

/// How those who serve clients are reached.
pub(crate) trait Reach: Send + Sync {
    /// Has whoever serves a client at a desk look into the client's inbox.
    fn ring(&self, desk: usize, id: u64);

    /// Has a client hung up on.
    fn cut(&self, id: u64);
}

/// Who listens to what.
pub(crate) struct Exchange {
    rooms: Mutex<Rooms>,
    /// Weak, because whoever serves clients has us.
    reach: OnceLock<Weak<dyn Reach>>,
    log: Log,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Who {
    pub(crate) id: u64,
    /// Where it is served.
    pub(crate) desk: usize,
}

/// What a client is to the exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// How many channels, patterns and channels of shards it listens to.
    pub(crate) listening: [u32; 3],
    pub(crate) is_monitor: bool,
}

impl Standing {
    /// Whether it listens to messages.
    pub(crate) fn is_listening(self) -> bool {
        self.listening != [0; 3]
    }

    /// Whether messages may come to it at all.
    pub(crate) fn is_any(self) -> bool {
        self != Self::default()
    }
}

impl Exchange {
    pub(crate) fn new(log: Log) -> Self {
        Self { rooms: Mutex::default(), reach: OnceLock::new(), log }
    }

    /// Takes note of how clients are reached: once, when the model starts.
    pub(crate) fn begin(&self, reach: &Arc<dyn Reach>) {
        // A second model never starts.
        let _first = self.reach.set(Arc::downgrade(reach));
    }

    /// Answers what a client asks; returns what it is from then on.
    pub(crate) fn answer(
        &self,
        who: Who,
        asked: Asked<'_>,
        is_crowded: bool,
        reply: &mut Encoder<'_>,
    ) -> Standing {
        let rooms = &mut *locked(&self.rooms);
        match asked {
            Asked::PubSub(asked) => self.answer_pubsub(rooms, who, asked, is_crowded, reply),
            Asked::Cut(id) => self.cut(id),
            Asked::Leave => rooms.leave(who.id),
        }
        rooms.standing(who.id)
    }

    fn answer_pubsub(
        &self,
        rooms: &mut Rooms,
        who: Who,
        asked: PubSub<'_>,
        is_crowded: bool,
        reply: &mut Encoder<'_>,
    ) {
        match asked {
            PubSub::Subscribe { channels, names } => {
                names.iter().for_each(|name| rooms.subscribe(who, channels, name, reply));
            }
            PubSub::Unsubscribe { channels, names } if names.is_empty() => {
                rooms.unsubscribe_all(who.id, channels, reply);
            }
            PubSub::Unsubscribe { channels, names } => {
                names.iter().for_each(|name| rooms.unsubscribe(who.id, channels, name, reply));
            }
            PubSub::Publish { channels, name, message } => {
                let most = waiting_most(is_crowded);
                let mut heard = 0;
                rooms.each_listener(channels, name, message, |id, desk, inbox, message| {
                    heard += 1;
                    self.deliver(id, desk, inbox, message, most);
                });
                reply.integer(heard);
            }
            PubSub::List { channels, pattern } => rooms.list(channels, pattern, reply),
            PubSub::Count { channels, names } => rooms.count(channels, names, reply),
            PubSub::CountPatterns => reply.integer(rooms.heard(Channels::Matching) as i64),
        }
    }

    /// Where what comes to a client waits for it.
    pub(crate) fn inbox(&self, id: u64) -> Option<Arc<Inbox>> {
        locked(&self.rooms).inbox(id)
    }

    /// Forgets a client.
    pub(crate) fn leave(&self, id: u64) {
        locked(&self.rooms).leave(id);
    }

    fn reach(&self) -> Option<Arc<dyn Reach>> {
        self.reach.get().and_then(Weak::upgrade)
    }

    /// Has a client hung up on.
    fn cut(&self, id: u64) {
        if let Some(reach) = self.reach() {
            reach.cut(id);
        }
    }

    fn deliver(&self, id: u64, desk: usize, inbox: &Inbox, message: &Message, most: usize) {
        match inbox.push(message, most) {
            inbox::Pushed::First => {
                if let Some(reach) = self.reach() {
                    reach.ring(desk, id);
                }
            }
            inbox::Pushed::Overrun => {
                self.complain(id, most);
                self.cut(id);
            }
            inbox::Pushed::Behind | inbox::Pushed::Dropped => {}
        }
    }

    /// Tells the operator why a client is cut off.
    pub(crate) fn complain(&self, id: u64, most: usize) {
        let words = format_args!(
            "client {id} is cut off: it does not take its messages, and {most} bytes may wait"
        );
        self.log.line(Level::Warning, words);
    }
}

impl Debug for Exchange {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("rooms", &self.rooms).finish_non_exhaustive()
    }
}

/// How many bytes of messages may wait for one client.
pub(crate) const fn waiting_most(is_crowded: bool) -> usize {
    if is_crowded { WAITING_BYTES_CROWDED } else { WAITING_BYTES_MOST }
}

/// A message, encoded once for all who get it.
fn encode(write: impl FnOnce(&mut Encoder<'_>)) -> Message {
    let mut bytes = Vec::new();
    write(&mut Encoder::new(&mut bytes, Version::Resp3));
    bytes.into()
}
