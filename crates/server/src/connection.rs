//! One client: bytes in, bytes out; no socket.
//!
//! ```text
//!              receive                                       output, sent
//!   socket ---> input --language--> command --execute--> reply --> output ---> socket
//!     `--------> filling (a long value, where it will stand)         ^-- leases of long values
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
mod filling;
mod language;
mod output;

pub(crate) use self::ahead::Ahead;
use self::ahead::Input;
use self::filling::Filling;
use self::output::Output;
pub(crate) use self::output::{Leases, Lent};
use crate::caller::Caller;
use crate::clients::Place;
use crate::connection::language::{Ended, Language, Step};
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

/// Bytes that are read of a command before its long value, where one long value came before: as
/// much as the command needs with a key of usual length. What is read of the value with it is
/// copied once more.
const HEAD_BYTES: usize = 512;

/// One client's side of the talk, and ours.
pub(crate) struct Connection {
    /// A long value on its way; while there is one, `input` is empty. (Being first, it is gone
    /// before the client's place is given up.)
    filling: Option<Filling>,
    caller: Caller,
    language: Language,
    /// What came and is not executed yet.
    input: Vec<u8>,
    /// How many bytes came by [`Self::fill`] since the last [`Self::receive`]: those of one read,
    /// which is less than 2 GiB long.
    filled_bytes: u32,
    /// Whether the last command was one of a long value: then the next may be, too.
    is_filling_often: bool,
    output: Output,
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
            filling: None,
            filled_bytes: 0,
            is_filling_often: false,
            output: Output::default(),
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
        (self.is_put_off, self.is_paused, desk.leases) = (false, false, 0);
        let is_late = self.has_output();
        self.make_room(spares);
        let unsent = self.output.bytes.len();
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
        self.output.give_back_leases(spares);
        self.tidy(spares);
        let filled_bytes = std::mem::take(&mut self.filled_bytes);
        desk.counts.in_bytes += bytes.len() as u64 + u64::from(filled_bytes);
        desk.counts.out_bytes += self.output.appended(unsent) as u64;
        self.publish(is_late, desk.now_ms);
    }

    /// Where the next bytes belong, if they are part of a long value that is on its way; and how
    /// many bytes behind it are worth reading with it.
    pub(crate) fn room(&mut self) -> (&mut [u8], usize) {
        let behind = if self.is_filling_often { HEAD_BYTES } else { usize::MAX };
        match &mut self.filling {
            Some(filling) => (filling.room(), behind),
            None => (&mut [], behind),
        }
    }

    /// Whether the next bytes are better received where they belong than elsewhere.
    pub(crate) const fn is_filling_often(&self) -> bool {
        self.is_filling_often
    }

    /// Takes note that so many bytes were received into [`Self::room`]. What came behind them is to
    /// be received, too, also if it is nothing.
    pub(crate) fn fill(&mut self, count: usize) {
        if let Some(filling) = &mut self.filling {
            filling.fill(count);
            self.filled_bytes += count as u32;
        }
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
        let unsent = self.output.bytes.len();
        self.caller.hear(&messages, &mut self.output.bytes);
        desk.counts.out_bytes += (self.output.bytes.len() - unsent) as u64;
        if self.caller.is_behind(self.output.len(), desk.now_ms) {
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
        self.filling = None;
    }

    /// Calls `send` with what is to be sent, piece by piece: it says how much of it was.
    #[inline]
    pub(crate) fn send<R>(&self, send: impl FnOnce(&[&[u8]]) -> R) -> R {
        self.output.send(send)
    }

    /// How much is to be sent.
    pub(crate) const fn output_bytes(&self) -> usize {
        self.output.len()
    }

    /// What is to be sent, if it is all in one piece.
    pub(crate) fn whole_output(&self) -> Option<&[u8]> {
        self.output.whole()
    }

    /// Takes note that the socket takes no more for now. Returns whether that changed what is to be
    /// sent.
    pub(crate) fn keep_output(&mut self) -> bool {
        self.output.keep()
    }

    /// Takes note that so many bytes of the output were sent.
    pub(crate) fn sent(&mut self, count: usize, spares: &mut Spares) {
        self.output.take_away(count);
        if self.output.is_empty() {
            self.output.give_back(spares);
            self.count_buffers();
        }
        let unsent = self.output.len();
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
        !self.output.is_empty()
    }

    /// Whether it takes more input now.
    pub(crate) fn is_receptive(&self) -> bool {
        self.phase == Phase::Open && !self.is_put_off && self.has_room()
    }

    /// Whether a command has begun that is not whole, and more of it is taken.
    pub(crate) fn has_begun(&self) -> bool {
        (!self.input.is_empty() || self.filling.is_some()) && self.is_receptive()
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
    pub(crate) fn give_back(mut self, spares: &mut Spares) {
        spares.take_back_input(self.input);
        self.output.give_back(spares);
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
            if self.filling.is_some() {
                done += self.go_on_filling(&bytes[done..], desk);
                if self.filling.is_some() || self.is_put_off {
                    break;
                }
                continue;
            }
            let kept = self.caller.kept_bytes();
            self.caller.place.count_buffers(bytes.len() + self.output.len() + kept);
            if !self.has_room() {
                // Whether a whole command is there will be seen when there is room.
                self.is_put_off = done < bytes.len();
                break;
            }
            let input = Input { bytes, at: done };
            match self.language.step(input, ahead, &mut self.caller, desk, &mut self.output.bytes) {
                Step::Executed(_, After::Wait) => {
                    (self.is_put_off, self.is_paused) = (true, true);
                    break;
                }
                Step::Executed(consumed, after) => {
                    if after == After::Close {
                        self.phase = Phase::Closing;
                    }
                    self.is_filling_often = false;
                    done += consumed;
                }
                Step::Passed(consumed) => done += consumed,
                Step::Waits => {
                    let (rest, was_filling) = (&bytes[done..], self.is_filling_often);
                    let begun = self.language.begin_filling(rest, &self.caller, desk);
                    // At the end of all that came it is not known what comes next.
                    self.is_filling_often = begun.is_some() || rest.is_empty() && was_filling;
                    if begun.is_some() {
                        (self.filling, done) = (begun, bytes.len());
                    }
                    break;
                }
                Step::Broken => self.phase = Phase::Closing,
            }
            if !desk.lent.is_empty() {
                self.output.take_lent(&mut desk.lent);
            }
        }
        if self.phase == Phase::Closing { bytes.len() } else { done }
    }

    /// Takes more of the value that is on its way, and executes its command if it is whole; returns
    /// how many bytes it took.
    fn go_on_filling(&mut self, bytes: &[u8], desk: &mut Desk) -> usize {
        let Some(filling) = &mut self.filling else { return 0 };
        let taken = filling.take(bytes);
        let Some(filling) = self.filling.take_if(|filling| filling.is_whole()) else {
            return taken;
        };
        let output = &mut self.output.bytes;
        match self.language.end_filling(filling, &mut self.caller, desk, output) {
            Ended::Executed(After::Close) | Ended::Broken => self.phase = Phase::Closing,
            Ended::Executed(_) => {}
            Ended::Waits(command) => {
                (self.is_put_off, self.is_paused) = (true, true);
                self.input = command;
            }
        }
        taken
    }

    fn has_room(&self) -> bool {
        let unsent = self.output.len();
        unsent < OUTPUT_BYTES_CROWDED
            || (unsent < OUTPUT_BYTES_MOST && !self.caller.place.is_crowded())
    }

    /// Gets a buffer for replies, or forgets those that are gone.
    fn make_room(&mut self, spares: &mut Spares) {
        if self.output.has_no_buffer() {
            self.output.borrow(spares);
        } else {
            self.output.forget_sent();
        }
    }

    /// Keeps the beginning of a command until its rest comes.
    fn keep(&mut self, rest: &[u8], spares: &mut Spares) {
        if !rest.is_empty() {
            if self.input.is_empty() {
                self.input = spares.lend_input();
            }
            self.input.extend_from_slice(rest);
        }
    }

    /// Gives back what is not in use, and cuts off who sends without end.
    fn tidy(&mut self, spares: &mut Spares) {
        if self.input.is_empty() && self.input.capacity() > 0 {
            spares.take_back_input(std::mem::take(&mut self.input));
        }
        if self.output.is_empty() && !self.output.has_no_buffer() {
            self.output.give_back(spares);
        }
        if self.input.len() > INPUT_BYTES_MOST {
            self.abandon();
        }
        self.count_buffers();
        let is_large = !self.is_put_off && self.input.len() > OUTPUT_BYTES_CROWDED;
        if is_large && self.caller.place.is_crowded() {
            self.language.fail(CROWDED, &self.caller, &mut self.output.bytes);
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
        let unsent = self.output.len();
        let is_shown = is_late || unsent >= SHOWN_BYTES_LEAST;
        self.shown_bytes = if is_shown { unsent } else { 0 };
        let filled = self.filling.as_ref().map_or(0, |filling| filling.len());
        let mut about = self.caller.publish(now_ms);
        about.pending_bytes = self.input.len() + filled;
        about.unsent_bytes = self.shown_bytes;
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod alone;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzed;
#[cfg(test)]
mod tests;
