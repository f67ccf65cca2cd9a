//! The commands that look at one entry as a thing, or carry it to another server: their rows and
//! their readers.
//!
//! Knows nothing of how an entry is kept, nor of the form in which it travels.
//! Source: object.c, cluster.c and replication.c of Redis 7.0.15.

use super::catalogue::{Access, DANGEROUS, DENY_OOM, Group, READ_ONLY, Read, Reader, Row, WRITE};
use super::option::{Options, is_word};
use super::{Command, Memory, Server};
use crate::arguments::Arguments;
use crate::number::parse_integer;
use crate::refusal::Refusal;

/// The most that RESTORE FREQ says: Redis keeps it in a byte.
const FREQUENCY_MOST: i64 = 255;

const fn row(name: &'static str, arity: i32, read: Reader) -> Row {
    Row::new(Group::Generic, name, arity, read)
}

/// The rows of the commands about entries.
pub(super) const ROWS: &[Row] = &[
    OBJECT,
    MEMORY,
    row("dump", 2, |arguments| Ok(Command::Entry(Entry::Dump { key: arguments.at(1) })))
        .about("2.6.0", "Returns the value of a key in the form in which servers exchange it.")
        .flags(READ_ONLY)
        .keys(1, 1, 1),
    row("restore", -4, restore)
        .about("2.6.0", "Makes a key of what DUMP returned.")
        .flags(WRITE.and(DENY_OOM).and(DANGEROUS))
        .keys(1, 1, 1)
        .access(Access::OVERWRITES),
];

/// OBJECT. Without a subcommand that exists nobody comes to its reader: `find` has said so before.
const OBJECT: Row = row("object", -2, |arguments| {
    Err(Refusal::UnknownSubcommand { command: "object", name: arguments.at(1) })
})
.about("2.2.3", "Commands about how a key is kept.")
.subcommands(OBJECT_ROWS);

/// The subcommands of OBJECT.
const OBJECT_ROWS: &[Row] = &[
    object("object|encoding", |arguments| asked(arguments, Object::Encoding))
        .about("2.2.3", "Tells how the value of a key is kept."),
    object("object|freq", |arguments| asked(arguments, Object::Frequency))
        .about("4.0.0", "Tells how often a key is asked for; that is not counted here."),
    row("object|help", 2, |_| Ok(Command::Help { of: &OBJECT }))
        .about("6.2.0", "Prints this help."),
    object("object|idletime", |arguments| asked(arguments, Object::IdleTime))
        .about("2.2.3", "Tells how long a key was not asked for; that is not counted here."),
    object("object|refcount", |arguments| asked(arguments, Object::References))
        .about("2.2.3", "Counts the keys that share the value of a key: always one."),
];

/// MEMORY, as OBJECT.
const MEMORY: Row = Row::new(Group::Server, "memory", -2, |arguments| {
    Err(Refusal::UnknownSubcommand { command: "memory", name: arguments.at(1) })
})
.about("4.0.0", "Commands about memory.")
.subcommands(MEMORY_ROWS);

/// The subcommands of MEMORY.
const MEMORY_ROWS: &[Row] = &[
    memory("memory|doctor", |_| Ok(Command::Server(Server::Memory(Memory::Doctor))))
        .about("4.0.0", "Says in words how the memory is."),
    memory("memory|help", |_| Ok(Command::Help { of: &MEMORY }))
        .about("4.0.0", "Prints this help."),
    memory("memory|malloc-stats", |_| Ok(Command::Server(Server::Memory(Memory::Heap))))
        .about("4.0.0", "Tells how the heap of the store is."),
    memory("memory|purge", |_| Ok(Command::Server(Server::Memory(Memory::Purge))))
        .about("4.0.0", "Gives back what is free; here it goes back by itself."),
    memory("memory|stats", |_| Ok(Command::Server(Server::Memory(Memory::Stats))))
        .about("4.0.0", "Tells what memory is used for."),
    Row::new(Group::Server, "memory|usage", -3, memory_usage)
        .about("4.0.0", "Tells how many bytes a key takes.")
        .flags(READ_ONLY)
        .keys(2, 2, 1)
        .access(Access::LOOKS),
];

