//! The commands of a client between MULTI and EXEC, and the keys that it watches.
//!
//! ```text
//!   none --MULTI--> open --a command--> open    (its bytes are kept)
//!                     |--one that cannot be--> spoiled: EXEC will say so
//!                     +--EXEC, DISCARD, RESET--> none
//! ```
//!
//! Promises: a kept command is the one that came, byte by byte. What it keeps has a bound.
//! Knows nothing of what commands do.

use std::collections::HashMap;

use morecore_wire::{Arguments, Limits, Parser, Progress, encode_command, find};

use crate::shared::Count;
use crate::touches::Watching;

/// Bytes that one client may have waiting for EXEC, or be watching: as many as a command may have,
/// because Redis bounds both together by `client-query-buffer-limit`.
pub(crate) const KEPT_BYTES_MOST: usize = 1 << 30;

/// Commands that wait for EXEC.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    /// The commands, as a client writes them.
    bytes: Vec<u8>,
    count: usize,
    /// Whether a command could not be put into it.
    is_spoiled: bool,
}

/// The keys that a client watches, and what they were when that began.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    keys: HashMap<Vec<u8>, (Seen, u64)>,
    bytes: usize,
    /// That it watches, while there are keys.
    watching: Option<Watching>,
}

/// What can be told of an entry without its value: when both are the same, so is the entry. `None`
/// is no entry.
pub(crate) type Seen = Option<(u64, Option<u64>)>;

impl Transaction {
    /// Keeps a command.
    pub(crate) fn push(&mut self, arguments: Arguments<'_>) {
        let words: Vec<&[u8]> = arguments.iter().collect();
        encode_command(&mut self.bytes, &words);
        self.count += 1;
    }

    /// Takes note that a command could not be put into it.
    pub(crate) fn spoil(&mut self) {
        self.is_spoiled = true;
        // They will not be executed.
        self.bytes = Vec::new();
    }

    pub(crate) const fn is_spoiled(&self) -> bool {
        self.is_spoiled
    }

    /// How many commands it has.
    pub(crate) const fn count(&self) -> usize {
        self.count
    }

    /// How many bytes it keeps.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Whether one of its commands may change keys.
    pub(crate) fn writes(&self) -> bool {
        let mut writes = false;
        self.each(|arguments| writes |= find(arguments).is_ok_and(|row| row.flags.is_write()));
        writes
    }

    /// Calls `each` with every command, in their order.
    pub(crate) fn each(&self, mut each: impl FnMut(Arguments<'_>)) {
        // They were read once, within the limits of then.
        let none = Limits { bulk_bytes_most: usize::MAX, ..Limits::DEFAULT };
        let (mut parser, mut rest) = (Parser::new(none), &self.bytes[..]);
        while let Ok(Progress::Whole { consumed }) = parser.parse(rest) {
            each(parser.arguments(rest));
            rest = &rest[consumed..];
        }
    }
}

impl Watched {
    /// Begins to watch, if it does not yet.
    pub(crate) fn begin(&mut self, watchers: &Count) {
        self.watching.get_or_insert_with(|| Watching::begin(watchers));
    }

    /// Adds a key that is now as `seen`, and was touched so often; one that is watched already
    /// stays as it was seen first.
    pub(crate) fn add(&mut self, key: &[u8], seen: Seen, touches: u64) {
        if !self.keys.contains_key(key) {
            self.keys.insert(key.to_vec(), (seen, touches));
            self.bytes += key.len() + size_of::<(Vec<u8>, Seen, u64)>();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many bytes it keeps.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The keys, as what each was seen, and how often it had been touched.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], Seen, u64)> {
        self.keys.iter().map(|(key, (seen, touches))| (&key[..], *seen, *touches))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_what_came() {
        let bytes =
            b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*3\r\n$3\r\nSET\r\n$0\r\n\r\n$4\r\n\x00\r\n\xff\r\n";
        let (mut parser, mut transaction) = (Parser::default(), Transaction::default());
        let mut rest = &bytes[..];
        while let Ok(Progress::Whole { consumed }) = parser.parse(rest) {
            transaction.push(parser.arguments(rest));
            rest = &rest[consumed..];
        }
        assert_eq!((transaction.count(), transaction.bytes()), (2, bytes.len()));
        let mut seen = Vec::new();
        transaction.each(|arguments| {
            seen.push(arguments.iter().map(<[u8]>::to_vec).collect::<Vec<_>>());
        });
        let wanted: [&[&[u8]]; 2] = [&[b"GET", b"a"], &[b"SET", b"", b"\x00\r\n\xff"]];
        assert_eq!(seen, wanted);
    }
}
