//! Any split of the input, clients that do not read, and what ends a talk.

use super::alone::Alone;
use super::*;

/// Enough for a few of the largest values that these tests set.
const STORE_BYTES: u64 = 64 << 20;

/// A conversation of all kinds of commands, with large and empty arguments, inline ones, a change
/// of version and errors.
const INPUT: &[u8] = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\na\r\nb!\r\n\
    *2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\n\r\nSET 'q k' \"\\x41\"\r\n*0\r\n\
    *2\r\n$4\r\nMGET\r\n$3\r\nq k\r\nHELLO 3\r\nGET none\r\n*1\r\n$4\r\nNOPE\r\nINCR k\r\n\
    APPEND k \"\"\r\n*3\r\n$3\r\nSET\r\n$0\r\n\r\n$0\r\n\r\nQUIT\r\nPING\r\n";

/// What a client gets that sends `pieces`.
fn check(pieces: &[&[u8]], expected: &[u8]) {
    let mut bench = Alone::new(STORE_BYTES);
    for piece in pieces {
        bench.receive(piece);
        bench.take(usize::MAX);
    }
    assert!(bench.connection.is_over(), "the input ends with QUIT");
    let (found, expected) = (bench.received.escape_ascii(), expected.escape_ascii());
    assert_eq!(found.to_string(), expected.to_string(), "{:?}", pieces.first());
}

/// The replies to [`INPUT`] as one piece.
fn replies() -> Vec<u8> {
    let mut bench = Alone::new(STORE_BYTES);
    bench.receive(INPUT);
    bench.take(usize::MAX);
    bench.received
}

#[test]
fn every_split_gives_the_same_replies() {
    let expected = replies();
    assert!(
        expected.starts_with(b"+OK\r\n$5\r\na\r\nb!\r\n+PONG\r\n+OK\r\n*1\r\n$1\r\nA\r\n%7\r\n")
    );
    assert!(expected.ends_with(b"+OK\r\n+OK\r\n"));
    for at in 0..=INPUT.len() {
        let (first, second) = INPUT.split_at(at);
        check(&[first, second], &expected);
    }
}

#[test]
fn bytes_one_by_one_give_the_same_replies() {
    let pieces: Vec<&[u8]> = INPUT.chunks(1).collect();
    check(&pieces, &replies());
}

/// A value that is filled in where it will stand, between other commands.
fn long_input() -> Vec<u8> {
    let value = vec![b'v'; 3 * crate::fillers::BYTES_LEAST];
    let set =
        [format!("*3\r\n$3\r\nset\r\n$1\r\nk\r\n${}\r\n", value.len()).as_bytes(), &value].concat();
    let long = [&set[..], b"\r\n"].concat();
    [b"PING\r\n", &long[..], b"GET k\r\nGET k\r\n", &long, &long, b"STRLEN k\r\nQUIT\r\n"].concat()
}

