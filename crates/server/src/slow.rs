//! Commands that took long: how it is noticed, and where it is kept for SLOWLOG.
//!
//! ```text
//!   notices   next number | first number that is told
//!   places    state | when, s | took, us | bytes | address, name, arguments ...     PLACES of them
//!                |
//!                +-- 0: being written    n + 1: notice n, whole
//! ```
//!
//! Promises: a quick command costs a look at a coarse clock. Processes share the notices, and none
//! waits for another: who dies while it writes one leaves a place that is not used again.
//! Source: slowlog.c of Redis 7.0.15 for what is kept of long arguments.

use std::io::Write;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::fence;
use std::time::{Duration, Instant};

use morecore_sys::process::SharedWords;
use morecore_sys::{Failed, clock};
use morecore_wire::Arguments;

/// Notices that are kept at most: Redis's own default of `slowlog-max-len`.
pub(crate) const PLACES: usize = 128;

/// Arguments of a command that are kept at most, and bytes of each.
const ARGUMENTS_MOST: usize = 32;
const ARGUMENT_BYTES_MOST: usize = 128;

/// Words of a place: four, and texts of five KiB: 32 arguments of 128 bytes, each with a few words
/// about what is missing, an address and a name.
const PLACE_WORDS: usize = 4 + 640;
const TEXT_BYTES_MOST: usize = (PLACE_WORDS - 4) * 8;

/// Words before the first place.
const HEAD_WORDS: usize = 2;

/// Thresholds from this on are watched for by the coarse clock: it goes by ticks of 10 ms at most.
const COARSE_US: i64 = 10_000;

/// Notices a command that took long, for one thread.
#[derive(Debug)]
pub(crate) struct Watch {
    /// `None`: nothing is slow.
    threshold: Option<Duration>,
    is_coarse: bool,
    /// What the coarse clock showed last.
    mark: u64,
    marked: Instant,
}

/// The notices of a server.
#[derive(Debug)]
pub(crate) struct SlowLog {
    words: SharedWords,
}

/// A command that took long.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) number: u64,
    pub(crate) at_s: u64,
    pub(crate) took_us: u64,
    /// The client's address, its name, then the arguments.
    pub(crate) texts: Vec<Vec<u8>>,
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self { threshold: None, is_coarse: true, mark: 0, marked: Instant::now() }
    }

    /// A turn begins, and commands that take `threshold_us` are slow; none is if that is negative.
    pub(crate) fn begin(&mut self, threshold_us: i64) {
        self.threshold = u64::try_from(threshold_us).ok().map(Duration::from_micros);
        self.is_coarse = threshold_us >= COARSE_US;
        self.lap();
    }

    /// A command has ended, and the next begins; returns how long it took if that was long. By the
    /// coarse clock it may be told a tick too much, never too little.
    #[inline]
    pub(crate) fn lap(&mut self) -> Option<Duration> {
        let threshold = self.threshold?;
        if self.is_coarse {
            let mark = clock::coarse_mark();
            if mark == self.mark {
                return None;
            }
            self.mark = mark;
        }
        let now = Instant::now();
        let took = now - self.marked;
        self.marked = now;
        (took >= threshold).then_some(took)
    }
}

impl SlowLog {
    pub(crate) fn new() -> Result<Self, Failed> {
        Ok(Self { words: SharedWords::new(HEAD_WORDS + PLACES * PLACE_WORDS)? })
    }

