//! The words of a line, and the numbers among them.
//!
//! ```text
//!   "  get  a b \r\n"   -->   get | a | b        only a space ends a word, and a NUL ends the line
//! ```
//!
//! Promises: nothing is copied, and nothing is kept: words are found as they are asked for, so a
//! line with a million keys costs no more than its bytes.
//! Source: tokenize_command and safe_strtol of memcached 1.6.18. Where that cuts off the upper bits
//! of a number that is too large, ours is no number.

use crate::command::{Deadline, Expiry};

/// The words of a line, or of the rest of one.
#[derive(Clone, Copy)]
pub struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
    /// The words of `line`, which has no line end.
    pub(super) fn new(line: &'a [u8]) -> Self {
        Words(line)
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0.iter().all(|&byte| byte == b' ')
    }

    /// Whether no word is longer than `most` bytes.
    pub(super) fn are_within(self, most: usize) -> bool {
        self.0.len() <= most || self.iter().all(|word| word.len() <= most)
    }

    /// The words in their order.
    #[inline]
    pub fn iter(self) -> impl Iterator<Item = &'a [u8]> + Clone {
        Rest(self)
    }

    /// The first word, and those behind it.
    #[inline]
    pub(super) fn split_first(self) -> Option<(&'a [u8], Words<'a>)> {
        let start = self.0.iter().position(|&byte| byte != b' ')?;
        let line = &self.0[start..];
        let end = line.iter().position(|&byte| byte == b' ').unwrap_or(line.len());
        Some((&line[..end], Words(&line[end..])))
    }

    /// The words as an array, if there are as many as `least` and no more than fit; those that are
    /// not there are empty, which no word is.
    #[inline]
    pub(super) fn array<const MOST: usize>(
        self,
        least: usize,
    ) -> Option<([&'a [u8]; MOST], usize)> {
        let mut words = [&[][..]; MOST];
        let (mut count, mut rest) = (0, self);
        while let Some((word, behind)) = rest.split_first() {
            *words.get_mut(count)? = word;
            count += 1;
            rest = behind;
        }
        (count >= least).then_some((words, count))
    }

    /// Whether there are more words than `most`.
    pub(super) fn are_more_than(self, most: usize) -> bool {
        // Each has a letter at least, and all but one a space before it: few bytes are few words.
        self.0.len() > 2 * most && self.iter().nth(most).is_some()
    }
}

/// The words that are still to come.
#[derive(Clone)]
struct Rest<'a>(Words<'a>);

impl<'a> Iterator for Rest<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let (word, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(word)
    }
}

impl std::fmt::Debug for Words<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(|word| word.escape_ascii().to_string())).finish()
    }
}

impl PartialEq for Words<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

/// The natural number that `word` spells: a plus and leading zeros are welcome.
pub(super) fn unsigned(word: &[u8]) -> Option<u64> {
    let digits = word.strip_prefix(b"+").unwrap_or(word);
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, &byte| {
        let digit = byte.wrapping_sub(b'0');
        let sum = sum.checked_mul(10).filter(|_| digit < 10)?;
        sum.checked_add(digit.into())
    })
}

/// The integer that `word` spells.
fn signed(word: &[u8]) -> Option<i64> {
    match word.strip_prefix(b"-") {
        // No second sign.
        Some([b'+', ..]) => None,
        Some(digits) => 0_i64.checked_sub_unsigned(unsigned(digits)?),
        None => i64::try_from(unsigned(word)?).ok(),
    }
}

/// The number that is counted up and down in `value`: spaces may stand around it, as memcached
/// leaves some behind where a number got shorter.
pub fn parse_number(value: &[u8]) -> Option<u64> {
    unsigned(value.trim_ascii())
}

/// The most seconds that are counted from now: 30 days. More are a unix time.
const RELATIVE_SECONDS_MOST: i64 = 60 * 60 * 24 * 30;

/// The expiry that `word` gives, in memcached's seconds: 0 is never, less has passed already.
pub(super) fn expiry(word: &[u8]) -> Option<Expiry> {
    Some(match signed(word)? {
        0 => Expiry::Clear,
        ..0 => Expiry::At(Deadline::AtMs(0)),
        seconds @ 1..=RELATIVE_SECONDS_MOST => Expiry::At(Deadline::AfterMs(seconds * 1000)),
        seconds => Expiry::At(Deadline::AtMs(seconds.saturating_mul(1000))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_may_have_a_sign_and_zeros() {
        for (word, expected) in [
            ("0", Some(0)),
            ("+5", Some(5)),
            ("007", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("-1", None),
            ("", None),
            ("+", None),
            ("1x", None),
        ] {
            assert_eq!(unsigned(word.as_bytes()), expected, "{word:?}");
        }
        assert_eq!(signed(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(signed(b"-+1"), None);
        assert_eq!(parse_number(b" 10 "), Some(10));
        assert_eq!(parse_number(b"1 0"), None);
    }

    #[test]
    fn seconds_are_from_now_up_to_thirty_days() {
        for (word, expected) in [
            ("0", Some(Expiry::Clear)),
            ("-1", Some(Expiry::At(Deadline::AtMs(0)))),
            ("10", Some(Expiry::At(Deadline::AfterMs(10_000)))),
            ("2592000", Some(Expiry::At(Deadline::AfterMs(2_592_000_000)))),
            ("2592001", Some(Expiry::At(Deadline::AtMs(2_592_001_000)))),
            ("9223372036854775807", Some(Expiry::At(Deadline::AtMs(i64::MAX)))),
            ("x", None),
        ] {
            assert_eq!(expiry(word.as_bytes()), expected, "{word:?}");
        }
    }
}
