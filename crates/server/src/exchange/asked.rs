//! What is asked of the exchange, and how it is written down where it goes by a line.
//!
//! Promises: what was written is read as the same. It is written as clients write commands, so
//! nothing new is parsed.

use morecore_wire::{Arguments, Channels, Command, PubSub, encode_command, find, parse_integer};

/// What is asked of the exchange.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Asked<'a> {
    PubSub(PubSub<'a>),
    /// Hang up on this client.
    Cut(u64),
    /// Forget who asks.
    Leave,
}

/// The words for what no command says.
const CUT: &[u8] = b"cut";
const LEAVE: &[u8] = b"leave";

impl<'a> Asked<'a> {
    /// Appends it, as a client would write it.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let number;
        let words: Vec<&[u8]> = match *self {
            Self::PubSub(asked) => words(asked),
            Self::Cut(id) => {
                number = id.to_string();
                vec![CUT, number.as_bytes()]
            }
            Self::Leave => vec![LEAVE],
        };
        encode_command(out, &words);
    }

    /// What `arguments` ask, if they were written so.
    pub(crate) fn read(arguments: Arguments<'a>) -> Option<Self> {
        match arguments.get(0)? {
            CUT => Some(Self::Cut(parse_integer(arguments.get(1)?)?.unsigned_abs())),
            LEAVE => Some(Self::Leave),
            _ => match find(arguments).ok()?.read(arguments).ok()? {
                Command::PubSub(asked) => Some(Self::PubSub(asked)),
                _ => None,
            },
        }
    }
}

/// The command that asks this.
fn words(asked: PubSub<'_>) -> Vec<&[u8]> {
    let (mut words, rest): (Vec<&[u8]>, _) = match asked {
        PubSub::Subscribe { channels, names } => (vec![subscribe(channels)], Some(names)),
        PubSub::Unsubscribe { channels, names } => (vec![unsubscribe(channels)], Some(names)),
        PubSub::Publish { channels: Channels::Sharded, name, message } => {
            (vec![b"SPUBLISH", name, message], None)
        }
        PubSub::Publish { name, message, .. } => (vec![b"PUBLISH", name, message], None),
        PubSub::List { channels, pattern } => {
            let what = pick(channels, b"CHANNELS", b"SHARDCHANNELS");
            (["PUBSUB".as_bytes(), what].into_iter().chain(pattern).collect(), None)
        }
        PubSub::Count { channels, names } => {
            (vec![b"PUBSUB", pick(channels, b"NUMSUB", b"SHARDNUMSUB")], Some(names))
        }
        PubSub::CountPatterns => (vec![b"PUBSUB", b"NUMPAT"], None),
    };
    words.extend(rest.iter().flat_map(|rest| rest.iter()));
    words
}

const fn subscribe(channels: Channels) -> &'static [u8] {
    match channels {
        Channels::Named => b"SUBSCRIBE",
        Channels::Matching => b"PSUBSCRIBE",
        Channels::Sharded => b"SSUBSCRIBE",
    }
}

const fn unsubscribe(channels: Channels) -> &'static [u8] {
    match channels {
        Channels::Named => b"UNSUBSCRIBE",
        Channels::Matching => b"PUNSUBSCRIBE",
        Channels::Sharded => b"SUNSUBSCRIBE",
    }
}

const fn pick(channels: Channels, named: &'static [u8], sharded: &'static [u8]) -> &'static [u8] {
    if matches!(channels, Channels::Sharded) { sharded } else { named }
}

#[cfg(test)]
mod tests {
    use super::*;
    use morecore_wire::{Parser, Progress};

    fn check(command: &str) {
        let mut bytes = Vec::new();
        let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        encode_command(&mut bytes, &words);
        let read = |parser: &mut Parser, bytes: &[u8]| {
            assert!(matches!(parser.parse(bytes), Ok(Progress::Whole { .. })));
        };
        let (mut one, mut two) = (Parser::default(), Parser::default());
        read(&mut one, &bytes);
        let asked = Asked::read(one.arguments(&bytes)).unwrap();
        let mut written = Vec::new();
        asked.write(&mut written);
        read(&mut two, &written);
        assert_eq!(Asked::read(two.arguments(&written)), Some(asked), "{command}");
    }

    #[test]
    fn what_was_written_is_read_as_the_same() {
        for command in [
            "SUBSCRIBE a b",
            "PSUBSCRIBE a*",
            "SSUBSCRIBE a",
            "UNSUBSCRIBE",
            "UNSUBSCRIBE a",
            "PUNSUBSCRIBE a* b",
            "SUNSUBSCRIBE",
            "PUBLISH a text",
            "SPUBLISH a text",
            "PUBSUB CHANNELS",
            "PUBSUB CHANNELS a*",
            "PUBSUB SHARDCHANNELS a*",
            "PUBSUB NUMSUB",
            "PUBSUB NUMSUB a b",
            "PUBSUB SHARDNUMSUB a",
            "PUBSUB NUMPAT",
            "cut 17",
            "leave",
        ] {
            check(command);
        }
    }
}
