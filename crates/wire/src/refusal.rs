//! Every way to say no to a command, in Redis's own words.
//!
//! Promises: the words stand here once. `Display` gives the error line without its leading `-` and
//! without its line end; the encoder adds those, and keeps line ends of the client out of it.
//! Knows nothing of why a store or a server refuses; it lends them the words.
//! Source: the messages of Redis 7.0.15.

mod words;

use std::fmt::{self, Display, Formatter, Write};

use crate::arguments::Arguments;
use crate::malformed::Malformed;

/// Bytes of a client's own words that an error line repeats at most, as in Redis.
const QUOTED_BYTES_MOST: usize = 128;

/// What EXEC with an argument says.
const EXEC_ARITY: &str =
    "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command";

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
    /// LCS with LEN and IDX.
    LcsLengthAndStretches,
    /// RESTORE with an expiry that is negative.
    RestoreExpiry,
    /// RESTORE IDLETIME of a negative number.
    RestoreIdleTime,
    /// RESTORE FREQ of a number that is no byte.
    RestoreFrequency,
    /// WAIT for how long.
    TimeoutNotAnInteger,
    /// WAIT for a negative time.
    TimeoutNegative,
    /// CONFIG SET of a name that does not exist.
    ConfigUnknown { name: &'a [u8] },
    /// CONFIG SET of one name twice.
    ConfigTwice { name: &'a [u8] },
    /// CONFIG SET of what does not change while the server runs.
    ConfigFixed { name: &'a [u8] },
    /// CONFIG SET of what is no number.
    ConfigNoInteger { name: &'a [u8] },
    /// CONFIG SET of a number that is too small or too large.
    ConfigRange { name: &'a [u8], least: i64, most: i64 },
    /// CONFIG SET of what cannot be, for a reason of its own.
    ConfigBecause { name: &'a [u8], why: &'static str },
    /// CONFIG SET notify-keyspace-events of what is no class of events.
    ConfigNotices { name: &'a [u8] },
    /// CONFIG REWRITE.
    NoConfigFile,
    /// SLOWLOG GET of what is no count.
    SlowLogCount,
    /// SHUTDOWN ABORT.
    NoShutdown,
    /// COMMAND GETKEYS of what is no command.
    GetKeysUnknown,
    /// COMMAND GETKEYS of too few or too many arguments.
    GetKeysArity,
    /// COMMAND GETKEYS of a command without keys.
    GetKeysNone,
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

    /// What one command alone says: the line itself.
    Words(&'static str),

    // Messages.
    /// A subcommand with more arguments than it takes.
    SubcommandArity { command: &'static str, name: &'a [u8] },
    /// A command that a client that listens may not ask in RESP2.
    Listening { command: &'static str },

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
    /// SELECT or COPY of a database whose number is none in C.
    DatabaseNoInt,
    /// SELECT or COPY of a database that is not there.
    DatabaseOutOfRange,
    /// More clients than the server admits.
    TooManyClients,

    // The store; `execute` says these.
    /// RESTORE of a key that is there.
    BusyKey,
    /// RESTORE of what no DUMP returned.
    DumpFoot,
    /// RESTORE of another type than ours.
    DumpBody,
    /// OBJECT FREQ.
    FrequencyNotCounted,
    /// OBJECT IDLETIME.
    IdleTimeNotCounted,
    /// LCS of values that are too long for it.
    LcsTooLarge,
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
            // What ends a transaction says that it did.
            Refusal::WrongArity { command: "exec" } => f.write_str(EXEC_ARITY),
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
            Refusal::SubcommandArity { command, name } => {
                let (name, command) = (Quoted(name), command.to_ascii_uppercase());
                write!(
                    f,
                    "ERR unknown subcommand or wrong number of arguments for '{name}'. Try \
                     {command} HELP."
                )
            }
            Refusal::Listening { command } => write!(
                f,
                "ERR Can't execute '{command}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / \
                 QUIT / RESET are allowed in this context"
            ),
            Refusal::ConfigUnknown { name } => {
                let name = Quoted(name);
                write!(f, "ERR Unknown option or number of arguments for CONFIG SET - '{name}'")
            }
            Refusal::ConfigTwice { name }
            | Refusal::ConfigFixed { name }
            | Refusal::ConfigNoInteger { name }
            | Refusal::ConfigNotices { name }
            | Refusal::ConfigBecause { name, .. }
            | Refusal::ConfigRange { name, .. } => {
                let name = Quoted(name);
                write!(f, "ERR CONFIG SET failed (possibly related to argument '{name}') - ")?;
                self.write_config_reason(f)
            }
            Refusal::Words(words) => f.write_str(words),
            Refusal::Protocol(malformed) => write!(f, "ERR {malformed}"),
            // Those with something of the client's own are above.
            _ => f.write_str(words::of(self).unwrap_or("ERR")),
        }
    }
}

impl Refusal<'_> {
    /// The first word of the line, by which programs tell kinds of errors apart.
    pub fn code(&self) -> &'static str {
        let words = match self {
            Refusal::Words(words) => Some(*words),
            Refusal::WrongArity { command: "exec" } => Some(EXEC_ARITY),
            _ => words::of(self),
        };
        words.and_then(|words| words.split(' ').next()).unwrap_or("ERR")
    }

    /// What is wrong with a setting.
    fn write_config_reason(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::ConfigTwice { .. } => f.write_str("duplicate parameter"),
            Refusal::ConfigNoInteger { .. } => {
                f.write_str("argument couldn't be parsed into an integer")
            }
            Refusal::ConfigNotices { .. } => {
                f.write_str("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")
            }
            Refusal::ConfigRange { least, most, .. } => {
                write!(f, "argument must be between {least} and {most} inclusive")
            }
            Refusal::ConfigBecause { why, .. } => f.write_str(why),
            _ => f.write_str("can't set immutable config"),
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
