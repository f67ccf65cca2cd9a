//! INFO: how the server and its store are, in the lines that monitors read.
//!
//! Promises: only what is true, under Redis's names where Redis has the thing; what is ours alone
//! begins with `morecore_`.
//! Source: <https://redis.io/docs/latest/commands/info>

use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

use morecore_store::Stat;
use morecore_sys::process::{self, Used};
use morecore_wire::{Arguments, Encoder};

use super::config::policy_name;
use super::{Answered, measured};
use crate::desk::Desk;
use crate::shared::Shared;

/// The version of Redis whose commands, words and borders ours are.
const REDIS_VERSION: &str = "7.0.15";

/// A section: its name, and what writes its lines.
type Section = (&'static str, fn(&Source<'_>, &mut String) -> std::fmt::Result);

/// Where the lines come from.
struct Source<'a> {
    shared: &'a Shared,
    stat: Stat,
    now_ms: u64,
}

/// Every section, in the order in which it is told.
const SECTIONS: [Section; 13] = [
    ("Server", server),
    ("Clients", clients),
    ("Memory", memory),
    ("Persistence", persistence),
    ("Stats", stats),
    ("Replication", replication),
    ("CPU", processors),
    ("Commandstats", |source, text| measured::commands(&source.shared.measures, text)),
    ("Errorstats", |source, text| measured::errors(&source.shared.measures, text)),
    ("Latencystats", |source, text| measured::latencies(&source.shared.measures, text)),
    ("Cluster", cluster),
    ("Store", store),
    ("Keyspace", keyspace),
];

/// What is told only to who asks for it, or for all: a line a command would be much each time.
const ASKED_FOR: [&str; 2] = ["Commandstats", "Latencystats"];

/// INFO.
pub(super) fn info<'a>(
    asked: Arguments<'a>,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    let is_wanted = |name: &str| {
        let is_asked =
            |word: &str| asked.iter().any(|asked| asked.eq_ignore_ascii_case(word.as_bytes()));
        let is_default = asked.is_empty() || is_asked("default");
        let is_told = is_default && !ASKED_FOR.contains(&name);
        is_told || ["all", "everything", name].into_iter().any(is_asked)
    };
    let source = Source { shared: &desk.shared, stat: desk.store.stat(), now_ms: desk.now_ms };
    let mut text = String::new();
    for (name, section) in SECTIONS.iter().filter(|(name, _)| is_wanted(name)) {
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        let written = write!(text, "# {name}\r\n").and_then(|()| section(&source, &mut text));
        written.expect("writing to a String cannot fail");
    }
    reply.verbatim(text.as_bytes());
    Ok(())
}

fn server(source: &Source<'_>, text: &mut String) -> std::fmt::Result {
    let shared = source.shared;
    let up_s = source.now_ms.saturating_sub(shared.started_ms) / 1000;
    write!(text, "redis_version:{REDIS_VERSION}\r\n")?;
    write!(text, "server_name:morecore\r\n")?;
    write!(text, "morecore_version:{}\r\n", env!("CARGO_PKG_VERSION"))?;
    write!(text, "redis_mode:standalone\r\n")?;
    write!(text, "os:{} {}\r\n", std::env::consts::OS, std::env::consts::ARCH)?;
    write!(text, "arch_bits:{}\r\n", usize::BITS)?;
    write!(text, "morecore_model:{}\r\n", shared.options.model)?;
    let threads = shared.options.threads.map_or(1, std::num::NonZeroUsize::get);
    write!(text, "morecore_threads:{threads}\r\n")?;
    write!(text, "process_id:{}\r\n", std::process::id())?;
    write!(text, "run_id:{}\r\n", shared.run_id)?;
    write!(text, "tcp_port:{}\r\n", shared.port.unwrap_or(0))?;
    write!(text, "server_time_usec:{}\r\n", source.now_ms * 1000)?;
    write!(text, "uptime_in_seconds:{up_s}\r\n")?;
    write!(text, "uptime_in_days:{}\r\n", up_s / (24 * 60 * 60))
}

fn clients(source: &Source<'_>, text: &mut String) -> std::fmt::Result {
    write!(text, "connected_clients:{}\r\n", source.shared.clients.count())?;
    write!(text, "maxclients:{}\r\n", source.shared.settings.clients_most.load(Relaxed))?;
    let (mut waiting, mut tracking, mut listening) = (0, 0, 0);
    source.shared.clients.each(|_, about| {
        waiting += u32::from(about.standing.is_waiting);
        tracking += u32::from(about.standing.is_tracking);
        listening += u32::from(about.standing.is_listening());
    });
    write!(text, "blocked_clients:{waiting}\r\n")?;
    write!(text, "tracking_clients:{tracking}\r\n")?;
    write!(text, "pubsub_clients:{listening}\r\n")
}

