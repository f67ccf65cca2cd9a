//! The commands about values: their rows and their readers.
//!
//! Knows nothing of how a value is kept.
//! Source: t_string.c of Redis 7.0.15, for which options go together and what is judged first.

use super::catalogue::{Access, DENY_OOM, FAST, Group, READ_ONLY, Read, Reader, Row, WRITE};
use super::expiry::{Clock, read_expiry};
use super::option::{Options, is_word};
use super::{Command, Condition, Expiry, GetEx, Set};
use crate::arguments::{Arguments, Pairs};
use crate::number::{Decimal, parse_integer};
use crate::refusal::Refusal;

/// A command whose one key is its first argument.
const fn row(name: &'static str, arity: i32, read: Reader) -> Row {
    Row::new(Group::String, name, arity, read).keys(1, 1, 1)
}

/// The rows of the commands about values.
pub(super) const ROWS: &[Row] = &[
    row("get", 2, |arguments| Ok(Command::Get { key: arguments.at(1) }))
        .about("1.0.0", "Returns the value of a key.")
        .flags(READ_ONLY.and(FAST)),
    row("set", -3, set)
        .about("1.0.0", "Sets the value of a key, and what its options say.")
        .flags(WRITE.and(DENY_OOM))
        .access(Access::OVERWRITES),
    row("setnx", 3, setnx)
        .about("1.0.0", "Sets the value of a key if the key is not there.")
        .flags(WRITE.and(DENY_OOM).and(FAST))
        .access(Access::INSERTS),
    row("setex", 4, |arguments| set_expiring(arguments, Clock::After, "setex"))
        .about("2.0.0", "Sets the value of a key, and how many seconds it lives.")
        .flags(WRITE.and(DENY_OOM))
        .access(Access::OVERWRITES),
    row("psetex", 4, |arguments| set_expiring(arguments, Clock::AfterMs, "psetex"))
        .about("2.6.0", "Sets the value of a key, and how many milliseconds it lives.")
        .flags(WRITE.and(DENY_OOM))
        .access(Access::OVERWRITES),
    row("getset", 3, getset)
        .about("1.0.0", "Sets the value of a key and returns the old one.")
        .flags(WRITE.and(DENY_OOM).and(FAST)),
    row("getdel", 2, |arguments| Ok(Command::GetDel { key: arguments.at(1) }))
        .about("6.2.0", "Returns the value of a key and deletes the key.")
        .flags(WRITE.and(FAST))
        .access(Access::TAKES),
    row("getex", -2, getex)
        .about("6.2.0", "Returns the value of a key and may change its expiry.")
        .flags(WRITE.and(FAST)),
    row("mget", -2, |arguments| Ok(Command::MGet { keys: arguments.skip(1) }))
        .about("1.0.0", "Returns the values of several keys.")
        .flags(READ_ONLY.and(FAST))
        .keys(1, -1, 1),
    row("mset", -3, |arguments| Ok(Command::MSet { pairs: read_pairs(arguments, "mset")? }))
        .about("1.0.1", "Sets the values of several keys at once.")
        .flags(WRITE.and(DENY_OOM))
        .access(Access::OVERWRITES)
        .keys(1, -1, 2),
    row("msetnx", -3, |arguments| Ok(Command::MSetNx { pairs: read_pairs(arguments, "msetnx")? }))
        .about("1.0.1", "Sets the values of several keys if none of them is there.")
        .flags(WRITE.and(DENY_OOM))
        .access(Access::INSERTS)
        .keys(1, -1, 2),
    row("append", 3, append)
        .about("2.0.0", "Appends to the value of a key.")
        .flags(WRITE.and(DENY_OOM).and(FAST))
        .access(Access::GROWS),
    row("strlen", 2, |arguments| Ok(Command::StrLen { key: arguments.at(1) }))
        .about("2.2.0", "Returns the length of the value of a key.")
        .flags(READ_ONLY.and(FAST))
        .access(Access::LOOKS),
    row("incr", 2, |arguments| Ok(Command::Increment { key: arguments.at(1), by: 1 }))
        .about("1.0.0", "Adds one to the number that a key has.")
        .flags(WRITE.and(DENY_OOM).and(FAST)),
    row("decr", 2, |arguments| Ok(Command::Increment { key: arguments.at(1), by: -1 }))
        .about("1.0.0", "Takes one from the number that a key has.")
        .flags(WRITE.and(DENY_OOM).and(FAST)),
    row("incrby", 3, incrby)
        .about("1.0.0", "Adds to the number that a key has.")
        .flags(WRITE.and(DENY_OOM).and(FAST)),
    row("decrby", 3, decrby)
        .about("1.0.0", "Takes from the number that a key has.")
        .flags(WRITE.and(DENY_OOM).and(FAST)),
    row("incrbyfloat", 3, incrbyfloat)
        .about("2.6.0", "Adds a fraction to the number that a key has.")
        .flags(WRITE.and(DENY_OOM).and(FAST)),
    row("setrange", 4, setrange)
        .about("2.2.0", "Writes over a part of the value of a key.")
        .flags(WRITE.and(DENY_OOM))
        .access(Access::ALTERS),
    row("getrange", 4, getrange)
        .about("2.4.0", "Returns a part of the value of a key.")
        .flags(READ_ONLY),
    row("substr", 4, getrange)
        .about("1.0.0", "Returns a part of the value of a key: the old name of GETRANGE.")
        .flags(READ_ONLY),
];

