//! What `serve` can be told, on the command line or in a file of settings.
//!
//! Promises: every flag is optional here, so that two sets of them can be laid over each other;
//! what neither says is `morecore_server`'s default.

use std::ffi::OsString;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use morecore_server::{Level, Model, Options, Protocol};

use super::config;
use crate::commands::Evict;
use crate::failure::Failure;
use crate::quantity;

/// The flags of `serve`, and the settings of its `--config`.
#[derive(clap::Args, Default)]
pub(crate) struct Flags {
    /// TCP port [default: 6379]; 0 asks for a free one
    #[arg(short, long)]
    port: Option<u16>,
    /// Address to listen on [default: 127.0.0.1]; may be repeated
    #[arg(short = 'l', long, visible_alias = "listen", value_name = "ADDRESS")]
    #[arg(value_delimiter = ',')]
    bind: Vec<IpAddr>,
    /// memcached's UDP port: 0, for there is none
    #[arg(short = 'U', long = "udp-port", value_name = "PORT", value_parser = no_udp)]
    udp_port: Option<u16>,
    /// Path of a Unix socket to listen on too
    #[arg(short = 's', long = "unixsocket", value_name = "PATH")]
    unix_socket: Option<PathBuf>,
    /// How clients are served [default: epoll]
    #[arg(long, value_enum)]
    model: Option<ModelName>,
    /// The language of all clients [default: auto, told by the first bytes of each]
    #[arg(long, value_enum)]
    protocol: Option<ProtocolName>,
    /// Threads that execute commands [default: number of cores]
    #[arg(short, long, value_name = "COUNT")]
    threads: Option<NonZeroUsize>,
    /// Size of the store, if it has to be made [default: 1gb]; a number below 1048576 without unit
    /// is MiB, as memcached has it
    #[arg(short, long, visible_alias = "maxmemory", value_parser = memory)]
    #[arg(value_name = "SIZE")]
    memory: Option<u64>,
    /// What a full store does, if it has to be made [default: policy]
    #[arg(long, value_enum)]
    evict: Option<Evict>,
    /// The same in Redis's words: `noeviction` refuses, every other policy evicts
    #[arg(long = "maxmemory-policy", value_name = "POLICY", conflicts_with = "evict")]
    #[arg(value_parser = policy)]
    policy: Option<Evict>,
    /// memcached's word for --evict none
    #[arg(short = 'M', long = "disable-evictions", conflicts_with_all = ["evict", "policy"])]
    is_full_refused: bool,
    /// At most this many clients at once [default: 10000]
    #[arg(short = 'c', long = "maxclients", value_name = "COUNT")]
    clients_most: Option<u32>,
    /// What a client must give to AUTH before anything else
    #[arg(long = "requirepass", value_name = "PASSWORD")]
    password: Option<OsString>,
    /// Seconds after which a silent client is sent away [default: 0, never]
    #[arg(long = "timeout", value_name = "SECONDS")]
    timeout_s: Option<u32>,
    /// Seconds after which a silent peer is probed [default: 300]; 0 is never
    #[arg(long = "tcp-keepalive", value_name = "SECONDS")]
    keep_alive_s: Option<u32>,
    /// How long to look for more work before sleeping, in microseconds [default: 0; 1000 if no
    /// number is given]: short waits, at the price of a busy core a thread
    #[arg(long = "busy-poll", value_name = "MICROSECONDS", num_args = 0..=1)]
    #[arg(default_missing_value = "1000", require_equals = true)]
    busy_poll_us: Option<u32>,
    /// Whether INFO commandstats and latencystats tell of commands [default: no], which costs each
    /// of them two looks at a clock
    #[arg(long = "latency-tracking", value_name = "YES|NO", value_parser = yes_or_no)]
    is_measuring: Option<bool>,
    /// What is logged to standard error [default: notice]
    #[arg(long = "loglevel", value_enum, value_name = "LEVEL")]
    level: Option<LevelName>,
    /// Log much, and said twice everything, as memcached has it
    #[arg(short, long = "verbose", action = clap::ArgAction::Count, conflicts_with = "level")]
    verbosity: u8,
    /// A file with lines of a redis.conf; flags come first
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Flags {
    /// These flags, and below them what their `--config` says, if there is one.
    pub(super) fn with_config(self) -> Result<Flags, Failure> {
        match &self.config {
            Some(path) => {
                let below = config::read(path)?;
                Ok(self.over(below))
            }
            None => Ok(self),
        }
    }

    /// These flags where they say something, else those of `below`.
    fn over(self, below: Flags) -> Flags {
        Flags {
            port: self.port.or(below.port),
            bind: if self.bind.is_empty() { below.bind } else { self.bind },
            udp_port: self.udp_port,
            unix_socket: self.unix_socket.or(below.unix_socket),
            model: self.model.or(below.model),
            protocol: self.protocol.or(below.protocol),
            threads: self.threads.or(below.threads),
            memory: self.memory.or(below.memory),
            evict: self.evict.or(self.policy).or(below.evict),
            policy: below.policy,
            is_full_refused: self.is_full_refused,
            clients_most: self.clients_most.or(below.clients_most),
            password: self.password.or(below.password),
            timeout_s: self.timeout_s.or(below.timeout_s),
            keep_alive_s: self.keep_alive_s.or(below.keep_alive_s),
            busy_poll_us: self.busy_poll_us.or(below.busy_poll_us),
            is_measuring: self.is_measuring.or(below.is_measuring),
            level: self.level.or(below.level),
            verbosity: self.verbosity,
            config: self.config,
        }
    }

    /// The size of the store, if one was asked for.
    pub(super) fn memory_bytes(&self) -> Option<u64> {
        self.memory
    }

    /// What the store does when it is full.
    pub(super) fn evict(&self) -> morecore_store::Evict {
        match self.is_full_refused {
            true => morecore_store::Evict::None,
            false => self.evict.or(self.policy).unwrap_or(Evict::Policy).into(),
        }
    }

    /// The same for the server, with its own defaults for what was not said.
    pub(super) fn options(&self) -> Options {
        let usual = Options::default();
        Options {
            bind: if self.bind.is_empty() { usual.bind } else { self.bind.clone() },
            port: self.port.or(usual.port),
            unix_socket: self.unix_socket.clone(),
            model: self.model.map_or(usual.model, Model::from),
            protocol: self.protocol.map_or(usual.protocol, ProtocolName::protocol),
            threads: self.threads,
            clients_most: self.clients_most.unwrap_or(usual.clients_most),
            password: self.password.clone().map(OsString::into_vec),
            timeout_s: self.timeout_s.unwrap_or(usual.timeout_s),
            keep_alive_s: self.keep_alive_s.unwrap_or(usual.keep_alive_s),
            busy_poll_us: self.busy_poll_us.unwrap_or(usual.busy_poll_us),
            is_measuring: self.is_measuring.unwrap_or(usual.is_measuring),
            log: match self.verbosity {
                0 => self.level.map_or(usual.log, Level::from),
                1 => Level::Verbose,
                _ => Level::Debug,
            },
            ..usual
        }
    }
}

/// Reads the size of a store. memcached counts in MiB; and no store is so small that a number below
/// a million could mean bytes.
fn memory(text: &str) -> Result<u64, String> {
    match text.parse::<u64>() {
        Ok(number @ 1..0x10_0000) => Ok(number << 20),
        _ => quantity::bytes(text),
    }
}

/// Reads one of Redis's switches.
fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("it is yes or no".to_string()),
    }
}

