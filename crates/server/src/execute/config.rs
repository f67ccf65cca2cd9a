//! CONFIG GET: the settings that exist here, under the names that Redis gives them.
//!
//! Promises: only what is true. Where Redis has a setting and we have not the thing, it is absent;
//! `save` and `appendonly` are there because tools ask for them, and say that nothing is saved.

use morecore_store::{Evict, Stat};
use morecore_wire::{Arguments, Encoder, is_match_ignoring_case};

use super::Answered;
use crate::desk::Desk;
use crate::options::Options;

/// CONFIG GET: a map of the settings whose names match one of the patterns.
pub(super) fn get<'a>(
    patterns: Arguments<'a>,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    let is_wanted = |name: &str| {
        let matches = |pattern: &[u8]| is_match_ignoring_case(pattern, name.as_bytes());
        patterns.iter().any(matches)
    };
    let mut settings = settings(&desk.shared.options, desk.shared.port, &desk.store.stat());
    settings.retain(|(name, _)| is_wanted(name));
    reply.map(settings.len());
    for (name, value) in settings {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    Ok(())
}

fn settings(options: &Options, port: Option<u16>, stat: &Stat) -> Vec<(&'static str, String)> {
    let bind: Vec<String> = options.bind.iter().map(ToString::to_string).collect();
    let unix_socket = options.unix_socket.as_ref().map(|path| path.display().to_string());
    let password = options.password.as_deref().map(|password| password.escape_ascii().to_string());
    vec![
        ("appendonly", "no".into()),
        ("bind", bind.join(" ")),
        ("databases", "1".into()),
        ("maxclients", options.clients_most.to_string()),
        ("maxmemory", stat.memory_bytes.to_string()),
        ("maxmemory-clients", options.buffer_bytes_most.to_string()),
        ("maxmemory-policy", policy_name(stat.evict).into()),
        ("port", port.unwrap_or(0).to_string()),
        ("proto-max-bulk-len", options.bulk_bytes_most.to_string()),
        ("requirepass", password.unwrap_or_default()),
        ("save", String::new()),
        ("tcp-keepalive", options.keep_alive_s.to_string()),
        ("timeout", options.timeout_s.to_string()),
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
