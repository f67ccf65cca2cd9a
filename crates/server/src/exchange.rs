//! Who listens to what, and who is to hear of it: channels, patterns, monitors, changes of keys.
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
mod dying;
mod inbox;
pub(crate) mod line;
mod rooms;
mod standing;
mod tracker;
mod tracking;

use std::fmt::{self, Debug, Formatter};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use morecore_store::{self as store, Store};
use morecore_wire::{Channels, Encoder, PubSub, Version};

use crate::clients::locked;
use crate::log::{Level, Log};
use crate::notices::Notices;
use crate::shared::Count;

pub(crate) use asked::{Asked, spell};
pub(crate) use inbox::{Inbox, Message, WAITING_BYTES_CROWDED, WAITING_BYTES_MOST, append};
use rooms::Rooms;
pub(crate) use standing::{Attention, Standing};
pub(crate) use tracking::Changed;
use tracking::{Gathered, Told};

/// How those who serve clients are reached.
pub(crate) trait Reach: Send + Sync {
    /// Has whoever serves a client look into the client's inbox; it is served at this desk, or
    /// nobody knows where.
    fn ring(&self, desk: Option<usize>, id: u64);

    /// Has a client hung up on.
    fn cut(&self, id: u64);
}

/// Who listens to what.
pub(crate) struct Exchange {
    rooms: Mutex<Rooms>,
    /// Weak, because whoever serves clients has us.
    reach: OnceLock<Weak<dyn Reach>>,
    words: Words,
    log: Log,
}

/// What every process of the server sees of the exchange, wherever that is.
#[derive(Debug)]
pub(crate) struct Words {
    /// What [`Attention`] says.
    pub(crate) attention: Count,
    /// How many clients watch keys.
    pub(crate) watchers: Count,
    /// How many keys are remembered for those who read, how many clients have read one, and how
    /// many prefixes are told.
    pub(crate) tracked: [Count; 3],
    /// How many channels, patterns and channels of shards somebody listens to.
    pub(crate) heard: [Count; 3],
    /// How many keys are remembered at most; 0: as many as are read. CONFIG SET changes it.
    pub(crate) tracked_keys_most: Count,
    /// Which [`Notices`] are wanted. CONFIG SET changes it.
    pub(crate) notices: Count,
    /// Whether commands are measured: 1 if so. CONFIG SET changes it.
    pub(crate) measures: Count,
}

/// Keys that are remembered at most, at first, as in Redis.
const TRACKED_KEYS_MOST: u64 = 1_000_000;

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Who {
    pub(crate) id: u64,
    /// Where it is served.
    pub(crate) desk: usize,
}

impl Exchange {
    pub(crate) fn new(words: Words, log: Log) -> Self {
        words.tracked_keys_most.store(TRACKED_KEYS_MOST, Relaxed);
        let exchange = Self { rooms: Mutex::default(), reach: OnceLock::new(), words, log };
        exchange.attend(&locked(&exchange.rooms));
        exchange
    }

    /// Which keyspace notifications are wanted.
    pub(crate) fn notices(&self) -> Notices {
        Notices::of_word(self.words.notices.load(Relaxed))
    }

    /// What every process sees of it.
    pub(crate) const fn words(&self) -> &Words {
        &self.words
    }

