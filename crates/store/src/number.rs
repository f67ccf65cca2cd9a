//! Decimal numbers as Redis takes them: canonical, 64 bits, signed.
//!
//! Source: `string2ll` of Redis, which takes no blanks, no plus sign and no leading zeros.

use crate::Error;

/// Returns the number, or `None` if it is not written as a number is printed.
pub(crate) fn parse(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_canonical = match digits.as_bytes() {
        [b'0'] => text.len() == 1,
        [b'1'..=b'9', ..] => true,
        _ => false,
    };
    if is_canonical { text.parse().ok() } else { None }
}

/// Adds, or says that the sum does not fit.
pub(crate) fn add(number: i64, by: i64) -> Result<i64, Error> {
    number.checked_add(by).ok_or(Error::Overflow)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_number_prints_as_is_a_number() {
        for (text, number) in [("0", 0), ("-1", -1), ("42", 42), ("9223372036854775807", i64::MAX)]
        {
            assert_eq!(parse(text.as_bytes()), Some(number));
        }
        for text in ["", "-", "+1", "01", "-0", " 1", "1 ", "1.0", "9223372036854775808", "1a"] {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
        assert!(matches!(add(i64::MAX, 1), Err(Error::Overflow)));
    }
}
