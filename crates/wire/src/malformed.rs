//! What is wrong with bytes that are no command, or no reply.
//!
//! Promises: `Display` says it in Redis's words where Redis has words for it.
//! Source: networking.c of Redis 7.0.15.

use std::fmt::{self, Display, Formatter};

/// Why bytes cannot be read on. Where the next command would begin is not known any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the line of a variant tells of its fields")]
pub enum Malformed {
    /// The number of arguments is no number, or too large.
    ArgumentCount,
    /// As many arguments are not taken from a client without a password.
    UnauthenticatedArgumentCount,
    /// The line with the number of arguments does not end.
    ArgumentCountTooLong,
    /// The length of a bulk is no number, or too large.
    BulkLength,
    /// A bulk as long is not taken from a client without a password.
    UnauthenticatedBulkLength,
    /// The line with the length of a bulk does not end.
    BulkLengthTooLong,
    /// A bulk begins with something else than `$`.
    NoBulk { found: u8 },
    /// A carriage return, or the end of a bulk, without the line end that belongs there.
    NoLineEnd,
    /// An inline command that does not end.
    InlineTooLong,
    /// An inline command with a quote that does not end, or ends in the middle of a word.
    UnbalancedQuotes,
    /// A browser speaks, perhaps in the name of another site.
    Http,
    /// A reply of a type that does not exist.
    UnknownType { found: u8 },
    /// A reply whose number, length or text is not one.
    Reply,
    /// A reply in a reply in a reply, too many times.
    TooDeep { most: usize },
}

impl Display for Malformed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Protocol error: ")?;
        match *self {
            Malformed::ArgumentCount => f.write_str("invalid multibulk length"),
            Malformed::UnauthenticatedArgumentCount => {
                f.write_str("unauthenticated multibulk length")
            }
            Malformed::ArgumentCountTooLong => f.write_str("too big mbulk count string"),
            Malformed::BulkLength => f.write_str("invalid bulk length"),
            Malformed::UnauthenticatedBulkLength => f.write_str("unauthenticated bulk length"),
            Malformed::BulkLengthTooLong => f.write_str("too big bulk count string"),
            Malformed::NoBulk { found } => {
                write!(f, "expected '$', got '{}'", char::from(found))
            }
            Malformed::NoLineEnd => f.write_str("expected a line end"),
            Malformed::InlineTooLong => f.write_str("too big inline request"),
            Malformed::UnbalancedQuotes => f.write_str("unbalanced quotes in request"),
            Malformed::Http => f.write_str("this is no HTTP server"),
            Malformed::UnknownType { found } => {
                write!(f, "no reply begins with '{}'", found.escape_ascii())
            }
            Malformed::Reply => f.write_str("invalid reply"),
            Malformed::TooDeep { most } => write!(f, "replies nest deeper than {most}"),
        }
    }
}

impl std::error::Error for Malformed {}
