//! memcached's commands to replies, by way of the store.
//!
//! ```text
//!   get, touch, delete                 one call of the store
//!   set, add, replace, cas             one call, with a condition
//!   append, prepend, incr, decr, md x  read, then set if the version is still the one that was
//!                                      read; else again
//! ```
//!
//! Promises: each command is whole or did not happen, and answered in memcached's words. An entry
//! is the same one that clients of RESP see. In steady state nothing is allocated for a command,
//! but where the store shows us a copy of the value: `touch`, `gat`, T of `mg`, C of `md`.
//! What a store cannot tell: an entry that is invalidated (I) goes. Who won a recache (N, R) is
//! kept beside it. A version that a client chooses (E) is passed over.
//! Source: doc/protocol.txt of memcached, and the behaviour of memcached 1.6.18.

mod change;
mod stats;

use std::sync::atomic::Ordering::Relaxed;

use morecore_store::{self as store, Change, Meta};
use morecore_wire::memcached::{Answer, Command, Encoder, Facts, Get, MetaGet, Refusal};
use morecore_wire::{Deadline, Expiry};

use super::connection::authenticate;
use super::{After, notice};
use crate::caller::Caller;
use crate::desk::Desk;
use crate::tally::Tally;
use crate::transaction::Seen;

/// The version of memcached whose commands, words and borders ours are.
const MEMCACHED_VERSION: &str = "1.6.18";

/// Keys of a `get` whose memory is fetched ahead: about as many misses as a core has in flight.
const KEYS_AT_ONCE: usize = 16;

/// The class of memory that all entries are in, for those who ask: memcached counts from 1.
const CLASS: u64 = 1;

/// Why a command was denied: by us, or by the store.
enum Denied {
    Refusal(Refusal),
    Store(store::Error),
    /// What was asked for is more than all buffers may have together.
    ReplyTooLarge,
}

/// What a command's own function says: it has written the reply, or it was denied.
type Answered = Result<(), Denied>;

/// Executes what the parser made of a line, and writes its reply, if one is wanted.
pub(crate) fn execute(
    command: Result<Command<'_>, Refusal>,
    caller: &mut Caller,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> After {
    desk.counts.commands += 1;
    let command = match command {
        Ok(command) => command,
        Err(refusal) => {
            desk.counts.refusals += 1;
            reply.refusal(refusal);
            return After::GoOn;
        }
    };
    caller.last_command = name(&command);
    let before = look(&command, desk);
    let answered = answer(command, caller, desk, reply);
    touch(&command, before, desk);
    let Err(denied) = answered else {
        return if matches!(command, Command::Quit) { After::Close } else { After::GoOn };
    };
    desk.counts.refusals += 1;
    if !is_mute(&command) {
        denied.write(&command, reply);
    }
    // Half a reply ends the talk.
    if matches!(denied, Denied::ReplyTooLarge) { After::Close } else { After::GoOn }
}

/// What the key of a command is before it, if anybody watches.
fn look(command: &Command<'_>, desk: &mut Desk) -> Option<Seen> {
    let key = key(command).filter(|_| desk.attention.has_watchers())?;
    Some(notice::seen(key, desk))
}

/// Counts the key of a command as touched, if it was so before and is not any more.
fn touch(command: &Command<'_>, before: Option<Seen>, desk: &mut Desk) {
    if let (Some(before), Some(key)) = (before, key(command))
        && notice::seen(key, desk) != before
    {
        desk.shared.touches.touch(key);
    }
}

/// Calls `each` with the keys of a command, at most `most` of them.
pub(crate) fn each_key(command: &Command<'_>, most: usize, each: impl FnMut(&[u8])) {
    match command {
        Command::Get(get) => get.keys.iter().take(most).for_each(each),
        _ => key(command).into_iter().for_each(each),
    }
}

/// The key of a command that has one.
fn key<'a>(command: &Command<'a>) -> Option<&'a [u8]> {
    match *command {
        Command::MetaGet(MetaGet { key, .. })
        | Command::PutTooLarge { key, .. }
        | Command::Touch { key, .. }
        | Command::Debug { key, .. } => Some(key),
        Command::Put(put) => Some(put.key),
        Command::Delete(delete) => Some(delete.key),
        Command::Increment(increment) => Some(increment.key),
        _ => None,
    }
}

