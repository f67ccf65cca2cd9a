//! Servers to measure: our own under each model, and the peers that are installed here.
//!
//! Promises: none of them writes to a disk, and all of them end with the bench. Each gets as many
//! threads as there are cores that it may use.
//! Source: redis.conf of Redis 7; memcached(1).

mod frame;

use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fmt, fs, process};

use morecore_server::Model;
use morecore_store::Name;

pub(super) use self::frame::Frame;
use super::language::Language;
use crate::failure::Failure;
use crate::mess::{Mess, Player};

/// A server that does not let us in for so long will not, on whatever machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often one that is starting is asked: it takes some ten milliseconds.
const ASK_AGAIN: Duration = Duration::from_millis(1);

/// Connections that a server must admit: those of the largest load, and some.
const CONNECTIONS_MOST: u32 = 8192;

/// Another's server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Peer {
    /// Redis, `redis-server`
    Redis,
    /// memcached
    Memcached,
}

impl Peer {
    /// All that are known.
    pub(super) const ALL: [Peer; 2] = [Peer::Redis, Peer::Memcached];

    /// Its name in tables.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Peer::Redis => "redis",
            Peer::Memcached => "memcached",
        }
    }

    /// The language that it is spoken to in.
    pub(super) const fn language(self) -> Language {
        match self {
            Peer::Redis => Language::Resp,
            Peer::Memcached => Language::Memcached,
        }
    }

    /// Its program, which is also the name of its package in Debian.
    const fn program(self) -> &'static str {
        match self {
            Peer::Redis => "redis-server",
            Peer::Memcached => "memcached",
        }
    }

    /// What it says of its version, or `None` if it is not installed.
    pub(super) fn version(self) -> Option<String> {
        let output = Command::new(self.program()).arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let is_version = |word: &&str| word.trim_start_matches("v=").starts_with(char::is_numeric);
        let version = text.split_whitespace().find(is_version)?;
        Some(version.trim_start_matches("v=").to_string())
    }

    /// How to get it.
    pub(super) fn hint(self) -> String {
        format!("{} is not installed: apt-get install {}", self.name(), self.program())
    }
}

/// How clients reach a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(super) enum Transport {
    /// The loopback device.
    Tcp,
    /// A Unix socket.
    Unix,
}

impl Transport {
    /// Its name in tables.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Transport::Tcp => "tcp",
            Transport::Unix => "unix",
        }
    }
}

/// Where a server is reached.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// A port of this machine.
    Tcp(u16),
    /// A Unix socket.
    Unix(PathBuf),
}

impl Place {
    /// A blocking connection.
    pub(super) fn connect(&self) -> io::Result<OwnedFd> {
        Ok(match self {
            Place::Tcp(port) => {
                let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, *port))?;
                socket.set_nodelay(true)?;
                socket.into()
            }
            Place::Unix(path) => UnixStream::connect(path)?.into(),
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp(port) => write!(f, "{port}"),
            Place::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A server that runs until this value is dropped.
pub(super) struct Server<'a> {
    /// Where it is reached.
    pub(super) place: Place,
    /// The number of its process.
    pub(super) pid: u32,
    _player: Player<'a>,
}

/// Starts servers whose sockets lie in a directory that goes away with the mess.
pub(super) struct Host<'a> {
    mess: &'a Mess,
    directory: PathBuf,
}

impl<'a> Host<'a> {
    /// Makes the directory, which no other user may enter.
    pub(super) fn new(mess: &'a Mess) -> io::Result<Host<'a>> {
        let directory = env::temp_dir().join(format!("morecore-bench-{}", process::id()));
        // Before it is there, so that no signal comes between.
        mess.add_directory(directory.clone());
        let mut builder = fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&directory)?;
        Ok(Host { mess, directory })
    }

