//! Shelves: what a worker looks things up in.
//!
//! Promises: a value that was found has been copied to the caller's buffer, whatever the shelf.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasherDefault, Hasher};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;

use morecore_store::{Set, Store};

use super::draw::Key;
use crate::commands::bench::language::{Language, Operation};
use crate::commands::bench::peers::{Peer, Place};
use crate::failure::Failure;

/// More than a reply with the longest value takes.
const READ_BYTES: usize = 4096;

/// The shelves by the names that workers are started with.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum ShelfName {
    /// Our store
    Ours,
    /// A hash map
    Map,
    /// A redis-server
    Redis,
    /// A memcached
    Memcached,
}

impl ShelfName {
    /// The shelf that a peer's clients have.
    pub(super) const fn of(peer: Peer) -> ShelfName {
        match peer {
            Peer::Redis => ShelfName::Redis,
            Peer::Memcached => ShelfName::Memcached,
        }
    }

    /// The name as the command line has it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            ShelfName::Ours => "ours",
            ShelfName::Map => "map",
            ShelfName::Redis => "redis",
            ShelfName::Memcached => "memcached",
        }
    }
}

/// Something with keys and values.
pub(super) enum Shelf {
    /// A store in shared memory.
    Ours(Box<Store>),
    /// A map of this process. Its keys have a fixed length and stand in the table: there is no
    /// faster one that is still a map of std.
    Map(HashMap<Key, Box<[u8]>, BuildHasherDefault<Mixer>>),
    /// A server, asked for one thing at a time.
    Server(Asker),
}

impl Shelf {
    /// The shelf of this name, at the store or the socket `at`.
    pub(super) fn open(name: ShelfName, at: &Path) -> Result<Shelf, Failure> {
        let asker = |language| -> io::Result<Shelf> {
            Ok(Shelf::Server(Asker::new(language, File::from(Place::Unix(at.into()).connect()?))))
        };
        Ok(match name {
            ShelfName::Ours => {
                Shelf::Ours(Box::new(Store::attach(&at.to_string_lossy().parse()?)?))
            }
            ShelfName::Map => Shelf::Map(HashMap::default()),
            ShelfName::Redis => asker(Language::Resp)?,
            ShelfName::Memcached => asker(Language::Memcached)?,
        })
    }

    /// Puts the value of `key` into `found`; `value` is the one that it must have.
    #[inline]
    pub(super) fn get(
        &mut self,
        key: &Key,
        value: &[u8],
        found: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        found.clear();
        match self {
            Shelf::Ours(store) => drop(store.get(key, found)?),
            Shelf::Map(map) => {
                found.extend_from_slice(map.get(key).map_or(&[], |value| value));
            }
            Shelf::Server(asker) => asker.ask(Operation::Get, key, value, found)?,
        }
        if found.len() == value.len() {
            Ok(())
        } else {
            let (found, wanted) = (found.len(), value.len());
            Err(Failure::new(format!("a value of {found} bytes, not of {wanted}")))
        }
    }

    /// Puts `value` under `key`.
    #[inline]
    pub(super) fn set(&mut self, key: &Key, value: &[u8]) -> Result<(), Failure> {
        match self {
            Shelf::Ours(store) => drop(store.set(key, value, &Set::default())?),
            Shelf::Map(map) => drop(map.insert(*key, value.into())),
            Shelf::Server(asker) => asker.ask(Operation::Set, key, value, &mut Vec::new())?,
        }
        Ok(())
    }
}

/// A client that sends a command and waits for its reply.
pub(super) struct Asker {
    language: Language,
    socket: File,
    sent: Vec<u8>,
    expected: Vec<u8>,
    buffer: Box<[u8]>,
}

impl Asker {
    fn new(language: Language, socket: File) -> Asker {
        let (sent, expected) = (Vec::new(), Vec::new());
        let buffer = vec![0; READ_BYTES].into_boxed_slice();
        Asker { language, socket, sent, expected, buffer }
    }

    fn ask(
        &mut self,
        operation: Operation,
        key: &Key,
        value: &[u8],
        found: &mut Vec<u8>,
    ) -> io::Result<()> {
        self.sent.clear();
        self.expected.clear();
        self.language.add(operation, (key, value), &mut self.sent, &mut self.expected);
        self.socket.write_all(&self.sent)?;
        let mut received = 0;
        while received < self.expected.len() {
            match self.socket.read(&mut self.buffer[received..])? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => received += count,
            }
        }
        if self.buffer[..received] != *self.expected {
            let reply = crate::output::escaped(&self.buffer[..received.min(60)]);
            return Err(io::Error::other(format!("the server answered `{reply}`")));
        }
        found.extend_from_slice(value);
        Ok(())
    }
}

/// A hash of two multiplications: the limit is not to stand on a slow one.
#[derive(Default)]
pub(super) struct Mixer(u64);

/// The golden ratio in 64 bits: an odd number whose multiples lie far apart.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..piece.len()].copy_from_slice(piece);
            self.write_u64(u64::from_ne_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * u128::from(SPREAD);
        self.0 = (product >> 64) as u64 ^ product as u64;
    }

    /// The length of a key is always the same and tells nothing.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}
