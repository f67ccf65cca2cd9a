//! MULTI, EXEC, DISCARD, WATCH and UNWATCH.
//!
//! ```text
//!   EXEC: hold all keys --> what is watched is as it was?  no: let go, null
//!                             v yes
//!         command after command, over the keyspace's overlay --> commit --> the replies
//! ```
//!
//! Promises: nobody comes between the commands of a transaction, and whoever is killed, all of them
//! happened or none, as far as one journal of the store goes (docs/server.md has the bound). A
//! command that fails does not stop the others. Watching sees every change, whoever makes it.
//! Source: multi.c of Redis 7.0.15.

use morecore_store as store;
use morecore_wire::{Arguments, Encoder, Refusal, find};

use super::{Answered, Denied, count_error, measured, notice};
use crate::caller::Caller;
use crate::desk::Desk;
use crate::transaction::{KEPT_BYTES_MOST, Seen, Transaction, Watched};

/// What a client hears that watches without end.
const TOO_MANY_WATCHED: &str = "ERR the watched keys have more than 1073741824 bytes";

/// MULTI.
pub(super) fn multi<'a>(caller: &mut Caller, reply: &mut Encoder<'_>) -> Answered<'a> {
    let extras = caller.extras();
    if extras.transaction.is_some() {
        return Err(Refusal::MultiNested.into());
    }
    extras.transaction = Some(Transaction::default());
    reply.ok();
    Ok(())
}

/// DISCARD.
pub(super) fn discard<'a>(caller: &mut Caller, reply: &mut Encoder<'_>) -> Answered<'a> {
    let extras = caller.extras();
    extras.transaction.take().ok_or(Refusal::DiscardWithoutMulti)?;
    extras.watched = Watched::default();
    reply.ok();
    Ok(())
}

/// WATCH.
pub(super) fn watch<'a>(
    keys: Arguments<'a>,
    caller: &mut Caller,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    if caller.extras().transaction.is_some() {
        return Err(Refusal::WatchWithinMulti.into());
    }
    caller.extras().watched.begin(&desk.shared.clients.exchange.words().watchers);
    // What this client does next counts, too.
    desk.heed();
    for key in keys.iter() {
        if caller.kept_bytes() + key.len() > KEPT_BYTES_MOST {
            count_error("ERR", desk);
            reply.error(TOO_MANY_WATCHED);
            return Ok(());
        }
        let touches = desk.shared.touches.of(key);
        let seen = desk.store.peek(key)?.map(|meta| (meta.version, meta.expiry_ms));
        caller.extras().watched.add(key, seen, touches);
    }
    reply.ok();
    Ok(())
}

/// UNWATCH.
pub(super) fn unwatch<'a>(caller: &mut Caller, reply: &mut Encoder<'_>) -> Answered<'a> {
    if let Some(extras) = &mut caller.extras {
        extras.watched = Watched::default();
    }
    reply.ok();
    Ok(())
}

/// EXEC.
pub(super) fn exec<'a>(
    caller: &mut Caller,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    let extras = caller.extras();
    let transaction = extras.transaction.take().ok_or(Refusal::ExecWithoutMulti)?;
    let watched = std::mem::take(&mut extras.watched);
    if transaction.is_spoiled() {
        return Err(Refusal::ExecAborted.into());
    }
    hold(&transaction, &watched, desk)?;
    match is_as_it_was(&watched, desk) {
        Ok(true) => {}
        changed => {
            desk.store.let_go();
            changed?;
            reply.null_array();
            return Ok(());
        }
    }
    let before = look_at_all(&transaction, desk);
    let (replies, news) = run_all(&transaction, caller, desk);
    desk.store.commit()?;
    tell_of_all(&transaction, &before, caller, desk);
    news.publish(caller, desk);
    reply.set_version(caller.version);
    reply.array(transaction.count());
    reply.encoded(&replies);
    Ok(())
}

/// Holds all that the commands name, and what is watched.
fn hold<'a>(
    transaction: &Transaction,
    watched: &Watched,
    desk: &mut Desk,
) -> Result<(), Denied<'a>> {
    let (mut bytes, mut ends, mut clears) = (Vec::new(), Vec::new(), false);
    transaction.each(|arguments| {
        let Ok(row) = find(arguments) else { return };
        clears |= matches!(row.name, "flushdb" | "flushall");
        row.each_key(arguments, |key| {
            // One that is too long is refused where its command is executed.
            if desk.store.peek(key).is_ok() {
                bytes.extend_from_slice(key);
                ends.push(bytes.len());
            }
        });
    });
    let mut start = 0;
    let mut keys: Vec<&[u8]> = watched.iter().map(|(key, ..)| key).collect();
    keys.extend(ends.iter().map(|&end| &bytes[std::mem::replace(&mut start, end)..end]));
    Ok(desk.store.begin(&keys, clears)?)
}

/// Whether no watched key has changed.
fn is_as_it_was(watched: &Watched, desk: &mut Desk) -> Result<bool, store::Error> {
    for (key, seen, touches) in watched.iter() {
        let now: Seen = desk.store.peek(key)?.map(|meta| (meta.version, meta.expiry_ms));
        if now != seen || desk.shared.touches.of(key) != touches {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Executes all commands; returns their replies, and what is to be said of them.
fn run_all(
    transaction: &Transaction,
    caller: &mut Caller,
    desk: &mut Desk,
) -> (Vec<u8>, notice::News) {
    let (mut replies, mut news) = (Vec::new(), notice::News::default());
    transaction.each(|arguments| {
        let mut reply = Encoder::new(&mut replies, caller.version);
        if let Ok(row) = find(arguments) {
            desk.counts.commands += 1;
            // None of those that end a connection is put into a transaction.
            notice::remember(row, arguments, caller, desk);
            let before = notice::look(row, arguments, desk);
            let written = reply.len();
            let _goes_on = measured::run(row, arguments, caller, desk, &mut reply);
            notice::touch(&before, (row, arguments), &replies[written..], desk);
            news.gather(row, arguments, &before, desk);
        }
    });
    (replies, news)
}

/// What all keys of the commands are before.
fn look_at_all(transaction: &Transaction, desk: &mut Desk) -> Vec<notice::Before> {
    let mut before = Vec::new();
    if desk.attention.has_trackers() {
        transaction.each(|arguments| {
            before.extend(find(arguments).map(|row| notice::look(row, arguments, desk)));
        });
    }
    before
}

/// Has noticed by others what the commands did.
fn tell_of_all(
    transaction: &Transaction,
    before: &[notice::Before],
    caller: &Caller,
    desk: &mut Desk,
) {
    if !desk.attention.is_any() {
        return;
    }
    transaction.each(|arguments| {
        let Ok(row) = find(arguments) else { return };
        if matches!(row.name, "flushdb" | "flushall") {
            notice::tell_all(caller, desk);
        }
        notice::feed(row, arguments, caller, desk);
    });
    let commits = before.iter().map(notice::Before::commits).sum();
    before.iter().for_each(|before| notice::tell(before, commits, caller, desk));
}
