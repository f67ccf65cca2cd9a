//! The commands about the bits of values.
//!
//! ```text
//!   byte      0        1
//!   bit   01234567 89......      bit 0 is the highest of byte 0
//! ```
//!
//! Promises: a value counts as followed by zeroes without end, and a key that is not there as an
//! empty value.
//! Source: bitops.c of Redis 7.0.15 for the borders.

mod field;
mod stretch;

use morecore_store::{Change, Entry};
use morecore_wire::{
    Arguments, BitOperation, BitRange, Bits, Encoder, FieldChange, FieldChanges, Refusal,
};

use self::stretch::Stretch;
use super::Answered;
use super::strings::{check_fits, parts};
use crate::desk::Desk;

/// Bits of a byte.
const BYTE: u64 = 8;

/// The commands about bits.
pub(super) fn bits<'a>(asked: Bits<'a>, desk: &mut Desk, reply: &mut Encoder<'_>) -> Answered<'a> {
    match asked {
        Bits::Set { key, offset, is_set } => set(key, offset, is_set, desk, reply),
        Bits::Get { key, offset } => get(key, offset, desk, reply),
        Bits::Count { key, range } => count(key, range, desk, reply),
        Bits::Position { key, is_set, range } => position(key, is_set, range, desk, reply),
        Bits::Operate { operation, to, from } => operate(operation, to, from, desk, reply),
        Bits::Fields { key, changes, has_writes } => fields(key, changes, has_writes, desk, reply),
    }
}

/// SETBIT.
fn set<'a>(
    key: &[u8],
    offset: u64,
    is_set: bool,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    check_offset(offset, desk)?;
    check_fits(offset / BYTE + 1, desk)?;
    let (at, mask) = ((offset / BYTE) as usize, mask(offset));
    let was_set = desk.store.update(key, |entry| {
        let (old, expiry, flags) = parts(entry);
        let was_set = old.get(at).is_some_and(|byte| byte & mask != 0);
        if at < old.len() && was_set == is_set {
            return (Change::Keep, was_set);
        }
        let mut value = grown(old, at + 1);
        value[at] = if is_set { value[at] | mask } else { value[at] & !mask };
        (Change::Set { value, expiry, flags }, was_set)
    })?;
    reply.integer(was_set.into());
    Ok(())
}

/// GETBIT.
fn get<'a>(key: &[u8], offset: u64, desk: &mut Desk, reply: &mut Encoder<'_>) -> Answered<'a> {
    check_offset(offset, desk)?;
    read(key, desk)?;
    let byte = desk.scratch.get((offset / BYTE) as usize).copied().unwrap_or(0);
    reply.integer((byte & mask(offset) != 0).into());
    Ok(())
}

/// BITCOUNT.
fn count<'a>(
    key: &[u8],
    range: Option<BitRange>,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    read(key, desk)?;
    // Redis cuts such a range to the value's start for BITPOS, and takes it as empty here.
    let is_backwards = |range: BitRange| {
        range.start < 0 && range.end.is_some_and(|end| end < 0 && range.start > end)
    };
    let stretch = match range.is_some_and(is_backwards) {
        true => None,
        false => Stretch::of(range, desk.scratch.len()),
    };
    reply.integer(stretch.map_or(0, |stretch| stretch.count(&desk.scratch)).cast_signed());
    Ok(())
}

/// BITPOS.
fn position<'a>(
    key: &[u8],
    is_set: bool,
    range: Option<BitRange>,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    if !read(key, desk)? {
        // Zeroes without end.
        reply.integer(if is_set { -1 } else { 0 });
        return Ok(());
    }
    let has_end = range.is_some_and(|range| range.end.is_some());
    let found = Stretch::of(range, desk.scratch.len()).and_then(|stretch| {
        let behind = (!is_set && !has_end).then_some(stretch.last + 1);
        stretch.find(&desk.scratch, is_set).or(behind)
    });
    reply.integer(found.map_or(-1, u64::cast_signed));
    Ok(())
}