/// A row of MEMORY that is about the server.
const fn memory(name: &'static str, read: Reader) -> Row {
    Row::new(Group::Server, name, 2, read)
}

/// A row of OBJECT, whose key is its second argument.
const fn object(name: &'static str, read: Reader) -> Row {
    row(name, 3, read).flags(READ_ONLY).keys(2, 2, 1).access(Access::LOOKS)
}

/// The commands about entries; a look at a key that is not there finds null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the line of a variant tells of its fields")]
pub enum Entry<'a> {
    /// OBJECT.
    Object { what: Object, key: &'a [u8] },
    /// MEMORY USAGE.
    Usage { key: &'a [u8] },
    /// DUMP: [`crate::dump::write`] writes it.
    Dump { key: &'a [u8] },
    /// RESTORE.
    Restore(Restore<'a>),
}

/// What OBJECT is asked about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// OBJECT ENCODING.
    Encoding,
    /// OBJECT FREQ.
    Frequency,
    /// OBJECT IDLETIME.
    IdleTime,
    /// OBJECT REFCOUNT.
    References,
}

/// RESTORE with its options. What IDLETIME and FREQ say is judged, and not kept: a new key is a
/// recently used one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restore<'a> {
    /// The key that is made.
    pub key: &'a [u8],
    /// How long it lives, in milliseconds; with ABSTTL until when. 0: for ever.
    pub expiry_ms: i64,
    /// ABSTTL.
    pub is_absolute: bool,
    /// REPLACE: the key may be there.
    pub is_replace: bool,
    /// What DUMP returned: [`crate::dump::read`] tells the value.
    pub dump: &'a [u8],
}

fn asked<'a>(arguments: Arguments<'a>, what: Object) -> Read<'a> {
    Ok(Command::Entry(Entry::Object { what, key: arguments.at(2) }))
}

fn memory_usage<'a>(arguments: Arguments<'a>) -> Read<'a> {
    let mut options = Options::behind(3, arguments);
    while let Some(word) = options.next() {
        // How many parts of a value to look at; ours have one.
        let is_samples = is_word(word, "samples");
        let samples = if is_samples { options.value()? } else { return Err(Refusal::Syntax) };
        if parse_integer(samples).ok_or(Refusal::NotAnInteger)? < 0 {
            return Err(Refusal::Syntax);
        }
    }
    Ok(Command::Entry(Entry::Usage { key: arguments.at(2) }))
}

fn restore<'a>(arguments: Arguments<'a>) -> Read<'a> {
    let (key, dump) = (arguments.at(1), arguments.at(3));
    let mut restore = Restore { key, expiry_ms: 0, is_absolute: false, is_replace: false, dump };
    let (mut has_idle_time, mut has_frequency) = (false, false);
    let mut options = Options::behind(4, arguments);
    while let Some(word) = options.next() {
        if is_word(word, "replace") {
            restore.is_replace = true;
        } else if is_word(word, "absttl") {
            restore.is_absolute = true;
        } else if is_word(word, "idletime") && !has_frequency {
            has_idle_time = true;
            if read_integer(options.value()?)? < 0 {
                return Err(Refusal::RestoreIdleTime);
            }
        } else if is_word(word, "freq") && !has_idle_time {
            has_frequency = true;
            if !(0..=FREQUENCY_MOST).contains(&read_integer(options.value()?)?) {
                return Err(Refusal::RestoreFrequency);
            }
        } else {
            return Err(Refusal::Syntax);
        }
    }
    restore.expiry_ms = read_integer(arguments.at(2))?;
    if restore.expiry_ms < 0 {
        return Err(Refusal::RestoreExpiry);
    }
    Ok(Command::Entry(Entry::Restore(restore)))
}

fn read_integer<'a>(bytes: &[u8]) -> Result<i64, Refusal<'a>> {
    parse_integer(bytes).ok_or(Refusal::NotAnInteger)
}
