//! The commands about the bits of values: their rows and their readers.
//!
//! Knows nothing of how a bit is found in a value.
//! Source: bitops.c of Redis 7.0.15. It looks for the key before it judges the range of BITCOUNT
//! and BITPOS, and forgives a wrong one where there is no key; here a wrong one is always refused,
//! as in Redis 7.2.

use super::Command;
use super::catalogue::{Access, DENY_OOM, FAST, Group, READ_ONLY, Read, Reader, Row, WRITE};
use super::option::is_word;
use crate::arguments::Arguments;
use crate::number::parse_integer;
use crate::refusal::Refusal;

/// A command whose one key is its first argument.
const fn row(name: &'static str, arity: i32, read: Reader) -> Row {
    Row::new(Group::Bitmap, name, arity, read).keys(1, 1, 1)
}

/// The rows of the commands about bits.
pub(super) const ROWS: &[Row] = &[
    row("setbit", 4, setbit)
        .about("2.2.0", "Sets or clears a bit of the value of a key.")
        .flags(WRITE.and(DENY_OOM)),
    row("getbit", 3, getbit)
        .about("2.2.0", "Returns a bit of the value of a key.")
        .flags(READ_ONLY.and(FAST)),
    row("bitcount", -2, bitcount)
        .about("2.6.0", "Counts the set bits of the value of a key.")
        .flags(READ_ONLY),
    row("bitpos", -3, bitpos)
        .about("2.8.7", "Finds the first set or clear bit of the value of a key.")
        .flags(READ_ONLY),
    row("bitop", -4, bitop)
        .about("2.6.0", "Joins the values of keys bit by bit, and stores what comes of it.")
        .flags(WRITE.and(DENY_OOM))
        .keys(2, -1, 1)
        .accesses(Access::OVERWRITES, Access::READS),
    row("bitfield", -2, |arguments| bitfield(arguments, false))
        .about("3.2.0", "Reads and writes integers of any width within the value of a key.")
        .flags(WRITE.and(DENY_OOM)),
    row("bitfield_ro", -2, |arguments| bitfield(arguments, true))
        .about("6.0.0", "Reads integers of any width within the value of a key.")
        .flags(READ_ONLY.and(FAST)),
];

/// The commands about the bits of values.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "the line of a variant tells of its fields")]
pub enum Bits<'a> {
    /// SETBIT: answers the bit that was there.
    Set { key: &'a [u8], offset: u64, is_set: bool },
    /// GETBIT.
    Get { key: &'a [u8], offset: u64 },
    /// BITCOUNT; without a range of all of the value.
    Count { key: &'a [u8], range: Option<BitRange> },
    /// BITPOS: where the first bit that is set, or not set, stands.
    Position { key: &'a [u8], is_set: bool, range: Option<BitRange> },
    /// BITOP; NOT has one key to take from.
    Operate { operation: BitOperation, to: &'a [u8], from: Arguments<'a> },
    /// BITFIELD and BITFIELD_RO; where nothing is written, no key is made.
    Fields { key: &'a [u8], changes: FieldChanges<'a>, has_writes: bool },
}

/// A stretch of a value: both ends belong to it, and negative ones count from the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitRange {
    /// The first of it.
    pub start: i64,
    /// The last of it; `None` where only BITPOS named no end, so that the value counts as followed
    /// by zeroes.
    pub end: Option<i64>,
    /// Whether bits are counted, not bytes.
    pub is_in_bits: bool,
}

/// What BITOP does with the bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BitOperation {
    /// Set where all are.
    And,
    /// Set where any is.
    Or,
    /// Set where an odd number of them are.
    Xor,
    /// Set where the only one is not.
    Not,
}

/// An integer of so many bits within a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its first bit.
    pub offset: u64,
    /// Its width: 1 to 64, signed, or to 63.
    pub bits: u32,
    /// Whether it may be negative.
    pub is_signed: bool,
}

