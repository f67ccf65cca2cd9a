//! The commands about a connection: their rows and their readers.
//!
//! Source: networking.c of Redis 7.0.15; CLIENT SETINFO and NO-TOUCH are as in Redis 7.2.

use super::catalogue::{ADMIN, FAST, Group, NO_AUTH, Read, Reader, Row};
use super::option::{Options, is_word};
use super::{Client, ClientKind, Command, Credentials, Hello, client};
use crate::arguments::Arguments;
use crate::encoder::Version;
use crate::number::parse_integer;
use crate::refusal::Refusal;

/// The user that has a password when no user is named.
const DEFAULT_USER: &[u8] = b"default";

const fn row(name: &'static str, arity: i32, read: Reader) -> Row {
    Row::new(Group::Connection, name, arity, read)
}

/// The rows of the commands about a connection.
pub(super) const ROWS: &[Row] = &[
    row("ping", -1, ping).about("1.0.0", "Answers, so that one sees it is there.").flags(FAST),
    row("echo", 2, |arguments| Ok(Command::Echo { message: arguments.at(1) }))
        .about("1.0.0", "Answers what it was told.")
        .flags(FAST),
    row("hello", -1, hello)
        .about("6.0.0", "Agrees on the version of the protocol.")
        .flags(FAST.and(NO_AUTH)),
    row("auth", -2, auth).about("1.0.0", "Tells who the client is.").flags(FAST.and(NO_AUTH)),
    row("select", 2, select)
        .about("1.0.0", "Chooses the database; there is one, with number 0.")
        .flags(FAST),
    row("quit", -1, |_| Ok(Command::Quit))
        .about("1.0.0", "Closes the connection.")
        .flags(FAST.and(NO_AUTH)),
    row("reset", 1, |_| Ok(Command::Reset))
        .about("6.2.0", "Forgets what the connection was told.")
        .flags(FAST.and(NO_AUTH)),
    CLIENT,
];

/// CLIENT. Without a subcommand that exists nobody comes to its reader: `find` has said so before.
const CLIENT: Row = row("client", -2, |arguments| {
    Err(Refusal::UnknownSubcommand { command: "client", name: arguments.at(1) })
})
.about("2.4.0", "Commands about the connections of clients.")
.subcommands(CLIENT_ROWS);

/// The subcommands of CLIENT.
const CLIENT_ROWS: &[Row] = &[
    client::CACHING,
    row("client|getname", 2, |_| Ok(Command::Client(Client::GetName)))
        .about("2.6.9", "Returns the name of this connection."),
    client::GETREDIR,
    row("client|help", 2, |_| Ok(Command::Help { of: &CLIENT }))
        .about("5.0.0", "Prints this help."),
    row("client|id", 2, |_| Ok(Command::Client(Client::Id)))
        .about("5.0.0", "Returns the number of this connection."),
    row("client|info", 2, |arguments| {
        Ok(Command::Client(Client::Info { bytes: arguments.written_bytes() }))
    })
    .about("6.2.0", "Tells about this connection."),
    client::KILL,
    row("client|list", -2, client_list)
        .about("2.4.0", "Tells about every connection.")
        .flags(ADMIN),
    row("client|no-evict", 3, |arguments| {
        Ok(Command::Client(Client::NoEvict { is_on: read_switch(arguments.at(2))? }))
    })
    .about("7.0.0", "Protects this connection from being closed for room.")
    .flags(ADMIN),
    row("client|no-touch", 3, |arguments| {
        Ok(Command::Client(Client::NoTouch { is_on: read_switch(arguments.at(2))? }))
    })
    .about("7.2.0", "Lets the commands of this connection leave the age of keys alone."),
    client::PAUSE,
    client::REPLY,
    row("client|setinfo", 4, client_setinfo)
        .about("7.2.0", "Tells the name or the version of the client's library."),
    row("client|setname", 3, client_setname).about("2.6.9", "Names this connection."),
    client::TRACKING,
    client::TRACKINGINFO,
    client::UNBLOCK,
    client::UNPAUSE,
];

fn ping<'a>(arguments: Arguments<'a>) -> Read<'a> {
    if arguments.len() > 2 {
        return Err(Refusal::WrongArity { command: "ping" });
    }
    Ok(Command::Ping { message: arguments.get(1) })
}

fn auth<'a>(arguments: Arguments<'a>) -> Read<'a> {
    let (user, password, is_user_implied) = match arguments.len() {
        2 => (DEFAULT_USER, arguments.at(1), true),
        3 => (arguments.at(1), arguments.at(2), false),
        _ => return Err(Refusal::Syntax),
    };
    Ok(Command::Auth(Credentials { user, password, is_user_implied }))
}

