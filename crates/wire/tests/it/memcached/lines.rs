//! Lines to commands: what the two spellings share is one variant.

use morecore_wire::memcached::{Answer, Command, Delete, Increment, Mode, Parser, Progress, Put};
use morecore_wire::{Deadline, Expiry};

/// What `input`, with `|` for a line end, is as a command whose answer is in a word.
fn check(input: &str, expected: Command<'_>) {
    let input = input.replace('|', "\r\n");
    let mut parser = Parser::default();
    let progress = parser.parse(input.as_bytes()).expect("the line is short");
    let Progress::Whole { consumed, command } = progress else { panic!("{progress:?}") };
    assert_eq!(consumed, input.len());
    // How to answer is all that may differ.
    let answer = Answer::Text { is_quiet: false };
    let command = match command.expect("the line is right") {
        Command::Put(put) => Command::Put(Put { answer, ..put }),
        Command::Delete(delete) => Command::Delete(Delete { answer, ..delete }),
        Command::Increment(increment) => Command::Increment(Increment { answer, ..increment }),
        other => other,
    };
    assert_eq!(command, expected, "{input:?}");
}

const PUT: Put<'_> = Put {
    key: b"k",
    value: b"v",
    flags: 0,
    expiry: Expiry::Clear,
    mode: Mode::Set,
    compare: None,
    version: None,
    is_invalidate: false,
    is_vivify: false,
    answer: Answer::Text { is_quiet: false },
};

#[test]
fn puts() {
    for (text, meta, mode) in [
        ("set", "", Mode::Set),
        ("add", "ME", Mode::Add),
        ("replace", "MR", Mode::Replace),
        ("append", "MA", Mode::Append),
        ("prepend", "MP", Mode::Prepend),
    ] {
        let flags = 9;
        let expiry = Expiry::At(Deadline::AfterMs(60_000));
        let expected = Command::Put(Put { flags, expiry, mode, ..PUT });
        check(&format!("{text} k 9 60 1|v|"), expected);
        check(&format!("ms k 1 F9 T60 {meta}|v|"), expected);
    }
    let compared = Command::Put(Put { compare: Some(5), ..PUT });
    check("cas k 0 0 1 5|v|", compared);
    check("ms k 1 C5|v|", compared);
}

#[test]
fn deletes_and_numbers() {
    let answer = PUT.answer;
    let (compare, version, expiry) = (None, None, None);
    let (is_invalidate, is_emptied) = (false, false);
    let delete = Delete { key: b"k", compare, version, is_invalidate, is_emptied, expiry, answer };
    check("delete k|", Command::Delete(delete));
    check("md k|", Command::Delete(delete));
    let (vivify, initial) = (None, 0);
    for (text, meta, is_decrement) in [("incr", "MI", false), ("decr", "MD", true)] {
        let increment = Increment {
            key: b"k",
            by: 7,
            is_decrement,
            vivify,
            initial,
            expiry,
            compare,
            version,
            answer,
        };
        check(&format!("{text} k 7|"), Command::Increment(increment));
        check(&format!("ma k D7 {meta} C0|"), Command::Increment(increment));
    }
}

#[test]
fn a_value_tells_how_much_is_missing() {
    let mut parser = Parser::default();
    let head = b"set k 0 0 100000\r\n";
    assert_eq!(parser.parse(head), Ok(Progress::Partial { missing: 100_002 }));
    let more = [&head[..], &[b'v'; 1000]].concat();
    assert_eq!(parser.parse(&more), Ok(Progress::Partial { missing: 99_002 }));
}
