//! CLIENT: who is connected, and what they say of themselves.

use morecore_wire::{Arguments, Client, ClientKind, Encoder, parse_integer};

use super::Answered;
use crate::caller::Caller;
use crate::desk::Desk;

/// The subcommands of CLIENT.
pub(super) fn client<'a>(
    asked: Client<'a>,
    caller: &Caller,
    desk: &Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    match asked {
        Client::Id => reply.integer(caller.place.id.cast_signed()),
        Client::Info => info(caller, desk, reply),
        Client::List { kind, ids } => list(kind, ids, caller, desk, reply),
        Client::GetName => {
            let about = caller.place.about();
            if about.name.is_empty() { reply.null() } else { reply.bulk(&about.name) }
        }
        Client::SetName { name } => {
            caller.place.about().name = name.to_vec();
            reply.ok();
        }
        Client::SetLibraryName { name } => {
            caller.place.about().library_name = name.to_vec();
            reply.ok();
        }
        Client::SetLibraryVersion { version } => {
            caller.place.about().library_version = version.to_vec();
            reply.ok();
        }
        Client::NoEvict { is_on } => {
            caller.place.about().is_no_evict = is_on;
            reply.ok();
        }
        Client::NoTouch { is_on } => {
            caller.place.about().is_no_touch = is_on;
            reply.ok();
        }
    }
    Ok(())
}

/// CLIENT INFO: the line of CLIENT LIST for the caller alone.
fn info(caller: &Caller, desk: &Desk, reply: &mut Encoder<'_>) {
    drop(caller.publish(desk.now_ms));
    let mut line = String::new();
    caller.place.describe(desk.now_ms, &mut line);
    line.push('\n');
    reply.verbatim(line.as_bytes());
}

/// CLIENT LIST. Every client of ours is of the normal kind.
fn list(
    kind: Option<ClientKind>,
    ids: Option<Arguments<'_>>,
    caller: &Caller,
    desk: &Desk,
    reply: &mut Encoder<'_>,
) {
    drop(caller.publish(desk.now_ms));
    let is_named = |id: u64| match ids {
        None => true,
        Some(ids) => ids.iter().any(|named| parse_integer(named) == Some(id.cast_signed())),
    };
    let mut lines = String::new();
    if kind.is_none_or(|kind| kind == ClientKind::Normal) {
        desk.shared.clients.list(desk.now_ms, is_named, &mut lines);
    }
    reply.verbatim(lines.as_bytes());
}
