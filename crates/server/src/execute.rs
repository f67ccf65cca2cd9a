//! Commands to replies, by way of the store: the one place that knows both.
//!
//! ```text
//!   arguments --find--> row --may they?--> read --> Command --this--> store --> reply
//! ```
//!
//! Promises: each command gets exactly one reply, in Redis 7's words. Nothing is written before it
//! is sure what the reply is.
//! Knows nothing of sockets, nor of when the reply leaves.
//! Source: <https://redis.io/docs/latest/commands>, and the behaviour of Redis 7.0.15.

mod bits;
mod client;
mod config;
mod connection;
mod detour;
mod events;
mod expiry;
mod filled;
mod info;
mod keys;
mod lcs;
mod measured;
mod memcached;
mod notice;
mod numbers;
mod objects;
mod server;
mod slow;
mod strings;
mod tracking;
mod transactions;

use morecore_store::{self as store};
use morecore_wire::{Arguments, Client, Command, Encoder, Refusal, Row, Server, find};

use crate::caller::Caller;
use crate::desk::Desk;

pub(crate) use filled::{execute_encoded, execute_filled};
pub(crate) use memcached::{each_key, execute as execute_memcached};

/// What becomes of the connection after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// It goes on.
    GoOn,
    /// It ends when the reply is sent.
    Close,
    /// The command was not executed: it is to be asked again when a pause is over.
    Wait,
}

/// Why a command was denied: by us, or by the store.
enum Denied<'a> {
    Refusal(Refusal<'a>),
    Store(store::Error),
}

/// What a command's own function says: it has written the reply, or it was denied.
type Answered<'a> = Result<(), Denied<'a>>;

/// Executes the command that `arguments` spell, and writes its reply.
pub(crate) fn execute(
    arguments: Arguments<'_>,
    caller: &mut Caller,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> After {
    desk.counts.commands += 1;
    if caller.extras.is_some() || desk.attention.is_any() {
        return detour::execute(arguments, caller, desk, reply);
    }
    match admit(arguments, caller, desk) {
        Ok(row) => run(row, arguments, caller, desk, reply),
        Err(refusal) => {
            refuse(&refusal, desk, reply);
            After::GoOn
        }
    }
}

/// The row of the command that `arguments` spell, if the caller may ask it.
#[inline]
fn admit<'a>(
    arguments: Arguments<'a>,
    caller: &mut Caller,
    desk: &Desk,
) -> Result<&'static Row, Refusal<'a>> {
    let row = find(arguments)?;
    caller.last_command = row.name;
    if !caller.is_authenticated && !row.flags.is_free_to_ask() && !caller.is_let_in(desk) {
        return Err(Refusal::NoAuth);
    }
    Ok(row)
}

