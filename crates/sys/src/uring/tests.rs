//! A ring, and both ends of a connection: what comes, what leaves, and what is not taken.

use std::vec::Vec;

use super::*;
use crate::ready::Waker;
use crate::socket::{self, Address, Wait};

extern crate std;

/// A ring, and both ends of a connection.
fn opened() -> (Uring, Descriptor, Descriptor) {
    let ring = Uring::new().unwrap();
    let address = Address::Internet("127.0.0.1:0".parse().unwrap());
    let listener = socket::stream(address.family(), Wait::Blocking).unwrap();
    socket::bind(&listener, address).unwrap();
    socket::listen(&listener, 4).unwrap();
    let got = socket::local_address(&listener).unwrap().unwrap();
    let client = socket::stream(address.family(), Wait::Blocking).unwrap();
    socket::connect(&client, Address::Internet(got)).unwrap();
    let (served, _) = socket::accept(&listener, Wait::Blocking).unwrap();
    (ring, served, client)
}

fn next(ring: &mut Uring) -> Completion {
    loop {
        if let Some(done) = ring.completion() {
            return done;
        }
        ring.turn(None).unwrap();
    }
}

/// What the next receive brought; its buffer is given back.
fn received(ring: &mut Uring) -> Vec<u8> {
    let done = next(ring);
    let filled = done.filled.unwrap();
    let bytes = ring.bytes(&filled).to_vec();
    ring.give_back(filled);
    assert_eq!((done.token, done.result), (7, Ok(bytes.len() as u32)));
    bytes
}

#[test]
fn one_receive_brings_whatever_comes_until_the_end() {
    let (mut ring, served, client) = opened();
    ring.receive(&served, 7).unwrap();
    for text in [&b"one"[..], b"another"] {
        assert_eq!(socket::send(&client, text), Ok(text.len()));
        assert_eq!(received(&mut ring), text);
    }
    drop(client);
    let done = next(&mut ring);
    assert_eq!((done.token, done.result, done.is_last), (7, Ok(0), true));
}

#[test]
fn every_buffer_comes_back_however_often() {
    let (mut ring, served, client) = opened();
    ring.receive(&served, 7).unwrap();
    for round in 0..3 * u32::from(pool::BUFFERS) {
        let sent = round.to_ne_bytes();
        assert_eq!(socket::send(&client, &sent), Ok(sent.len()));
        assert_eq!(received(&mut ring), sent);
    }
}

#[test]
fn without_buffers_a_receive_ends_and_says_why() {
    let (mut ring, served, client) = opened();
    ring.receive(&served, 7).unwrap();
    let mut kept = Vec::new();
    for _ in 0..pool::BUFFERS {
        assert_eq!(socket::send(&client, b"x"), Ok(1));
        kept.push(next(&mut ring).filled.unwrap());
    }
    assert_eq!(socket::send(&client, b"y"), Ok(1));
    let done = next(&mut ring);
    assert!(done.is_paused() && done.is_last);
    kept.drain(..).for_each(|filled| ring.give_back(filled));
    ring.receive(&served, 7).unwrap();
    assert_eq!(received(&mut ring), b"y");
}

#[test]
fn what_is_sent_was_copied_and_leaves_with_the_next_turn() {
    let (mut ring, served, client) = opened();
    let mut reply = *b"reply";
    assert_eq!(ring.send(&served, &reply, 3), Ok(true));
    reply.fill(0);
    let done = next(&mut ring);
    assert_eq!((done.token, done.result, done.is_last), (3, Ok(5), true));
    let mut heard = [0; 8];
    assert_eq!(socket::receive(&client, &mut heard), Ok(5));
    assert_eq!(&heard[..5], b"reply");
}

#[test]
fn a_full_socket_refuses_at_once_and_tells_when_there_is_room() {
    let (mut ring, served, client) = opened();
    let bytes = [7; 64 << 10];
    while socket::send_now(&served, &bytes).is_ok() {}
    assert_eq!(ring.send(&served, &bytes, 3), Ok(true));
    assert_eq!(next(&mut ring).result.unwrap_err().errno, Errno(libc::EAGAIN));
    ring.await_room(&served, 4).unwrap();
    ring.turn(Some(0)).unwrap();
    assert_eq!(ring.completion(), None);
    let mut room = [0; 64 << 10];
    while socket::receive_now(&client, &mut room).is_ok() {}
    let done = next(&mut ring);
    assert_eq!((done.token, done.is_last), (4, true));
}

#[test]
fn more_than_there_is_room_for_is_not_taken() {
    let (mut ring, served, _client) = opened();
    let bytes = [7; 200 << 10];
    assert_eq!(ring.send(&served, &bytes, 1), Ok(true));
    assert_eq!(ring.send(&served, &bytes, 2), Ok(false));
    ring.turn(Some(0)).unwrap();
    assert_eq!(ring.send(&served, &bytes, 2), Ok(true));
}

#[test]
fn a_cancel_ends_what_is_under_way() {
    let (mut ring, served, _client) = opened();
    ring.receive(&served, 7).unwrap();
    ring.turn(Some(0)).unwrap();
    ring.cancel(7).unwrap();
    let done = next(&mut ring);
    assert!(done.token == 7 && done.is_paused() && done.is_last);
}

#[test]
fn a_closed_connection_ends_for_the_other_side_after_what_was_sent() {
    let (mut ring, served, client) = opened();
    ring.receive(&served, 7).unwrap();
    assert_eq!(ring.send(&served, b"goodbye", 3), Ok(true));
    ring.cancel(7).unwrap();
    ring.close(served).unwrap();
    ring.turn(Some(0)).unwrap();
    let mut heard = [0; 8];
    assert_eq!(socket::receive(&client, &mut heard), Ok(7));
    assert_eq!(socket::receive(&client, &mut heard), Ok(0));
}

#[test]
fn a_watched_descriptor_is_told_each_time() {
    let (mut ring, _served, _client) = opened();
    let waker = Waker::new().unwrap();
    ring.watch(waker.descriptor(), 9).unwrap();
    for _ in 0..3 {
        waker.wake();
        let done = next(&mut ring);
        assert_eq!((done.token, done.is_last), (9, false));
        waker.rest();
    }
    ring.turn(Some(0)).unwrap();
    assert_eq!(ring.completion(), None);
}

#[test]
fn many_more_than_the_queue_holds_are_submitted() {
    let (mut ring, served, client) = opened();
    let most = 3 * SUBMISSIONS;
    for token in 0..most {
        assert_eq!(ring.send(&served, b"x", token.into()), Ok(true));
    }
    for token in 0..most {
        let done = next(&mut ring);
        assert_eq!((done.token, done.result), (token.into(), Ok(1)));
    }
    let (mut heard, mut room) = (0, [0; 8 << 10]);
    while heard < most as usize {
        heard += socket::receive(&client, &mut room).unwrap();
    }
}
