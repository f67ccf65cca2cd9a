//! The plain commands at the start of what came: arrays of a few short bulks, whole. That is what
//! nearly every client sends, and many at once where it pipelines.
//!
//! ```text
//!   bytes     *2 $3 GET $1 a | *2 $3 GET $1 b | *3 $3 SET $1 c ...      the rest: not whole yet,
//!   batch     ends   ^                ^                    ^            or for `Parser` to judge
//! ```
//!
//! Promises: it takes only what [`Parser`](super::Parser) takes too, and finds the same arguments.
//! Whatever else stands there, right or wrong, is left where it is. It looks at each byte of a head
//! once, and at no byte of a body but the two behind it. Nothing is allocated once it has grown to
//! its largest batch.

use std::ops::Range;

use crate::arguments::Arguments;
use crate::resp::Limits;

/// The most arguments of a plain command: more than a SET with its options has, and no more than a
/// client may send before its password.
const ARGUMENTS_MOST: usize = 8;
const _: () = assert!(ARGUMENTS_MOST <= Limits::UNAUTHENTICATED.arguments_most);

/// The most bytes of an argument of a plain command: four digits of length. A longer one costs far
/// more to move than to find.
const BULK_BYTES_MOST: usize = 9999;
const _: () = assert!(BULK_BYTES_MOST <= Limits::UNAUTHENTICATED.bulk_bytes_most);

/// Whole plain commands, in their order. Positions are counted from where they were read.
#[derive(Debug, Default)]
pub struct Batch {
    arguments: Vec<Range<usize>>,
    commands: Vec<Plain>,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
struct Plain {
    /// Where its arguments begin and end among those of all.
    first: usize,
    last: usize,
    /// Where its bytes end.
    end: usize,
}

impl Batch {
    /// Finds the plain commands that `input` begins with, `most` at most. They are to have
    /// arguments of no more than `bulk_bytes_most`.
    pub fn read(&mut self, input: &[u8], most: usize, bulk_bytes_most: usize) {
        self.clear();
        let bulk_bytes_most = bulk_bytes_most.min(BULK_BYTES_MOST);
        let mut at = 0;
        while self.commands.len() < most {
            let first = self.arguments.len();
            let Some(end) = self.read_one(input, at, bulk_bytes_most) else {
                self.arguments.truncate(first);
                break;
            };
            self.commands.push(Plain { first, last: self.arguments.len(), end });
            at = end;
        }
    }

    /// Forgets all commands.
    pub fn clear(&mut self) {
        self.arguments.clear();
        self.commands.clear();
    }

    /// How many commands there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// The arguments of the command at `index`, which was read from the begin of `input`, and where
    /// it ends there.
    pub fn get<'a>(&'a self, index: usize, input: &'a [u8]) -> Option<(Arguments<'a>, usize)> {
        let &Plain { first, last, end } = self.commands.get(index)?;
        Some((Arguments::new(input, self.arguments.get(first..last)?), end))
    }

    /// Reads a command that begins at `at`; returns where it ends.
    #[inline]
    fn read_one(&mut self, input: &[u8], at: usize, bulk_bytes_most: usize) -> Option<usize> {
        let (count, mut at) = number(input, at, b'*')?;
        if !(1..=ARGUMENTS_MOST).contains(&count) {
            return None;
        }
        for _ in 0..count {
            let (bytes, begin) = number(input, at, b'$')?;
            let end = begin + bytes;
            if bytes > bulk_bytes_most || input.get(end..end + 2)? != b"\r\n" {
                return None;
            }
            self.arguments.push(begin..end);
            at = end + 2;
        }
        Some(at)
    }
}

/// The number of up to four digits in the line at `at`, behind its mark, and where the line ends.
#[inline]
fn number(input: &[u8], at: usize, mark: u8) -> Option<(usize, usize)> {
    let line = input.get(at..)?;
    match *line {
        [found, ones @ b'0'..=b'9', b'\r', b'\n', ..] if found == mark => {
            Some((digit(ones), at + 4))
        }
        [found, tens @ b'1'..=b'9', ones @ b'0'..=b'9', b'\r', b'\n', ..] if found == mark => {
            Some((10 * digit(tens) + digit(ones), at + 5))
        }
        [found, b'1'..=b'9', ..] if found == mark => longer(line, at),
        _ => None,
    }
}

/// The same for three and four digits.
fn longer(line: &[u8], at: usize) -> Option<(usize, usize)> {
    let digits = line.iter().skip(1).take_while(|byte| byte.is_ascii_digit()).count();
    if !(3..=4).contains(&digits) || line.get(digits + 1..digits + 3)? != b"\r\n" {
        return None;
    }
    let value = line[1..=digits].iter().fold(0, |sum, &byte| 10 * sum + digit(byte));
    Some((value, at + digits + 3))
}

fn digit(byte: u8) -> usize {
    usize::from(byte - b'0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::{Parser, Progress, encode_command};

    /// What a batch finds in `input`: each command as text, and how many bytes it leaves.
    fn check(input: &[u8], expected: &[&str], left: usize) {
        let mut batch = Batch::default();
        batch.read(input, 100, usize::MAX);
        let found: Vec<String> = (0..batch.len())
            .map(|index| format!("{:?}", batch.get(index, input).unwrap().0))
            .collect();
        let end = batch.len().checked_sub(1).map_or(0, |last| batch.get(last, input).unwrap().1);
        assert_eq!(
            (found, input.len() - end),
            (expected.iter().map(|&s| s.into()).collect(), left)
        );
    }

    #[test]
    fn whole_commands_are_found_and_the_rest_is_left() {
        check(b"", &[], 0);
        check(b"*1\r\n$4\r\nPING\r\n", &[r#"["PING"]"#], 0);
        check(b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPIN", &[r#"["PING"]"#], 11);
        check(b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n*1\r\n", &[r#"["GET", ""]"#], 4);
    }

    #[test]
    fn what_the_parser_is_to_judge_is_left() {
        for input in [
            &b"PING\r\n"[..],
            b"*0\r\n",
            b"*-1\r\n",
            b"*9\r\n$1\r\n",
            b"*1\r\n$-1\r\n",
            b"*1\r\n$04\r\nPING\r\n",
            b"*1\r\n$4\r\nPINGxx",
            b"*1\r\n:4\r\nPING\r\n",
            b"*1\n$4\nPING\n",
            b"*1\r\n$10000\r\n",
        ] {
            check(input, &[], input.len());
        }
    }

    #[test]
    fn an_argument_longer_than_allowed_is_left() {
        let input = b"*1\r\n$4\r\nPING\r\n";
        let mut batch = Batch::default();
        batch.read(input, 1, 3);
        assert!(batch.is_empty());
        batch.read(input, 1, 4);
        assert_eq!(batch.len(), 1);
    }

    #[test]
    fn it_finds_what_the_parser_finds_with_values_of_every_length() {
        let mut input = Vec::new();
        for bytes in [0, 1, 9, 10, 99, 100, 999, 1000, 9999] {
            encode_command(&mut input, &[b"SET", b"key", &vec![b'v'; bytes]]);
        }
        let mut batch = Batch::default();
        batch.read(&input, 100, usize::MAX);
        assert_eq!(batch.len(), 9);
        let (mut parser, mut at) = (Parser::new(Limits::DEFAULT), 0);
        for index in 0..batch.len() {
            let (arguments, end) = batch.get(index, &input).unwrap();
            let Ok(Progress::Whole { consumed }) = parser.parse(&input[at..]) else { panic!() };
            assert_eq!(parser.arguments(&input[at..]), arguments);
            at += consumed;
            assert_eq!(at, end);
        }
    }
}