fn read_integer<'a>(bytes: &'a [u8]) -> Result<i64, Refusal<'a>> {
    parse_integer(bytes).ok_or(Refusal::NotAnInteger)
}

/// The options are read first and the number behind EX last, as Redis does: `SET k v EX x NX XX` is
/// a syntax error.
fn set<'a>(arguments: Arguments<'a>) -> Read<'a> {
    let mut options = Options::behind(3, arguments);
    let mut condition = Condition::Always;
    let mut lifetime = Lifetime::Unsaid;
    let mut is_get = false;
    while let Some(word) = options.next() {
        if is_word(word, "nx") && condition != Condition::Present {
            condition = Condition::Absent;
        } else if is_word(word, "xx") && condition != Condition::Absent {
            condition = Condition::Present;
        } else if is_word(word, "get") {
            is_get = true;
        } else if is_word(word, "keepttl") {
            lifetime = lifetime.plain(Expiry::Keep)?;
        } else {
            lifetime = lifetime.timed(word, &mut options)?;
        }
    }
    let expiry = lifetime.expiry(Expiry::Clear, "set")?;
    let (key, value) = (arguments.at(1), arguments.at(2));
    Ok(Command::Set(Set { key, value, condition, expiry, is_get }))
}

fn getex<'a>(arguments: Arguments<'a>) -> Read<'a> {
    let mut options = Options::behind(2, arguments);
    let mut lifetime = Lifetime::Unsaid;
    while let Some(word) = options.next() {
        lifetime = if is_word(word, "persist") {
            lifetime.plain(Expiry::Clear)?
        } else {
            lifetime.timed(word, &mut options)?
        };
    }
    let expiry = lifetime.expiry(Expiry::Keep, "getex")?;
    Ok(Command::GetEx(GetEx { key: arguments.at(1), expiry }))
}

/// What the options of SET or GETEX say about the expiry, so far. They may repeat themselves, but
/// not contradict each other.
#[derive(Clone, Copy)]
enum Lifetime<'a> {
    /// Nothing.
    Unsaid,
    /// KEEPTTL or PERSIST.
    Plain(Expiry),
    /// EX, PX, EXAT or PXAT, with a number that is not read yet.
    Timed(Clock, &'a [u8]),
}

