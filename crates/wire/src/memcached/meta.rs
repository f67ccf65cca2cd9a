//! Meta commands: two letters, a key, and flags of one letter, some with a token behind it.
//!
//! ```text
//!   mg key flag*   ms key bytes flag*\r\n value \r\n   md key flag*   ma key flag*   me key [b]
//!                      v  t  O123  T30
//!                            |token
//! ```
//!
//! Promises: no flag stands twice, each is known, and its token is what it wants. A flag that a
//! command has no use for is passed over, as in memcached.
//! Source: doc/protocol.txt and proto_text.c of memcached 1.6.18, also for which of two faults is
//! named: a flag that is unknown or stands twice at once, else the last.

use super::command::{Answer, Command, Delete, Echo, Increment, MetaGet, Mode, Put};
use super::refusal::Refusal;
use super::words::{Words, expiry, unsigned};
use super::{KEY_BYTES_MOST, Limits, Reading, base64, text};
use crate::command::{Deadline, Expiry};

/// Words behind the name of a meta command.
const WORDS_MOST: usize = 18;

/// Bytes of an opaque, its flag among them.
const OPAQUE_BYTES_MOST: usize = 32;

/// What the line of the meta command `letter` is; a key in base64 is decoded into `decoded`.
pub(super) fn read<'a>(
    letter: u8,
    rest: Words<'a>,
    decoded: &'a mut Vec<u8>,
    limits: &Limits,
) -> Reading<'a> {
    match letter {
        b's' => return read_put(rest, decoded, limits),
        b'n' => return Reading::Whole(Ok(Command::NoOp)),
        b'e' => return Reading::Whole(debug(rest, decoded)),
        _ => {}
    }
    let too_many = match letter {
        b'g' => Refusal::TooManyFlags,
        b'd' | b'a' => Refusal::TooManyOtherFlags,
        _ => return Reading::Whole(Err(Refusal::Unknown)),
    };
    Reading::Whole(key_and_flags(rest, too_many).and_then(|(word, words)| {
        let flags = Flags::read(word, words, decoded);
        // The other two do not say which.
        let flags_of_others = |_| Refusal::InvalidOrDuplicateFlag;
        match letter {
            b'g' => get(flags?),
            b'd' => delete(flags.map_err(flags_of_others)?),
            _ => increment(flags.map_err(flags_of_others)?),
        }
    }))
}

/// A key and the flags behind it, read.
struct Flags<'a> {
    key: &'a [u8],
    echo: Echo<'a>,
    is_opaque_too_long: bool,
    is_unnoticed: bool,
    is_invalidate: bool,
    is_emptied: bool,
    vivify: Option<Expiry>,
    expiry: Option<Expiry>,
    recache: Option<Deadline>,
    client_flags: u32,
    compare: Option<u64>,
    version: Option<u64>,
    mode: Option<u8>,
    initial: u64,
    by: u64,
}

/// The key as it was sent, and the flags, of all commands but `ms`.
fn key_and_flags(rest: Words<'_>, too_many: Refusal) -> Result<(&[u8], Words<'_>), Refusal> {
    let (word, flags) = rest.split_first().ok_or(Refusal::Unknown)?;
    if word.len() > KEY_BYTES_MOST {
        return Err(Refusal::Format);
    }
    if rest.are_more_than(WORDS_MOST) {
        return Err(too_many);
    }
    Ok((word, flags))
}

