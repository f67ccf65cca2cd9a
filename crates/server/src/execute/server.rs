//! The commands about the server that tell nothing of its settings.
//!
//! Source: server.c and replication.c of Redis 7.0.15.

use std::time::{SystemTime, UNIX_EPOCH};

use morecore_wire::{Describe, Encoder, Latency, Memory, Row, Server};

use super::slow::slow_log;
use super::{Answered, measured};
use crate::desk::Desk;

/// The commands that tell nothing of settings.
pub(super) fn server<'a>(
    asked: Server<'_>,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    match asked {
        Server::Time => time(reply),
        Server::Wait => wait(reply),
        Server::Role => role(reply),
        Server::SlowLog(asked) => slow_log(asked, desk, reply),
        Server::Latency(Latency::Histogram { names }) => {
            measured::histogram(names, &desk.shared.measures, reply);
            Ok(())
        }
        Server::Latency(Latency::Events) => {
            reply.array(0);
            Ok(())
        }
        Server::Latency(Latency::Reset) => {
            reply.integer(0);
            Ok(())
        }
        Server::Memory(asked) => memory(asked, desk, reply),
        Server::Shutdown => {
            // No reply says that it was heard: the end of the connection does.
            desk.shared.ask_to_stop();
            Ok(())
        }
    }
}

/// COMMAND: the catalogue tells.
pub(super) fn describe<'a>(asked: Describe<'_>, reply: &mut Encoder<'_>) -> Answered<'a> {
    asked.write(reply);
    Ok(())
}

/// The subcommand HELP of a command that has one.
pub(super) fn help<'a>(of: &Row, reply: &mut Encoder<'_>) -> Answered<'a> {
    of.write_help(reply);
    Ok(())
}

/// TIME: of this moment, not of the turn.
fn time<'a>(reply: &mut Encoder<'_>) -> Answered<'a> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    reply.array(2);
    reply.bulk_integer(since.as_secs().cast_signed());
    reply.bulk_integer(since.subsec_micros().into());
    Ok(())
}

/// ROLE: a master without replicas.
fn role<'a>(reply: &mut Encoder<'_>) -> Answered<'a> {
    reply.array(3);
    reply.bulk(b"master");
    reply.integer(0);
    reply.array(0);
    Ok(())
}

/// The subcommands of MEMORY about the server. What has the name of one of Redis's numbers is that
/// thing, of the store; what the processes around it take is not counted here.
fn memory<'a>(asked: Memory, desk: &mut Desk, reply: &mut Encoder<'_>) -> Answered<'a> {
    let stat = desk.store.stat();
    match asked {
        Memory::Doctor => reply.verbatim(b"`morecore verify` proves the whole store.\n"),
        Memory::Purge => reply.ok(),
        Memory::Heap => {
            let heap = format!(
                "memory {} bytes, used {}, free {}, largest free {}, content {}\n",
                stat.memory_bytes,
                stat.used_bytes,
                stat.free_bytes,
                stat.largest_free_bytes,
                stat.content_bytes
            );
            reply.verbatim(heap.as_bytes());
        }
        Memory::Stats => {
            let numbers = [
                ("total.allocated", stat.used_bytes),
                ("clients.slaves", 0),
                ("clients.normal", desk.shared.clients.buffered_bytes()),
                ("overhead.total", stat.used_bytes.saturating_sub(stat.content_bytes)),
                ("keys.count", stat.entries),
                ("keys.bytes-per-key", stat.used_bytes / stat.entries.max(1)),
                ("dataset.bytes", stat.content_bytes),
            ];
            reply.map(numbers.len() + 1);
            for (name, number) in numbers {
                reply.bulk(name.as_bytes());
                reply.integer(number.cast_signed());
            }
            reply.bulk(b"dataset.percentage");
            let all = stat.used_bytes.max(1) as f64;
            reply.double(stat.content_bytes as f64 * 100.0 / all);
        }
    }
    Ok(())
}

/// WAIT: no replica will ever have what was written, so nobody waits for one. Redis waits until the
/// time is over, and says the same.
fn wait<'a>(reply: &mut Encoder<'_>) -> Answered<'a> {
    reply.integer(0);
    Ok(())
}
