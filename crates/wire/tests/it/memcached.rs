//! memcached's language: what lines are, what is answered, and that splits and damage do not hurt.

mod dialogue;
mod lines;
mod model;
mod peer;
mod random;

use morecore_wire::memcached::{Encoder, Limits, Parser, Progress};

use model::{After, Model};

/// What a server with nothing in it answers to `input`, which comes `piece` bytes at a time;
/// `[closed]` where the connection ends, and `[waits]` where a command is not whole.
fn talk(input: &[u8], piece: usize, limits: Limits) -> String {
    let mut parser = Parser::new(limits);
    let mut model = Model::default();
    let (mut start, mut end) = (0, 0);
    let mut out = Vec::new();
    let how = loop {
        match parser.parse(&input[start..end]) {
            Ok(Progress::Whole { consumed, command }) => {
                start += consumed;
                match model.execute(command, &mut Encoder::new(&mut out)) {
                    After::GoOn => {}
                    After::Close => break "[closed]",
                    After::Admit => parser.set_limits(Limits::DEFAULT),
                }
            }
            Ok(Progress::Nothing { consumed }) => {
                assert!(consumed > 0, "goes nowhere");
                start += consumed;
            }
            Ok(Progress::Partial { missing }) => {
                assert!(missing > 0, "waits for nothing");
                if end == input.len() {
                    break if start < end { "[waits]" } else { "" };
                }
                end = input.len().min(end + piece);
            }
            Err(refusal) => {
                Encoder::new(&mut out).refusal(refusal);
                break "[closed]";
            }
        }
    };
    String::from_utf8_lossy(&out).replace("\r\n", "|") + how
}

/// The same answer, whole and in pieces of every size.
fn check_with(input: &str, expected: &str, limits: Limits) {
    for piece in 1..=input.len().max(1) {
        let answer = talk(input.as_bytes(), piece, limits);
        assert_eq!(answer, expected, "to {input:?} in pieces of {piece} bytes");
    }
}

/// `input` and `expected` have `|` for a line end.
fn check(input: &str, expected: &str) {
    check_with(&input.replace('|', "\r\n"), expected, Limits::DEFAULT);
}
