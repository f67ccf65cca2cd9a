//! What is on its way to one client, from whoever speaks to those who serve it.
//!
//! Promises: messages come in their order. Who writes waits for nobody, and what waits has a bound:
//! beyond it the client is lost, and what comes later is dropped.

use std::sync::{Arc, Mutex};

use morecore_wire::Version;

use crate::clients::locked;

/// Bytes of messages that may wait for a client, here and again in its output: Redis's hard limit
/// for those who listen (`client-output-buffer-limit pubsub 32mb 8mb 60`).
pub(crate) const WAITING_BYTES_MOST: usize = 32 << 20;

/// The same while the buffers of all clients together are too large.
pub(crate) const WAITING_BYTES_CROWDED: usize = 64 << 10;

/// What a message costs beside its bytes: its place in the row.
const MESSAGE_BYTES: usize = size_of::<Message>();

/// A message, encoded for RESP3; all who get it share it.
pub(crate) type Message = Arc<[u8]>;

/// What is on its way to one client.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: Vec<Message>,
    bytes: usize,
    is_lost: bool,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It is the first: whoever serves the client is to be told.
    First,
    /// Others wait already.
    Behind,
    /// There was no room, for the first time: the client is lost.
    Overrun,
    /// The client is lost already.
    Dropped,
}

impl Inbox {
    /// Adds a message, if no more than `most` bytes wait then.
    pub(super) fn push(&self, message: &Message, most: usize) -> Pushed {
        let waiting = &mut *locked(&self.waiting);
        if waiting.is_lost {
            return Pushed::Dropped;
        }
        waiting.bytes += message.len() + MESSAGE_BYTES;
        if waiting.bytes > most {
            *waiting = Waiting { is_lost: true, ..Waiting::default() };
            return Pushed::Overrun;
        }
        waiting.messages.push(Arc::clone(message));
        if waiting.messages.len() == 1 { Pushed::First } else { Pushed::Behind }
    }

    /// Takes all messages.
    pub(crate) fn take(&self) -> Vec<Message> {
        let waiting = &mut *locked(&self.waiting);
        waiting.bytes = 0;
        std::mem::take(&mut waiting.messages)
    }
}

/// How an invalidation begins; its keys, or null, follow.
pub(super) const INVALIDATION: &[u8] = b">2\r\n$10\r\ninvalidate\r\n";

/// The same for a client of RESP2, as a message of this channel.
const INVALIDATION_RESP2: &[u8] = b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n";

/// Appends a message as a client is to get it. In RESP2 there are no pushes: messages are arrays,
/// and invalidations come only to one that listens.
pub(crate) fn append(message: &[u8], version: Version, is_listening: bool, out: &mut Vec<u8>) {
    match (version, message.strip_prefix(INVALIDATION)) {
        (Version::Resp3, _) => out.extend_from_slice(message),
        (Version::Resp2, Some(keys)) if is_listening => {
            out.extend_from_slice(INVALIDATION_RESP2);
            out.extend_from_slice(if keys.starts_with(b"_") { b"*-1\r\n" } else { keys });
        }
        (Version::Resp2, Some(_)) => {}
        (Version::Resp2, None) => {
            let start = out.len();
            out.extend_from_slice(message);
            if let Some(mark) = out[start..].first_mut().filter(|mark| **mark == b'>') {
                *mark = b'*';
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_has_a_bound() {
        let (inbox, message) = (Inbox::default(), Message::from(*b"0123456789"));
        let each = message.len() + MESSAGE_BYTES;
        assert_eq!(inbox.push(&message, 2 * each), Pushed::First);
        assert_eq!(inbox.push(&message, 2 * each), Pushed::Behind);
        assert_eq!(inbox.take().len(), 2);
        assert_eq!(inbox.push(&message, 2 * each), Pushed::First);
        assert_eq!(inbox.push(&message, each), Pushed::Overrun);
        assert_eq!(inbox.push(&message, 2 * each), Pushed::Dropped);
        assert!(inbox.take().is_empty());
    }

    fn check(message: &str, version: Version, is_listening: bool, expected: &str) {
        let mut out = Vec::new();
        append(message.as_bytes(), version, is_listening, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_message_is_written_as_its_client_reads() {
        let message = ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\n>\r\n";
        check(message, Version::Resp3, true, message);
        check(message, Version::Resp2, true, &message.replacen('>', "*", 1));
        check("+a line\r\n", Version::Resp2, false, "+a line\r\n");
        let keys = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n";
        check(keys, Version::Resp3, false, keys);
        check(keys, Version::Resp2, false, "");
        let channel = "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n";
        check(keys, Version::Resp2, true, &format!("{channel}*1\r\n$1\r\nk\r\n"));
        let all = ">2\r\n$10\r\ninvalidate\r\n_\r\n";
        check(all, Version::Resp2, true, &format!("{channel}*-1\r\n"));
    }
}
