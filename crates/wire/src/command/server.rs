//! The commands about the server as a whole: their rows and their readers.
//!
//! Source: server.c and config.c of Redis 7.0.15.

use super::catalogue::{
    ADMIN, DANGEROUS, FAST, Group, NO_MULTI, READ_ONLY, Read, Reader, Row, WRITE,
};
use super::describe::read_keys;
use super::option::is_word;
use super::{Command, Describe, ListFilter};
use crate::arguments::{Arguments, Pairs};
use crate::number::parse_integer;
use crate::refusal::Refusal;

/// The commands that tell nothing of settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Server<'a> {
    /// TIME: the seconds and microseconds since 1970.
    Time,
    /// ROLE: nobody copies from us, and we from nobody.
    Role,
    /// SLOWLOG and its subcommands.
    SlowLog(SlowLog),
    /// LATENCY and its subcommands.
    Latency(Latency<'a>),
    /// The subcommands of MEMORY about the server.
    Memory(Memory),
    /// SHUTDOWN: no reply, and the server stops; the store stays, whatever NOSAVE or SAVE say.
    Shutdown,
    /// WAIT: how many replicas have the writes of this connection; there are none.
    Wait,
}

/// The subcommands of CONFIG.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "the line of a variant tells of its fields")]
pub enum Config<'a> {
    /// CONFIG GET: one or more patterns for [`is_match`](crate::is_match), in any case of letters.
    Get { patterns: Arguments<'a> },
    /// CONFIG SET: names and values.
    Set { settings: Pairs<'a> },
    /// CONFIG RESETSTAT: the counters of INFO begin anew.
    ResetStat,
    /// CONFIG REWRITE.
    Rewrite,
}

/// The subcommands of LATENCY. Nothing is monitored, so there are never events; what commands took
/// is another matter.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "the line of a variant tells of its fields")]
pub enum Latency<'a> {
    /// LATENCY HISTOGRAM: what these commands took, or all.
    Histogram { names: Arguments<'a> },
    /// LATENCY HISTORY and LATENCY LATEST: the events.
    Events,
    /// LATENCY RESET.
    Reset,
}

/// The subcommands of MEMORY about the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// MEMORY DOCTOR.
    Doctor,
    /// MEMORY MALLOC-STATS.
    Heap,
    /// MEMORY PURGE: what is free goes back by itself.
    Purge,
    /// MEMORY STATS.
    Stats,
}

/// The subcommands of SLOWLOG.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the line of a variant tells of its fields")]
pub enum SlowLog {
    /// SLOWLOG GET: the newest of them; `None` is every one.
    Get { count: Option<u64> },
    /// SLOWLOG LEN.
    Count,
    /// SLOWLOG RESET.
    Reset,
}

const fn row(name: &'static str, arity: i32, read: Reader) -> Row {
    Row::new(Group::Server, name, arity, read)
}

/// The rows of the commands about the server.
pub(super) const ROWS: &[Row] = &[
    COMMAND,
    CONFIG,
    SLOWLOG,
    LATENCY,
    row("role", 1, |_| Ok(Command::Server(Server::Role)))
        .about("2.8.12", "Tells whether the server copies another, and who copies it: nobody does.")
        .flags(FAST.and(DANGEROUS))
        .category("admin"),
    row("shutdown", -1, shutdown)
        .about("1.0.0", "Stops the server; its store stays.")
        .flags(ADMIN.and(NO_MULTI)),
    row("info", -1, |arguments| Ok(Command::Info { sections: arguments.skip(1) }))
        .about("1.0.0", "Tells how the server is.")
        .flags(DANGEROUS),
    row("time", 1, |_| Ok(Command::Server(Server::Time)))
        .about("2.6.0", "Returns the time of the server.")
        .flags(FAST),
    Row::new(Group::Generic, "wait", 3, wait)
        .about("3.0.0", "Counts the replicas that have what was written; there are none.")
        .category("connection"),
    row("monitor", 1, |_| Ok(Command::Monitor))
        .about("1.0.0", "Tells of every command as it is executed.")
        .flags(ADMIN),
    row("dbsize", 1, |_| Ok(Command::DbSize))
        .about("1.0.0", "Counts the keys.")
        .flags(READ_ONLY.and(FAST))
        .category("keyspace"),
    row("flushdb", -1, flush)
        .about("1.0.0", "Deletes every key of the database.")
        .flags(WRITE.and(DANGEROUS))
        .category("keyspace"),
    row("flushall", -1, flush)
        .about("1.0.0", "Deletes every key of every database; there is one.")
        .flags(WRITE.and(DANGEROUS))
        .category("keyspace"),
];

