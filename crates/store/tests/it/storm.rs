//! A storm: eight processes that write and read, of which one is killed at random every few
//! milliseconds, stopped and woken, or takes the number of one that died; against a model of what
//! was acknowledged.
//!
//! ```text
//!   a key's owner:   intent = n --> the call --> acknowledged = n       both outside the store
//!   anyone:          a = acknowledged --> get --> i = intent:           a <= value's n <= i
//!   after a kill:    the value's n is exactly what was acknowledged, or what was intended last
//! ```
//!
//! STORM_SECONDS in the environment makes it longer; `cargo xtask storm --minutes 10` is the long
//! one.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::{Duration, Instant};

use fastrand::Rng;
use morecore_store::{Change, Create, Error, Evict, Expiry, Set, Store};

use crate::deaths::{SOON, die_with_parent, shared_words};
use crate::{ALWAYS, chance, prove};

const WORKERS: usize = 8;

/// The keys that belong to one worker.
const KEYS: usize = 12;

/// The words of a worker: acknowledged and intended for each key, and for its increments.
const WORDS: usize = 2 * (KEYS + 1);

/// How many kills go by between two proofs of the whole store.
const KILLS_PER_PROOF: u32 = 16;

/// What everyone knows of what was intended and acknowledged.
#[derive(Clone, Copy)]
struct Model {
    words: &'static [AtomicU64],
    evicts: bool,
}

impl Model {
    fn acknowledged(&self, worker: usize, key: usize) -> &'static AtomicU64 {
        &self.words[worker * WORDS + 2 * key]
    }

    fn intended(&self, worker: usize, key: usize) -> &'static AtomicU64 {
        &self.words[worker * WORDS + 2 * key + 1]
    }

    /// The next number of a key, intended from here on.
    fn intend(&self, worker: usize, key: usize) -> u64 {
        let next = self.intended(worker, key).load(Acquire) + 1;
        self.intended(worker, key).store(next, Release);
        next
    }

    /// Reads a key and compares; returns its number, if it is there.
    fn check(&self, store: &mut Store, worker: usize, key: usize) -> Option<u64> {
        let least = self.acknowledged(worker, key).load(Acquire);
        let mut value = Vec::new();
        let found = store.get(&key_of(worker, key), &mut value).unwrap();
        let most = self.intended(worker, key).load(Acquire);
        if found.is_none() {
            let may_be_absent = self.evicts || (least..=most).any(is_absent);
            assert!(may_be_absent, "{worker}/{key}: absent, between {least} and {most}");
            return None;
        }
        let number = u64::from_le_bytes(value[..8].try_into().unwrap());
        assert_eq!(value, value_of(number), "{worker}/{key}: a torn value");
        // What was evicted and set again is as new; only of what is gone nothing can be said.
        assert!(
            (least..=most).contains(&number),
            "{worker}/{key}: {number} stands, between {least} and {most} it must be"
        );
        Some(number)
    }
}

fn key_of(worker: usize, key: usize) -> Vec<u8> {
    let mut name = format!("{worker}/{key}").into_bytes();
    name.resize(name.len() + [0, 10, 30, 200][key % 4], b'.');
    name
}

/// Every seventh number means that the key is deleted, as is number 0.
fn is_absent(number: u64) -> bool {
    number.is_multiple_of(7)
}

/// The value that a number stands for: every size, and each byte tells.
fn value_of(number: u64) -> Vec<u8> {
    let bytes = match number % 5 {
        0 => 8 + number as usize % 24,
        1 => 60 + number as usize % 300,
        2 => 1000 + number as usize % 2000,
        3 => 9000 + number as usize % 5000,
        _ if number.is_multiple_of(23) => 70_000,
        _ => 40,
    };
    let mut value = vec![(number % 251) as u8; bytes];
    value[..8].copy_from_slice(&number.to_le_bytes());
    value
}

/// What a worker is and knows.
struct Worker {
    number: usize,
    model: Model,
    chance: Rng,
}

impl Worker {
    fn step(&mut self, store: &mut Store) {
        let key = self.chance.usize(..KEYS);
        let (other, others_key) = (self.chance.usize(..WORKERS), self.chance.usize(..KEYS));
        match self.chance.u32(..44) {
            0..14 => self.write(store, key),
            14..17 => self.write_two(store, key),
            17..20 => self.update(store, key),
            20..22 => self.increment(store),
            22..36 => drop(self.model.check(store, other, others_key)),
            36 => self.read_many(store, other),
            37..42 => self.scribble(store),
            42 => self.fork(store),
            _ => {
                store.scan(self.chance.u64(..), 30, |_, _| ()).unwrap();
                store.tidy().unwrap();
            }
        }
    }

