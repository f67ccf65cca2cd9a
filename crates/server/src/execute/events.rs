//! Keyspace notifications: what is said in channels of keys that commands change.
//!
//! ```text
//!   SET k v EX 10 --> set k, expire k --> __keyspace@0__:k   "set"      (K)
//!                                         __keyevent@0__:set "k"        (E)
//! ```
//!
//! Promises: an event for each change that a client's command made, after it, in Redis's words and
//! order, and none where nothing changed.
//! Knows nothing of who listens, nor of keys that expire: the exchange does.
//! Source: notify.c of Redis 7.0.15, and its calls.

use morecore_wire::{Arguments, Row};

use crate::notices::Notices;
use crate::transaction::Seen;

/// What a command did to one of its keys.
#[derive(Clone, Copy)]
pub(super) struct Effect<'a> {
    pub(super) row: &'a Row,
    pub(super) arguments: Arguments<'a>,
    /// What the key was before, and what it is now.
    pub(super) before: Seen,
    pub(super) after: Seen,
}

impl Effect<'_> {
    /// Calls `each` with every event of it that is wanted.
    pub(super) fn each_event(self, wanted: Notices, mut each: impl FnMut(&'static str)) {
        let mut tell = |class, name| {
            if wanted.has(class) {
                each(name);
            }
        };
        if self.before == self.after {
            return;
        }
        let Some((_, expiry)) = self.after else {
            let is_renamed = matches!(self.row.name, "rename" | "renamenx");
            return tell(Notices::GENERIC, if is_renamed { "rename_from" } else { "del" });
        };
        if self.before.is_none() {
            tell(Notices::NEW, "new");
        }
        let (class, name) = change(self.row.name, expiry.is_some());
        tell(class, name);
        if name == "set" && expiry.is_some() && !self.keeps_expiry() {
            tell(Notices::GENERIC, "expire");
        }
    }

    /// Whether the expiry that a set key has is not of this command.
    fn keeps_expiry(self) -> bool {
        self.arguments.skip(3).iter().any(|word| word.eq_ignore_ascii_case(b"keepttl"))
    }
}

/// The class and the name of what a command does to a key that is there afterwards.
fn change(command: &str, has_expiry: bool) -> (Notices, &'static str) {
    match command {
        "append" => (Notices::STRING, "append"),
        "setrange" => (Notices::STRING, "setrange"),
        "incr" | "decr" | "incrby" | "decrby" => (Notices::STRING, "incrby"),
        "incrbyfloat" => (Notices::STRING, "incrbyfloat"),
        "setbit" | "bitfield" => (Notices::STRING, "setbit"),
        "expire" | "pexpire" | "expireat" | "pexpireat" => (Notices::GENERIC, "expire"),
        "getex" if has_expiry => (Notices::GENERIC, "expire"),
        "getex" | "persist" => (Notices::GENERIC, "persist"),
        "rename" | "renamenx" => (Notices::GENERIC, "rename_to"),
        "copy" => (Notices::GENERIC, "copy_to"),
        "restore" => (Notices::GENERIC, "restore"),
        _ => (Notices::STRING, "set"),
    }
}
