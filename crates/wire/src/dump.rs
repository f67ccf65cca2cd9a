//! The form in which servers of Redis's kind exchange a value: what DUMP writes and RESTORE reads.
//!
//! ```text
//!   type 1 | length, or a mark | value or its packed form | version 2 | CRC-64 of all before 8
//!
//!   length   00xxxxxx                 6 bits
//!            01xxxxxx 8               14 bits, the high ones first
//!            10000000 32              32 bits, the high byte first
//!            10000001 64              64 bits, the high byte first
//!   mark     110000kk                 an integer of 8, 16 or 32 bits, the low byte first
//!            11000011 length length   packed by LZF: how long it is, how long it was
//! ```
//!
//! Promises: what is written is read again, here and by Redis 7 and what came after it. What is
//! read is believed in nothing: a length is checked before anything is reserved for it.
//! Knows nothing of values that are no strings: here there are none.
//! Source: rdb.c, crc64.c and lzf_d.c of Redis 7.0.15.

use crate::number::parse_integer;

/// The version of the form that is written: that of Redis 7.0.
const VERSION: u16 = 10;

/// The newest version that is read: Valkey 9 counts from 80 on, so that its dumps are not taken for
/// a later Redis's. In all of them a string looks the same.
const VERSION_MOST: u16 = 80;

/// The type of a string.
const STRING: u8 = 0;

/// The longest text that Redis tries as an integer: `-2147483648`.
const INTEGER_BYTES_MOST: usize = 11;

/// Why a dump cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is cut, changed or of a version that we do not know.
    Foot,
    /// It is whole, and no string.
    Body,
}

/// Appends the dump of `value` to `out`.
pub fn write(value: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.push(STRING);
    if !write_integer(value, out) {
        write_length(value.len(), out);
        out.extend_from_slice(value);
    }
    out.extend_from_slice(&VERSION.to_le_bytes());
    let sum = checksum(&out[start..]);
    out.extend_from_slice(&sum.to_le_bytes());
}

/// The value in `dump`, which may have `bytes_most` at most.
///
/// # Errors
/// It is damaged, or no string.
pub fn read(dump: &[u8], bytes_most: u64) -> Result<Vec<u8>, Unreadable> {
    let (rest, sum) = dump.split_last_chunk::<8>().ok_or(Unreadable::Foot)?;
    let (body, version) = rest.split_last_chunk::<2>().ok_or(Unreadable::Foot)?;
    let is_whole = checksum(rest) == u64::from_le_bytes(*sum);
    if !is_whole || u16::from_le_bytes(*version) > VERSION_MOST {
        return Err(Unreadable::Foot);
    }
    let (kind, mut body) = body.split_first().ok_or(Unreadable::Body)?;
    let value = match *kind {
        STRING => read_string(&mut body, bytes_most),
        _ => None,
    };
    value.filter(|_| body.is_empty()).ok_or(Unreadable::Body)
}

/// Appends `value` as an integer, if it is the text of one of 32 bits.
fn write_integer(value: &[u8], out: &mut Vec<u8>) -> bool {
    if value.len() > INTEGER_BYTES_MOST {
        return false;
    }
    let Some(number) = parse_integer(value).and_then(|number| i32::try_from(number).ok()) else {
        return false;
    };
    let bytes = number.to_le_bytes();
    let (mark, count) = match number {
        -0x80..=0x7f => (0, 1),
        -0x8000..=0x7fff => (1, 2),
        _ => (2, 4),
    };
    out.push(0xc0 | mark);
    out.extend_from_slice(&bytes[..count]);
    true
}

fn write_length(length: usize, out: &mut Vec<u8>) {
    match length {
        0..0x40 => out.push(length as u8),
        0x40..0x4000 => out.extend_from_slice(&(length as u16 | 0x4000).to_be_bytes()),
        _ => match u32::try_from(length) {
            Ok(short) => {
                out.push(0x80);
                out.extend_from_slice(&short.to_be_bytes());
            }
            Err(_) => {
                out.push(0x81);
                out.extend_from_slice(&(length as u64).to_be_bytes());
            }
        },
    }
}

