//! The languages of clients: bytes to commands, replies to bytes.
//!
//! ```text
//!   bytes --Parser--> Arguments --catalogue--> Command        (a server reads)
//!   bytes <--Encoder-- what `execute` found, or a Refusal          (a server answers)
//!   bytes --decode_reply--> Reply                                  (a client reads)
//! ```
//!
//! That is RESP; [`memcached`] has the same parts, and [`Protocol`] tells which a client speaks.
//!
//! Promises: no I/O, no clock, no unsafe, no dependencies. Nothing is copied on the way in: a
//! command borrows its arguments from the bytes that arrived. In steady state no allocation is made
//! per command.
//! Knows nothing of sockets, nor of where values live.
//! Source: the RESP2 and RESP3 specifications of Redis; where those are silent, Redis 7.0.15. For
//! memcached its doc/protocol.txt, and memcached 1.6.18.
#![forbid(unsafe_code)]

mod arguments;
mod command;
pub mod dump;
mod encoder;
mod glob;
mod malformed;
pub mod memcached;
mod number;
mod protocol;
mod refusal;
mod reply;
mod resp;

pub use arguments::{Arguments, Pairs};
pub use command::{
    BitOperation, BitRange, Bits, Channels, Choice, Client, ClientKind, Command, Condition, Config,
    Copy, Credentials, Deadline, Describe, Entry, Expire, ExpireCondition, Expiry, Field,
    FieldChange, FieldChanges, Flags, GetEx, Group, Hello, Kill, Latency, Lcs, LcsAnswer,
    ListFilter, Memory, Object, Overflow, PubSub, Replies, Restore, Row, Scan, Server, Set,
    SlowLog, Track, all_rows, find, rows,
};
pub use encoder::{Encoder, Version};
pub use glob::{is_match, is_match_ignoring_case};
pub use malformed::Malformed;
pub use number::{Decimal, parse_integer, write_integer};
pub use protocol::Protocol;
pub use refusal::Refusal;
pub use reply::{Reply, decode_reply};
pub use resp::{Awaited, Batch, Limits, Parser, Progress, encode_command};
