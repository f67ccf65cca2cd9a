//! RESP, as clients write it: arrays of bulks, and inline commands typed by a person.
//!
//! ```text
//!   *2\r\n $3\r\nGET\r\n $1\r\nk\r\n          GET "a key"\r\n
//!   count  length  body  length body          words
//!
//!            +----------- length of the next <-----------+
//!            v                                           |
//!   start --count--> length --its line--> body --its last byte--> (none left) whole --> start
//!     |
//!     +--words---------------------------------------------------------------> whole --> start
//! ```
//!
//! Promises: any split of the bytes gives the same commands. No byte is looked at twice, however
//! small the pieces: a body is skipped by its length and a search for a line end goes on where it
//! stopped. Nothing is allocated once the list of ranges has grown to the longest command.
//! Knows no socket, and owns no input: the caller keeps the bytes until their command is done.
//! Source: <https://redis.io/docs/latest/develop/reference/protocol-spec>; networking.c of Redis
//! 7.0.15 for limits and words. Stricter in one thing: a line and a body must end in CR LF, where
//! Redis skips any two bytes.

mod batch;
mod inline;

pub use batch::Batch;

use std::ops::Range;

use crate::arguments::Arguments;
use crate::malformed::Malformed;
use crate::number::{parse_integer, write_unsigned};

/// What a client may send before it is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Arguments of one command.
    pub arguments_most: usize,
    /// Bytes of one argument; Redis calls it `proto-max-bulk-len`.
    pub bulk_bytes_most: usize,
    /// Whether the limits are those for a client that has not told its password: then the errors
    /// say so.
    pub is_unauthenticated: bool,
}

impl Limits {
    /// What Redis grants: 2^20 arguments (as it did until 7.0, which bounds them only by memory),
    /// of 512 MiB each.
    pub const DEFAULT: Limits = Limits {
        arguments_most: 1024 * 1024,
        bulk_bytes_most: 512 * 1024 * 1024,
        is_unauthenticated: false,
    };

    /// What Redis grants before a password that it wants: enough for AUTH and HELLO.
    pub const UNAUTHENTICATED: Limits =
        Limits { arguments_most: 10, bulk_bytes_most: 16 * 1024, is_unauthenticated: true };
}

impl Default for Limits {
    fn default() -> Self {
        Limits::DEFAULT
    }
}

/// Bytes of an inline command, or of a line with a number, as in Redis.
const LINE_BYTES_MOST: usize = 64 * 1024;

/// Ranges that are kept for the next command. More come from a rare command with very many keys,
/// and a quiet client should not keep its megabytes.
const RANGES_KEPT_MOST: usize = 4096;

/// How far the parser came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The command goes on: `missing` bytes more are needed at least.
    Partial {
        /// At least 1. A large argument tells its length here, so that a buffer need not grow in
        /// many steps; but it is only the word of a client, who may send nothing more.
        missing: usize,
    },
    /// Nothing was asked (an empty line, an empty array), in so many bytes.
    Nothing {
        /// Bytes of the input that are done.
        consumed: usize,
    },
    /// A command is whole: [`Parser::arguments`] gives it.
    Whole {
        /// Bytes of the input that are done once the command is.
        consumed: usize,
    },
}

/// Finds commands in the bytes of one connection.
#[derive(Debug, Default)]
pub struct Parser {
    limits: Limits,
    stage: Stage,
    /// Where the stage begins.
    at: usize,
    /// No line end begins before this.
    searched: usize,
    /// The arguments that were found.
    ranges: Vec<Range<usize>>,
    /// What few clients ever send.
    inline: Option<Box<Inline>>,
}

/// The inline commands of a client.
#[derive(Debug, Default)]
struct Inline {
    /// The words of the last one, without quotes. Its ranges lie in here.
    words: Vec<u8>,
    /// Whether the last command was one.
    is_last: bool,
}

/// The last argument of a command, of which so far only the length is sure to be there.
#[derive(Clone, Copy, Debug)]
pub struct Awaited<'a> {
    /// The arguments before it.
    pub arguments: Arguments<'a>,
    /// Its length.
    pub bytes: usize,
    /// What has come of it, and of the line end behind it.
    pub begun: &'a [u8],
}

