//! All that can be asked, in one enum.
//!
//! Promises: a `Command` is valid: its numbers are numbers, its options agree with each other, and
//! what two spellings share (`SETEX k 10 v`, `SET k v EX 10`) is one variant.
//! Knows nothing of how a command was written down, nor of what it does to a store.
//! Source: <https://redis.io/docs/latest/commands>, and Redis 7.0.15 for words and borders.

mod bits;
mod catalogue;
mod client;
mod connection;
mod describe;
mod expiry;
mod keys;
mod lcs;
mod objects;
mod option;
mod pubsub;
mod server;
mod strings;
mod transactions;

pub use bits::{BitOperation, BitRange, Bits, Field, FieldChange, FieldChanges, Overflow};
pub use catalogue::{Flags, Group, Row, all_rows, find, rows};
pub use client::{Choice, Kill, Replies, Track};
pub use expiry::{Deadline, Expire, ExpireCondition, Expiry};
pub use lcs::{Lcs, LcsAnswer};
pub use objects::{Entry, Object, Restore};
pub use pubsub::{Channels, PubSub};
pub use server::{Config, Latency, Memory, Server, SlowLog};

use crate::arguments::{Arguments, Pairs};
use crate::encoder::Version;
use crate::number::Decimal;
use crate::refusal::Refusal;

