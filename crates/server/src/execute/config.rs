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
use crate::log::Level;
use crate::measures::PERCENTILES_MOST;
use crate::notices::Notices;
use crate::password;
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
            desk.shared.measures.reset();
            reply.ok();
            Ok(())
        }
        Config::Rewrite => Err(Refusal::NoConfigFile.into()),
    }
}

/// CONFIG SET: all of them, or none.
fn set<'a>(
    pairs: Pairs<'a>,
    caller: &mut Caller,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    let present = settings(&desk.shared, &desk.store.stat());
    let mut changes = Vec::new();
    for (index, (name, _)) in pairs.iter().enumerate() {
        if pairs.iter().take(index).any(|(other, _)| name.eq_ignore_ascii_case(other)) {
            return Err(Refusal::ConfigTwice { name }.into());
        }
    }
    for (name, value) in pairs.iter() {
        let is_it = |other: &[u8]| name.eq_ignore_ascii_case(other);
        let Some((_, old)) = present.iter().find(|(other, _)| is_it(other.as_bytes())) else {
            return Err(Refusal::ConfigUnknown { name }.into());
        };
        match read(name, value, &desk.shared)? {
            Some(change) => changes.push(change),
            // Tools set what they want to be sure of; where it is so already, so be it.
            None if value == old.as_bytes() => {}
            None => return Err(why_fixed(name).into()),
        }
    }
    for change in changes {
        change.make(caller, desk, reply);
    }
    desk.watch.begin(desk.shared.settings.slow_us.load(Relaxed).cast_signed());
    reply.ok();
    Ok(())
}

/// What CONFIG SET is to change, judged and not made yet.
enum Change<'a> {
    Number { which: Number, to: i64 },
    Notices(Notices),
    Password(&'a [u8]),
    Level(Level),
    Measures(bool),
    Percentiles(Vec<f64>),
}

/// A setting that is a number.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Number {
    ClientsMost,
    KeepAlive,
    SlowFrom,
    SlowNoticesMost,
    Timeout,
    TrackedKeysMost,
}

/// What a value of a setting that can change would make of it; nothing if none can.
fn read<'a>(
    name: &'a [u8],
    value: &'a [u8],
    shared: &Shared,
) -> Result<Option<Change<'a>>, Refusal<'a>> {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    Ok(Some(match () {
        () if is("notify-keyspace-events") => {
            Change::Notices(Notices::read(value).ok_or(Refusal::ConfigNotices { name })?)
        }
        () if is("loglevel") => {
            let is_it = |level: &Level| value.eq_ignore_ascii_case(level.name().as_bytes());
            let level = Level::ALL.into_iter().find(is_it);
            Change::Level(level.ok_or(Refusal::ConfigBecause { name, why: LEVELS })?)
        }
        () if is("latency-tracking") => match value {
            _ if value.eq_ignore_ascii_case(b"yes") => Change::Measures(true),
            _ if value.eq_ignore_ascii_case(b"no") => Change::Measures(false),
            _ => return Err(Refusal::ConfigBecause { name, why: YES_OR_NO }),
        },
        () if is("latency-tracking-info-percentiles") => {
            let because = |why| Refusal::ConfigBecause { name, why };
            Change::Percentiles(read_percentiles(value).map_err(because)?)
        }
        () if is("requirepass") && value.len() > password::BYTES_MOST => {
            return Err(Refusal::ConfigBecause { name, why: LONG_PASSWORD });
        }
        () if is("requirepass") => Change::Password(value),
        () => {
            let Some(which) = Number::ALL.into_iter().find(|which| is(which.name())) else {
                return Ok(None);
            };
            let to = parse_integer(value).ok_or(Refusal::ConfigNoInteger { name })?;
            let range = which.range(shared);
            if !range.contains(&to) {
                let (least, most) = (*range.start(), *range.end());
                return Err(Refusal::ConfigRange { name, least, most });
            }
            Change::Number { which, to }
        }
    }))
}

/// What a client hears that sets `loglevel` to something else.
const LEVELS: &str =
    "argument(s) must be one of the following: debug, verbose, notice, warning, nothing";

/// What it hears that sets something else than yes or no.
const YES_OR_NO: &str = "argument must be 'yes' or 'no'";

/// What it hears that sets percentiles that are none.
const NO_PERCENTILES: &str = "Invalid latency-tracking-info-percentiles parameters";
const PERCENTILES_OUTSIDE: &str =
    "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]";
const TOO_MANY_PERCENTILES: &str = "at most 16 percentiles are told";

/// Reads percentiles, with blanks between.
fn read_percentiles(value: &[u8]) -> Result<Vec<f64>, &'static str> {
    let text = std::str::from_utf8(value).map_err(|_| NO_PERCENTILES)?;
    let numbers: Result<Vec<f64>, _> = text.split_ascii_whitespace().map(str::parse).collect();
    match numbers {
        Err(_) => Err(NO_PERCENTILES),
        Ok(all) if all.iter().any(|one| !(0.0..=100.0).contains(one)) => Err(PERCENTILES_OUTSIDE),
        Ok(all) if all.len() > PERCENTILES_MOST => Err(TOO_MANY_PERCENTILES),
        Ok(all) => Ok(all),
    }
}