/// What comes next. The picture is at the top of the file.
#[derive(Clone, Copy, Debug, Default)]
enum Stage {
    #[default]
    Start,
    Length {
        left: usize,
    },
    Body {
        left: usize,
        length: usize,
    },
}

/// What a stage made of the bytes.
enum Step {
    /// It needs so many bytes more.
    Missing(usize),
    /// The next stage can begin.
    Next(Stage),
    /// The command is whole, or empty.
    End,
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

    /// What a client may send.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether the next byte begins a command.
    pub fn is_at_start(&self) -> bool {
        matches!(self.stage, Stage::Start) && self.searched == 0
    }

    /// Reads on. `input` begins where the last command ended, and has at least the bytes it had in
    /// the last call; it may lie elsewhere.
    ///
    /// # Errors
    /// The bytes are no command. The connection cannot go on: nobody knows where the next begins.
    pub fn parse(&mut self, input: &[u8]) -> Result<Progress, Malformed> {
        loop {
            let step = match self.stage {
                Stage::Start => self.start(input)?,
                Stage::Length { left } => self.length(input, left)?,
                Stage::Body { left, length } => self.body(input, left, length)?,
            };
            match step {
                Step::Missing(missing) => return Ok(Progress::Partial { missing }),
                Step::Next(stage) => self.stage = stage,
                Step::End => return Ok(self.end()),
            }
        }
    }

    /// The arguments of the command that the last call of `parse` found whole in `input`.
    pub fn arguments<'a>(&'a self, input: &'a [u8]) -> Arguments<'a> {
        let inline = self.inline.as_ref().filter(|inline| inline.is_last);
        Arguments::new(inline.map_or(input, |inline| &inline.words), &self.ranges)
    }

    /// The last argument of the command that `input` begins, if the last call of `parse` found that
    /// it is the one that the command waits for.
    pub fn awaited<'a>(&'a self, input: &'a [u8]) -> Option<Awaited<'a>> {
        let Stage::Body { left: 1, length: bytes } = self.stage else { return None };
        let arguments = Arguments::new(input, &self.ranges);
        Some(Awaited { arguments, bytes, begun: &input[self.at..] })
    }

    /// Forgets the command that the last call of `parse` found begun: somebody else reads the rest
    /// of it.
    pub fn forget(&mut self) {
        self.end();
    }

    /// The first byte tells arrays from words.
    fn start(&mut self, input: &[u8]) -> Result<Step, Malformed> {
        self.ranges.clear();
        self.ranges.shrink_to(RANGES_KEPT_MOST);
        match input.first() {
            None => Ok(Step::Missing(1)),
            Some(b'*') => self.count(input),
            Some(_) => self.inline(input),
        }
    }

    fn count(&mut self, input: &[u8]) -> Result<Step, Malformed> {
        if let Some(inline) = &mut self.inline {
            inline.is_last = false;
        }
        let (wrong, too_long) = (Malformed::ArgumentCount, Malformed::ArgumentCountTooLong);
        let Some(count) = self.number(input, wrong, too_long)? else {
            return Ok(Step::Missing(1));
        };
        match usize::try_from(count) {
            // Redis takes a negative count for an empty command.
            Err(_) | Ok(0) => Ok(Step::End),
            Ok(left) if left <= self.limits.arguments_most => {
                Ok(Step::Next(Stage::Length { left }))
            }
            Ok(left)
                if self.limits.is_unauthenticated && left <= Limits::DEFAULT.arguments_most =>
            {
                Err(Malformed::UnauthenticatedArgumentCount)
            }
            Ok(_) => Err(Malformed::ArgumentCount),
        }
    }

    fn length(&mut self, input: &[u8], left: usize) -> Result<Step, Malformed> {
        match input.get(self.at) {
            None => return Ok(Step::Missing(1)),
            Some(b'$') => {}
            Some(&found) => return Err(Malformed::NoBulk { found }),
        }
        let (wrong, too_long) = (Malformed::BulkLength, Malformed::BulkLengthTooLong);
        let Some(length) = self.number(input, wrong, too_long)? else {
            return Ok(Step::Missing(1));
        };
        let length = usize::try_from(length).map_err(|_| Malformed::BulkLength)?;
        if length <= self.limits.bulk_bytes_most {
            Ok(Step::Next(Stage::Body { left, length }))
        } else if self.limits.is_unauthenticated && length <= Limits::DEFAULT.bulk_bytes_most {
            Err(Malformed::UnauthenticatedBulkLength)
        } else {
            Err(Malformed::BulkLength)
        }
    }

