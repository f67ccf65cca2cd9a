//! The commands about when a key dies.
//!
//! Source: expire.c of Redis 7.0.15 for the borders.

use morecore_store::Change;
use morecore_wire::{Encoder, Expire, ExpireCondition};

use super::Answered;
use crate::desk::Desk;

/// What TTL and its kin count in.
#[derive(Clone, Copy)]
pub(super) enum Unit {
    Seconds,
    Milliseconds,
}

/// What TTL and its kin say of a key that is not there.
const NO_KEY: i64 = -2;

/// What they say of a key that does not die.
const NO_EXPIRY: i64 = -1;

/// EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT.
pub(super) fn expire<'a>(
    asked: Expire<'a>,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    let at_ms = asked.deadline.resolve(desk.now_ms);
    let now_ms = desk.now_ms;
    let is_done = desk.store.update(asked.key, |entry| match entry {
        Some(entry) if is_wanted(asked.condition, at_ms, entry.meta.expiry_ms) => {
            let has_passed = at_ms <= now_ms;
            (if has_passed { Change::Remove } else { Change::Expire(Some(at_ms)) }, true)
        }
        _ => (Change::Keep, false),
    })?;
    reply.integer(i64::from(is_done));
    Ok(())
}

/// Whether the condition of EXPIRE holds, where an entry has this expiry; one without lives longer
/// than any.
fn is_wanted(condition: ExpireCondition, new_ms: u64, old_ms: Option<u64>) -> bool {
    let is_earlier = old_ms.is_none_or(|old_ms| new_ms < old_ms);
    match condition {
        ExpireCondition::Always => true,
        ExpireCondition::Absent => old_ms.is_none(),
        ExpireCondition::Present => old_ms.is_some(),
        ExpireCondition::Later => old_ms.is_some_and(|old_ms| new_ms > old_ms),
        ExpireCondition::Earlier => is_earlier,
        ExpireCondition::PresentAndEarlier => old_ms.is_some() && is_earlier,
    }
}

/// PERSIST.
pub(super) fn persist<'a>(key: &[u8], desk: &mut Desk, reply: &mut Encoder<'_>) -> Answered<'a> {
    let is_done = desk.store.update(key, |entry| {
        match entry.is_some_and(|entry| entry.meta.expiry_ms.is_some()) {
            true => (Change::Expire(None), true),
            false => (Change::Keep, false),
        }
    })?;
    reply.integer(i64::from(is_done));
    Ok(())
}

/// TTL and PTTL.
pub(super) fn left<'a>(
    key: &[u8],
    unit: Unit,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    let now_ms = desk.now_ms;
    tell(key, |at_ms| unit.of_ms(at_ms.saturating_sub(now_ms)), desk, reply)
}

/// EXPIRETIME and PEXPIRETIME.
pub(super) fn deadline<'a>(
    key: &[u8],
    unit: Unit,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    tell(key, |at_ms| unit.of_ms(at_ms), desk, reply)
}

fn tell<'a>(
    key: &[u8],
    of_expiry: impl FnOnce(u64) -> u64,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    let found = desk.store.peek(key)?;
    desk.count_look_up(found.is_some());
    reply.integer(match found.map(|meta| meta.expiry_ms) {
        None => NO_KEY,
        Some(None) => NO_EXPIRY,
        Some(Some(at_ms)) => of_expiry(at_ms).cast_signed(),
    });
    Ok(())
}

impl Unit {
    /// So many milliseconds, counted in this unit; to the nearest, as Redis does.
    const fn of_ms(self, ms: u64) -> u64 {
        match self {
            Self::Seconds => ms.saturating_add(500) / 1000,
            Self::Milliseconds => ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        condition: ExpireCondition,
        against_none: bool,
        against_same_later_earlier: [bool; 3],
    ) {
        assert_eq!(is_wanted(condition, 5, None), against_none, "{condition:?}, none");
        for (old_ms, expected) in [5, 4, 6].into_iter().zip(against_same_later_earlier) {
            let found = is_wanted(condition, 5, Some(old_ms));
            assert_eq!(found, expected, "{condition:?}, 5 against {old_ms}");
        }
    }

    #[test]
    fn a_key_without_expiry_lives_longer_than_any() {
        check(ExpireCondition::Always, true, [true, true, true]);
        check(ExpireCondition::Absent, true, [false, false, false]);
        check(ExpireCondition::Present, false, [true, true, true]);
        check(ExpireCondition::Later, false, [false, true, false]);
        check(ExpireCondition::Earlier, true, [false, false, true]);
        check(ExpireCondition::PresentAndEarlier, false, [false, false, true]);
    }
}
