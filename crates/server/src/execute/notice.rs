//! What others notice of a command: those who hear of every command, and those who hear of the
//! keys that change.
//!
//! Promises: a key is remembered as it was before it is read, and a change is told after it.
//! Source: `call` of Redis 7.0.15, tracking.c and replication.c for the borders.

use std::time::{SystemTime, UNIX_EPOCH};

use morecore_wire::{Arguments, Choice, Encoder, Row};

use super::{After, run};
use crate::caller::Caller;
use crate::desk::Desk;
use crate::exchange::{Asked, Changed};
use crate::transaction::Seen;

/// Keys as they were before a command that may change them.
#[derive(Default)]
pub(super) struct Before(Vec<(Vec<u8>, Seen)>);

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
    let after = run(row, arguments, caller, desk, reply);
    tell(&before, caller, desk);
    if matches!(row.name, "flushdb" | "flushall") {
        tell_all(caller, desk);
    }
    feed(row, arguments, caller, desk);
    after
}

/// What the keys of a command are before it changes them, if anybody wants to hear of that.
pub(super) fn look(row: &Row, arguments: Arguments<'_>, desk: &mut Desk) -> Before {
    let mut before = Before::default();
    if desk.attention.has_trackers() && row.flags.is_write() {
        row.each_key(arguments, |key| before.0.push((key.to_vec(), seen(key, desk))));
    }
    before
}

/// Tells of those keys that have changed since.
pub(super) fn tell(before: &Before, caller: &Caller, desk: &mut Desk) {
    for (key, was) in &before.0 {
        let seen = seen(key, desk);
        if seen != *was {
            let shard = desk.store.shard(key).0;
            let changed = Changed { key, shard, seen, by: Some(caller.place.id) };
            desk.tell(Asked::Changed(changed), caller);
        }
    }
}

/// Tells that every key has changed, if anybody wants to hear of that.
pub(super) fn tell_all(caller: &Caller, desk: &mut Desk) {
    if desk.attention.has_trackers() {
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

fn seen(key: &[u8], desk: &mut Desk) -> Seen {
    // What cannot be read is not there for those who would hear of it.
    let found = desk.store.peek(key).ok().flatten();
    found.map(|meta| (meta.version, meta.expiry_ms))
}
