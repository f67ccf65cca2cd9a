//! A recorded program: every call that it made of its allocator, replayed on the malloc of this
//! process.
//!
//! ```text
//! text   202: malloc 0xb4827400 1024
//!        202: realloc 0xb4841080 0xb4840a60 128        address new, old, bytes
//!   --write--> file   | kind and place: u32 | bytes: u32 |   a call, little-endian
//!   --play-->  an outcome
//! ```
//!
//! Addresses become places in a table, and a place is used again once its payload is freed, so the
//! table is as long as most payloads live at once. The calls of all threads are made by one, in the
//! order of the recording: threads that waited for one another would be what is measured.
//!
//! Promises: the outcome depends on the recording alone. Of a payload the first byte and one of
//! each page is written, and the first is read again when it is freed.
//! Knows nothing of archives and of who competes.
//! Source: the traces of the Android Open Source Project, platform/system/extras, memory_replay.

use std::collections::HashMap;
use std::fs::File;
use std::hint::black_box;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::path::Path;

use crate::workloads::PAGE;

/// The bits of a call's first word that name its place; the kind stands above them.
const PLACE_BITS: u32 = 30;

/// The bytes of a call in the file.
const CALL_BYTES: usize = 8;

/// Calls that are read at a time: what is resident for it counts on every malloc.
const READ_CALLS: usize = 8 << 10;

/// What a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Allocate,
    Zero,
    Resize,
    Free,
}

const KINDS: [Kind; 4] = [Kind::Allocate, Kind::Zero, Kind::Resize, Kind::Free];

/// One call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Call {
    kind: Kind,
    place: u32,
    bytes: u32,
}

impl Call {
    fn to_bytes(self) -> [u8; CALL_BYTES] {
        let head = (self.kind as u32) << PLACE_BITS | self.place;
        (u64::from(self.bytes) << 32 | u64::from(head)).to_le_bytes()
    }

    fn from_bytes(bytes: [u8; CALL_BYTES]) -> Call {
        let whole = u64::from_le_bytes(bytes);
        let head = whole as u32;
        let (kind, place) = (KINDS[(head >> PLACE_BITS) as usize], head & !(3 << PLACE_BITS));
        Call { kind, place, bytes: (whole >> 32) as u32 }
    }
}

/// Writes a recording's text as calls.
///
/// # Errors
/// - A line that says something else than the traces' README allows, by its number.
pub fn write(text: impl BufRead, mut file: impl Write) -> io::Result<()> {
    let mut places = Places::default();
    for (index, line) in text.lines().enumerate() {
        let line = line?;
        let wrong = || {
            let sentence = format!("line {}: no call: `{line}`", index + 1);
            io::Error::new(ErrorKind::InvalidData, sentence)
        };
        if let Some(call) = places.call(&line).ok_or_else(wrong)? {
            file.write_all(&call.to_bytes())?;
        }
    }
    file.flush()
}

/// Which addresses are live, and in which places.
#[derive(Default)]
struct Places {
    live: HashMap<String, u32>,
    free: Vec<u32>,
    count: u32,
}

/// The address of nothing.
const NULL: &str = "0x0";

impl Places {
    /// The call of a line: `None` if it is no line of a recording, `Some(None)` if it asks the
    /// allocator for nothing.
    fn call(&mut self, line: &str) -> Option<Option<Call>> {
        let (_thread, call) = line.split_once(": ")?;
        let words: Vec<&str> = call.split(' ').collect();
        let number = |word: &str| word.parse::<u32>().ok();
        Some(match words[..] {
            ["malloc", at, bytes] | ["memalign", at, _, bytes] => {
                self.enter(Kind::Allocate, at, number(bytes)?)
            }
            ["calloc", at, count, bytes] => {
                self.enter(Kind::Zero, at, number(count)?.checked_mul(number(bytes)?)?)
            }
            ["realloc", at, NULL, bytes] => self.enter(Kind::Allocate, at, number(bytes)?),
            ["realloc", at, old, bytes] => {
                let place = self.live.remove(old)?;
                self.live.insert(at.to_string(), place);
                Some(Call { kind: Kind::Resize, place, bytes: number(bytes)? })
            }
            ["free", NULL] | ["thread_done", _] => None,
            ["free", at] => {
                let place = self.live.remove(at)?;
                self.free.push(place);
                Some(Call { kind: Kind::Free, place, bytes: 0 })
            }
            _ => return None,
        })
    }

    fn enter(&mut self, kind: Kind, at: &str, bytes: u32) -> Option<Call> {
        let place = self.free.pop().unwrap_or_else(|| {
            self.count += 1;
            self.count - 1
        });
        // An address that is live already was freed unseen; what was there lives to the end.
        self.live.insert(at.to_string(), place);
        Some(Call { kind, place, bytes })
    }
}