/// What a client asked, with its arguments still where they arrived.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "the line of a variant tells of its fields")]
pub enum Command<'a> {
    // The connection itself.
    /// PING: `+PONG`, or the message as a bulk.
    Ping { message: Option<&'a [u8]> },
    /// ECHO: the message as a bulk.
    Echo { message: &'a [u8] },
    /// HELLO: agree on the version of the protocol; perhaps AUTH and CLIENT SETNAME on the way.
    Hello(Hello<'a>),
    /// AUTH.
    Auth(Credentials<'a>),
    /// CLIENT and its subcommands.
    Client(Client<'a>),
    /// SELECT: the number as it was given, also where no such database exists.
    Select { index: i64 },
    /// QUIT: `+OK`, then close.
    Quit,
    /// RESET: forget what the connection was told; `+RESET`.
    Reset,

    // Transactions.
    /// MULTI.
    Multi,
    /// EXEC.
    Exec,
    /// DISCARD.
    Discard,
    /// WATCH.
    Watch { keys: Arguments<'a> },
    /// UNWATCH.
    Unwatch,

    // Messages.
    /// SUBSCRIBE, PUBLISH, PUBSUB and their kin.
    PubSub(PubSub<'a>),
    /// MONITOR: hear of every command.
    Monitor,

    // The server.
    /// COMMAND and its subcommands: [`Describe::write`] is the answer.
    Describe(Describe<'a>),
    /// CLIENT HELP, COMMAND HELP, CONFIG HELP: [`Row::write_help`] is the answer.
    Help { of: &'static Row },
    /// INFO: the sections asked for; none means the default ones.
    Info { sections: Arguments<'a> },
    /// CONFIG and its subcommands.
    Config(Config<'a>),
    /// TIME, WAIT, ROLE, SLOWLOG, LATENCY, SHUTDOWN, and MEMORY but for USAGE.
    Server(Server<'a>),
    /// DBSIZE.
    DbSize,
    /// FLUSHDB and FLUSHALL, ASYNC or SYNC: there is one database, and it is emptied at once.
    Flush,

    // Strings.
    /// GET.
    Get { key: &'a [u8] },
    /// SET, SETEX, PSETEX and GETSET: they differ in nothing else than options of SET.
    Set(Set<'a>),
    /// SETNX: `:1` when it was set, `:0` when the key was there.
    SetNx { key: &'a [u8], value: &'a [u8] },
    /// GETDEL.
    GetDel { key: &'a [u8] },
    /// GETEX.
    GetEx(GetEx<'a>),
    /// MGET.
    MGet { keys: Arguments<'a> },
    /// MSET.
    MSet { pairs: Pairs<'a> },
    /// MSETNX: all, or none when any of the keys is there.
    MSetNx { pairs: Pairs<'a> },
    /// APPEND.
    Append { key: &'a [u8], value: &'a [u8] },
    /// STRLEN.
    StrLen { key: &'a [u8] },
    /// INCR, DECR, INCRBY and DECRBY.
    Increment { key: &'a [u8], by: i64 },
    /// INCRBYFLOAT.
    IncrementFloat { key: &'a [u8], by: Decimal },
    /// SETRANGE.
    SetRange { key: &'a [u8], offset: u64, value: &'a [u8] },
    /// GETRANGE and SUBSTR: both ends belong to the range, and negative ones count from the end.
    GetRange { key: &'a [u8], start: i64, end: i64 },

    /// LCS.
    Lcs(Lcs<'a>),
    /// SETBIT, GETBIT, BITCOUNT, BITPOS, BITOP, BITFIELD and BITFIELD_RO.
    Bits(Bits<'a>),

    // Keys.
    /// DEL and UNLINK.
    Delete { keys: Arguments<'a> },
    /// EXISTS: a key that is named twice counts twice.
    Exists { keys: Arguments<'a> },
    /// TOUCH.
    Touch { keys: Arguments<'a> },
    /// EXPIRE, PEXPIRE, EXPIREAT and PEXPIREAT.
    Expire(Expire<'a>),
    /// TTL: seconds left, rounded to the nearest; `:-1` without expiry, `:-2` without key.
    Ttl { key: &'a [u8] },
    /// PTTL: milliseconds left.
    PTtl { key: &'a [u8] },
    /// EXPIRETIME: the deadline in unix seconds, rounded to the nearest.
    ExpireTime { key: &'a [u8] },
    /// PEXPIRETIME: the deadline in unix milliseconds.
    PExpireTime { key: &'a [u8] },
    /// PERSIST.
    Persist { key: &'a [u8] },
    /// TYPE.
    Type { key: &'a [u8] },
    /// RENAME: `+OK`, whatever stood at `to`.
    Rename { from: &'a [u8], to: &'a [u8] },
    /// RENAMENX: `:1`, or `:0` when `to` is there.
    RenameNx { from: &'a [u8], to: &'a [u8] },
    /// COPY.
    Copy(Copy<'a>),
    /// OBJECT, MEMORY USAGE, DUMP and RESTORE.
    Entry(Entry<'a>),
    /// KEYS.
    Keys { pattern: &'a [u8] },
    /// SCAN.
    Scan(Scan<'a>),
    /// RANDOMKEY.
    RandomKey,
}

impl<'a> Command<'a> {
    /// The command that `arguments` spell, its name first.
    ///
    /// It is [`find`] and then [`Row::read`]; who must decide between the two whether the client
    /// may ask at all calls them one by one.
    ///
    /// # Errors
    /// No such command, too few or too many arguments, or arguments that mean nothing.
    pub fn from_arguments(arguments: Arguments<'a>) -> Result<Command<'a>, Refusal<'a>> {
        find(arguments)?.read(arguments)
    }
}

/// Which version a client wants to speak, and what it says about itself at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hello<'a> {
    /// The version asked for; `None` only asks how things stand.
    pub version: Option<Version>,
    /// `AUTH user password`.
    pub credentials: Option<Credentials<'a>>,
    /// `SETNAME name`; an empty one takes the name away.
    pub name: Option<&'a [u8]>,
}

/// Who a client says it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Credentials<'a> {
    /// The user, `default` where none was named.
    pub user: &'a [u8],
    /// The password as it was sent.
    pub password: &'a [u8],
    /// Whether `AUTH password` named no user: Redis refuses that in other words when no password
    /// is set at all.
    pub is_user_implied: bool,
}

/// The subcommands of CLIENT.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "the line of a variant tells of its fields")]
pub enum Client<'a> {
    /// CLIENT ID.
    Id,
    /// CLIENT INFO: one line about this connection. The command has so many bytes, which it tells.
    Info { bytes: usize },
    /// CLIENT LIST: a line for each connection; perhaps only of a kind, or with these ids.
    List { kind: Option<ClientKind>, ids: Option<Arguments<'a>>, bytes: usize },
    /// CLIENT GETNAME.
    GetName,
    /// CLIENT SETNAME: the name is printable ASCII without spaces; empty takes it away.
    SetName { name: &'a [u8] },
    /// CLIENT SETINFO LIB-NAME.
    SetLibraryName { name: &'a [u8] },
    /// CLIENT SETINFO LIB-VER.
    SetLibraryVersion { version: &'a [u8] },
    /// CLIENT NO-EVICT.
    NoEvict { is_on: bool },
    /// CLIENT NO-TOUCH.
    NoTouch { is_on: bool },
    /// CLIENT KILL.
    Kill(Kill<'a>),
    /// CLIENT REPLY.
    Reply(Replies),
    /// CLIENT PAUSE: all commands, or those that write.
    Pause { time_ms: u64, writes_only: bool },
    /// CLIENT UNPAUSE.
    Unpause,
    /// CLIENT UNBLOCK: nobody waits here, so nobody is unblocked.
    Unblock,
    /// CLIENT TRACKING.
    Track(Track<'a>),
    /// CLIENT TRACKINGINFO.
    TrackingInfo,
    /// CLIENT CACHING; neither YES nor NO is judged by the state of the client.
    Caching { is_yes: Option<bool> },
    /// CLIENT GETREDIR.
    GetRedirect,
}

/// The kinds of client that CLIENT LIST TYPE knows. All of ours are `Normal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    /// Sends commands and reads replies.
    Normal,
    /// A server that we copy from.
    Master,
    /// A server that copies from us.
    Replica,
    /// Listens to messages.
    PubSub,
}

/// COMMAND and its subcommands.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "the line of a variant tells of its fields")]
pub enum Describe<'a> {
    /// COMMAND: every row of the catalogue.
    Every,
    /// COMMAND COUNT.
    Count,
    /// COMMAND INFO: these rows, or every one.
    Info { names: Arguments<'a> },
    /// COMMAND DOCS: these rows, or every one.
    Docs { names: Arguments<'a> },
    /// COMMAND GETKEYS and GETKEYSANDFLAGS: the keys among the arguments of a command, which has
    /// some.
    Keys { arguments: Arguments<'a>, has_flags: bool },
    /// COMMAND LIST: the names that pass.
    List { filter: ListFilter<'a> },
}

/// What COMMAND LIST lets pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListFilter<'a> {
    /// Every name.
    Every,
    /// FILTERBY MODULE: none, for there are no modules.
    Module(&'a [u8]),
    /// FILTERBY ACLCAT: the commands of a category, such as `fast`.
    Category(&'a [u8]),
    /// FILTERBY PATTERN: the names that match.
    Pattern(&'a [u8]),
}

/// When SET sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Whatever is there.
    Always,
    /// NX: only if the key is not there.
    Absent,
    /// XX: only if the key is there.
    Present,
}

/// SET with its options.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Set<'a> {
    /// The key.
    pub key: &'a [u8],
    /// Its new value.
    pub value: &'a [u8],
    /// NX or XX.
    pub condition: Condition,
    /// `Clear` where no option says otherwise; `Keep` for KEEPTTL.
    pub expiry: Expiry,
    /// GET: answer the old value (or null) instead of whether it was set.
    pub is_get: bool,
}

/// GETEX with its option.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GetEx<'a> {
    /// The key.
    pub key: &'a [u8],
    /// `Keep` where no option says otherwise; `Clear` for PERSIST.
    pub expiry: Expiry,
}

/// COPY with its options.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Copy<'a> {
    /// The key that is copied.
    pub from: &'a [u8],
    /// The key that is made.
    pub to: &'a [u8],
    /// DB: the number as it was given, also where no such database exists.
    pub database: Option<i64>,
    /// REPLACE: `to` may be there.
    pub is_replace: bool,
}

/// SCAN with its options.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scan<'a> {
    /// Where to go on; 0 to begin.
    pub cursor: u64,
    /// MATCH: only keys that match.
    pub pattern: Option<&'a [u8]>,
    /// COUNT: about how many keys to look at in this call.
    pub count: u64,
    /// TYPE: only keys of this type.
    pub kind: Option<&'a [u8]>,
}
