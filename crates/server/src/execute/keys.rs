//! The commands about keys, whatever their values are.
//!
//! Source: db.c of Redis 7.0.15 for the borders.

use morecore_store::{Change, Entry};
use morecore_wire::{Arguments, Copy, Encoder, Refusal, Scan, is_match};

use super::Answered;
use crate::desk::Desk;

/// The one type that values have.
const STRING: &str = "string";

/// Keys that KEYS asks the store for at once.
const SCAN_AT_ONCE: usize = 1024;

/// DEL and UNLINK.
pub(super) fn delete<'a>(
    keys: Arguments<'a>,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    let mut count = 0;
    for key in keys.iter() {
        count += i64::from(desk.store.delete(key)?);
    }
    reply.integer(count);
    Ok(())
}

/// EXISTS.
pub(super) fn exists<'a>(
    keys: Arguments<'a>,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    let mut count = 0;
    for key in keys.iter() {
        let is_there = desk.store.peek(key)?.is_some();
        desk.count_look_up(is_there);
        count += i64::from(is_there);
    }
    reply.integer(count);
    Ok(())
}

/// TOUCH: reads each value, which is what touches it, and leaves it alone.
pub(super) fn touch<'a>(
    keys: Arguments<'a>,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    let mut count = 0;
    for key in keys.iter() {
        desk.scratch.clear();
        let is_there = desk.store.get(key, &mut desk.scratch)?.is_some();
        desk.count_look_up(is_there);
        count += i64::from(is_there);
    }
    reply.integer(count);
    Ok(())
}

/// TYPE.
pub(super) fn kind<'a>(key: &[u8], desk: &mut Desk, reply: &mut Encoder<'_>) -> Answered<'a> {
    reply.simple(if desk.store.peek(key)?.is_some() { STRING } else { "none" });
    Ok(())
}

/// RENAME.
pub(super) fn rename<'a>(
    from: &[u8],
    to: &[u8],
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    transfer(from, to, Change::Remove, true, desk)?.ok_or(Refusal::NoSuchKey)?;
    reply.ok();
    Ok(())
}

/// RENAMENX.
pub(super) fn rename_nx<'a>(
    from: &[u8],
    to: &[u8],
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    let is_done = transfer(from, to, Change::Remove, false, desk)?.ok_or(Refusal::NoSuchKey)?;
    reply.integer(i64::from(is_done));
    Ok(())
}

/// COPY.
pub(super) fn copy<'a>(asked: Copy<'a>, desk: &mut Desk, reply: &mut Encoder<'_>) -> Answered<'a> {
    if asked.database.is_some_and(|index| index != 0) {
        return Err(Refusal::DatabaseOutOfRange.into());
    }
    if asked.from == asked.to {
        return Err(Refusal::SameObject.into());
    }
    let is_done = transfer(asked.from, asked.to, Change::Keep, asked.is_replace, desk)?;
    reply.integer(i64::from(is_done == Some(true)));
    Ok(())
}

/// Gives `to` the value, expiry and flags of `from`, and changes `from`, at once. Returns whether
/// it was done (not if something stands at `to` and may not be replaced); `None` without a `from`.
fn transfer(
    from: &[u8],
    to: &[u8],
    change: Change,
    is_replace: bool,
    desk: &mut Desk,
) -> Result<Option<bool>, morecore_store::Error> {
    if from == to {
        return Ok(desk.store.peek(from)?.map(|_| is_replace));
    }
    desk.store.update_many(&[from, to], |entries| {
        let [source, target] = entries else { return (Vec::new(), None) };
        match source {
            None => (vec![Change::Keep, Change::Keep], None),
            Some(_) if target.is_some() && !is_replace => {
                (vec![Change::Keep, Change::Keep], Some(false))
            }
            Some(Entry { value, meta }) => {
                let (value, expiry) = (value.to_vec(), meta.expiry_ms);
                let set = Change::Set { value, expiry, flags: meta.flags };
                (vec![change, set], Some(true))
            }
        }
    })
}

/// KEYS.
pub(super) fn list<'a>(pattern: &[u8], desk: &mut Desk, reply: &mut Encoder<'_>) -> Answered<'a> {
    let mut found = Found::default();
    let mut cursor = 0;
    loop {
        cursor = desk.store.scan(cursor, SCAN_AT_ONCE, |key, _| {
            if is_match(pattern, key) {
                found.add(key);
            }
        })?;
        if cursor == 0 {
            break;
        }
    }
    found.write(reply);
    Ok(())
}

/// SCAN.
pub(super) fn scan<'a>(asked: Scan<'a>, desk: &mut Desk, reply: &mut Encoder<'_>) -> Answered<'a> {
    let is_kind = asked.kind.is_none_or(|kind| kind.eq_ignore_ascii_case(STRING.as_bytes()));
    let count = usize::try_from(asked.count).unwrap_or(usize::MAX);
    let mut found = Found::default();
    let cursor = desk.store.scan(asked.cursor, count, |key, _| {
        if is_kind && asked.pattern.is_none_or(|pattern| is_match(pattern, key)) {
            found.add(key);
        }
    })?;
    reply.array(2);
    reply.bulk(cursor.to_string().as_bytes());
    found.write(reply);
    Ok(())
}

/// RANDOMKEY.
pub(super) fn random<'a>(desk: &mut Desk, reply: &mut Encoder<'_>) -> Answered<'a> {
    desk.scratch.clear();
    if desk.store.random_key(&mut desk.scratch)? {
        reply.bulk(&desk.scratch);
    } else {
        reply.null();
    }
    Ok(())
}

/// DBSIZE.
pub(super) fn count<'a>(desk: &mut Desk, reply: &mut Encoder<'_>) -> Answered<'a> {
    reply.integer(desk.store.len()?.cast_signed());
    Ok(())
}

/// FLUSHDB and FLUSHALL.
pub(super) fn flush<'a>(desk: &mut Desk, reply: &mut Encoder<'_>) -> Answered<'a> {
    desk.store.clear()?;
    reply.ok();
    Ok(())
}

/// Keys one behind the other, until it is known how many they are.
#[derive(Default)]
struct Found {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Found {
    fn add(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
    }

    fn write(&self, reply: &mut Encoder<'_>) {
        reply.array(self.ends.len());
        let mut start = 0;
        for &end in &self.ends {
            reply.bulk(&self.bytes[start..end]);
            start = end;
        }
    }
}
