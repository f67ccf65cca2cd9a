//! The floor: a server that reads and writes as the others do, and does nothing else. What a server
//! takes beyond it is its own work.
//!
//! ```text
//! first   bytes of a command 4 | bytes of a reply 4 | the reply        from each client
//! then    as many bytes as a command has  -->  the reply
//! ```
//!
//! Promises: one thread with epoll; a client is read from once a turn, and written to once at its
//! end, as under our own model `epoll`. It knows no command and no key.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::batch::Batch;
use crate::failure::Failure;
use crate::output::Out;

/// As our own loops read at once.
const READ_BYTES: usize = 64 << 10;

/// As our own loops take at once.
const EVENTS: usize = 128;

/// What the door is known by; clients are known by their place.
const DOOR: u64 = u64::MAX;

/// The lengths that a client begins with.
const HEAD_BYTES: usize = 8;

/// Answers every command with the reply that its client has told: the least that a server can do
#[derive(clap::Args)]
pub(in super::super) struct Floor {
    /// Listen on this Unix socket, not on TCP
    #[arg(long = "unixsocket", value_name = "PATH")]
    unix_socket: Option<PathBuf>,
}

/// Where clients come in.
enum Door {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A client.
struct Client {
    socket: File,
    /// What it began with, until all of that is here.
    beginning: Vec<u8>,
    command_bytes: usize,
    reply: Vec<u8>,
    /// Bytes of a command that is not whole yet.
    partial: usize,
    output: Vec<u8>,
    sent: usize,
}

/// What a client of the floor tells at first: how long its commands are, and the reply to each.
pub(super) fn beginning(one: &Batch) -> Vec<u8> {
    let length = |bytes: &[u8]| (bytes.len() as u32).to_ne_bytes();
    [&length(&one.sent)[..], &length(&one.expected), &one.expected].concat()
}

impl Floor {
    /// Serves until it is killed.
    pub(in super::super) fn run(self, out: &mut Out) -> Result<(), Failure> {
        let door = match self.unix_socket {
            Some(path) => Door::Unix(UnixListener::bind(path)?),
            None => Door::Tcp(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?),
        };
        Ok(serve(&door, out)?)
    }
}

impl Door {
    /// Has `epoll` wait for clients; returns the port, or 0.
    fn watch(&self, epoll: &Epoll) -> io::Result<u16> {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, DOOR);
        match self {
            Door::Tcp(listener) => {
                epoll.add(listener.as_fd(), event)?;
                Ok(listener.local_addr()?.port())
            }
            Door::Unix(listener) => {
                epoll.add(listener.as_fd(), event)?;
                Ok(0)
            }
        }
    }

    fn accept(&self) -> io::Result<OwnedFd> {
        Ok(match self {
            Door::Tcp(listener) => {
                let (socket, _) = listener.accept()?;
                socket.set_nodelay(true)?;
                socket.into()
            }
            Door::Unix(listener) => listener.accept()?.0.into(),
        })
    }
}

fn serve(door: &Door, out: &mut Out) -> io::Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let port = door.watch(&epoll)?;
    writeln!(out, "ready port={port}")?;
    out.flush()?;
    let mut clients: Vec<Option<Client>> = Vec::new();
    let mut input = vec![0; READ_BYTES];
    let mut events = [EpollEvent::empty(); EVENTS];
    loop {
        let count = match epoll.wait(&mut events, EpollTimeout::NONE) {
            // We were stopped, and go on.
            Err(Errno::EINTR) => continue,
            found => found?,
        };
        for event in &events[..count] {
            if event.data() == DOOR {
                let client = Client::new(door.accept()?)?;
                let both = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
                epoll.add(&client.socket, EpollEvent::new(both, clients.len() as u64))?;
                clients.push(Some(client));
            } else {
                let place = &mut clients[event.data() as usize];
                if place.as_mut().is_some_and(|client| client.receive(&mut input).is_err()) {
                    *place = None;
                }
            }
        }
        for event in &events[..count] {
            let place = usize::try_from(event.data()).ok().and_then(|at| clients.get_mut(at));
            let Some(place) = place else { continue };
            if place.as_mut().is_some_and(|client| client.send().is_err()) {
                *place = None;
            }
        }
    }
}

impl Client {
    fn new(socket: OwnedFd) -> io::Result<Client> {
        fcntl(&socket, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Client {
            socket: socket.into(),
            beginning: Vec::new(),
            command_bytes: 0,
            reply: Vec::new(),
            partial: 0,
            output: Vec::new(),
            sent: 0,
        })
    }

    /// Takes what has come; an error if the client is gone. Room in `input` that is left over says
    /// that nothing more is there, so most often one read is enough.
    fn receive(&mut self, input: &mut [u8]) -> io::Result<()> {
        loop {
            let count = match self.socket.read(input) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            self.take(&input[..count]);
            if count < input.len() {
                return Ok(());
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let mut count = bytes.len();
        if self.command_bytes == 0 {
            self.beginning.extend_from_slice(bytes);
            let Some((head, rest)) = self.beginning.split_first_chunk::<HEAD_BYTES>() else {
                return;
            };
            let [a, b, c, d, e, f, g, h] = *head;
            let reply_bytes = u32::from_ne_bytes([e, f, g, h]) as usize;
            let Some(reply) = rest.get(..reply_bytes) else { return };
            self.reply = reply.to_vec();
            self.command_bytes = u32::from_ne_bytes([a, b, c, d]).max(1) as usize;
            count = rest.len() - reply_bytes;
        }
        self.partial += count;
        for _ in 0..self.partial / self.command_bytes {
            self.output.extend_from_slice(&self.reply);
        }
        self.partial %= self.command_bytes;
    }

    /// Writes what the socket takes.
    fn send(&mut self) -> io::Result<()> {
        while self.sent < self.output.len() {
            match self.socket.write(&self.output[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.output.clear();
        self.sent = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn as_many_replies_as_commands_however_they_are_cut() {
        let one =
            Batch { sent: b"get\n".to_vec(), expected: b"value".to_vec(), ..Batch::default() };
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut client = Client::new(ours.into()).unwrap();
        let sent = [&beginning(&one)[..], b"get\nget\nget"].concat();
        for byte in sent {
            theirs.write_all(&[byte]).unwrap();
            client.receive(&mut [0; 16]).unwrap();
        }
        client.send().unwrap();
        let mut heard = [0; 10];
        theirs.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"valuevalue");
        drop(theirs);
        assert!(client.receive(&mut [0; 16]).is_err());
    }
}
