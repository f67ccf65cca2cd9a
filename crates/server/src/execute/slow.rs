//! SLOWLOG: the commands that took long.
//!
//! Source: slowlog.c of Redis 7.0.15.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use morecore_wire::{Arguments, Encoder, SlowLog};

use super::Answered;
use crate::caller::Caller;
use crate::desk::Desk;

/// Keeps a notice of a command that took long.
#[cold]
pub(super) fn note(took: Duration, arguments: Arguments<'_>, caller: &Caller, desk: &Desk) {
    let name = caller.place.about().names().name.clone();
    let texts = [caller.place.remote().as_bytes(), &name];
    desk.shared.slow_log.add(desk.now_ms / 1000, took, texts, arguments);
}

/// The subcommands of SLOWLOG.
pub(super) fn slow_log<'a>(asked: SlowLog, desk: &Desk, reply: &mut Encoder<'_>) -> Answered<'a> {
    let log = &desk.shared.slow_log;
    let most = desk.shared.settings.slow_notices_most.load(Relaxed) as usize;
    match asked {
        SlowLog::Reset => {
            log.forget_but(0);
            reply.ok();
        }
        SlowLog::Count => reply.integer(log.newest(most).len() as i64),
        SlowLog::Get { count } => {
            let count = count.map_or(most, |count| most.min(count as usize));
            let notices = log.newest(count);
            reply.array(notices.len());
            for notice in notices {
                reply.array(6);
                for number in [notice.number, notice.at_s, notice.took_us] {
                    reply.integer(number.cast_signed());
                }
                let (who, arguments) = notice.texts.split_at(notice.texts.len().min(2));
                reply.array(arguments.len());
                arguments.iter().for_each(|argument| reply.bulk(argument));
                who.iter().for_each(|text| reply.bulk(text));
            }
        }
    }
    Ok(())
}
