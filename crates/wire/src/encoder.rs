//! Replies to bytes: each verb appends one reply to the bytes that a client will get.
//!
//! Promises: what is appended is a whole reply, or the head of an aggregate whose parts the caller
//! owes. A version that lacks a type gets the nearest one it has (a map becomes a flat array, null
//! an empty bulk of length -1). Only `refusal` goes through the formatting machinery.
//! Knows nothing of what is answered, nor of when the bytes leave.
//! Source: <https://redis.io/docs/latest/develop/reference/protocol-spec>

use std::io::Write;

use crate::number::{
    DIGITS_MOST, count_digits, unsigned_digits, write_double, write_integer, write_unsigned,
};
use crate::refusal::Refusal;
use crate::reply::Reply;

/// A version of RESP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// What a connection speaks until HELLO 3.
    #[default]
    Resp2,
    /// With maps, sets, booleans, doubles, null and pushes.
    Resp3,
}

impl Version {
    /// The number that HELLO tells.
    pub fn number(self) -> i64 {
        match self {
            Version::Resp2 => 2,
            Version::Resp3 => 3,
        }
    }
}

/// Appends replies to bytes.
pub struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    version: Version,
}

impl<'a> Encoder<'a> {
    /// Appends to `out` in `version`.
    pub fn new(out: &'a mut Vec<u8>, version: Version) -> Self {
        Encoder { out, version }
    }

    /// The version that it writes.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Writes `version` from now on, as HELLO asks.
    pub fn set_version(&mut self, version: Version) {
        self.version = version;
    }

    /// How many bytes wait in the output, what stood there before included.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether no byte waits in the output.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// What was written behind the first `bytes` of the output.
    pub fn behind(&self, bytes: usize) -> &[u8] {
        self.out.get(bytes..).unwrap_or_default()
    }

    /// Replies that were encoded before, in the version that this one writes.
    pub fn encoded(&mut self, replies: &[u8]) {
        self.out.extend_from_slice(replies);
    }

    /// `+OK`.
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// A simple string; line ends in it become spaces.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// An error, `CODE and words`; line ends in it become spaces.
    pub fn error(&mut self, text: &str) {
        self.line(b'-', text.as_bytes());
    }

    /// The error that says `refusal`.
    pub fn refusal(&mut self, refusal: &Refusal<'_>) {
        self.out.push(b'-');
        let start = self.out.len();
        write!(self.out, "{refusal}").expect("writing to a Vec cannot fail");
        blank_line_ends(&mut self.out[start..]);
        self.line_end();
    }

    /// An integer.
    pub fn integer(&mut self, value: i64) {
        self.out.push(b':');
        write_integer(self.out, value);
        self.line_end();
    }