impl<'a> Flags<'a> {
    /// Reads `words` behind the key that was sent as `word`.
    fn read(word: &'a [u8], words: Words<'a>, decoded: &'a mut Vec<u8>) -> Result<Self, Refusal> {
        let mut flags = Flags {
            key: word,
            echo: Echo { word, is_base64: false, is_quiet: false, is_value: false, flags: words },
            is_opaque_too_long: false,
            is_unnoticed: false,
            is_invalidate: false,
            is_emptied: false,
            vivify: None,
            expiry: None,
            recache: None,
            client_flags: 0,
            compare: None,
            version: None,
            mode: None,
            initial: 0,
            by: 1,
        };
        let mut seen = 0_u128;
        let mut wrong = None;
        for flag in words.iter() {
            let bit = 1_u128.checked_shl(flag[0].into()).ok_or(Refusal::DuplicateFlag)?;
            if seen & bit != 0 {
                return Err(Refusal::DuplicateFlag);
            }
            seen |= bit;
            let is_wrong_key = flag[0] == b'b' && !base64::decode(word, decoded);
            match flags.take(flag) {
                Err(Refusal::InvalidFlag) => return Err(Refusal::InvalidFlag),
                // This one gives way to any other.
                Err(Refusal::Format) => wrong = wrong.or(Some(Refusal::Format)),
                Err(other) => wrong = Some(other),
                Ok(()) if is_wrong_key => wrong = Some(Refusal::KeyEncoding),
                Ok(()) => {}
            }
        }
        if flags.echo.is_base64 {
            flags.key = decoded;
        }
        wrong.map_or(Ok(flags), Err)
    }

    /// Takes in one flag and its token.
    fn take(&mut self, flag: &[u8]) -> Result<(), Refusal> {
        let (letter, token) = (flag[0], &flag[1..]);
        let seconds = || expiry(token).ok_or(Refusal::Token);
        let number = |wrong| unsigned(token).ok_or(wrong);
        match letter {
            b'b' => self.echo.is_base64 = true,
            b'q' => self.echo.is_quiet = true,
            b'v' => self.echo.is_value = true,
            b'u' => self.is_unnoticed = true,
            b'I' => self.is_invalidate = true,
            b'x' => self.is_emptied = true,
            b'N' => self.vivify = Some(seconds()?),
            b'T' => self.expiry = Some(seconds()?),
            // To be recached before the beginning of time is never.
            b'R' => self.recache = deadline(seconds()?),
            b'F' => {
                let flags = number(Refusal::Format)?;
                self.client_flags = u32::try_from(flags).map_err(|_| Refusal::Format)?;
            }
            b'C' => self.compare = Some(number(Refusal::Token)?),
            b'E' => self.version = Some(number(Refusal::Token)?),
            b'J' => self.initial = number(Refusal::InitialValue)?,
            b'D' => self.by = number(Refusal::DeltaValue)?,
            b'M' => match token {
                [mode] => self.mode = Some(*mode),
                _ => return Err(Refusal::ModeLength),
            },
            b'O' => self.is_opaque_too_long = flag.len() > OPAQUE_BYTES_MOST,
            // These ask for something in the reply, or are there for a proxy on the way.
            b'k' | b's' | b't' | b'c' | b'f' | b'h' | b'l' | b'P' | b'L' => {}
            _ => return Err(Refusal::InvalidFlag),
        }
        Ok(())
    }

    /// Refuses an opaque that is too long: only where nothing else is wrong.
    fn check_opaque(&self) -> Result<(), Refusal> {
        if self.is_opaque_too_long { Err(Refusal::OpaqueTooLong) } else { Ok(()) }
    }

    /// C, where 0 stands for any version.
    fn compare_or_any(&self) -> Option<u64> {
        self.compare.filter(|&version| version != 0)
    }
}

/// The moment of an expiry that has one.
fn deadline(expiry: Expiry) -> Option<Deadline> {
    match expiry {
        Expiry::At(deadline) => Some(deadline),
        Expiry::Clear | Expiry::Keep => None,
    }
}