/// COMMAND: alone it tells all.
const COMMAND: Row = row("command", -1, command)
    .about("2.8.13", "Tells about the commands of this server.")
    .category("connection")
    .subcommands(COMMAND_ROWS);

/// The subcommands of COMMAND.
const COMMAND_ROWS: &[Row] = &[
    row("command|count", 2, |_| Ok(Command::Describe(Describe::Count)))
        .about("2.8.13", "Counts the commands.")
        .category("connection"),
    row("command|docs", -2, |arguments| {
        Ok(Command::Describe(Describe::Docs { names: arguments.skip(2) }))
    })
    .about("7.0.0", "Says in words what commands are for.")
    .category("connection"),
    row("command|getkeys", -4, |arguments| read_keys(arguments.skip(2), false))
        .about("2.8.13", "Returns the keys of a command.")
        .category("connection"),
    row("command|getkeysandflags", -4, |arguments| read_keys(arguments.skip(2), true))
        .about("7.0.0", "Returns the keys of a command, and what it does to each.")
        .category("connection"),
    row("command|help", 2, |_| Ok(Command::Help { of: &COMMAND }))
        .about("5.0.0", "Prints this help.")
        .category("connection"),
    row("command|info", -2, |arguments| {
        Ok(Command::Describe(Describe::Info { names: arguments.skip(2) }))
    })
    .about("2.8.13", "Tells what commands take and do.")
    .category("connection"),
    row("command|list", -2, command_list)
        .about("7.0.0", "Names the commands, or those that pass a filter.")
        .category("connection"),
];

/// CONFIG. Without a subcommand that exists nobody comes to its reader: `find` has said so before.
const CONFIG: Row = row("config", -2, |arguments| {
    Err(Refusal::UnknownSubcommand { command: "config", name: arguments.at(1) })
})
.about("2.0.0", "Commands about the settings of the server.")
.subcommands(CONFIG_ROWS);

/// The subcommands of CONFIG.
const CONFIG_ROWS: &[Row] = &[
    row("config|get", -3, |arguments| {
        Ok(Command::Config(Config::Get { patterns: arguments.skip(2) }))
    })
    .about("2.0.0", "Returns the settings whose names match.")
    .flags(ADMIN),
    row("config|help", 2, |_| Ok(Command::Help { of: &CONFIG }))
        .about("5.0.0", "Prints this help."),
    row("config|resetstat", 2, |_| Ok(Command::Config(Config::ResetStat)))
        .about("2.0.0", "Lets the counters of INFO begin anew.")
        .flags(ADMIN),
    row("config|rewrite", 2, |_| Ok(Command::Config(Config::Rewrite)))
        .about("2.8.0", "Refused: this server writes no file of settings.")
        .flags(ADMIN),
    row("config|set", -4, config_set).about("2.0.0", "Changes settings, all or none.").flags(ADMIN),
];

/// LATENCY, as CONFIG.
const LATENCY: Row = row("latency", -2, |arguments| {
    Err(Refusal::UnknownSubcommand { command: "latency", name: arguments.at(1) })
})
.about("2.8.13", "Commands about how long commands take.")
.subcommands(LATENCY_ROWS);

/// The subcommands of LATENCY.
const LATENCY_ROWS: &[Row] = &[
    row("latency|help", 2, |_| Ok(Command::Help { of: &LATENCY }))
        .about("2.8.13", "Prints this help."),
    row("latency|histogram", -2, |arguments| {
        let names = arguments.skip(2);
        Ok(Command::Server(Server::Latency(Latency::Histogram { names })))
    })
    .about("7.0.0", "Returns how long commands took, where latency-tracking is on.")
    .flags(ADMIN),
    row("latency|history", 3, |_| Ok(Command::Server(Server::Latency(Latency::Events))))
        .about("2.8.13", "Returns the long waits of one kind; they are not watched for here.")
        .flags(ADMIN),
    row("latency|latest", 2, |_| Ok(Command::Server(Server::Latency(Latency::Events))))
        .about("2.8.13", "Returns the last long waits; they are not watched for here.")
        .flags(ADMIN),
    row("latency|reset", -2, |_| Ok(Command::Server(Server::Latency(Latency::Reset))))
        .about("2.8.13", "Forgets long waits; none are kept here.")
        .flags(ADMIN),
];

/// SLOWLOG, as CONFIG.
const SLOWLOG: Row = row("slowlog", -2, |arguments| {
    Err(Refusal::UnknownSubcommand { command: "slowlog", name: arguments.at(1) })
})
.about("2.2.12", "Commands about commands that took long.")
.subcommands(SLOWLOG_ROWS);

