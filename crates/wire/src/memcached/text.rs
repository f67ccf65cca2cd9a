//! Text commands: a name, and words whose places say what they are.
//!
//! ```text
//!   set key flags exptime bytes [noreply]\r\n value \r\n        add, replace, append, prepend
//!   cas key flags exptime bytes version [noreply]\r\n value \r\n
//!   get key*    gat exptime key*    delete key    incr key by    touch key exptime    ...
//! ```
//!
//! Promises: a client that says `noreply` hears no refusal of ours that comes behind the count of
//! its words, as in memcached.
//! Knows nothing of values: it says how long one is.
//! Source: proto_text.c of memcached, asked what it does with each word left out or wrong.

use super::command::{Answer, Command, Delete, Get, Increment, Mode, Put, Stats};
use super::refusal::Refusal;
use super::words::{Words, expiry, unsigned};
use super::{KEY_BYTES_MOST, Limits, Reading, VALUE_BYTES_MOST};
use crate::command::{Credentials, Deadline, Expiry};

/// What the line of the words `name` and `rest` is, where it is no meta command.
pub(super) fn read<'a>(name: &[u8], rest: Words<'a>, limits: &Limits) -> Reading<'a> {
    let mode = match name {
        b"get" => return Reading::Whole(get(rest, false)),
        b"set" | b"cas" => Mode::Set,
        b"add" => Mode::Add,
        b"replace" => Mode::Replace,
        b"append" => Mode::Append,
        b"prepend" => Mode::Prepend,
        _ => return Reading::Whole(read_line(name, rest)),
    };
    let is_compare = name == b"cas";
    match put(mode, is_compare, rest) {
        Ok((put, length)) if limits.admits(put.key, put.flags, length) => Reading::Put(put, length),
        Ok((put, length)) => {
            let is_quiet = is_quiet(put.answer);
            let command = match mode {
                Mode::Set if !is_compare => Ok(Command::PutTooLarge { key: put.key, is_quiet }),
                _ => refuse(Refusal::TooLarge, is_quiet),
            };
            Reading::Skip(command, length)
        }
        Err((refusal, is_quiet)) => Reading::Whole(refuse(refusal, is_quiet)),
    }
}

/// The commands without a value.
fn read_line<'a>(name: &[u8], rest: Words<'a>) -> Result<Command<'a>, Refusal> {
    match name {
        b"gets" => get(rest, true),
        b"gat" => get_and_touch(rest, false),
        b"gats" => get_and_touch(rest, true),
        b"delete" => delete(rest),
        b"incr" => increment(rest, false),
        b"decr" => increment(rest, true),
        b"touch" => touch(rest),
        b"flush_all" => flush_all(rest),
        b"verbosity" => verbosity(rest),
        b"version" => Ok(Command::Version),
        b"stats" => stats(rest),
        b"quit" => Ok(Command::Quit),
        // A browser speaks, perhaps in the name of another site: it gets no answer at all.
        _ if rest.iter().last().is_some_and(|word| word.starts_with(b"HTTP/")) => Ok(Command::Quit),
        _ => Err(Refusal::Unknown),
    }
}

/// Whether the words have the form of a `set` and its kin: numbers where they want numbers.
pub(super) fn is_put(rest: Words<'_>) -> bool {
    put(Mode::Set, false, rest).is_ok()
}

/// Whether the words have the form of `incr` and its kin: a number behind the key, and no more.
pub(super) fn is_increment(rest: Words<'_>) -> bool {
    rest.array::<3>(2).is_some_and(|([_, by, _], _)| unsigned(by).is_some())
}

/// Whether the words have the form of `touch`: an expiry behind the key, and no more.
pub(super) fn is_touch(rest: Words<'_>) -> bool {
    rest.array::<3>(2).is_some_and(|([_, seconds, _], _)| expiry(seconds).is_some())
}

