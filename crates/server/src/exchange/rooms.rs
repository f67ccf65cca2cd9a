//! The rooms of the exchange: which client listens to which channels.
//!
//! Promises: a channel that nobody listens to is not known; what a client listens to has a bound.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use morecore_wire::{Arguments, Channels, Encoder, Track, is_match};

use super::dying::Dying;
use super::tracker::{Pass, Tracker};
use super::tracking::Tracking;
use super::{Inbox, Message, Standing, Who, encode};

/// Bytes of names that one client may listen to; each name counts [`NAME_BYTES`] more.
const NAMES_BYTES_MOST: usize = 16 << 20;

/// What a name costs beside its bytes: it stands in two tables.
const NAME_BYTES: usize = 128;

/// What a client hears that listens to more.
const TOO_MANY: &str = "ERR this client listens to names of 16777216 bytes already";

/// The rooms.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    /// Of each kind, who listens to a name.
    rooms: [BTreeMap<Vec<u8>, BTreeSet<u64>>; 3],
    members: HashMap<u64, Member>,
    pub(super) tracking: Tracking,
    pub(super) dying: Dying,
    /// Until when commands wait, in unix milliseconds, and whether only those that write.
    pub(super) pause: Option<(u64, bool)>,
    /// Who hears of every command.
    monitors: BTreeSet<u64>,
    /// Whose commands wait for the end of a pause.
    waiting: BTreeSet<u64>,
}

/// A client that messages may come to.
///
/// ```text
///   asks for something itself ---------------------------> seated: where it is served is known
///   another has it told of changes --> awaited --sits----> seated
/// ```
#[derive(Debug, Default)]
struct Member {
    inbox: Arc<Inbox>,
    /// Where it is served; nothing: it is awaited.
    desk: Option<usize>,
    /// Whether another ever had what it is to hear of changes told to this client.
    is_told: bool,
    /// Whether something was for it while it was awaited.
    has_missed: bool,
    names: [BTreeSet<Vec<u8>>; 3],
    bytes: usize,
}

impl Rooms {
    pub(super) fn subscribe(
        &mut self,
        who: Who,
        channels: Channels,
        name: &[u8],
        reply: &mut Encoder<'_>,
    ) {
        let member = self.join(who);
        if !member.names[index(channels)].contains(name) {
            let bytes = name.len() + NAME_BYTES;
            if member.bytes + bytes > NAMES_BYTES_MOST {
                reply.error(TOO_MANY);
                return;
            }
            member.bytes += bytes;
            member.names[index(channels)].insert(name.to_vec());
            self.rooms[index(channels)].entry(name.to_vec()).or_default().insert(who.id);
        }
        self.confirm(who.id, verb(channels, true), channels, Some(name), reply);
    }

    pub(super) fn unsubscribe(
        &mut self,
        id: u64,
        channels: Channels,
        name: &[u8],
        reply: &mut Encoder<'_>,
    ) {
        if let Some(member) = self.members.get_mut(&id)
            && member.names[index(channels)].remove(name)
        {
            member.bytes -= name.len() + NAME_BYTES;
            self.empty(id, channels, name);
        }
        self.confirm(id, verb(channels, false), channels, Some(name), reply);
        self.drop_idle(id);
    }

    pub(super) fn unsubscribe_all(&mut self, id: u64, channels: Channels, reply: &mut Encoder<'_>) {
        let member = self.members.get_mut(&id);
        let names = member.map(|member| member.names[index(channels)].clone()).unwrap_or_default();
        if names.is_empty() {
            self.confirm(id, verb(channels, false), channels, None, reply);
        }
        for name in names {
            self.unsubscribe(id, channels, &name, reply);
        }
    }

    /// Has a client hear of every command.
    pub(super) fn monitor(&mut self, who: Who) {
        self.join(who);
        self.monitors.insert(who.id);
    }

    /// Takes note that a command of a client waits for the end of a pause, or has waited.
    pub(super) fn wait(&mut self, who: Who, is_waiting: bool) {
        if is_waiting {
            self.join(who);
            self.waiting.insert(who.id);
        } else {
            self.waiting.remove(&who.id);
            self.drop_idle(who.id);
        }
    }

