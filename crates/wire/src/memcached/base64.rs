//! Keys of any bytes, as meta commands with the flag `b` write them.
//!
//! Promises: one spelling a key: padding must be there, and no bits may hang over, so the word that
//! came is the word that would be made of the key.
//! Source: RFC 4648, section 4. memcached 1.6.18 passes over foreign characters; here they are
//! refused, because a key that two words spell is two keys to every proxy on the way.

/// Puts the bytes that `word` spells in the place of what is in `bytes`; `false` if it spells none.
pub(super) fn decode(word: &[u8], bytes: &mut Vec<u8>) -> bool {
    bytes.clear();
    let padding = word.iter().rev().take_while(|&&byte| byte == b'=').count();
    if word.is_empty() || !word.len().is_multiple_of(4) || padding > 2 {
        return false;
    }
    for quad in word[..word.len() - padding].chunks(4) {
        let Some(bits) = quad.iter().try_fold(0_u32, |bits, &byte| Some(bits << 6 | six(byte)?))
        else {
            return false;
        };
        // Four characters are three bytes, and less are one byte less; the rest of the bits is 0.
        let spare = match quad.len() {
            2 => 4,
            3 => 2,
            _ => 0,
        };
        if bits & ((1 << spare) - 1) != 0 {
            return false;
        }
        let [_, triple @ ..] = (bits << (24 - 6 * quad.len() as u32)).to_be_bytes();
        bytes.extend_from_slice(&triple[..quad.len() - 1]);
    }
    true
}

/// The six bits of a character.
fn six(byte: u8) -> Option<u32> {
    let six = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(six.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(word: &str, expected: Option<&[u8]>) {
        let mut bytes = b"what was there".to_vec();
        let is_decoded = decode(word.as_bytes(), &mut bytes);
        assert_eq!(is_decoded.then_some(&bytes[..]), expected, "{word:?}");
    }

    #[test]
    fn words_are_bytes() {
        check("Zg==", Some(b"f"));
        check("Zm8=", Some(b"fo"));
        check("Zm9v", Some(b"foo"));
        check("Zm9vYg==", Some(b"foob"));
        check("AAEC/+8=", Some(b"\0\x01\x02\xff\xef"));
    }

    #[test]
    fn other_words_are_none() {
        for word in ["", "Z", "Zm", "Zm9", "Zm9=", "Zh==", "Z===", "====", "Zm-9", "Z=9v", "Zm9vY"]
        {
            check(word, None);
        }
    }
}
