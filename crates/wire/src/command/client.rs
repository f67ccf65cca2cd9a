//! The subcommands of CLIENT that do something to connections: their rows and their readers.
//!
//! Source: networking.c and tracking.c of Redis 7.0.15.

use super::catalogue::{ADMIN, Group, Read, Reader, Row};
use super::connection::read_kind;
use super::option::{Options, is_word};
use super::{Client, ClientKind, Command};
use crate::arguments::Arguments;
use crate::number::parse_integer;
use crate::refusal::Refusal;

/// Whom CLIENT KILL hangs up on: those of whom all of this is true.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kill<'a> {
    /// Its number.
    pub id: Option<u64>,
    /// Its end of the connection, as CLIENT LIST shows it.
    pub remote: Option<&'a [u8]>,
    /// Our end.
    pub local: Option<&'a [u8]>,
    /// Its kind.
    pub kind: Option<ClientKind>,
    /// Its user.
    pub user: Option<&'a [u8]>,
    /// Whether whoever asks is spared.
    pub spares_me: bool,
    /// `CLIENT KILL address`, which wants one, and answers OK or an error.
    pub is_of_one: bool,
}

/// What CLIENT REPLY says of the replies to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replies {
    /// All are sent.
    On,
    /// None is sent.
    Off,
    /// The next is not sent.
    Skip,
}

/// What CLIENT TRACKING asks to be told of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Track<'a> {
    /// Whether anything.
    pub is_on: bool,
    /// Who is told instead.
    pub redirect: Option<u64>,
    /// BCAST: of all keys with these prefixes, or of all, instead of those that were read.
    pub is_broadcast: bool,
    /// Options, in which the prefixes are.
    pub options: Arguments<'a>,
    /// OPTIN and OPTOUT.
    pub choice: Option<Choice>,
    /// Whether not of its own changes.
    pub is_no_loop: bool,
}

/// Which of the keys that are read are tracked: with OPTIN those of commands behind CLIENT CACHING
/// YES, with OPTOUT all but those behind CLIENT CACHING NO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// OPTIN.
    In,
    /// OPTOUT.
    Out,
}

impl<'a> Track<'a> {
    /// The prefixes of BCAST.
    pub fn prefixes(&self) -> impl Iterator<Item = &'a [u8]> {
        let mut options = Options::behind(0, self.options);
        std::iter::from_fn(move || {
            loop {
                let word = options.next()?;
                match word {
                    _ if is_word(word, "prefix") => return options.next(),
                    _ if is_word(word, "redirect") => options.next().map(drop)?,
                    _ => {}
                }
            }
        })
    }
}

const fn row(name: &'static str, arity: i32, read: Reader) -> Row {
    Row::new(Group::Connection, name, arity, read)
}

pub(super) const CACHING: Row = row("client|caching", 3, |arguments| {
    let word = arguments.at(2);
    let is_yes = match word {
        _ if is_word(word, "yes") => Some(true),
        _ if is_word(word, "no") => Some(false),
        _ => None,
    };
    Ok(Command::Client(Client::Caching { is_yes }))
})
.about("6.0.0", "Says whether the keys of the next command are tracked.");

pub(super) const GETREDIR: Row =
    row("client|getredir", 2, |_| Ok(Command::Client(Client::GetRedirect)))
        .about("6.0.0", "Returns who is told of changes instead of this connection.");

pub(super) const KILL: Row =
    row("client|kill", -3, kill).about("2.4.0", "Closes connections.").flags(ADMIN);

pub(super) const PAUSE: Row = row("client|pause", -3, pause)
    .about("2.9.50", "Has the commands of all connections wait for a while.")
    .flags(ADMIN);

pub(super) const REPLY: Row = row("client|reply", 3, |arguments| {
    let word = arguments.at(2);
    let replies = match word {
        _ if is_word(word, "on") => Replies::On,
        _ if is_word(word, "off") => Replies::Off,
        _ if is_word(word, "skip") => Replies::Skip,
        _ => return Err(Refusal::Syntax),
    };
    Ok(Command::Client(Client::Reply(replies)))
})
.about("3.2.0", "Says whether commands are answered.");

pub(super) const TRACKING: Row =
    row("client|tracking", -3, track).about("6.0.0", "Has this connection told of changed keys.");

pub(super) const TRACKINGINFO: Row =
    row("client|trackinginfo", 2, |_| Ok(Command::Client(Client::TrackingInfo)))
        .about("6.2.0", "Tells what this connection is told of.");

pub(super) const UNBLOCK: Row = row("client|unblock", -3, unblock)
    .about("5.0.0", "Ends the wait of a connection; none waits here.")
    .flags(ADMIN);

pub(super) const UNPAUSE: Row = row("client|unpause", 2, |_| Ok(Command::Client(Client::Unpause)))
    .about("6.2.0", "Has commands wait no longer.")
    .flags(ADMIN);