/// Reads memcached's UDP port: its tools say 0 to be sure that there is none.
fn no_udp(text: &str) -> Result<u16, String> {
    match text {
        "0" => Ok(0),
        _ => Err("there is no UDP; 0 says so".to_string()),
    }
}

/// Reads one of Redis's eviction policies. The store has one way to choose what goes, so all that
/// evict mean the same here.
fn policy(text: &str) -> Result<Evict, String> {
    match text {
        "noeviction" => Ok(Evict::None),
        "allkeys-lru" | "allkeys-lfu" | "allkeys-random" => Ok(Evict::Policy),
        _ => Err("there is noeviction, and allkeys-lru, which evicts what was not used lately"
            .to_string()),
    }
}

/// The models, as the command line has them.
#[derive(Clone, Copy, clap::ValueEnum)]
enum ModelName {
    /// A few threads, each waiting for many sockets
    Epoll,
    /// A process for each client
    Process,
    /// One thread, waiting with select(2): up to about a thousand clients
    Select,
    /// A thread for each client
    Thread,
    /// As epoll, with the calls of many sockets made as one; epoll where the kernel refuses that
    Uring,
}

impl From<ModelName> for Model {
    fn from(name: ModelName) -> Model {
        match name {
            ModelName::Epoll => Model::Epoll,
            ModelName::Process => Model::Process,
            ModelName::Select => Model::Select,
            ModelName::Thread => Model::Thread,
            ModelName::Uring => Model::Uring,
        }
    }
}

/// The languages, as the command line has them.
#[derive(Clone, Copy, clap::ValueEnum)]
enum ProtocolName {
    /// Told by the first bytes of each connection
    Auto,
    /// Redis's
    Resp,
    /// memcached's text and meta commands
    Memcached,
}

impl ProtocolName {
    fn protocol(self) -> Option<Protocol> {
        match self {
            ProtocolName::Auto => None,
            ProtocolName::Resp => Some(Protocol::Resp),
            ProtocolName::Memcached => Some(Protocol::Memcached),
        }
    }
}

/// Redis's levels of logging, as the command line has them.
#[derive(Clone, Copy, clap::ValueEnum)]
enum LevelName {
    /// Everything
    Debug,
    /// Much
    Verbose,
    /// What one wants to know
    Notice,
    /// What is wrong
    Warning,
    /// Not a word
    Nothing,
}

impl From<LevelName> for Level {
    fn from(name: LevelName) -> Level {
        match name {
            LevelName::Debug => Level::Debug,
            LevelName::Verbose => Level::Verbose,
            LevelName::Notice => Level::Notice,
            LevelName::Warning => Level::Warning,
            LevelName::Nothing => Level::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
    }

    fn flags(line: &str) -> Result<Flags, clap::Error> {
        let words = ["serve"].into_iter().chain(line.split(' '));
        Line::try_parse_from(words).map(|line| line.flags)
    }

    #[test]
    fn memcacheds_own_flags_are_taken() {
        let Ok(flags) = flags("-l 127.0.0.1,::1 -p 11211 -U 0 -m 64 -c 9 -t 2 -M -vv") else {
            panic!("a flag is not taken")
        };
        let options = flags.options();
        assert_eq!(flags.memory_bytes(), Some(64 << 20));
        assert_eq!(flags.evict(), morecore_store::Evict::None);
        assert_eq!((options.bind.len(), options.port, options.clients_most), (2, Some(11211), 9));
        assert_eq!(options.log, Level::Debug);
    }

    #[test]
    fn a_number_that_is_large_enough_is_bytes() {
        for (text, bytes) in [("1048575", 1048575 << 20), ("1048576", 1 << 20), ("8mb", 8 << 20)] {
            assert_eq!(memory(text), Ok(bytes), "{text}");
        }
        assert!(flags("-U 11211").is_err());
    }
}
