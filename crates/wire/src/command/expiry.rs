//! When a key shall die: the times that commands name, and the commands that only name a time.
//!
//! Promises: every deadline that leaves this file fits in an `i64` of unix milliseconds, so nobody
//! behind it meets an overflow.
//! Knows no clock: a deadline that counts from now waits for its caller to say when that is.

use super::catalogue::{Access, FAST, Group, READ_ONLY, Read, Reader, Row, WRITE};
use super::option::is_word;
use super::{Command, Expiry::At};
use crate::arguments::Arguments;
use crate::number::parse_integer;
use crate::refusal::Refusal;

/// The most milliseconds that a deadline may lie ahead of now: `i64::MAX` less the year 10889,
/// so that "now" can be added without looking. Redis refuses beyond `i64::MAX` less its own now.
const AHEAD_MS_MOST: i64 = i64::MAX - (1 << 48);

/// A moment in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// So many milliseconds from now; 0 and less have passed already.
    AfterMs(i64),
    /// At this unix time in milliseconds; it may have passed already, and may be negative.
    AtMs(i64),
}

impl Deadline {
    /// The deadline as a unix time in milliseconds, given that it is `now_ms`.
    ///
    /// What lies before 1970 becomes 0, which has passed as well.
    pub fn resolve(self, now_ms: u64) -> u64 {
        match self {
            Deadline::AfterMs(ahead) => now_ms.saturating_add_signed(ahead),
            Deadline::AtMs(at) => u64::try_from(at).unwrap_or(0),
        }
    }
}

/// What becomes of the expiry of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The key lives on without one.
    Clear,
    /// It stays as it is.
    Keep,
    /// It is this.
    At(Deadline),
}

/// EXPIRE and its kin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expire<'a> {
    /// The key.
    pub key: &'a [u8],
    /// When it shall die; a deadline that has passed deletes it.
    pub deadline: Deadline,
    /// NX, XX, GT, LT.
    pub condition: ExpireCondition,
}

/// When EXPIRE sets a deadline. A key without one counts as living for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpireCondition {
    /// Whatever is there.
    Always,
    /// NX: only if the key has none.
    Absent,
    /// XX: only if the key has one.
    Present,
    /// GT: only if it is later than the present one.
    Later,
    /// LT: only if it is earlier than the present one.
    Earlier,
    /// XX and LT: only if the key has one, and the new is earlier.
    PresentAndEarlier,
}

/// How a command counts the time that it names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    /// Seconds from now: EX.
    After,
    /// Milliseconds from now: PX.
    AfterMs,
    /// Unix seconds: EXAT.
    At,
    /// Unix milliseconds: PXAT.
    AtMs,
}

impl Clock {
    /// The deadline `count` by this clock, or `None` when it does not fit.
    fn deadline(self, count: i64) -> Option<Deadline> {
        let ms = match self {
            Clock::After | Clock::At => count.checked_mul(1000)?,
            Clock::AfterMs | Clock::AtMs => count,
        };
        match self {
            Clock::At | Clock::AtMs => Some(Deadline::AtMs(ms)),
            Clock::After | Clock::AfterMs => (ms <= AHEAD_MS_MOST).then_some(Deadline::AfterMs(ms)),
        }
    }
}

/// The expiry that an option of SET or GETEX gives: a positive number by `clock`.
pub(super) fn read_expiry<'a>(
    bytes: &'a [u8],
    clock: Clock,
    command: &'static str,
) -> Result<super::Expiry, Refusal<'a>> {
    let count = parse_integer(bytes).ok_or(Refusal::NotAnInteger)?;
    let deadline = clock.deadline(count).filter(|_| count > 0);
    deadline.map(At).ok_or(Refusal::InvalidExpire { command })
}

const fn row(name: &'static str, arity: i32, read: Reader) -> Row {
    Row::new(Group::Generic, name, arity, read).keys(1, 1, 1)
}

