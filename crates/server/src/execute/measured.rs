//! Commands, measured while `latency-tracking` is on; and what INFO and LATENCY tell of that.
//!
//! Promises: a command that was not executed is counted as rejected, as Redis counts it; one that a
//! transaction keeps is counted when it is executed.
//! Source: `call` and `rejectCommand` of Redis 7.0.15, and its `genRedisInfoString` for the lines.

use std::fmt::Write;
use std::time::Instant;

use morecore_wire::{Arguments, Encoder, Refusal, Row};

use super::After;
use crate::caller::Caller;
use crate::desk::Desk;
use crate::measures::{End, Measured, Measures};

/// Executes a command, and measures it if that is wanted.
pub(super) fn run(
    row: &'static Row,
    arguments: Arguments<'_>,
    caller: &mut Caller,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> After {
    if !desk.attention.measures() {
        return super::run(row, arguments, caller, desk, reply);
    }
    let (begun, before) = (Instant::now(), reply.len());
    let after = super::run(row, arguments, caller, desk, reply);
    let end = if reply.behind(before).starts_with(b"-") { End::Failed } else { End::Done };
    desk.shared.measures.command(row.name, begun.elapsed(), end);
    after
}

/// Takes note of a command that is refused before it is executed, if there is one of its name.
pub(super) fn rejected(refusal: &Refusal<'_>, caller: &Caller, desk: &Desk) {
    if !desk.attention.measures() {
        return;
    }
    match refusal {
        Refusal::UnknownCommand { .. } | Refusal::UnknownSubcommand { .. } => {}
        Refusal::WrongArity { command } => desk.shared.measures.rejected(command),
        // It was found, and its client may not ask it now.
        _ => desk.shared.measures.rejected(caller.last_command),
    }
}

/// The lines of INFO commandstats.
pub(super) fn commands(measures: &Measures, text: &mut String) -> std::fmt::Result {
    for measured in measures.commands() {
        let Measured { name, .. } = measured;
        let (calls, took_us) = (measured.calls(), measured.took_ns() / 1000);
        let each_us = took_us as f64 / calls.max(1) as f64;
        let (rejected, failed) = (measured.rejected(), measured.failed());
        write!(
            text,
            "cmdstat_{name}:calls={calls},usec={took_us},usec_per_call={each_us:.2},\
             rejected_calls={rejected},failed_calls={failed}\r\n"
        )?;
    }
    Ok(())
}

/// The lines of INFO latencystats.
pub(super) fn latencies(measures: &Measures, text: &mut String) -> std::fmt::Result {
    let percentiles = measures.percentiles();
    for measured in measures.commands().filter(|measured| measured.calls() > 0) {
        write!(text, "latency_percentiles_usec_{}:", measured.name)?;
        for (index, percentile) in percentiles.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let us = measured.percentile_ns(*percentile) as f64 / 1000.0;
            write!(text, "{comma}p{percentile}={us:.3}")?;
        }
        text.push_str("\r\n");
    }
    Ok(())
}

/// The lines of INFO errorstats.
pub(super) fn errors(measures: &Measures, text: &mut String) -> std::fmt::Result {
    for (code, count) in measures.errors() {
        write!(text, "errorstat_{code}:count={count}\r\n")?;
    }
    Ok(())
}

/// LATENCY HISTOGRAM: of these commands, with their subcommands, or of all.
pub(super) fn histogram(names: Arguments<'_>, measures: &Measures, reply: &mut Encoder<'_>) {
    let is_named = |measured: &Measured<'_>| {
        let container = measured.name.split('|').next().unwrap_or_default();
        let is_it = |name: &[u8]| {
            [measured.name, container].iter().any(|own| name.eq_ignore_ascii_case(own.as_bytes()))
        };
        names.is_empty() || names.iter().any(is_it)
    };
    let called = |measured: &Measured<'_>| measured.calls() > 0;
    let all: Vec<_> = measures.commands().filter(called).filter(is_named).collect();
    reply.map(all.len());
    for measured in all {
        let powers = measured.powers();
        reply.bulk(measured.name.as_bytes());
        reply.map(2);
        reply.bulk(b"calls");
        reply.integer(measured.calls().cast_signed());
        reply.bulk(b"histogram_usec");
        reply.map(powers.len());
        for (us, count) in powers {
            reply.integer(us.cast_signed());
            reply.integer(count.cast_signed());
        }
    }
}
