//! Every way to say no to a client of memcached, in memcached's own words.
//!
//! Promises: the words stand here once, without their line end.
//! Knows nothing of why a store or a server refuses; it lends them the words.
//! Source: the messages of memcached 1.6.18, as it says them when asked.

use std::fmt::{self, Display, Formatter};

/// Why a command was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    // What the bytes are; the parser says these.
    /// No command has this name, or it takes more or fewer words.
    Unknown,
    /// A key that is too long, or a number that is none.
    Format,
    /// No line end behind a value.
    DataChunk,
    /// An expiry that is no number.
    Expiry,
    /// INCR or DECR by what is no number.
    Delta,
    /// DELETE with more words than it takes.
    DeleteUsage,
    /// A line that does not end. The connection cannot go on.
    LineTooLong,
    /// A value that is too large; it is passed over.
    TooLarge,

    // The flags of meta commands; the parser says these.
    /// A flag that stands twice.
    DuplicateFlag,
    /// A flag that does not exist.
    InvalidFlag,
    /// What `md` and `ma` say of both, and of tokens that are wrong.
    InvalidOrDuplicateFlag,
    /// A flag whose token is no number.
    Token,
    /// A key that is no base64.
    KeyEncoding,
    /// The flag M without its one letter.
    ModeLength,
    /// `ms` in a mode that does not exist.
    PutMode,
    /// `ma` in a mode that does not exist.
    IncrementMode,
    /// The flag J with what is no number.
    InitialValue,
    /// The flag D with what is no number.
    DeltaValue,
    /// An opaque of more than 31 bytes.
    OpaqueTooLong,
    /// More flags than `mg` takes.
    TooManyFlags,
    /// More flags than the other meta commands take.
    TooManyOtherFlags,

    // Who asks; the parser says all but the last two.
    /// The client has not told its password.
    Unauthenticated,
    /// A user without a password.
    CredentialsFormat,
    /// No line end behind user and password.
    CredentialsEnd,
    /// The password, or the user, is not known.
    WrongPassword,
    /// More clients than the server admits.
    TooManyClients,

    // The store; who executes a command says these.
    /// A value that is no number cannot be counted.
    NonNumeric,
    /// No room for a value, and nothing may be evicted.
    OutOfMemory,
    /// The same, where a number was counted.
    OutOfMemoryCounting,
}

impl Refusal {
    /// The line that tells the client, without its end.
    pub fn words(self) -> &'static str {
        match self {
            Refusal::Unknown => "ERROR",
            Refusal::Format => "CLIENT_ERROR bad command line format",
            Refusal::DataChunk => "CLIENT_ERROR bad data chunk",
            Refusal::Expiry => "CLIENT_ERROR invalid exptime argument",
            Refusal::Delta => "CLIENT_ERROR invalid numeric delta argument",
            Refusal::DeleteUsage => {
                "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]"
            }
            Refusal::LineTooLong => "CLIENT_ERROR line too long",
            Refusal::TooLarge => "SERVER_ERROR object too large for cache",
            Refusal::DuplicateFlag => "CLIENT_ERROR duplicate flag",
            Refusal::InvalidFlag => "CLIENT_ERROR invalid flag",
            Refusal::InvalidOrDuplicateFlag => "CLIENT_ERROR invalid or duplicate flag",
            Refusal::Token => "CLIENT_ERROR bad token in command line format",
            Refusal::KeyEncoding => "CLIENT_ERROR error decoding key",
            Refusal::ModeLength => "CLIENT_ERROR incorrect length for M token",
            Refusal::PutMode => "CLIENT_ERROR invalid mode for ms M token",
            Refusal::IncrementMode => "CLIENT_ERROR invalid mode for ma M token",
            Refusal::InitialValue => "CLIENT_ERROR invalid numeric initial value",
            Refusal::DeltaValue => "CLIENT_ERROR invalid numeric delta value",
            Refusal::OpaqueTooLong => "CLIENT_ERROR opaque token too long",
            Refusal::TooManyFlags => "CLIENT_ERROR options flags are too long",
            Refusal::TooManyOtherFlags => "CLIENT_ERROR options flags too long",
            Refusal::Unauthenticated => "CLIENT_ERROR unauthenticated",
            Refusal::CredentialsFormat => "CLIENT_ERROR bad authentication token format",
            Refusal::CredentialsEnd => "CLIENT_ERROR bad command line termination",
            Refusal::WrongPassword => "CLIENT_ERROR authentication failure",
            Refusal::TooManyClients => "ERROR Too many open connections",
            Refusal::NonNumeric => "CLIENT_ERROR cannot increment or decrement non-numeric value",
            Refusal::OutOfMemory => "SERVER_ERROR out of memory storing object",
            Refusal::OutOfMemoryCounting => "SERVER_ERROR out of memory",
        }
    }
}

impl Display for Refusal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

impl std::error::Error for Refusal {}
