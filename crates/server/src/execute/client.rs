//! CLIENT: who is connected, what they say of themselves, and what comes to them from others.

use morecore_wire::{
    Arguments, Client, ClientKind, Encoder, Kill, PubSub, Refusal, Replies, parse_integer,
};

use super::connection::USER;
use super::{Answered, count_error, tracking};
use crate::caller::{Caller, Muted};
use crate::clients::About;
use crate::desk::Desk;
use crate::exchange::Asked;

/// What is said where CLIENT KILL finds nobody.
const NO_SUCH_CLIENT: &str = "ERR No such client";

/// The subcommands of CLIENT.
pub(super) fn client<'a>(
    asked: Client<'a>,
    caller: &mut Caller,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    match asked {
        Client::Id => reply.integer(caller.place.id.cast_signed()),
        Client::Info { bytes } => {
            show(bytes, caller, desk);
            info(caller, desk, reply);
        }
        Client::List { kind, ids, bytes } => {
            show(bytes, caller, desk);
            list(kind, ids, desk, reply);
        }
        Client::GetName => {
            let about = caller.place.about();
            let name = &about.names().name;
            if name.is_empty() { reply.null() } else { reply.bulk(name) }
        }
        Client::SetName { name } => {
            caller.place.about().names_mut().name = name.to_vec();
            reply.ok();
        }
        Client::SetLibraryName { name } => {
            caller.place.about().names_mut().library_name = name.to_vec();
            reply.ok();
        }
        Client::SetLibraryVersion { version } => {
            caller.place.about().names_mut().library_version = version.to_vec();
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
        Client::Kill(asked) => return kill(asked, caller, desk, reply),
        Client::Reply(replies) => mute(replies, caller, reply),
        Client::Pause { time_ms, writes_only } => {
            // A pause that is over already is none.
            let until_ms = desk.now_ms.saturating_add(time_ms.max(1));
            desk.ask(Asked::Pause { until_ms, writes_only }, caller, reply);
            reply.ok();
        }
        Client::Unpause => {
            desk.ask(Asked::Pause { until_ms: 0, writes_only: false }, caller, reply);
            reply.ok();
        }
        Client::Unblock => reply.integer(0),
        Client::Track(asked) => return tracking::track(asked, caller, desk, reply),
        Client::TrackingInfo => return tracking::info(caller, desk, reply),
        Client::Caching { is_yes } => return tracking::choose(is_yes, caller, reply),
        Client::GetRedirect => return tracking::redirect(caller, reply),
    }
    Ok(())
}

/// SUBSCRIBE, PUBLISH and their kin.
pub(super) fn pubsub<'a>(
    asked: PubSub<'_>,
    caller: &mut Caller,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    desk.ask(Asked::PubSub(asked), caller, reply);
    Ok(())
}

/// MONITOR.
pub(super) fn monitor<'a>(
    caller: &mut Caller,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    desk.ask(Asked::Monitor, caller, reply);
    reply.ok();
    Ok(())
}

/// CLIENT REPLY: only ON is answered.
fn mute(replies: Replies, caller: &mut Caller, reply: &mut Encoder<'_>) {
    let muted = &mut caller.extras().muted;
    match replies {
        Replies::On => {
            *muted = Muted::Nothing;
            reply.ok();
        }
        Replies::Off => *muted = Muted::Everything,
        Replies::Skip if *muted == Muted::Nothing => *muted = Muted::Next,
        Replies::Skip => {}
    }
}

/// CLIENT KILL.
fn kill<'a>(
    asked: Kill<'a>,
    caller: &mut Caller,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    if let Some(user) = asked.user.filter(|user| *user != USER) {
        count_error("ERR", desk);
        reply.error(&format!("ERR No such user '{}'", String::from_utf8_lossy(user)));
        return Ok(());
    }
    let own = caller.place.id;
    let mut ids = Vec::new();
    desk.shared.clients.each_with_id(|id, origin, about| {
        let is_it = asked.id.is_none_or(|wanted| wanted == id)
            && asked.remote.is_none_or(|remote| remote == origin.remote.as_bytes())
            && asked.local.is_none_or(|local| local == origin.local.as_bytes())
            && asked.kind.is_none_or(|kind| kind == kind_of(about))
            && !(asked.spares_me && id == own);
        if is_it {
            ids.push(id);
        }
    });
    for &id in &ids {
        if id == own {
            caller.extras().is_leaving = true;
        } else {
            desk.tell(Asked::Cut(id), caller);
        }
    }
    match (asked.is_of_one, ids.len()) {
        (true, 0) => return Err(Refusal::Words(NO_SUCH_CLIENT).into()),
        (true, _) => reply.ok(),
        (false, count) => reply.integer(count as i64),
    }
    Ok(())
}

/// The kind that a client is of.
fn kind_of(about: &About) -> ClientKind {
    if about.standing.is_listening() { ClientKind::PubSub } else { ClientKind::Normal }
}

/// Shows what the caller is, within a command of so many bytes.
fn show(bytes: usize, caller: &Caller, desk: &Desk) {
    caller.publish(desk.now_ms).pending_bytes = bytes;
}

/// CLIENT INFO: the line of CLIENT LIST for the caller alone.
fn info(caller: &Caller, desk: &Desk, reply: &mut Encoder<'_>) {
    let mut line = String::new();
    caller.place.describe(desk.now_ms, &mut line);
    line.push('\n');
    reply.verbatim(line.as_bytes());
}

/// CLIENT LIST.
fn list(
    kind: Option<ClientKind>,
    ids: Option<Arguments<'_>>,
    desk: &Desk,
    reply: &mut Encoder<'_>,
) {
    let is_wanted = |id: u64, about: &About| match (ids, kind) {
        (Some(ids), _) => ids.iter().any(|named| parse_integer(named) == Some(id.cast_signed())),
        (None, Some(kind)) => kind == kind_of(about),
        (None, None) => true,
    };
    let mut lines = String::new();
    desk.shared.clients.list(desk.now_ms, is_wanted, &mut lines);
    reply.verbatim(lines.as_bytes());
}