    fn write(&mut self, store: &mut Store, key: usize) {
        let number = self.model.intend(self.number, key);
        let name = key_of(self.number, key);
        if is_absent(number) {
            store.delete(&name).unwrap();
        } else {
            let at = Expiry::At(4_000_000_000_000);
            let expiry = if number.is_multiple_of(3) { at } else { Expiry::Clear };
            let how = Set { expiry, ..ALWAYS };
            if !self.is_done(store.set(&name, &value_of(number), &how)) {
                return self.take_back(key);
            }
        }
        self.model.acknowledged(self.number, key).store(number, Release);
    }

    /// Two keys change together: after a death, both or none of them did.
    fn write_two(&mut self, store: &mut Store, one: usize) {
        let other = (one + 1) % KEYS;
        let keys = [one, other];
        let numbers = keys.map(|key| self.model.intend(self.number, key));
        let names = keys.map(|key| key_of(self.number, key));
        let change = |number: u64| match is_absent(number) {
            true => Change::Remove,
            false => Change::Set { value: value_of(number), expiry: None, flags: 0 },
        };
        let changed =
            store.update_many(&[&names[0], &names[1]], |_| (numbers.map(change).to_vec(), ()));
        if !self.is_done(changed) {
            return keys.into_iter().for_each(|key| self.take_back(key));
        }
        for (key, number) in keys.into_iter().zip(numbers) {
            self.model.acknowledged(self.number, key).store(number, Release);
        }
    }

    fn update(&mut self, store: &mut Store, key: usize) {
        let number = self.model.intend(self.number, key);
        let before = self.model.acknowledged(self.number, key).load(Acquire);
        let updated = store.update(&key_of(self.number, key), |entry| {
            if let Some(entry) = entry {
                let found = u64::from_le_bytes(entry.value[..8].try_into().unwrap());
                assert!((before..number).contains(&found));
            }
            match is_absent(number) {
                true => (Change::Remove, ()),
                false => (Change::Set { value: value_of(number), expiry: None, flags: 0 }, ()),
            }
        });
        if !self.is_done(updated) {
            return self.take_back(key);
        }
        self.model.acknowledged(self.number, key).store(number, Release);
    }

    /// What was intended and refused is not intended any more.
    fn take_back(&self, key: usize) {
        self.model.intended(self.number, key).fetch_sub(1, Release);
    }

