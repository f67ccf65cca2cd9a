//! A client of a RESP server, as small as one can be: one command, one reply.
//!
//! Knows nothing of what the commands mean.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use morecore_wire::{Reply, decode_reply, encode_command};

/// A server on this machine that says nothing for so long will not.
const PATIENCE: Duration = Duration::from_secs(10);

/// More than any reply that is asked for here in one piece.
const READ_BYTES: usize = 64 << 10;

/// A connection to a server on this machine.
pub(crate) struct Client {
    socket: TcpStream,
    sent: Vec<u8>,
    received: Vec<u8>,
    /// Where the next bytes arrive.
    buffer: Box<[u8]>,
}

impl Client {
    /// Connects to `port`.
    pub(crate) fn connect(port: u16) -> io::Result<Client> {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let buffer = vec![0; READ_BYTES].into_boxed_slice();
        Ok(Client { socket, sent: Vec::new(), received: Vec::new(), buffer })
    }

    /// Sends a command and hands its reply to `read`.
    ///
    /// # Errors
    /// The connection fails, or the reply is none or an error: then it says which.
    pub(crate) fn call<R>(
        &mut self,
        arguments: &[&[u8]],
        read: impl FnOnce(&Reply<'_>) -> R,
    ) -> io::Result<R> {
        self.send(&[arguments])?;
        self.receive(read)
    }

    /// Sends commands in one piece; as many replies are to be received.
    pub(crate) fn send(&mut self, commands: &[&[&[u8]]]) -> io::Result<()> {
        self.sent.clear();
        for arguments in commands {
            encode_command(&mut self.sent, arguments);
        }
        self.socket.write_all(&self.sent)
    }

    /// Waits for the next reply and hands it to `read`.
    pub(crate) fn receive<R>(&mut self, read: impl FnOnce(&Reply<'_>) -> R) -> io::Result<R> {
        loop {
            let decoded = decode_reply(&self.received);
            match decoded.map_err(|malformed| io::Error::other(malformed.to_string()))? {
                Some((Reply::Error(text), _)) => {
                    return Err(io::Error::other(String::from_utf8_lossy(text).into_owned()));
                }
                Some((reply, bytes)) => {
                    let outcome = read(&reply);
                    self.received.drain(..bytes);
                    return Ok(outcome);
                }
                None => self.read_more()?,
            }
        }
    }

    /// Appends what the server has sent.
    fn read_more(&mut self) -> io::Result<()> {
        let count = self.socket.read(&mut self.buffer)?;
        self.received.extend_from_slice(&self.buffer[..count]);
        if count == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}
