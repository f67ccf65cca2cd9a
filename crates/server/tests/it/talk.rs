//! A client that sees every byte: it writes what it is told, and shows replies as short text.
//!
//! ```text
//!   +OK   -ERR words   :7   "bulk"   nil   #t   =text
//!   [:1, "part"]   {"key": "value"}   ~["set"]
//! ```

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use morecore_wire::{Reply, decode_reply, encode_command};

/// How long anything may take before the test fails: far longer than any machine stands still, so
/// that only what never comes is found.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// One connection to a server.
pub(crate) struct Talk {
    stream: Box<dyn Stream>,
    received: Vec<u8>,
}

impl Talk {
    pub(crate) fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: Box::new(stream), received: Vec::new() }
    }

    pub(crate) fn to_unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream: Box::new(stream), received: Vec::new() }
    }

    /// Sends bytes as they are. A server that has closed takes none, which the reply will show.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _closed = self.stream.write_all(bytes);
    }

    /// Asks one command and returns its reply.
    pub(crate) fn ask(&mut self, words: &str) -> String {
        let arguments: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        self.ask_exactly(&arguments)
    }

    /// Asks one command of any bytes and returns its reply.
    pub(crate) fn ask_exactly(&mut self, arguments: &[&[u8]]) -> String {
        let mut bytes = Vec::new();
        encode_command(&mut bytes, arguments);
        self.send(&bytes);
        self.reply()
    }

    /// Returns the next reply, or `closed`.
    pub(crate) fn reply(&mut self) -> String {
        loop {
            if let Some((reply, count)) = decode_reply(&self.received).unwrap() {
                let shown = show(&reply);
                self.received.drain(..count);
                return shown;
            }
            if !self.read() {
                assert_eq!(self.received, b"", "closed within a reply");
                return "closed".into();
            }
        }
    }

    /// Returns the next reply; nothing if the server closed within one.
    pub(crate) fn try_reply(&mut self) -> Option<String> {
        loop {
            if let Some((reply, count)) = decode_reply(&self.received).unwrap() {
                let shown = show(&reply);
                self.received.drain(..count);
                return Some(shown);
            }
            if !self.read() {
                return None;
            }
        }
    }

    /// Returns the next line without its end, or `closed`: memcached's replies are lines.
    pub(crate) fn line(&mut self) -> String {
        let mut searched = 0;
        loop {
            let found = self.received[searched..].iter().position(|byte| *byte == b'\n');
            if let Some(end) = found.map(|at| searched + at) {
                let line = self.received[..end].strip_suffix(b"\r").expect("a line ends with both");
                let line = line.escape_ascii().to_string();
                self.received.drain(..=end);
                return line;
            }
            searched = self.received.len();
            if !self.read() {
                assert_eq!(self.received, b"", "closed within a line");
                return "closed".into();
            }
        }
    }

    /// Reads once; returns whether the server is still there.
    fn read(&mut self) -> bool {
        let mut piece = [0; 16 << 10];
        match self.stream.read(&mut piece) {
            Ok(0) => false,
            Ok(count) => {
                self.received.extend_from_slice(&piece[..count]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            // A process that was stopped for a while is told so.
            Err(error) if error.kind() == ErrorKind::Interrupted => self.read(),
            Err(error) => panic!("no reply: {error}"),
        }
    }
}

/// The reply as short text.
pub(crate) fn show(reply: &Reply<'_>) -> String {
    let all = |parts: &[Reply<'_>]| parts.iter().map(show).collect::<Vec<_>>().join(", ");
    match reply {
        Reply::Simple(text) => format!("+{}", text.escape_ascii()),
        Reply::Error(text) => format!("-{}", String::from_utf8_lossy(text)),
        Reply::Integer(value) => format!(":{value}"),
        Reply::Bulk(bytes) => format!("\"{}\"", bytes.escape_ascii()),
        Reply::Null => "nil".into(),
        Reply::Double(value) => format!(",{value}"),
        Reply::Boolean(value) => if *value { "#t" } else { "#f" }.into(),
        Reply::Verbatim(text) => format!("={}", text.escape_ascii()),
        Reply::Array(parts) => format!("[{}]", all(parts)),
        Reply::Set(parts) => format!("~[{}]", all(parts)),
        Reply::Push(parts) => format!(">[{}]", all(parts)),
        Reply::Map(pairs) => {
            let pair =
                |(key, value): &(Reply<'_>, Reply<'_>)| format!("{}: {}", show(key), show(value));
            format!("{{{}}}", pairs.iter().map(pair).collect::<Vec<_>>().join(", "))
        }
    }
}