/// The subcommands of SLOWLOG.
const SLOWLOG_ROWS: &[Row] = &[
    row("slowlog|get", -2, slowlog_get)
        .about("2.2.12", "Returns the commands that took long, the newest first.")
        .flags(ADMIN),
    row("slowlog|help", 2, |_| Ok(Command::Help { of: &SLOWLOG }))
        .about("6.2.0", "Prints this help."),
    row("slowlog|len", 2, |_| Ok(Command::Server(Server::SlowLog(SlowLog::Count))))
        .about("2.2.12", "Counts the commands that took long.")
        .flags(ADMIN),
    row("slowlog|reset", 2, |_| Ok(Command::Server(Server::SlowLog(SlowLog::Reset))))
        .about("2.2.12", "Forgets the commands that took long.")
        .flags(ADMIN),
];

fn config_set<'a>(arguments: Arguments<'a>) -> Read<'a> {
    let settings = Pairs::new(arguments.skip(2));
    let settings = settings.ok_or(Refusal::WrongArity { command: "config|set" })?;
    Ok(Command::Config(Config::Set { settings }))
}

/// Without a count ten of them, as in Redis.
fn slowlog_get<'a>(arguments: Arguments<'a>) -> Read<'a> {
    let count = match arguments.get(2) {
        None => 10,
        Some(_) if arguments.len() > 3 => {
            return Err(Refusal::WrongArity { command: "slowlog|get" });
        }
        Some(count) => parse_integer(count).ok_or(Refusal::SlowLogCount)?,
    };
    let count = match count {
        -1 => None,
        count => Some(u64::try_from(count).map_err(|_| Refusal::SlowLogCount)?),
    };
    Ok(Command::Server(Server::SlowLog(SlowLog::Get { count })))
}

/// Nothing is lost by a stop, so how it stops makes no difference.
fn shutdown<'a>(arguments: Arguments<'a>) -> Read<'a> {
    let (mut is_abort, mut is_saved) = (false, None);
    for word in arguments.skip(1).iter() {
        match word {
            _ if is_word(word, "abort") => is_abort = true,
            _ if is_word(word, "nosave") && is_saved != Some(true) => is_saved = Some(false),
            _ if is_word(word, "save") && is_saved != Some(false) => is_saved = Some(true),
            _ if is_word(word, "now") || is_word(word, "force") => {}
            _ => return Err(Refusal::Syntax),
        }
    }
    match (is_abort, arguments.len()) {
        (false, _) => Ok(Command::Server(Server::Shutdown)),
        (true, 2) => Err(Refusal::NoShutdown),
        (true, _) => Err(Refusal::Syntax),
    }
}

/// COMMAND alone; with a subcommand `find` finds the row of that.
fn command<'a>(arguments: Arguments<'a>) -> Read<'a> {
    match arguments.get(1) {
        None => Ok(Command::Describe(Describe::Every)),
        Some(name) => Err(Refusal::UnknownSubcommand { command: "command", name }),
    }
}

fn wait<'a>(arguments: Arguments<'a>) -> Read<'a> {
    parse_integer(arguments.at(1)).ok_or(Refusal::NotAnInteger)?;
    match parse_integer(arguments.at(2)) {
        None => Err(Refusal::TimeoutNotAnInteger),
        Some(..0) => Err(Refusal::TimeoutNegative),
        Some(_) => Ok(Command::Server(Server::Wait)),
    }
}

fn command_list<'a>(arguments: Arguments<'a>) -> Read<'a> {
    let filter = match (arguments.len(), arguments.get(2)) {
        (2, _) => ListFilter::Every,
        (5, Some(word)) if is_word(word, "filterby") => {
            let (by, value) = (arguments.at(3), arguments.at(4));
            match by {
                _ if is_word(by, "module") => ListFilter::Module(value),
                _ if is_word(by, "aclcat") => ListFilter::Category(value),
                _ if is_word(by, "pattern") => ListFilter::Pattern(value),
                _ => return Err(Refusal::Syntax),
            }
        }
        _ => return Err(Refusal::Syntax),
    };
    Ok(Command::Describe(Describe::List { filter }))
}

fn flush<'a>(arguments: Arguments<'a>) -> Read<'a> {
    match arguments.get(1) {
        None => Ok(Command::Flush),
        Some(word) if arguments.len() == 2 && (is_word(word, "async") || is_word(word, "sync")) => {
            Ok(Command::Flush)
        }
        Some(_) => Err(Refusal::Syntax),
    }
}
