//! What a fuzzer does with an input, for a whole connection.
//!
//! ```text
//!   pieces 8 | bytes ...    so many bytes are sent and read at a time, each in its turn
//! ```
//!
//! Promises: ends with a panic where a client that sends and reads piece by piece is answered
//! otherwise than one that sends all at once.

use super::alone::Alone;

/// The store of one input: enough for all that an input of a few KiB puts there.
const STORE_BYTES: u64 = 16 << 20;

/// What tells of the moment, of chance or of the connection itself, and so differs each time; and
/// what sets such a thing for later.
const DIFFERING: [&[u8]; 22] = [
    b"info", b"time", b"rand", b"keys", b"scan", b"client", b"slow", b"config", b"memory", b"ttl",
    b"expir", b"ex", b"px", b"stats", b"mg", b"ms", b"ma", b"md", b"gat", b"touch", b"hello",
    b"gets",
];

/// Lets two clients send what `input` says.
pub(crate) fn run(input: &[u8]) {
    let Some((pieces, bytes)) = input.split_first_chunk::<8>() else { return };
    let mut counts = pieces.iter().cycle().map(|&count| usize::from(count).max(1));
    let mut count = || counts.next().unwrap_or(1);
    let mut piecemeal = Alone::new(STORE_BYTES);
    let mut rest = bytes;
    while !rest.is_empty() && piecemeal.connection.is_receptive() {
        let (piece, behind) = rest.split_at(count().min(rest.len()));
        piecemeal.receive(piece);
        piecemeal.take(count());
        rest = behind;
    }
    let found = finish(piecemeal);
    let mut at_once = Alone::new(STORE_BYTES);
    at_once.receive(bytes);
    let wanted = finish(at_once);
    let lower = bytes.to_ascii_lowercase();
    let has = |word: &&[u8]| lower.windows(word.len()).any(|window| window == *word);
    if !DIFFERING.iter().any(has) {
        assert_eq!(found.escape_ascii().to_string(), wanted.escape_ascii().to_string());
    }
}

/// The client sends no more, and reads all; returns what it got.
fn finish(mut client: Alone) -> Vec<u8> {
    client.connection.finish();
    loop {
        client.take(usize::MAX);
        if !client.connection.can_go_on() {
            return client.received;
        }
        client.receive(b"");
    }
}
