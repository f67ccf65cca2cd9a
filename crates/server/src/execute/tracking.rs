//! CLIENT TRACKING and its kin: who is to hear of keys that change.
//!
//! Source: tracking.c and networking.c of Redis 7.0.15 for words and borders.

use morecore_wire::{Choice, Encoder, Refusal, Track};

use super::{Answered, count_error};
use crate::caller::{Caller, Tracking};
use crate::desk::Desk;
use crate::exchange::{Asked, spell};

const NO_SUCH_CLIENT: &str = "ERR The client ID you want redirect to does not exist";
const OTHER_MODE: &str = "ERR You can't switch BCAST mode on/off before disabling tracking for \
                          this client, and then re-enabling it with a different mode.";
const OTHER_CHOICE: &str = "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for \
                            this client, and then re-enabling it with a different mode.";
const NO_CHOICE: &str = "ERR CLIENT CACHING can be called only when the client is in tracking \
                         mode with OPTIN or OPTOUT mode enabled";
const YES_IS_FOR_IN: &str =
    "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.";
const NO_IS_FOR_OUT: &str =
    "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.";

/// CLIENT TRACKING.
pub(super) fn track<'a>(
    asked: Track<'a>,
    caller: &mut Caller,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    if let Some(id) = asked.redirect.filter(|_| asked.is_on)
        && !desk.shared.clients.has(id)
    {
        return Err(Refusal::Words(NO_SUCH_CLIENT).into());
    }
    let old = caller.extras().tracking.clone();
    if asked.is_on {
        if let Some(words) = old.as_ref().and_then(|old| wrong_change(old, &asked)) {
            return Err(Refusal::Words(words).into());
        }
        let known = old.as_ref().and_then(|old| old.prefixes.clone()).unwrap_or_default();
        if let Some(words) = overlap(&known, &asked) {
            reply.error(&words);
            count_error("ERR", desk);
            return Ok(());
        }
        let mut prefixes = known;
        prefixes.extend(asked.prefixes().map(<[u8]>::to_vec));
        caller.extras().tracking = Some(Tracking {
            redirect: asked.redirect,
            is_no_loop: asked.is_no_loop,
            choice: asked.choice,
            is_chosen: false,
            prefixes: asked.is_broadcast.then_some(prefixes),
        });
    } else {
        caller.extras().tracking = None;
    }
    let is_about_prefixes = asked.is_on && asked.is_broadcast;
    let versions = if is_about_prefixes { desk.store.shard_versions() } else { Vec::new() };
    desk.ask(Asked::Track { asked, versions: &spell(&versions) }, caller, reply);
    reply.ok();
    Ok(())
}

/// What is wrong with asking for something else without asking for nothing before.
fn wrong_change(old: &Tracking, new: &Track<'_>) -> Option<&'static str> {
    if old.prefixes.is_some() != new.is_broadcast {
        return Some(OTHER_MODE);
    }
    (old.choice.is_some() && new.choice.is_some() && old.choice != new.choice)
        .then_some(OTHER_CHOICE)
}

/// What is wrong with prefixes of which one begins as another, if so.
fn overlap(known: &[Vec<u8>], asked: &Track<'_>) -> Option<String> {
    let overlaps = |one: &[u8], two: &[u8]| one.starts_with(two) || two.starts_with(one);
    let words = |one: &[u8], other: &[u8], which: &str| {
        let (one, other) = (String::from_utf8_lossy(one), String::from_utf8_lossy(other));
        format!(
            "ERR Prefix '{one}' overlaps with {which} prefix '{other}'. Prefixes for a single \
             client must not overlap."
        )
    };
    let new: Vec<&[u8]> = asked.prefixes().collect();
    for (index, one) in new.iter().enumerate() {
        if let Some(other) = known.iter().find(|other| overlaps(one, other)) {
            return Some(words(one, other, "an existing"));
        }
        if let Some(other) = new[index + 1..].iter().find(|other| overlaps(one, other)) {
            return Some(words(one, other, "another provided"));
        }
    }
    None
}

/// CLIENT CACHING.
pub(super) fn choose<'a>(
    is_yes: Option<bool>,
    caller: &mut Caller,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    let tracking = caller.extras().tracking.as_mut();
    let Some((tracking, choice)) =
        tracking.and_then(|tracking| tracking.choice.map(|choice| (tracking, choice)))
    else {
        return Err(Refusal::Words(NO_CHOICE).into());
    };
    match (is_yes, choice) {
        (Some(true), Choice::In) | (Some(false), Choice::Out) => {
            tracking.is_chosen = true;
            reply.ok();
            Ok(())
        }
        (Some(true), Choice::Out) => Err(Refusal::Words(YES_IS_FOR_IN).into()),
        (Some(false), Choice::In) => Err(Refusal::Words(NO_IS_FOR_OUT).into()),
        (None, _) => Err(Refusal::Syntax.into()),
    }
}

/// CLIENT GETREDIR: -1 without tracking, 0 without another who is told.
pub(super) fn redirect<'a>(caller: &Caller, reply: &mut Encoder<'_>) -> Answered<'a> {
    reply.integer(caller.redirect());
    Ok(())
}

/// CLIENT TRACKINGINFO.
pub(super) fn info<'a>(caller: &mut Caller, desk: &Desk, reply: &mut Encoder<'_>) -> Answered<'a> {
    let redirect = caller.redirect();
    let tracking = caller.extras().tracking.clone();
    let mut flags = vec![if tracking.is_some() { "on" } else { "off" }];
    if let Some(tracking) = &tracking {
        let is_broken = tracking.redirect.is_some_and(|id| !desk.shared.clients.has(id));
        let (choice, is_chosen) = (tracking.choice, tracking.is_chosen);
        let told = [
            (tracking.prefixes.is_some(), "bcast"),
            (choice == Some(Choice::In), "optin"),
            (choice == Some(Choice::In) && is_chosen, "caching-yes"),
            (choice == Some(Choice::Out), "optout"),
            (choice == Some(Choice::Out) && is_chosen, "caching-no"),
            (tracking.is_no_loop, "noloop"),
            (is_broken, "broken_redirect"),
        ];
        flags.extend(told.iter().filter(|(is_so, _)| *is_so).map(|(_, name)| name));
    }
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.bulk(flag.as_bytes()));
    reply.bulk(b"redirect");
    reply.integer(redirect);
    reply.bulk(b"prefixes");
    let mut prefixes = tracking.and_then(|tracking| tracking.prefixes);
    // One who is told of all keys has one prefix, which is empty.
    if let Some(prefixes) = prefixes.as_mut().filter(|prefixes| prefixes.is_empty()) {
        prefixes.push(Vec::new());
    }
    let prefixes = prefixes.unwrap_or_default();
    reply.array(prefixes.len());
    prefixes.iter().for_each(|prefix| reply.bulk(prefix));
    Ok(())
}
