//! The commands about values.
//!
//! Source: t_string.c of Redis 7.0.15 for the borders.

use std::ops::Range;

use morecore_store::{self as store, Change, Entry};
use morecore_wire::{Arguments, Condition, Encoder, Expiry, GetEx, Pairs, Refusal, Set};

use super::Answered;
use crate::caller::Caller;
use crate::desk::Desk;

/// Keys of an MGET whose memory is fetched ahead, so that their cache misses overlap: about as many
/// misses as a core has in flight at once.
const KEYS_AT_ONCE: usize = 16;

/// Values from here on are sent from where they stand. Below, to pin one and to name it to the
/// kernel costs as much as the copy that it saves; and so long ones are sent at once, so a lease
/// does not wait for the end of a turn.
const LEASED_LEAST: usize = 16 << 10;

/// Values that are leased for a client at once: a deep pipeline of long ones. Whoever frees memory
/// goes through as many words of a session as it ever had leases at once.
const LEASES_MOST: usize = 64;

/// GET: the value goes from the store straight behind its head, or it is leased.
pub(super) fn get<'a>(
    key: &[u8],
    caller: &Caller,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    // Values of one store are often of one length; a wrong guess costs a few moved bytes.
    let expected = desk.expected_bytes;
    if expected >= LEASED_LEAST && get_leased(key, caller, desk, reply) {
        return Ok(());
    }
    let mut bytes = expected;
    let is_there = reply.bulk_with(expected, |out| {
        let found = desk.store.get(key, out)?;
        if let Some(meta) = found {
            bytes = meta.bytes as usize;
        }
        Ok::<_, store::Error>(found.is_some())
    })?;
    desk.expected_bytes = bytes;
    desk.count_look_up(is_there);
    Ok(())
}

/// GET of a long value, if it can be leased: else nothing is written. Whoever has asked for more
/// than replies may get this one elsewhere, or not at all.
#[cold]
fn get_leased(key: &[u8], caller: &Caller, desk: &mut Desk, reply: &mut Encoder<'_>) -> bool {
    if caller.extras.is_some() || desk.leases == LEASES_MOST {
        return false;
    }
    let Some(lease) = desk.store.lease(key).filter(|lease| lease.len() >= LEASED_LEAST) else {
        return false;
    };
    desk.expected_bytes = lease.len();
    desk.leases += 1;
    desk.lent.push((reply.bulk_around(lease.len()), lease));
    desk.count_look_up(true);
    true
}

/// SET with all its options, and the commands that are SET by another name.
pub(super) fn set<'a>(set: Set<'a>, desk: &mut Desk, reply: &mut Encoder<'_>) -> Answered<'a> {
    let expiry = expiry(set.expiry, desk);
    if set.is_get || has_passed(expiry, desk) {
        return set_by_update(set, expiry, desk, reply);
    }
    let how = store::Set { condition: condition(set.condition), expiry, flags: 0 };
    match desk.store.set(set.key, set.value, &how)? {
        store::SetDone::Stored { .. } => reply.ok(),
        store::SetDone::Refused => reply.null(),
    }
    Ok(())
}

/// SET ... GET, where the old value is the reply, whether or not the new one was set; and SET with
/// a deadline that has passed, which only removes what was there.
fn set_by_update<'a>(
    set: Set<'a>,
    expiry: store::Expiry,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    let has_passed = has_passed(expiry, desk);
    let old = &mut desk.scratch;
    old.clear();
    let (is_there, is_done) = desk.store.update(set.key, |entry| {
        let is_wanted = match set.condition {
            Condition::Always => true,
            Condition::Absent => entry.is_none(),
            Condition::Present => entry.is_some(),
        };
        let expiry = match expiry {
            store::Expiry::Clear => None,
            store::Expiry::Keep => entry.and_then(|entry| entry.meta.expiry_ms),
            store::Expiry::At(at_ms) => Some(at_ms),
        };
        if let Some(entry) = &entry {
            old.extend_from_slice(entry.value);
        }
        let change = match is_wanted {
            false => Change::Keep,
            true if has_passed => Change::Remove,
            true => Change::Set { value: set.value.to_vec(), expiry, flags: 0 },
        };
        (change, (entry.is_some(), is_wanted))
    })?;
    match (set.is_get, is_done) {
        (true, _) => reply_old(is_there, desk, reply),
        (false, true) => reply.ok(),
        (false, false) => reply.null(),
    }
    Ok(())
}

/// SETNX.
pub(super) fn set_nx<'a>(
    key: &[u8],
    value: &[u8],
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    let how = store::Set { condition: store::Condition::Absent, ..store::Set::default() };
    let done = desk.store.set(key, value, &how)?;
    reply.integer(i64::from(done != store::SetDone::Refused));
    Ok(())
}

/// GETDEL.
pub(super) fn get_del<'a>(key: &[u8], desk: &mut Desk, reply: &mut Encoder<'_>) -> Answered<'a> {
    get_and_change(key, |_| Change::Remove, desk, reply)
}

