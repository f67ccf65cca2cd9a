//! What a damaged segment is made of, and what is asked of it: the body of a fuzzer, and of a test.
//!
//! ```text
//!   input   [ base ][ mutation ][ mutation ] ...          a base is a filled segment
//!   mutation   how 8 | number 24 | value 64               12 bytes, little end first
//!
//!   [ no access ][ the segment, mutated ][ no access ]    so a step outside of it ends the process
//! ```
//!
//! Promises: the same input does the same to the same base; whatever it is, nothing here panics
//! but what is to be found.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

use morecore_store::{Create, Evict, Expiry, Observer, Set, Store};

const PAGE: usize = 4096;

/// The bytes of one mutation.
const MUTATION_BYTES: usize = 12;

/// The most mutations of one input: more than these leave nothing to be found.
const MUTATIONS_MOST: usize = 64;

/// Where the header keeps what hashes begin with: it is made the same for all bases, so that an
/// input means the same tomorrow.
const SEED_AT: usize = 48;

/// The time at which all is asked: some entries have expired by then.
pub(crate) const NOW_MS: u64 = 1000;

/// Memory between two pages that nobody may touch.
pub(crate) struct Fenced {
    at: *mut u8,
    bytes: usize,
}

impl Fenced {
    /// `bytes` bytes of zeros, whole pages, which children of fork share.
    pub(crate) fn new(bytes: usize) -> Self {
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let all = bytes + 2 * PAGE;
        // SAFETY: a fresh mapping at a place of the kernel's choice touches nobody's memory.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), all, libc::PROT_NONE, flags, -1, 0) };
        assert_ne!(at, libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
        let at = at.cast::<u8>().wrapping_add(PAGE);
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the pages inside are those of the mapping just made.
        let failed = unsafe { libc::mprotect(at.cast(), bytes, protection) };
        assert_eq!(failed, 0, "mprotect: {}", std::io::Error::last_os_error());
        Self { at, bytes }
    }

    /// The words; nobody else is attached while they are used.
    fn words(&mut self) -> &mut [u64] {
        // SAFETY: `bytes` bytes from `at` are mapped, aligned to a page, and borrowed with `self`.
        unsafe { std::slice::from_raw_parts_mut(self.at.cast(), self.bytes / 8) }
    }

    /// A store on the first `bytes` bytes, which takes `dead` for dead.
    pub(crate) fn attach(&self, bytes: usize, dead: &[u32]) -> Option<Store> {
        // SAFETY: mapped for as long as `self`, which every caller keeps longer than the store.
        unsafe { Store::attach_memory(self.at, bytes as u64, dead) }.ok()
    }

    fn observe(&self, bytes: usize) -> Option<Observer> {
        // SAFETY: as above.
        unsafe { Store::observe_memory(self.at, bytes as u64) }.ok()
    }
}

// SAFETY: shared memory, which one thread at a time attaches to.
unsafe impl Send for Fenced {}

impl Drop for Fenced {
    fn drop(&mut self) {
        let (at, all) = (self.at.wrapping_sub(PAGE), self.bytes + 2 * PAGE);
        // SAFETY: the mapping is ours, and nobody is attached to it any more.
        unsafe { libc::munmap(at.cast(), all) };
    }
}

/// A filled segment.
pub(crate) struct Base {
    words: Vec<u64>,
    /// Which of its words are not zero: where a mutation changes something.
    used: Vec<u32>,
    pub(crate) keys: Vec<Vec<u8>>,
    /// The participants that count as dead.
    pub(crate) dead: Vec<u32>,
}

/// The segments that inputs begin with: one at rest, and some whose last writer was killed.
pub(crate) fn bases() -> &'static [Base] {
    static BASES: OnceLock<Vec<Base>> = OnceLock::new();
    BASES.get_or_init(|| (0..4).map(Base::new).collect())
}

impl Base {
    /// Number 0 is at rest; in the others somebody died in the middle of a change.
    fn new(number: u64) -> Self {
        let how = Create { memory_bytes: 1 << 20, mode: 0o600, evict: Evict::Policy };
        let empty = Store::anonymous(&how).unwrap();
        let (base, bytes) = empty.memory();
        let mut memory = Fenced::new(bytes as usize);
        // SAFETY: both are `bytes` long, and nobody is attached to the copy.
        unsafe { base.copy_to_nonoverlapping(memory.at, bytes as usize) };
        memory.words()[SEED_AT / 8] = 0x5eed + number;
        let mut store = memory.attach(bytes as usize, &[]).unwrap();
        store.set_now(Some(NOW_MS - 10));
        let keys: Vec<Vec<u8>> = (0..400usize).map(|n| vec![n as u8; 1 + n % 70]).collect();
        for (number, key) in keys.iter().enumerate() {
            let expiry = match number % 4 {
                0 => Expiry::At(NOW_MS - 5 + number as u64 % 10),
                _ => Expiry::Clear,
            };
            let how = Set { expiry, ..Set::default() };
            store.set(key, &vec![7; number * 3], &how).unwrap();
        }
        let dead = if number == 0 { Vec::new() } else { vec![die_in_a_change(&mut store, &keys)] };
        drop(store);
        let words = memory.words().to_vec();
        let used = (0..words.len() as u32).filter(|&at| words[at as usize] != 0).collect();
        Self { words, used, keys, dead }
    }

