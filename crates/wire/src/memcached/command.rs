//! All that a client of memcached can ask, in one enum.
//!
//! Promises: a `Command` is valid: its numbers are numbers, its key is no longer than memcached
//! takes. What a text command and a meta command share (`cas k 0 0 1 5`, `ms k 1 C5`) is one
//! variant; how the client wants its answer is an [`Answer`].
//! Knows nothing of what a command does to a store: the doc comments tell what it should.
//! Source: doc/protocol.txt of memcached; memcached 1.6.18 for borders, later ones for the flags
//! E and x of meta commands, N and s of `ms`.

use super::words::Words;
use crate::command::{Credentials, Deadline, Expiry};

/// What a client asked, with its words still where they arrived.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "the line of a variant tells of its fields")]
pub enum Command<'a> {
    /// `get`, `gets`, `gat` and `gats`.
    Get(Get<'a>),
    /// `mg`.
    MetaGet(MetaGet<'a>),
    /// `set`, `add`, `replace`, `append`, `prepend`, `cas` and `ms`.
    Put(Put<'a>),
    /// `set` or `ms` of a value that is too large. What stood under the key goes, because its
    /// client takes it for replaced; the answer is [`Refusal::TooLarge`](super::Refusal::TooLarge).
    PutTooLarge { key: &'a [u8], is_quiet: bool },
    /// `delete` and `md`.
    Delete(Delete<'a>),
    /// `incr`, `decr` and `ma`.
    Increment(Increment<'a>),
    /// `touch`.
    Touch { key: &'a [u8], expiry: Expiry, is_quiet: bool },
    /// `me`: what is known of an entry, for people. The word is the key as it was sent.
    Debug { key: &'a [u8], word: &'a [u8] },
    /// `mn`: says that everything before it is done.
    NoOp,
    /// `flush_all`: every entry that is there at the deadline goes; at once without one.
    FlushAll { deadline: Option<Deadline>, is_quiet: bool },
    /// `verbosity`.
    Verbosity { level: u64, is_quiet: bool },
    /// `version`.
    Version,
    /// `stats`.
    Stats(Stats),
    /// `set` by a client that has not told its password: user and password are the value.
    Authenticate(Credentials<'a>),
    /// `quit`: no answer, the connection closes.
    Quit,
    /// A command that is refused, from a client that wants no answer.
    Ignored,
}

/// `get`, `gets`, `gat` and `gats`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Get<'a> {
    /// The keys; a key that is named twice is answered twice.
    pub keys: Words<'a>,
    /// Whether the version is told: `gets` and `gats`.
    pub is_version: bool,
    /// The new expiry of each: `gat` and `gats`.
    pub expiry: Option<Expiry>,
}

/// `mg`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MetaGet<'a> {
    /// The key.
    pub key: &'a [u8],
    /// T: the new expiry.
    pub expiry: Option<Expiry>,
    /// N: where there is no entry, an empty one is made with this expiry, and this client has won
    /// the right to fill it.
    pub vivify: Option<Expiry>,
    /// E: the version of the entry that N makes.
    pub version: Option<u64>,
    /// R: an entry that expires before this is to be made anew, and the first who asks wins.
    pub recache: Option<Deadline>,
    /// u: the look-up does not count as one.
    pub is_unnoticed: bool,
    /// v, and what else is to be told.
    pub echo: Echo<'a>,
}

/// When a value is put under its key, and what becomes of the one that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It takes the place of whatever is there.
    Set,
    /// Only if nothing is there.
    Add,
    /// Only if something is there.
    Replace,
    /// It goes behind what is there; flags and expiry stay.
    Append,
    /// It goes before what is there; flags and expiry stay.
    Prepend,
}

/// `set`, `add`, `replace`, `append`, `prepend`, `cas` and `ms`.
///
/// ```text
///                  no entry     another version   the version       without `compare`
///   Set            NotFound     Exists            Done              Done
///   Add            Done         NotStored         NotStored         Done, NotStored
///   Replace        NotFound     Exists            Done              Done, NotStored
///   Append...      NotStored *  Exists            Done              Done, NotStored *
/// ```
///
/// At the star, `is_vivify` puts the value as `Set` does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Put<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The value.
    pub value: &'a [u8],
    /// What the client keeps beside its value.
    pub flags: u32,
    /// When it expires; an entry that is only made longer keeps its own.
    pub expiry: Expiry,
    /// When it is put, and where.
    pub mode: Mode,
    /// `cas`, C: only if the entry has this version.
    pub compare: Option<u64>,
    /// E: the version that the entry gets.
    pub version: Option<u64>,
    /// I: where Set and Replace meet an entry whose version is *higher* than `compare`, they put
    /// the value all the same; the entry is stale then, and keeps its expiry and who won it.
    pub is_invalidate: bool,
    /// N: Append and Prepend make an entry where there is none.
    pub is_vivify: bool,
    /// How to answer.
    pub answer: Answer<'a>,
}

/// `delete` and `md`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Delete<'a> {
    /// The key.
    pub key: &'a [u8],
    /// C: only if the entry has this version.
    pub compare: Option<u64>,
    /// E: the version that the entry gets where it stays.
    pub version: Option<u64>,
    /// I: the entry stays, is stale, and gets a new version.
    pub is_invalidate: bool,
    /// x: the entry stays, without value and flags.
    pub is_emptied: bool,
    /// T: the new expiry of an entry that stays.
    pub expiry: Option<Expiry>,
    /// How to answer.
    pub answer: Answer<'a>,
}

/// `incr`, `decr` and `ma`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Increment<'a> {
    /// The key.
    pub key: &'a [u8],
    /// By how much.
    pub by: u64,
    /// Whether it goes down.
    pub is_decrement: bool,
    /// N: the expiry with which an entry is made where there is none.
    pub vivify: Option<Expiry>,
    /// J: the value with which it is made.
    pub initial: u64,
    /// T: the new expiry.
    pub expiry: Option<Expiry>,
    /// C: only if the entry has this version.
    pub compare: Option<u64>,
    /// E: the version that the entry gets.
    pub version: Option<u64>,
    /// How to answer.
    pub answer: Answer<'a>,
}

impl Increment<'_> {
    /// What becomes of `number`: it wraps at the top, and stays at 0 at the bottom.
    pub fn apply(&self, number: u64) -> u64 {
        match self.is_decrement {
            true => number.saturating_sub(self.by),
            false => number.wrapping_add(self.by),
        }
    }
}