/// GETEX.
pub(super) fn get_ex<'a>(
    asked: GetEx<'a>,
    caller: &Caller,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    let change = match asked.expiry {
        Expiry::Keep => return get(asked.key, caller, desk, reply),
        Expiry::Clear => Change::Expire(None),
        Expiry::At(deadline) => match deadline.resolve(desk.now_ms) {
            at_ms if at_ms <= desk.now_ms => Change::Remove,
            at_ms => Change::Expire(Some(at_ms)),
        },
    };
    get_and_change(asked.key, |_| change, desk, reply)
}

/// Replies with the value, and changes the entry in the same breath.
fn get_and_change<'a>(
    key: &[u8],
    change: impl FnOnce(Entry<'_>) -> Change,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    let old = &mut desk.scratch;
    old.clear();
    let is_there = desk.store.update(key, |entry| match entry {
        Some(entry) => {
            old.extend_from_slice(entry.value);
            (change(entry), true)
        }
        None => (Change::Keep, false),
    })?;
    reply_old(is_there, desk, reply);
    Ok(())
}

/// The value in the scratch, or null; and counts the look-up.
fn reply_old(is_there: bool, desk: &mut Desk, reply: &mut Encoder<'_>) {
    desk.count_look_up(is_there);
    if is_there { reply.bulk(&desk.scratch) } else { reply.null() }
}

/// MGET.
pub(super) fn get_many<'a>(
    keys: Arguments<'a>,
    caller: &Caller,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    reply.array(keys.len());
    for (index, key) in keys.iter().enumerate() {
        if index.is_multiple_of(KEYS_AT_ONCE) {
            keys.skip(index).iter().take(KEYS_AT_ONCE).for_each(|key| desk.store.prefetch(key));
        }
        // The head is written; so an error stands in the place of the value.
        if let Err(denied) = get(key, caller, desk, reply) {
            denied.write(reply);
        }
    }
    Ok(())
}

/// MSET: all at once.
pub(super) fn set_many<'a>(
    pairs: Pairs<'a>,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    if let (1, Some((key, value))) = (pairs.len(), pairs.get(0)) {
        desk.store.set(key, value, &store::Set::default())?;
    } else {
        set_pairs(&last_values(pairs), desk)?;
    }
    reply.ok();
    Ok(())
}

/// MSETNX: all at once, or nothing.
pub(super) fn set_many_nx<'a>(
    pairs: Pairs<'a>,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    let are_absent = |entries: &[Option<Entry<'_>>]| entries.iter().all(Option::is_none);
    let are_set = update_pairs(&last_values(pairs), are_absent, desk)?;
    reply.integer(i64::from(are_set));
    Ok(())
}

/// A key and its value.
type Pair<'a> = (&'a [u8], &'a [u8]);

/// The pairs, each key once: of one that is named twice, the last value counts.
fn last_values(pairs: Pairs<'_>) -> Vec<Pair<'_>> {
    let mut last: Vec<Pair<'_>> = pairs.iter().collect();
    // Stable, so that of equal keys the last given stays last; then it alone is kept.
    last.sort_by_key(|(key, _)| *key);
    last.reverse();
    last.dedup_by_key(|(key, _)| *key);
    last
}

/// Sets all pairs at once. More than the store's journal can take back (a thousand or so) are set
/// half by half: then others may see some of them before the rest, which clients that load many
/// keys rather bear than a refusal.
fn set_pairs(pairs: &[Pair<'_>], desk: &mut Desk) -> Result<(), store::Error> {
    match update_pairs(pairs, |_| true, desk) {
        Err(store::Error::TooManyKeys { .. }) if pairs.len() > 1 => {
            let (first, second) = pairs.split_at(pairs.len() / 2);
            set_pairs(first, desk)?;
            set_pairs(second, desk)
        }
        done => done.map(drop),
    }
}

/// Sets every pair if `is_wanted`, given what stands there; all or nothing.
fn update_pairs(
    pairs: &[Pair<'_>],
    is_wanted: impl FnOnce(&[Option<Entry<'_>>]) -> bool,
    desk: &mut Desk,
) -> Result<bool, store::Error> {
    let keys: Vec<&[u8]> = pairs.iter().map(|(key, _)| *key).collect();
    desk.store.update_many(&keys, |entries| {
        let are_set = is_wanted(entries);
        let change = |(_, value): &Pair<'_>| match are_set {
            true => Change::Set { value: value.to_vec(), expiry: None, flags: 0 },
            false => Change::Keep,
        };
        (pairs.iter().map(change).collect(), are_set)
    })
}

/// APPEND.
pub(super) fn append<'a>(
    key: &[u8],
    value: &[u8],
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    let most = desk.shared.options.bulk_bytes_most;
    let bytes = desk.store.update(key, |entry| {
        let (old, expiry, flags) = parts(entry);
        let bytes = old.len() + value.len();
        if bytes as u64 > most {
            return (Change::Keep, Err(Refusal::ValueTooLong));
        }
        (Change::Set { value: [old, value].concat(), expiry, flags }, Ok(bytes))
    })??;
    reply.integer(bytes as i64);
    Ok(())
}

/// STRLEN.
pub(super) fn length<'a>(key: &[u8], desk: &mut Desk, reply: &mut Encoder<'_>) -> Answered<'a> {
    let found = desk.store.peek(key)?;
    desk.count_look_up(found.is_some());
    reply.integer(found.map_or(0, |meta| meta.bytes) as i64);
    Ok(())
}

/// SETRANGE: what lies between the old end and the offset becomes zeroes.
pub(super) fn set_range<'a>(
    key: &[u8],
    offset: u64,
    value: &[u8],
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    if value.is_empty() {
        return length(key, desk, reply);
    }
    let end = offset.saturating_add(value.len() as u64);
    if end > desk.shared.options.bulk_bytes_most {
        return Err(Refusal::ValueTooLong.into());
    }
    check_fits(end, desk)?;
    let (start, end) = (offset as usize, end as usize);
    let bytes = desk.store.update(key, |entry| {
        let (old, expiry, flags) = parts(entry);
        let mut new = Vec::with_capacity(old.len().max(end));
        new.extend_from_slice(old);
        new.resize(old.len().max(end), 0);
        new[start..end].copy_from_slice(value);
        let bytes = new.len();
        (Change::Set { value: new, expiry, flags }, bytes)
    })?;
    reply.integer(bytes as i64);
    Ok(())
}

