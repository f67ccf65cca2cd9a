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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        for text in matching {
            assert!(is_match(pattern.as_bytes(), text.as_bytes()), "{pattern:?} on {text:?}");
        }
        for text in others {
            assert!(!is_match(pattern.as_bytes(), text.as_bytes()), "{pattern:?} on {text:?}");
        }
    }

    #[test]
    fn a_text_matches_itself() {
        check("hello", &["hello"], &["", "hell", "hello!", "Hello"]);
        check("", &[""], &["a"]);
    }

    #[test]
    fn a_question_mark_is_any_byte() {
        check("h?llo", &["hello", "hallo", "h?llo"], &["hllo", "heello"]);
        check("?", &["a"], &["", "ab"]);
    }

    #[test]
    fn a_star_is_any_bytes() {
        check("*", &["", "a", "abc"], &[]);
        check("h*llo", &["hllo", "heeeello"], &["hll", "xhllo", "hllox"]);
        check("a*b*c", &["abc", "aXbXc", "abcbc", "aabbcc"], &["ab", "acb", "abcd"]);
        check("**a**", &["a", "bab"], &["", "b"]);
        check("*a", &["a", "aaa", "ba"], &["ab"]);
        check("*ab", &["aab", "abab"], &["aba"]);
    }

    #[test]
    fn a_class_is_one_of_its_bytes() {
        check("h[ae]llo", &["hello", "hallo"], &["hillo", "hllo"]);
        check("h[^e]llo", &["hallo", "h^llo"], &["hello"]);
        check("h[a-c]llo", &["hallo", "hbllo", "hcllo"], &["hdllo", "h-llo"]);
        check("h[c-a]llo", &["hbllo"], &["hdllo"]);
        check("[-a]", &["-", "a"], &["b"]);
        check("[a\\]]", &["a", "]"], &["\\"]);
        check("[]a]", &[], &["]", "a", "]a]"]);
    }

    #[test]
    fn a_class_that_is_not_closed_reaches_to_the_end() {
        check("[ab", &["a", "b"], &["c", "[ab", ""]);
        check("[", &[], &["", "["]);
        check("[^", &["a"], &["", "aa"]);
        check("[a-", &["a", "-"], &["b"]);
        check("[\\", &["\\"], &["["]);
    }

    #[test]
    fn a_backslash_takes_the_next_byte_as_it_is() {
        check("h\\*llo", &["h*llo"], &["hello", "h\\*llo"]);
        check("\\?", &["?"], &["a"]);
        check("a\\", &["a\\"], &["a"]);
    }

    #[test]
    fn letters_match_in_any_case_where_that_is_asked() {
        assert!(is_match_ignoring_case(b"MAX[A-C]*", b"maxclients"));
        assert!(!is_match(b"MAX*", b"maxclients"));
    }

    /// With a step for each way to share the text among the stars this takes longer than the sun
    /// shines; with a step per pair of bytes it is a few million.
    #[test]
    fn many_stars_cost_no_more_than_one() {
        let pattern = b"*a".repeat(100).to_vec();
        let text = [vec![b'a'; 10_000], vec![b'b']].concat();
        assert!(!is_match(&pattern, &text));
    }
}
