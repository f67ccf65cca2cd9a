//! The language of one client: whole commands out of its bytes, executed one by one.
//!
//! ```text
//!   untold --the first bytes tell--> RESP
//!                             +----> memcached
//! ```
//!
//! Promises: told once. What comes before it is told is kept, and executed then. A client that has
//! not told its password is read within narrow limits.
//! Knows nothing of buffers and sockets.

use morecore_wire::{
    Awaited, Encoder, Limits, Malformed, Parser, Progress, Protocol, Refusal, memcached,
};

use super::ahead::{Ahead, Input};
use super::filling::Filling;
use crate::caller::Caller;
use crate::desk::Desk;
use crate::execute::{After, execute, execute_encoded, execute_filled, execute_memcached};
use crate::fillers;
use crate::options::Options;

/// The language of one client, and what reads it.
pub(super) enum Language {
    /// What came does not tell yet.
    Untold,
    Resp(Parser),
    Memcached(memcached::Parser),
}

/// What the next bytes were.
pub(super) enum Step {
    /// A command of so many bytes.
    Executed(usize, After),
    /// So many bytes of nothing.
    Passed(usize),
    /// The beginning of something.
    Waits,
    /// Nothing that can be gone on from; the client was told.
    Broken,
}

/// How a command whose value was filled in has ended.
pub(super) enum Ended {
    Executed(After),
    /// It is to be asked again when a pause is over.
    Waits(Vec<u8>),
    /// Something else stood where it should have ended.
    Broken,
}

/// Whether a caller's commands are executed and nothing else: nobody watches or pauses them, and it
/// has asked for no more than replies.
fn is_plain(caller: &Caller, desk: &Desk) -> bool {
    caller.is_authenticated && caller.extras.is_none() && !desk.attention.is_any()
}

impl Language {
    /// What reads a new client.
    pub(super) fn new(options: &Options, caller: &Caller) -> Self {
        match options.protocol {
            None => Self::Untold,
            Some(protocol) => Self::of(protocol, options, caller),
        }
    }

    fn of(protocol: Protocol, options: &Options, caller: &Caller) -> Self {
        let is_authenticated = caller.is_authenticated;
        match protocol {
            Protocol::Resp => Self::Resp(Parser::new(resp_limits(options, is_authenticated))),
            Protocol::Memcached => {
                caller.place.about().version = 0;
                let limits = memcached_limits(options, is_authenticated);
                Self::Memcached(memcached::Parser::new(limits))
            }
        }
    }

    /// Reads on at `at`, where the last command ended, and executes the next one if it is whole.
    #[inline]
    pub(super) fn step(
        &mut self,
        input: Input<'_>,
        ahead: &mut Ahead,
        caller: &mut Caller,
        desk: &mut Desk,
        output: &mut Vec<u8>,
    ) -> Step {
        match self {
            Self::Resp(parser) => {
                let was_authenticated = caller.is_authenticated;
                let step = resp_step(parser, input, ahead, caller, desk, output);
                if caller.is_authenticated != was_authenticated {
                    parser.set_limits(resp_limits(&desk.shared.options, caller.is_authenticated));
                }
                step
            }
            Self::Memcached(parser) => {
                ahead.fetch_memcached(input, desk);
                memcached_step(parser, input.rest(), caller, desk, output)
            }
            Self::Untold => {
                let Some(protocol) = Protocol::told_by(input.rest()) else { return Step::Waits };
                *self = Self::of(protocol, &desk.shared.options, caller);
                self.step(input, ahead, caller, desk, output)
            }
        }
    }

    /// Has the long value that a command waits for received where it will stand, if it is a plain
    /// SET that `rest` has the beginning of; all of `rest` is taken then.
    pub(super) fn begin_filling(
        &mut self,
        rest: &[u8],
        caller: &Caller,
        desk: &Desk,
    ) -> Option<Filling> {
        let Self::Resp(parser) = self else { return None };
        let Awaited { arguments, bytes, begun } = parser.awaited(rest)?;
        let is_set = arguments.get(0).is_some_and(|name| name.eq_ignore_ascii_case(b"SET"));
        let key = arguments.get(1).filter(|_| is_set && arguments.len() == 2)?;
        if bytes < fillers::BYTES_LEAST || !is_plain(caller, desk) {
            return None;
        }
        let job = desk.filler(bytes)?;
        let mut filling = Filling::begin(&desk.shared.fillers, job, key)?;
        filling.take(begun);
        parser.forget();
        Some(filling)
    }