/// The length of the value with user and password, if this is a `set` that tells them.
pub(super) fn credentials_length(name: &[u8], rest: Words<'_>) -> Option<usize> {
    let length = rest.iter().nth(3).filter(|_| name == b"set")?;
    usize::try_from(unsigned(length)?).ok()
}

/// User and password in the value of such a `set`.
pub(super) fn credentials(value: &[u8]) -> Result<Command<'_>, Refusal> {
    let mut words = Words::new(value).iter();
    match (words.next(), words.next()) {
        (Some(user), Some(password)) => {
            Ok(Command::Authenticate(Credentials { user, password, is_user_implied: false }))
        }
        _ => Err(Refusal::CredentialsFormat),
    }
}

/// The answer to a refused command.
pub(super) fn refuse<'a>(refusal: Refusal, is_quiet: bool) -> Result<Command<'a>, Refusal> {
    if is_quiet { Ok(Command::Ignored) } else { Err(refusal) }
}

pub(super) fn is_quiet(answer: Answer<'_>) -> bool {
    matches!(answer, Answer::Text { is_quiet: true })
}

/// Whether the last of the `count` words is `noreply`, in whatever place.
fn is_last_noreply(words: &[&[u8]], count: usize) -> bool {
    count > 0 && words[count - 1] == b"noreply"
}

fn is_key(word: &[u8]) -> bool {
    word.len() <= KEY_BYTES_MOST
}

