//! Shelves: what a worker looks things up in.
//!
//! Promises: a value that was found has been copied to the caller's buffer, whatever the shelf.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasherDefault, Hasher};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use morecore_store::{Set, Store};

use super::draw::Key;
use super::setting::BATCH;
use crate::commands::bench::language::{Language, Operation};
use crate::commands::bench::peers::{Peer, Place};
use crate::failure::Failure;

/// More than a reply with [`BATCH`] of the longest values takes.
const READ_BYTES: usize = BATCH * 2048;

/// What one call of [`Store::tidy`] makes huge pages of: decision 32.
const STRETCH_BYTES: u64 = 8 << 20;

/// The shelves by the names that workers are started with.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum ShelfName {
    /// Our store
    Ours,
    /// A hash map
    Map,
    /// A hash map that has memory of its own for each key
    Boxed,
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
            ShelfName::Boxed => "boxed",
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
    /// The same with keys of any length: an insert copies key and value, as one into a store does.
    Boxed(HashMap<Box<[u8]>, Box<[u8]>, BuildHasherDefault<Mixer>>),
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
            ShelfName::Boxed => Shelf::Boxed(HashMap::default()),
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
            Shelf::Boxed(map) => {
                found.extend_from_slice(map.get(&key[..]).map_or(&[], |value| value));
            }
            Shelf::Server(asker) => {
                asker.ask(|language, sent, expected| {
                    language.add(Operation::Get, (key, value), sent, expected);
                })?;
                found.extend_from_slice(value);
            }
        }
        check_bytes(found.len(), value.len())
    }

    /// The same for [`BATCH`] keys in one call, whose values are put there one after the other.
    pub(super) fn get_batch(
        &mut self,
        keys: &[Key; BATCH],
        value: &[u8],
        found: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        found.clear();
        let mut add = |value: &[u8]| found.extend_from_slice(value);
        match self {
            Shelf::Ours(store) => {
                let keys = keys.each_ref().map(<[u8; _]>::as_slice);
                store.get_many(&keys, |_, found| add(found.map_or(&[], |(value, _)| value)))?;
            }
            Shelf::Map(map) => {
                keys.iter().for_each(|key| add(map.get(key).map_or(&[], |value| value)));
            }
            Shelf::Boxed(map) => {
                keys.iter().for_each(|key| add(map.get(&key[..]).map_or(&[], |value| value)));
            }
            Shelf::Server(asker) => {
                let named = keys.each_ref().map(<[u8; _]>::as_slice);
                asker.ask(|language, sent, expected| {
                    language.add_gets((&named, value), sent, expected);
                })?;
                keys.iter().for_each(|_| add(value));
            }
        }
        check_bytes(found.len(), BATCH * value.len())
    }

    /// Puts `value` under `key`.
    #[inline]
    pub(super) fn set(&mut self, key: &Key, value: &[u8]) -> Result<(), Failure> {
        match self {
            Shelf::Ours(store) => drop(store.set(key, value, &Set::default())?),
            Shelf::Map(map) => drop(map.insert(*key, value.into())),
            Shelf::Boxed(map) => drop(map.insert(key.as_slice().into(), value.into())),
            Shelf::Server(_) => self.fill(&[*key], value)?,
        }
        Ok(())
    }

    /// The same for [`BATCH`] keys in one call.
    pub(super) fn set_batch(&mut self, keys: &[Key; BATCH], value: &[u8]) -> Result<(), Failure> {
        let Shelf::Ours(store) = self else {
            return self.fill(keys, value);
        };
        let pairs = keys.each_ref().map(|key| (key.as_slice(), value));
        Ok(store.set_many(&pairs, &Set::default()).map(drop)?)
    }

    /// Puts `value` under each of `keys`; a server is told of all at once.
    pub(super) fn fill(&mut self, keys: &[Key], value: &[u8]) -> Result<(), Failure> {
        let Shelf::Server(asker) = self else {
            return keys.iter().try_for_each(|key| self.set(key, value));
        };
        Ok(asker.ask(|language, sent, expected| {
            for key in keys {
                language.add(Operation::Set, (key, value), sent, expected);
            }
        })?)
    }

    /// Does what a server of ours does in its spare time until nothing is left of it, and says how
    /// long it took; nothing for others.
    pub(super) fn tidy(&mut self) -> Result<Duration, Failure> {
        let start = Instant::now();
        if let Shelf::Ours(store) = self {
            for _ in 0..=store.memory_bytes() / STRETCH_BYTES {
                store.tidy()?;
            }
            return Ok(start.elapsed());
        }
        Ok(Duration::ZERO)
    }
}

fn check_bytes(found: usize, wanted: usize) -> Result<(), Failure> {
    if found == wanted {
        return Ok(());
    }
    Err(Failure::new(format!("values of {found} bytes, not of {wanted}")))
}

/// A client that sends commands and waits for their replies.
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

    /// Sends what `add` appends to the first, and compares what comes with the second.
    fn ask(&mut self, add: impl FnOnce(Language, &mut Vec<u8>, &mut Vec<u8>)) -> io::Result<()> {
        self.sent.clear();
        self.expected.clear();
        add(self.language, &mut self.sent, &mut self.expected);
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