    /// Whether a call did what was intended. A store that evicts may be full all the same, while
    /// somebody who was stopped holds what would have to go; then nothing changed.
    fn is_done<T>(&self, done: Result<T, Error>) -> bool {
        match done {
            Ok(_) => true,
            Err(Error::Full { .. }) if self.model.evicts => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// All workers add to one number.
    fn increment(&mut self, store: &mut Store) {
        self.model.intend(self.number, KEYS);
        store.increment(b"count", 1).unwrap();
        self.model.acknowledged(self.number, KEYS).fetch_add(1, Release);
    }

    fn read_many(&mut self, store: &mut Store, other: usize) {
        let names: Vec<_> = (0..KEYS).map(|key| key_of(other, key)).collect();
        let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        store
            .get_many(&names, |_, found| {
                if let Some((value, _)) = found {
                    let number = u64::from_le_bytes(value[..8].try_into().unwrap());
                    assert_eq!(value, value_of(number), "a torn value");
                }
            })
            .unwrap();
    }

    /// Entries that nobody keeps: they soon expire, or fill a store that evicts.
    fn scribble(&mut self, store: &mut Store) {
        if self.model.evicts {
            for _ in 0..4 {
                let key = self.chance.u32(..100_000).to_le_bytes();
                let bytes = [10, 100, 3000][self.chance.usize(..3)];
                self.is_done(store.set(&key, &vec![1; bytes], &ALWAYS));
            }
            return;
        }
        let key = self.chance.u32(..100).to_le_bytes();
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
        let expiry = Expiry::At(now + self.chance.u64(..20));
        let bytes = [10, 100, 3000][self.chance.usize(..3)];
        store.set(&key, &vec![1; bytes], &Set { expiry, ..ALWAYS }).unwrap();
    }

    /// A child of the worker's: one between two calls, and one in the middle of a change.
    fn fork(&mut self, store: &mut Store) {
        if self.chance.bool() {
            // SAFETY: the child leaves by `_exit` or a signal.
            let child = unsafe { libc::fork() };
            if child == 0 {
                self.scribble(store);
                self.model.check(store, self.chance.usize(..WORKERS), 0);
                // SAFETY: leaving at once is always allowed.
                unsafe { libc::_exit(0) }
            }
            return reap(child);
        }
        let mut child = 0;
        let key = key_of(self.number, 0);
        let updated = store.update(&key, |_| {
            // SAFETY: as above.
            child = unsafe { libc::fork() };
            let change = Change::Set { value: vec![0xee; 3000], expiry: None, flags: 0 };
            (if child == 0 { change } else { Change::Keep }, ())
        });
        if child == 0 {
            assert!(matches!(updated, Err(Error::Forked)), "{updated:?}");
            self.scribble(store);
            // SAFETY: as above.
            unsafe { libc::_exit(0) }
        }
        updated.unwrap();
        reap(child);
    }
}

/// Waits for a child that must end well.
fn reap(child: i32) {
    let mut status = 0;
    // SAFETY: our own child, and a status that is ours to write.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0, "a child of a worker failed");
}

/// Forks a worker; with `wanted`, it gets that process number if the system lets us choose.
fn start(store: &mut Store, mut worker: Worker, wanted: Option<i32>) -> i32 {
    if let Some(wanted) = wanted {
        // The next process gets the number behind the last one's. Another may come between.
        let _ = std::fs::write("/proc/sys/kernel/ns_last_pid", format!("{}", wanted - 1));
    }
    let maker = std::process::id();
    // SAFETY: the child uses its own copy of all, and leaves by `_exit` or a signal.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid != 0 {
        return pid;
    }
    // Whoever made the storm may fail, and then it is over for all.
    die_with_parent(maker);
    let work = std::panic::AssertUnwindSafe(|| {
        loop {
            worker.step(store);
        }
    });
    let panicked = std::panic::catch_unwind::<_, ()>(work).unwrap_err();
    let said = panicked.downcast_ref::<String>().map(String::as_str);
    let said = said.or_else(|| panicked.downcast_ref::<&str>().copied());
    let message = format!("a worker: {}\n", said.unwrap_or("it failed"));
    // SAFETY: the bytes are there; the test's own output is caught and would be lost.
    unsafe { libc::write(2, message.as_ptr().cast(), message.len()) };
    // SAFETY: leaving at once is always allowed.
    unsafe { libc::_exit(1) }
}

/// The storm as its maker sees it.
struct Storm {
    store: Store,
    model: Model,
    chance: Rng,
    workers: Vec<i32>,
    stopped: [bool; WORKERS],
    kills: u32,
    stops: u32,
    reused: u32,
    slowest: Duration,
}

impl Storm {
    fn new(memory_bytes: u64, evict: Evict) -> Self {
        let how = Create { memory_bytes, mode: 0o600, evict };
        let model = Model { words: shared_words(WORKERS * WORDS), evicts: evict == Evict::Policy };
        let mut storm = Self {
            store: Store::anonymous(&how).unwrap(),
            model,
            chance: chance(),
            workers: Vec::new(),
            stopped: [false; WORKERS],
            kills: 0,
            stops: 0,
            reused: 0,
            slowest: Duration::ZERO,
        };
        for number in 0..WORKERS {
            let pid = storm.start(number, None);
            storm.workers.push(pid);
        }
        storm
    }

    fn start(&mut self, number: usize, wanted: Option<i32>) -> i32 {
        let chance = Rng::with_seed(self.chance.u64(..));
        start(&mut self.store, Worker { number, model: self.model, chance }, wanted)
    }

    fn signal(&self, number: usize, signal: i32) {
        // SAFETY: our own child, which was not waited for yet.
        assert_eq!(unsafe { libc::kill(self.workers[number], signal) }, 0);
    }

    /// Kills a worker, looks at what it left, and starts another.
    fn kill(&mut self, number: usize) {
        self.signal(number, libc::SIGKILL);
        let (dead, mut status) = (self.workers[number], 0);
        // SAFETY: our own child, and a status that is ours to write.
        assert_eq!(unsafe { libc::waitpid(dead, &raw mut status, 0) }, dead);
        let was_killed = libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL;
        assert!(was_killed, "worker {number} ended by itself: {status:#x}");
        self.stopped[number] = false;
        self.kills += 1;
        self.settle(number);
        // A number that is used again within the tick that its first owner began in could not be
        // told apart; the system itself goes round all numbers first, which takes longer.
        let wants_reuse = self.chance.u32(..4) == 0;
        let begin = Instant::now();
        while wants_reuse && begin.elapsed() < Duration::from_millis(11) {
            std::hint::spin_loop();
        }
        let pid = self.start(number, wants_reuse.then_some(dead));
        self.reused += u32::from(pid == dead);
        self.workers[number] = pid;
    }

