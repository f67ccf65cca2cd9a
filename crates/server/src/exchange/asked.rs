//! What is asked of the exchange, and how it is written down where it goes by a line.
//!
//! Promises: what was written is read as the same. It is written as clients write commands, so
//! nothing new is parsed.

use morecore_wire::{Arguments, Channels, Command, PubSub, Track, encode_command, find};

use super::Changed;
use crate::transaction::Seen;

/// What is asked of the exchange.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Asked<'a> {
    PubSub(PubSub<'a>),
    /// Hang up on this client.
    Cut(u64),
    /// Forget who asks.
    Leave,
    /// Tell who asks of every command.
    Monitor,
    /// This line is for those who are told of every command.
    Feed(&'a [u8]),
    /// Commands wait until then, or if that is 0 no longer.
    Pause {
        until_ms: u64,
        writes_only: bool,
    },
    /// A command of who asks waits for the end of the pause.
    Wait,
    /// It did.
    GoOn,
    /// Tell who asks of changed keys; the shards have these versions, eight bytes each.
    Track {
        asked: Track<'a>,
        versions: &'a [u8],
    },
    /// Who asks is about to read this key, which is as it was seen.
    Remember {
        key: &'a [u8],
        shard: u32,
        version: u64,
        seen: Seen,
    },
    /// A key has changed.
    Changed(Changed<'a>),
    /// Every key has.
    AllChanged,
    /// A key expires then; nothing: it does not.
    Dies {
        key: &'a [u8],
        expiry_ms: Option<u64>,
    },
    /// What was gathered is to be told before any reply leaves.
    EndTurn,
}

/// The words for what no command says.
const CUT: &[u8] = b"cut";
const LEAVE: &[u8] = b"leave";
const MONITOR: &[u8] = b"monitor";
const FEED: &[u8] = b"feed";
const PAUSE: &[u8] = b"pause";
const WAIT: &[u8] = b"wait";
const GO_ON: &[u8] = b"go-on";
const TRACK: &[u8] = b"track";
const REMEMBER: &[u8] = b"remember";
const CHANGED: &[u8] = b"changed";
const ALL_CHANGED: &[u8] = b"all-changed";
const END_TURN: &[u8] = b"end-turn";
const DIES: &[u8] = b"dies";

impl<'a> Asked<'a> {
    /// Appends it, as a client would write it.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let numbers;
        let words: Vec<&[u8]> = match *self {
            Self::PubSub(asked) => words(asked),
            Self::Cut(id) => {
                numbers = spell(&[id]);
                vec![CUT, &numbers]
            }
            Self::Leave => vec![LEAVE],
            Self::Monitor => vec![MONITOR],
            Self::Feed(line) => vec![FEED, line],
            Self::Pause { until_ms, writes_only } => {
                numbers = spell(&[until_ms, writes_only.into()]);
                vec![PAUSE, &numbers]
            }
            Self::Wait => vec![WAIT],
            Self::GoOn => vec![GO_ON],
            Self::Track { asked, versions } => {
                let flags = [asked.is_on, asked.is_broadcast, asked.is_no_loop].map(u64::from);
                let redirect = asked.redirect.map_or(0, |id| id + 1);
                numbers = spell(&[flags[0], flags[1], flags[2], redirect]);
                [TRACK, &numbers, versions].into_iter().chain(asked.options.iter()).collect()
            }
            Self::Remember { key, shard, version, seen } => {
                let [is_there, seen, expiry] = numbers_of(seen);
                numbers = spell(&[shard.into(), version, is_there, seen, expiry]);
                vec![REMEMBER, &numbers, key]
            }
            Self::Changed(changed) => {
                let Changed { key, shard, seen, by, moved: [before, after], commits } = changed;
                let [is_there, seen, expiry] = numbers_of(seen);
                let by = by.is_some().into();
                let from = [shard.into(), by, is_there, seen, expiry, before, after, commits];
                numbers = spell(&from);
                vec![CHANGED, &numbers, key]
            }
            Self::AllChanged => vec![ALL_CHANGED],
            Self::EndTurn => vec![END_TURN],
            Self::Dies { key, expiry_ms } => {
                numbers = spell(&[expiry_ms.map_or(0, |ms| ms + 1)]);
                vec![DIES, &numbers, key]
            }
        };
        encode_command(out, &words);
    }

    /// What `arguments` ask, if they were written so.
    pub(crate) fn read(arguments: Arguments<'a>) -> Option<Self> {
        let numbers = || read_numbers(arguments.get(1)?);
        match arguments.get(0)? {
            CUT => Some(Self::Cut(numbers()?[0])),
            LEAVE => Some(Self::Leave),
            MONITOR => Some(Self::Monitor),
            FEED => Some(Self::Feed(arguments.get(1)?)),
            PAUSE => {
                let [until_ms, writes_only, ..] = numbers()?;
                Some(Self::Pause { until_ms, writes_only: writes_only != 0 })
            }
            WAIT => Some(Self::Wait),
            GO_ON => Some(Self::GoOn),
            TRACK => {
                let [is_on, is_broadcast, is_no_loop, redirect, ..] = numbers()?;
                let asked = Track {
                    is_on: is_on != 0,
                    redirect: redirect.checked_sub(1),
                    is_broadcast: is_broadcast != 0,
                    options: arguments.skip(3),
                    choice: None,
                    is_no_loop: is_no_loop != 0,
                };
                Some(Self::Track { asked, versions: arguments.get(2)? })
            }
            REMEMBER => {
                let [shard, version, is_there, seen, expiry, ..] = numbers()?;
                let (key, shard) = (arguments.get(2)?, shard as u32);
                let seen = seen_of([is_there, seen, expiry]);
                Some(Self::Remember { key, shard, version, seen })
            }
            CHANGED => {
                let [shard, by, is_there, seen, expiry, before, after, commits] = numbers()?;
                let (key, shard, by) = (arguments.get(2)?, shard as u32, (by != 0).then_some(0));
                let seen = seen_of([is_there, seen, expiry]);
                let moved = [before, after];
                Some(Self::Changed(Changed { key, shard, seen, by, moved, commits }))
            }
            ALL_CHANGED => Some(Self::AllChanged),
            END_TURN => Some(Self::EndTurn),
            DIES => {
                let expiry_ms = numbers()?[0].checked_sub(1);
                Some(Self::Dies { key: arguments.get(2)?, expiry_ms })
            }
            _ => match find(arguments).ok()?.read(arguments).ok()? {
                Command::PubSub(asked) => Some(Self::PubSub(asked)),
                _ => None,
            },
        }
    }
}

/// How many numbers a question has at most.
const NUMBERS_MOST: usize = 8;

/// Numbers, as they are written in one word.
pub(crate) fn spell(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// The numbers in a word; those that it does not have are 0.
fn read_numbers(word: &[u8]) -> Option<[u64; NUMBERS_MOST]> {
    let mut numbers = [0; NUMBERS_MOST];
    for (number, bytes) in numbers.iter_mut().zip(word.chunks(size_of::<u64>())) {
        *number = u64::from_le_bytes(bytes.try_into().ok()?);
    }
    Some(numbers)
}

/// A key as it was seen, in numbers: whether it was there, its version, its expiry and one more, or
/// 0 where it has none.
fn numbers_of(seen: Seen) -> [u64; 3] {
    match seen {
        None => [0; 3],
        Some((version, expiry_ms)) => [1, version, expiry_ms.map_or(0, |ms| ms + 1)],
    }
}

fn seen_of([is_there, version, expiry]: [u64; 3]) -> Seen {
    (is_there != 0).then_some((version, expiry.checked_sub(1)))
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
    fn what_no_command_says_is_read_as_the_same() {
        let options = Parser::default();
        let options = options.arguments(b"");
        let (key, shard, version) = (&b"a\x00key"[..], 1023, 7);
        let track = Track {
            is_on: true,
            redirect: Some(0),
            is_broadcast: false,
            options,
            choice: None,
            is_no_loop: true,
        };
        let (seen, by, moved) = (Some((9, Some(0))), Some(0), [4, 6]);
        let changed = Changed { key, shard, seen, by, moved, commits: 3 };
        for asked in [
            Asked::Cut(u64::MAX),
            Asked::Leave,
            Asked::Monitor,
            Asked::Feed(b"+line\r\n"),
            Asked::Pause { until_ms: 5, writes_only: true },
            Asked::Wait,
            Asked::GoOn,
            Asked::Track { asked: track, versions: &[7; 32] },
            Asked::Remember { key, shard, version, seen: None },
            Asked::Remember { key, shard, version, seen: Some((9, None)) },
            Asked::Changed(changed),
            Asked::AllChanged,
            Asked::EndTurn,
            Asked::Dies { key, expiry_ms: None },
            Asked::Dies { key, expiry_ms: Some(0) },
        ] {
            let (mut written, mut parser) = (Vec::new(), Parser::default());
            asked.write(&mut written);
            assert!(matches!(parser.parse(&written), Ok(Progress::Whole { .. })));
            assert_eq!(Asked::read(parser.arguments(&written)), Some(asked));
        }
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
        ] {
            check(command);
        }
    }
}
