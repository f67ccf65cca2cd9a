//! A talk with one client by somebody who has nobody else: it reads, executes and writes in turn,
//! and blocks while it waits. So it is under `thread` and under `process`.
//!
//! ```text
//!   wait for the client --> receive --> turn --> send all --> wait ...
//!   and, for one that others may speak to, for the bell --> collect --> send all --> wait ...
//! ```

use std::hint::spin_loop;
use std::io::ErrorKind;
use std::ops::ControlFlow::{self, Break, Continue};
use std::time::{Duration, Instant};

use morecore_sys::descriptor::Descriptor;
use morecore_sys::ready::{Polled, poll};
use morecore_sys::{Failed, socket};

use crate::connection::Connection;
use crate::desk::Spares;
use crate::error::system;
use crate::shared::now_ms;

/// Bytes read at once. There may be thousands of talks, so less than a loop has; a full pipeline
/// of small commands is still hundreds a read.
const READ_BYTES: usize = 16 << 10;

/// Bytes sent at once: what a client that is just not silent takes in a second.
const SEND_BYTES: usize = 256 << 10;

/// Who executes for a talk, and hears what others say to its client.
pub(super) trait Serve {
    /// Has the connection receive bytes; it breaks the talk off when it is asked to end at once.
    fn turn(
        &mut self,
        connection: &mut Connection,
        bytes: &[u8],
        spares: &mut Spares,
    ) -> ControlFlow<()>;

    /// Has the connection take what others have said; `is_rung` if the bell was.
    fn collect(
        &mut self,
        connection: &mut Connection,
        is_rung: bool,
        spares: &mut Spares,
    ) -> ControlFlow<()>;

    /// Whether others have said something that does not ring the bell any more.
    fn has_word(&mut self) -> bool;

    /// Whether there is a bell already.
    fn has_bell(&mut self) -> bool;

    /// What is readable when others have said something; nothing if the system has no more.
    fn bell(&mut self) -> Option<&Descriptor>;
}