    /// Has a client hear of changed keys, or no more; the shards have these versions.
    pub(super) fn track(&mut self, who: Who, asked: Track<'_>, versions: &[u8]) {
        if asked.is_on {
            self.join(who);
            if let Some(id) = asked.redirect {
                self.await_one(id);
            }
            let prefixes =
                asked.is_broadcast.then(|| asked.prefixes().map(<[u8]>::to_vec).collect());
            let (redirect, is_no_loop) = (asked.redirect, asked.is_no_loop);
            let versions = versions.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
            let pass = asked.is_broadcast.then(|| Pass::new(versions));
            self.tracking.begin(who.id, Tracker { redirect, is_no_loop, prefixes, pass });
        } else {
            self.tracking.end(who.id);
            self.drop_idle(who.id);
        }
    }

    fn join(&mut self, who: Who) -> &mut Member {
        let member = self.members.entry(who.id).or_default();
        member.desk = Some(who.desk);
        member
    }

    /// Has a client be told what another is to hear. It never asked for it, so it is awaited.
    pub(super) fn await_one(&mut self, id: u64) {
        self.members.entry(id).or_default().is_told = true;
    }

    /// Takes note where a client is served that may be awaited; returns whether it has missed
    /// something, if anything may come to it at all.
    pub(super) fn sit(&mut self, who: Who) -> Option<bool> {
        let member = self.members.get_mut(&who.id)?;
        member.desk = Some(who.desk);
        Some(std::mem::take(&mut member.has_missed))
    }

    /// Where a client is served, nothing if it is awaited, and where what comes to it waits.
    pub(super) fn member(&self, id: u64) -> Option<(Option<usize>, &Inbox)> {
        self.members.get(&id).map(|member| (member.desk, &*member.inbox))
    }

    /// Takes note that something was for a client that is awaited.
    pub(super) fn miss(&mut self, id: u64) {
        if let Some(member) = self.members.get_mut(&id) {
            member.has_missed = true;
        }
    }

    pub(super) fn has_monitors(&self) -> bool {
        !self.monitors.is_empty()
    }

    pub(super) fn each_monitor(&self, each: impl FnMut(u64, Option<usize>, &Inbox)) {
        self.each_member(&self.monitors, each);
    }

    pub(super) fn each_waiting(&self, each: impl FnMut(u64, Option<usize>, &Inbox)) {
        self.each_member(&self.waiting, each);
    }

    fn each_member(&self, ids: &BTreeSet<u64>, mut each: impl FnMut(u64, Option<usize>, &Inbox)) {
        for &id in ids {
            if let Some((desk, inbox)) = self.member(id) {
                each(id, desk, inbox);
            }
        }
    }

    /// Forgets all that a client asked for.
    pub(super) fn leave(&mut self, id: u64) {
        self.tracking.end(id);
        self.monitors.remove(&id);
        self.waiting.remove(&id);
        let Some(member) = self.members.remove(&id) else { return };
        for channels in [Channels::Named, Channels::Matching, Channels::Sharded] {
            for name in &member.names[index(channels)] {
                self.empty(id, channels, name);
            }
        }
    }

    /// Forgets all that a client asked for, which is still there: for others, if they have what
    /// they are to hear told to it.
    pub(super) fn start_anew(&mut self, who: Who) {
        self.leave(who.id);
        if !self.tracking.redirecting_to(who.id).is_empty() {
            self.join(who).is_told = true;
        }
    }

    /// Calls `each` with everyone who hears what is said in a channel, and with the message.
    pub(super) fn each_listener(
        &self,
        channels: Channels,
        name: &[u8],
        text: &[u8],
        mut each: impl FnMut(u64, Option<usize>, &Inbox, &Message),
    ) {
        let mut tell = |ids: &BTreeSet<u64>, message: &Message| {
            for (id, member) in ids.iter().filter_map(|id| Some((*id, self.members.get(id)?))) {
                each(id, member.desk, &member.inbox, message);
            }
        };
        if let Some(ids) = self.rooms[index(channels)].get(name) {
            let kind: &[u8] = if channels == Channels::Sharded { b"smessage" } else { b"message" };
            tell(ids, &encode(|message| write(&[kind, name, text], message)));
        }
        if channels == Channels::Sharded {
            return;
        }
        for (pattern, ids) in &self.rooms[index(Channels::Matching)] {
            if is_match(pattern, name) {
                tell(ids, &encode(|message| write(&[b"pmessage", pattern, name, text], message)));
            }
        }
    }