/// Executes a command that its caller may ask.
#[inline]
fn run(
    row: &'static Row,
    arguments: Arguments<'_>,
    caller: &mut Caller,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> After {
    let read = row.read(arguments);
    match read {
        Ok(command) => {
            if let Err(denied) = answer(command, caller, desk, reply) {
                deny(&denied, desk, reply);
            }
        }
        Err(refusal) => refuse(&refusal, desk, reply),
    }
    if let Some(took) = desk.watch.lap() {
        slow::note(took, arguments, caller, desk);
    }
    let Ok(command) = read else { return After::GoOn };
    match command {
        Command::Quit | Command::Server(Server::Shutdown) => After::Close,
        Command::Client(Client::Kill(_)) if caller.is_leaving() => After::Close,
        _ => After::GoOn,
    }
}

#[cold]
fn refuse(refusal: &Refusal<'_>, desk: &mut Desk, reply: &mut Encoder<'_>) {
    count_error(refusal.code(), desk);
    reply.refusal(refusal);
}

#[cold]
fn deny(denied: &Denied<'_>, desk: &mut Desk, reply: &mut Encoder<'_>) {
    count_error(denied.code(), desk);
    denied.write(reply);
}

/// Counts an error that is answered.
fn count_error(code: &str, desk: &mut Desk) {
    desk.counts.refusals += 1;
    desk.shared.measures.error(code);
}

/// Calls the function of each command.
fn answer<'a>(
    command: Command<'a>,
    caller: &mut Caller,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> Answered<'a> {
    match command {
        Command::Get { key } => strings::get(key, caller, desk, reply),
        Command::Set(set) => strings::set(set, desk, reply),
        Command::SetNx { key, value } => strings::set_nx(key, value, desk, reply),
        Command::GetDel { key } => strings::get_del(key, desk, reply),
        Command::GetEx(get) => strings::get_ex(get, caller, desk, reply),
        Command::MGet { keys } => strings::get_many(keys, caller, desk, reply),
        Command::MSet { pairs } => strings::set_many(pairs, desk, reply),
        Command::MSetNx { pairs } => strings::set_many_nx(pairs, desk, reply),
        Command::Append { key, value } => strings::append(key, value, desk, reply),
        Command::StrLen { key } => strings::length(key, desk, reply),
        Command::SetRange { key, offset, value } => {
            strings::set_range(key, offset, value, desk, reply)
        }
        Command::GetRange { key, start, end } => strings::get_range(key, start, end, desk, reply),
        Command::Increment { key, by } => numbers::increment(key, by, desk, reply),
        Command::IncrementFloat { key, by } => numbers::increment_float(key, by, desk, reply),
        Command::Lcs(asked) => lcs::lcs(asked, desk, reply),
        Command::Bits(asked) => bits::bits(asked, desk, reply),
        Command::Delete { keys } => keys::delete(keys, desk, reply),
        Command::Exists { keys } => keys::exists(keys, desk, reply),
        Command::Touch { keys } => keys::touch(keys, desk, reply),
        Command::Type { key } => keys::kind(key, desk, reply),
        Command::Rename { from, to } => keys::rename(from, to, desk, reply),
        Command::RenameNx { from, to } => keys::rename_nx(from, to, desk, reply),
        Command::Copy(copy) => keys::copy(copy, desk, reply),
        Command::Entry(asked) => objects::entry(asked, desk, reply),
        Command::Keys { pattern } => keys::list(pattern, desk, reply),
        Command::Scan(scan) => keys::scan(scan, desk, reply),
        Command::RandomKey => keys::random(desk, reply),
        Command::DbSize => keys::count(desk, reply),
        Command::Flush => keys::flush(desk, reply),
        Command::Expire(expire) => expiry::expire(expire, desk, reply),
        Command::Persist { key } => expiry::persist(key, desk, reply),
        Command::Ttl { key } => expiry::left(key, expiry::Unit::Seconds, desk, reply),
        Command::PTtl { key } => expiry::left(key, expiry::Unit::Milliseconds, desk, reply),
        Command::ExpireTime { key } => expiry::deadline(key, expiry::Unit::Seconds, desk, reply),
        Command::PExpireTime { key } => {
            expiry::deadline(key, expiry::Unit::Milliseconds, desk, reply)
        }
        Command::Ping { message } => connection::ping(message, caller, reply),
        Command::Echo { message } => connection::echo(message, reply),
        Command::Hello(hello) => connection::hello(hello, caller, desk, reply),
        Command::Auth(credentials) => connection::auth(credentials, caller, desk, reply),
        Command::Select { index } => connection::select(index, reply),
        Command::Quit => connection::quit(reply),
        Command::Reset => connection::reset(caller, desk, reply),
        Command::Multi => transactions::multi(caller, reply),
        Command::Exec => transactions::exec(caller, desk, reply),
        Command::Discard => transactions::discard(caller, reply),
        Command::Watch { keys } => transactions::watch(keys, caller, desk, reply),
        Command::PubSub(asked) => client::pubsub(asked, caller, desk, reply),
        Command::Monitor => client::monitor(caller, desk, reply),
        Command::Unwatch => transactions::unwatch(caller, reply),
        Command::Client(asked) => client::client(asked, caller, desk, reply),
        Command::Describe(asked) => server::describe(asked, reply),
        Command::Help { of } => server::help(of, reply),
        Command::Server(asked) => server::server(asked, desk, reply),
        Command::Info { sections } => info::info(sections, desk, reply),
        Command::Config(asked) => config::config(asked, caller, desk, reply),
    }
}

impl<'a> From<Refusal<'a>> for Denied<'a> {
    fn from(refusal: Refusal<'a>) -> Self {
        Self::Refusal(refusal)
    }
}

impl From<store::Error> for Denied<'_> {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl Denied<'_> {
    /// The first word of the error.
    fn code(&self) -> &'static str {
        match self {
            Self::Refusal(refusal) => refusal.code(),
            Self::Store(store::Error::Full { .. }) => "OOM",
            Self::Store(store::Error::Held { .. }) => "TRYAGAIN",
            Self::Store(_) => "ERR",
        }
    }

    /// Writes the error: Redis's words where Redis has the case, and the store's own elsewhere.
    fn write(&self, reply: &mut Encoder<'_>) {
        match self {
            Self::Refusal(refusal) => reply.refusal(refusal),
            Self::Store(store::Error::NotANumber) => reply.refusal(&Refusal::NotAnInteger),
            Self::Store(store::Error::Overflow) => reply.refusal(&Refusal::IncrementOverflow),
            Self::Store(store::Error::Full { .. }) => reply.refusal(&Refusal::OutOfMemory),
            // Clients know TRYAGAIN as a state that passes.
            Self::Store(error @ store::Error::Held { .. }) => {
                reply.error(&format!("TRYAGAIN {error}"));
            }
            Self::Store(error) => reply.error(&format!("ERR {error}")),
        }
    }
}