    /// What a dead worker left is what it was told, or what it was doing.
    fn settle(&mut self, number: usize) {
        let mut undecided = Vec::new();
        for key in 0..KEYS {
            let begin = Instant::now();
            let found = self.model.check(&mut self.store, number, key);
            self.slowest = self.slowest.max(begin.elapsed());
            let known = self.model.acknowledged(number, key).load(Acquire);
            let last = self.model.intended(number, key).load(Acquire);
            let now = match found {
                Some(found) => {
                    let is_known = found == known || found == last;
                    assert!(is_known, "{number}/{key}: {found}, not {known}, {last}");
                    found
                }
                None if self.model.evicts => continue,
                None => {
                    let absent = [last, known].into_iter().find(|number| is_absent(*number));
                    absent.unwrap_or_else(|| panic!("{number}/{key}: no {known} and no {last}"))
                }
            };
            if known != last {
                undecided.push((key, now == last));
            }
            // What the dead had in mind and did not do is not intended any more.
            self.model.acknowledged(number, key).store(now, Release);
            self.model.intended(number, key).store(now, Release);
        }
        // A change of two keys is there whole or not at all; more are never under way.
        let is_whole = undecided.iter().all(|(_, is_done)| *is_done == undecided[0].1);
        assert!(is_whole, "worker {number}: half of a change is there: {undecided:?}");
    }

    /// With everyone awake, proves the store whole, and what was counted.
    fn prove(&mut self) {
        for number in 0..WORKERS {
            if std::mem::take(&mut self.stopped[number]) {
                self.signal(number, libc::SIGCONT);
            }
        }
        let sum = |of: fn(&Model, usize, usize) -> &'static AtomicU64| -> u64 {
            (0..WORKERS).map(|worker| of(&self.model, worker, KEYS).load(Acquire)).sum()
        };
        let least = sum(Model::acknowledged);
        let mut value = Vec::new();
        let found = self.store.get(b"count", &mut value).unwrap();
        if !self.model.evicts && found.is_some() {
            let most = sum(Model::intended);
            let count: u64 = String::from_utf8(value).unwrap().parse().unwrap();
            assert!((least..=most).contains(&count), "{count}, between {least} and {most}");
        }
        prove(&mut self.store);
    }

    fn run(&mut self, duration: Duration) {
        let begin = Instant::now();
        while begin.elapsed() < duration {
            // The pace of the storm: nothing is waited for.
            std::thread::sleep(Duration::from_micros(self.chance.u64(500..4000)));
            let number = self.chance.usize(..WORKERS);
            match self.chance.u32(..5) {
                0 | 1 => {
                    let is_stopped = !self.stopped[number];
                    self.signal(number, if is_stopped { libc::SIGSTOP } else { libc::SIGCONT });
                    self.stopped[number] = is_stopped;
                    self.stops += u32::from(is_stopped);
                }
                _ => self.kill(number),
            }
            // Two who stand still at most: the others must have something to do.
            if self.stopped.iter().filter(|is_stopped| **is_stopped).count() > 2
                || self.kills.is_multiple_of(KILLS_PER_PROOF)
            {
                self.prove();
            }
        }
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        for &pid in &self.workers {
            // SAFETY: our own child; if it was waited for, its number is nobody's so soon.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            // SAFETY: a null status is allowed.
            unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
        }
    }
}

fn storm(memory_bytes: u64, evict: Evict) {
    let given = std::env::var("STORM_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let mut storm = Storm::new(memory_bytes, evict);
    storm.run(Duration::from_secs_f64(given.unwrap_or(3.0)));
    storm.prove();
    for number in 0..WORKERS {
        storm.kill(number);
    }
    let stat = storm.store.stat();
    let report = format!(
        "{evict:?}: {} kills, {} stops, {} numbers used again, {} recoveries, {} evictions, {} \
         expired, slowest read {:?}",
        storm.kills,
        storm.stops,
        storm.reused,
        stat.recoveries,
        stat.evictions,
        stat.expired,
        storm.slowest
    );
    let workers = std::mem::take(&mut storm.workers);
    for pid in workers {
        // SAFETY: our own children, which were not waited for yet.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        // SAFETY: a null status is allowed.
        unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
    }
    // A child of a worker that was killed may have some calls to go, and be yet to take part: what
    // it leaves is cleared up as well, and what others left would stay.
    let begin = Instant::now();
    let mut left = (u64::MAX, 0);
    while left != (0, 1) && begin.elapsed() < SOON {
        std::thread::yield_now();
        storm.store.tidy().unwrap();
        left = (prove(&mut storm.store).claimed, storm.store.stat().participants.len());
    }
    assert_eq!(left, (0, 1), "something of the dead is left");
    eprintln!("{report}");
}

#[test]
fn eight_processes_in_a_storm_lose_nothing_that_was_acknowledged() {
    storm(32 << 20, Evict::None);
}

#[test]
fn eight_processes_in_a_storm_on_a_full_store_tear_nothing() {
    // As small as has slots for all of them, their children, and orphans that have some calls to go
    // on a busy machine.
    storm(16 << 20, Evict::Policy);
}