    /// Starts a peer, with at most `memory_bytes` of values.
    pub(super) fn start(
        &self,
        peer: Peer,
        transport: Transport,
        memory_bytes: u64,
    ) -> Result<Server<'a>, Failure> {
        let place = match transport {
            Transport::Tcp => Place::Tcp(free_port()?),
            Transport::Unix => Place::Unix(self.socket(peer.name())),
        };
        let mut command = Command::new(peer.program());
        command.current_dir(&self.directory).stdout(Stdio::null()).stderr(Stdio::null());
        match peer {
            Peer::Redis => redis_flags(&mut command, &place),
            Peer::Memcached => memcached_flags(&mut command, &place, memory_bytes),
        }
        let player = self.mess.adopt(command.spawn()?);
        Server::awaited(place, player).map_err(|failure| failure.within(peer.program()))
    }

    /// Starts this program's own server under `model`, on a new store; it polls for so long before
    /// it sleeps, if at all.
    pub(super) fn start_ours(
        &self,
        model: Model,
        transport: Transport,
        memory_bytes: u64,
        busy_poll_us: Option<u32>,
    ) -> Result<Server<'a>, Failure> {
        let label = format!("{model}-{}", transport.name());
        let store: Name = format!("bench-{}-{label}", process::id()).parse()?;
        self.mess.add_store(&store);
        let path = self.socket(&label);
        let mut command = Command::new(env::current_exe()?);
        command.args(["serve", "--store", store.as_str(), "--port", "0", "--loglevel", "nothing"]);
        command.args(["--model", model.name(), "--memory", &memory_bytes.to_string()]);
        command.arg("--unixsocket").arg(&path);
        command.args(busy_poll_us.map(|us| format!("--busy-poll={us}")));
        self.start_told(command, transport, path)
    }

    /// Starts the floor: this program's own server that does nothing but read and write.
    pub(super) fn start_floor(&self, transport: Transport) -> Result<Server<'a>, Failure> {
        let path = self.socket("floor");
        let mut command = Command::new(env::current_exe()?);
        command.args(["bench", "floor"]);
        if transport == Transport::Unix {
            command.arg("--unixsocket").arg(&path);
        }
        self.start_told(command, transport, path)
    }

    /// Starts a server that tells its port on a line of its own.
    fn start_told(
        &self,
        mut command: Command,
        transport: Transport,
        path: PathBuf,
    ) -> Result<Server<'a>, Failure> {
        command.stdout(Stdio::piped());
        let mut player = self.mess.adopt(command.spawn()?);
        let mut ready = String::new();
        if let Some(stdout) = player.child().stdout.take() {
            BufReader::new(stdout).read_line(&mut ready)?;
        }
        let port = ready.split_whitespace().find_map(|word| word.strip_prefix("port="));
        let port = port.and_then(|port| port.parse().ok());
        let port = port.ok_or_else(|| Failure::new("our own server does not start"))?;
        let place = match transport {
            Transport::Tcp => Place::Tcp(port),
            Transport::Unix => Place::Unix(path),
        };
        Server::awaited(place, player)
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.sock"))
    }
}

impl<'a> Server<'a> {
    /// Waits until the server lets us in.
    fn awaited(place: Place, mut player: Player<'a>) -> Result<Server<'a>, Failure> {
        let until = Instant::now() + PATIENCE;
        let pid = player.child().id();
        while let Err(error) = place.connect() {
            if let Some(status) = player.child().try_wait()? {
                return Err(Failure::new(format!("it ended with {status}")));
            }
            if Instant::now() >= until {
                return Err(error.into());
            }
            thread::sleep(ASK_AGAIN);
        }
        Ok(Server { place, pid, _player: player })
    }
}

/// Redis without a disk. It has one thread for commands.
fn redis_flags(command: &mut Command, place: &Place) {
    command.args(["--save", "", "--appendonly", "no", "--bind", "127.0.0.1"]);
    command.arg("--maxclients").arg(CONNECTIONS_MOST.to_string());
    match place {
        Place::Tcp(port) => command.arg("--port").arg(port.to_string()),
        Place::Unix(path) => command.args(["--port", "0", "--unixsocket"]).arg(path),
    };
}

/// memcached with room enough that it evicts nothing.
fn memcached_flags(command: &mut Command, place: &Place, memory_bytes: u64) {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    command.args(["-U", "0", "-t", &threads.to_string(), "-c", &CONNECTIONS_MOST.to_string()]);
    command.arg("-m").arg((memory_bytes >> 20).to_string());
    if nix::unistd::geteuid().is_root() {
        command.args(["-u", "root"]);
    }
    match place {
        Place::Tcp(port) => command.args(["-l", "127.0.0.1", "-p", &port.to_string()]),
        Place::Unix(path) => command.arg("-s").arg(path),
    };
}

/// A port that nobody listened on a moment ago: a peer cannot be asked which one it was given.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