fn memory(source: &Source<'_>, text: &mut String) -> std::fmt::Result {
    let stat = &source.stat;
    write!(text, "used_memory:{}\r\n", stat.used_bytes)?;
    write!(text, "used_memory_human:{}\r\n", human(stat.used_bytes))?;
    write!(text, "used_memory_dataset:{}\r\n", stat.content_bytes)?;
    write!(text, "maxmemory:{}\r\n", stat.memory_bytes)?;
    write!(text, "maxmemory_human:{}\r\n", human(stat.memory_bytes))?;
    write!(text, "maxmemory_policy:{}\r\n", policy_name(stat.evict))?;
    // What may be evicted is all that is used, and what goes is freed at once.
    write!(text, "mem_not_counted_for_evict:0\r\nlazyfree_pending_objects:0\r\n")?;
    write!(text, "mem_clients_normal:{}\r\n", source.shared.clients.buffered_bytes())?;
    write!(text, "mem_allocator:morecore\r\n")
}

fn persistence(_: &Source<'_>, text: &mut String) -> std::fmt::Result {
    write!(text, "loading:0\r\nrdb_bgsave_in_progress:0\r\naof_enabled:0\r\n")
}

fn stats(source: &Source<'_>, text: &mut String) -> std::fmt::Result {
    let (shared, counts) = (source.shared, source.shared.counts());
    let [commands_a_second, in_a_second, out_a_second] = &shared.rates.a_second;
    for (name, count) in [
        ("total_connections_received", shared.connections.load(Relaxed)),
        ("total_commands_processed", counts.commands),
        ("instantaneous_ops_per_sec", commands_a_second.load(Relaxed)),
        ("total_net_input_bytes", counts.in_bytes),
        ("total_net_output_bytes", counts.out_bytes),
        ("rejected_connections", shared.rejected.load(Relaxed)),
        ("total_error_replies", counts.refusals),
        ("keyspace_hits", counts.hits),
        ("keyspace_misses", counts.misses),
    ] {
        write!(text, "{name}:{count}\r\n")?;
    }
    for (name, bytes) in [("input", in_a_second), ("output", out_a_second)] {
        let kib = bytes.load(Relaxed) as f64 / 1024.0;
        write!(text, "instantaneous_{name}_kbps:{kib:.2}\r\n")?;
    }
    let heard = &shared.clients.exchange.words().heard;
    for (name, count) in
        ["pubsub_channels", "pubsub_patterns", "pubsubshard_channels"].into_iter().zip(heard)
    {
        write!(text, "{name}:{}\r\n", count.load(Relaxed))?;
    }
    let tracked = shared.clients.exchange.words().tracked.iter();
    for (name, count) in ["keys", "items", "prefixes"].iter().zip(tracked) {
        write!(text, "tracking_total_{name}:{}\r\n", count.load(Relaxed))?;
    }
    write!(text, "expired_keys:{}\r\n", source.stat.expired)?;
    write!(text, "evicted_keys:{}\r\n", source.stat.evictions)
}

/// Nobody copies from us, and nothing is kept for one who would.
fn replication(source: &Source<'_>, text: &mut String) -> std::fmt::Result {
    write!(text, "role:master\r\nconnected_slaves:0\r\nmaster_failover_state:no-failover\r\n")?;
    write!(text, "master_replid:{}\r\n", source.shared.run_id)?;
    write!(text, "master_repl_offset:0\r\nsecond_repl_offset:-1\r\nrepl_backlog_active:0\r\n")
}

/// Of this process, which is the client's own under the model `process`.
fn processors(_: &Source<'_>, text: &mut String) -> std::fmt::Result {
    for (used, whose) in [(process::used(), ""), (process::used_by_children(), "_children")] {
        // It cannot fail; were it to, there would be nothing to tell.
        let Ok(Used { user_us, system_us }) = used else { continue };
        for (name, us) in [("sys", system_us), ("user", user_us)] {
            let (seconds, rest) = (us / 1_000_000, us % 1_000_000);
            write!(text, "used_cpu_{name}{whose}:{seconds}.{rest:06}\r\n")?;
        }
    }
    Ok(())
}

fn cluster(_: &Source<'_>, text: &mut String) -> std::fmt::Result {
    write!(text, "cluster_enabled:0\r\n")
}

fn store(source: &Source<'_>, text: &mut String) -> std::fmt::Result {
    let stat = &source.stat;
    write!(text, "morecore_store:{}\r\n", stat.name)?;
    write!(text, "morecore_free_bytes:{}\r\n", stat.free_bytes)?;
    write!(text, "morecore_largest_free_bytes:{}\r\n", stat.largest_free_bytes)?;
    write!(text, "morecore_shards:{}\r\n", stat.shards)?;
    write!(text, "morecore_participants:{}\r\n", stat.participants.len())?;
    write!(text, "morecore_recoveries:{}\r\n", stat.recoveries)?;
    write!(text, "morecore_long_waits:{}\r\n", stat.long_waits)
}

fn keyspace(source: &Source<'_>, text: &mut String) -> std::fmt::Result {
    match source.stat.entries {
        0 => Ok(()),
        entries => write!(text, "db0:keys={entries}\r\n"),
    }
}

/// Bytes for people, as Redis writes them: `1.50M`.
fn human(bytes: u64) -> String {
    let units = [("G", 1_u64 << 30), ("M", 1 << 20), ("K", 1 << 10)];
    match units.into_iter().find(|(_, unit)| bytes >= *unit) {
        Some((letter, unit)) => format!("{:.2}{letter}", bytes as f64 / unit as f64),
        None => format!("{bytes}B"),
    }
}
