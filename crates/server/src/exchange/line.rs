//! The line between a child and its parent, which has the exchange.
//!
//! ```text
//!   child to parent:  length 4 | wants an answer 1 | version of RESP 1 | what is asked
//!   parent to child:  length 4 | kind 1 | a message, or: what the client is 13 | the reply
//! ```
//!
//! The length is of all that follows it; numbers are little-endian.
//!
//! Promises: messages and answers come in the order in which they were given. A child waits for
//! its parent, and the parent for no child.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use morecore_sys::descriptor::Descriptor;
use morecore_sys::socket;
use morecore_wire::{Encoder, Limits, Parser, Progress, Version};

use super::{Asked, Message, Standing};
use crate::error::system;

/// Bytes of a frame before what it carries: its length, and a kind.
const HEAD_BYTES: usize = 5;

/// Bytes of a [`Standing`].
const STANDING_BYTES: usize = 13;

/// The kinds of frames from the parent.
const MESSAGE: u8 = 0;
const ANSWER: u8 = 1;

/// Bytes read at once.
const READ_BYTES: usize = 16 << 10;

/// A child's end.
#[derive(Debug)]
pub(crate) struct Line {
    socket: Arc<Descriptor>,
    received: Vec<u8>,
    messages: Vec<Message>,
}

/// What a child asked.
pub(crate) struct Question<'a> {
    pub(crate) wants_answer: bool,
    pub(crate) version: Version,
    pub(crate) words: &'a [u8],
}

impl Line {
    pub(crate) const fn new(socket: Arc<Descriptor>) -> Self {
        Self { socket, received: Vec::new(), messages: Vec::new() }
    }

    /// What is readable when something came.
    pub(crate) fn descriptor(&self) -> &Descriptor {
        &self.socket
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// The parent is gone.
    pub(crate) fn ask(
        &mut self,
        asked: Asked<'_>,
        reply: &mut Encoder<'_>,
    ) -> io::Result<Standing> {
        self.send(asked, true, reply.version())?;
        loop {
            if let Some(answer) = self.next_answer() {
                let (standing, encoded) = answer.split_at(STANDING_BYTES);
                reply.encoded(encoded);
                return Ok(read_standing(standing));
            }
            self.receive()?;
        }
    }

    /// Says something that needs no answer.
    ///
    /// # Errors
    /// The parent is gone.
    pub(crate) fn tell(&mut self, asked: Asked<'_>) -> io::Result<()> {
        self.send(asked, false, Version::Resp3)
    }

    /// Reads what came, or waits until something does.
    ///
    /// # Errors
    /// The parent is gone.
    pub(crate) fn receive(&mut self) -> io::Result<()> {
        let mut piece = [0; READ_BYTES];
        match socket::receive(&self.socket, &mut piece).map_err(system)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            count => {
                self.received.extend_from_slice(&piece[..count]);
                Ok(())
            }
        }
    }

    /// Takes the messages that came.
    pub(crate) fn take_messages(&mut self) -> Vec<Message> {
        let mut piece = [0; READ_BYTES];
        // Where nothing is there now, or nothing will ever be, that is all.
        while let Ok(count @ 1..) = socket::receive_now(&self.socket, &mut piece) {
            self.received.extend_from_slice(&piece[..count]);
            if count < piece.len() {
                break;
            }
        }
        // No answer is there: whoever asks waits for it.
        let _none = self.next_answer();
        std::mem::take(&mut self.messages)
    }

    /// Whether a message was read already, beside an answer: nothing more may come to tell of it.
    pub(crate) fn has_messages(&self) -> bool {
        !self.messages.is_empty() || read_frame(&self.received).is_some()
    }

    fn send(&self, asked: Asked<'_>, wants_answer: bool, version: Version) -> io::Result<()> {
        let mut frame = vec![0; HEAD_BYTES - 1];
        frame.extend([u8::from(wants_answer), version.number() as u8]);
        asked.write(&mut frame);
        write_length(&mut frame, 0);
        let mut rest = &frame[..];
        while !rest.is_empty() {
            rest = &rest[socket::send(&self.socket, rest).map_err(system)?..];
        }
        Ok(())
    }

    /// Takes the whole frames up to the first answer, which it returns.
    fn next_answer(&mut self) -> Option<Vec<u8>> {
        let (mut done, mut answer) = (0, None);
        while let Some((kind, carried, count)) = read_frame(&self.received[done..]) {
            done += count;
            if kind == ANSWER {
                answer = Some(carried.to_vec());
                break;
            }
            self.messages.push(carried.into());
        }
        self.received.drain(..done);
        answer
    }
}

/// Appends a message, for a child.
pub(crate) fn write_message(message: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend([0, 0, 0, 0, MESSAGE]);
    out.extend_from_slice(message);
    write_length(out, start);
}

