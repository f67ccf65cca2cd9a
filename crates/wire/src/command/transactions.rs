//! The commands about transactions: their rows and their readers.
//!
//! Source: multi.c of Redis 7.0.15.

use super::Command;
use super::catalogue::{FAST, Group, Reader, Row};

const fn row(name: &'static str, arity: i32, read: Reader) -> Row {
    Row::new(Group::Transactions, name, arity, read)
}

/// The rows of the commands about transactions.
pub(super) const ROWS: &[Row] = &[
    row("multi", 1, |_| Ok(Command::Multi))
        .about("1.2.0", "Begins a transaction: what follows waits for EXEC.")
        .flags(FAST),
    row("exec", 1, |_| Ok(Command::Exec))
        .about("1.2.0", "Executes all commands of the transaction; nobody comes between."),
    row("discard", 1, |_| Ok(Command::Discard))
        .about("2.0.0", "Forgets the transaction.")
        .flags(FAST),
    row("watch", -2, |arguments| Ok(Command::Watch { keys: arguments.skip(1) }))
        .about("2.2.0", "Has EXEC do nothing if one of these keys changes until then.")
        .flags(FAST)
        .keys(1, -1, 1),
    row("unwatch", 1, |_| Ok(Command::Unwatch))
        .about("2.2.0", "Forgets the keys that are watched.")
        .flags(FAST),
];