    /// PUBSUB CHANNELS.
    pub(super) fn list(&self, channels: Channels, pattern: Option<&[u8]>, reply: &mut Encoder<'_>) {
        let is_wanted = |name: &&Vec<u8>| pattern.is_none_or(|pattern| is_match(pattern, name));
        let names: Vec<_> = self.rooms[index(channels)].keys().filter(is_wanted).collect();
        reply.array(names.len());
        names.into_iter().for_each(|name| reply.bulk(name));
    }

    /// PUBSUB NUMSUB.
    pub(super) fn count(&self, channels: Channels, names: Arguments<'_>, reply: &mut Encoder<'_>) {
        reply.array(2 * names.len());
        for name in names.iter() {
            reply.bulk(name);
            let count = self.rooms[index(channels)].get(name).map_or(0, BTreeSet::len);
            reply.integer(count as i64);
        }
    }

    /// How many names of a kind somebody listens to.
    pub(super) fn heard(&self, channels: Channels) -> usize {
        self.rooms[index(channels)].len()
    }

    pub(super) fn standing(&self, id: u64) -> Standing {
        let Some(member) = self.members.get(&id) else { return Standing::default() };
        let listening = [0, 1, 2].map(|kind| member.names[kind].len() as u32);
        Standing {
            listening,
            is_monitor: self.monitors.contains(&id),
            is_tracking: self.tracking.tracker(id).is_some(),
            is_waiting: self.waiting.contains(&id),
            is_told: member.is_told,
        }
    }

    pub(super) fn inbox(&self, id: u64) -> Option<Arc<Inbox>> {
        self.members.get(&id).map(|member| Arc::clone(&member.inbox))
    }

    /// Tells a client what it listens to now. Redis counts channels and patterns together.
    fn confirm(
        &self,
        id: u64,
        verb: &str,
        channels: Channels,
        name: Option<&[u8]>,
        reply: &mut Encoder<'_>,
    ) {
        let [named, matching, sharded] = self.standing(id).listening;
        let count = if channels == Channels::Sharded { sharded } else { named + matching };
        reply.push(3);
        reply.bulk(verb.as_bytes());
        match name {
            Some(name) => reply.bulk(name),
            None => reply.null(),
        }
        reply.integer(count.into());
    }

    /// Takes a client out of a room.
    fn empty(&mut self, id: u64, channels: Channels, name: &[u8]) {
        let rooms = &mut self.rooms[index(channels)];
        if let Some(ids) = rooms.get_mut(name) {
            ids.remove(&id);
            if ids.is_empty() {
                rooms.remove(name);
            }
        }
    }

    /// Forgets a client that nothing comes to any more.
    fn drop_idle(&mut self, id: u64) {
        if !self.standing(id).is_any() {
            self.members.remove(&id);
        }
    }
}

const fn index(channels: Channels) -> usize {
    match channels {
        Channels::Named => 0,
        Channels::Matching => 1,
        Channels::Sharded => 2,
    }
}

/// What a client hears when it begins or ends to listen.
const fn verb(channels: Channels, begins: bool) -> &'static str {
    match (channels, begins) {
        (Channels::Named, true) => "subscribe",
        (Channels::Named, false) => "unsubscribe",
        (Channels::Matching, true) => "psubscribe",
        (Channels::Matching, false) => "punsubscribe",
        (Channels::Sharded, true) => "ssubscribe",
        (Channels::Sharded, false) => "sunsubscribe",
    }
}

fn write(parts: &[&[u8]], message: &mut Encoder<'_>) {
    message.push(parts.len());
    parts.iter().for_each(|part| message.bulk(part));
}
