//! Random commands and replies, and random damage to them.
//!
//! The seed is printed when a test fails; SEED=... in the environment brings it back.

use std::env;

use fastrand::Rng;
use morecore_wire::{Command, Encoder, Reply, Version, decode_reply, is_match, rows};

use crate::{bars, encoded, read_all};

/// Rounds of each test: a second or so in a debug build.
const ROUNDS: usize = 20_000;

/// A generator whose seed is told, so that a failure can be seen again.
pub(crate) fn random() -> Rng {
    let seed = env::var("SEED")
        .map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("SEED is a number"));
    println!("SEED={seed}");
    Rng::with_seed(seed)
}

/// Bytes of a kind that is likely to hurt: line ends, quotes, marks, digits, anything.
pub(crate) fn bytes(random: &mut Rng, most: usize) -> Vec<u8> {
    let alphabet: &[u8] = match random.u8(0..4) {
        0 => b"\r\n$*:+-_ \"'\\",
        1 => b"0123456789-",
        2 => b"abcdefgxyz",
        _ => &[],
    };
    let length = random.usize(0..=most);
    let byte = |_| *random.choice(alphabet).unwrap_or(&random.u8(..));
    (0..length).map(byte).collect()
}

/// A command that exists, with options and numbers that may fit.
fn words(random: &mut Rng) -> Vec<Vec<u8>> {
    let options = [
        "NX",
        "XX",
        "GET",
        "EX",
        "PX",
        "EXAT",
        "PXAT",
        "KEEPTTL",
        "PERSIST",
        "GT",
        "LT",
        "MATCH",
        "COUNT",
        "TYPE",
        "DB",
        "REPLACE",
        "AUTH",
        "SETNAME",
        "ID",
        "0",
        "1",
        "-1",
        "3",
        "10",
        "9223372036854775807",
        "-9223372036854775808",
        "99999999999999999999",
        "1.5",
        "1e400",
        "inf",
        "lib-name",
        "list",
        "docs",
        "info",
        "help",
        "filterby",
        "pattern",
        "on",
    ];
    let names: Vec<_> = rows().map(|row| row.name).collect();
    let name = random.choice(&names).expect("there are commands");
    let mut words = vec![name.as_bytes().to_vec()];
    for _ in 0..random.usize(0..7) {
        words.push(match random.bool() {
            true => random.choice(options).expect("there are options").as_bytes().to_vec(),
            false => bytes(random, 12),
        });
    }
    words
}

/// Damages `bytes` in up to three places.
pub(crate) fn damage(random: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..random.usize(0..=3) {
        let at = random.usize(0..=bytes.len());
        match random.u8(0..4) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.u8(..)),
            2 if at < bytes.len() => bytes[at] = random.u8(..),
            _ if at < bytes.len() => drop(bytes.remove(at)),
            _ => {}
        }
    }
}

/// What `bars` shows, and what the command is: refusals and commands are made and shown, too.
fn commands(arguments: morecore_wire::Arguments<'_>) -> String {
    match Command::from_arguments(arguments) {
        Ok(command) => format!("{} {command:?}", bars(arguments)),
        Err(refusal) => format!("{} {refusal}", bars(arguments)),
    }
}

#[test]
fn any_split_of_any_command_gives_the_same() {
    let mut random = random();
    for _ in 0..ROUNDS {
        let pipeline: Vec<_> = (0..random.usize(1..4)).map(|_| words(&mut random)).collect();
        let whole = |words: &Vec<Vec<u8>>| encoded(words.iter().map(Vec::as_slice));
        let mut input = pipeline.iter().flat_map(whole).collect::<Vec<_>>();
        let seen = read_all(&input, input.len(), bars);
        let shown = |word: &Vec<u8>| word.escape_ascii().to_string();
        let bar = |words: &Vec<Vec<u8>>| words.iter().map(shown).collect::<Vec<_>>().join("|");
        assert_eq!(seen, pipeline.iter().map(bar).collect::<Vec<_>>());

        damage(&mut random, &mut input);
        let seen = read_all(&input, input.len().max(1), commands);
        for piece in [1, 2, 3, random.usize(1..=64)] {
            assert_eq!(read_all(&input, piece, commands), seen, "in pieces of {piece} bytes");
        }
    }
}