/// Plays the calls in the file at `path` so many times; what lives at the end of one is freed.
///
/// # Errors
/// - The file cannot be read.
pub(crate) fn play(path: &Path, times: u32) -> io::Result<u64> {
    let mut sum = 0u64;
    for _ in 0..times {
        let mut table = Table::default();
        let mut file = BufReader::with_capacity(READ_CALLS * CALL_BYTES, File::open(path)?);
        let mut bytes = [0; CALL_BYTES];
        while !file.fill_buf()?.is_empty() {
            file.read_exact(&mut bytes)?;
            table.play(Call::from_bytes(bytes));
        }
        sum = sum.wrapping_add(table.finish());
    }
    Ok(sum)
}

/// The payloads, by their places.
#[derive(Default)]
struct Table {
    payloads: Vec<Vec<u8>>,
    calls: u64,
    sum: u64,
}

impl Table {
    fn play(&mut self, call: Call) {
        self.calls += 1;
        let (mark, bytes) = (self.calls as u8, call.bytes as usize);
        let place = call.place as usize;
        if place >= self.payloads.len() {
            self.payloads.resize_with(place + 1, Vec::new);
        }
        let payload = &mut self.payloads[place];
        match call.kind {
            Kind::Allocate => *payload = used(Vec::with_capacity(bytes), mark),
            Kind::Zero => {
                // What is zeroed is used here and there, not from end to end.
                let mut zeroed = black_box(vec![0; bytes]);
                zeroed.truncate(1);
                zeroed.iter_mut().for_each(|first| *first = mark);
                *payload = zeroed;
            }
            Kind::Resize => resize(payload, bytes, mark),
            Kind::Free => self.sum += give_back(std::mem::take(payload)),
        }
    }

    fn finish(self) -> u64 {
        self.payloads.into_iter().map(give_back).sum::<u64>().wrapping_add(self.sum)
    }
}

/// Writes the first byte, and one in each page.
fn used(mut payload: Vec<u8>, mark: u8) -> Vec<u8> {
    if payload.capacity() > 0 {
        payload.push(mark);
    }
    for page in payload.spare_capacity_mut().chunks_mut(PAGE) {
        page[0].write(mark);
    }
    black_box(payload)
}

/// Asks for another size, as a vector does that holds one byte.
fn resize(payload: &mut Vec<u8>, bytes: usize, mark: u8) {
    let before = payload.capacity();
    payload.shrink_to(bytes);
    payload.reserve_exact(bytes - payload.len().min(bytes));
    for page in payload.spare_capacity_mut().chunks_mut(PAGE).skip(before / PAGE) {
        page[0].write(mark);
    }
    black_box(payload);
}

/// Frees a payload, and gives what was written into it.
fn give_back(payload: Vec<u8>) -> u64 {
    payload.first().copied().map_or(0, u64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(Kind, u32, u32)]) {
        let mut file = Vec::new();
        write(text.as_bytes(), &mut file).expect("every line is a call");
        let calls: Vec<_> = file
            .chunks_exact(CALL_BYTES)
            .map(|bytes| Call::from_bytes(bytes.try_into().expect("a call's bytes")))
            .map(|call| (call.kind, call.place, call.bytes))
            .collect();
        assert_eq!(calls, expected, "{text}");
    }

    #[test]
    fn addresses_become_places_that_are_used_again() {
        check(
            "7: malloc 0xa 24\n7: calloc 0xb 3 8",
            &[(Kind::Allocate, 0, 24), (Kind::Zero, 1, 24)],
        );
        check(
            "7: malloc 0xa 1\n8: free 0xa\n7: memalign 0xb 16 104",
            &[(Kind::Allocate, 0, 1), (Kind::Free, 0, 0), (Kind::Allocate, 0, 104)],
        );
        check(
            "7: realloc 0xa 0x0 8\n7: realloc 0xb 0xa 16\n7: free 0xb\n7: free 0x0\n\
             7: thread_done 0x0",
            &[(Kind::Allocate, 0, 8), (Kind::Resize, 0, 16), (Kind::Free, 0, 0)],
        );
    }

    #[test]
    fn a_line_that_is_no_call_is_named() {
        for text in ["7: free 0xa", "malloc 0xa 8", "7: malloc 0xa x", "7: strdup 0xa 8"] {
            let error = write(text.as_bytes(), io::sink()).expect_err(text);
            assert!(error.to_string().contains("line 1"), "{error}");
        }
    }

    #[test]
    fn an_outcome_depends_on_the_recording() {
        let mut table = Table::default();
        for (kind, bytes) in [(Kind::Allocate, 5000), (Kind::Resize, 9000), (Kind::Resize, 3)] {
            table.play(Call { kind, place: 2, bytes });
        }
        table.play(Call { kind: Kind::Zero, place: 0, bytes: 100 });
        table.play(Call { kind: Kind::Free, place: 2, bytes: 0 });
        assert_eq!((table.sum, table.finish()), (1, 5));
    }
}