#[test]
fn a_long_value_in_any_pieces_gives_the_same_replies() {
    let seed = std::env::var("SEED").ok().map_or_else(|| fastrand::u64(..), |s| s.parse().unwrap());
    eprintln!("SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let input = long_input();
    let mut at_once = Alone::new(STORE_BYTES);
    at_once.receive(&input);
    at_once.take(usize::MAX);
    // Where the pieces end is chance: in some rounds no value is filled in.
    let mut filled = 0;
    for _ in 0..40 {
        let (mut bench, mut rest) = (Alone::new(STORE_BYTES), &input[..]);
        let most = *random.choice(&[1_000, 60_000, 200_000]).unwrap();
        while !rest.is_empty() {
            // As a model reads: first into the room, and so much behind it.
            let count = random.usize(1..=most).min(rest.len());
            let (room, behind) = bench.connection.room();
            let placed = count.min(room.len());
            let count = placed + (count - placed).min(behind);
            room[..placed].copy_from_slice(&rest[..placed]);
            bench.connection.fill(placed);
            bench.receive(&rest[placed..count]);
            bench.take(random.usize(0..200_000));
            filled += usize::from(bench.connection.filling.is_some());
            rest = &rest[count..];
        }
        while bench.connection.has_output() {
            bench.take(usize::MAX);
        }
        assert!(bench.connection.is_over());
        assert!(bench.received == at_once.received, "{most} bytes at a time");
    }
    assert!(filled > 0, "none was filled in");
}

/// The same in memcached's language, which the first line tells at its end; with a key in base64,
/// values that look like commands, one that is refused, and one that is passed over.
const MEMCACHED_INPUT: &[u8] = b"set k 7 0 8\r\nget k\r\n1\r\nget k none\r\n\r\n\
    ms Zm9v 2 b F3\r\n\r\n\r\nget foo\r\nset k 0 0 1\r\ntoo long\r\n\
    set k 0 0 1 noreply\r\n9\r\nincr k 1\r\nms k 3 Z\r\nmn \r\nmg k v f\r\nquit\r\nmn\r\n";

#[test]
fn every_split_of_memcacheds_language_gives_the_same_replies() {
    let expected = b"STORED\r\nVALUE k 7 8\r\nget k\r\n1\r\nEND\r\nERROR\r\n\
        HD\r\nVALUE foo 3 2\r\n\r\n\r\nEND\r\nCLIENT_ERROR bad data chunk\r\nERROR\r\n\
        10\r\nCLIENT_ERROR invalid flag\r\nVA 2 f0\r\n10\r\n";
    for at in 0..=MEMCACHED_INPUT.len() {
        let (first, second) = MEMCACHED_INPUT.split_at(at);
        check(&[first, second], expected);
    }
    check(&MEMCACHED_INPUT.chunks(1).collect::<Vec<_>>(), expected);
}

#[test]
fn an_idle_connection_keeps_no_buffer() {
    let mut bench = Alone::new(STORE_BYTES);
    bench.receive(b"SET k v\r\nGET");
    bench.take(usize::MAX);
    bench.receive(b" k\r\n");
    bench.take(usize::MAX);
    assert_eq!(bench.connection.input.capacity(), 0);
    assert_eq!(bench.connection.output.bytes.capacity(), 0);
    assert_eq!(bench.received, b"+OK\r\n$1\r\nv\r\n");
}

#[test]
fn a_client_that_does_not_read_is_put_off_and_then_answered_whole() {
    const VALUE_BYTES: usize = 1 << 20;
    const ASKED: usize = 64;
    let mut bench = Alone::new(STORE_BYTES);
    bench.receive(format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${VALUE_BYTES}\r\n").as_bytes());
    bench.receive(&vec![b'x'; VALUE_BYTES]);
    bench.receive(b"\r\n");
    bench.receive("GET k\r\n".repeat(ASKED).as_bytes());
    let kept = bench.connection.output_bytes();
    assert!(kept <= OUTPUT_BYTES_MOST + VALUE_BYTES + 16, "{kept} bytes are kept");
    assert!(!bench.connection.is_receptive() && !bench.connection.can_go_on());
    bench.connection.finish();
    while !bench.connection.is_over() {
        bench.take(VALUE_BYTES / 3);
        if bench.connection.can_go_on() {
            bench.receive(b"");
        }
        assert!(bench.connection.output.bytes.len() <= 2 * (OUTPUT_BYTES_MOST + VALUE_BYTES + 16));
    }
    assert_eq!(bench.received.len(), 5 + ASKED * (VALUE_BYTES + 12));
}

#[test]
fn what_comes_after_an_error_of_the_protocol_is_not_executed() {
    let mut bench = Alone::new(STORE_BYTES);
    bench.receive(b"PING\r\n*1\r\nx\r\nPING\r\n");
    bench.receive(b"PING\r\n");
    bench.take(usize::MAX);
    assert_eq!(bench.received, b"+PONG\r\n-ERR Protocol error: expected '$', got 'x'\r\n");
    assert!(bench.connection.is_over());
}

#[test]
fn a_broken_socket_ends_the_talk_at_once() {
    let mut bench = Alone::new(STORE_BYTES);
    bench.receive(b"PING\r\nGET");
    bench.connection.abandon();
    assert!(bench.connection.is_over() && !bench.connection.has_output());
}

/// The fuzzer's corpus, whole and damaged.
#[test]
fn a_connection_takes_what_the_fuzzer_found() {
    const ROUNDS: usize = 3; // As many damaged inputs as take a second or two.
    let seed = std::env::var("SEED").ok().map_or_else(|| fastrand::u64(..), |s| s.parse().unwrap());
    eprintln!("SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/connection");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.collect();
    paths.sort();
    assert!(!paths.is_empty());
    for input in paths.iter().map(|path| std::fs::read(path).unwrap()) {
        super::fuzzed::run(&input);
        for _ in 0..ROUNDS {
            let mut damaged = input.clone();
            let (at, byte) = (random.usize(0..damaged.len()), random.u8(..));
            damaged[at] = byte;
            random.choice([true, false]).is_some_and(|is_cut| is_cut).then(|| damaged.truncate(at));
            super::fuzzed::run(&damaged);
        }
    }
}
