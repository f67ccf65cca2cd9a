//! One client: bytes in, bytes out; no socket.
//!
//! ```text
//!              receive                                       output, sent
//!   socket ---> input --language--> command --execute--> reply --> output ---> socket
//!
//!   open --the client ends--> finishing --all answered and sent--> over
//!     |--QUIT, a protocol error--> closing --all sent-------------> over
//!     +--the socket breaks----------------------------------------> over
//! ```
//!
//! Promises: any split of the input gives the same output. All whole commands of one `receive` are
//! answered into one stretch of output. A client that does not take its replies stops being read
//! from: its input is at most one read and one command, its output [`OUTPUT_BYTES_MOST`] and one
//! reply; and where many do so at once, all together have the bound of the options. An idle
//! connection keeps no buffer.
//! Knows nothing of descriptors and models, nor of what the bytes mean (`language.rs`).

use morecore_wire::Version;

mod ahead;
mod language;

pub(crate) use self::ahead::Ahead;
use self::ahead::Input;
use crate::caller::Caller;
use crate::clients::Place;
use crate::connection::language::{Language, Step};
use crate::desk::{Desk, Spares};
use crate::execute::After;
use crate::shared::Shared;

/// Bytes of replies that may wait for a client before its next command is put off. A client that
/// sends all of its pipeline before it reads must not be brought to a standstill early, so it is
/// generous: far more than what sockets buffer.
const OUTPUT_BYTES_MOST: usize = 16 << 20;

/// The same while the buffers of all clients together are too large.
const OUTPUT_BYTES_CROWDED: usize = 64 << 10;

/// What a client hears that sends a large argument at such a time.
const CROWDED: &str = "the buffers of all clients are full";

/// Bytes of a command that is not whole yet; a client that sends more is cut off. It is Redis's
/// `client-query-buffer-limit`.
const INPUT_BYTES_MOST: usize = 1 << 30;

/// Replies of so many bytes are shown in `CLIENT LIST` before they are sent, shorter ones only when
/// the socket does not take them at once: a socket's buffer mostly has room for this much
/// (`net.ipv4.tcp_wmem` begins with 16 KiB), and to show them and take it back costs a lock each.
const SHOWN_BYTES_LEAST: usize = 16 << 10;

/// That a client takes its replies is shown again after so long, in milliseconds: who looks for
/// silent ones does so once a second.
const TOUCH_MS_LEAST: u64 = 500;

/// One client's side of the talk, and ours.
pub(crate) struct Connection {
    caller: Caller,
    language: Language,
    /// What came and is not executed yet.
    input: Vec<u8>,
    /// Replies; those before `sent` are gone.
    output: Vec<u8>,
    sent: usize,
    /// How many bytes of replies others see waiting.
    shown_bytes: usize,
    /// Whether commands wait in `input` for room in the output.
    is_put_off: bool,
    /// Whether they wait for the end of a pause.
    is_paused: bool,
    phase: Phase,
    /// When others last saw that it took something.
    active_ms: u64,
}

/// Where the talk is. The picture is at the top of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Finishing,
    Closing,
    Over,
}

impl Connection {
    pub(crate) fn new(place: Place, shared: &Shared) -> Self {
        let caller = Caller::new(place, !shared.password.is_wanted());
        Self {
            active_ms: caller.place.since_ms(),
            language: Language::new(&shared.options, &caller),
            caller,
            input: Vec::new(),
            output: Vec::new(),
            sent: 0,
            shown_bytes: 0,
            is_put_off: false,
            is_paused: false,
            phase: Phase::Open,
        }
    }

    /// Takes what has come, and executes what is whole; with nothing, it goes on with what was put
    /// off.
    pub(crate) fn receive(&mut self, bytes: &[u8], desk: &mut Desk, spares: &mut Spares) {
        self.touch(desk.now_ms);
        desk.heed();
        (self.is_put_off, self.is_paused) = (false, false);
        let is_late = self.has_output();
        self.make_room(spares);
        let unsent = self.output.len();
        if self.input.is_empty() {
            let done = self.execute(bytes, desk);
            self.keep(&bytes[done..], spares);
        } else {
            self.input.extend_from_slice(bytes);
            let mut input = std::mem::take(&mut self.input);
            let done = self.execute(&input, desk);
            input.drain(..done);
            self.input = input;
        }
        desk.tell_gathered(&self.caller);
        self.tidy(spares);
        desk.counts.in_bytes += bytes.len() as u64;
        desk.counts.out_bytes += (self.output.len() - unsent) as u64;
        self.publish(is_late, desk.now_ms);
    }

