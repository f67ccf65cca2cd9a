//! The parent's end of the line to a child: it answers what the child asks of the exchange, and
//! passes on what others say to the child's client.
//!
//! Promises: the parent waits for no child. What waits for a child is at most an answer, a batch of
//! messages, and what its inbox may have.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use morecore_sys::descriptor::Descriptor;
use morecore_sys::ready::Interest;
use morecore_sys::socket;
use morecore_wire::{Encoder, Version};

use crate::clients::Place;
use crate::error::system;
use crate::exchange::line::{Question, read_question, with_asked, write_answer, write_message};
use crate::exchange::{Asked, Inbox, Standing, Who};

/// Bytes read at once; the next come when all other children had their turn.
const READ_BYTES: usize = 64 << 10;

/// The parent's end of a line.
pub(super) struct Ear {
    socket: Descriptor,
    received: Vec<u8>,
    /// What goes to the child; what is before `sent` is gone.
    output: Vec<u8>,
    sent: usize,
    /// Where what others say to its client waits.
    inbox: Option<Arc<Inbox>>,
    /// What the line is waited for.
    pub(super) interest: Interest,
}

impl Ear {
    pub(super) fn new(socket: Descriptor) -> Self {
        let (received, output) = (Vec::new(), Vec::new());
        Self { socket, received, output, sent: 0, inbox: None, interest: Interest::Read }
    }

    pub(super) const fn descriptor(&self) -> &Descriptor {
        &self.socket
    }

    /// What the line is to be waited for.
    pub(super) const fn wanted(&self) -> Interest {
        if self.output.is_empty() { Interest::Read } else { Interest::Both }
    }

    /// Takes note that others have said something to the client of `place`, which may never have
    /// asked for it.
    pub(super) fn sit(&mut self, place: &mut Place) {
        let who = Who { id: place.id, desk: 0 };
        if self.inbox.is_none() && place.exchange().sit(who).is_some() {
            place.is_member = true;
            self.inbox = place.exchange().inbox(place.id);
        }
    }

    /// Reads once, and answers what was asked for the client of `place`.
    pub(super) fn hear(&mut self, place: &mut Place) -> io::Result<()> {
        let mut piece = [0; READ_BYTES];
        match socket::receive_now(&self.socket, &mut piece).map_err(system) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.received.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        let received = std::mem::take(&mut self.received);
        let mut done = 0;
        while let Some((question, count)) = read_question(&received[done..]) {
            self.answer(&question, place);
            done += count;
        }
        self.received = received[done..].to_vec();
        Ok(())
    }

    /// Sends what the line takes now: answers, and what others said.
    pub(super) fn pass_on(&mut self) -> io::Result<()> {
        loop {
            if self.output.is_empty() {
                self.take_messages();
            }
            if self.output.is_empty() {
                return Ok(());
            }
            match socket::send_now(&self.socket, &self.output[self.sent..]).map_err(system) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            if self.sent == self.output.len() {
                (self.output, self.sent) = (Vec::new(), 0);
            }
        }
    }

    fn answer(&mut self, question: &Question<'_>, place: &mut Place) {
        // What was said before comes before.
        self.take_messages();
        let who = Who { id: place.id, desk: 0 };
        let is_crowded = place.is_crowded();
        let ask = |asked: Asked<'_>, reply: &mut Encoder<'_>| {
            place.exchange().answer(who, asked, is_crowded, reply)
        };
        let standing = if question.wants_answer {
            let mut standing = Standing::default();
            write_answer(question.version, &mut self.output, |reply| {
                // A child writes nothing else.
                standing =
                    with_asked(question.words, |asked| ask(asked, reply)).unwrap_or_default();
                standing
            });
            standing
        } else {
            let nobody = &mut Vec::new();
            let reply = &mut Encoder::new(nobody, Version::Resp3);
            with_asked(question.words, |asked| ask(asked, reply)).unwrap_or_default()
        };
        place.is_member = standing.is_any();
        self.inbox = place.is_member.then(|| place.exchange().inbox(place.id)).flatten();
    }

    fn take_messages(&mut self) {
        let messages = self.inbox.as_ref().map(|inbox| inbox.take()).unwrap_or_default();
        for message in messages {
            write_message(&message, &mut self.output);
        }
    }
}