    /// A bulk.
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.out.reserve(bytes.len() + HEAD_BYTES_MOST + 2);
        self.head(b'$', bytes.len());
        self.out.extend_from_slice(bytes);
        self.line_end();
    }

    /// A bulk of so many bytes that come from elsewhere: what stands around them. Returns where in
    /// the output they belong.
    pub fn bulk_around(&mut self, bytes: usize) -> usize {
        self.head(b'$', bytes);
        let at = self.out.len();
        self.line_end();
        at
    }

    /// An integer as a bulk.
    pub fn bulk_integer(&mut self, value: i64) {
        let digits = count_digits(value.unsigned_abs()) + usize::from(value < 0);
        self.head(b'$', digits);
        write_integer(self.out, value);
        self.line_end();
    }

    /// A bulk whose bytes `write` appends behind its head, or null when `write` says `false`.
    ///
    /// Nothing is copied when the length has as many digits as `expected` has; otherwise the bytes
    /// move by the difference.
    ///
    /// # Errors
    /// What `write` says; the output is then as it was before.
    pub fn bulk_with<E>(
        &mut self,
        expected: usize,
        write: impl FnOnce(&mut Vec<u8>) -> Result<bool, E>,
    ) -> Result<bool, E> {
        let start = self.out.len();
        self.head(b'$', expected);
        let begin = self.out.len();
        let is_there = match write(self.out) {
            Ok(true) => true,
            Ok(false) => {
                self.out.truncate(start);
                self.null();
                return Ok(false);
            }
            Err(error) => {
                self.out.truncate(start);
                return Err(error);
            }
        };
        let bytes = self.out.len() - begin;
        if bytes != expected {
            self.mend_head(start, begin, bytes);
        }
        self.line_end();
        Ok(is_there)
    }

    /// Null.
    pub fn null(&mut self) {
        self.out.extend_from_slice(match self.version {
            Version::Resp2 => b"$-1\r\n",
            Version::Resp3 => b"_\r\n",
        });
    }

    /// Null where an array was asked for.
    pub fn null_array(&mut self) {
        self.out.extend_from_slice(match self.version {
            Version::Resp2 => b"*-1\r\n",
            Version::Resp3 => b"_\r\n",
        });
    }

    /// The head of an array of `count` replies.
    pub fn array(&mut self, count: usize) {
        self.head(b'*', count);
    }

    /// The head of a map of `count` pairs of replies.
    pub fn map(&mut self, count: usize) {
        match self.version {
            Version::Resp2 => self.head(b'*', 2 * count),
            Version::Resp3 => self.head(b'%', count),
        }
    }

    /// The head of a set of `count` replies.
    pub fn set(&mut self, count: usize) {
        match self.version {
            Version::Resp2 => self.head(b'*', count),
            Version::Resp3 => self.head(b'~', count),
        }
    }

    /// The head of a push of `count` replies: what a client did not ask for.
    pub fn push(&mut self, count: usize) {
        match self.version {
            Version::Resp2 => self.head(b'*', count),
            Version::Resp3 => self.head(b'>', count),
        }
    }

    /// A double, with as many digits as it takes to tell it from every other.
    pub fn double(&mut self, value: f64) {
        match self.version {
            Version::Resp3 => {
                self.out.push(b',');
                write_double(self.out, value);
                self.line_end();
            }
            Version::Resp2 => {
                // A double prints in some 20 bytes, and never in more than 330.
                let written = self.bulk_with(20, |out| {
                    write_double(out, value);
                    Ok::<_, std::convert::Infallible>(true)
                });
                written.expect("writing a double cannot fail");
            }
        }
    }

    /// A truth: `#t` and `#f`, or 1 and 0.
    pub fn boolean(&mut self, value: bool) {
        self.out.extend_from_slice(match (self.version, value) {
            (Version::Resp2, false) => b":0\r\n",
            (Version::Resp2, true) => b":1\r\n",
            (Version::Resp3, false) => b"#f\r\n",
            (Version::Resp3, true) => b"#t\r\n",
        });
    }

    /// A text for people, as INFO answers it.
    pub fn verbatim(&mut self, text: &[u8]) {
        match self.version {
            Version::Resp2 => self.bulk(text),
            Version::Resp3 => {
                self.head(b'=', VERBATIM_MARK.len() + text.len());
                self.out.extend_from_slice(VERBATIM_MARK);
                self.out.extend_from_slice(text);
                self.line_end();
            }
        }
    }

    /// A reply that was decoded or made as a value.
    pub fn reply(&mut self, reply: &Reply<'_>) {
        match reply {
            Reply::Simple(text) => self.line(b'+', text),
            Reply::Error(text) => self.line(b'-', text),
            Reply::Integer(value) => self.integer(*value),
            Reply::Bulk(bytes) => self.bulk(bytes),
            Reply::Null => self.null(),
            Reply::Double(value) => self.double(*value),
            Reply::Boolean(value) => self.boolean(*value),
            Reply::Verbatim(text) => self.verbatim(text),
            Reply::Array(parts) => {
                self.array(parts.len());
                self.replies(parts);
            }
            Reply::Set(parts) => {
                self.set(parts.len());
                self.replies(parts);
            }
            Reply::Push(parts) => {
                self.push(parts.len());
                self.replies(parts);
            }
            Reply::Map(pairs) => {
                self.map(pairs.len());
                for (key, value) in pairs {
                    self.reply(key);
                    self.reply(value);
                }
            }
        }
    }

    fn replies(&mut self, parts: &[Reply<'_>]) {
        for part in parts {
            self.reply(part);
        }
    }

    /// `mark`, then `number`, then a line end.
    fn head(&mut self, mark: u8, number: usize) {
        self.out.push(mark);
        write_unsigned(self.out, number as u64);
        self.line_end();
    }

    /// Writes the head of the bulk at `start` again, whose `bytes` bytes begin at `begin`.
    #[cold]
    fn mend_head(&mut self, start: usize, begin: usize, bytes: usize) {
        let mut buffer = [0; DIGITS_MOST];
        let digits = unsigned_digits(bytes as u64, &mut buffer);
        // The mark before and the line end behind the digits are right already.
        self.out.splice(start + 1..begin - 2, digits.iter().copied());
    }

    fn line(&mut self, mark: u8, text: &[u8]) {
        self.out.push(mark);
        let start = self.out.len();
        self.out.extend_from_slice(text);
        blank_line_ends(&mut self.out[start..]);
        self.line_end();
    }

    fn line_end(&mut self) {
        self.out.extend_from_slice(b"\r\n");
    }
}

/// The longest head: a mark, the digits, a line end.
const HEAD_BYTES_MOST: usize = 1 + DIGITS_MOST + 2;

/// What stands before the text of a verbatim string that is plain text.
const VERBATIM_MARK: &[u8] = b"txt:";

/// A line end within a line would begin another reply.
fn blank_line_ends(text: &mut [u8]) {
    for byte in text.iter_mut().filter(|byte| matches!(byte, b'\r' | b'\n')) {
        *byte = b' ';
    }
}