/// A command's name, for the list of clients.
fn name(command: &Command<'_>) -> &'static str {
    match command {
        Command::Get(_) => "get",
        Command::MetaGet(_) => "mg",
        Command::Put(_) | Command::PutTooLarge { .. } => "set",
        Command::Delete(_) => "delete",
        Command::Increment(_) => "incr",
        Command::Touch { .. } => "touch",
        Command::Debug { .. } => "me",
        Command::NoOp => "mn",
        Command::FlushAll { .. } => "flush_all",
        Command::Verbosity { .. } => "verbosity",
        Command::Version => "version",
        Command::Stats(_) => "stats",
        Command::Authenticate(_) => "auth",
        Command::Quit => "quit",
        Command::Ignored => "NULL",
    }
}

/// Calls the function of each command.
fn answer(
    command: Command<'_>,
    caller: &mut Caller,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered {
    match command {
        Command::Get(get) => return get_many(get, desk, reply),
        Command::MetaGet(get) => return meta_get(get, desk, reply),
        Command::Put(put) => return change::put(put, desk, reply),
        Command::PutTooLarge { key, .. } => {
            desk.store.delete(key)?;
            return Err(Refusal::TooLarge.into());
        }
        Command::Delete(delete) => return change::delete(delete, desk, reply),
        Command::Increment(increment) => return change::increment(increment, desk, reply),
        Command::Touch { key, expiry, is_quiet } => {
            let change = expire(expiry, desk.now_ms);
            let is_there = desk.store.update(key, |entry| match entry {
                Some(_) => (change, true),
                None => (Change::Keep, false),
            })?;
            desk.count(if is_there { Tally::TouchHit } else { Tally::TouchMiss });
            reply.touched(is_there, is_quiet);
        }
        Command::Debug { key, word } => match desk.store.peek(key)? {
            Some(meta) => reply.debug(word, &facts(&meta, desk.now_ms), CLASS),
            None => reply.debug_miss(),
        },
        Command::NoOp => reply.no_op(),
        Command::FlushAll { deadline, is_quiet } => flush(deadline, is_quiet, desk, reply)?,
        Command::Verbosity { is_quiet, .. } => reply.ok(is_quiet),
        Command::Version => reply.version(MEMCACHED_VERSION),
        Command::Stats(asked) => stats::stats(asked, desk, reply),
        Command::Authenticate(credentials) => {
            if authenticate(credentials, caller, desk).is_err() {
                return Err(Refusal::WrongPassword.into());
            }
            reply.authenticated();
        }
        Command::Quit | Command::Ignored => {}
    }
    Ok(())
}

/// Whether the client wants no answer, not even an error.
fn is_mute(command: &Command<'_>) -> bool {
    let is_noreply = |answer: Answer<'_>| answer == Answer::Text { is_quiet: true };
    match *command {
        Command::Put(put) => is_noreply(put.answer),
        Command::Delete(delete) => is_noreply(delete.answer),
        Command::Increment(increment) => is_noreply(increment.answer),
        Command::PutTooLarge { is_quiet, .. }
        | Command::Touch { is_quiet, .. }
        | Command::FlushAll { is_quiet, .. } => is_quiet,
        _ => false,
    }
}

/// `get`, `gets`, `gat` and `gats`.
fn get_many(get: Get<'_>, desk: &mut Desk, reply: &mut Encoder<'_>) -> Answered {
    let most = reply.len() as u64 + desk.shared.options.buffer_bytes_most;
    let mut keys = get.keys.iter();
    let mut index = 0_usize;
    while let Some(key) = keys.next() {
        if index.is_multiple_of(KEYS_AT_ONCE) {
            keys.clone().take(KEYS_AT_ONCE).for_each(|key| desk.store.prefetch(key));
        }
        index += 1;
        // Values of one store are often of one length; a wrong guess costs a few moved bytes.
        let expected = desk.expected_bytes;
        let found = reply.entry_with(key, get.is_version, expected, |out| {
            read(key, get.expiry, Want::Value, desk, out)
        })?;
        desk.count_look_up(found.is_some());
        if get.expiry.is_some() {
            desk.count(if found.is_some() { Tally::TouchHit } else { Tally::TouchMiss });
        }
        desk.expected_bytes = found.map_or(expected, |facts| facts.bytes);
        if reply.len() as u64 > most {
            return Err(Denied::ReplyTooLarge);
        }
    }
    reply.end();
    Ok(())
}

/// `mg`.
fn meta_get(get: MetaGet<'_>, desk: &mut Desk, reply: &mut Encoder<'_>) -> Answered {
    let is_made = match get.vivify {
        Some(expiry) => make_empty(get.key, expiry, desk)?,
        None => false,
    };
    let want = match (get.echo.is_value(), get.is_unnoticed) {
        (true, _) => Want::Value,
        (false, false) => Want::Visit,
        (false, true) => Want::Facts,
    };
    let expected = desk.expected_bytes;
    let now_ms = desk.now_ms;
    let found = reply.meta_entry_with(&get, expected, |out| {
        let found = read(get.key, get.expiry, want, desk, out)?;
        Ok::<_, store::Error>(found.map(|facts| {
            let is_old = get.recache.is_some_and(|deadline| {
                let ahead_ms = deadline.resolve(now_ms).saturating_sub(now_ms);
                facts.seconds_left.is_some_and(|seconds| seconds * 1000 < ahead_ms)
            });
            let claims = &desk.shared.claims;
            let is_won = (is_made || is_old) && claims.win(get.key, facts.version);
            let is_claimed = !is_won && claims.has(get.key, facts.version);
            Facts { is_won, is_claimed, ..facts }
        }))
    })?;
    desk.count_look_up(found.is_some() && !is_made);
    if get.expiry.is_some() {
        desk.count(if found.is_some() { Tally::TouchHit } else { Tally::TouchMiss });
    }
    if want == Want::Value {
        desk.expected_bytes = found.map_or(expected, |facts| facts.bytes);
    }
    Ok(())
}

/// Makes an entry without a value where there is none; returns whether there was none.
fn make_empty(key: &[u8], expiry: Expiry, desk: &mut Desk) -> Result<bool, store::Error> {
    if desk.store.peek(key)?.is_some() {
        return Ok(false);
    }
    let expiry = stored_expiry(expiry, desk.now_ms);
    let how = store::Set { condition: store::Condition::Absent, expiry, flags: 0 };
    Ok(desk.store.set(key, b"", &how)? != store::SetDone::Refused)
}

/// What is to be read of an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    /// Its value and the facts; it counts as visited.
    Value,
    /// The facts; it counts as visited.
    Visit,
    /// The facts.
    Facts,
}

/// Reads an entry, appends its value to `out` if that is wanted, and gives it another expiry, if
/// there is one, in the same breath.
fn read(
    key: &[u8],
    expiry: Option<Expiry>,
    want: Want,
    desk: &mut Desk,
    out: &mut Vec<u8>,
) -> Result<Option<Facts>, store::Error> {
    let now_ms = desk.now_ms;
    let found = match (expiry, want) {
        (None, Want::Value) => desk.store.get(key, out)?,
        (None, Want::Visit) => {
            desk.scratch.clear();
            desk.store.get(key, &mut desk.scratch)?
        }
        (None, Want::Facts) => desk.store.peek(key)?,
        (Some(expiry), _) => desk.store.update(key, |entry| {
            let Some(entry) = entry else { return (Change::Keep, None) };
            if want == Want::Value {
                out.extend_from_slice(entry.value);
            }
            let expiry_ms = at_ms(expiry, now_ms);
            (expire(expiry, now_ms), Some(Meta { expiry_ms, ..entry.meta }))
        })?,
    };
    Ok(found.map(|meta| facts(&meta, now_ms)))
}

/// `flush_all`. One with a delay takes the place of an earlier one.
fn flush(
    deadline: Option<Deadline>,
    is_quiet: bool,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered {
    desk.counts.flushes += 1;
    let at_ms = deadline.map_or(0, |deadline| deadline.resolve(desk.now_ms));
    if at_ms > desk.now_ms {
        desk.shared.flush_at_ms.store(at_ms, Relaxed);
    } else {
        desk.shared.flush_at_ms.store(0, Relaxed);
        desk.store.clear()?;
    }
    reply.ok(is_quiet);
    Ok(())
}

/// When an entry with this expiry goes.
fn at_ms(expiry: Expiry, now_ms: u64) -> Option<u64> {
    match expiry {
        Expiry::At(deadline) => Some(deadline.resolve(now_ms)),
        Expiry::Clear | Expiry::Keep => None,
    }
}

/// The store's word for what becomes of the expiry of a value that is set.
fn stored_expiry(expiry: Expiry, now_ms: u64) -> store::Expiry {
    match expiry {
        Expiry::Clear => store::Expiry::Clear,
        Expiry::Keep => store::Expiry::Keep,
        Expiry::At(deadline) => store::Expiry::At(deadline.resolve(now_ms)),
    }
}

/// What gives an entry another expiry; one that has passed removes it.
fn expire(expiry: Expiry, now_ms: u64) -> Change {
    match at_ms(expiry, now_ms) {
        Some(at_ms) if at_ms <= now_ms => Change::Remove,
        at_ms => Change::Expire(at_ms),
    }
}

/// What a reply can tell of an entry. Seconds are rounded up, so that what was just set for 30
/// seconds has 30 left, as where a clock ticks in seconds.
fn facts(meta: &Meta, now_ms: u64) -> Facts {
    let left = |at_ms: u64| at_ms.saturating_sub(now_ms).div_ceil(1000);
    Facts {
        bytes: meta.bytes as usize,
        flags: meta.flags,
        version: meta.version,
        seconds_left: meta.expiry_ms.map(left),
        ..Facts::default()
    }
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

impl From<store::Error> for Denied {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl Denied {
    /// Writes the error: memcached's words where memcached has the case, and the store's own
    /// elsewhere.
    fn write(&self, command: &Command<'_>, reply: &mut Encoder<'_>) {
        match self {
            Self::Refusal(refusal) => reply.refusal(*refusal),
            Self::Store(store::Error::Full { .. }) => reply.refusal(match command {
                Command::Increment(_) => Refusal::OutOfMemoryCounting,
                _ => Refusal::OutOfMemory,
            }),
            Self::Store(store::Error::ValueTooLong { .. }) => reply.refusal(Refusal::TooLarge),
            Self::Store(error) => reply.failure(error),
            Self::ReplyTooLarge => reply.failure("out of memory writing get response"),
        }
    }
}
