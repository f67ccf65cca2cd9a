//! Shelves: everybody who keeps keys and values, behind one trait.
//!
//! Promises: a value that was found has been copied to the caller's buffer, whatever the shelf.

mod boost;

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;

use dashmap::DashMap;
use hashbrown::HashMap;
use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions, WithoutTls};
use morecore_store::{Create, Evict, Set, Store};

use crate::draw::Key;

/// What an item may take beyond its value; ample for all.
const ROOM_BYTES: usize = 400;

/// The least that a store is given, however few the items.
const MEMORY_BYTES_LEAST: usize = 64 << 20;

/// Something with keys and values, for one thread.
pub(crate) trait Shelf: Send {
    /// Puts the value of `key` into `found`.
    fn get(&mut self, key: &Key, found: &mut Vec<u8>);

    /// Puts `value` under `key`.
    fn set(&mut self, key: &Key, value: &[u8]);

    /// Puts `value` under each of `keys`.
    fn set_all(&mut self, keys: &[Key], value: &[u8]) {
        keys.iter().for_each(|key| self.set(key, value));
    }

    /// Does what is done in spare time, after filling.
    fn tidy(&mut self) {}

    /// Reads each of `keys`, whose values have `bytes` bytes.
    fn get_all(&mut self, keys: &[Key], bytes: usize, found: &mut Vec<u8>) {
        for key in keys {
            self.get(key, found);
            assert_eq!(black_box(&*found).len(), bytes);
        }
    }
}

/// One who is measured.
pub(crate) struct Contestant {
    /// Its name in tables.
    pub(crate) name: &'static str,
    /// One shelf for each thread that there may be, all on the same items.
    pub(crate) shelves: Vec<Box<dyn Shelf>>,
    /// Is there nothing new in it when there are sets?
    pub(crate) reads_only: bool,
    /// Has it a call that sets many?
    pub(crate) has_batches: bool,
}

/// Everybody, empty.
pub(crate) fn all(items: u32, value: &[u8]) -> Vec<Contestant> {
    let memory_bytes = (items as usize * (value.len() + ROOM_BYTES)).max(MEMORY_BYTES_LEAST);
    let how = Create { memory_bytes: memory_bytes as u64, mode: 0o600, evict: Evict::None };
    let ours = Store::anonymous(&how).expect("room for a store");
    let other = ours.try_clone().expect("room for two");
    let map = Arc::new(DashMap::new());
    let lmdb = Lmdb::new(memory_bytes);
    let stretches = Stretches(lmdb.clone());
    let of = |name, shelves| Contestant { name, shelves, reads_only: false, has_batches: false };
    let stretches: Vec<Box<dyn Shelf>> = vec![Box::new(stretches.clone()), Box::new(stretches)];
    let mut all = vec![
        Contestant { has_batches: true, ..of("morecore", vec![Box::new(ours), Box::new(other)]) },
        of("lmdb", vec![Box::new(lmdb.clone()), Box::new(lmdb)]),
        Contestant { reads_only: true, ..of("lmdb, 256 reads each", stretches) },
        of("dashmap", vec![Box::new(map.clone()), Box::new(map)]),
        of("hashbrown", vec![Box::new(Plain::new())]),
    ];
    // As LMDB, twice the room: its map doubles by copying.
    match boost::two(2 * memory_bytes, value.len()) {
        Some(shelves) => all.push(of("boost", shelves)),
        None => println!("Boost.Interprocess needs g++ and libboost-dev"),
    }
    all
}

impl Shelf for Store {
    fn get(&mut self, key: &Key, found: &mut Vec<u8>) {
        found.clear();
        Store::get(self, key, found).expect("a whole store");
    }

    fn set(&mut self, key: &Key, value: &[u8]) {
        Store::set(self, key, value, &Set::default()).expect("room");
    }

    fn set_all(&mut self, keys: &[Key], value: &[u8]) {
        let pairs: Vec<_> = keys.iter().map(|key| (key.as_slice(), value)).collect();
        self.set_many(&pairs, &Set::default()).expect("room");
    }