    /// The segment, changed as `input` says, and how many of its bytes are left.
    pub(crate) fn mutate(&self, input: &[u8], memory: &mut Fenced) -> usize {
        let words = memory.words();
        words.copy_from_slice(&self.words);
        let mut left = words.len();
        for mutation in input.chunks_exact(MUTATION_BYTES).take(MUTATIONS_MOST) {
            let number = u32::from_le_bytes([mutation[1], mutation[2], mutation[3], 0]) as usize;
            let value = u64::from_le_bytes(mutation[4..].try_into().unwrap());
            let used = self.used[number % self.used.len()] as usize;
            let other = self.used[value as usize % self.used.len()] as usize;
            match mutation[0] % 10 {
                0 => words[used] ^= 1 << (value % 64),
                1 => words[used] = value,
                // What is likely to be followed: an offset into the segment.
                2 => words[used] = (value % (words.len() as u64 * 8)) & !7,
                3 => words[used] = words[other],
                4 => words[used] = words[used].wrapping_add(value as i8 as u64),
                5 => words[number % self.words.len()] = value,
                6 => words[number % self.words.len()] ^= 1 << (value % 64),
                7 => {
                    let count = (value % 512) as usize;
                    words[used..].iter_mut().take(count).for_each(|word| *word = 0);
                }
                8 => {
                    let count = (value >> 32) as usize % 512;
                    for step in 0..count.min(words.len() - used.max(other)) {
                        words[used + step] = words[other + step];
                    }
                }
                _ => left = left.min((number % (words.len() / 512) + 1) * 512),
            }
        }
        left * 8
    }
}

/// How often a child is killed until it dies in the middle of a change. It is in one for most of
/// its time, so a few kills do; here is room for the worst of machines.
const KILLS_MOST: u64 = 20_000;

/// A child that is killed in the middle of a change; returns who it was.
fn die_in_a_change(store: &mut Store, keys: &[Vec<u8>]) -> u32 {
    let shared = Fenced::new(PAGE);
    // SAFETY: shared memory, aligned to a page, mapped until this ends, and used as this alone.
    let changes = unsafe { AtomicU64::from_ptr(shared.at.cast()) };
    for kill in 0..KILLS_MOST {
        changes.store(0, Release);
        // SAFETY: the child uses its own copy of all, and leaves by a signal.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0);
        if pid == 0 {
            let mut number = 0;
            loop {
                number += 1;
                let key = &keys[number * 7 % keys.len()];
                store.set(key, &vec![1; number % 900], &Set::default()).unwrap();
                changes.store(number as u64, Release);
            }
        }
        // It has made some changes, also where it shares one processor with us; then a moment more.
        while changes.load(Acquire) <= kill % 50 {
            // SAFETY: our own child, and a null status is allowed.
            let ended = unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG) };
            assert_eq!(ended, 0, "the child ended by itself");
            std::thread::yield_now();
        }
        (0..kill * 7 % 2000).for_each(|_| std::hint::spin_loop());
        // SAFETY: our own child, which was not waited for yet.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        // SAFETY: a null status is allowed.
        unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
        // A journal with notes is what the next one to come by rolls back; look at a copy of it.
        let mut copy = Fenced::new(store.memory_bytes() as usize);
        let (from, count) = (store.memory().0.cast::<u64>(), copy.bytes / 8);
        // SAFETY: both have `count` words, and nobody writes to the store now.
        unsafe { from.copy_to_nonoverlapping(copy.words().as_mut_ptr(), count) };
        let survivor = copy.attach(copy.bytes, &[pid as u32]);
        if survivor.is_some_and(|mut survivor| survivor.stat().recoveries > 0) {
            return pid as u32;
        }
        store.tidy().unwrap();
    }
    panic!("nobody died in the middle of a change")
}

/// Looks at everything by way of the segment that `input` describes: as one who only looks, and as
/// one who attaches to write. The answers may be anything.
pub(crate) fn look(input: &[u8], memory: &mut Fenced) {
    let Some((&first, mutations)) = input.split_first() else { return };
    let base = &bases()[usize::from(first) % bases().len()];
    let bytes = base.mutate(mutations, memory);
    if let Some(mut observer) = memory.observe(bytes) {
        observer.set_now(Some(NOW_MS));
        let mut value = Vec::new();
        for key in base.keys.iter().step_by(3) {
            value.clear();
            let _ = (observer.get(key, &mut value), observer.peek(key));
        }
        scan_all(|cursor| observer.scan(cursor, 100, |_, _| ()).ok());
        let _ = (observer.random_key(&mut value), observer.len(), observer.name());
        let _ = (observer.stat(), observer.census(), observer.verify());
    }
    if let Some(mut store) = memory.attach(bytes, &base.dead) {
        store.set_now(Some(NOW_MS));
        let mut value = Vec::new();
        for key in base.keys.iter().step_by(3) {
            value.clear();
            let _ = (store.get(key, &mut value), store.peek(key));
        }
        let keys: Vec<&[u8]> = base.keys.iter().map(Vec::as_slice).collect();
        let _ = store.get_many(&keys, |_, _| ());
        scan_all(|cursor| store.scan(cursor, 100, |_, _| ()).ok());
        let _ = (store.random_key(&mut value), store.len(), store.stat(), store.census());
    }
}

/// Goes through all entries; a scan that never ends in a damaged table is ended.
fn scan_all(mut step: impl FnMut(u64) -> Option<u64>) {
    let mut cursor = 0;
    for _ in 0..10_000 {
        match step(cursor) {
            Some(0) | None => return,
            Some(next) => cursor = next,
        }
    }
}
