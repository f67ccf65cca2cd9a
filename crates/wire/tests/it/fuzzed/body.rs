//! What a fuzzer does with an input, for each parser.
//!
//! ```text
//!   piece 1 | bytes ...      the bytes are read at once, and then so many at a time
//! ```
//!
//! Promises: ends with a panic where the two differ, or where a parser neither takes a byte nor
//! says what it waits for.

use morecore_wire::{Command, Parser, Progress, decode_reply, memcached};

/// RESP: commands, and replies.
pub(crate) fn resp(input: &[u8]) {
    let Some((&piece, bytes)) = input.split_first() else { return };
    let whole = read_resp(bytes, bytes.len());
    assert_eq!(read_resp(bytes, piece.into()), whole);
    // Either answer will do; a panic would not.
    let _reply = decode_reply(bytes);
}

/// memcached's text and meta commands.
pub(crate) fn memcached(input: &[u8]) {
    let Some((&piece, bytes)) = input.split_first() else { return };
    let whole = read_memcached(bytes, bytes.len());
    assert_eq!(read_memcached(bytes, piece.into()), whole);
}

/// What comes of `bytes`, as text, where `piece` of them come at a time.
fn read_resp(bytes: &[u8], piece: usize) -> Vec<String> {
    let mut parser = Parser::default();
    let (mut start, mut end, mut seen) = (0, 0, Vec::new());
    loop {
        let consumed = match parser.parse(&bytes[start..end]) {
            Ok(Progress::Whole { consumed }) => {
                let arguments = parser.arguments(&bytes[start..end]);
                seen.push(match Command::from_arguments(arguments) {
                    Ok(command) => format!("{arguments:?} {command:?}"),
                    Err(refusal) => format!("{arguments:?} {refusal}"),
                });
                consumed
            }
            Ok(Progress::Nothing { consumed }) => consumed,
            Ok(Progress::Partial { missing }) => {
                assert!(missing > 0, "waits for nothing");
                if end == bytes.len() {
                    return seen;
                }
                end = bytes.len().min(end + piece.max(1));
                continue;
            }
            Err(malformed) => {
                seen.push(malformed.to_string());
                return seen;
            }
        };
        assert!(consumed > 0, "goes nowhere");
        start += consumed;
    }
}

/// The same for memcached's language.
fn read_memcached(bytes: &[u8], piece: usize) -> Vec<String> {
    let mut parser = memcached::Parser::default();
    let (mut start, mut end, mut seen) = (0, 0, Vec::new());
    loop {
        let consumed = match parser.parse(&bytes[start..end]) {
            Ok(memcached::Progress::Whole { consumed, command }) => {
                seen.push(format!("{command:?}"));
                consumed
            }
            Ok(memcached::Progress::Nothing { consumed }) => consumed,
            Ok(memcached::Progress::Partial { missing }) => {
                assert!(missing > 0, "waits for nothing");
                if end == bytes.len() {
                    return seen;
                }
                end = bytes.len().min(end + piece.max(1));
                continue;
            }
            Err(refusal) => {
                seen.push(format!("{refusal:?}"));
                return seen;
            }
        };
        assert!(consumed > 0, "goes nowhere");
        start += consumed;
    }
}
