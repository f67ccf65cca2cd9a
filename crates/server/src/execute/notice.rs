//! What others notice of a command: those who hear of every command, those who hear of the keys
//! that change, and those who listen to the channels of keyspace notifications.
//!
//! Promises: a key is remembered as it was before it is read, and a change is told after it.
//! Source: `call` of Redis 7.0.15, tracking.c and replication.c for the borders.

use std::time::{SystemTime, UNIX_EPOCH};

use morecore_wire::{
    Arguments, Channels, Choice, Command, Condition, Encoder, Expiry, PubSub, Row,
};

use super::events::Effect;
use super::{After, measured};
use crate::caller::Caller;
use crate::desk::Desk;
use crate::exchange::{Asked, Changed};
use crate::notices::Notices;
use crate::transaction::Seen;

/// Keys as they were before a command that may change them, and the versions of their shards.
#[derive(Default)]
pub(super) struct Before(Vec<(Vec<u8>, Seen, u64)>);

/// Commits that the set of a new key takes at most, where the table has to make room for it.
const COMMITS_OF_NEW: u64 = 3;

/// What is to be said in channels when it has happened.
#[derive(Default)]
pub(super) struct News {
    /// Events, each with its key.
    events: Vec<(&'static str, Vec<u8>)>,
    /// When keys expire that did not before, or then.
    dying: Vec<(Vec<u8>, Option<u64>)>,
}

/// Executes a command, and has noticed what is to be.
pub(super) fn run_noticed(
    row: &'static Row,
    arguments: Arguments<'_>,
    caller: &mut Caller,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> After {
    let before = look(row, arguments, desk);
    remember(row, arguments, caller, desk);
    let written = reply.len();
    let after = measured::run(row, arguments, caller, desk, reply);
    touch(&before, (row, arguments), reply.behind(written), desk);
    tell(&before, before.commits(), caller, desk);
    let mut news = News::default();
    news.gather(row, arguments, &before, desk);
    news.publish(caller, desk);
    if matches!(row.name, "flushdb" | "flushall") {
        tell_all(caller, desk);
    }
    feed(row, arguments, caller, desk);
    after
}

/// What the keys of a command are before it changes them, if anybody wants to hear of that.
pub(super) fn look(row: &Row, arguments: Arguments<'_>, desk: &mut Desk) -> Before {
    let mut before = Before::default();
    let attention = desk.attention;
    let is_heeded = attention.has_trackers() || attention.has_notices() || attention.has_watchers();
    if is_heeded && row.flags.is_write() {
        row.each_key(arguments, |key| {
            let version = desk.store.shard(key).1;
            before.0.push((key.to_vec(), seen(key, desk), version));
        });
    }
    before
}

/// Counts the keys that a command with this reply has touched, if anybody watches.
pub(super) fn touch(
    before: &Before,
    (row, arguments): (&Row, Arguments<'_>),
    reply: &[u8],
    desk: &mut Desk,
) {
    if !desk.attention.has_watchers() {
        return;
    }
    // A value that is set to expire in the past came, and went at once.
    let is_set = match row.read(arguments) {
        Ok(Command::Set(set)) => {
            matches!(set.expiry, Expiry::At(_)) && set.condition != Condition::Present
        }
        _ => false,
    };
    let is_given_deadline = match row.name {
        "expire" | "pexpire" | "expireat" | "pexpireat" => reply == b":1\r\n",
        "getex" => {
            let is_persist = |word: &[u8]| word.eq_ignore_ascii_case(b"persist");
            arguments.get(2).is_some_and(|word| !is_persist(word)) && !reply.starts_with(b"-")
        }
        _ => false,
    };
    for (key, was, _) in &before.0 {
        let is = seen(key, desk);
        // A deadline that it had already leaves no other trace.
        let is_same = is == *was && !(is_given_deadline && is.is_some());
        if !is_same || (is_set && is.is_none()) {
            desk.shared.touches.touch(key);
        }
    }
}

/// Tells of those keys that have changed since, in so many commits at most.
pub(super) fn tell(before: &Before, commits: u64, caller: &Caller, desk: &mut Desk) {
    if !desk.attention.has_trackers() {
        return;
    }
    for (key, was, version) in &before.0 {
        let (shard, after) = desk.store.shard(key);
        let seen = seen(key, desk);
        // Where it expired within the turn that it was set in, only its shard tells.
        if seen != *was || (seen.is_none() && after != *version) {
            let (by, moved) = (Some(caller.place.id), [*version, after]);
            let changed = Changed { key, shard, seen, by, moved, commits };
            desk.tell(Asked::Changed(changed), caller);
            desk.has_told_changes = true;
        }
    }
}

impl Before {
    /// How many commits the command can have taken at most. All of them move each of its shards.
    pub(super) fn commits(&self) -> u64 {
        self.0.iter().map(|(_, was, _)| if was.is_none() { COMMITS_OF_NEW } else { 1 }).sum()
    }
}

impl News {
    /// Takes note of what a command has done to keys that were so before.
    pub(super) fn gather(
        &mut self,
        row: &Row,
        arguments: Arguments<'_>,
        before: &Before,
        desk: &mut Desk,
    ) {
        if !desk.attention.has_notices() {
            return;
        }
        let wanted = desk.shared.clients.exchange.notices();
        for (key, before, _) in &before.0 {
            let after = seen(key, desk);
            let effect = Effect { row, arguments, before: *before, after };
            effect.each_event(wanted, |event| self.events.push((event, key.clone())));
            let expiry = |seen: Seen| seen.and_then(|(_, expiry_ms)| expiry_ms);
            if wanted.has(Notices::EXPIRED) && expiry(*before) != expiry(after) {
                self.dying.push((key.clone(), expiry(after)));
            }
        }
    }

    /// Says it.
    pub(super) fn publish(self, caller: &Caller, desk: &mut Desk) {
        for (key, expiry_ms) in self.dying {
            desk.tell(Asked::Dies { key: &key, expiry_ms }, caller);
        }
        let wanted = desk.shared.clients.exchange.notices();
        for (event, key) in self.events {
            wanted.each_channel(event, &key, |name, message| {
                let channels = Channels::Named;
                let asked = PubSub::Publish { channels, name, message };
                desk.tell(Asked::PubSub(asked), caller);
            });
        }
    }
}

/// Tells that every key has changed, if anybody wants to hear of that.
pub(super) fn tell_all(caller: &Caller, desk: &mut Desk) {
    if desk.attention.has_trackers() || desk.attention.has_notices() {
        desk.tell(Asked::AllChanged, caller);
    }
}

/// Remembers the keys that a command is about to read, if its client wants to hear of changes.
pub(super) fn remember(row: &Row, arguments: Arguments<'_>, caller: &Caller, desk: &mut Desk) {
    if row.flags.is_read_only() && wants_keys(caller) {
        row.each_key(arguments, |key| {
            let (shard, version) = desk.store.shard(key);
            let seen = seen(key, desk);
            desk.tell(Asked::Remember { key, shard, version, seen }, caller);
        });
    }
}

/// Whether the keys that a client reads now are remembered for it.
fn wants_keys(caller: &Caller) -> bool {
    let tracking = caller.extras.as_ref().and_then(|extras| extras.tracking.as_ref());
    tracking.is_some_and(|tracking| {
        tracking.prefixes.is_none()
            && match tracking.choice {
                None => true,
                Some(Choice::In) => tracking.is_chosen,
                Some(Choice::Out) => !tracking.is_chosen,
            }
    })
}

/// Shows a command to those who hear of every command.
pub(super) fn feed(row: &Row, arguments: Arguments<'_>, caller: &Caller, desk: &mut Desk) {
    if !desk.attention.has_monitors() || row.flags.is_admin() {
        return;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, micros) = (now.as_secs(), now.subsec_micros());
    let remote = caller.place.remote();
    let mut line = format!("+{seconds}.{micros:06} [0 {remote}]").into_bytes();
    // Passwords are nobody else's.
    let shown = if matches!(row.name, "auth" | "hello") { 1 } else { arguments.len() };
    for argument in arguments.iter().take(shown) {
        line.extend_from_slice(b" \"");
        line.extend(argument.iter().flat_map(|&byte| std::ascii::escape_default(byte)));
        line.push(b'"');
    }
    line.extend_from_slice(if shown < arguments.len() { b" (redacted)\r\n" } else { b"\r\n" });
    desk.tell(Asked::Feed(&line), caller);
}

pub(super) fn seen(key: &[u8], desk: &mut Desk) -> Seen {
    // What cannot be read is not there for those who would hear of it.
    let found = desk.store.peek(key).ok().flatten();
    found.map(|meta| (meta.version, meta.expiry_ms))
}