/// Talks with the client until it leaves, polling for `busy` before each sleep.
pub(super) fn talk(
    socket: &Descriptor,
    connection: &mut Connection,
    busy: Duration,
    serve: &mut impl Serve,
) {
    let mut input = [0; READ_BYTES];
    let mut spares = Spares::default();
    while !connection.is_over() {
        let is_to_listen = connection.is_attentive() || connection.can_be_told();
        if is_to_listen && listen(socket, connection, busy, &mut spares, serve).is_break() {
            break;
        }
        let (room, behind) = connection.room();
        let (placed, into) = (room.len(), &mut input[..behind.min(READ_BYTES)]);
        let count = match receive(socket, room, into, busy) {
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        let placed = count.min(placed);
        connection.fill(placed);
        if answer(socket, &input[..count - placed], connection, &mut spares, serve).is_break() {
            break;
        }
    }
}

/// Passes on what others say until the client has something to say; breaks off when the talk is
/// over.
fn listen(
    socket: &Descriptor,
    connection: &mut Connection,
    busy: Duration,
    spares: &mut Spares,
    serve: &mut impl Serve,
) -> ControlFlow<()> {
    let (mut is_rung, mut is_new) = (false, !serve.has_bell());
    loop {
        // Without a bell nobody could ring; what was said before there was one waits already.
        if serve.bell().is_none() {
            return if connection.is_attentive() { Break(()) } else { Continue(()) };
        }
        if connection.is_attentive() || is_rung || is_new || serve.has_word() {
            serve.collect(connection, is_rung, spares)?;
            send(socket, connection, spares)?;
        }
        is_new = false;
        // What waited for the end of a pause.
        if connection.can_go_on() {
            answer(socket, &[], connection, spares, serve)?;
        }
        if connection.is_over() {
            return Break(());
        }
        if serve.has_word() {
            is_rung = false;
            continue;
        }
        let Some(bell) = serve.bell() else { return Break(()) };
        let mut both = [Polled::readable(bell), Polled::readable(socket)];
        let heard = if connection.is_receptive() { 2 } else { 1 };
        if wait(&mut both[..heard], busy).is_err() {
            return Break(());
        }
        if both[1].is_ready() {
            return Continue(());
        }
        is_rung = both[0].is_ready();
    }
}

/// Waits until something is ready; at first it asks again and again for as long as `busy`.
fn wait(both: &mut [Polled<'_>], busy: Duration) -> Result<usize, Failed> {
    if !busy.is_zero() {
        let since = Instant::now();
        while since.elapsed() < busy {
            match poll(both, Some(0)) {
                Ok(0) => spin_loop(),
                done => return done,
            }
        }
    }
    poll(both, None)
}

/// Receives; at first it asks again and again for as long as `busy`, and then it sleeps.
fn receive(
    socket: &Descriptor,
    room: &mut [u8],
    input: &mut [u8],
    busy: Duration,
) -> Result<usize, Failed> {
    if !busy.is_zero() && room.is_empty() {
        let since = Instant::now();
        while since.elapsed() < busy {
            match socket::receive_now(socket, input) {
                Err(failed) if system(failed).kind() == ErrorKind::WouldBlock => spin_loop(),
                done => return done,
            }
        }
    }
    socket::receive_into(socket, room, input)
}

/// Executes what is whole and writes its replies, until nothing whole is left.
fn answer(
    socket: &Descriptor,
    mut input: &[u8],
    connection: &mut Connection,
    spares: &mut Spares,
    serve: &mut impl Serve,
) -> ControlFlow<()> {
    loop {
        let goes_on = serve.turn(connection, input, spares);
        input = &[];
        send(socket, connection, spares)?;
        if goes_on.is_break() || !connection.can_go_on() {
            return goes_on;
        }
    }
}

/// Sends all that waits. What the socket does not take at once is sent from a copy: to wait for
/// room may take as long as the client likes.
fn send(socket: &Descriptor, connection: &mut Connection, spares: &mut Spares) -> ControlFlow<()> {
    while connection.has_output() {
        let sent = match connection.whole_output() {
            Some(output) => socket::send(socket, &output[..output.len().min(SEND_BYTES)]),
            None => connection.send(|pieces| socket::send_pieces_now(socket, pieces)),
        };
        match sent.map_err(system) {
            Ok(count) => connection.sent(count, spares),
            Err(error) if error.kind() == ErrorKind::WouldBlock && connection.keep_output() => {}
            Err(_) => return Break(()),
        }
        if connection.has_output() {
            connection.touch(now_ms());
        }
    }
    Continue(())
}

#[cfg(test)]
mod tests {
    use morecore_sys::descriptor::Descriptor;

    use super::*;
    use crate::connection::alone::Alone;

    /// Somebody who has read a word together with an answer.
    struct Told {
        bell: Descriptor,
        words: usize,
        looks: usize,
    }

    impl Serve for Told {
        fn turn(&mut self, _: &mut Connection, _: &[u8], _: &mut Spares) -> ControlFlow<()> {
            Continue(())
        }

        fn collect(
            &mut self,
            _: &mut Connection,
            is_rung: bool,
            _: &mut Spares,
        ) -> ControlFlow<()> {
            assert!(!is_rung);
            self.words = 0;
            Continue(())
        }

        fn has_word(&mut self) -> bool {
            self.looks += 1;
            assert!(self.looks < 100, "it looks for ever at a word that it does not take");
            self.words > 0
        }

        fn has_bell(&mut self) -> bool {
            true
        }

        fn bell(&mut self) -> Option<&Descriptor> {
            Some(&self.bell)
        }
    }

    #[test]
    fn a_last_word_to_who_listens_no_more_is_taken() {
        let (ours, theirs) = socket::pair().unwrap();
        let (bell, _quiet) = socket::pair().unwrap();
        let mut alone = Alone::new(8 << 20);
        let (connection, spares) = (&mut alone.connection, &mut alone.spares);
        assert!(!connection.is_attentive());
        socket::send(&theirs, b"PING\r\n").unwrap();
        let mut serve = Told { bell, words: 1, looks: 0 };
        let listened = listen(&ours, connection, Duration::ZERO, spares, &mut serve);
        assert_eq!((listened, serve.words), (Continue(()), 0));
    }
}