#[test]
fn garbage_is_refused_and_hurts_nobody() {
    let mut random = random();
    for _ in 0..ROUNDS {
        let input = bytes(&mut random, 200);
        let seen = read_all(&input, input.len().max(1), commands);
        assert_eq!(read_all(&input, 1, commands), seen);
        // Either answer will do; a panic would not.
        let _ = decode_reply(&input);
        let _ = is_match(&bytes(&mut random, 20), &input);
    }
}

/// Bytes for the texts of replies, which only borrow.
struct Texts(Vec<Vec<u8>>);

impl Texts {
    fn new(random: &mut Rng) -> Self {
        Texts((0..8).map(|_| bytes(random, 30)).collect())
    }

    fn text(&self, random: &mut Rng) -> &[u8] {
        random.choice(&self.0).expect("there are texts")
    }

    /// A text that fits in a line.
    fn line(&self, random: &mut Rng) -> &[u8] {
        let text = self.text(random);
        let end = text.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        &text[..end.unwrap_or(text.len())]
    }

    fn reply(&self, random: &mut Rng, depth: usize) -> Reply<'_> {
        let kinds = if depth == 0 { 8 } else { 12 };
        match random.u8(0..kinds) {
            0 => Reply::Simple(self.line(random)),
            1 => Reply::Error(self.line(random)),
            2 => Reply::Integer(random.i64(..)),
            3 => Reply::Bulk(self.text(random)),
            4 => Reply::Null,
            5 => Reply::Double(f64::from(random.i32(..)) / 64.0),
            6 => Reply::Boolean(random.bool()),
            7 => Reply::Verbatim(self.text(random)),
            8 => Reply::Array(self.replies(random, depth)),
            9 => Reply::Set(self.replies(random, depth)),
            10 => Reply::Push(self.replies(random, depth)),
            _ => {
                let (keys, values) = (self.replies(random, depth), self.replies(random, depth));
                Reply::Map(keys.into_iter().zip(values).collect())
            }
        }
    }

    fn replies(&self, random: &mut Rng, depth: usize) -> Vec<Reply<'_>> {
        (0..random.usize(0..5)).map(|_| self.reply(random, depth - 1)).collect()
    }
}

#[test]
fn what_was_encoded_is_decoded() {
    let mut random = random();
    for _ in 0..ROUNDS {
        let texts = Texts::new(&mut random);
        let reply = texts.reply(&mut random, 4);
        let mut out = Vec::new();
        Encoder::new(&mut out, Version::Resp3).reply(&reply);
        assert_eq!(decode_reply(&out), Ok(Some((reply.clone(), out.len()))));
        let cut = random.usize(0..out.len());
        assert_eq!(decode_reply(&out[..cut]), Ok(None));

        // RESP2 says other things, but as many, and whole.
        let mut out = Vec::new();
        Encoder::new(&mut out, Version::Resp2).reply(&reply);
        assert!(matches!(decode_reply(&out), Ok(Some((_, bytes))) if bytes == out.len()));

        damage(&mut random, &mut out);
        let _ = decode_reply(&out);
    }
}

/// Patterns as a plain, exponential recursion reads them; without classes.
fn plain_match(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], text) => text.is_empty(),
        ([b'*', rest @ ..], _) => (0..=text.len()).any(|taken| plain_match(rest, &text[taken..])),
        ([b'?', rest @ ..], [_, behind @ ..]) => plain_match(rest, behind),
        ([b'\\', literal, rest @ ..], [byte, behind @ ..]) => {
            literal == byte && plain_match(rest, behind)
        }
        ([literal, rest @ ..], [byte, behind @ ..]) => literal == byte && plain_match(rest, behind),
        (_, []) => false,
    }
}

#[test]
fn patterns_match_as_the_plain_recursion_says() {
    let mut random = random();
    for _ in 0..10 * ROUNDS {
        let mut some = |alphabet: &[u8], most: usize| -> Vec<u8> {
            (0..random.usize(0..=most)).map(|_| *random.choice(alphabet).unwrap()).collect()
        };
        let (pattern, text) = (some(b"ab**?\\", 8), some(b"ab\\*", 10));
        let (shown, on) = (pattern.escape_ascii(), text.escape_ascii());
        assert_eq!(is_match(&pattern, &text), plain_match(&pattern, &text), "{shown} on {on}");
    }
}