fn kill<'a>(arguments: Arguments<'a>) -> Read<'a> {
    let mut kill = Kill {
        id: None,
        remote: None,
        local: None,
        kind: None,
        user: None,
        spares_me: true,
        is_of_one: false,
    };
    if arguments.len() == 3 {
        kill.remote = Some(arguments.at(2));
        (kill.spares_me, kill.is_of_one) = (false, true);
        return Ok(Command::Client(Client::Kill(kill)));
    }
    let mut options = Options::behind(2, arguments);
    while let Some(word) = options.next() {
        let value = options.value()?;
        match word {
            _ if is_word(word, "id") => {
                let id = parse_integer(value).and_then(|id| u64::try_from(id).ok());
                let is_id = |id: &u64| *id > 0;
                kill.id = Some(id.filter(is_id).ok_or(Refusal::Words(NO_ID))?);
            }
            _ if is_word(word, "addr") => kill.remote = Some(value),
            _ if is_word(word, "laddr") => kill.local = Some(value),
            _ if is_word(word, "type") => kill.kind = Some(read_kind(value)?),
            _ if is_word(word, "user") => kill.user = Some(value),
            _ if is_word(word, "skipme") && is_word(value, "yes") => kill.spares_me = true,
            _ if is_word(word, "skipme") && is_word(value, "no") => kill.spares_me = false,
            _ => return Err(Refusal::Syntax),
        }
    }
    Ok(Command::Client(Client::Kill(kill)))
}

const NO_ID: &str = "ERR client-id should be greater than 0";

fn pause<'a>(arguments: Arguments<'a>) -> Read<'a> {
    let writes_only = match (arguments.len(), arguments.get(3)) {
        (3, _) => false,
        (4, Some(word)) if is_word(word, "write") => true,
        (4, Some(word)) if is_word(word, "all") => false,
        (4, _) => return Err(Refusal::Words(NO_PAUSE)),
        _ => return Err(Refusal::WrongArity { command: "client|pause" }),
    };
    let time_ms = parse_integer(arguments.at(2)).ok_or(Refusal::TimeoutNotAnInteger)?;
    let time_ms = u64::try_from(time_ms).map_err(|_| Refusal::TimeoutNegative)?;
    Ok(Command::Client(Client::Pause { time_ms, writes_only }))
}

const NO_PAUSE: &str = "ERR CLIENT PAUSE mode must be WRITE or ALL";

fn unblock<'a>(arguments: Arguments<'a>) -> Read<'a> {
    match (arguments.len(), arguments.get(3)) {
        (3, _) => {}
        (4, Some(word)) if is_word(word, "timeout") || is_word(word, "error") => {}
        (4, _) => return Err(Refusal::Words(NO_REASON)),
        _ => return Err(Refusal::WrongArity { command: "client|unblock" }),
    }
    parse_integer(arguments.at(2)).ok_or(Refusal::NotAnInteger)?;
    Ok(Command::Client(Client::Unblock))
}

const NO_REASON: &str = "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR";

fn track<'a>(arguments: Arguments<'a>) -> Read<'a> {
    let word = arguments.at(2);
    let mut track = Track {
        is_on: is_word(word, "on"),
        redirect: None,
        is_broadcast: false,
        options: arguments.skip(3),
        choice: None,
        is_no_loop: false,
    };
    if !track.is_on && !is_word(word, "off") {
        return Err(Refusal::Syntax);
    }
    let mut options = Options::behind(3, arguments);
    while let Some(word) = options.next() {
        match word {
            _ if is_word(word, "redirect") => {
                if track.redirect.is_some() {
                    return Err(Refusal::Words(REDIRECTS));
                }
                let id = parse_integer(options.value()?).ok_or(Refusal::NotAnInteger)?;
                track.redirect = Some(id.unsigned_abs());
            }
            _ if is_word(word, "bcast") => track.is_broadcast = true,
            _ if is_word(word, "noloop") => track.is_no_loop = true,
            _ if is_word(word, "prefix") => options.value().map(drop)?,
            _ if is_word(word, "optin") || is_word(word, "optout") => {
                let choice = if is_word(word, "optin") { Choice::In } else { Choice::Out };
                if track.choice.is_some_and(|other| other != choice) {
                    return Err(Refusal::Words(BOTH_CHOICES));
                }
                track.choice = Some(choice);
            }
            _ => return Err(Refusal::Syntax),
        }
    }
    if track.is_on && !track.is_broadcast && track.prefixes().next().is_some() {
        return Err(Refusal::Words(PREFIX_ALONE));
    }
    if track.is_on && track.is_broadcast && track.choice.is_some() {
        return Err(Refusal::Words(CHOICE_OF_ALL));
    }
    Ok(Command::Client(Client::Track(track)))
}

const REDIRECTS: &str = "ERR A client can only redirect to a single other client";
const BOTH_CHOICES: &str = "ERR You can't specify both OPTIN mode and OPTOUT mode";
const PREFIX_ALONE: &str = "ERR PREFIX option requires BCAST mode to be enabled";
const CHOICE_OF_ALL: &str = "ERR OPTIN and OPTOUT are not compatible with BCAST";
