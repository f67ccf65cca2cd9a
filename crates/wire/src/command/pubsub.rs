//! The commands about messages: their rows and their readers.
//!
//! Source: pubsub.c of Redis 7.0.15.

use super::Command;
use super::catalogue::{FAST, Group, PUBSUB, Read, Reader, Row};
use crate::arguments::Arguments;
use crate::refusal::Refusal;

/// What a client listens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channels {
    /// Channels by their names.
    Named,
    /// All channels whose names match a pattern.
    Matching,
    /// The channels of a shard of a cluster. This server is no part of one: it has them all.
    Sharded,
}

/// What is asked of those who listen and those who speak.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "the line of a variant tells of its fields")]
pub enum PubSub<'a> {
    /// SUBSCRIBE, PSUBSCRIBE and SSUBSCRIBE.
    Subscribe { channels: Channels, names: Arguments<'a> },
    /// UNSUBSCRIBE, PUNSUBSCRIBE and SUNSUBSCRIBE; without names it is of all.
    Unsubscribe { channels: Channels, names: Arguments<'a> },
    /// PUBLISH and SPUBLISH: how many got it.
    Publish { channels: Channels, name: &'a [u8], message: &'a [u8] },
    /// PUBSUB CHANNELS and SHARDCHANNELS: those that somebody listens to.
    List { channels: Channels, pattern: Option<&'a [u8]> },
    /// PUBSUB NUMSUB and SHARDNUMSUB: how many listen to each.
    Count { channels: Channels, names: Arguments<'a> },
    /// PUBSUB NUMPAT: how many patterns there are.
    CountPatterns,
}

const fn row(name: &'static str, arity: i32, read: Reader) -> Row {
    Row::new(Group::PubSub, name, arity, read).flags(PUBSUB)
}

/// The rows of the commands about messages.
pub(super) const ROWS: &[Row] = &[
    row("subscribe", -2, |arguments| subscribe(Channels::Named, arguments))
        .about("2.0.0", "Listens to channels."),
    row("psubscribe", -2, |arguments| subscribe(Channels::Matching, arguments))
        .about("2.0.0", "Listens to all channels that match a pattern."),
    row("ssubscribe", -2, |arguments| subscribe(Channels::Sharded, arguments))
        .about("7.0.0", "Listens to channels of a shard.")
        .keys(1, -1, 1),
    row("unsubscribe", -1, |arguments| unsubscribe(Channels::Named, arguments))
        .about("2.0.0", "Stops to listen to channels."),
    row("punsubscribe", -1, |arguments| unsubscribe(Channels::Matching, arguments))
        .about("2.0.0", "Stops to listen to patterns."),
    row("sunsubscribe", -1, |arguments| unsubscribe(Channels::Sharded, arguments))
        .about("7.0.0", "Stops to listen to channels of a shard.")
        .keys(1, -1, 1),
    row("publish", 3, |arguments| publish(Channels::Named, arguments))
        .about("2.0.0", "Says something to all who listen to a channel.")
        .flags(PUBSUB.and(FAST)),
    row("spublish", 3, |arguments| publish(Channels::Sharded, arguments))
        .about("7.0.0", "Says something to all who listen to a channel of a shard.")
        .flags(PUBSUB.and(FAST))
        .keys(1, 1, 1),
    CONTAINER,
];

/// PUBSUB. Without a subcommand that exists nobody comes to its reader: `find` has said so before.
const CONTAINER: Row = Row::new(Group::PubSub, "pubsub", -2, |arguments| {
    Err(Refusal::UnknownSubcommand { command: "pubsub", name: arguments.at(1) })
})
.about("2.8.0", "Commands about who listens to what.")
.subcommands(SUBCOMMANDS);

/// The subcommands of PUBSUB.
const SUBCOMMANDS: &[Row] = &[
    row("pubsub|channels", -2, |arguments| list(Channels::Named, arguments))
        .about("2.8.0", "Names the channels that somebody listens to."),
    row("pubsub|help", 2, |_| Ok(Command::Help { of: &CONTAINER }))
        .about("6.2.0", "Prints this help.")
        .flags(super::catalogue::NONE),
    row("pubsub|numpat", 2, |_| Ok(Command::PubSub(PubSub::CountPatterns)))
        .about("2.8.0", "Counts the patterns that somebody listens to."),
    row("pubsub|numsub", -2, |arguments| count(Channels::Named, arguments))
        .about("2.8.0", "Counts who listens to channels."),
    row("pubsub|shardchannels", -2, |arguments| list(Channels::Sharded, arguments))
        .about("7.0.0", "Names the channels of shards that somebody listens to."),
    row("pubsub|shardnumsub", -2, |arguments| count(Channels::Sharded, arguments))
        .about("7.0.0", "Counts who listens to channels of shards."),
];

fn subscribe<'a>(channels: Channels, arguments: Arguments<'a>) -> Read<'a> {
    Ok(Command::PubSub(PubSub::Subscribe { channels, names: arguments.skip(1) }))
}

fn unsubscribe<'a>(channels: Channels, arguments: Arguments<'a>) -> Read<'a> {
    Ok(Command::PubSub(PubSub::Unsubscribe { channels, names: arguments.skip(1) }))
}

fn publish<'a>(channels: Channels, arguments: Arguments<'a>) -> Read<'a> {
    let (name, message) = (arguments.at(1), arguments.at(2));
    Ok(Command::PubSub(PubSub::Publish { channels, name, message }))
}

fn list<'a>(channels: Channels, arguments: Arguments<'a>) -> Read<'a> {
    if arguments.len() > 3 {
        let name = arguments.at(1);
        return Err(Refusal::SubcommandArity { command: "pubsub", name });
    }
    Ok(Command::PubSub(PubSub::List { channels, pattern: arguments.get(2) }))
}

fn count<'a>(channels: Channels, arguments: Arguments<'a>) -> Read<'a> {
    Ok(Command::PubSub(PubSub::Count { channels, names: arguments.skip(2) }))
}
