//! Patterns: `*`, `?`, `[a-z]`, `[^a]` and `\`, as KEYS, SCAN and CONFIG GET take them.
//!
//! Promises: at most one step per pair of a pattern's byte and a text's byte, whoever wrote the
//! pattern: after a second `*` the first need never take more (R. Cox, "Glob Matching Can Be Simple
//! And Fast Too", 2017). Bytes, not characters.
//! Source: stringmatchlen of Redis 7.0.15, also for what an unclosed `[` and a last `\` mean.

/// Whether all of `text` matches `pattern`.
pub fn is_match(pattern: &[u8], text: &[u8]) -> bool {
    matches(pattern, text, |byte| byte)
}

/// Whether all of `text` matches `pattern` in any case of ASCII letters.
pub fn is_match_ignoring_case(pattern: &[u8], text: &[u8]) -> bool {
    matches(pattern, text, |byte| byte.to_ascii_lowercase())
}

fn matches(pattern: &[u8], text: &[u8], fold: impl Fn(u8) -> u8 + Copy) -> bool {
    let (mut at, mut read) = (0, 0);
    // Behind the last `*`: where the pattern goes on, and where the text that it took ends.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let step = match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                if at == pattern.len() {
                    return true;
                }
                retry = Some((at, read));
                continue;
            }
            Some(_) => text.get(read).and_then(|&byte| one(&pattern[at..], byte, fold)),
            None if read == text.len() => return true,
            None => None,
        };
        match (step, retry) {
            (Some(bytes), _) => {
                at += bytes;
                read += 1;
            }
            (None, Some((behind, taken))) if taken < text.len() => {
                (at, read) = (behind, taken + 1);
                retry = Some((behind, taken + 1));
            }
            (None, _) => return false,
        }
    }
}

/// The bytes of the element that `pattern` begins with, if that element matches `byte`.
fn one(pattern: &[u8], byte: u8, fold: impl Fn(u8) -> u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'[', rest @ ..] => class(rest, byte, fold).map(|bytes| 1 + bytes),
        [b'\\', literal, ..] => (fold(*literal) == fold(byte)).then_some(2),
        [literal, ..] => (fold(*literal) == fold(byte)).then_some(1),
        [] => None,
    }
}

/// The bytes of the class behind a `[`, its `]` included, if `byte` is in it. A class that is not
/// closed reaches to the end of the pattern.
fn class(class: &[u8], byte: u8, fold: impl Fn(u8) -> u8) -> Option<usize> {
    let byte = fold(byte);
    let (is_negated, mut rest) = match class {
        [b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut is_in = false;
    loop {
        rest = match rest {
            [b'\\', literal, rest @ ..] => {
                is_in |= fold(*literal) == byte;
                rest
            }
            [b']', rest @ ..] => break (is_in != is_negated).then_some(class.len() - rest.len()),
            [] => break (is_in != is_negated).then_some(class.len()),
            [first, b'-', last, rest @ ..] => {
                let (first, last) = (fold(*first), fold(*last));
                is_in |= (first.min(last)..=first.max(last)).contains(&byte);
                rest
            }
            [literal, rest @ ..] => {
                is_in |= fold(*literal) == byte;
                rest
            }
        }
    }
}
