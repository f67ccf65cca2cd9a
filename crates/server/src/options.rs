//! What a server is told before it starts.
//!
//! Promises: [`Options::default`] is what `morecore serve` without flags does.
//! Source: redis.conf of Redis 7, whose names and defaults the command line takes over.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use morecore_sys::ready::Select;

use morecore_wire::Protocol;

use crate::log::Level;

/// What a server is told before it starts.
#[derive(Clone, Debug)]
pub struct Options {
    /// The addresses to listen on.
    pub bind: Vec<IpAddr>,
    /// The TCP port on each of them; 0 asks for a free one, `None` is no TCP at all.
    pub port: Option<u16>,
    /// The path of a Unix socket to listen on too.
    pub unix_socket: Option<PathBuf>,
    /// How clients are served.
    pub model: Model,
    /// The language of all clients; `None`: each tells by its first bytes.
    pub protocol: Option<Protocol>,
    /// How many threads execute commands at once, each attached to the store: the loops of
    /// `epoll` and `uring`, the attachments that the threads of `thread` share; `select` and a
    /// child of `process` have one whatever is said. `None`: one a core.
    pub threads: Option<NonZeroUsize>,
    /// At most this many clients at once; more are refused.
    pub clients_most: u32,
    /// What a client must say before anything else; `None`: nothing.
    pub password: Option<Vec<u8>>,
    /// A client that is silent for so long is sent away; 0 never.
    pub timeout_s: u32,
    /// How long a thread that waits for clients asks again and again before it sleeps, in
    /// microseconds; 0 not at all. It answers sooner then, and takes a core for itself.
    pub busy_poll_us: u32,
    /// A silent client's machine is probed after this many seconds; 0 never.
    pub keep_alive_s: u32,
    /// The most bytes of one argument.
    pub bulk_bytes_most: u64,
    /// The most bytes that wait in the buffers of all clients together, for the rest of a command
    /// or for a client that does not take its replies. Beyond it replies are put off early, and a
    /// client that sends a large argument is cut off.
    pub buffer_bytes_most: u64,
    /// Whether it is measured from the start how long each command takes. CONFIG SET
    /// `latency-tracking` changes it.
    pub is_measuring: bool,
    /// What is written to standard error.
    pub log: Level,
}

/// A way to serve many clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// A few threads, each waiting for many sockets at once.
    Epoll,
    /// A process for each client.
    Process,
    /// One thread, waiting with select(2), which knows 1024 descriptors.
    Select,
    /// A thread for each client.
    Thread,
    /// A few threads, each having the kernel read and write many sockets by `io_uring`; `Epoll`
    /// where the kernel refuses that.
    Uring,
}

impl Options {
    /// How long who waits asks again and again before it sleeps.
    pub(crate) fn busy_poll(&self) -> Duration {
        Duration::from_micros(self.busy_poll_us.into())
    }
}

impl Model {
    /// Every model, the default first.
    pub const ALL: [Self; 5] =
        [Self::Epoll, Self::Process, Self::Select, Self::Thread, Self::Uring];

    /// How many threads execute commands, if that is not for the options to say.
    pub(crate) const fn threads(self) -> Option<NonZeroUsize> {
        match self {
            Self::Epoll | Self::Thread | Self::Uring => None,
            Self::Process | Self::Select => Some(NonZeroUsize::MIN),
        }
    }

    /// How many clients it can serve at most, if there is a limit.
    pub(crate) const fn clients_most(self) -> Option<u32> {
        match self {
            Self::Epoll | Self::Thread | Self::Uring => None,
            // A store has no more participants' places.
            Self::Process => Some(1024),
            // Some descriptors are the server's own: which of them, is seen when a client comes.
            Self::Select => Some(Select::END as u32),
        }
    }

    /// How many descriptors a client costs the process that accepts.
    pub(crate) const fn descriptors_a_client(self) -> u32 {
        match self {
            Self::Epoll | Self::Select | Self::Uring => 1,
            // Its socket, and what rings when others have said something to it.
            Self::Thread => 2,
            // Its socket, its child's end, and the line to the child.
            Self::Process => 3,
        }
    }

    /// Returns its name, as the command line has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Epoll => "epoll",
            Self::Process => "process",
            Self::Select => "select",
            Self::Thread => "thread",
            Self::Uring => "uring",
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bind: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            port: Some(6379),
            unix_socket: None,
            model: Model::Epoll,
            protocol: None,
            threads: None,
            clients_most: 10_000,
            password: None,
            timeout_s: 0,
            busy_poll_us: 0,
            keep_alive_s: 300,
            // Redis's proto-max-bulk-len.
            bulk_bytes_most: 512 << 20,
            // Room for two of the largest arguments, or for sixty clients that do not read.
            buffer_bytes_most: 1 << 30,
            is_measuring: false,
            log: Level::Notice,
        }
    }
}
