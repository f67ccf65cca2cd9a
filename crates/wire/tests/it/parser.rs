//! Bytes to arguments: whole, in pieces, and wrong.

use morecore_wire::{Limits, Malformed, Parser, Progress};

use crate::{bars, encoded, read_all};

/// Reads `input` whole and in pieces of every size; the commands, arguments between bars, must be
/// `expected` each time.
fn check(input: &[u8], expected: &[&str]) {
    for piece in 1..=input.len().max(1) {
        assert_eq!(read_all(input, piece, bars), expected, "in pieces of {piece} bytes");
    }
}

/// What is wrong with `input`, whole and in pieces.
fn check_wrong(input: &[u8], expected: &str) {
    check(input, &[&format!("Protocol error: {expected}")]);
}

#[test]
fn an_array_of_bulks_is_a_command() {
    check(b"*1\r\n$4\r\nPING\r\n", &["PING"]);
    check(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nhello\r\n", &["SET|k|hello"]);
}

#[test]
fn an_argument_may_be_empty_and_may_have_any_byte() {
    check(b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n", &["GET|"]);
    check(b"*2\r\n$3\r\nGET\r\n$4\r\n\r\n*\0\r\n", &["GET|\\r\\n*\\x00"]);
}

#[test]
fn a_pipeline_is_as_many_commands() {
    check(b"*1\r\n$1\r\na\r\nping\r\n*1\r\n$1\r\nb\r\n", &["a", "ping", "b"]);
}

#[test]
fn half_a_command_waits() {
    check(b"*2\r\n$3\r\nGET\r\n$5\r\nhel", &["..."]);
    check(b"*1\r\n$4\r\nPING\r\n*", &["PING", "..."]);
    check(b"pin", &["..."]);
}

#[test]
fn nothing_is_no_command() {
    check(b"\r\n\n   \r\n*0\r\n*-1\r\nping\r\n", &["ping"]);
    check(b"", &[]);
}

#[test]
fn an_inline_command_is_words() {
    check(b"PING\r\n", &["PING"]);
    check(b"  set  k\tv  \n", &["set|k|v"]);
    check(br#"set "a b" 'c d'"#, &["..."]);
    check(b"set \"a b\" 'c d'\r\n", &["set|a b|c d"]);
    check(b"set \"\" ''\r\n", &["set||"]);
    check(b"set \"\\x41\\n\\r\\t\\b\\a\\\"\\q\\xzz\"\r\n", &["set|A\\n\\r\\t\\x08\\x07\\\"qxzz"]);
    check(b"set 'it\\'s' 'a\\n'\r\n", &["set|it\\'s|a\\\\n"]);
    check(b"set a\"b c\" d\r\n", &["set|ab c|d"]);
    check(b"ping\0 rest\r\n", &["ping"]);
}

#[test]
fn quotes_must_be_balanced() {
    check_wrong(b"set \"a\r\n", "unbalanced quotes in request");
    check_wrong(b"set 'a\r\n", "unbalanced quotes in request");
    check_wrong(b"set \"a\"b\r\n", "unbalanced quotes in request");
    check_wrong(b"set 'a'b\r\n", "unbalanced quotes in request");
    check_wrong(b"set \"a\\\r\n", "unbalanced quotes in request");
}

#[test]
fn a_wrong_count_is_named() {
    check_wrong(b"*x\r\n", "invalid multibulk length");
    check_wrong(b"*\r\n", "invalid multibulk length");
    check_wrong(b"*1048577\r\n", "invalid multibulk length");
    check_wrong(b"*99999999999999999999\r\n", "invalid multibulk length");
    check_wrong(b"*01\r\n", "invalid multibulk length");
}

#[test]
fn a_wrong_length_is_named() {
    check_wrong(b"*1\r\n$x\r\n", "invalid bulk length");
    check_wrong(b"*1\r\n$-1\r\n", "invalid bulk length");
    check_wrong(b"*1\r\n$536870913\r\n", "invalid bulk length");
    check_wrong(b"*1\r\n$1073741824\r\n", "invalid bulk length");
    check_wrong(b"*1\r\n$99999999999999999999\r\n", "invalid bulk length");
}

#[test]
fn what_is_no_bulk_is_named() {
    check_wrong(b"*1\r\nPING\r\n", "expected '$', got 'P'");
    check_wrong(b"*2\r\n$1\r\na\r\n:1\r\n", "expected '$', got ':'");
}

#[test]
fn a_line_must_end() {
    check_wrong(b"*1\rx", "expected a line end");
    check_wrong(b"*1\r\n$1\r\nabc", "expected a line end");
}

#[test]
fn a_browser_is_shown_the_door() {
    check_wrong(b"POST / HTTP/1.1\r\n", "this is no HTTP server");
    check(
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        &["GET|/|HTTP/1.1", "Protocol error: this is no HTTP server"],
    );
}

#[test]
fn lines_have_a_limit() {
    let most = 64 * 1024;
    let line = |first: &str, length: usize| [first.as_bytes(), &vec![b'1'; length]].concat();
    let check_long = |input: Vec<u8>, expected: &str| {
        for piece in [1, 1000, input.len()] {
            let seen = read_all(&input, piece, bars);
            assert_eq!(seen, [format!("Protocol error: {expected}")]);
        }
    };
    check_long(line("", most + 1), "too big inline request");
    check_long([line("", most + 1), b"\r\n".to_vec()].concat(), "too big inline request");
    check_long(line("*", most + 1), "too big mbulk count string");
    check_long(line("*1\r\n$", most + 1), "too big bulk count string");
    assert_eq!(read_all(&line("", most), 1000, bars), ["..."]);
}

#[test]
fn a_client_without_password_may_say_little() {
    let wrong = |input: &[u8]| Parser::new(Limits::UNAUTHENTICATED).parse(input).unwrap_err();
    assert_eq!(wrong(b"*11\r\n"), Malformed::UnauthenticatedArgumentCount);
    assert_eq!(wrong(b"*1048577\r\n"), Malformed::ArgumentCount);
    assert_eq!(wrong(b"*1\r\n$16385\r\n"), Malformed::UnauthenticatedBulkLength);
    assert_eq!(wrong(b"*1\r\n$536870913\r\n"), Malformed::BulkLength);

    let mut parser = Parser::new(Limits::UNAUTHENTICATED);
    let auth = encoded([&b"AUTH"[..], b"secret"]);
    assert_eq!(parser.parse(&auth), Ok(Progress::Whole { consumed: auth.len() }));
    parser.set_limits(Limits::DEFAULT);
    assert_eq!(parser.parse(b"*11\r\n"), Ok(Progress::Partial { missing: 1 }));
}

#[test]
fn the_limit_of_a_bulk_can_be_set() {
    let limits = Limits { bulk_bytes_most: 3, ..Limits::DEFAULT };
    let mut parser = Parser::new(limits);
    assert_eq!(parser.parse(b"*1\r\n$3\r\n"), Ok(Progress::Partial { missing: 5 }));
    let mut parser = Parser::new(limits);
    assert_eq!(parser.parse(b"*1\r\n$4\r\n"), Err(Malformed::BulkLength));
}

#[test]
fn a_large_argument_tells_how_much_is_missing() {
    let mut parser = Parser::default();
    let head = b"*2\r\n$3\r\nGET\r\n$1000000\r\n";
    assert_eq!(parser.parse(head), Ok(Progress::Partial { missing: 1_000_002 }));
    let more = [&head[..], &[b'x'; 1000]].concat();
    assert_eq!(parser.parse(&more), Ok(Progress::Partial { missing: 999_002 }));
}

/// Each byte is looked at once: with a second look at all of them this would take minutes.
#[test]
fn a_large_command_in_small_pieces_costs_no_more_than_its_bytes() {
    let value = vec![b'v'; 1 << 20];
    let words = (0..2000).map(|_| &b"key"[..]).chain([&value[..]]);
    let input = encoded(words);
    let seen = read_all(&input, 1, |arguments| arguments.len().to_string());
    assert_eq!(seen, ["2001"]);
    let line = [vec![b'a'; 60_000], b"\n".to_vec()].concat();
    let seen = read_all(&line, 1, |arguments| arguments.len().to_string());
    assert_eq!(seen, ["1"]);
}
