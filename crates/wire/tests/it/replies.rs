//! Replies to bytes in both versions, and back.

use std::convert::Infallible;

use morecore_wire::{Encoder, Refusal, Reply, Version, decode_reply};

/// What `write` writes in each version.
fn check(write: impl Fn(&mut Encoder<'_>), resp2: &str, resp3: &str) {
    for (version, expected) in [(Version::Resp2, resp2), (Version::Resp3, resp3)] {
        let mut out = b"before".to_vec();
        write(&mut Encoder::new(&mut out, version));
        let expected = format!("before{expected}").replace('|', "\r\n");
        assert_eq!(out.escape_ascii().to_string(), expected.escape_default().to_string());
    }
}

/// As `check`, where the versions agree.
fn check_both(write: impl Fn(&mut Encoder<'_>), expected: &str) {
    check(write, expected, expected);
}

/// Writes `bytes` as a bulk of `expected` bytes that turns out otherwise.
fn written(out: &mut Encoder<'_>, expected: usize, bytes: &[u8]) {
    let wrote = out.bulk_with(expected, |out| {
        out.extend_from_slice(bytes);
        Ok::<_, Infallible>(true)
    });
    assert_eq!(wrote, Ok(true));
}

#[test]
fn plain_replies() {
    check_both(|out| out.ok(), "+OK|");
    check_both(|out| out.simple("PONG"), "+PONG|");
    check_both(|out| out.error("ERR no"), "-ERR no|");
    check_both(|out| out.integer(0), ":0|");
    check_both(|out| out.integer(-12), ":-12|");
    check_both(|out| out.integer(i64::MIN), ":-9223372036854775808|");
    check_both(|out| out.bulk(b""), "$0||");
    check_both(|out| out.bulk(b"hello"), "$5|hello|");
    check_both(|out| out.bulk_integer(-105), "$4|-105|");
    check_both(|out| out.array(12), "*12|");
}

#[test]
fn replies_that_only_resp3_has() {
    check(|out| out.null(), "$-1|", "_|");
    check(|out| out.null_array(), "*-1|", "_|");
    check(|out| out.map(2), "*4|", "%2|");
    check(|out| out.set(2), "*2|", "~2|");
    check(|out| out.push(2), "*2|", ">2|");
    check(|out| out.boolean(true), ":1|", "#t|");
    check(|out| out.boolean(false), ":0|", "#f|");
    check(|out| out.double(1.5), "$3|1.5|", ",1.5|");
    check(|out| out.double(f64::NEG_INFINITY), "$4|-inf|", ",-inf|");
    check(|out| out.verbatim(b"a:1"), "$3|a:1|", "=7|txt:a:1|");
}

#[test]
fn a_line_has_no_line_end_within() {
    check_both(|out| out.simple("a\r\nb"), "+a  b|");
    check_both(|out| out.error("ERR a\n-b"), "-ERR a -b|");
    let refusal = Refusal::UnsupportedOption { option: b"a\r\n+OK" };
    check_both(|out| out.refusal(&refusal), "-ERR Unsupported option a  +OK|");
}

#[test]
fn a_bulk_may_be_written_behind_its_head() {
    check_both(|out| written(out, 5, b"hello"), "$5|hello|");
    check_both(|out| written(out, 9, b"hello"), "$5|hello|");
    check_both(|out| written(out, 0, b"hello hello"), "$11|hello hello|");
    check_both(|out| written(out, 1 << 20, b""), "$0||");
}

#[test]
fn a_bulk_that_is_not_there_is_null() {
    let missing = |out: &mut Encoder<'_>| {
        let wrote = out.bulk_with(5, |out| {
            out.extend_from_slice(b"half");
            Ok::<_, Infallible>(false)
        });
        assert_eq!(wrote, Ok(false));
    };
    check(missing, "$-1|", "_|");
}

#[test]
fn a_bulk_that_fails_leaves_nothing() {
    let failing = |out: &mut Encoder<'_>| {
        let wrote = out.bulk_with(5, |out| {
            out.extend_from_slice(b"half");
            Err("broken")
        });
        assert_eq!(wrote, Err("broken"));
    };
    check_both(failing, "");
}