/// What `stats` asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stats {
    /// The server as a whole.
    General,
    /// `stats reset`: the counters begin anew; the answer is `RESET`.
    Reset,
    /// `stats settings`.
    Settings,
    /// `stats items`: entries by class.
    Items,
    /// `stats slabs`: memory by class.
    Slabs,
    /// `stats sizes`: entries by size.
    Sizes,
    /// `stats conns`: the connections.
    Connections,
}

/// How a client wants its answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer<'a> {
    /// In a word; in none for `noreply`.
    Text {
        /// `noreply`: errors are not told either.
        is_quiet: bool,
    },
    /// In a code and flags.
    Meta(Echo<'a>),
}

/// What the reply to a meta command brings back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Echo<'a> {
    /// The key as it was sent.
    pub(super) word: &'a [u8],
    /// b: that is base64.
    pub(super) is_base64: bool,
    /// q: what is expected is not told.
    pub(super) is_quiet: bool,
    /// v: the value is wanted.
    pub(super) is_value: bool,
    /// All flags: those that ask for something are answered in their order.
    pub(super) flags: Words<'a>,
}

impl Echo<'_> {
    /// v: whether the value is wanted.
    pub fn is_value(&self) -> bool {
        self.is_value
    }

    /// Whether `flag` is among the flags, such as `h` and `l`, which cost their asker something.
    pub fn has(&self, flag: u8) -> bool {
        self.flags.iter().any(|word| word[0] == flag)
    }
}
