//! The commands about values that are numbers.
//!
//! Source: t_string.c of Redis 7.0.15 for the borders.

use morecore_store::Change;
use morecore_wire::{Decimal, Encoder, Refusal};

use super::Answered;
use crate::desk::Desk;

/// INCR, DECR, INCRBY and DECRBY.
pub(super) fn increment<'a>(
    key: &[u8],
    by: i64,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    reply.integer(desk.store.increment(key, by)?);
    Ok(())
}

/// INCRBYFLOAT.
pub(super) fn increment_float<'a>(
    key: &[u8],
    by: Decimal,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    let sum = &mut desk.scratch;
    sum.clear();
    desk.store.update(key, |entry| {
        let old = entry.map_or(b"0".as_slice(), |entry| entry.value);
        let Some(old) = Decimal::parse(old) else {
            return (Change::Keep, Err(Refusal::NotAFloat));
        };
        let Some(new) = old.checked_add(by) else {
            return (Change::Keep, Err(Refusal::IncrementNotFinite));
        };
        new.write(sum);
        let expiry = entry.and_then(|entry| entry.meta.expiry_ms);
        let flags = entry.map_or(0, |entry| entry.meta.flags);
        (Change::Set { value: sum.clone(), expiry, flags }, Ok(()))
    })??;
    reply.bulk(&desk.scratch);
    Ok(())
}