/// Reads the number of a database, which is an `int` in C.
pub(super) fn read_database<'a>(bytes: &[u8]) -> Result<i64, Refusal<'a>> {
    let index = parse_integer(bytes).ok_or(Refusal::NotAnInteger)?;
    i32::try_from(index).map(i64::from).map_err(|_| Refusal::DatabaseNoInt)
}

fn select<'a>(arguments: Arguments<'a>) -> Read<'a> {
    Ok(Command::Select { index: read_database(arguments.at(1))? })
}

fn hello<'a>(arguments: Arguments<'a>) -> Read<'a> {
    let mut hello = Hello { version: None, credentials: None, name: None };
    let mut options = Options::behind(1, arguments);
    let Some(version) = options.next() else {
        return Ok(Command::Hello(hello));
    };
    hello.version = match parse_integer(version).ok_or(Refusal::VersionNotAnInteger)? {
        2 => Some(Version::Resp2),
        3 => Some(Version::Resp3),
        _ => return Err(Refusal::UnsupportedVersion),
    };
    while let Some(option) = options.next() {
        let syntax = |_| Refusal::HelloSyntax { option };
        if is_word(option, "auth") {
            let user = options.value().map_err(syntax)?;
            let password = options.value().map_err(syntax)?;
            hello.credentials = Some(Credentials { user, password, is_user_implied: false });
        } else if is_word(option, "setname") {
            let name = options.value().map_err(syntax)?;
            hello.name = Some(if is_label(name) { name } else { return Err(Refusal::ClientName) });
        } else {
            return Err(Refusal::HelloSyntax { option });
        }
    }
    Ok(Command::Hello(hello))
}

fn client_list<'a>(arguments: Arguments<'a>) -> Read<'a> {
    let bytes = arguments.written_bytes();
    let mut options = Options::behind(2, arguments);
    let list = match options.next() {
        None => Client::List { kind: None, ids: None, bytes },
        Some(word) if is_word(word, "type") && arguments.len() == 4 => {
            Client::List { kind: Some(read_kind(options.value()?)?), ids: None, bytes }
        }
        Some(word) if is_word(word, "id") && arguments.len() > 3 => {
            let ids = options.rest();
            let is_id = |id| parse_integer(id).is_some_and(|id| id > 0);
            if !ids.iter().all(is_id) {
                return Err(Refusal::InvalidClientId);
            }
            Client::List { kind: None, ids: Some(ids), bytes }
        }
        Some(_) => return Err(Refusal::Syntax),
    };
    Ok(Command::Client(list))
}

pub(super) fn read_kind(name: &[u8]) -> Result<ClientKind, Refusal<'_>> {
    match name {
        _ if is_word(name, "normal") => Ok(ClientKind::Normal),
        _ if is_word(name, "master") => Ok(ClientKind::Master),
        _ if is_word(name, "replica") || is_word(name, "slave") => Ok(ClientKind::Replica),
        _ if is_word(name, "pubsub") => Ok(ClientKind::PubSub),
        _ => Err(Refusal::UnknownClientKind { name }),
    }
}

fn client_setname<'a>(arguments: Arguments<'a>) -> Read<'a> {
    let name = arguments.at(2);
    if !is_label(name) {
        return Err(Refusal::ClientName);
    }
    Ok(Command::Client(Client::SetName { name }))
}

fn client_setinfo<'a>(arguments: Arguments<'a>) -> Read<'a> {
    let (option, value) = (arguments.at(2), arguments.at(3));
    let (field, client) = match option {
        _ if is_word(option, "lib-name") => ("lib-name", Client::SetLibraryName { name: value }),
        _ if is_word(option, "lib-ver") => {
            ("lib-ver", Client::SetLibraryVersion { version: value })
        }
        _ => return Err(Refusal::UnknownClientInfo { option }),
    };
    if is_label(value) { Ok(Command::Client(client)) } else { Err(Refusal::ClientInfo { field }) }
}

/// Whether CLIENT LIST can print `bytes` in a line of words: printable ASCII without spaces.
fn is_label(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_graphic)
}

fn read_switch(word: &[u8]) -> Result<bool, Refusal<'_>> {
    match word {
        _ if is_word(word, "on") => Ok(true),
        _ if is_word(word, "off") => Ok(false),
        _ => Err(Refusal::Syntax),
    }
}