    /// Takes what others have said to the client; one that is too far behind is cut off.
    pub(crate) fn collect(&mut self, desk: &mut Desk, spares: &mut Spares) {
        let messages = desk.messages_for(&mut self.caller);
        // What waits for the end of a pause is looked at again, whatever came.
        self.is_paused = false;
        if messages.is_empty() || self.phase == Phase::Over {
            return;
        }
        let is_late = self.has_output();
        self.make_room(spares);
        let unsent = self.output.len();
        self.caller.hear(&messages, &mut self.output);
        desk.counts.out_bytes += (self.output.len() - unsent) as u64;
        if self.caller.is_behind(self.output.len() - self.sent, desk.now_ms) {
            self.abandon();
        }
        self.count_buffers();
        self.publish(is_late, desk.now_ms);
    }

    /// Whether others may have something to say to the client, and where it is served.
    pub(crate) fn is_attentive(&self) -> bool {
        self.caller.standing().is_any()
    }

    /// Whether others may ever begin to say something to a client that never asked for it: in
    /// RESP2 it could not be told from a reply.
    pub(crate) fn can_be_told(&self) -> bool {
        self.caller.version == Version::Resp3
    }

    /// The number of the client.
    pub(crate) fn id(&self) -> u64 {
        self.caller.place.id
    }

    /// The client sends no more: what is whole is still answered.
    pub(crate) fn finish(&mut self) {
        if self.phase == Phase::Open {
            self.phase = Phase::Finishing;
        }
    }

    /// The socket is broken: nobody is there to answer.
    pub(crate) fn abandon(&mut self) {
        self.phase = Phase::Over;
        self.output.clear();
        self.sent = 0;
    }

    /// Returns what is to be sent.
    pub(crate) fn output(&self) -> &[u8] {
        &self.output[self.sent..]
    }

    /// Takes note that so many bytes of the output were sent.
    pub(crate) fn sent(&mut self, count: usize, spares: &mut Spares) {
        self.sent += count;
        if self.sent == self.output.len() {
            self.sent = 0;
            self.output.clear();
            spares.take_back_output(std::mem::take(&mut self.output));
            self.count_buffers();
        }
        let unsent = self.output.len() - self.sent;
        if unsent != self.shown_bytes {
            self.shown_bytes = unsent;
            self.caller.place.about().unsent_bytes = unsent;
        }
    }

    /// Takes note that the client was there at this time.
    pub(crate) fn touch(&mut self, now_ms: u64) {
        if now_ms.saturating_sub(self.active_ms) >= TOUCH_MS_LEAST {
            self.active_ms = now_ms;
            self.caller.place.about().active_ms = now_ms;
        }
    }

    /// Whether anything is to be sent.
    pub(crate) const fn has_output(&self) -> bool {
        self.sent < self.output.len()
    }

    /// Whether it takes more input now.
    pub(crate) fn is_receptive(&self) -> bool {
        self.phase == Phase::Open && !self.is_put_off && self.has_room()
    }

    /// Whether a command has begun that is not whole, and more of it is taken.
    pub(crate) fn has_begun(&self) -> bool {
        !self.input.is_empty() && self.is_receptive()
    }

    /// Whether commands were put off that can be executed now: [`Connection::receive`] nothing.
    pub(crate) fn can_go_on(&self) -> bool {
        self.is_put_off && !self.is_paused && self.has_room()
    }

    /// Whether the socket is to tell when it can be written to.
    pub(crate) const fn wants_to_write(&self) -> bool {
        self.has_output() || self.is_put_off
    }

    /// Whether the talk is over.
    pub(crate) const fn is_over(&self) -> bool {
        match self.phase {
            Phase::Open => false,
            Phase::Finishing => !self.wants_to_write(),
            Phase::Closing => !self.has_output(),
            Phase::Over => true,
        }
    }

