//! The languages in which servers are asked: commands as bytes, and the replies to them.
//!
//! Promises: what is answered to a command is known byte by byte before it is sent.
//! Knows nothing of sockets.
//! Source: the RESP specification of Redis; memcached's doc/protocol.txt.

use morecore_wire::encode_command;

/// The language that a server is spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    /// Redis's, RESP2.
    Resp,
    /// memcached's text.
    Memcached,
}

/// What is asked of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    /// To give a value.
    Get,
    /// To put a value in place of one of the same length.
    Set,
}

impl Operation {
    /// Its name in tables.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Operation::Get => "GET",
            Operation::Set => "SET",
        }
    }
}

impl Language {
    /// Appends one command to `sent`, and to `expected` what a server that has the key answers.
    pub(super) fn add(
        self,
        operation: Operation,
        (key, value): (&[u8], &[u8]),
        sent: &mut Vec<u8>,
        expected: &mut Vec<u8>,
    ) {
        let length = value.len().to_string();
        let length = length.as_bytes();
        let mut expect = |pieces: &[&[u8]]| expected.extend(pieces.concat());
        match (self, operation) {
            (Language::Resp, Operation::Get) => {
                encode_command(sent, &[b"GET", key]);
                expect(&[b"$", length, b"\r\n", value, b"\r\n"]);
            }
            (Language::Resp, Operation::Set) => {
                encode_command(sent, &[b"SET", key, value]);
                expect(&[b"+OK\r\n"]);
            }
            (Language::Memcached, Operation::Get) => {
                sent.extend([b"get ", key, b"\r\n"].concat());
                expect(&[b"VALUE ", key, b" 0 ", length, b"\r\n", value, b"\r\nEND\r\n"]);
            }
            (Language::Memcached, Operation::Set) => {
                sent.extend([b"set ", key, b" 0 0 ", length, b"\r\n", value, b"\r\n"].concat());
                expect(&[b"STORED\r\n"]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(language: Language, operation: Operation, sent: &str, expected: &str) {
        let (mut found, mut answer) = (Vec::new(), Vec::new());
        language.add(operation, (b"key", b"ab"), &mut found, &mut answer);
        assert_eq!(String::from_utf8(found).unwrap(), sent);
        assert_eq!(String::from_utf8(answer).unwrap(), expected);
    }

    #[test]
    fn resp_is_spoken() {
        let get = "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n";
        check(Language::Resp, Operation::Get, get, "$2\r\nab\r\n");
        let set = "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$2\r\nab\r\n";
        check(Language::Resp, Operation::Set, set, "+OK\r\n");
    }

    #[test]
    fn memcached_is_spoken() {
        let found = "VALUE key 0 2\r\nab\r\nEND\r\n";
        check(Language::Memcached, Operation::Get, "get key\r\n", found);
        check(Language::Memcached, Operation::Set, "set key 0 0 2\r\nab\r\n", "STORED\r\n");
    }
}