    fn body(&mut self, input: &[u8], left: usize, length: usize) -> Result<Step, Malformed> {
        let end = self.at + length;
        match input.get(end..end + 2) {
            None => return Ok(Step::Missing(end + 2 - input.len())),
            Some(b"\r\n") => {}
            Some(_) => return Err(Malformed::NoLineEnd),
        }
        self.ranges.push(self.at..end);
        self.advance(end + 2);
        Ok(if left == 1 { Step::End } else { Step::Next(Stage::Length { left: left - 1 }) })
    }

    fn inline(&mut self, input: &[u8]) -> Result<Step, Malformed> {
        let line_end = input[self.searched..].iter().position(|&byte| byte == b'\n');
        let end = line_end.map_or(input.len(), |length| self.searched + length);
        if end > LINE_BYTES_MOST {
            return Err(Malformed::InlineTooLong);
        }
        self.searched = end;
        if line_end.is_none() {
            return Ok(Step::Missing(1));
        }
        let inline = self.inline.get_or_insert_default();
        inline.is_last = true;
        inline::split(&input[..end], &mut inline.words, &mut self.ranges)?;
        self.advance(end + 1);
        Ok(Step::End)
    }

    /// The number in the line that begins at `at` with its mark, and goes behind it; `None` while
    /// the line has no end.
    fn number(
        &mut self,
        input: &[u8],
        wrong: Malformed,
        too_long: Malformed,
    ) -> Result<Option<i64>, Malformed> {
        // Nearly every line has one digit or two, and is whole: no need to search for its end.
        match input[self.at + 1..] {
            [ones @ b'1'..=b'9', b'\r', b'\n', ..] => {
                self.advance(self.at + 4);
                return Ok(Some(i64::from(ones - b'0')));
            }
            [tens @ b'1'..=b'9', ones @ b'0'..=b'9', b'\r', b'\n', ..] => {
                self.advance(self.at + 5);
                return Ok(Some(i64::from(10 * (tens - b'0') + (ones - b'0'))));
            }
            _ => {}
        }
        let Some(line) = self.line(input, too_long)? else {
            return Ok(None);
        };
        parse_integer(&input[line]).map(Some).ok_or(wrong)
    }

    /// The line that begins at `at`, without its mark and its end, and goes behind it; `None` while
    /// it has no end.
    fn line(
        &mut self,
        input: &[u8],
        too_long: Malformed,
    ) -> Result<Option<Range<usize>>, Malformed> {
        let carriage_return = input[self.searched..].iter().position(|&byte| byte == b'\r');
        let end = carriage_return.map_or(input.len(), |length| self.searched + length);
        if end - self.at > LINE_BYTES_MOST {
            return Err(too_long);
        }
        self.searched = end;
        match input.get(end + 1) {
            None => Ok(None),
            Some(b'\n') => {
                let line = self.at + 1..end;
                self.advance(end + 2);
                Ok(Some(line))
            }
            Some(_) => Err(Malformed::NoLineEnd),
        }
    }

    fn advance(&mut self, to: usize) {
        self.at = to;
        self.searched = to;
    }

    fn end(&mut self) -> Progress {
        let consumed = self.at;
        self.stage = Stage::Start;
        self.advance(0);
        match self.ranges.is_empty() {
            true => Progress::Nothing { consumed },
            false => Progress::Whole { consumed },
        }
    }
}

/// Appends the command of `arguments`, its name first, as clients write it.
pub fn encode_command(out: &mut Vec<u8>, arguments: &[&[u8]]) {
    write_head(out, b'*', arguments.len());
    for argument in arguments {
        write_head(out, b'$', argument.len());
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
}

fn write_head(out: &mut Vec<u8>, mark: u8, number: usize) {
    out.push(mark);
    write_unsigned(out, number as u64);
    out.extend_from_slice(b"\r\n");
}