    /// What is to be heeded now.
    #[inline]
    pub(crate) fn attention(&self) -> Attention {
        // Acquire pairs with the Release of whoever asked for it and was answered since.
        let asked = self.words.attention.load(Acquire);
        let is_watched = self.words.watchers.load(Acquire) != 0;
        Attention(asked | if is_watched { Attention::WATCHERS } else { 0 })
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
            Asked::Leave => rooms.start_anew(who),
            Asked::Monitor => rooms.monitor(who),
            Asked::Feed(line) => {
                let line = Message::from(line);
                rooms.each_monitor(|id, desk, inbox| {
                    self.deliver(id, desk, inbox, &line, waiting_most(is_crowded));
                });
            }
            Asked::Pause { until_ms, writes_only } => {
                // Of two pauses that are wanted, the longer and the stricter counts.
                let (old_ms, only) = rooms.pause.unwrap_or((0, true));
                let pause = (until_ms.max(old_ms), writes_only && only);
                rooms.pause = (until_ms > 0).then_some(pause);
                self.end_pause(rooms);
            }
            Asked::Wait => {
                rooms.wait(who, true);
                // The pause may have ended since who asks saw it.
                self.end_pause(rooms);
            }
            Asked::GoOn => rooms.wait(who, false),
            Asked::Dies { key, expiry_ms } => rooms.dying.note(key, expiry_ms),
            Asked::AllChanged => {
                rooms.dying.forget();
                self.answer_tracking(rooms, who, asked, waiting_most(is_crowded));
            }
            asked => self.answer_tracking(rooms, who, asked, waiting_most(is_crowded)),
        }
        self.attend(rooms);
        rooms.standing(who.id)
    }

    fn answer_tracking(&self, rooms: &mut Rooms, who: Who, asked: Asked<'_>, most: usize) {
        let mut told = Vec::new();
        let mut tell = |(id, key): Told<'_>| told.push((id, key.map(<[u8]>::to_vec)));
        rooms.tracking.keys_most = self.tracked_keys_most();
        match asked {
            Asked::Track { asked, versions } => {
                rooms.track(who, asked, versions);
                if let Some(id) = asked.redirect {
                    self.call(rooms, id);
                }
            }
            Asked::Remember { key, shard, version, seen } => {
                rooms.tracking.remember(who.id, (key, shard, version), seen, &mut tell);
            }
            Asked::Changed(changed) => {
                let by = changed.by.map(|_| who.id);
                rooms.tracking.changed(Changed { by, ..changed }, &mut tell);
            }
            Asked::AllChanged => rooms.tracking.all_changed(&mut tell),
            _ => {}
        }
        self.tell_changes(rooms, &told, most);
        if matches!(asked, Asked::EndTurn) {
            let gathered = rooms.tracking.take_gathered_by(Some(who.id));
            self.tell_gathered(rooms, gathered, most);
        } else if rooms.tracking.has_gathered_enough() {
            let gathered = rooms.tracking.take_gathered();
            self.tell_gathered(rooms, gathered, most);
        }
    }

    fn tracked_keys_most(&self) -> usize {
        match self.words.tracked_keys_most.load(Relaxed) {
            0 => usize::MAX,
            most => usize::try_from(most).unwrap_or(usize::MAX),
        }
    }

    /// Looks for what others changed, and for the end of a pause: a few times a second.
    pub(crate) fn tend(&self, store: &mut Store, now_ms: u64) -> Result<(), store::Error> {
        let rooms = &mut *locked(&self.rooms);
        if rooms.pause.is_some_and(|(until_ms, _)| now_ms >= until_ms) {
            rooms.pause = None;
            self.end_pause(rooms);
        }
        let mut told = Vec::new();
        let mut tell = |(id, key): Told<'_>| told.push((id, key.map(<[u8]>::to_vec)));
        rooms.tracking.keys_most = self.tracked_keys_most();
        rooms.tracking.forget_beyond(&mut tell);
        // One time decides what has expired and what is looked at for it.
        store.set_now(Some(now_ms));
        let looked = rooms.tracking.look(store, now_ms, tell);
        let told_expired = self.tell_expired(rooms, store, now_ms);
        store.set_now(None);
        self.tell_changes(rooms, &told, waiting_most(false));
        let gathered = rooms.tracking.take_gathered_by(None);
        self.tell_gathered(rooms, gathered, waiting_most(false));
        self.attend(rooms);
        looked.and(told_expired)
    }

    /// Tells in channels which keys have expired, if that is wanted.
    fn tell_expired(
        &self,
        rooms: &mut Rooms,
        store: &mut Store,
        now_ms: u64,
    ) -> Result<(), store::Error> {
        let notices = self.notices();
        if !notices.is_any() || !notices.has(Notices::EXPIRED) {
            rooms.dying.forget();
            return Ok(());
        }
        for key in rooms.dying.look(store, now_ms)? {
            notices.each_channel("expired", &key, |channel, message| {
                rooms.each_listener(
                    Channels::Named,
                    channel,
                    message,
                    |id, desk, inbox, message| {
                        self.deliver(id, desk, inbox, message, waiting_most(false));
                    },
                );
            });
        }
        Ok(())
    }

    /// Tells clients of changed keys, or whoever hears it instead of them.
    fn tell_changes(&self, rooms: &mut Rooms, told: &[(u64, Option<Vec<u8>>)], most: usize) {
        for (id, key) in told {
            let message = invalidation(key.as_deref());
            self.invalidate(rooms, *id, &message, most);
        }
    }

    /// Tells clients of the keys that were gathered for them: of each prefix, all at once.
    fn tell_gathered(&self, rooms: &mut Rooms, gathered: Gathered, most: usize) {
        for ((_, id, _), keys) in gathered {
            let message = encode(|message| {
                message.push(2);
                message.bulk(b"invalidate");
                message.array(keys.len());
                keys.iter().for_each(|key| message.bulk(key));
            });
            self.invalidate(rooms, id, &message, most);
        }
    }

    /// Gives a client that hears of changes a message, or whoever hears it instead of it.
    fn invalidate(&self, rooms: &mut Rooms, id: u64, message: &Message, most: usize) {
        let Some(tracker) = rooms.tracking.tracker(id) else { return };
        let id = tracker.redirect.unwrap_or(id);
        match rooms.member(id) {
            Some((None, _)) => rooms.miss(id),
            Some((desk, inbox)) => self.deliver(id, desk, inbox, message, most),
            None => {}
        }
    }

    /// Calls a client that is awaited: whoever serves it is to have it [`Exchange::sit`].
    fn call(&self, rooms: &Rooms, id: u64) {
        if let Some((None, inbox)) = rooms.member(id) {
            // It says nothing; but it is heard.
            self.deliver(id, None, inbox, &Message::from([]), waiting_most(false));
        }
    }

    /// Takes note of where a client is served that may be awaited; returns what it is, if messages
    /// may come to it at all. One that has missed changes is told that all may have changed.
    pub(crate) fn sit(&self, who: Who) -> Option<Standing> {
        let rooms = &mut *locked(&self.rooms);
        let has_missed = rooms.sit(who)?;
        if let Some((desk, inbox)) = rooms.member(who.id).filter(|_| has_missed) {
            self.deliver(who.id, desk, inbox, &invalidation(None), waiting_most(false));
        }
        Some(rooms.standing(who.id))
    }

    /// Forgets a client; who had it hear of changes is told that nobody does.
    fn forget(&self, rooms: &mut Rooms, id: u64) {
        // One that is killed does not end its turn.
        let gathered = rooms.tracking.take_gathered_by(Some(id));
        self.tell_gathered(rooms, gathered, waiting_most(false));
        rooms.leave(id);
        for lonely in rooms.tracking.redirecting_to(id) {
            let message = encode(|message| {
                message.push(2);
                message.bulk(b"tracking-redir-broken");
                message.integer(id.cast_signed());
            });
            if let Some((desk, inbox)) = rooms.member(lonely) {
                self.deliver(lonely, desk, inbox, &message, waiting_most(false));
            }
        }
    }

    /// Wakes those who wait, if nobody has to any more.
    fn end_pause(&self, rooms: &Rooms) {
        self.attend(rooms);
        if rooms.pause.is_none() {
            // It says nothing; but it is heard.
            let word = Message::from([]);
            rooms.each_waiting(|id, desk, inbox| {
                self.deliver(id, desk, inbox, &word, waiting_most(false));
            });
        }
    }

    /// Lets everyone who executes commands see what is to be heeded.
    fn attend(&self, rooms: &Rooms) {
        let bit = |is_so: bool, bit| if is_so { bit } else { 0 };
        let pause = match rooms.pause {
            None => 0,
            Some((_, true)) => Attention::WRITES_PAUSED,
            Some((_, false)) => Attention::ALL_PAUSED,
        };
        let bits = bit(rooms.has_monitors(), Attention::MONITORS)
            | bit(!rooms.tracking.is_idle(), Attention::TRACKERS)
            | bit(self.notices().is_any(), Attention::NOTICES)
            | bit(self.words.measures.load(Relaxed) != 0, Attention::MEASURES)
            | pause;
        let attention = &self.words.attention;
        if attention.load(Relaxed) != bits {
            // Release pairs with the Acquire of `attention`.
            attention.store(bits, Release);
        }
        let kinds = [Channels::Named, Channels::Matching, Channels::Sharded];
        let heard = kinds.map(|channels| rooms.heard(channels) as u64);
        let words = self.words.tracked.iter().chain(&self.words.heard);
        for (word, count) in words.zip(rooms.tracking.counts().into_iter().chain(heard)) {
            if word.load(Relaxed) != count {
                word.store(count, Relaxed);
            }
        }
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
        let rooms = &mut *locked(&self.rooms);
        self.forget(rooms, id);
        self.attend(rooms);
    }

    fn reach(&self) -> Option<Arc<dyn Reach>> {
        self.reach.get().and_then(Weak::upgrade)
    }

    /// Has a client hung up on.
    pub(crate) fn cut(&self, id: u64) {
        if let Some(reach) = self.reach() {
            reach.cut(id);
        }
    }

    fn deliver(&self, id: u64, desk: Option<usize>, inbox: &Inbox, message: &Message, most: usize) {
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

/// What a client hears of a key that has changed; of all, if there is none.
fn invalidation(key: Option<&[u8]>) -> Message {
    encode(|message| {
        message.push(2);
        message.bulk(b"invalidate");
        match key {
            Some(key) => {
                message.array(1);
                message.bulk(key);
            }
            None => message.null(),
        }
    })
}

/// A message, encoded once for all who get it.
fn encode(write: impl FnOnce(&mut Encoder<'_>)) -> Message {
    let mut bytes = Vec::new();
    write(&mut Encoder::new(&mut bytes, Version::Resp3));
    bytes.into()
}
