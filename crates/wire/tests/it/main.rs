//! What the languages promise to the servers and clients that speak them.

mod commands;
mod fuzzed;
mod memcached;
mod parser;
mod random;
mod replies;

use std::fmt::Display;

use morecore_wire::{Arguments, Malformed, Parser, Progress, encode_command};

/// The commands in `input`, which comes `piece` bytes at a time; each as `each` shows it.
///
/// What is left over at the end is shown as `...`, and what is wrong by its words.
fn read_all(input: &[u8], piece: usize, each: impl Fn(Arguments<'_>) -> String) -> Vec<String> {
    let mut parser = Parser::default();
    let (mut start, mut end) = (0, 0);
    let mut seen = Vec::new();
    loop {
        match parser.parse(&input[start..end]) {
            Ok(Progress::Whole { consumed }) => {
                seen.push(each(parser.arguments(&input[start..end])));
                start += consumed;
            }
            Ok(Progress::Nothing { consumed }) => start += consumed,
            Ok(Progress::Partial { missing }) => {
                assert!(missing > 0, "waits for nothing");
                if end == input.len() {
                    seen.extend((start < end).then(|| "...".to_owned()));
                    return seen;
                }
                end = input.len().min(end + piece);
            }
            Err(malformed) => {
                seen.push(shown(&malformed));
                return seen;
            }
        }
    }
}

/// The arguments between bars: they may have spaces in them.
fn bars(arguments: Arguments<'_>) -> String {
    let words: Vec<_> = arguments.iter().map(|word| word.escape_ascii().to_string()).collect();
    words.join("|")
}

fn shown(malformed: &Malformed) -> String {
    (malformed as &dyn Display).to_string()
}

/// The bytes of the command of `words`.
fn encoded<'a>(words: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_command(&mut bytes, &words.into_iter().collect::<Vec<_>>());
    bytes
}
