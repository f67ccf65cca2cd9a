//! `stats`: how the server and its store are, in the lines that monitors of memcached read.
//!
//! Promises: only what is true, under memcached's names where memcached has the thing; what is ours
//! alone begins with `morecore_`. Entries are not sorted into classes here: all are of class 1.
//! Source: doc/protocol.txt of memcached.

use std::sync::atomic::Ordering::Relaxed;

use morecore_store::Evict;
use morecore_wire::Protocol;
use morecore_wire::memcached::{Encoder, Limits, Stats};

use super::{CLASS, MEMCACHED_VERSION};
use crate::desk::Desk;
use crate::tally::Tally;

/// `stats` and its kin.
pub(super) fn stats(asked: Stats, desk: &mut Desk, reply: &mut Encoder<'_>) {
    match asked {
        Stats::General => general(desk, reply),
        Stats::Reset => {
            desk.shared.reset_counts();
            return reply.reset();
        }
        Stats::Settings => settings(desk, reply),
        Stats::Items => items(desk, reply),
        Stats::Slabs => slabs(desk, reply),
        // As memcached says where nobody asked it to keep count of sizes.
        Stats::Sizes => reply.stat("sizes_status", "disabled"),
        Stats::Connections => connections(desk, reply),
    }
    reply.end();
}

fn general(desk: &mut Desk, reply: &mut Encoder<'_>) {
    let (stat, shared) = (desk.store.stat(), &desk.shared);
    let counts = shared.counts();
    reply.stat("pid", std::process::id());
    reply.stat("uptime", desk.now_ms.saturating_sub(shared.started_ms) / 1000);
    reply.stat("time", desk.now_ms / 1000);
    reply.stat("version", MEMCACHED_VERSION);
    reply.stat("morecore_version", env!("CARGO_PKG_VERSION"));
    reply.stat("morecore_store", &stat.name);
    reply.stat("morecore_model", shared.options.model);
    reply.stat("pointer_size", usize::BITS);
    reply.stat("max_connections", shared.options.clients_most);
    reply.stat("curr_connections", shared.clients.count());
    for (name, count) in [
        ("total_connections", shared.connections.load(Relaxed)),
        ("rejected_connections", shared.rejected.load(Relaxed)),
        ("morecore_commands", counts.commands),
        ("morecore_error_replies", counts.refusals),
        ("cmd_get", counts.hits + counts.misses),
        ("cmd_set", counts.puts),
        ("cmd_flush", counts.flushes),
        ("get_hits", counts.hits),
        ("get_misses", counts.misses),
        ("bytes_read", counts.in_bytes),
        ("bytes_written", counts.out_bytes),
        ("limit_maxbytes", stat.memory_bytes),
        ("bytes", stat.content_bytes),
        ("curr_items", stat.entries),
        ("evictions", stat.evictions),
        ("morecore_expired", stat.expired),
        ("morecore_used_bytes", stat.used_bytes),
        ("morecore_free_bytes", stat.free_bytes),
        ("morecore_participants", stat.participants.len() as u64),
        ("morecore_recoveries", stat.recoveries),
    ] {
        reply.stat(name, count);
    }
    let [touch_hits, touch_misses, ..] = counts.tallies;
    reply.stat("cmd_touch", touch_hits + touch_misses);
    for (name, count) in Tally::NAMES.iter().zip(counts.tallies) {
        reply.stat(name, count);
    }
    reply.stat("threads", shared.options.threads.map_or(1, std::num::NonZeroUsize::get));
}

fn settings(desk: &mut Desk, reply: &mut Encoder<'_>) {
    let (stat, options) = (desk.store.stat(), &desk.shared.options);
    let switch = |is_on: bool| if is_on { "on" } else { "off" };
    let yes = |is_so: bool| if is_so { "yes" } else { "no" };
    reply.stat("maxbytes", stat.memory_bytes);
    reply.stat("maxconns", options.clients_most);
    reply.stat("tcpport", desk.shared.port.unwrap_or(0));
    reply.stat("udpport", 0);
    let inter: Vec<String> = options.bind.iter().map(ToString::to_string).collect();
    reply.stat("inter", inter.join(","));
    reply.stat("evictions", switch(stat.evict == Evict::Policy));
    match &options.unix_socket {
        Some(path) => reply.stat("domain_socket", path.display()),
        None => reply.stat("domain_socket", "NULL"),
    }
    reply.stat("num_threads", options.threads.map_or(1, std::num::NonZeroUsize::get));
    reply.stat("cas_enabled", yes(true));
    reply.stat("auth_enabled_ascii", yes(desk.shared.password.is_wanted()));
    reply.stat("item_size_max", Limits::DEFAULT.entry_bytes_most);
    reply.stat("flush_enabled", yes(true));
    reply.stat("idle_timeout", desk.shared.settings.timeout_s.load(Relaxed));
    reply.stat(
        "binding_protocol",
        match options.protocol {
            None => "auto-negotiate",
            Some(Protocol::Memcached) => "ascii",
            Some(Protocol::Resp) => "resp",
        },
    );
}

fn items(desk: &mut Desk, reply: &mut Encoder<'_>) {
    let stat = desk.store.stat();
    if stat.entries > 0 {
        reply.stat(&format!("items:{CLASS}:number"), stat.entries);
        reply.stat(&format!("items:{CLASS}:evicted"), stat.evictions);
    }
}

fn slabs(desk: &mut Desk, reply: &mut Encoder<'_>) {
    let stat = desk.store.stat();
    if stat.entries > 0 {
        reply.stat(&format!("{CLASS}:used_chunks"), stat.entries);
    }
    reply.stat("active_slabs", u8::from(stat.entries > 0));
    reply.stat("total_malloced", stat.used_bytes);
}

fn connections(desk: &mut Desk, reply: &mut Encoder<'_>) {
    desk.shared.clients.each(|origin, about| {
        let descriptor = origin.descriptor;
        let idle_ms = desk.now_ms.saturating_sub(about.active_ms);
        reply.stat(&format!("{descriptor}:addr"), &origin.remote);
        reply.stat(&format!("{descriptor}:listen_addr"), &origin.local);
        let state = if about.unsent_bytes > 0 { "conn_mwrite" } else { "conn_read" };
        reply.stat(&format!("{descriptor}:state"), state);
        reply.stat(&format!("{descriptor}:secs_since_last_cmd"), idle_ms / 1000);
    });
}