    /// Keeps a notice; the oldest goes.
    pub(crate) fn add(
        &self,
        at_s: u64,
        took: Duration,
        [address, name]: [&[u8]; 2],
        arguments: Arguments<'_>,
    ) {
        let mut text = Vec::with_capacity(256);
        put(&mut text, address);
        put(&mut text, name);
        put_arguments(&mut text, arguments);
        let number = self.words[0].fetch_add(1, Relaxed);
        let place = self.place(number);
        let state = place[0].load(Relaxed);
        // Acquire, so that what is written below stays below; Release is for those who read.
        let is_ours = (state != 0 || number < PLACES as u64)
            && place[0].compare_exchange(state, 0, AcqRel, Relaxed).is_ok();
        if !is_ours || text.len() > TEXT_BYTES_MOST {
            return;
        }
        // A reader that sees one of these words sees the 0 before it: pairs with its fence.
        fence(Release);
        place[1].store(at_s, Relaxed);
        place[2].store(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
        place[3].store(text.len() as u64, Relaxed);
        for (word, bytes) in place[4..].iter().zip(text.chunks(8)) {
            let mut whole = [0; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_le_bytes(whole), Relaxed);
        }
        // Pairs with the Acquire in `read`: who sees the number sees all of the notice.
        place[0].store(number + 1, Release);
    }

    /// The newest notices, at most `count`, the newest first.
    pub(crate) fn newest(&self, count: usize) -> Vec<Notice> {
        let (end, first) = (self.words[0].load(Relaxed), self.words[1].load(Relaxed));
        let numbers = first.max(end.saturating_sub(PLACES as u64))..end;
        numbers.rev().filter_map(|number| self.read(number)).take(count).collect()
    }

    /// Forgets all but the newest `count` of them.
    pub(crate) fn forget_but(&self, count: u64) {
        self.words[1].fetch_max(self.words[0].load(Relaxed).saturating_sub(count), Relaxed);
    }

    /// Notice `number`, if it is there and whole.
    fn read(&self, number: u64) -> Option<Notice> {
        let place = self.place(number);
        // Pairs with the Release at the end of `add`.
        if place[0].load(Acquire) != number + 1 {
            return None;
        }
        let (at_s, took_us) = (place[1].load(Relaxed), place[2].load(Relaxed));
        let bytes = (place[3].load(Relaxed) as usize).min(TEXT_BYTES_MOST);
        let words = place[4..].iter().take(bytes.div_ceil(8));
        let mut text: Vec<u8> = words.flat_map(|word| word.load(Relaxed).to_le_bytes()).collect();
        text.truncate(bytes);
        // Pairs with the fence in `add`: had any of these words been another's, its 0 would show.
        fence(Acquire);
        let is_whole = place[0].load(Relaxed) == number + 1;
        is_whole.then(|| Notice { number, at_s, took_us, texts: texts(&text) })
    }

    fn place(&self, number: u64) -> &[std::sync::atomic::AtomicU64] {
        let at = HEAD_WORDS + number as usize % PLACES * PLACE_WORDS;
        &self.words[at..at + PLACE_WORDS]
    }
}

/// Appends a text behind its length, cut to what a byte counts.
fn put(out: &mut Vec<u8>, text: &[u8]) {
    let text = &text[..text.len().min(usize::from(u8::MAX))];
    out.push(text.len() as u8);
    out.extend_from_slice(text);
}

/// Appends the arguments, long ones and long rows of them cut as Redis cuts them.
fn put_arguments(out: &mut Vec<u8>, arguments: Arguments<'_>) {
    let count = arguments.len();
    let kept = if count > ARGUMENTS_MOST { ARGUMENTS_MOST - 1 } else { count };
    let is_secret = matches!(arguments.get(0), Some(name) if is_told_a_password(name));
    for (index, argument) in arguments.iter().take(kept).enumerate() {
        if is_secret && index > 0 {
            put(out, b"(redacted)");
            continue;
        }
        let mut text = argument[..argument.len().min(ARGUMENT_BYTES_MOST)].to_vec();
        if text.len() < argument.len() {
            let more = argument.len() - text.len();
            write!(text, "... ({more} more bytes)").expect("writing to a Vec cannot fail");
        }
        put(out, &text);
    }
    if kept < count {
        put(out, format!("... ({} more arguments)", count - kept).as_bytes());
    }
}

/// Whether the arguments of the command `name` may hold a password.
fn is_told_a_password(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"auth") || name.eq_ignore_ascii_case(b"hello")
}

/// The texts that [`put`] has put.
fn texts(mut text: &[u8]) -> Vec<Vec<u8>> {
    let mut texts = Vec::new();
    while let Some((&bytes, rest)) = text.split_first() {
        let (one, behind) = rest.split_at(usize::from(bytes).min(rest.len()));
        texts.push(one.to_vec());
        text = behind;
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;
    use morecore_wire::{Parser, Progress, encode_command};

    fn note(log: &SlowLog, words: &[&[u8]]) {
        let mut bytes = Vec::new();
        encode_command(&mut bytes, words);
        let mut parser = Parser::default();
        assert_eq!(parser.parse(&bytes), Ok(Progress::Whole { consumed: bytes.len() }));
        log.add(1, Duration::from_micros(7), [b"from", b"name"], parser.arguments(&bytes));
    }

    /// The arguments of the newest notice.
    fn kept(words: &[&[u8]]) -> Vec<Vec<u8>> {
        let log = SlowLog::new().unwrap();
        note(&log, words);
        let notice = log.newest(1).pop().unwrap();
        assert_eq!((notice.number, notice.at_s, notice.took_us), (0, 1, 7));
        assert_eq!(&notice.texts[..2], [b"from", b"name"]);
        notice.texts[2..].to_vec()
    }

    #[test]
    fn long_arguments_and_long_rows_of_them_are_cut() {
        assert_eq!(kept(&[b"GET", b""]), [b"GET".as_slice(), b""]);
        let cut = kept(&[&b"x".repeat(200)]).pop().unwrap();
        assert_eq!(cut, [b"x".repeat(128).as_slice(), b"... (72 more bytes)"].concat());
        assert_eq!(kept(&[b"a".as_slice(); 32]).len(), 32);
        let cut = kept(&[b"x".repeat(200).as_slice(); 40]);
        assert_eq!((cut.len(), cut[31].as_slice()), (32, b"... (9 more arguments)".as_slice()));
        assert_eq!(kept(&[b"AUTH", b"secret"]), [b"AUTH".as_slice(), b"(redacted)"]);
    }

    #[test]
    fn the_newest_are_kept() {
        let log = SlowLog::new().unwrap();
        (0..1000).for_each(|_| note(&log, &[b"PING"]));
        let numbers: Vec<u64> = log.newest(3).iter().map(|notice| notice.number).collect();
        assert_eq!(numbers, [999, 998, 997]);
        assert_eq!(log.newest(usize::MAX).len(), PLACES);
        log.forget_but(2);
        assert_eq!(log.newest(usize::MAX).len(), 2);
        log.forget_but(0);
        assert_eq!(log.newest(usize::MAX), []);
    }
}