fn get(keys: Words<'_>, is_version: bool) -> Result<Command<'_>, Refusal> {
    if keys.is_empty() {
        return Err(Refusal::Unknown);
    }
    retrieve(Get { keys, is_version, expiry: None })
}

fn get_and_touch(rest: Words<'_>, is_version: bool) -> Result<Command<'_>, Refusal> {
    let (seconds, keys) = rest.split_first().ok_or(Refusal::Unknown)?;
    let expiry = expiry(seconds).ok_or(Refusal::Expiry)?;
    retrieve(Get { keys, is_version, expiry: Some(expiry) })
}

/// All keys are looked at first: half a reply cannot be taken back.
fn retrieve(get: Get<'_>) -> Result<Command<'_>, Refusal> {
    match get.keys.are_within(KEY_BYTES_MOST) {
        true => Ok(Command::Get(get)),
        false => Err(Refusal::Format),
    }
}

/// The words behind the name of a `set`, and how long its value is; or why not, and whether the
/// client wants to know.
fn put(mode: Mode, is_compare: bool, rest: Words<'_>) -> Result<(Put<'_>, usize), (Refusal, bool)> {
    // `cas` has one word more than the others.
    let extra = usize::from(is_compare);
    let (words, count) = rest
        .array::<6>(4 + extra)
        .filter(|&(_, count)| count <= 5 + extra)
        .ok_or((Refusal::Unknown, false))?;
    let is_quiet = is_last_noreply(&words, count);
    let wrong = (Refusal::Format, is_quiet);
    let [key, flags, seconds, length, version, _] = words;
    let compare = match is_compare {
        true => Some(unsigned(version).ok_or(wrong)?),
        false => None,
    };
    let flags = unsigned(flags).and_then(|flags| u32::try_from(flags).ok()).ok_or(wrong)?;
    let expiry = expiry(seconds).ok_or(wrong)?;
    let length = value_length(length).filter(|_| is_key(key)).ok_or(wrong)?;
    let put = Put {
        key,
        value: &[],
        flags,
        expiry,
        mode,
        compare,
        version: None,
        is_invalidate: false,
        is_vivify: false,
        answer: Answer::Text { is_quiet },
    };
    Ok((put, length))
}

/// The length of a value that `word` tells.
pub(super) fn value_length(word: &[u8]) -> Option<usize> {
    unsigned(word)
        .and_then(|length| usize::try_from(length).ok())
        .filter(|&l| l <= VALUE_BYTES_MOST)
}

fn delete(rest: Words<'_>) -> Result<Command<'_>, Refusal> {
    let (words, count) = rest.array::<3>(1).ok_or(Refusal::Unknown)?;
    let is_quiet = is_last_noreply(&words[1..], count - 1);
    let [key, zero, _] = words;
    // Old clients send the 0 of a delay that was taken away.
    let is_right = match count {
        1 => true,
        2 => zero == b"0" || is_quiet,
        _ => zero == b"0" && is_quiet,
    };
    if !is_right {
        return refuse(Refusal::DeleteUsage, is_quiet);
    }
    if !is_key(key) {
        return refuse(Refusal::Format, is_quiet);
    }
    Ok(Command::Delete(Delete {
        key,
        compare: None,
        version: None,
        is_invalidate: false,
        is_emptied: false,
        expiry: None,
        answer: Answer::Text { is_quiet },
    }))
}

fn increment(rest: Words<'_>, is_decrement: bool) -> Result<Command<'_>, Refusal> {
    let (words, count) = rest.array::<3>(2).ok_or(Refusal::Unknown)?;
    let is_quiet = is_last_noreply(&words, count);
    let [key, by, _] = words;
    if !is_key(key) {
        return refuse(Refusal::Format, is_quiet);
    }
    let Some(by) = unsigned(by) else {
        return refuse(Refusal::Delta, is_quiet);
    };
    Ok(Command::Increment(Increment {
        key,
        by,
        is_decrement,
        vivify: None,
        initial: 0,
        expiry: None,
        compare: None,
        version: None,
        answer: Answer::Text { is_quiet },
    }))
}

fn touch(rest: Words<'_>) -> Result<Command<'_>, Refusal> {
    let (words, count) = rest.array::<3>(2).ok_or(Refusal::Unknown)?;
    let is_quiet = is_last_noreply(&words, count);
    let [key, seconds, _] = words;
    if !is_key(key) {
        return refuse(Refusal::Format, is_quiet);
    }
    match expiry(seconds) {
        Some(expiry) => Ok(Command::Touch { key, expiry, is_quiet }),
        None => refuse(Refusal::Expiry, is_quiet),
    }
}

fn flush_all(rest: Words<'_>) -> Result<Command<'_>, Refusal> {
    let (words, count) = rest.array::<2>(0).ok_or(Refusal::Unknown)?;
    let is_quiet = is_last_noreply(&words, count);
    if count == usize::from(is_quiet) {
        return Ok(Command::FlushAll { deadline: None, is_quiet });
    }
    let deadline = match expiry(words[0]) {
        None => return refuse(Refusal::Expiry, is_quiet),
        // What has passed, and never, are now.
        Some(Expiry::At(Deadline::AtMs(0)) | Expiry::Clear | Expiry::Keep) => None,
        Some(Expiry::At(deadline)) => Some(deadline),
    };
    Ok(Command::FlushAll { deadline, is_quiet })
}

fn verbosity(rest: Words<'_>) -> Result<Command<'_>, Refusal> {
    let (words, count) = rest.array::<2>(1).ok_or(Refusal::Unknown)?;
    let is_quiet = is_last_noreply(&words, count);
    match unsigned(words[0]) {
        Some(level) => Ok(Command::Verbosity { level, is_quiet }),
        None => refuse(Refusal::Format, is_quiet),
    }
}

fn stats(rest: Words<'_>) -> Result<Command<'_>, Refusal> {
    Ok(Command::Stats(match rest.split_first() {
        None => Stats::General,
        Some((b"reset", _)) => Stats::Reset,
        Some((b"settings", _)) => Stats::Settings,
        Some((b"items", _)) => Stats::Items,
        Some((b"slabs", _)) => Stats::Slabs,
        Some((b"sizes", _)) => Stats::Sizes,
        Some((b"conns", _)) => Stats::Connections,
        Some(_) => return Err(Refusal::Unknown),
    }))
}
