//! memcached's language, as clients write it: text commands and meta commands.
//!
//! ```text
//!   get a b\r\n      set k 0 0 5\r\n hello \r\n      mg k v t\r\n      ms k 5 T30\r\n hello \r\n
//!   line             line            value
//!
//!            +---------------------- refused, and a value follows ------> skip --> line
//!            |
//!   line ----+--> whole --> line
//!     ^      +--its value is not all here--> value --all of it--> whole --> line
//! ```
//!
//! Promises: any split of the bytes gives the same commands. A value is not looked at, only its
//! end; one that is too large is passed over as it comes, and never waited for. Nothing is copied,
//! but a key that comes as base64. Nothing is allocated once such a key was seen.
//! Knows no socket, and owns no input: the caller keeps the bytes until their command is done.
//! Source: doc/protocol.txt of memcached, and memcached 1.6.18 for borders and words. Of its
//! commands, those are unknown here that turn the screws of its own heap (`slabs`, `lru`,
//! `lru_crawler`, `cache_memlimit`), and `watch`, `shutdown` and `stats detail`.

mod base64;
mod command;
mod encoder;
mod meta;
mod refusal;
mod spoken;
#[cfg(test)]
mod tests;
mod text;
mod words;

pub use command::{Answer, Command, Delete, Echo, Get, Increment, MetaGet, Mode, Put, Stats};
pub use encoder::{Counted, Encoder, Facts, Outcome};
pub use refusal::Refusal;
pub(crate) use spoken::is_spoken;
pub use words::{Words, parse_number};

/// Bytes of a key, as it is sent.
pub const KEY_BYTES_MOST: usize = 250;

/// Bytes of a value that a line may name at all: `INT_MAX`, and room for the line end.
const VALUE_BYTES_MOST: usize = i32::MAX as usize - 2;

/// Bytes of a line, without its end.
const LINE_BYTES_MOST: usize = 2048;

/// Bytes of a line of keys. memcached takes such a line without end; this is room for 65,000 of the
/// longest keys.
const KEYS_LINE_BYTES_MOST: usize = 16 * 1024 * 1024;

/// Spaces that may stand before the name of such a line.
const SPACES_MOST: usize = 100;

/// Bytes of user and password: as much as Redis grants before a password.
const CREDENTIALS_BYTES_MOST: usize = 16 * 1024;

/// Bytes that an entry has in memcached beside its key, flags and value: its head of 48, its
/// version of 8, a NUL and a line end. They count, so that the border is where clients know it.
const ENTRY_HEAD_BYTES: usize = 48 + 8 + 1 + 2;

/// Bytes of flags that are not 0.
const FLAGS_BYTES: usize = 4;

/// What a client may send before it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of an entry, as memcached counts them: its `-I`.
    pub entry_bytes_most: usize,
    /// Whether the client has a password to tell: then all but a `set` that tells it is refused.
    pub is_unauthenticated: bool,
}

impl Limits {
    /// What memcached grants.
    pub const DEFAULT: Limits = Limits { entry_bytes_most: 1024 * 1024, is_unauthenticated: false };

    /// Whether an entry of these is small enough.
    fn admits(&self, key: &[u8], flags: u32, value_bytes: usize) -> bool {
        let flags_bytes = if flags == 0 { 0 } else { FLAGS_BYTES };
        ENTRY_HEAD_BYTES + key.len() + flags_bytes + value_bytes <= self.entry_bytes_most
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits::DEFAULT
    }
}

/// How far the parser came.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Progress<'a> {
    /// The command goes on: `missing` bytes more are needed at least.
    Partial {
        /// At least 1. A value tells its length here, so that a buffer need not grow in many
        /// steps; but it is only the word of a client, who may send nothing more.
        missing: usize,
    },
    /// Bytes of a value that was refused, in so many bytes.
    Nothing {
        /// Bytes of the input that are done.
        consumed: usize,
    },
    /// A command is whole.
    Whole {
        /// Bytes of the input that are done once the command is.
        consumed: usize,
        /// The command; or what is to be told, and then the connection goes on.
        command: Result<Command<'a>, Refusal>,
    },
}

/// Finds commands in the bytes of one connection.
#[derive(Debug, Default)]
pub struct Parser {
    limits: Limits,
    stage: Stage,
    /// The key of a meta command that came as base64.
    decoded: Vec<u8>,
}

/// What comes next. The picture is at the top of the file.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// A line, whose end is not before `searched`.
    Line { searched: usize },
    /// A value behind a line of `line_bytes` bytes, its end among them; the two are `needed` bytes.
    Value { line_bytes: usize, needed: usize },
    /// So many bytes of a value that was refused.
    Skip { left: usize },
}

impl Default for Stage {
    fn default() -> Self {
        Stage::Line { searched: 0 }
    }
}