    /// Decision 32: a call makes huge pages of 8 MiB.
    fn tidy(&mut self) {
        for _ in 0..=self.memory_bytes() / (8 << 20) {
            Store::tidy(self).expect("nobody holds it");
        }
    }
}

impl Shelf for Arc<DashMap<Key, Box<[u8]>>> {
    fn get(&mut self, key: &Key, found: &mut Vec<u8>) {
        found.clear();
        if let Some(value) = DashMap::get(self, key) {
            found.extend_from_slice(&value);
        }
    }

    fn set(&mut self, key: &Key, value: &[u8]) {
        DashMap::insert(self, *key, value.into());
    }
}

/// A map that one thread has for itself.
type Plain = HashMap<Key, Box<[u8]>>;

impl Shelf for Plain {
    fn get(&mut self, key: &Key, found: &mut Vec<u8>) {
        found.clear();
        if let Some(value) = HashMap::get(self, key) {
            found.extend_from_slice(value);
        }
    }

    fn set(&mut self, key: &Key, value: &[u8]) {
        HashMap::insert(self, *key, value.into());
    }
}

/// LMDB in a directory of shared memory: nothing is ever synced to a disk. Every read and every set
/// is a transaction of its own, as it is with us: the next one sees what others did meanwhile.
#[derive(Clone)]
struct Lmdb {
    env: Env<WithoutTls>,
    table: Database<Bytes, Bytes>,
    _directory: Arc<Directory>,
}

/// A directory that goes away with its last owner.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Lmdb {
    fn new(bytes: usize) -> Lmdb {
        let name = format!("/dev/shm/morecore-bench-{}-{bytes}", std::process::id());
        let directory = Directory(PathBuf::from(name));
        std::fs::create_dir_all(&directory.0).expect("a directory in shared memory");
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        // Twice the room: pages are copied on writing.
        options.map_size((2 * bytes).next_multiple_of(1 << 20));
        let flags = EnvFlags::NO_SYNC | EnvFlags::WRITE_MAP;
        // SAFETY: the directory is new, so that nobody else has it open; it may be lost at a crash.
        unsafe { options.flags(flags) };
        // SAFETY: as above: this process alone maps the file, and once.
        let env = unsafe { options.open(&directory.0) }.expect("an environment");
        let mut change = env.write_txn().expect("a first transaction");
        let table = env.create_database(&mut change, None).expect("a table");
        change.commit().expect("room for a table");
        Lmdb { env, table, _directory: Arc::new(directory) }
    }
}

impl Shelf for Lmdb {
    fn get(&mut self, key: &Key, found: &mut Vec<u8>) {
        found.clear();
        let read = self.env.read_txn().expect("a reader's slot");
        if let Some(value) = self.table.get(&read, key).expect("a whole table") {
            found.extend_from_slice(value);
        }
    }

    fn set(&mut self, key: &Key, value: &[u8]) {
        let mut change = self.env.write_txn().expect("a writer's turn");
        self.table.put(&mut change, key, value).expect("room");
        change.commit().expect("room");
    }
}

/// The same with one transaction for many reads, which all see one moment: the least that LMDB can
/// take for a read.
#[derive(Clone)]
struct Stretches(Lmdb);

impl Shelf for Stretches {
    fn get(&mut self, key: &Key, found: &mut Vec<u8>) {
        self.0.get(key, found);
    }

    /// The items are those of the other contestant of this name.
    fn set(&mut self, _: &Key, _: &[u8]) {}

    fn get_all(&mut self, keys: &[Key], bytes: usize, found: &mut Vec<u8>) {
        let read = self.0.env.read_txn().expect("a reader's slot");
        for key in keys {
            found.clear();
            if let Some(value) = self.0.table.get(&read, key).expect("a whole table") {
                found.extend_from_slice(value);
            }
            assert_eq!(black_box(&*found).len(), bytes);
        }
    }
}