impl<'a> Lifetime<'a> {
    fn plain(self, expiry: Expiry) -> Result<Self, Refusal<'a>> {
        match self {
            Lifetime::Timed(..) => Err(Refusal::Syntax),
            _ => Ok(Lifetime::Plain(expiry)),
        }
    }

    fn timed(self, word: &[u8], options: &mut Options<'a>) -> Result<Self, Refusal<'a>> {
        let clock = match word {
            _ if is_word(word, "ex") => Clock::After,
            _ if is_word(word, "px") => Clock::AfterMs,
            _ if is_word(word, "exat") => Clock::At,
            _ if is_word(word, "pxat") => Clock::AtMs,
            _ => return Err(Refusal::Syntax),
        };
        match self {
            Lifetime::Plain(_) => Err(Refusal::Syntax),
            Lifetime::Timed(other, _) if other != clock => Err(Refusal::Syntax),
            _ => Ok(Lifetime::Timed(clock, options.value()?)),
        }
    }

    fn expiry(self, unsaid: Expiry, command: &'static str) -> Result<Expiry, Refusal<'a>> {
        match self {
            Lifetime::Unsaid => Ok(unsaid),
            Lifetime::Plain(expiry) => Ok(expiry),
            Lifetime::Timed(clock, count) => read_expiry(count, clock, command),
        }
    }
}

fn set_expiring<'a>(arguments: Arguments<'a>, clock: Clock, command: &'static str) -> Read<'a> {
    let expiry = read_expiry(arguments.at(2), clock, command)?;
    let (key, value) = (arguments.at(1), arguments.at(3));
    Ok(Command::Set(Set { key, value, condition: Condition::Always, expiry, is_get: false }))
}

fn setnx<'a>(arguments: Arguments<'a>) -> Read<'a> {
    Ok(Command::SetNx { key: arguments.at(1), value: arguments.at(2) })
}

fn getset<'a>(arguments: Arguments<'a>) -> Read<'a> {
    let (key, value) = (arguments.at(1), arguments.at(2));
    let (condition, expiry) = (Condition::Always, Expiry::Clear);
    Ok(Command::Set(Set { key, value, condition, expiry, is_get: true }))
}

fn read_pairs<'a>(
    arguments: Arguments<'a>,
    command: &'static str,
) -> Result<Pairs<'a>, Refusal<'a>> {
    Pairs::new(arguments.skip(1)).ok_or(Refusal::WrongArity { command })
}

fn append<'a>(arguments: Arguments<'a>) -> Read<'a> {
    Ok(Command::Append { key: arguments.at(1), value: arguments.at(2) })
}

fn incrby<'a>(arguments: Arguments<'a>) -> Read<'a> {
    Ok(Command::Increment { key: arguments.at(1), by: read_integer(arguments.at(2))? })
}

fn decrby<'a>(arguments: Arguments<'a>) -> Read<'a> {
    let by = read_integer(arguments.at(2))?.checked_neg().ok_or(Refusal::DecrementOverflow)?;
    Ok(Command::Increment { key: arguments.at(1), by })
}

fn incrbyfloat<'a>(arguments: Arguments<'a>) -> Read<'a> {
    let by = Decimal::parse(arguments.at(2)).ok_or(Refusal::NotAFloat)?;
    Ok(Command::IncrementFloat { key: arguments.at(1), by })
}

fn setrange<'a>(arguments: Arguments<'a>) -> Read<'a> {
    let offset = read_integer(arguments.at(2))?;
    let offset = u64::try_from(offset).map_err(|_| Refusal::OffsetOutOfRange)?;
    Ok(Command::SetRange { key: arguments.at(1), offset, value: arguments.at(3) })
}

fn getrange<'a>(arguments: Arguments<'a>) -> Read<'a> {
    let (start, end) = (read_integer(arguments.at(2))?, read_integer(arguments.at(3))?);
    Ok(Command::GetRange { key: arguments.at(1), start, end })
}