/// What a line is.
enum Reading<'a> {
    /// A command, or none.
    Whole(Result<Command<'a>, Refusal>),
    /// A command with a value of so many bytes behind it.
    Put(Put<'a>, usize),
    /// What is to be told already, though a value of so many bytes is behind it.
    Skip(Result<Command<'a>, Refusal>, usize),
    /// User and password are in so many bytes behind it.
    Credentials(usize),
}

impl Reading<'_> {
    /// Bytes of the value that must be there before there is a command.
    fn value_bytes(&self) -> Option<usize> {
        match *self {
            Reading::Put(_, length) | Reading::Credentials(length) => Some(length),
            Reading::Whole(_) | Reading::Skip(..) => None,
        }
    }
}

impl Parser {
    /// A parser at the beginning of a command.
    pub fn new(limits: Limits) -> Self {
        Parser { limits, ..Parser::default() }
    }

    /// Sets other limits, as when a client tells its password.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Reads on. `input` begins where the last command ended, and has at least the bytes it had in
    /// the last call; it may lie elsewhere.
    ///
    /// # Errors
    /// The bytes are no command, and nobody knows where the next begins: after the refusal, the
    /// connection closes.
    pub fn parse<'a>(&'a mut self, input: &'a [u8]) -> Result<Progress<'a>, Refusal> {
        let line_bytes = match self.stage {
            Stage::Skip { left } => return Ok(self.skip(input, left)),
            Stage::Value { needed, .. } if input.len() < needed => {
                return Ok(Progress::Partial { missing: needed - input.len() });
            }
            Stage::Value { line_bytes, .. } => line_bytes,
            Stage::Line { searched } => match find_line_end(input, searched)? {
                Some(end) => end + 1,
                None => {
                    self.stage = Stage::Line { searched: input.len() };
                    return Ok(Progress::Partial { missing: 1 });
                }
            },
        };
        let reading = read(without_end(&input[..line_bytes]), &mut self.decoded, &self.limits);
        self.stage = Stage::default();
        let value_bytes = reading.value_bytes().map_or(0, |length| length + LINE_END.len());
        let consumed = line_bytes + value_bytes;
        if input.len() < consumed {
            self.stage = Stage::Value { line_bytes, needed: consumed };
            return Ok(Progress::Partial { missing: consumed - input.len() });
        }
        if let Reading::Skip(_, length) = reading {
            self.stage = Stage::Skip { left: length + LINE_END.len() };
        }
        Ok(Progress::Whole { consumed, command: finish(reading, &input[line_bytes..consumed]) })
    }

    /// Passes over bytes of a refused value.
    fn skip(&mut self, input: &[u8], left: usize) -> Progress<'static> {
        let consumed = left.min(input.len());
        if consumed == 0 {
            // Not `left`: nobody needs room for bytes that nobody wants.
            return Progress::Partial { missing: 1 };
        }
        self.stage = match left - consumed {
            0 => Stage::default(),
            left => Stage::Skip { left },
        };
        Progress::Nothing { consumed }
    }
}

const LINE_END: &[u8] = b"\r\n";

/// Where the line feed of the first line is, if it is there; it is not before `searched`.
fn find_line_end(input: &[u8], searched: usize) -> Result<Option<usize>, Refusal> {
    let found = input[searched..].iter().position(|&byte| byte == b'\n');
    let end = found.map_or(input.len(), |length| searched + length);
    if end > LINE_BYTES_MOST && (end > KEYS_LINE_BYTES_MOST || !is_line_of_keys(input)) {
        return Err(Refusal::LineTooLong);
    }
    Ok(found.map(|_| end))
}

/// Whether the line is one of keys, of which there may be many.
fn is_line_of_keys(input: &[u8]) -> bool {
    let spaces = input.iter().take_while(|&&byte| byte == b' ').count();
    let names: [&[u8]; 4] = [b"get ", b"gets ", b"gat ", b"gats "];
    spaces <= SPACES_MOST && names.iter().any(|name| input[spaces..].starts_with(name))
}

/// A line without its end: a line feed, with or without a carriage return. A NUL ends it, too.
fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    // A lone carriage return is a word, as in memcached.
    let line = if line.len() > 1 { line.strip_suffix(b"\r").unwrap_or(line) } else { line };
    if !line.contains(&0) {
        return line;
    }
    line.split(|&byte| byte == 0).next().unwrap_or(line)
}

/// What `line` is.
fn read<'a>(line: &'a [u8], decoded: &'a mut Vec<u8>, limits: &Limits) -> Reading<'a> {
    let Some((name, rest)) = Words::new(line).split_first() else {
        let refusal = match limits.is_unauthenticated {
            true => Refusal::Unauthenticated,
            false => Refusal::Unknown,
        };
        return Reading::Whole(Err(refusal));
    };
    if limits.is_unauthenticated {
        return match text::credentials_length(name, rest) {
            Some(length) if length <= CREDENTIALS_BYTES_MOST => Reading::Credentials(length),
            _ => Reading::Whole(Err(Refusal::Unauthenticated)),
        };
    }
    match *name {
        [b'm', letter] => meta::read(letter, rest, decoded, limits),
        _ => text::read(name, rest, limits),
    }
}

/// The command of `reading`, now that `value` and its line end are there.
fn finish<'a>(reading: Reading<'a>, value: &'a [u8]) -> Result<Command<'a>, Refusal> {
    let ended = value.strip_suffix(LINE_END);
    match (reading, ended) {
        (Reading::Whole(command) | Reading::Skip(command, _), _) => command,
        (Reading::Put(put, _), Some(value)) => Ok(Command::Put(Put { value, ..put })),
        (Reading::Put(put, _), None) => {
            text::refuse(Refusal::DataChunk, text::is_quiet(put.answer))
        }
        (Reading::Credentials(_), Some(value)) => text::credentials(value),
        (Reading::Credentials(_), None) => Err(Refusal::CredentialsEnd),
    }
}