    /// Gives its buffers back: the talk is over.
    pub(crate) fn give_back(self, spares: &mut Spares) {
        spares.take_back_input(self.input);
        spares.take_back_output(self.output);
    }

    /// Executes the whole commands at the start of `bytes`; returns how many bytes they were.
    fn execute(&mut self, bytes: &[u8], desk: &mut Desk) -> usize {
        let mut ahead = std::mem::take(&mut desk.ahead);
        ahead.forget();
        let done = self.execute_all(bytes, &mut ahead, desk);
        desk.ahead = ahead;
        done
    }

    fn execute_all(&mut self, bytes: &[u8], ahead: &mut Ahead, desk: &mut Desk) -> usize {
        let mut done = 0;
        while matches!(self.phase, Phase::Open | Phase::Finishing) {
            let kept = self.caller.kept_bytes();
            self.caller.place.count_buffers(bytes.len() + self.output.len() + kept);
            if !self.has_room() {
                // Whether a whole command is there will be seen when there is room.
                self.is_put_off = done < bytes.len();
                break;
            }
            let input = Input { bytes, at: done };
            match self.language.step(input, ahead, &mut self.caller, desk, &mut self.output) {
                Step::Executed(_, After::Wait) => {
                    (self.is_put_off, self.is_paused) = (true, true);
                    break;
                }
                Step::Executed(consumed, after) => {
                    if after == After::Close {
                        self.phase = Phase::Closing;
                    }
                    done += consumed;
                }
                Step::Passed(consumed) => done += consumed,
                Step::Waits => break,
                Step::Broken => self.phase = Phase::Closing,
            }
        }
        if self.phase == Phase::Closing { bytes.len() } else { done }
    }

    fn has_room(&self) -> bool {
        let unsent = self.output.len() - self.sent;
        unsent < OUTPUT_BYTES_CROWDED
            || (unsent < OUTPUT_BYTES_MOST && !self.caller.place.is_crowded())
    }

    /// Gets a buffer for replies, or forgets those that are gone. Each byte moves at most once for
    /// each that was sent, because only a part that is smaller than the sent one moves.
    fn make_room(&mut self, spares: &mut Spares) {
        if self.output.capacity() == 0 {
            self.output = spares.lend_output();
        } else if self.sent > self.output.len() / 2 {
            self.output.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Keeps the beginning of a command until its rest comes.
    fn keep(&mut self, rest: &[u8], spares: &mut Spares) {
        if !rest.is_empty() {
            self.input = spares.lend_input();
            self.input.extend_from_slice(rest);
        }
    }

    /// Gives back what is not in use, and cuts off who sends without end.
    fn tidy(&mut self, spares: &mut Spares) {
        if self.input.is_empty() && self.input.capacity() > 0 {
            spares.take_back_input(std::mem::take(&mut self.input));
        }
        if self.output.is_empty() && self.output.capacity() > 0 {
            spares.take_back_output(std::mem::take(&mut self.output));
        }
        if self.input.len() > INPUT_BYTES_MOST {
            self.abandon();
        }
        self.count_buffers();
        let is_large = !self.is_put_off && self.input.len() > OUTPUT_BYTES_CROWDED;
        if is_large && self.caller.place.is_crowded() {
            self.language.fail(CROWDED, &self.caller, &mut self.output);
            self.phase = Phase::Closing;
            self.input = Vec::new();
            self.count_buffers();
        }
    }

    fn count_buffers(&mut self) {
        let kept = self.caller.kept_bytes();
        self.caller.place.count_buffers(self.input.len() + self.output.len() + kept);
    }

    /// Lets others see how it stands; `is_late`: some replies were not taken at once.
    fn publish(&mut self, is_late: bool, now_ms: u64) {
        let unsent = self.output.len() - self.sent;
        let is_shown = is_late || unsent >= SHOWN_BYTES_LEAST;
        self.shown_bytes = if is_shown { unsent } else { 0 };
        let mut about = self.caller.publish(now_ms);
        about.pending_bytes = self.input.len();
        about.unsent_bytes = self.shown_bytes;
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzed;
#[cfg(test)]
mod tests;