/// What stands where a length is expected.
enum Length {
    Plain(u64),
    /// An integer of as many bytes.
    Integer(usize),
    Packed,
}

fn read_string(body: &mut &[u8], bytes_most: u64) -> Option<Vec<u8>> {
    match read_length(body)? {
        Length::Plain(bytes) => Some(take(body, bytes)?.to_vec()),
        Length::Integer(bytes) => {
            let mut wide = [0; 8];
            let digits = take(body, bytes as u64)?;
            wide[8 - bytes..].copy_from_slice(digits);
            // The sign comes down with the shift.
            let number = i64::from_le_bytes(wide) >> (64 - 8 * bytes);
            Some(number.to_string().into_bytes())
        }
        Length::Packed => {
            let (packed, bytes) = (read_length(body)?, read_length(body)?);
            let (Length::Plain(packed), Length::Plain(bytes)) = (packed, bytes) else {
                return None;
            };
            if bytes > bytes_most {
                return None;
            }
            unpack(take(body, packed)?, usize::try_from(bytes).ok()?)
        }
    }
}

fn read_length(body: &mut &[u8]) -> Option<Length> {
    let first = take(body, 1)?[0];
    let low = u64::from(first & 0x3f);
    Some(match (first >> 6, first) {
        (0, _) => Length::Plain(low),
        (1, _) => Length::Plain(low << 8 | u64::from(take(body, 1)?[0])),
        (_, 0x80) => Length::Plain(u32::from_be_bytes(take(body, 4)?.try_into().ok()?).into()),
        (_, 0x81) => Length::Plain(u64::from_be_bytes(take(body, 8)?.try_into().ok()?)),
        (_, 0xc0..=0xc2) => Length::Integer(1 << low),
        (_, 0xc3) => Length::Packed,
        _ => return None,
    })
}

/// The first `bytes` of `body`, which then begins behind them.
fn take<'a>(body: &mut &'a [u8], bytes: u64) -> Option<&'a [u8]> {
    let (taken, rest) = body.split_at_checked(usize::try_from(bytes).ok()?)?;
    *body = rest;
    Some(taken)
}

/// What `packed` was before LZF packed it: `bytes` bytes.
///
/// ```text
///   000nnnnn                     n + 1 bytes follow as they are
///   lllooooo oooooooo            l + 2 bytes that stand o + 1 before
///   111ooooo llllllll oooooooo   l + 9 bytes that stand o + 1 before
/// ```
fn unpack(mut packed: &[u8], bytes: usize) -> Option<Vec<u8>> {
    /// What one byte of a packed value may become at most: 264 of three.
    const GROWTH_MOST: usize = 88;
    if bytes > packed.len().saturating_mul(GROWTH_MOST) {
        return None;
    }
    let mut value = Vec::with_capacity(bytes);
    while let Some((&first, rest)) = packed.split_first() {
        packed = rest;
        if first < 0x20 {
            value.extend_from_slice(take(&mut packed, u64::from(first) + 1)?);
        } else {
            let mut count = usize::from(first >> 5) + 2;
            if count == 9 {
                count += usize::from(take(&mut packed, 1)?[0]);
            }
            let low = usize::from(take(&mut packed, 1)?[0]);
            let away = (usize::from(first & 0x1f) << 8 | low) + 1;
            let from = value.len().checked_sub(away)?;
            // Byte by byte, because what is copied may begin within what it copies.
            (from..from + count).for_each(|at| value.push(value[at]));
        }
        if value.len() > bytes {
            return None;
        }
    }
    (value.len() == bytes).then_some(value)
}

/// The CRC-64 of Jones, its bits reflected, from 0 on.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| SUMS[usize::from(sum as u8 ^ byte)] ^ (sum >> 8))
}

/// The polynomial 0xad93d23594c935a9 with its bits reflected.
const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;

/// The checksum of each byte.
static SUMS: [u64; 256] = sums();

const fn sums() -> [u64; 256] {
    let mut sums = [0; 256];
    let mut byte = 0;
    while byte < sums.len() {
        let mut sum = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ POLYNOMIAL } else { sum >> 1 };
            bit += 1;
        }
        sums[byte] = sum;
        byte += 1;
    }
    sums
}

#[cfg(test)]
mod tests;
