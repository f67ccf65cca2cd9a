//! The conversations in `tests/transcripts`, replayed under every model and cut in three ways.
//!
//! ```text
//!   ! requirepass secret      how the server is started (first lines; also `! ours`, see below)
//!   ! memcached               the language: `>` sends a line, `<` expects one
//!   # words                   a comment
//!   > SET k "a \x00 b"        a command, sent as an array of bulks; quotes as in Rust
//!   >> *1\r\n$4\r\nPING\r\n   bytes, sent as they are
//!   < +OK                     its reply, as `talk` shows it
//!   <~ :9*                    its reply is like this, where * is anything
//!   <* ["a", "b"]             its reply has these parts, in any order
//!   <t :100                   its reply is this; seconds that are left may be fewer by now
//! ```
//!
//! A new file is a new test. Where a redis-server is installed, every file that is not `! ours` is
//! replayed against it too: so it is Redis that says what Redis's words are. So it is with
//! memcached.

use std::path::{Path, PathBuf};

use morecore_server::Options;
use morecore_wire::encode_command;

use crate::house::{House, under_every_model};
use crate::memcached::Memcached;
use crate::redis::Redis;
use crate::talk::Talk;

/// A conversation.
struct Transcript {
    name: String,
    is_ours: bool,
    is_memcached: bool,
    password: Option<String>,
    turns: Vec<Turn>,
}

/// What is sent, and what is expected then.
struct Turn {
    line: usize,
    sent: Vec<u8>,
    expected: Vec<Expected>,
}

enum Expected {
    Exactly(String),
    Like(String),
    AnyOrder(String),
    Left(String),
}

/// How the bytes of a transcript come to the server.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// A turn, then its replies.
    Turns,
    /// Everything at once, then all replies.
    Once,
    /// A byte at a time.
    Bytes,
}

#[test]
fn every_transcript_holds_under_every_model_and_cut() {
    let transcripts = all();
    assert!(!transcripts.is_empty());
    under_every_model(|options| {
        for transcript in &transcripts {
            for cut in [Cut::Turns, Cut::Once, Cut::Bytes] {
                let password = transcript.password.clone().map(String::into_bytes);
                let house = House::open(Options { password, ..options.clone() });
                transcript.replay(&mut Talk::to(house.address), cut);
            }
        }
    });
}

#[test]
fn every_transcript_holds_for_redis_and_memcached_where_they_are_installed() {
    for transcript in all().iter().filter(|transcript| !transcript.is_ours) {
        if transcript.is_memcached {
            let Some(memcached) = Memcached::start() else { continue };
            transcript.replay(&mut memcached.talk(), Cut::Turns);
        } else {
            let Some(redis) = Redis::start(transcript.password.as_deref()) else { continue };
            transcript.replay(&mut redis.talk(), Cut::Turns);
        }
    }
}

impl Transcript {
    fn read(path: &Path) -> Self {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let mut transcript =
            Self { name, is_ours: false, is_memcached: false, password: None, turns: Vec::new() };
        for (index, line) in std::fs::read_to_string(path).unwrap().lines().enumerate() {
            let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
            let turns = &mut transcript.turns;
            let mut expect = |expected| turns.last_mut().unwrap().expected.push(expected);
            match mark {
                "" | "#" => {}
                "!" => transcript.set(rest),
                "<" => expect(Expected::Exactly(rest.into())),
                "<~" => expect(Expected::Like(rest.into())),
                "<*" => expect(Expected::AnyOrder(rest.into())),
                "<t" => expect(Expected::Left(rest.into())),
                ">" | ">>" => {
                    let sent = match (mark, transcript.is_memcached) {
                        (">", false) => encode(rest),
                        (">", true) => [&unescape(rest)[..], b"\r\n"].concat(),
                        _ => unescape(rest),
                    };
                    turns.push(Turn { line: index + 1, sent, expected: Vec::new() });
                }
                _ => panic!("{}:{}: what is {mark:?}?", transcript.name, index + 1),
            }
        }
        transcript
    }

    fn set(&mut self, setting: &str) {
        match setting.split_once(' ') {
            None if setting == "ours" => self.is_ours = true,
            None if setting == "memcached" => self.is_memcached = true,
            Some(("requirepass", password)) => self.password = Some(password.into()),
            _ => panic!("{}: what is ! {setting}?", self.name),
        }
    }

