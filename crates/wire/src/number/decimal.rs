//! Numbers with a fraction, as INCRBYFLOAT adds them.
//!
//! ```text
//!    12.5  =  12.50000000000000000  =  1250000000000000000 * 10^-17   one i128, exact
//!    1e30  =  beyond 10^21          =  an f64
//! ```
//!
//! Promises: a sum of numbers below 10^21 with 17 decimals or fewer is exact, on every machine, and
//! prints without exponent and without zeros at its end. Beyond that it is a sum of doubles.
//! Source: Redis adds 80-bit floats and prints `%.17Lf` without the zeros at its end; it
//! agrees with this wherever its 64 bits of mantissa are exact enough.

use std::io::Write;

use super::{DIGITS_MOST, unsigned_digits};

/// Decimals that are kept, as many as Redis prints.
const DECIMALS: usize = 17;

/// One, in units of the last decimal.
const ONE: u128 = 10_u128.pow(DECIMALS as u32);

/// Exact numbers are smaller than this, in units of the last decimal: 10^21, so that the sum of two
/// is far from the end of an `i128`.
const EXACT_MOST: u128 = 10_u128.pow(21) * ONE;

/// The longest text that is taken for a number, as in Redis.
const TEXT_BYTES_MOST: usize = 5 * 1024;

/// A number with a fraction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decimal(Form);

/// How a number is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    /// In units of the last decimal.
    Exact(i128),
    /// Too large to be exact; may be infinite, never NaN.
    Wide(f64),
}

impl Decimal {
    /// The number that all of `bytes` spell, or `None`: what `value is not a valid float` is about.
    ///
    /// An exponent and `inf` are numbers; NaN, blanks and hexadecimal digits are none.
    pub fn parse(bytes: &[u8]) -> Option<Decimal> {
        if bytes.len() > TEXT_BYTES_MOST {
            return None;
        }
        let wide: f64 = std::str::from_utf8(bytes).ok()?.parse().ok()?;
        let is_spelled_out = bytes.iter().any(|byte| matches!(byte, b'i' | b'I'));
        if wide.is_nan() || (wide.is_infinite() && !is_spelled_out) {
            return None;
        }
        Some(Decimal(exact(bytes).map_or(Form::Wide(wide), Form::Exact)))
    }

    /// The sum, or `None` when it is no finite number.
    pub fn checked_add(self, other: Decimal) -> Option<Decimal> {
        if let (Form::Exact(a), Form::Exact(b)) = (self.0, other.0) {
            let sum = a + b;
            if sum.unsigned_abs() < EXACT_MOST {
                return Some(Decimal(Form::Exact(sum)));
            }
        }
        let sum = self.wide() + other.wide();
        sum.is_finite().then_some(Decimal(Form::Wide(sum)))
    }

    /// Appends the number without exponent and without zeros at its end.
    pub fn write(self, out: &mut Vec<u8>) {
        match self.0 {
            Form::Exact(units) => write_exact(units, out),
            // A double of this size has no fraction, and prints without an exponent.
            Form::Wide(value) => {
                write!(out, "{value}").expect("writing to a Vec cannot fail");
            }
        }
    }

    fn wide(self) -> f64 {
        match self.0 {
            Form::Exact(units) => units as f64 / ONE as f64,
            Form::Wide(value) => value,
        }
    }
}

/// The units that `bytes` spell, rounded half away from zero, or `None` when they are too many.
/// `bytes` spell a number: sign, digits with a point, exponent.
fn exact(bytes: &[u8]) -> Option<i128> {
    let (is_negative, unsigned) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let end = unsigned.iter().position(|byte| matches!(byte, b'e' | b'E'));
    let (mantissa, exponent) = unsigned.split_at(end.unwrap_or(unsigned.len()));
    let exponent: i64 = match exponent {
        [] => 0,
        [_, digits @ ..] => std::str::from_utf8(digits).ok()?.parse().ok()?,
    };
    let whole = mantissa.iter().position(|&byte| byte == b'.').unwrap_or(mantissa.len());
    // The place of the first digit: 0 for ones, 1 for tens, -1 for tenths.
    let mut place = (whole as i64 - 1).checked_add(exponent)?;
    let mut units = 0_u128;
    for &byte in mantissa.iter().filter(|&&byte| byte != b'.') {
        if !byte.is_ascii_digit() {
            return None;
        }
        let digit = u128::from(byte - b'0');
        let shift = place + DECIMALS as i64;
        match shift {
            _ if digit == 0 => {}
            0.. => {
                let weight = 10_u128.checked_pow(u32::try_from(shift).ok()?)?;
                units = units.checked_add(digit.checked_mul(weight)?)?;
            }
            -1 if digit >= 5 => units = units.checked_add(1)?,
            _ => {}
        }
        place = place.checked_sub(1)?;
    }
    let units = i128::try_from(units).ok().filter(|units| units.unsigned_abs() < EXACT_MOST)?;
    Some(if is_negative { -units } else { units })
}

fn write_exact(units: i128, out: &mut Vec<u8>) {
    if units < 0 {
        out.push(b'-');
    }
    let (whole, mut fraction) = (units.unsigned_abs() / ONE, units.unsigned_abs() % ONE);
    // Below 10^21 the whole part has 21 digits at most: one more than a `u64` is sure to hold.
    let (high, low) = ((whole / HALF) as u64, (whole % HALF) as u64);
    let mut buffer = [0; DIGITS_MOST];
    if high > 0 {
        out.extend_from_slice(unsigned_digits(high, &mut buffer));
        write_padded(low, HALF_DIGITS, out);
    } else {
        out.extend_from_slice(unsigned_digits(low, &mut buffer));
    }
    if fraction > 0 {
        let mut decimals = DECIMALS;
        while fraction.is_multiple_of(10) {
            fraction /= 10;
            decimals -= 1;
        }
        out.push(b'.');
        write_padded(fraction as u64, decimals, out);
    }
}

/// Digits of the low part when a whole part is written as two.
const HALF_DIGITS: usize = 18;

/// What the high part counts.
const HALF: u128 = 10_u128.pow(HALF_DIGITS as u32);

/// Appends `value` with zeros before it, `width` digits in all.
fn write_padded(value: u64, width: usize, out: &mut Vec<u8>) {
    let mut buffer = [0; DIGITS_MOST];
    let digits = unsigned_digits(value, &mut buffer);
    out.extend(std::iter::repeat_n(b'0', width.saturating_sub(digits.len())));
    out.extend_from_slice(digits);
}