/// Refuses a value that the store cannot have before any memory is taken for it.
pub(super) fn check_fits(bytes: u64, desk: &Desk) -> Result<(), store::Error> {
    let most = desk.store.value_bytes_most();
    if bytes > most { Err(store::Error::ValueTooLong { bytes, most }) } else { Ok(()) }
}

/// GETRANGE.
pub(super) fn get_range<'a>(
    key: &[u8],
    start: i64,
    end: i64,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    desk.scratch.clear();
    let is_there = desk.store.get(key, &mut desk.scratch)?.is_some();
    desk.count_look_up(is_there);
    reply.bulk(&desk.scratch[range(start, end, desk.scratch.len())]);
    Ok(())
}

/// The bytes from `start` to `end`, both included and counted from the end where negative, of a
/// value of `bytes`.
fn range(start: i64, end: i64, bytes: usize) -> Range<usize> {
    if start < 0 && end < 0 && start > end {
        return 0..0;
    }
    let count = bytes as i64;
    let from_front = |at: i64| if at < 0 { at.saturating_add(count).max(0) } else { at };
    let (start, end) = (from_front(start), from_front(end).min(count - 1));
    if start > end { 0..0 } else { start as usize..end as usize + 1 }
}

/// The value of an entry, empty if there is none, and what stays of it when the value changes: its
/// expiry, and the flags that a client of memcached keeps beside it.
pub(super) fn parts<'e>(entry: Option<Entry<'e>>) -> (&'e [u8], Option<u64>, u32) {
    entry.map_or((&[], None, 0), |entry| (entry.value, entry.meta.expiry_ms, entry.meta.flags))
}

/// The store's word for when to set.
const fn condition(asked: Condition) -> store::Condition {
    match asked {
        Condition::Always => store::Condition::Always,
        Condition::Absent => store::Condition::Absent,
        Condition::Present => store::Condition::Present,
    }
}

/// Whether an entry with this expiry would be dead at once.
fn has_passed(expiry: store::Expiry, desk: &Desk) -> bool {
    matches!(expiry, store::Expiry::At(at_ms) if at_ms <= desk.now_ms)
}

/// The store's word for what becomes of the expiry.
fn expiry(asked: Expiry, desk: &Desk) -> store::Expiry {
    match asked {
        Expiry::Clear => store::Expiry::Clear,
        Expiry::Keep => store::Expiry::Keep,
        Expiry::At(deadline) => store::Expiry::At(deadline.resolve(desk.now_ms)),
    }
}

#[cfg(test)]
mod tests {
    use super::range;

    fn check(start: i64, end: i64, expected: &str) {
        assert_eq!(&"This is a string"[range(start, end, 16)], expected, "{start} to {end}");
    }

    #[test]
    fn ranges_are_cut_as_redis_cuts_them() {
        check(0, 3, "This");
        check(-3, -1, "ing");
        check(0, -1, "This is a string");
        check(10, 100, "string");
        check(5, 2, "");
        check(-1, -5, "");
        check(-100, 3, "This");
        check(-100, -200, "");
        check(16, 20, "");
        check(0, -100, "T");
        check(i64::MIN, i64::MAX, "This is a string");
        check(i64::MAX, i64::MIN, "");
        assert_eq!(range(0, -1, 0), 0..0);
        assert_eq!(range(0, 0, 0), 0..0);
    }
}
