//! Which language a connection speaks.
//!
//! ```text
//!   *                                            RESP
//!   PING, SET k v, set k v, incr k, touch a b    RESP: words, as a person types them
//!   gets, delete, stats, mg, ...                 memcached: only it has these names
//!   get, quit                                    memcached: it spells them in small letters
//!   set k 0 0 5, incr k 1, touch k 60, ...       memcached: RESP has no such form of these
//! ```
//!
//! Promises: told once, from the first bytes; a connection does not change its language. Clients of
//! Redis are told at their first byte. No line that memcached takes is taken for RESP; a person who
//! types `get k` or `quit` to RESP as the first line, in small letters, is taken for memcached's.
//! Source: docs/decisions/0012-memcached-has-commands-of-its-own.md.

use crate::memcached;

/// A language that clients may speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// RESP, version 2 or 3, and the inline commands of a person at a terminal.
    Resp,
    /// The text and meta commands of memcached.
    Memcached,
}

impl Protocol {
    /// The language whose first bytes are `first`, or `None` while they do not tell.
    ///
    /// An inline command may begin with any byte, so whatever speaks no other language speaks RESP.
    pub fn told_by(first: &[u8]) -> Option<Protocol> {
        match first {
            [] => None,
            [b' ' | b'a'..=b'z', ..] => match memcached::is_spoken(first) {
                Some(true) => Some(Protocol::Memcached),
                Some(false) => Some(Protocol::Resp),
                None => None,
            },
            _ => Some(Protocol::Resp),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each beginning of `first` tells: nothing for a while, then always `expected`.
    fn check(first: &str, expected: Protocol) {
        assert_eq!(Protocol::told_by(first.as_bytes()), Some(expected), "{first:?}");
        for end in 0..first.len() {
            let told = Protocol::told_by(&first.as_bytes()[..end]);
            assert!(told.is_none_or(|told| told == expected), "{:?}: {told:?}", &first[..end]);
        }
    }

    fn check_untold(first: &str) {
        assert_eq!(Protocol::told_by(first.as_bytes()), None, "{first:?}");
    }

    #[test]
    fn arrays_and_capitals_are_resp() {
        for first in ["*", "*1\r\n$4\r\nPING\r\n", "P", "GET k\r\n", "SET k 0 0 5\r\n", "\r\n", "1"]
        {
            check(first, Protocol::Resp);
        }
    }

    #[test]
    fn names_that_only_memcached_has() {
        for first in [
            "gets ",
            "gat 0 k\r\n",
            "gats ",
            "add ",
            "replace ",
            "prepend ",
            "cas ",
            "delete ",
            "flush_all\r\n",
            "verbosity 1\r\n",
            "version\r\n",
            "version\n",
            "stats\r\n",
            "mg k v\r\n",
            "ms ",
            "md ",
            "ma ",
            "me ",
            "mn\r\n",
            "mn\n",
        ] {
            check(first, Protocol::Memcached);
        }
    }

    #[test]
    fn names_of_both_in_the_form_of_memcached() {
        for first in [
            "get k\r\n",
            "  get k\r\n",
            "get ",
            "quit\r\n",
            "set k 0 0 5\r\n",
            "set k 0 0 5 noreply\r\n",
            "append k 1 2 3\n",
            "incr k 1\r\n",
            "decr k 1 noreply\r\n",
            "touch k 60\r\n",
            "touch k -1 noreply\r\n",
        ] {
            check(first, Protocol::Memcached);
        }
    }

    #[test]
    fn names_of_both_in_the_form_of_redis() {
        for first in [
            "ping\r\n",
            "set k v\r\n",
            "set k v ex 10\r\n",
            "set k 1 px 1000\r\n",
            "set k 1 2 3 4 5 6\r\n",
            "append k v\r\n",
            "incr k\r\n",
            "decr k\r\n",
            "touch a\r\n",
            "touch a b\r\n",
            "mget a b\r\n",
            "touch a 1 2 3\r\n",
            "m\r\n",
            "echo hello\r\n",
            "watch k\r\n",
            "post / http/1.1\r\n",
        ] {
            check(first, Protocol::Resp);
        }
    }

    #[test]
    fn half_a_line_may_not_tell() {
        for first in ["", " ", "g", "get", "set k 0 0", "incr k", "version", "m", "mg"] {
            check_untold(first);
        }
    }

    #[test]
    fn a_nul_ends_a_line() {
        check("get\0\0quiet 0 0 1\r\n", Protocol::Memcached);
        check("set k 0 0 5\0 \r\n", Protocol::Memcached);
        check("set k v\0 0 0 5\r\n", Protocol::Resp);
        check("stats\0 items\n", Protocol::Memcached);
    }

    #[test]
    fn what_stands_behind_the_longest_line_tells_nothing() {
        let spaces = " ".repeat(4000);
        check(&format!("set k 0 0 5{spaces}\r\n"), Protocol::Resp);
        check(&format!("{spaces}get k\r\n"), Protocol::Resp);
    }

    #[test]
    fn a_line_without_end_tells_at_last() {
        check(&format!("set k {}", "v".repeat(4000)), Protocol::Resp);
        check(&" ".repeat(4000), Protocol::Resp);
        check(&"x".repeat(40), Protocol::Resp);
        check(&format!("get {}", "k ".repeat(4000)), Protocol::Memcached);
    }
}