/// What becomes of a number that does not fit its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// Its low bits stay.
    Wrap,
    /// The nearest number that fits is taken.
    Saturate,
    /// Nothing is written, and the answer is null.
    Fail,
}

/// What BITFIELD does with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the line of a variant tells of its fields")]
pub enum FieldChange {
    /// GET: answers it.
    Get,
    /// SET: writes `value`, and answers what was there.
    Set { value: i64, overflow: Overflow },
    /// INCRBY: adds `by`, and answers the sum.
    Increment { by: i64, overflow: Overflow },
}

/// The operations of a BITFIELD, in their order.
///
/// # Invariants
/// - `readable`: each of them was read once without a refusal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FieldChanges<'a>(Arguments<'a>);

impl FieldChanges<'_> {
    /// Each field, and what is done with it.
    pub fn iter(self) -> impl Iterator<Item = (Field, FieldChange)> {
        // By `readable` none is lost.
        FieldReader::new(self.0).map_while(Result::ok)
    }
}

fn setbit<'a>(arguments: Arguments<'a>) -> Read<'a> {
    let offset = read_offset(arguments.at(2))?;
    let is_set = match parse_integer(arguments.at(3)) {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(Refusal::BitOutOfRange),
    };
    Ok(Command::Bits(Bits::Set { key: arguments.at(1), offset, is_set }))
}

fn getbit<'a>(arguments: Arguments<'a>) -> Read<'a> {
    let offset = read_offset(arguments.at(2))?;
    Ok(Command::Bits(Bits::Get { key: arguments.at(1), offset }))
}

fn read_offset<'a>(bytes: &[u8]) -> Result<u64, Refusal<'a>> {
    let offset = parse_integer(bytes).and_then(|offset| u64::try_from(offset).ok());
    offset.ok_or(Refusal::BitOffsetOutOfRange)
}

fn bitcount<'a>(arguments: Arguments<'a>) -> Read<'a> {
    let range = match arguments.len() {
        2 => None,
        4 | 5 => Some(read_range(arguments.skip(2))?),
        _ => return Err(Refusal::Syntax),
    };
    Ok(Command::Bits(Bits::Count { key: arguments.at(1), range }))
}

fn bitpos<'a>(arguments: Arguments<'a>) -> Read<'a> {
    let is_set = match parse_integer(arguments.at(2)).ok_or(Refusal::NotAnInteger)? {
        0 => false,
        1 => true,
        _ => return Err(Refusal::BitIsNoBit),
    };
    let range = match arguments.len() {
        3 => None,
        4..=6 => Some(read_range(arguments.skip(3))?),
        _ => return Err(Refusal::Syntax),
    };
    Ok(Command::Bits(Bits::Position { key: arguments.at(1), is_set, range }))
}

/// `start [end [BYTE|BIT]]`.
fn read_range<'a>(arguments: Arguments<'a>) -> Result<BitRange, Refusal<'a>> {
    let number = |bytes| parse_integer(bytes).ok_or(Refusal::NotAnInteger);
    let start = number(arguments.at(0))?;
    let end = arguments.get(1).map(number).transpose()?;
    let is_in_bits = match arguments.get(2) {
        None => false,
        Some(word) if is_word(word, "byte") => false,
        Some(word) if is_word(word, "bit") => true,
        Some(_) => return Err(Refusal::Syntax),
    };
    Ok(BitRange { start, end, is_in_bits })
}

fn bitop<'a>(arguments: Arguments<'a>) -> Read<'a> {
    let word = arguments.at(1);
    let operation = match word {
        _ if is_word(word, "and") => BitOperation::And,
        _ if is_word(word, "or") => BitOperation::Or,
        _ if is_word(word, "xor") => BitOperation::Xor,
        _ if is_word(word, "not") => BitOperation::Not,
        _ => return Err(Refusal::Syntax),
    };
    if operation == BitOperation::Not && arguments.len() != 4 {
        return Err(Refusal::BitOpNotOfMany);
    }
    let (to, from) = (arguments.at(2), arguments.skip(3));
    Ok(Command::Bits(Bits::Operate { operation, to, from }))
}

