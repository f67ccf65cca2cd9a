//! A talk with one client by somebody who has nobody else: it reads, executes and writes in turn,
//! and blocks while it waits. So it is under `thread` and under `process`.

use std::hint::spin_loop;
use std::io::ErrorKind;
use std::ops::ControlFlow::{self, Break};
use std::time::{Duration, Instant};

use morecore_sys::descriptor::Descriptor;
use morecore_sys::{Failed, socket};

use crate::connection::Connection;
use crate::desk::Spares;
use crate::error::system;

/// Bytes read at once. There may be thousands of talks, so less than a loop has; a full pipeline
/// of small commands is still hundreds a read.
const READ_BYTES: usize = 16 << 10;

/// Talks with the client until it leaves, polling for `busy` before each sleep. `turn` has the connection receive bytes; it breaks the
/// talk off when it is asked to end at once.
pub(super) fn talk(
    socket: &Descriptor,
    connection: &mut Connection,
    busy: Duration,
    mut turn: impl FnMut(&mut Connection, &[u8], &mut Spares) -> ControlFlow<()>,
) {
    let mut input = [0; READ_BYTES];
    let mut spares = Spares::default();
    while !connection.is_over() {
        let count = match receive(socket, &mut input, busy) {
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        if answer(socket, &input[..count], connection, &mut spares, &mut turn).is_break() {
            break;
        }
    }
}

/// Receives; at first it asks again and again for as long as `busy`, and then it sleeps.
fn receive(socket: &Descriptor, input: &mut [u8], busy: Duration) -> Result<usize, Failed> {
    if !busy.is_zero() {
        let since = Instant::now();
        while since.elapsed() < busy {
            match socket::receive_now(socket, input) {
                Err(failed) if system(failed).kind() == ErrorKind::WouldBlock => spin_loop(),
                done => return done,
            }
        }
    }
    socket::receive(socket, input)
}

/// Executes what is whole and writes its replies, until nothing whole is left.
fn answer(
    socket: &Descriptor,
    mut input: &[u8],
    connection: &mut Connection,
    spares: &mut Spares,
    turn: &mut impl FnMut(&mut Connection, &[u8], &mut Spares) -> ControlFlow<()>,
) -> ControlFlow<()> {
    loop {
        let goes_on = turn(connection, input, spares);
        input = &[];
        while connection.has_output() {
            let Ok(count) = socket::send(socket, connection.output()) else {
                return Break(());
            };
            connection.sent(count, spares);
        }
        if goes_on.is_break() || !connection.can_go_on() {
            return goes_on;
        }
    }
}
