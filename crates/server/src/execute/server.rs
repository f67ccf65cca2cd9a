//! The commands about the server that tell nothing of its settings.
//!
//! Source: server.c and replication.c of Redis 7.0.15.

use std::time::{SystemTime, UNIX_EPOCH};

use morecore_wire::{Describe, Encoder, Row, Server};

use super::Answered;
use super::slow::slow_log;
use crate::desk::Desk;

/// The commands that tell nothing of settings.
pub(super) fn server<'a>(asked: Server, desk: &mut Desk, reply: &mut Encoder<'_>) -> Answered<'a> {
    match asked {
        Server::Time => time(reply),
        Server::Wait => wait(reply),
        Server::SlowLog(asked) => slow_log(asked, desk, reply),
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

/// WAIT: no replica will ever have what was written, so nobody waits for one. Redis waits until the
/// time is over, and says the same.
fn wait<'a>(reply: &mut Encoder<'_>) -> Answered<'a> {
    reply.integer(0);
    Ok(())
}
