//! Replies of memcached to bytes: each verb appends one reply, or nothing where its client wants
//! none.
//!
//! ```text
//!   VALUE key flags bytes [version]\r\n value \r\n  ...  END\r\n        get
//!   VA bytes flag*\r\n value \r\n        HD flag*\r\n        EN\r\n      mg
//! ```
//!
//! Promises: flags come back in the order in which they were asked for. Nothing is allocated but
//! room in the output.
//! Knows nothing of what is answered, nor of when the bytes leave.
//! Source: doc/protocol.txt of memcached; memcached 1.6.18 for what it leaves open.

use super::command::{Answer, Echo, MetaGet};
use super::refusal::Refusal;
use crate::number::{count_digits, write_unsigned};

/// What a reply can tell of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Bytes of its value.
    pub bytes: usize,
    /// What its client keeps beside the value.
    pub flags: u32,
    /// Its version; memcached calls it cas unique.
    pub version: u64,
    /// Seconds until it expires; `None` for never.
    pub seconds_left: Option<u64>,
    /// Seconds since somebody asked for it, before this command.
    pub idle_seconds: u64,
    /// Whether somebody asked for it, before this command.
    pub was_read: bool,
    /// Whether it was invalidated: whoever made it should make it anew.
    pub is_stale: bool,
    /// Whether this client is the one who should make it.
    pub is_won: bool,
    /// Whether another client is.
    pub is_claimed: bool,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was made.
    Done,
    /// Its condition did not hold.
    NotStored,
    /// The entry has another version.
    Exists,
    /// There is no entry.
    NotFound,
}

impl Outcome {
    /// The code of meta commands.
    fn code(self) -> &'static [u8] {
        match self {
            Outcome::Done => b"HD",
            Outcome::NotStored => b"NS",
            Outcome::Exists => b"EX",
            Outcome::NotFound => b"NF",
        }
    }

    /// The word of text commands, where `done` is that of success.
    fn word(self, done: &'static [u8]) -> &'static [u8] {
        match self {
            Outcome::Done => done,
            Outcome::NotStored => b"NOT_STORED",
            Outcome::Exists => b"EXISTS",
            Outcome::NotFound => b"NOT_FOUND",
        }
    }
}

/// What became of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// It is this now.
    Changed(u64),
    /// There was none, and it was made with this.
    Created(u64),
    /// There is none.
    NotFound,
    /// The entry has another version.
    Exists,
}

/// Flags of `mg` that ask for something. O and k are answered to every meta command.
const ASKED_OF_GET: &[u8] = b"stcflh";

/// Flags of `ms` that ask for something.
const ASKED_OF_PUT: &[u8] = b"cs";

/// Flags of `ma` that ask for something.
const ASKED_OF_INCREMENT: &[u8] = b"ct";