/// The rows of the commands that set, tell and take away deadlines.
pub(super) const ROWS: &[Row] = &[
    row("expire", -3, expire)
        .about("1.0.0", "Lets a key expire after so many seconds.")
        .flags(WRITE.and(FAST))
        .access(Access::ALTERS),
    row("pexpire", -3, pexpire)
        .about("2.6.0", "Lets a key expire after so many milliseconds.")
        .flags(WRITE.and(FAST))
        .access(Access::ALTERS),
    row("expireat", -3, expireat)
        .about("1.2.0", "Lets a key expire at a unix time in seconds.")
        .flags(WRITE.and(FAST))
        .access(Access::ALTERS),
    row("pexpireat", -3, pexpireat)
        .about("2.6.0", "Lets a key expire at a unix time in milliseconds.")
        .flags(WRITE.and(FAST))
        .access(Access::ALTERS),
    row("ttl", 2, |arguments| Ok(Command::Ttl { key: arguments.at(1) }))
        .about("1.0.0", "Tells how many seconds a key has left.")
        .flags(READ_ONLY.and(FAST)),
    row("pttl", 2, |arguments| Ok(Command::PTtl { key: arguments.at(1) }))
        .about("2.6.0", "Tells how many milliseconds a key has left.")
        .flags(READ_ONLY.and(FAST)),
    row("expiretime", 2, |arguments| Ok(Command::ExpireTime { key: arguments.at(1) }))
        .about("7.0.0", "Tells the unix time in seconds at which a key expires.")
        .flags(READ_ONLY.and(FAST)),
    row("pexpiretime", 2, |arguments| Ok(Command::PExpireTime { key: arguments.at(1) }))
        .about("7.0.0", "Tells the unix time in milliseconds at which a key expires.")
        .flags(READ_ONLY.and(FAST)),
    row("persist", 2, |arguments| Ok(Command::Persist { key: arguments.at(1) }))
        .about("2.2.0", "Takes the expiry of a key away.")
        .flags(WRITE.and(FAST))
        .access(Access::ALTERS),
];

fn expire<'a>(arguments: Arguments<'a>) -> Read<'a> {
    read_expire(arguments, Clock::After, "expire")
}

fn pexpire<'a>(arguments: Arguments<'a>) -> Read<'a> {
    read_expire(arguments, Clock::AfterMs, "pexpire")
}

fn expireat<'a>(arguments: Arguments<'a>) -> Read<'a> {
    read_expire(arguments, Clock::At, "expireat")
}

fn pexpireat<'a>(arguments: Arguments<'a>) -> Read<'a> {
    read_expire(arguments, Clock::AtMs, "pexpireat")
}

/// EXPIRE by any clock. Its options are judged before its number, as Redis does.
fn read_expire<'a>(arguments: Arguments<'a>, clock: Clock, command: &'static str) -> Read<'a> {
    let condition = read_condition(arguments.skip(3))?;
    let count = parse_integer(arguments.at(2)).ok_or(Refusal::NotAnInteger)?;
    let deadline = clock.deadline(count).ok_or(Refusal::InvalidExpire { command })?;
    Ok(Command::Expire(Expire { key: arguments.at(1), deadline, condition }))
}

/// NX alone; or XX, with one of GT and LT, or each of those alone.
fn read_condition<'a>(options: Arguments<'a>) -> Result<ExpireCondition, Refusal<'a>> {
    let [mut nx, mut xx, mut gt, mut lt] = [false; 4];
    for option in options.iter() {
        let seen = match option {
            _ if is_word(option, "nx") => &mut nx,
            _ if is_word(option, "xx") => &mut xx,
            _ if is_word(option, "gt") => &mut gt,
            _ if is_word(option, "lt") => &mut lt,
            _ => return Err(Refusal::UnsupportedOption { option }),
        };
        *seen = true;
    }
    match (nx, xx, gt, lt) {
        (true, _, _, _) if xx || gt || lt => Err(Refusal::ExpireConditionsWithNx),
        (_, _, true, true) => Err(Refusal::ExpireGtWithLt),
        (true, ..) => Ok(ExpireCondition::Absent),
        (_, _, true, _) => Ok(ExpireCondition::Later),
        (_, true, _, true) => Ok(ExpireCondition::PresentAndEarlier),
        (_, _, _, true) => Ok(ExpireCondition::Earlier),
        (_, true, ..) => Ok(ExpireCondition::Present),
        _ => Ok(ExpireCondition::Always),
    }
}
