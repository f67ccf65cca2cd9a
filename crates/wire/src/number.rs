//! Numbers in texts, read and written as Redis does.
//!
//! Promises: an integer has one spelling (no plus, no leading zero, no `-0`), so what was read is
//! written back byte for byte. Nothing here allocates, but for numbers beyond 10^21.
//! Source: string2ll of Redis; sums of fractions are exact decimals where Redis has the 80 bits of
//! x87, so 0.1 + 0.2 is 0.3 on every machine.

mod decimal;
#[cfg(test)]
mod tests;

pub use decimal::Decimal;

use std::io::Write;

/// Digits of the largest `u64`.
pub(crate) const DIGITS_MOST: usize = 20;

/// The integer that all of `bytes` spell, or `None`: what `value is not an integer or out of
/// range` is about.
pub fn parse_integer(bytes: &[u8]) -> Option<i64> {
    match bytes {
        [b'-', digits @ ..] => {
            let magnitude = parse_unsigned(digits).filter(|&magnitude| magnitude != 0)?;
            0_i64.checked_sub_unsigned(magnitude)
        }
        digits => i64::try_from(parse_unsigned(digits)?).ok(),
    }
}

/// The natural number that all of `bytes` spell, or `None`.
pub(crate) fn parse_unsigned(bytes: &[u8]) -> Option<u64> {
    match bytes {
        [b'0'] => Some(0),
        [b'1'..=b'9', ..] => bytes.iter().try_fold(0_u64, |sum, &byte| {
            let digit = byte.wrapping_sub(b'0');
            let sum = sum.checked_mul(10).filter(|_| digit < 10)?;
            sum.checked_add(digit.into())
        }),
        _ => None,
    }
}

/// Appends `value` in decimal.
pub fn write_integer(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    write_unsigned(out, value.unsigned_abs());
}

/// Appends `value` in decimal.
pub(crate) fn write_unsigned(out: &mut Vec<u8>, value: u64) {
    if value < 10 {
        out.push(b'0' + value as u8);
        return;
    }
    out.extend_from_slice(unsigned_digits(value, &mut [0; DIGITS_MOST]));
}

/// The digits of `value`, at the end of `buffer`.
pub(crate) fn unsigned_digits(mut value: u64, buffer: &mut [u8; DIGITS_MOST]) -> &[u8] {
    let mut start = DIGITS_MOST;
    loop {
        start -= 1;
        buffer[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            return &buffer[start..];
        }
    }
}

/// How many digits `value` has.
pub(crate) fn count_digits(value: u64) -> usize {
    value.checked_ilog10().unwrap_or(0) as usize + 1
}

/// Appends `value` as RESP3 writes doubles: as few digits as tell it from every other, no exponent.
pub(crate) fn write_double(out: &mut Vec<u8>, value: f64) {
    let text = match value {
        f64::INFINITY => "inf",
        f64::NEG_INFINITY => "-inf",
        _ if value.is_nan() => "nan",
        _ => return write!(out, "{value}").expect("writing to a Vec cannot fail"),
    };
    out.extend_from_slice(text.as_bytes());
}
