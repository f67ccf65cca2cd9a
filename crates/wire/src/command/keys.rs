//! The commands about keys, whatever their values are: their rows and their readers.
//!
//! Source: db.c of Redis 7.0.15.

use super::catalogue::{
    Access, DANGEROUS, DENY_OOM, FAST, Group, READ_ONLY, Read, Reader, Row, WRITE,
};
use super::connection::read_database;
use super::option::{Options, is_word};
use super::{Command, Copy, Scan};
use crate::arguments::Arguments;
use crate::number::{parse_integer, parse_unsigned};
use crate::refusal::Refusal;

/// Keys that SCAN looks at in one call when it is not told, as in Redis.
const SCAN_COUNT: u64 = 10;

const fn row(name: &'static str, arity: i32, read: Reader) -> Row {
    Row::new(Group::Generic, name, arity, read)
}

/// The rows of the commands about keys.
pub(super) const ROWS: &[Row] = &[
    row("del", -2, |arguments| Ok(Command::Delete { keys: arguments.skip(1) }))
        .about("1.0.0", "Deletes keys.")
        .flags(WRITE)
        .keys(1, -1, 1)
        .access(Access::DELETES),
    row("unlink", -2, |arguments| Ok(Command::Delete { keys: arguments.skip(1) }))
        .about("4.0.0", "Deletes keys: here the same as DEL.")
        .flags(WRITE.and(FAST))
        .keys(1, -1, 1)
        .access(Access::DELETES),
    row("exists", -2, |arguments| Ok(Command::Exists { keys: arguments.skip(1) }))
        .about("1.0.0", "Counts those of the keys that are there.")
        .flags(READ_ONLY.and(FAST))
        .keys(1, -1, 1)
        .access(Access::LOOKS),
    row("touch", -2, |arguments| Ok(Command::Touch { keys: arguments.skip(1) }))
        .about("3.2.1", "Makes keys recently used, and counts those that are there.")
        .flags(READ_ONLY.and(FAST))
        .keys(1, -1, 1)
        .access(Access::LOOKS),
    row("type", 2, |arguments| Ok(Command::Type { key: arguments.at(1) }))
        .about("1.0.0", "Tells the type of a key's value.")
        .flags(READ_ONLY.and(FAST))
        .keys(1, 1, 1)
        .access(Access::LOOKS),
    row("rename", 3, rename)
        .about("1.0.0", "Gives a key another name, and replaces what has that name.")
        .flags(WRITE)
        .keys(1, 2, 1)
        .accesses(Access::TAKES, Access::OVERWRITES),
    row("renamenx", 3, renamenx)
        .about("1.0.0", "Gives a key another name if nothing has that name.")
        .flags(WRITE.and(FAST))
        .keys(1, 2, 1)
        .accesses(Access::TAKES, Access::INSERTS),
    row("copy", -3, copy)
        .about("6.2.0", "Copies the value of a key to another key.")
        .flags(WRITE.and(DENY_OOM))
        .keys(1, 2, 1)
        .accesses(Access::READS, Access::OVERWRITES),
    row("keys", 2, |arguments| Ok(Command::Keys { pattern: arguments.at(1) }))
        .about("1.0.0", "Returns every key that matches a pattern.")
        .flags(READ_ONLY.and(DANGEROUS)),
    row("scan", -2, scan).about("2.8.0", "Returns the keys, some at each call.").flags(READ_ONLY),
    row("randomkey", 1, |_| Ok(Command::RandomKey))
        .about("1.0.0", "Returns any key.")
        .flags(READ_ONLY),
];

fn rename<'a>(arguments: Arguments<'a>) -> Read<'a> {
    Ok(Command::Rename { from: arguments.at(1), to: arguments.at(2) })
}

fn renamenx<'a>(arguments: Arguments<'a>) -> Read<'a> {
    Ok(Command::RenameNx { from: arguments.at(1), to: arguments.at(2) })
}

fn copy<'a>(arguments: Arguments<'a>) -> Read<'a> {
    let (from, to) = (arguments.at(1), arguments.at(2));
    let mut copy = Copy { from, to, database: None, is_replace: false };
    let mut options = Options::behind(3, arguments);
    while let Some(word) = options.next() {
        if is_word(word, "replace") {
            copy.is_replace = true;
        } else if is_word(word, "db") {
            copy.database = Some(read_database(options.value()?)?);
        } else {
            return Err(Refusal::Syntax);
        }
    }
    Ok(Command::Copy(copy))
}

fn scan<'a>(arguments: Arguments<'a>) -> Read<'a> {
    let cursor = parse_unsigned(arguments.at(1)).ok_or(Refusal::InvalidCursor)?;
    let mut scan = Scan { cursor, pattern: None, count: SCAN_COUNT, kind: None };
    let mut options = Options::behind(2, arguments);
    while let Some(word) = options.next() {
        if is_word(word, "match") {
            scan.pattern = Some(options.value()?);
        } else if is_word(word, "count") {
            let count = parse_integer(options.value()?).ok_or(Refusal::NotAnInteger)?;
            scan.count = u64::try_from(count).ok().filter(|&it| it > 0).ok_or(Refusal::Syntax)?;
        } else if is_word(word, "type") {
            scan.kind = Some(options.value()?);
        } else {
            return Err(Refusal::Syntax);
        }
    }
    Ok(Command::Scan(scan))
}