/// Appends replies to bytes.
#[derive(Debug)]
pub struct Encoder<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Encoder<'a> {
    /// Appends to `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Encoder { out }
    }

    /// How many bytes wait in the output, what stood there before included.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether no byte waits in the output.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// The line that says `refusal`.
    pub fn refusal(&mut self, refusal: Refusal) {
        self.line(refusal.words().as_bytes());
    }

    /// The line that says that the server cannot do what it should.
    pub fn failure(&mut self, what: impl std::fmt::Display) {
        use std::io::Write;
        write!(self.out, "SERVER_ERROR {what}\r\n").expect("writing to a Vec cannot fail");
    }

    /// One entry of a `get`, whose value `write` appends; nothing when `write` says there is none.
    ///
    /// Nothing is copied when the entry has as many digits as one of `expected` bytes, without
    /// flags and version; otherwise the value moves by the difference. The bytes of the facts are
    /// those that were written.
    ///
    /// # Errors
    /// What `write` says; the output is then as it was before.
    pub fn entry_with<E>(
        &mut self,
        key: &[u8],
        is_version: bool,
        expected: usize,
        write: impl FnOnce(&mut Vec<u8>) -> Result<Option<Facts>, E>,
    ) -> Result<Option<Facts>, E> {
        let is_told =
            |facts: &Facts| (facts.bytes, facts.flags, is_version.then_some(facts.version));
        self.headed(
            expected,
            write,
            |encoder, facts| encoder.entry_head(key, is_version, facts),
            |guess, found| is_told(guess) == is_told(found),
        )
    }

    /// The end of a `get`, of `stats`.
    pub fn end(&mut self) {
        self.line(b"END");
    }

    /// The reply to an `mg`, whose value `write` appends where it is wanted, and nothing otherwise;
    /// `None` is that there is no entry. `expected` is as for [`entry_with`](Self::entry_with).
    ///
    /// # Errors
    /// What `write` says; the output is then as it was before.
    pub fn meta_entry_with<E>(
        &mut self,
        get: &MetaGet<'_>,
        expected: usize,
        write: impl FnOnce(&mut Vec<u8>) -> Result<Option<Facts>, E>,
    ) -> Result<Option<Facts>, E> {
        if get.echo.is_value {
            let head = |encoder: &mut Self, facts: &Facts| {
                encoder.value_code(facts.bytes);
                encoder.meta_get_tail(&get.echo, facts);
            };
            let found = self.headed(expected, write, head, |guess, found| guess == found)?;
            if found.is_none() {
                self.meta_miss(&get.echo);
            }
            return Ok(found);
        }
        let found = write(self.out)?;
        match &found {
            Some(facts) => {
                self.out.extend_from_slice(b"HD");
                self.meta_get_tail(&get.echo, facts);
            }
            None => self.meta_miss(&get.echo),
        }
        Ok(found)
    }

    /// The reply to a [`Put`](super::Put): the facts are those of the entry as it is now, and of no
    /// use where it was not put.
    pub fn stored(&mut self, answer: &Answer<'_>, outcome: Outcome, facts: &Facts) {
        self.changed(answer, outcome, b"STORED", facts);
    }

    /// The reply to a [`Delete`](super::Delete).
    pub fn deleted(&mut self, answer: &Answer<'_>, outcome: Outcome) {
        self.changed(answer, outcome, b"DELETED", &Facts::default());
    }

    /// The reply to an [`Increment`](super::Increment); the facts are those of the entry as it is
    /// now.
    pub fn counted(&mut self, answer: &Answer<'_>, counted: Counted, facts: &Facts) {
        let (outcome, number) = match counted {
            Counted::Changed(number) | Counted::Created(number) => (Outcome::Done, number),
            Counted::NotFound => (Outcome::NotFound, 0),
            Counted::Exists => (Outcome::Exists, 0),
        };
        let is_done = outcome == Outcome::Done;
        match answer {
            Answer::Text { is_quiet: true } => {}
            Answer::Text { is_quiet: false } if is_done => self.number_line(number),
            Answer::Text { is_quiet: false } => self.line(outcome.word(b"")),
            // That a number was created is told to those who want to hear nothing, as in memcached.
            Answer::Meta(echo) if echo.is_quiet && matches!(counted, Counted::Changed(_)) => {}
            Answer::Meta(echo) if echo.is_value && is_done => {
                self.value_code(count_digits(number));
                self.meta_tail(echo, Some(facts), ASKED_OF_INCREMENT);
                self.number_line(number);
            }
            Answer::Meta(echo) => {
                self.out.extend_from_slice(outcome.code());
                let facts = is_done.then_some(facts);
                self.meta_tail(echo, facts, ASKED_OF_INCREMENT);
            }
        }
    }

    /// The reply to `touch`.
    pub fn touched(&mut self, is_there: bool, is_quiet: bool) {
        if !is_quiet {
            self.line(if is_there { b"TOUCHED" } else { b"NOT_FOUND" });
        }
    }

    /// The reply to `me`: the key as it was sent, and what `seconds_left`, `idle_seconds`,
    /// `version`, `was_read` and `bytes` tell; `class` is that of its memory.
    pub fn debug(&mut self, word: &[u8], facts: &Facts, class: u64) {
        self.out.extend_from_slice(b"ME ");
        self.out.extend_from_slice(word);
        self.out.extend_from_slice(b" exp=");
        self.seconds_left(facts);
        self.field(b"la=", facts.idle_seconds);
        self.field(b"cas=", facts.version);
        self.out.extend_from_slice(if facts.was_read { b" fetch=yes" } else { b" fetch=no" });
        self.field(b"cls=", class);
        self.field(b"size=", facts.bytes as u64);
        self.line_end();
    }

    /// The reply to `me` where there is no entry.
    pub fn debug_miss(&mut self) {
        self.line(b"EN");
    }

    /// The reply to `mn`.
    pub fn no_op(&mut self) {
        self.line(b"MN");
    }

    /// The reply to `flush_all` and `verbosity`.
    pub fn ok(&mut self, is_quiet: bool) {
        if !is_quiet {
            self.line(b"OK");
        }
    }

    /// The reply to `version`.
    pub fn version(&mut self, version: &str) {
        self.out.extend_from_slice(b"VERSION ");
        self.line(version.as_bytes());
    }

    /// The reply to a `set` with the right password.
    pub fn authenticated(&mut self) {
        self.line(b"STORED");
    }

    /// One line of `stats`; [`end`](Self::end) follows the last.
    pub fn stat(&mut self, name: &str, value: impl std::fmt::Display) {
        use std::io::Write;
        write!(self.out, "STAT {name} {value}\r\n").expect("writing to a Vec cannot fail");
    }

    /// The reply to `stats reset`.
    pub fn reset(&mut self) {
        self.line(b"RESET");
    }

    /// A reply of a head, which tells facts of a value, and the value, which `write` appends: the
    /// facts are known only then. `is_same` says whether two heads would be. Nothing is left where
    /// there is no value.
    fn headed<E>(
        &mut self,
        expected: usize,
        write: impl FnOnce(&mut Vec<u8>) -> Result<Option<Facts>, E>,
        head: impl Fn(&mut Self, &Facts),
        is_same: impl Fn(&Facts, &Facts) -> bool,
    ) -> Result<Option<Facts>, E> {
        let start = self.out.len();
        let guess = Facts { bytes: expected, ..Facts::default() };
        head(self, &guess);
        let begin = self.out.len();
        let found = match write(self.out) {
            Ok(Some(facts)) => Facts { bytes: self.out.len() - begin, ..facts },
            Ok(None) => {
                self.out.truncate(start);
                return Ok(None);
            }
            Err(error) => {
                self.out.truncate(start);
                return Err(error);
            }
        };
        if is_same(&guess, &found) {
            self.line_end();
            return Ok(Some(found));
        }
        let end = self.out.len();
        head(self, &found);
        let head_bytes = self.out.len() - end;
        if head_bytes == begin - start {
            self.out.copy_within(end.., start);
            self.out.truncate(end);
        } else {
            // Guess, value, head become head, guess, value; and the guess goes.
            self.out[start..].rotate_right(head_bytes);
            self.out.drain(start + head_bytes..begin + head_bytes);
        }
        self.line_end();
        Ok(Some(found))
    }

    fn entry_head(&mut self, key: &[u8], is_version: bool, facts: &Facts) {
        self.out.extend_from_slice(b"VALUE ");
        self.out.extend_from_slice(key);
        self.field(b"", facts.flags.into());
        self.field(b"", facts.bytes as u64);
        if is_version {
            self.field(b"", facts.version);
        }
        self.line_end();
    }

    /// The code of a reply with a value, and how long that is.
    fn value_code(&mut self, bytes: usize) {
        self.out.extend_from_slice(b"VA");
        self.field(b"", bytes as u64);
    }

    fn meta_miss(&mut self, echo: &Echo<'_>) {
        if !echo.is_quiet {
            self.out.extend_from_slice(b"EN");
            self.meta_tail(echo, None, b"");
        }
    }

    /// The reply to a change, where `done` is the word of success.
    fn changed(
        &mut self,
        answer: &Answer<'_>,
        outcome: Outcome,
        done: &'static [u8],
        facts: &Facts,
    ) {
        match answer {
            Answer::Text { is_quiet: true } => {}
            Answer::Text { is_quiet: false } => self.line(outcome.word(done)),
            Answer::Meta(echo) if echo.is_quiet && outcome == Outcome::Done => {}
            Answer::Meta(echo) => {
                self.out.extend_from_slice(outcome.code());
                let asked = if done == b"STORED" { ASKED_OF_PUT } else { b"" };
                self.meta_tail(echo, Some(facts), asked);
            }
        }
    }

    /// What stands behind the code of a reply to `mg`: the flags, and how it stands with a recache.
    fn meta_get_tail(&mut self, echo: &Echo<'_>, facts: &Facts) {
        self.meta_flags(echo, Some(facts), ASKED_OF_GET);
        for (is_so, mark) in
            [(facts.is_claimed, b" Z"), (facts.is_stale, b" X"), (facts.is_won, b" W")]
        {
            if is_so {
                self.out.extend_from_slice(mark);
            }
        }
        self.line_end();
    }

    /// What stands behind the code of any other reply.
    fn meta_tail(&mut self, echo: &Echo<'_>, facts: Option<&Facts>, asked: &[u8]) {
        self.meta_flags(echo, facts, asked);
        self.line_end();
    }

    /// Of the flags, those that are `asked` of this command, and those that every one sends back.
    fn meta_flags(&mut self, echo: &Echo<'_>, facts: Option<&Facts>, asked: &[u8]) {
        for flag in echo.flags.iter() {
            match (flag[0], facts) {
                (b'O', _) => {
                    self.out.push(b' ');
                    self.out.extend_from_slice(flag);
                }
                (b'k', _) => self.echo_key(echo),
                (letter, Some(facts)) if asked.contains(&letter) => self.fact(letter, facts),
                _ => {}
            }
        }
    }

    fn echo_key(&mut self, echo: &Echo<'_>) {
        self.out.extend_from_slice(b" k");
        self.out.extend_from_slice(echo.word);
        if echo.is_base64 {
            self.out.extend_from_slice(b" b");
        }
    }

    fn fact(&mut self, letter: u8, facts: &Facts) {
        self.out.extend_from_slice(&[b' ', letter]);
        match letter {
            b's' => write_unsigned(self.out, facts.bytes as u64),
            b't' => self.seconds_left(facts),
            b'c' => write_unsigned(self.out, facts.version),
            b'f' => write_unsigned(self.out, facts.flags.into()),
            b'l' => write_unsigned(self.out, facts.idle_seconds),
            _ => self.out.push(b'0' + u8::from(facts.was_read)),
        }
    }

    /// -1 is never.
    fn seconds_left(&mut self, facts: &Facts) {
        match facts.seconds_left {
            Some(seconds) => write_unsigned(self.out, seconds),
            None => self.out.extend_from_slice(b"-1"),
        }
    }

    /// A space, `name` and `value`.
    fn field(&mut self, name: &[u8], value: u64) {
        self.out.push(b' ');
        self.out.extend_from_slice(name);
        write_unsigned(self.out, value);
    }

    fn number_line(&mut self, number: u64) {
        write_unsigned(self.out, number);
        self.line_end();
    }

    fn line(&mut self, text: &[u8]) {
        self.out.extend_from_slice(text);
        self.line_end();
    }

    fn line_end(&mut self) {
        self.out.extend_from_slice(b"\r\n");
    }
}