    fn replay(&self, talk: &mut Talk, cut: Cut) {
        match cut {
            Cut::Turns => {}
            Cut::Once => {
                let whole: Vec<&[u8]> = self.turns.iter().map(|turn| &turn.sent[..]).collect();
                talk.send(&whole.concat());
            }
            Cut::Bytes => {
                for byte in self.turns.iter().flat_map(|turn| &turn.sent) {
                    talk.send(&[*byte]);
                }
            }
        }
        let mut wrong = String::new();
        for turn in &self.turns {
            if matches!(cut, Cut::Turns) {
                talk.send(&turn.sent);
            }
            for expected in &turn.expected {
                let found = if self.is_memcached { talk.line() } else { talk.reply() };
                if !expected.holds(&found) {
                    wrong +=
                        &format!("line {}: {found}\n  wanted {}\n", turn.line, expected.text());
                }
            }
        }
        assert!(wrong.is_empty(), "{} ({cut:?})\n{wrong}", self.name);
    }
}

impl Expected {
    fn text(&self) -> &str {
        match self {
            Self::Exactly(text) | Self::Like(text) | Self::AnyOrder(text) | Self::Left(text) => {
                text
            }
        }
    }

    fn holds(&self, found: &str) -> bool {
        match self {
            Self::Exactly(text) => found == text,
            Self::Like(pattern) => is_like(pattern, found),
            Self::AnyOrder(text) => sorted_parts(found) == sorted_parts(text),
            Self::Left(text) => is_soon_after(text, found),
        }
    }
}

/// Whether `text` has the pieces of `pattern`, with anything in place of each `*`.
fn is_like(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|behind| {
            (0..=behind.len()).any(|at| behind.is_char_boundary(at) && is_like(rest, &behind[at..]))
        }),
    }
}

/// Whether `text` is `wanted` some time later, on a machine that may have stood still: numbers from
/// 100 on are seconds that were left, of which up to 99 have gone by.
fn is_soon_after(wanted: &str, text: &str) -> bool {
    let (wanted, text): (Vec<_>, Vec<_>) = (wanted.split(' ').collect(), text.split(' ').collect());
    let number = |word: &str| word.trim_start_matches([':', 't']).parse::<u64>().ok();
    let is_same = |(wanted, found): (&&str, &&str)| match (number(wanted), number(found)) {
        (Some(wanted), Some(found)) if wanted >= 100 => (wanted - 99..=wanted).contains(&found),
        _ => wanted == found,
    };
    wanted.len() == text.len() && wanted.iter().zip(&text).all(is_same)
}

/// The parts of a shown array, sorted. (Parts of these transcripts contain no commas.)
fn sorted_parts(shown: &str) -> Vec<&str> {
    let inner = shown.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(shown);
    let mut parts: Vec<&str> = inner.split(", ").collect();
    parts.sort_unstable();
    parts
}

fn all() -> Vec<Transcript> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| Transcript::read(path)).collect()
}

/// A line of words as an array of bulks. A word in quotes may have blanks and escapes in it.
fn encode(line: &str) -> Vec<u8> {
    let mut words = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let (word, end) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let length = quoted.find('"').expect("a quote ends");
                (&quoted[..length], length + 2)
            }
            None => {
                let length = rest.find(' ').unwrap_or(rest.len());
                (&rest[..length], length)
            }
        };
        words.push(unescape(word));
        rest = rest[end..].trim_start_matches(' ');
    }
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let mut bytes = Vec::new();
    encode_command(&mut bytes, &words);
    bytes
}

/// `\r`, `\n`, `\\`, `\xNN` and `\{N*c}`, which is the character c N times.
pub(crate) fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, escaped)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        let mark = escaped.as_bytes()[0];
        rest = &escaped[1..];
        match mark {
            b'r' => bytes.push(b'\r'),
            b'n' => bytes.push(b'\n'),
            b't' => bytes.push(b'\t'),
            b'\\' | b'\'' | b'"' => bytes.push(mark),
            b'x' => {
                bytes.push(u8::from_str_radix(&rest[..2], 16).unwrap());
                rest = &rest[2..];
            }
            b'{' => {
                let (inner, behind) = rest.split_once('}').unwrap();
                let (count, what) = inner.split_once('*').unwrap();
                bytes.extend(what.repeat(count.parse().unwrap()).bytes());
                rest = behind;
            }
            _ => panic!("what is \\{}?", char::from(mark)),
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}