fn bitfield<'a>(arguments: Arguments<'a>, is_read_only: bool) -> Read<'a> {
    let changes = arguments.skip(2);
    let mut has_writes = false;
    for change in FieldReader::new(changes) {
        has_writes |= change?.1 != FieldChange::Get;
    }
    if is_read_only && has_writes {
        return Err(Refusal::BitFieldReadOnly);
    }
    let (key, changes) = (arguments.at(1), FieldChanges(changes));
    Ok(Command::Bits(Bits::Fields { key, changes, has_writes }))
}

/// Walks the operations of a BITFIELD from left to right; an OVERFLOW counts for those behind it.
struct FieldReader<'a> {
    left: Arguments<'a>,
    overflow: Overflow,
}

impl<'a> FieldReader<'a> {
    fn new(left: Arguments<'a>) -> Self {
        FieldReader { left, overflow: Overflow::Wrap }
    }

    /// The operation that begins with `word`, and how many arguments it has.
    fn read(&self, word: &[u8]) -> Result<((Field, FieldChange), usize), Refusal<'a>> {
        let count = if is_word(word, "get") { 3 } else { 4 };
        let is_known = count == 3 || is_word(word, "set") || is_word(word, "incrby");
        if !is_known || self.left.len() < count {
            return Err(Refusal::Syntax);
        }
        let (is_signed, bits) = read_kind(self.left.at(1)).ok_or(Refusal::BitFieldType)?;
        let offset = read_field_offset(self.left.at(2), bits)?;
        let number = || parse_integer(self.left.at(3)).ok_or(Refusal::NotAnInteger);
        let overflow = self.overflow;
        let change = match () {
            () if is_word(word, "set") => FieldChange::Set { value: number()?, overflow },
            () if is_word(word, "incrby") => FieldChange::Increment { by: number()?, overflow },
            () => FieldChange::Get,
        };
        Ok(((Field { offset, bits, is_signed }, change), count))
    }
}

impl<'a> Iterator for FieldReader<'a> {
    type Item = Result<(Field, FieldChange), Refusal<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let word = self.left.get(0)?;
            if !(is_word(word, "overflow") && self.left.len() >= 2) {
                let read = self.read(word);
                let count = read.as_ref().map_or(self.left.len(), |(_, count)| *count);
                self.left = self.left.skip(count);
                return Some(read.map(|(change, _)| change));
            }
            let how = self.left.at(1);
            self.left = self.left.skip(2);
            self.overflow = match how {
                _ if is_word(how, "wrap") => Overflow::Wrap,
                _ if is_word(how, "sat") => Overflow::Saturate,
                _ if is_word(how, "fail") => Overflow::Fail,
                _ => return Some(Err(Refusal::BitFieldOverflow)),
            };
        }
    }
}

/// Whether a field of type `i8` or `u8` is signed, and its width.
fn read_kind(kind: &[u8]) -> Option<(bool, u32)> {
    let (is_signed, digits, most) = match kind {
        [b'i', digits @ ..] => (true, digits, 64),
        // One bit less, because the answer is a signed integer.
        [b'u', digits @ ..] => (false, digits, 63),
        _ => return None,
    };
    let bits = u32::try_from(parse_integer(digits)?).ok()?;
    (1..=most).contains(&bits).then_some((is_signed, bits))
}

/// `#3` is the fourth field of this width, `3` the fourth bit.
fn read_field_offset<'a>(bytes: &[u8], bits: u32) -> Result<u64, Refusal<'a>> {
    match bytes {
        [b'#', digits @ ..] => {
            let fields = read_offset(digits)?;
            fields.checked_mul(bits.into()).ok_or(Refusal::BitOffsetOutOfRange)
        }
        digits => read_offset(digits),
    }
}
