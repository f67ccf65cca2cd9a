//! The commands of memcached that change an entry.
//!
//! ```text
//!   read: value, version --> make the new value --> set, if the version is the same --> answer
//!     ^                                                            | else
//!     +------------------------------------------------------------+
//! ```
//!
//! Promises: whoever has to begin again was overtaken by somebody who got on, so all together
//! always get on. The version that is told is that of the value that was set.
//! Source: do_store_item, do_add_delta and the proto_text.c of memcached 1.6.18.

use std::io::Write;

use morecore_store::{self as store, Change, Condition, Meta, Set, SetDone};
use morecore_wire::memcached::{
    Counted, Delete, Encoder, Facts, Increment, Mode, Outcome, Put, Refusal, parse_number,
};

use super::{Answered, Denied, at_ms, facts, stored_expiry};
use crate::desk::Desk;
use crate::tally::Tally;

/// `set`, `add`, `replace`, `append`, `prepend`, `cas` and `ms`.
pub(super) fn put(put: Put<'_>, desk: &mut Desk, reply: &mut Encoder<'_>) -> Answered {
    desk.counts.puts += 1;
    let done = match put.mode {
        Mode::Append | Mode::Prepend => join(&put, desk),
        Mode::Set | Mode::Add | Mode::Replace => place(&put, desk),
    };
    if matches!(done, Err(store::Error::Full { .. } | store::Error::ValueTooLong { .. }))
        && (put.mode, put.compare) == (Mode::Set, None)
    {
        // Its client takes what was there for replaced; so it must not be found again.
        desk.store.delete(put.key)?;
    }
    let (outcome, facts) = done?;
    if put.compare.is_some() {
        desk.count(match outcome {
            Outcome::Done => Tally::CompareHit,
            Outcome::NotFound | Outcome::NotStored => Tally::CompareMiss,
            Outcome::Exists => Tally::CompareBad,
        });
    }
    reply.stored(&put.answer, outcome, &facts);
    Ok(())
}

/// Puts a value in the place of what is there.
fn place(put: &Put<'_>, desk: &mut Desk) -> Result<(Outcome, Facts), store::Error> {
    let condition = match (put.mode, put.compare) {
        (Mode::Add, _) => Condition::Absent,
        (_, Some(version)) => Condition::Version(version),
        (Mode::Replace, None) => Condition::Present,
        (_, None) => Condition::Always,
    };
    let expiry = stored_expiry(put.expiry, desk.now_ms);
    let how = Set { condition, expiry, flags: put.flags };
    if let SetDone::Stored { version } = desk.store.set(put.key, put.value, &how)? {
        let (bytes, flags) = (put.value.len(), put.flags);
        return Ok((Outcome::Done, Facts { bytes, flags, version, ..Facts::default() }));
    }
    let outcome = match condition {
        Condition::Version(version) if put.is_invalidate => invalidate(put.key, version, desk)?,
        Condition::Version(_) => match desk.store.peek(put.key)? {
            Some(_) => Outcome::Exists,
            None => Outcome::NotFound,
        },
        Condition::Always | Condition::Absent | Condition::Present => Outcome::NotStored,
    };
    Ok((outcome, Facts::default()))
}

/// I: where the entry is newer than `version`, the value would be stale as soon as it is put. Our
/// entries are never stale; so the entry goes, and nobody gets either.
fn invalidate(key: &[u8], version: u64, desk: &mut Desk) -> Result<Outcome, store::Error> {
    desk.store.update(key, |entry| match entry {
        None => (Change::Keep, Outcome::NotFound),
        Some(entry) if entry.meta.version > version => (Change::Remove, Outcome::Done),
        Some(_) => (Change::Keep, Outcome::Exists),
    })
}

/// Makes a value longer: `append` and `prepend`.
fn join(put: &Put<'_>, desk: &mut Desk) -> Result<(Outcome, Facts), store::Error> {
    let most = desk.shared.options.bulk_bytes_most;
    loop {
        desk.scratch.clear();
        let found = desk.store.get(put.key, &mut desk.scratch)?;
        let how = match &found {
            None if !put.is_vivify => return Ok((Outcome::NotStored, Facts::default())),
            None => {
                let expiry = stored_expiry(put.expiry, desk.now_ms);
                Set { condition: Condition::Absent, expiry, flags: put.flags }
            }
            Some(meta) if put.compare.is_some_and(|version| version != meta.version) => {
                return Ok((Outcome::Exists, Facts::default()));
            }
            Some(meta) => unchanged(meta),
        };
        desk.scratch.extend_from_slice(put.value);
        if put.mode == Mode::Prepend {
            desk.scratch.rotate_right(put.value.len());
        }
        let bytes = desk.scratch.len();
        if bytes as u64 > most {
            return Err(store::Error::ValueTooLong { bytes: bytes as u64, most });
        }
        if let SetDone::Stored { version } = desk.store.set(put.key, &desk.scratch, &how)? {
            let facts = Facts { bytes, flags: how.flags, version, ..Facts::default() };
            return Ok((Outcome::Done, facts));
        }
    }
}

