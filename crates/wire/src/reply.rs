//! All that can be answered, in one enum, and the reading of it.
//!
//! Promises: `decode_reply` gives back what the encoder wrote. It borrows texts from the bytes, and
//! believes no length: a hostile server cannot make it allocate more than its bytes are worth, nor
//! go deeper than [`DEPTH_MOST`].
//! Knows nothing of which command is answered.
//! Source: <https://redis.io/docs/latest/develop/reference/protocol-spec>

use crate::malformed::Malformed;
use crate::number::parse_integer;

/// Replies within replies that are read: twice what the deepest of Redis has (COMMAND DOCS, 8).
const DEPTH_MOST: usize = 16;

/// The shortest reply, such as `_\r\n`: what each part of an aggregate takes at least.
const REPLY_BYTES_LEAST: usize = 3;

/// A reply, its texts still where they arrived.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply<'a> {
    /// A line that says how it went.
    Simple(&'a [u8]),
    /// A line that says what is wrong, its code first.
    Error(&'a [u8]),
    /// An integer.
    Integer(i64),
    /// Bytes.
    Bulk(&'a [u8]),
    /// Nothing: in RESP2 a bulk or an array of length -1.
    Null,
    /// A number with a fraction; RESP3 only.
    Double(f64),
    /// A truth; RESP3 only.
    Boolean(bool),
    /// A text for people, plain; RESP3 only.
    Verbatim(&'a [u8]),
    /// Replies in an order.
    Array(Vec<Reply<'a>>),
    /// Pairs of replies; RESP3 only.
    Map(Vec<(Reply<'a>, Reply<'a>)>),
    /// Replies without an order; RESP3 only.
    Set(Vec<Reply<'a>>),
    /// What nobody asked for; RESP3 only.
    Push(Vec<Reply<'a>>),
}

/// The reply that `bytes` begin with and the bytes it takes, or `None` while it is not whole.
///
/// A call begins from the start again, so who reads long replies in small pieces pays for each.
///
/// # Errors
/// The bytes are no reply.
pub fn decode_reply(bytes: &[u8]) -> Result<Option<(Reply<'_>, usize)>, Malformed> {
    let mut decoder = Decoder { bytes, at: 0 };
    Ok(decoder.reply(DEPTH_MOST)?.map(|reply| (reply, decoder.at)))
}

struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Decoder<'a> {
    fn reply(&mut self, depth: usize) -> Result<Option<Reply<'a>>, Malformed> {
        let Some((mark, line)) = self.line()? else {
            return Ok(None);
        };
        let reply = match mark {
            b'+' => Reply::Simple(line),
            b'-' => Reply::Error(line),
            b':' => Reply::Integer(integer(line)?),
            b',' => Reply::Double(double(line)?),
            b'_' if line.is_empty() => Reply::Null,
            b'#' if line == b"t" => Reply::Boolean(true),
            b'#' if line == b"f" => Reply::Boolean(false),
            b'$' | b'=' => return self.text(mark, line),
            b'*' | b'%' | b'~' | b'>' => return self.aggregate(mark, line, depth),
            b'_' | b'#' => return Err(Malformed::Reply),
            found => return Err(Malformed::UnknownType { found }),
        };
        Ok(Some(reply))
    }

    /// A bulk or a verbatim string, whose head is `line`.
    fn text(&mut self, mark: u8, line: &[u8]) -> Result<Option<Reply<'a>>, Malformed> {
        let Some(length) = length(line)? else {
            return Ok(Some(Reply::Null));
        };
        let rest = &self.bytes[self.at..];
        let Some(line_end) = length.checked_add(2).and_then(|end| rest.get(length..end)) else {
            return Ok(None);
        };
        if line_end != b"\r\n" {
            return Err(Malformed::NoLineEnd);
        }
        self.at += length + 2;
        match (mark, &rest[..length]) {
            (b'=', [_, _, _, b':', text @ ..]) => Ok(Some(Reply::Verbatim(text))),
            (b'=', _) => Err(Malformed::Reply),
            (_, text) => Ok(Some(Reply::Bulk(text))),
        }
    }

    /// An array, map, set or push, whose head is `line`.
    fn aggregate(
        &mut self,
        mark: u8,
        line: &[u8],
        depth: usize,
    ) -> Result<Option<Reply<'a>>, Malformed> {
        let Some(count) = length(line)? else {
            return Ok(Some(Reply::Null));
        };
        let depth = depth.checked_sub(1).ok_or(Malformed::TooDeep { most: DEPTH_MOST })?;
        if mark == b'%' {
            return self.map(count, depth);
        }
        let Some(parts) = self.parts(count, depth)? else {
            return Ok(None);
        };
        Ok(Some(match mark {
            b'~' => Reply::Set(parts),
            b'>' => Reply::Push(parts),
            _ => Reply::Array(parts),
        }))
    }

    fn map(&mut self, count: usize, depth: usize) -> Result<Option<Reply<'a>>, Malformed> {
        let mut pairs = Vec::with_capacity(self.room(count, 2 * REPLY_BYTES_LEAST));
        for _ in 0..count {
            let Some(key) = self.reply(depth)? else {
                return Ok(None);
            };
            let Some(value) = self.reply(depth)? else {
                return Ok(None);
            };
            pairs.push((key, value));
        }
        Ok(Some(Reply::Map(pairs)))
    }

    fn parts(&mut self, count: usize, depth: usize) -> Result<Option<Vec<Reply<'a>>>, Malformed> {
        let mut parts = Vec::with_capacity(self.room(count, REPLY_BYTES_LEAST));
        for _ in 0..count {
            let Some(part) = self.reply(depth)? else {
                return Ok(None);
            };
            parts.push(part);
        }
        Ok(Some(parts))
    }

    /// `count`, but no more parts of `least` bytes than the bytes at hand can hold.
    fn room(&self, count: usize, least: usize) -> usize {
        count.min((self.bytes.len() - self.at) / least)
    }

    /// The next mark and its line, or `None` while the line has no end.
    fn line(&mut self) -> Result<Option<(u8, &'a [u8])>, Malformed> {
        let rest = &self.bytes[self.at..];
        let Some((&mark, behind)) = rest.split_first() else {
            return Ok(None);
        };
        let Some(length) = behind.iter().position(|&byte| byte == b'\r') else {
            return Ok(None);
        };
        match behind.get(length + 1) {
            None => Ok(None),
            Some(b'\n') => {
                self.at += 1 + length + 2;
                Ok(Some((mark, &behind[..length])))
            }
            Some(_) => Err(Malformed::NoLineEnd),
        }
    }
}

fn integer(line: &[u8]) -> Result<i64, Malformed> {
    parse_integer(line).ok_or(Malformed::Reply)
}

/// A length or a count; `None` is the -1 that stands for null.
fn length(line: &[u8]) -> Result<Option<usize>, Malformed> {
    match integer(line)? {
        -1 => Ok(None),
        length => usize::try_from(length).map(Some).map_err(|_| Malformed::Reply),
    }
}

fn double(line: &[u8]) -> Result<f64, Malformed> {
    std::str::from_utf8(line).ok().and_then(|text| text.parse().ok()).ok_or(Malformed::Reply)
}
