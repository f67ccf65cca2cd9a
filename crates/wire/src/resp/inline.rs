//! The words of an inline command, as a person types them.
//!
//! ```text
//!   SET  key  "two\nlines"  'it\'s'   -->   SET | key | two (line end) lines | it's
//! ```
//!
//! Promises: what a word is, and what a quote, is as in Redis; the words are copied into one vector
//! that is used again.
//! Source: sdssplitargs of Redis 7.0.15. A NUL ends the line there, and so it does here.

use std::ops::Range;

use crate::malformed::Malformed;

/// What the first word is when a browser speaks to us: another site's page may make it do so, and
/// smuggle commands in the body of what it posts (CVE-2016-10517).
const HTTP_WORDS: [&[u8]; 2] = [b"post", b"host:"];

/// Splits `line` into `words`, and puts where each lies into `ranges`.
pub(super) fn split(
    line: &[u8],
    words: &mut Vec<u8>,
    ranges: &mut Vec<Range<usize>>,
) -> Result<(), Malformed> {
    words.clear();
    let end = line.iter().position(|&byte| byte == 0).unwrap_or(line.len());
    let mut rest = line[..end].trim_ascii_start();
    while !rest.is_empty() {
        let start = words.len();
        rest = word(rest, words)?.trim_ascii_start();
        ranges.push(start..words.len());
    }
    let first = ranges.first().map_or(&[][..], |range| &words[range.clone()]);
    if HTTP_WORDS.iter().any(|word| first.eq_ignore_ascii_case(word)) {
        return Err(Malformed::Http);
    }
    Ok(())
}

/// Appends the word that `rest` begins with; what follows it.
fn word<'a>(mut rest: &'a [u8], words: &mut Vec<u8>) -> Result<&'a [u8], Malformed> {
    loop {
        rest = match rest {
            [] => return Ok(rest),
            [byte, ..] if byte.is_ascii_whitespace() => return Ok(rest),
            [b'"', quoted @ ..] => return double_quoted(quoted, words),
            [b'\'', quoted @ ..] => return single_quoted(quoted, words),
            [byte, behind @ ..] => {
                words.push(*byte);
                behind
            }
        }
    }
}

fn double_quoted<'a>(mut rest: &'a [u8], words: &mut Vec<u8>) -> Result<&'a [u8], Malformed> {
    loop {
        let (byte, behind) = match rest {
            [b'"', behind @ ..] => return end_of_word(behind),
            [b'\\', b'x', high, low, behind @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                (16 * hex(*high) + hex(*low), behind)
            }
            [b'\\', escaped, behind @ ..] => (unescape(*escaped), behind),
            [byte, behind @ ..] => (*byte, behind),
            [] => return Err(Malformed::UnbalancedQuotes),
        };
        words.push(byte);
        rest = behind;
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], words: &mut Vec<u8>) -> Result<&'a [u8], Malformed> {
    loop {
        let (byte, behind) = match rest {
            [b'\'', behind @ ..] => return end_of_word(behind),
            [b'\\', b'\'', behind @ ..] => (b'\'', behind),
            [byte, behind @ ..] => (*byte, behind),
            [] => return Err(Malformed::UnbalancedQuotes),
        };
        words.push(byte);
        rest = behind;
    }
}

/// A closing quote ends its word: a blank or nothing must follow.
fn end_of_word(rest: &[u8]) -> Result<&[u8], Malformed> {
    match rest {
        [byte, ..] if !byte.is_ascii_whitespace() => Err(Malformed::UnbalancedQuotes),
        _ => Ok(rest),
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => digit.to_ascii_lowercase() - b'a' + 10,
    }
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    }
}
