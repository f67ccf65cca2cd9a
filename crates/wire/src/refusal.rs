//! Every way to say no to a command, in Redis's own words.
//!
//! Promises: the words stand here once. `Display` gives the error line without its leading `-` and
//! without its line end; the encoder adds those, and keeps line ends of the client out of it.
//! Knows nothing of why a store or a server refuses; it lends them the words.
//! Source: the messages of Redis 7.0.15.

use std::fmt::{self, Display, Formatter, Write};

use crate::arguments::Arguments;
use crate::malformed::Malformed;

/// Bytes of a client's own words that an error line repeats at most, as in Redis.
const QUOTED_BYTES_MOST: usize = 128;

/// Why a command was refused.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "the line of a variant tells of its fields")]
pub enum Refusal<'a> {
    // The command and its arguments; `Command::from_arguments` says these.
    /// No command has this name.
    UnknownCommand { arguments: Arguments<'a> },
    /// The command has no subcommand of this name.
    UnknownSubcommand { command: &'static str, name: &'a [u8] },
    /// The command takes fewer or more arguments.
    WrongArity { command: &'static str },
    /// Options that are not there, or not together.
    Syntax,
    /// A number was wanted.
    NotAnInteger,
    /// A number with a fraction was wanted.
    NotAFloat,
    /// A number that cannot be negated.
    DecrementOverflow,
    /// A negative offset.
    OffsetOutOfRange,
    /// An offset of a bit that is no number, negative, or too far away.
    BitOffsetOutOfRange,
    /// SETBIT of what is neither 0 nor 1.
    BitOutOfRange,
    /// BITPOS of what is neither 0 nor 1.
    BitIsNoBit,
    /// BITOP NOT of several keys.
    BitOpNotOfMany,
    /// BITFIELD of a field that is no `i8` or `u8`.
    BitFieldType,
    /// BITFIELD OVERFLOW with a word that it does not have.
    BitFieldOverflow,
    /// BITFIELD_RO that would write.
    BitFieldReadOnly,
    /// An expiry that is not positive, or too far away.
    InvalidExpire { command: &'static str },
    /// An option that EXPIRE does not have.
    UnsupportedOption { option: &'a [u8] },
    /// EXPIRE with NX and another condition.
    ExpireConditionsWithNx,
    /// EXPIRE with GT and LT.
    ExpireGtWithLt,
    /// SCAN with a cursor that is not a number.
    InvalidCursor,
    /// HELLO with a version that is not a number.
    VersionNotAnInteger,
    /// HELLO with a version that does not exist.
    UnsupportedVersion,
    /// HELLO with an option that does not exist.
    HelloSyntax { option: &'a [u8] },
    /// CLIENT SETNAME with what is not a word.
    ClientName,
    /// CLIENT SETINFO with a value that is not a word; `lib-name` or `lib-ver`.
    ClientInfo { field: &'static str },
    /// CLIENT SETINFO of something else.
    UnknownClientInfo { option: &'a [u8] },
    /// CLIENT LIST TYPE with a kind that does not exist.
    UnknownClientKind { name: &'a [u8] },
    /// CLIENT LIST ID with what is not a number.
    InvalidClientId,

    // Transactions; `execute` says these.
    /// MULTI within MULTI.
    MultiNested,
    /// EXEC without MULTI.
    ExecWithoutMulti,
    /// DISCARD without MULTI.
    DiscardWithoutMulti,
    /// WATCH within MULTI.
    WatchWithinMulti,
    /// EXEC of a transaction that a command could not be put into.
    ExecAborted,
    /// A command that cannot be put into a transaction.
    NotWithinMulti,

    // What the bytes were, before they were a command.
    /// The bytes are no command; the connection cannot go on.
    Protocol(Malformed),

    // The connection and the server; `execute` says these.
    /// The client has not told its password.
    NoAuth,
    /// HELLO before the password was told.
    HelloNoAuth,
    /// The password, or the user, is not known.
    WrongPassword,
    /// A password was told, and none is wanted.
    NoPasswordSet,
    /// SELECT or COPY of a database that is not there.
    DatabaseOutOfRange,
    /// More clients than the server admits.
    TooManyClients,

    // The store; `execute` says these.
    /// RENAME of a key that is not there.
    NoSuchKey,
    /// COPY of a key onto itself.
    SameObject,
    /// A sum that does not fit.
    IncrementOverflow,
    /// A sum that is no number.
    IncrementNotFinite,
    /// A value longer than a bulk may be.
    ValueTooLong,
    /// No room, and nothing may be evicted.
    OutOfMemory,
}

impl From<Malformed> for Refusal<'_> {
    fn from(malformed: Malformed) -> Self {
        Refusal::Protocol(malformed)
    }
}

impl Display for Refusal<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Refusal::UnknownCommand { arguments } => write_unknown(arguments, f),
            Refusal::UnknownSubcommand { command, name } => {
                let (name, command) = (Quoted(name), command.to_ascii_uppercase());
                write!(f, "ERR unknown subcommand '{name}'. Try {command} HELP.")
            }
            Refusal::WrongArity { command } => {
                write!(f, "ERR wrong number of arguments for '{command}' command")
            }
            Refusal::InvalidExpire { command } => {
                write!(f, "ERR invalid expire time in '{command}' command")
            }
            Refusal::UnsupportedOption { option } => {
                write!(f, "ERR Unsupported option {}", Quoted(option))
            }
            Refusal::HelloSyntax { option } => {
                write!(f, "ERR Syntax error in HELLO option '{}'", Quoted(option))
            }
            Refusal::ClientInfo { field } => {
                write!(f, "ERR {field} cannot contain spaces, newlines or special characters.")
            }
            Refusal::UnknownClientInfo { option } => {
                write!(f, "ERR Unrecognized option '{}'", Quoted(option))
            }
            Refusal::UnknownClientKind { name } => {
                write!(f, "ERR Unknown client type '{}'", Quoted(name))
            }
            Refusal::Protocol(malformed) => write!(f, "ERR {malformed}"),
            _ => f.write_str(self.words()),
        }
    }
}

impl Refusal<'_> {
    /// The line of a refusal that says the same each time.
    fn words(&self) -> &'static str {
        match self {
            Refusal::Syntax => "ERR syntax error",
            Refusal::NotAnInteger => "ERR value is not an integer or out of range",
            Refusal::NotAFloat => "ERR value is not a valid float",
            Refusal::DecrementOverflow => "ERR decrement would overflow",
            Refusal::OffsetOutOfRange => "ERR offset is out of range",
            Refusal::BitOffsetOutOfRange => "ERR bit offset is not an integer or out of range",
            Refusal::BitOutOfRange => "ERR bit is not an integer or out of range",
            Refusal::BitIsNoBit => "ERR The bit argument must be 1 or 0.",
            Refusal::BitOpNotOfMany => "ERR BITOP NOT must be called with a single source key.",
            Refusal::BitFieldType => {
                "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not \
                 supported but i64 is."
            }
            Refusal::BitFieldOverflow => "ERR Invalid OVERFLOW type specified",
            Refusal::BitFieldReadOnly => "ERR BITFIELD_RO only supports the GET subcommand",
            Refusal::ExpireConditionsWithNx => {
                "ERR NX and XX, GT or LT options at the same time are not compatible"
            }
            Refusal::ExpireGtWithLt => "ERR GT and LT options at the same time are not compatible",
            Refusal::InvalidCursor => "ERR invalid cursor",
            Refusal::VersionNotAnInteger => {
                "ERR Protocol version is not an integer or out of range"
            }
            Refusal::UnsupportedVersion => "NOPROTO unsupported protocol version",
            Refusal::ClientName => {
                "ERR Client names cannot contain spaces, newlines or special characters."
            }
            Refusal::InvalidClientId => "ERR Invalid client ID",
            Refusal::MultiNested => "ERR MULTI calls can not be nested",
            Refusal::ExecWithoutMulti => "ERR EXEC without MULTI",
            Refusal::DiscardWithoutMulti => "ERR DISCARD without MULTI",
            Refusal::WatchWithinMulti => "ERR WATCH inside MULTI is not allowed",
            Refusal::ExecAborted => "EXECABORT Transaction discarded because of previous errors.",
            Refusal::NotWithinMulti => "ERR Command not allowed inside a transaction",
            Refusal::NoAuth => "NOAUTH Authentication required.",
            Refusal::HelloNoAuth => {
                "NOAUTH HELLO must be called with the client already authenticated, otherwise \
                 the HELLO AUTH <user> <pass> option can be used to authenticate the \
                 client and select the RESP protocol version at the same time"
            }
            Refusal::WrongPassword => {
                "WRONGPASS invalid username-password pair or user is disabled."
            }
            Refusal::NoPasswordSet => {
                "ERR AUTH <password> called without any password configured for the default \
                 user. Are you sure your configuration is correct?"
            }
            Refusal::DatabaseOutOfRange => "ERR DB index is out of range",
            Refusal::TooManyClients => "ERR max number of clients reached",
            Refusal::NoSuchKey => "ERR no such key",
            Refusal::SameObject => "ERR source and destination objects are the same",
            Refusal::IncrementOverflow => "ERR increment or decrement would overflow",
            Refusal::IncrementNotFinite => "ERR increment would produce NaN or Infinity",
            Refusal::ValueTooLong => "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
            Refusal::OutOfMemory => "OOM command not allowed when used memory > 'maxmemory'.",
            Refusal::UnknownCommand { .. }
            | Refusal::UnknownSubcommand { .. }
            | Refusal::WrongArity { .. }
            | Refusal::InvalidExpire { .. }
            | Refusal::UnsupportedOption { .. }
            | Refusal::HelloSyntax { .. }
            | Refusal::ClientInfo { .. }
            | Refusal::UnknownClientInfo { .. }
            | Refusal::UnknownClientKind { .. }
            | Refusal::Protocol(_) => "ERR",
        }
    }
}

/// A client's own words: the first of them, up to a NUL as in C, with what is no UTF-8 replaced.
struct Quoted<'a>(&'a [u8]);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let end = self.0.iter().take(QUOTED_BYTES_MOST).take_while(|&&byte| byte != 0).count();
        for chunk in self.0[..end].utf8_chunks() {
            f.write_str(chunk.valid())?;
            if !chunk.invalid().is_empty() {
                f.write_char(char::REPLACEMENT_CHARACTER)?;
            }
        }
        Ok(())
    }
}

/// The name, and the beginning of what followed it: a typing error should be seen at once.
fn write_unknown(arguments: Arguments<'_>, f: &mut Formatter<'_>) -> fmt::Result {
    let name = Quoted(arguments.get(0).unwrap_or_default());
    write!(f, "ERR unknown command '{name}', with args beginning with: ")?;
    let mut left = QUOTED_BYTES_MOST;
    for argument in arguments.skip(1).iter() {
        let quoted = &argument[..argument.len().min(left)];
        write!(f, "'{}' ", Quoted(quoted))?;
        // The quotes and the space count too.
        left = left.saturating_sub(quoted.len() + 3);
        if left == 0 {
            break;
        }
    }
    Ok(())
}
