//! What only the parser can see of itself.

use super::*;

/// Reads all of `input` at once; what each command is.
fn read_all(parser: &mut Parser, input: &[u8]) -> usize {
    let (mut start, mut count) = (0, 0);
    while start < input.len() {
        match parser.parse(&input[start..]) {
            Ok(Progress::Whole { consumed, .. }) => {
                start += consumed;
                count += 1;
            }
            Ok(Progress::Nothing { consumed }) => start += consumed,
            other => panic!("{other:?} at {start}"),
        }
    }
    count
}

/// All that a parser owns is room for one key: if that is neither made nor moved, nothing is.
#[test]
fn nothing_is_allocated_once_a_key_was_decoded() {
    let mut parser = Parser::default();
    let longest = format!("mg {} b\r\n", "QUJD".repeat(KEY_BYTES_MOST / 4));
    let pipeline =
        "set k 0 0 5\r\nhello\r\nget k\r\nms Zm9v 2 b T1\r\nab\r\nmg Zm9v b v k\r\nmn\r\n";
    assert_eq!(read_all(&mut parser, b"get a b c\r\nset k 0 0 1\r\na\r\n"), 2);
    assert_eq!(parser.decoded.capacity(), 0, "text commands need no room");
    assert_eq!(read_all(&mut parser, longest.as_bytes()), 1);
    let (room, bytes) = (parser.decoded.as_ptr(), parser.decoded.capacity());
    for _ in 0..100 {
        assert_eq!(read_all(&mut parser, pipeline.as_bytes()), 5);
        assert_eq!(read_all(&mut parser, longest.as_bytes()), 1);
    }
    assert_eq!((parser.decoded.as_ptr(), parser.decoded.capacity()), (room, bytes));
}

#[test]
fn no_byte_of_a_line_or_a_value_is_looked_at_twice() {
    let mut parser = Parser::default();
    assert_eq!(parser.parse(b"get aaa"), Ok(Progress::Partial { missing: 1 }));
    assert!(matches!(parser.stage, Stage::Line { searched: 7 }));
    let mut parser = Parser::default();
    assert_eq!(parser.parse(b"set k 0 0 100000\r\nabc"), Ok(Progress::Partial { missing: 99_999 }));
    assert!(matches!(parser.stage, Stage::Value { line_bytes: 18, needed: 100_020 }));
}