#[test]
fn a_version_changes_between_replies() {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out, Version::Resp2);
    encoder.null();
    encoder.set_version(Version::Resp3);
    encoder.null();
    assert_eq!(out, b"$-1\r\n_\r\n");
}

/// `text` with bars for line ends, decoded: whole, and at no byte earlier.
fn check_decoded(text: &str, expected: Reply<'_>) {
    let bytes = text.replace('|', "\r\n").into_bytes();
    for end in 0..bytes.len() {
        assert_eq!(decode_reply(&bytes[..end]), Ok(None), "{text:?} to {end}");
    }
    let followed = [&bytes[..], b"+next\r\n"].concat();
    assert_eq!(decode_reply(&followed), Ok(Some((expected, bytes.len()))), "{text:?}");
}

#[test]
fn replies_are_read_back() {
    check_decoded("+OK|", Reply::Simple(b"OK"));
    check_decoded("-ERR no|", Reply::Error(b"ERR no"));
    check_decoded(":-7|", Reply::Integer(-7));
    check_decoded("$5|hello|", Reply::Bulk(b"hello"));
    check_decoded("$2|||", Reply::Bulk(b"\r\n"));
    check_decoded("$-1|", Reply::Null);
    check_decoded("*-1|", Reply::Null);
    check_decoded("_|", Reply::Null);
    check_decoded(",-inf|", Reply::Double(f64::NEG_INFINITY));
    check_decoded(",1.25|", Reply::Double(1.25));
    check_decoded("#t|", Reply::Boolean(true));
    check_decoded("=7|txt:a:1|", Reply::Verbatim(b"a:1"));
    check_decoded("*0|", Reply::Array(vec![]));
    check_decoded("*2|:1|*1|_|", {
        Reply::Array(vec![Reply::Integer(1), Reply::Array(vec![Reply::Null])])
    });
    check_decoded("%1|+a|:1|", Reply::Map(vec![(Reply::Simple(b"a"), Reply::Integer(1))]));
    check_decoded("~1|:1|", Reply::Set(vec![Reply::Integer(1)]));
    check_decoded(">1|:1|", Reply::Push(vec![Reply::Integer(1)]));
}

fn check_wrong(text: &str, expected: &str) {
    let bytes = text.replace('|', "\r\n").into_bytes();
    let malformed = decode_reply(&bytes).expect_err(text);
    assert_eq!(malformed.to_string(), format!("Protocol error: {expected}"), "{text:?}");
}

#[test]
fn what_is_no_reply_is_named() {
    check_wrong("HTTP/1.1 400|", "no reply begins with 'H'");
    check_wrong("\x01|", "no reply begins with '\\x01'");
    check_wrong(":x|", "invalid reply");
    check_wrong("$-2|", "invalid reply");
    check_wrong("*x|", "invalid reply");
    check_wrong("#x|", "invalid reply");
    check_wrong("_x|", "invalid reply");
    check_wrong(",x|", "invalid reply");
    check_wrong("=3|abc|", "invalid reply");
    check_wrong("$1|abc", "expected a line end");
    check_wrong("+a\rb", "expected a line end");
}

#[test]
fn a_length_is_not_believed() {
    assert_eq!(decode_reply(b"*9223372036854775807\r\n"), Ok(None));
    assert_eq!(decode_reply(b"%9223372036854775807\r\n"), Ok(None));
    assert_eq!(decode_reply(b"$9223372036854775807\r\n"), Ok(None));
}

#[test]
fn replies_nest_only_so_deep() {
    assert!(decode_reply("*1|".repeat(16).replace('|', "\r\n").as_bytes()).unwrap().is_none());
    check_wrong(&"*1|".repeat(1_000_000), "replies nest deeper than 16");
}