/// How a value is set that was made from this entry's, and leaves the rest as it is.
fn unchanged(meta: &Meta) -> Set {
    let condition = Condition::Version(meta.version);
    Set { condition, expiry: store::Expiry::Keep, flags: meta.flags }
}

/// `delete` and `md`.
pub(super) fn delete(delete: Delete<'_>, desk: &mut Desk, reply: &mut Encoder<'_>) -> Answered {
    let outcome = if delete.is_emptied && !delete.is_invalidate {
        empty(&delete, desk)?
    } else if let Some(version) = delete.compare {
        desk.store.update(delete.key, |entry| match entry {
            None => (Change::Keep, Outcome::NotFound),
            Some(entry) if entry.meta.version != version => (Change::Keep, Outcome::Exists),
            Some(_) => (Change::Remove, Outcome::Done),
        })?
    } else if desk.store.delete(delete.key)? {
        Outcome::Done
    } else {
        Outcome::NotFound
    };
    let is_hit = outcome != Outcome::NotFound;
    desk.count(if is_hit { Tally::DeleteHit } else { Tally::DeleteMiss });
    reply.deleted(&delete.answer, outcome);
    Ok(())
}

/// x: takes value and flags from an entry, and leaves it.
fn empty(delete: &Delete<'_>, desk: &mut Desk) -> Result<Outcome, store::Error> {
    loop {
        let Some(meta) = desk.store.peek(delete.key)? else { return Ok(Outcome::NotFound) };
        if delete.compare.is_some_and(|version| version != meta.version) {
            return Ok(Outcome::Exists);
        }
        let expiry = delete.expiry.map_or(store::Expiry::Keep, |at| stored_expiry(at, desk.now_ms));
        let how = Set { expiry, flags: 0, ..unchanged(&meta) };
        if desk.store.set(delete.key, b"", &how)? != SetDone::Refused {
            return Ok(Outcome::Done);
        }
    }
}

/// `incr`, `decr` and `ma`.
pub(super) fn increment(
    increment: Increment<'_>,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered {
    let (counted, facts) = count(&increment, desk)?;
    let is_miss = matches!(counted, Counted::NotFound | Counted::Created(_));
    desk.count(match (increment.is_decrement, is_miss) {
        (false, false) => Tally::IncrementHit,
        (false, true) => Tally::IncrementMiss,
        (true, false) => Tally::DecrementHit,
        (true, true) => Tally::DecrementMiss,
    });
    reply.counted(&increment.answer, counted, &facts);
    Ok(())
}

/// Counts a number up or down, or makes one.
fn count(increment: &Increment<'_>, desk: &mut Desk) -> Result<(Counted, Facts), Denied> {
    loop {
        desk.scratch.clear();
        let found = desk.store.get(increment.key, &mut desk.scratch)?;
        let (counted, number, how, meta) = match (found, increment.vivify) {
            (None, None) => return Ok((Counted::NotFound, Facts::default())),
            (None, Some(at)) => {
                let number = increment.initial;
                let expiry = stored_expiry(at, desk.now_ms);
                let how = Set { condition: Condition::Absent, expiry, flags: 0 };
                let meta =
                    Meta { version: 0, expiry_ms: at_ms(at, desk.now_ms), bytes: 0, flags: 0 };
                (Counted::Created(number), number, how, meta)
            }
            (Some(meta), _) => {
                if increment.compare.is_some_and(|version| version != meta.version) {
                    return Ok((Counted::Exists, Facts::default()));
                }
                let number = parse_number(&desk.scratch).ok_or(Refusal::NonNumeric)?;
                let number = increment.apply(number);
                let (expiry, expiry_ms) = match increment.expiry {
                    None => (store::Expiry::Keep, meta.expiry_ms),
                    Some(at) => (stored_expiry(at, desk.now_ms), at_ms(at, desk.now_ms)),
                };
                let how = Set { expiry, ..unchanged(&meta) };
                (Counted::Changed(number), number, how, Meta { expiry_ms, ..meta })
            }
        };
        desk.scratch.clear();
        write!(desk.scratch, "{number}").expect("writing to a Vec cannot fail");
        if let SetDone::Stored { version } = desk.store.set(increment.key, &desk.scratch, &how)? {
            let bytes = desk.scratch.len() as u64;
            return Ok((counted, facts(&Meta { version, bytes, ..meta }, desk.now_ms)));
        }
    }
}
