//! The commands about the connection itself.
//!
//! Source: networking.c and acl.c of Redis 7.0.15 for the borders.

use morecore_wire::{Credentials, Encoder, Hello, Refusal, Version};

use super::Answered;
use crate::caller::Caller;
use crate::desk::Desk;
use crate::exchange::Asked;

/// The one user that there is.
pub(super) const USER: &[u8] = b"default";

/// PING.
pub(super) fn ping<'a>(
    message: Option<&[u8]>,
    caller: &Caller,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    match message {
        // In RESP2, one who listens takes every array for a message, and nothing else.
        _ if caller.version == Version::Resp2 && caller.standing().is_listening() => {
            reply.array(2);
            reply.bulk(b"pong");
            reply.bulk(message.unwrap_or_default());
        }
        None => reply.simple("PONG"),
        Some(message) => reply.bulk(message),
    }
    Ok(())
}

/// ECHO.
pub(super) fn echo<'a>(message: &[u8], reply: &mut Encoder<'_>) -> Answered<'a> {
    reply.bulk(message);
    Ok(())
}

/// SELECT: there is one database.
pub(super) fn select<'a>(index: i64, reply: &mut Encoder<'_>) -> Answered<'a> {
    if index != 0 {
        return Err(Refusal::DatabaseOutOfRange.into());
    }
    reply.ok();
    Ok(())
}

/// QUIT. That the connection ends is told by `execute`.
pub(super) fn quit<'a>(reply: &mut Encoder<'_>) -> Answered<'a> {
    reply.ok();
    Ok(())
}

/// RESET.
pub(super) fn reset<'a>(
    caller: &mut Caller,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    caller.is_authenticated = !desk.shared.password.is_wanted();
    if caller.standing().is_any() {
        desk.ask(Asked::Leave, caller, reply);
    }
    caller.extras = None;
    speak(Version::Resp2, caller, reply);
    let mut about = caller.place.about();
    if let Some(told) = &mut about.told {
        told.name.clear();
    }
    about.is_no_evict = false;
    about.is_no_touch = false;
    drop(about);
    reply.simple("RESET");
    Ok(())
}

/// AUTH.
pub(super) fn auth<'a>(
    credentials: Credentials<'a>,
    caller: &mut Caller,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    authenticate(credentials, caller, desk)?;
    reply.ok();
    Ok(())
}

/// HELLO.
pub(super) fn hello<'a>(
    asked: Hello<'a>,
    caller: &mut Caller,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    if let Some(credentials) = asked.credentials {
        authenticate(credentials, caller, desk)?;
    }
    if !caller.is_let_in(desk) {
        return Err(Refusal::HelloNoAuth.into());
    }
    if let Some(name) = asked.name {
        caller.place.about().names_mut().name = name.to_vec();
    }
    if let Some(version) = asked.version {
        speak(version, caller, reply);
    }
    reply.map(7);
    for (key, value) in [("server", "morecore"), ("version", env!("CARGO_PKG_VERSION"))] {
        reply.bulk(key.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"proto");
    reply.integer(caller.version.number());
    reply.bulk(b"id");
    reply.integer(caller.place.id.cast_signed());
    for (key, value) in [("mode", "standalone"), ("role", "master")] {
        reply.bulk(key.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"modules");
    reply.array(0);
    Ok(())
}

/// Speaks `version` from now on.
fn speak(version: Version, caller: &mut Caller, reply: &mut Encoder<'_>) {
    caller.version = version;
    caller.place.about().version = version.number().unsigned_abs() as u8;
    reply.set_version(version);
}

/// Lets the caller in if it knows the password.
pub(super) fn authenticate<'a>(
    credentials: Credentials<'a>,
    caller: &mut Caller,
    desk: &Desk,
) -> Result<(), Refusal<'a>> {
    let password = &desk.shared.password;
    if credentials.is_user_implied && !password.is_wanted() {
        return Err(Refusal::NoPasswordSet);
    }
    if !password.is(credentials.password) || credentials.user != USER {
        return Err(Refusal::WrongPassword);
    }
    caller.is_authenticated = true;
    Ok(())
}
