//! CONFIG: the settings that exist here, under the names that Redis gives them.
//!
//! Promises: only what is true. Where Redis has a setting and we have not the thing, it is absent;
//! `save` and `appendonly` are there because tools ask for them, and say that nothing is saved.

use std::ops::RangeInclusive;
use std::sync::atomic::Ordering::Relaxed;

use morecore_store::{Evict, Stat};
use morecore_wire::{
    Arguments, Config, Encoder, Pairs, Refusal, is_match_ignoring_case, parse_integer,
};

use super::Answered;
use crate::caller::Caller;
use crate::desk::Desk;
use crate::exchange::Asked;
use crate::notices::Notices;
use crate::settings::Settings;
use crate::shared::{Count, Shared};
use crate::slow::PLACES;

/// The subcommands of CONFIG.
pub(super) fn config<'a>(
    asked: Config<'a>,
    caller: &mut Caller,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    match asked {
        Config::Get { patterns } => get(patterns, desk, reply),
        Config::Set { settings } => set(settings, caller, desk, reply),
        Config::ResetStat => {
            desk.shared.reset_counts();
            reply.ok();
            Ok(())
        }
        Config::Rewrite => Err(Refusal::NoConfigFile.into()),
    }
}

/// The one setting that is neither a number nor fixed: letters.
const NOTICES: &[u8] = b"notify-keyspace-events";

/// CONFIG SET: all of them, or none.
fn set<'a>(
    pairs: Pairs<'a>,
    caller: &mut Caller,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    let present = settings(&desk.shared, &desk.store.stat());
    for (index, (name, value)) in pairs.iter().enumerate() {
        let is_it = |other: &[u8]| name.eq_ignore_ascii_case(other);
        if pairs.iter().take(index).any(|(other, _)| is_it(other)) {
            return Err(Refusal::ConfigTwice { name }.into());
        }
        let Some((_, old)) = present.iter().find(|(other, _)| is_it(other.as_bytes())) else {
            return Err(Refusal::ConfigUnknown { name }.into());
        };
        if is_it(NOTICES) {
            Notices::read(value).ok_or(Refusal::ConfigNotices { name })?;
            continue;
        }
        match changeable(name, &desk.shared) {
            // Tools set what they want to be sure of; where it is so already, so be it.
            None if value == old.as_bytes() => {}
            None => return Err(Refusal::ConfigFixed { name }.into()),
            Some(setting) => {
                let number = parse_integer(value).ok_or(Refusal::ConfigNoInteger { name })?;
                if !setting.range.contains(&number) {
                    let (least, most) = (*setting.range.start(), *setting.range.end());
                    return Err(Refusal::ConfigRange { name, least, most }.into());
                }
            }
        }
    }
    for (name, value) in pairs.iter() {
        if let (Some(setting), Some(number)) =
            (changeable(name, &desk.shared), parse_integer(value))
        {
            let old = setting.word.swap(number.cast_unsigned(), Relaxed);
            if setting.is_of_notices {
                desk.shared.slow_log.forget_but(old.min(number.cast_unsigned()));
            }
        }
    }
    let notices = pairs.iter().find(|(name, _)| name.eq_ignore_ascii_case(NOTICES));
    if let Some(notices) = notices.and_then(|(_, value)| Notices::read(value)) {
        desk.shared.clients.exchange.words().notices.store(notices.word(), Relaxed);
        // Whoever executes commands is to heed it from now on.
        desk.ask(Asked::EndTurn, caller, reply);
        desk.heed();
    }
    desk.watch.begin(desk.shared.settings.slow_us.load(Relaxed).cast_signed());
    reply.ok();
    Ok(())
}

/// A setting that CONFIG SET can change: a number.
struct Changeable<'a> {
    word: &'a Count,
    range: RangeInclusive<i64>,
    /// Whether it says how many notices of slow commands there are.
    is_of_notices: bool,
}

/// The setting `name`, if it can be changed.
fn changeable<'a>(name: &[u8], shared: &'a Shared) -> Option<Changeable<'a>> {
    let Settings { clients_most, slow_us, slow_notices_most } = &shared.settings;
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    let (word, range) = match () {
        // Descriptors were set aside for as many.
        () if is("maxclients") => (clients_most, 1..=shared.options.clients_most.into()),
        () if is("slowlog-log-slower-than") => (slow_us, -1..=i64::MAX),
        () if is("slowlog-max-len") => (slow_notices_most, 0..=PLACES as i64),
        () if is("tracking-table-max-keys") => {
            (&shared.clients.exchange.words().tracked_keys_most, 0..=i64::MAX)
        }
        () => return None,
    };
    Some(Changeable { word, range, is_of_notices: is("slowlog-max-len") })
}

/// CONFIG GET: a map of the settings whose names match one of the patterns.
fn get<'a>(patterns: Arguments<'a>, desk: &mut Desk, reply: &mut Encoder<'_>) -> Answered<'a> {
    let is_wanted = |name: &str| {
        let matches = |pattern: &[u8]| is_match_ignoring_case(pattern, name.as_bytes());
        patterns.iter().any(matches)
    };
    let mut settings = settings(&desk.shared, &desk.store.stat());
    settings.retain(|(name, _)| is_wanted(name));
    reply.map(settings.len());
    for (name, value) in settings {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    Ok(())
}

fn settings(shared: &Shared, stat: &Stat) -> Vec<(&'static str, String)> {
    let (options, number) = (&shared.options, |word: &Count| word.load(Relaxed).cast_signed());
    let Settings { clients_most, slow_us, slow_notices_most } = &shared.settings;
    let tracked = &shared.clients.exchange.words().tracked_keys_most;
    let bind: Vec<String> = options.bind.iter().map(ToString::to_string).collect();
    let unix_socket = options.unix_socket.as_ref().map(|path| path.display().to_string());
    let password = options.password.as_deref().map(|password| password.escape_ascii().to_string());
    vec![
        ("appendonly", "no".into()),
        ("bind", bind.join(" ")),
        ("daemonize", "no".into()),
        ("databases", "1".into()),
        ("maxclients", number(clients_most).to_string()),
        ("maxmemory", stat.memory_bytes.to_string()),
        ("maxmemory-clients", options.buffer_bytes_most.to_string()),
        ("maxmemory-policy", policy_name(stat.evict).into()),
        ("notify-keyspace-events", shared.clients.exchange.notices().letters()),
        ("port", shared.port.unwrap_or(0).to_string()),
        ("proto-max-bulk-len", options.bulk_bytes_most.to_string()),
        ("replicaof", String::new()),
        ("requirepass", password.unwrap_or_default()),
        ("save", String::new()),
        ("slaveof", String::new()),
        ("slowlog-log-slower-than", number(slow_us).to_string()),
        ("slowlog-max-len", number(slow_notices_most).to_string()),
        ("tcp-keepalive", options.keep_alive_s.to_string()),
        ("timeout", options.timeout_s.to_string()),
        ("tracking-table-max-keys", number(tracked).to_string()),
        ("unixsocket", unix_socket.unwrap_or_default()),
    ]
}

/// What Redis would call what a full store does. Ours drops any key that was not visited of late,
/// which is what `allkeys-lru` promises, by another method.
pub(super) const fn policy_name(evict: Evict) -> &'static str {
    match evict {
        Evict::Policy => "allkeys-lru",
        Evict::None => "noeviction",
    }
}