fn get(flags: Flags<'_>) -> Result<Command<'_>, Refusal> {
    flags.check_opaque()?;
    Ok(Command::MetaGet(MetaGet {
        key: flags.key,
        expiry: flags.expiry,
        vivify: flags.vivify,
        version: flags.version,
        recache: flags.recache,
        is_unnoticed: flags.is_unnoticed,
        echo: flags.echo,
    }))
}

fn delete(flags: Flags<'_>) -> Result<Command<'_>, Refusal> {
    flags.check_opaque()?;
    Ok(Command::Delete(Delete {
        key: flags.key,
        compare: flags.compare,
        version: flags.version,
        is_invalidate: flags.is_invalidate,
        is_emptied: flags.is_emptied,
        expiry: flags.expiry,
        answer: Answer::Meta(flags.echo),
    }))
}

fn increment(flags: Flags<'_>) -> Result<Command<'_>, Refusal> {
    let is_decrement = match flags.mode {
        None | Some(b'I' | b'+') => false,
        Some(b'D' | b'-') => true,
        Some(_) => return Err(Refusal::IncrementMode),
    };
    flags.check_opaque()?;
    Ok(Command::Increment(Increment {
        key: flags.key,
        by: flags.by,
        is_decrement,
        vivify: flags.vivify,
        initial: flags.initial,
        expiry: flags.expiry,
        compare: flags.compare_or_any(),
        version: flags.version,
        answer: Answer::Meta(flags.echo),
    }))
}

fn debug<'a>(rest: Words<'a>, decoded: &'a mut Vec<u8>) -> Result<Command<'a>, Refusal> {
    let (word, flags) = rest.split_first().ok_or(Refusal::Format)?;
    let is_base64 = flags.iter().next() == Some(b"b");
    if word.len() > KEY_BYTES_MOST || is_base64 && !base64::decode(word, decoded) {
        return Err(Refusal::Format);
    }
    Ok(Command::Debug { key: if is_base64 { decoded } else { word }, word })
}

/// `ms`: once its length is known, the value is passed over where the flags are refused.
fn read_put<'a>(rest: Words<'a>, decoded: &'a mut Vec<u8>, limits: &Limits) -> Reading<'a> {
    let (word, length, flags) = match key_and_length(rest) {
        Ok(parts) => parts,
        Err(refusal) => return Reading::Whole(Err(refusal)),
    };
    match Flags::read(word, flags, decoded).and_then(put) {
        Ok(put) if limits.admits(put.key, put.flags, length) => Reading::Put(put, length),
        Ok(Put { key, mode: Mode::Set, .. }) => {
            Reading::Skip(Ok(Command::PutTooLarge { key, is_quiet: false }), length)
        }
        Ok(_) => Reading::Skip(Err(Refusal::TooLarge), length),
        Err(refusal) => Reading::Skip(Err(refusal), length),
    }
}

/// The key of an `ms` as it was sent, the length of its value, and its flags.
fn key_and_length(rest: Words<'_>) -> Result<(&[u8], usize, Words<'_>), Refusal> {
    let (word, behind) = rest.split_first().ok_or(Refusal::Unknown)?;
    let (length, flags) = behind.split_first().ok_or(Refusal::Format)?;
    if word.len() > KEY_BYTES_MOST {
        return Err(Refusal::Format);
    }
    if rest.are_more_than(WORDS_MOST) {
        return Err(Refusal::TooManyOtherFlags);
    }
    let length = text::value_length(length).ok_or(Refusal::Format)?;
    Ok((word, length, flags))
}

fn put(flags: Flags<'_>) -> Result<Put<'_>, Refusal> {
    let mode = match flags.mode {
        None | Some(b'S') => Mode::Set,
        Some(b'E') => Mode::Add,
        Some(b'R') => Mode::Replace,
        Some(b'A') => Mode::Append,
        Some(b'P') => Mode::Prepend,
        Some(_) => return Err(Refusal::PutMode),
    };
    flags.check_opaque()?;
    let is_joined = matches!(mode, Mode::Append | Mode::Prepend);
    let is_vivify = is_joined && flags.vivify.is_some();
    let expiry = if is_vivify { flags.vivify } else { flags.expiry };
    Ok(Put {
        key: flags.key,
        value: &[],
        flags: flags.client_flags,
        expiry: expiry.unwrap_or(Expiry::Clear),
        mode,
        compare: if is_joined { flags.compare_or_any() } else { flags.compare },
        version: flags.version,
        is_invalidate: flags.is_invalidate,
        is_vivify,
        answer: Answer::Meta(flags.echo),
    })
}