    /// Executes the command whose value is filled in; the command itself, if it has to wait.
    pub(super) fn end_filling(
        &self,
        mut filling: Filling,
        caller: &mut Caller,
        desk: &mut Desk,
        output: &mut Vec<u8>,
    ) -> Ended {
        let mut reply = Encoder::new(output, caller.version);
        if !filling.is_right() {
            desk.counts.refusals += 1;
            reply.refusal(&Refusal::from(Malformed::NoLineEnd));
            return Ended::Broken;
        }
        if is_plain(caller, desk)
            && let Some(filler) = filling.filler()
        {
            execute_filled(filler, caller, desk, &mut reply);
            return Ended::Executed(After::GoOn);
        }
        let command = filling.into_command();
        match execute_encoded(&command, caller, desk, &mut reply) {
            After::Wait => Ended::Waits(command),
            after => Ended::Executed(after),
        }
    }

    /// Tells the client that the server cannot serve it now.
    pub(super) fn fail(&self, what: &str, caller: &Caller, output: &mut Vec<u8>) {
        match self {
            Self::Memcached(_) => memcached::Encoder::new(output).failure(what),
            Self::Untold | Self::Resp(_) => {
                Encoder::new(output, caller.version).error(&format!("ERR {what}"));
            }
        }
    }
}

#[inline]
fn resp_step(
    parser: &mut Parser,
    input: Input<'_>,
    ahead: &mut Ahead,
    caller: &mut Caller,
    desk: &mut Desk,
    output: &mut Vec<u8>,
) -> Step {
    let mut reply = Encoder::new(output, caller.version);
    if parser.is_at_start()
        && let Some((arguments, length)) = ahead.next(input, parser.limits(), &desk.store)
    {
        return Step::Executed(length, execute(arguments, caller, desk, &mut reply));
    }
    match parser.parse(input.rest()) {
        Ok(Progress::Whole { consumed }) => {
            let arguments = parser.arguments(input.rest());
            Step::Executed(consumed, execute(arguments, caller, desk, &mut reply))
        }
        Ok(Progress::Nothing { consumed }) => Step::Passed(consumed),
        Ok(Progress::Partial { .. }) => Step::Waits,
        Err(malformed) => {
            desk.counts.refusals += 1;
            reply.refusal(&Refusal::from(malformed));
            Step::Broken
        }
    }
}

fn memcached_step(
    parser: &mut memcached::Parser,
    input: &[u8],
    caller: &mut Caller,
    desk: &mut Desk,
    output: &mut Vec<u8>,
) -> Step {
    let mut reply = memcached::Encoder::new(output);
    match parser.parse(input) {
        Ok(memcached::Progress::Whole { consumed, command }) => {
            let was_authenticated = caller.is_authenticated;
            let after = execute_memcached(command, caller, desk, &mut reply);
            if caller.is_authenticated != was_authenticated {
                parser.set_limits(memcached_limits(&desk.shared.options, true));
            }
            Step::Executed(consumed, after)
        }
        Ok(memcached::Progress::Nothing { consumed }) => Step::Passed(consumed),
        Ok(memcached::Progress::Partial { .. }) => Step::Waits,
        Err(refusal) => {
            desk.counts.refusals += 1;
            reply.refusal(refusal);
            Step::Broken
        }
    }
}

fn resp_limits(options: &Options, is_authenticated: bool) -> Limits {
    if !is_authenticated {
        return Limits::UNAUTHENTICATED;
    }
    let bulk_bytes_most = usize::try_from(options.bulk_bytes_most).unwrap_or(usize::MAX);
    Limits { bulk_bytes_most, ..Limits::DEFAULT }
}

/// A value of memcached's may have what memcached grants, if RESP may have as much.
fn memcached_limits(options: &Options, is_authenticated: bool) -> memcached::Limits {
    let usual = memcached::Limits::DEFAULT.entry_bytes_most;
    let most = usize::try_from(options.bulk_bytes_most).unwrap_or(usize::MAX);
    memcached::Limits { entry_bytes_most: usual.min(most), is_unauthenticated: !is_authenticated }
}