/// Appends an answer, for a child; `answer` writes the reply, and tells what the client is.
pub(crate) fn write_answer(
    version: Version,
    out: &mut Vec<u8>,
    answer: impl FnOnce(&mut Encoder<'_>) -> Standing,
) {
    let start = out.len();
    out.extend([0, 0, 0, 0, ANSWER]);
    out.extend([0; STANDING_BYTES]);
    let standing = answer(&mut Encoder::new(out, version));
    let at = start + HEAD_BYTES;
    out[at..at + STANDING_BYTES].copy_from_slice(&standing_bytes(standing));
    write_length(out, start);
}

/// The first question in `bytes`, and how many bytes it is.
pub(crate) fn read_question(bytes: &[u8]) -> Option<(Question<'_>, usize)> {
    let (wants_answer, carried, count) = read_frame(bytes)?;
    let (&version, words) = carried.split_first()?;
    let version = if version == 3 { Version::Resp3 } else { Version::Resp2 };
    Some((Question { wants_answer: wants_answer == 1, version, words }, count))
}

/// Calls `each` with what a question asks.
pub(crate) fn with_asked<R>(words: &[u8], each: impl FnOnce(Asked<'_>) -> R) -> Option<R> {
    // The child has judged how long it may be.
    let mut parser = Parser::new(Limits { bulk_bytes_most: usize::MAX, ..Limits::DEFAULT });
    match parser.parse(words) {
        Ok(Progress::Whole { .. }) => Asked::read(parser.arguments(words)).map(each),
        _ => None,
    }
}

/// The first frame in `bytes`: its first byte, what else it carries, and how many bytes it is.
fn read_frame(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (length, rest) = bytes.split_first_chunk()?;
    let length = u32::from_le_bytes(*length) as usize;
    let (&first, carried) = rest.get(..length)?.split_first()?;
    Some((first, carried, HEAD_BYTES - 1 + length))
}

/// Writes the length of the frame that begins at `start` and ends here.
fn write_length(out: &mut [u8], start: usize) {
    // Nothing is as long as 4 GiB: an argument has a bound, and so has a reply about names.
    let length = (out.len() - start - (HEAD_BYTES - 1)) as u32;
    out[start..start + HEAD_BYTES - 1].copy_from_slice(&length.to_le_bytes());
}

fn standing_bytes(standing: Standing) -> [u8; STANDING_BYTES] {
    let mut bytes = [0; STANDING_BYTES];
    for (to, from) in bytes.chunks_exact_mut(4).zip(standing.listening) {
        to.copy_from_slice(&from.to_le_bytes());
    }
    bytes[STANDING_BYTES - 1] = u8::from(standing.is_monitor)
        | u8::from(standing.is_tracking) << 1
        | u8::from(standing.is_waiting) << 2
        | u8::from(standing.is_told) << 3;
    bytes
}

fn read_standing(bytes: &[u8]) -> Standing {
    let number = |index: usize| {
        let bytes = bytes.get(4 * index..4 * index + 4).and_then(|four| four.try_into().ok());
        bytes.map_or(0, u32::from_le_bytes)
    };
    let is_so = |bit: u8| bytes.last().is_some_and(|bits| bits >> bit & 1 != 0);
    Standing {
        listening: [number(0), number(1), number(2)],
        is_monitor: is_so(0),
        is_tracking: is_so(1),
        is_waiting: is_so(2),
        is_told: is_so(3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_by_a_line_comes_out() {
        let (ours, theirs) = socket::pair().unwrap();
        let mut line = Line::new(ours.into());
        let listening = [1, 2, 70_000];
        let standing =
            Standing { listening, is_monitor: true, is_told: true, ..Standing::default() };
        let mut out = Vec::new();
        write_message(b"+one\r\n", &mut out);
        write_answer(Version::Resp2, &mut out, |reply| {
            reply.integer(7);
            standing
        });
        write_message(b"+two\r\n", &mut out);
        assert_eq!(socket::send(&theirs, &out).unwrap(), out.len());
        let mut reply = Vec::new();
        let answered = line.ask(Asked::Cut(5), &mut Encoder::new(&mut reply, Version::Resp2));
        assert_eq!((answered.unwrap(), &reply[..]), (standing, &b":7\r\n"[..]));
        let messages = line.take_messages();
        assert_eq!(messages.iter().map(|m| &m[..]).collect::<Vec<_>>(), [b"+one\r\n", b"+two\r\n"]);
        let mut asked = [0; 100];
        let count = socket::receive(&theirs, &mut asked).unwrap();
        let (question, whole) = read_question(&asked[..count]).unwrap();
        assert_eq!((question.wants_answer, question.version, whole), (true, Version::Resp2, count));
        assert!(with_asked(question.words, |asked| asked == Asked::Cut(5)).unwrap());
        assert!(read_question(&asked[..count - 1]).is_none());
    }
}
