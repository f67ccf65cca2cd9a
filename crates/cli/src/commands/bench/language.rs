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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
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

    /// Appends one command that asks for all of `keys`, which have the same value, and to
    /// `expected` what a server answers that has them all.
    pub(super) fn add_gets(
        self,
        (keys, value): (&[&[u8]], &[u8]),
        sent: &mut Vec<u8>,
        expected: &mut Vec<u8>,
    ) {
        let length = value.len().to_string();
        let length = length.as_bytes();
        match self {
            Language::Resp => {
                encode_command(sent, &[&[b"MGET".as_slice()], keys].concat());
                expected.extend(format!("*{}\r\n", keys.len()).as_bytes());
                for _ in keys {
                    expected.extend([b"$", length, b"\r\n", value, b"\r\n"].concat());
                }
            }
            Language::Memcached => {
                sent.extend(b"get");
                for key in keys {
                    sent.extend([b" ", *key].concat());
                    let head = [b"VALUE ", *key, b" 0 ", length, b"\r\n"].concat();
                    expected.extend([&head, value, b"\r\n"].concat());
                }
                sent.extend(b"\r\n");
                expected.extend(b"END\r\n");
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

    fn check_gets(language: Language, sent: &str, expected: &str) {
        let (mut found, mut answer) = (Vec::new(), Vec::new());
        language.add_gets((&[b"k1", b"k2"], b"ab"), &mut found, &mut answer);
        assert_eq!(String::from_utf8(found).unwrap(), sent);
        assert_eq!(String::from_utf8(answer).unwrap(), expected);
    }

    #[test]
    fn many_keys_are_asked_for_in_one_command() {
        let sent = "*3\r\n$4\r\nMGET\r\n$2\r\nk1\r\n$2\r\nk2\r\n";
        check_gets(Language::Resp, sent, "*2\r\n$2\r\nab\r\n$2\r\nab\r\n");
        let answer = "VALUE k1 0 2\r\nab\r\nVALUE k2 0 2\r\nab\r\nEND\r\n";
        check_gets(Language::Memcached, "get k1 k2\r\n", answer);
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
