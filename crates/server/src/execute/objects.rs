//! The commands that look at one entry as a thing, or carry it to another server.
//!
//! Promises: only what is true. `embstr` is a value that stands in its bucket, with its key, as an
//! embedded string of Redis stands with its header; `raw` one that has a payload. No value is an
//! integer: a number is kept as its text.
//! Source: object.c and cluster.c of Redis 7.0.15 for the borders.

use morecore_store::Change;
use morecore_wire::{Encoder, Entry, Object, Refusal, Restore, dump as form};

use super::Answered;
use crate::desk::Desk;

/// The commands about entries.
pub(super) fn entry<'a>(
    asked: Entry<'a>,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    match asked {
        Entry::Object { what, key } => object(what, key, desk, reply),
        Entry::Usage { key } => usage(key, desk, reply),
        Entry::Dump { key } => dump(key, desk, reply),
        Entry::Restore(asked) => restore(asked, desk, reply),
    }
}

/// OBJECT.
fn object<'a>(what: Object, key: &[u8], desk: &mut Desk, reply: &mut Encoder<'_>) -> Answered<'a> {
    let Some(meta) = desk.store.peek(key)? else {
        reply.null();
        return Ok(());
    };
    match what {
        Object::Encoding => reply.bulk(if meta.is_inline(key) { b"embstr" } else { b"raw" }),
        Object::References => reply.integer(1),
        Object::Frequency => return Err(Refusal::FrequencyNotCounted.into()),
        Object::IdleTime => return Err(Refusal::IdleTimeNotCounted.into()),
    }
    Ok(())
}

/// MEMORY USAGE.
fn usage<'a>(key: &[u8], desk: &mut Desk, reply: &mut Encoder<'_>) -> Answered<'a> {
    match desk.store.peek(key)? {
        Some(meta) => reply.integer(meta.entry_bytes(key).cast_signed()),
        None => reply.null(),
    }
    Ok(())
}

/// DUMP.
fn dump<'a>(key: &[u8], desk: &mut Desk, reply: &mut Encoder<'_>) -> Answered<'a> {
    desk.scratch.clear();
    let is_there = desk.store.get(key, &mut desk.scratch)?.is_some();
    desk.count_look_up(is_there);
    if !is_there {
        reply.null();
        return Ok(());
    }
    // Type, length, version and checksum take 20 bytes at most.
    let mut bytes = Vec::with_capacity(desk.scratch.len() + 20);
    form::write(&desk.scratch, &mut bytes);
    reply.bulk(&bytes);
    Ok(())
}

/// RESTORE.
fn restore<'a>(asked: Restore<'a>, desk: &mut Desk, reply: &mut Encoder<'_>) -> Answered<'a> {
    let expiry = match (asked.expiry_ms.unsigned_abs(), asked.is_absolute) {
        (0, _) => None,
        (at_ms, true) => Some(at_ms),
        (ms, false) => Some(desk.now_ms.saturating_add(ms)),
    };
    let has_passed = expiry.is_some_and(|at_ms| at_ms <= desk.now_ms);
    if !asked.is_replace && desk.store.peek(asked.key)?.is_some() {
        return Err(Refusal::BusyKey.into());
    }
    let value = form::read(asked.dump, desk.shared.options.bulk_bytes_most);
    let value = value.map_err(|unreadable| match unreadable {
        form::Unreadable::Foot => Refusal::DumpFoot,
        form::Unreadable::Body => Refusal::DumpBody,
    })?;
    desk.store.update(asked.key, |entry| match entry {
        // Another came between the look and this.
        Some(_) if !asked.is_replace => (Change::Keep, Err(Refusal::BusyKey)),
        None if has_passed => (Change::Keep, Ok(())),
        _ if has_passed => (Change::Remove, Ok(())),
        _ => (Change::Set { value, expiry, flags: 0 }, Ok(())),
    })??;
    reply.ok();
    Ok(())
}