/// BITOP.
fn operate<'a>(
    operation: BitOperation,
    to: &'a [u8],
    from: Arguments<'a>,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    let keys: Vec<&[u8]> = std::iter::once(to).chain(from.iter()).collect();
    let bytes = desk.store.update_many(&keys, |entries| {
        let mut changes = vec![Change::Keep; keys.len()];
        let values: Vec<_> = entries[1..].iter().map(|entry| parts(*entry).0).collect();
        let value = join(operation, &values);
        let bytes = value.len();
        changes[0] = match value.is_empty() {
            true => Change::Remove,
            false => Change::Set { value, expiry: None, flags: 0 },
        };
        (changes, bytes)
    })?;
    reply.integer(bytes as i64);
    Ok(())
}

/// What comes of joining values bit by bit: as long as the longest of them.
fn join(operation: BitOperation, values: &[&[u8]]) -> Vec<u8> {
    let longest = values.iter().map(|value| value.len()).max().unwrap_or(0);
    let Some((first, rest)) = values.split_first() else { return Vec::new() };
    let mut joined = grown(first, longest);
    if operation == BitOperation::Not {
        joined.iter_mut().for_each(|byte| *byte = !*byte);
    }
    for value in rest {
        let (under, behind) = joined.split_at_mut(value.len());
        let pairs = under.iter_mut().zip(value.iter());
        match operation {
            BitOperation::And => {
                pairs.for_each(|(byte, other)| *byte &= other);
                behind.fill(0);
            }
            BitOperation::Or => pairs.for_each(|(byte, other)| *byte |= other),
            BitOperation::Xor => pairs.for_each(|(byte, other)| *byte ^= other),
            // It has one value: its reader saw to that.
            BitOperation::Not => {}
        }
    }
    joined
}

/// BITFIELD and BITFIELD_RO.
fn fields<'a>(
    key: &[u8],
    changes: FieldChanges<'a>,
    has_writes: bool,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    for (field, change) in changes.iter() {
        check_offset(field.offset, desk)?;
        if change != FieldChange::Get {
            check_fits((field.offset + u64::from(field.bits)).div_ceil(BYTE), desk)?;
        }
    }
    let answers: Vec<Option<i64>> = if has_writes {
        desk.store.update(key, |entry| change_fields(entry, changes))?
    } else {
        read(key, desk)?;
        changes.iter().map(|(field, _)| Some(field::read(field, &desk.scratch))).collect()
    };
    reply.array(answers.len());
    for answer in answers {
        match answer {
            Some(answer) => reply.integer(answer),
            None => reply.null(),
        }
    }
    Ok(())
}

/// The value after `changes`, and the answer to each. It grows to the end of the last field that
/// is written, also where nothing is written because of an overflow.
fn change_fields(
    entry: Option<Entry<'_>>,
    changes: FieldChanges<'_>,
) -> (Change, Vec<Option<i64>>) {
    let (old, expiry, flags) = parts(entry);
    let written = changes.iter().filter(|(_, change)| *change != FieldChange::Get);
    let bits = written.map(|(field, _)| field.offset + u64::from(field.bits)).max().unwrap_or(0);
    let mut value = grown(old, bits.div_ceil(BYTE) as usize);
    let answers =
        changes.iter().map(|(field, change)| field::apply(field, change, &mut value)).collect();
    let is_same = entry.is_some() && value == old;
    (if is_same { Change::Keep } else { Change::Set { value, expiry, flags } }, answers)
}

/// Reads a value into the scratch; returns whether the key is there.
fn read(key: &[u8], desk: &mut Desk) -> Result<bool, morecore_store::Error> {
    desk.scratch.clear();
    let is_there = desk.store.get(key, &mut desk.scratch)?.is_some();
    desk.count_look_up(is_there);
    Ok(is_there)
}

/// A bit must lie within the longest value that there may be.
fn check_offset(offset: u64, desk: &Desk) -> Result<(), Refusal<'static>> {
    let is_within = offset / BYTE < desk.shared.options.bulk_bytes_most;
    if is_within { Ok(()) } else { Err(Refusal::BitOffsetOutOfRange) }
}

/// `old`, and zeroes behind it up to `bytes` if it is shorter.
fn grown(old: &[u8], bytes: usize) -> Vec<u8> {
    let mut value = Vec::with_capacity(old.len().max(bytes));
    value.extend_from_slice(old);
    value.resize(old.len().max(bytes), 0);
    value
}

/// The bit `offset` within its byte.
const fn mask(offset: u64) -> u8 {
    0x80 >> (offset % BYTE)
}