/// What it hears that sets a password that has no room.
const LONG_PASSWORD: &str = "a password that is set while the server runs has at most 512 bytes";

/// Why a setting stays as it is.
fn why_fixed(name: &[u8]) -> Refusal<'_> {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    let why = match () {
        () if is("maxmemory") => {
            "the size of a store is decided when it is made: make another with --memory"
        }
        () if is("maxmemory-policy") => {
            "what a full store does is decided when it is made: make another with --evict"
        }
        () => return Refusal::ConfigFixed { name },
    };
    Refusal::ConfigBecause { name, why }
}

impl Change<'_> {
    fn make(self, caller: &mut Caller, desk: &mut Desk, reply: &mut Encoder<'_>) {
        let shared = &desk.shared;
        match self {
            Self::Number { which, to } => {
                let old = which.word(shared).swap(to.cast_unsigned(), Relaxed);
                if which == Number::SlowNoticesMost {
                    shared.slow_log.forget_but(old.min(to.cast_unsigned()));
                }
            }
            Self::Password(password) => shared.password.set(password),
            Self::Level(level) => shared.log.set_level(level),
            Self::Percentiles(all) => shared.measures.set_percentiles(&all),
            Self::Measures(is_on) => {
                shared.clients.exchange.words().measures.store(is_on.into(), Relaxed);
                heed_now(caller, desk, reply);
            }
            Self::Notices(notices) => {
                shared.clients.exchange.words().notices.store(notices.word(), Relaxed);
                heed_now(caller, desk, reply);
            }
        }
    }
}

/// Has whoever executes commands heed what has changed, from now on.
fn heed_now(caller: &mut Caller, desk: &mut Desk, reply: &mut Encoder<'_>) {
    desk.ask(Asked::EndTurn, caller, reply);
    desk.heed();
}

impl Number {
    const ALL: [Self; 6] = [
        Self::ClientsMost,
        Self::KeepAlive,
        Self::SlowFrom,
        Self::SlowNoticesMost,
        Self::Timeout,
        Self::TrackedKeysMost,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::ClientsMost => "maxclients",
            Self::KeepAlive => "tcp-keepalive",
            Self::SlowFrom => "slowlog-log-slower-than",
            Self::SlowNoticesMost => "slowlog-max-len",
            Self::Timeout => "timeout",
            Self::TrackedKeysMost => "tracking-table-max-keys",
        }
    }

    fn word(self, shared: &Shared) -> &Count {
        let settings = &shared.settings;
        match self {
            Self::ClientsMost => &settings.clients_most,
            Self::KeepAlive => &settings.keep_alive_s,
            Self::SlowFrom => &settings.slow_us,
            Self::SlowNoticesMost => &settings.slow_notices_most,
            Self::Timeout => &settings.timeout_s,
            Self::TrackedKeysMost => &shared.clients.exchange.words().tracked_keys_most,
        }
    }

    fn range(self, shared: &Shared) -> RangeInclusive<i64> {
        match self {
            // Descriptors were set aside for as many.
            Self::ClientsMost => 1..=shared.options.clients_most.into(),
            Self::KeepAlive | Self::Timeout => 0..=i32::MAX.into(),
            Self::SlowFrom => -1..=i64::MAX,
            Self::SlowNoticesMost => 0..=PLACES as i64,
            Self::TrackedKeysMost => 0..=i64::MAX,
        }
    }
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
    let options = &shared.options;
    let bind: Vec<String> = options.bind.iter().map(ToString::to_string).collect();
    let unix_socket = options.unix_socket.as_ref().map(|path| path.display().to_string());
    let password = shared.password.now().map(|password| password.escape_ascii().to_string());
    let is_measured = shared.clients.exchange.words().measures.load(Relaxed) != 0;
    let percentiles: Vec<_> = shared.measures.percentiles().iter().map(f64::to_string).collect();
    let mut settings = vec![
        ("appendonly", "no".into()),
        ("bind", bind.join(" ")),
        ("daemonize", "no".into()),
        ("databases", "1".into()),
        ("latency-monitor-threshold", "0".into()),
        ("latency-tracking", if is_measured { "yes" } else { "no" }.into()),
        ("latency-tracking-info-percentiles", percentiles.join(" ")),
        ("loglevel", shared.log.level().name().into()),
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
        ("unixsocket", unix_socket.unwrap_or_default()),
    ];
    settings.extend(Number::ALL.map(|which| {
        let number = which.word(shared).load(Relaxed).cast_signed();
        (which.name(), number.to_string())
    }));
    settings
}

/// What Redis would call what a full store does. Ours drops any key that was not visited of late,
/// which is what `allkeys-lru` promises, by another method.
pub(super) const fn policy_name(evict: Evict) -> &'static str {
    match evict {
        Evict::Policy => "allkeys-lru",
        Evict::None => "noeviction",
    }
}
