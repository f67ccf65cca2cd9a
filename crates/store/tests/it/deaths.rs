//! Children that are killed and stopped at any moment.

use std::time::{Duration, Instant};

use fastrand::Rng;
use morecore_store::{Change, Create, Error, Evict, Store};

use crate::{ALWAYS, chance, prove, value_of};

/// How long a child may take for its part of a test on a machine that has much else to do, and
/// stands still for a while.
pub(crate) const SOON: Duration = Duration::from_secs(300);

/// Has this child of fork end when the thread that started it does, and with it the test.
pub(crate) fn die_with_parent(parent: u32) {
    // SAFETY: no pointers are passed.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // It may have ended before that.
    if std::os::unix::process::parent_id() != parent {
        // SAFETY: leaving at once is always allowed.
        unsafe { libc::_exit(101) }
    }
}

/// A child that works on the store until it is killed.
pub(crate) struct Child {
    pid: i32,
}

impl Child {
    /// Forks a child that calls `work` until it dies.
    pub(crate) fn start(store: &mut Store, mut work: impl FnMut(&mut Store)) -> Self {
        let parent = std::process::id();
        // SAFETY: the child uses its own copy of all, and leaves by `_exit` or a signal.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0);
        if pid == 0 {
            die_with_parent(parent);
            // A panic that went on would come out in a test that has no other threads any more.
            let _panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                loop {
                    work(store);
                }
            }));
            // SAFETY: leaving at once is always allowed.
            unsafe { libc::_exit(101) }
        }
        Self { pid }
    }

    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.pid as u32
    }

    /// Waits until something is so; it must be soon, and this child must live.
    #[track_caller]
    pub(crate) fn wait_until(&self, mut is_so: impl FnMut() -> bool) {
        let begin = Instant::now();
        while !is_so() {
            assert!(!self.has_ended(), "the child ended early");
            assert!(begin.elapsed() < SOON, "nothing came in {SOON:?}");
            std::thread::yield_now();
        }
    }

    /// Whether it runs no more; it is still to be waited for.
    fn has_ended(&self) -> bool {
        // SAFETY: plain numbers, for which all zero is a value.
        let mut told: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let how = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: our own child, and a structure that is ours to write.
        let failed = unsafe { libc::waitid(libc::P_PID, self.pid as u32, &raw mut told, how) };
        assert_eq!(failed, 0);
        told.si_signo != 0
    }

    fn signal(&self, signal: i32) {
        // SAFETY: our own child, which was not waited for yet.
        assert_eq!(unsafe { libc::kill(self.pid, signal) }, 0);
    }

    fn wait(&self, options: i32) -> i32 {
        let mut status = 0;
        // SAFETY: our own child, and a status that is ours to write.
        assert_eq!(unsafe { libc::waitpid(self.pid, &raw mut status, options) }, self.pid);
        status
    }

    fn stop(&self) {
        self.signal(libc::SIGSTOP);
        assert!(libc::WIFSTOPPED(self.wait(libc::WUNTRACED)));
    }

    /// Kills it; it was killed by this, and by nothing else before.
    pub(crate) fn kill(self) {
        self.signal(libc::SIGKILL);
        let status = self.wait(0);
        assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL, "{status}");
        std::mem::forget(self);
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.signal(libc::SIGKILL);
        self.wait(0);
    }
}

fn store(memory_bytes: u64, evict: Evict) -> Store {
    Store::anonymous(&Create { memory_bytes, mode: 0o600, evict }).unwrap()
}

/// A value that tells when it is torn: its bytes are one, and give its length.
fn whole_value(chance: &mut Rng) -> Vec<u8> {
    let byte = chance.u8(..);
    vec![byte; length_of(byte)]
}

fn length_of(byte: u8) -> usize {
    match byte % 4 {
        0 => 1 + byte as usize % 30,
        1 => 64 + byte as usize,
        2 => 1000 + byte as usize * 3,
        _ => 9000 + byte as usize * 50,
    }
}

fn assert_whole(value: &[u8]) {
    assert_eq!(value.len(), length_of(value[0]), "a torn value");
    assert!(value.iter().all(|&byte| byte == value[0]), "a torn value");
}

/// One random call of any kind; what it reads must be whole.
fn disturb(store: &mut Store, chance: &mut Rng) {
    let mut key = || chance.u32(..150).to_le_bytes();
    let (one, two) = (key(), key());
    match chance.u32(..10) {
        0..5 => drop(store.set(&one, &whole_value(chance), &ALWAYS).unwrap()),
        5 => drop(store.delete(&one).unwrap()),
        6 => {
            let swap = |entry: Option<morecore_store::Entry<'_>>| match entry {
                Some(entry) => Change::Set { value: entry.value.to_vec(), expiry: None, flags: 0 },
                None => Change::Remove,
            };
            let swapped = store.update_many(&[&one, &two], |entries| {
                (vec![swap(entries[1]), swap(entries[0])], ())
            });
            swapped.unwrap();
        }
        _ => {
            if let Some(value) = value_of(store, &one) {
                assert_whole(&value);
            }
        }
    }
}

fn spin(duration: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < duration {
        std::hint::spin_loop();
    }
}

/// Words that parent and children share beside the store.
pub(crate) fn shared_words(count: usize) -> &'static [std::sync::atomic::AtomicU64] {
    let at = morecore_sys::segment::map_shared(count as u64 * 8).unwrap();
    // SAFETY: fresh zeroed memory, aligned to a page, mapped for good, and used as atomics only.
    unsafe { std::slice::from_raw_parts(at.cast(), count) }
}

/// Three children disturb the store and count in a key of their own; one after the other is killed.
/// KILLS in the environment makes it a longer one.
fn storm(memory_bytes: u64, evict: Evict) {
    let kills = std::env::var("KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(120u32);
    use std::sync::atomic::Ordering::{Acquire, Release};
    let mut chance = chance();
    let mut store = store(memory_bytes, evict);
    let acknowledged = shared_words(3);
    let start = |store: &mut Store, number: usize, seed: u64| {
        let mut chance = Rng::with_seed(seed);
        let word = &acknowledged[number];
        Child::start(store, move |store| {
            let next = word.load(Acquire) + 1;
            store.set(&[b'#', number as u8], format!("{next}").as_bytes(), &ALWAYS).unwrap();
            word.store(next, Release);
            for _ in 0..3 {
                disturb(store, &mut chance);
            }
        })
    };
    let mut children: Vec<_> = (0..3).map(|n| start(&mut store, n, chance.u64(..))).collect();
    let mut slowest = Duration::ZERO;
    for _ in 0..kills {
        spin(Duration::from_micros(chance.u64(..3000)));
        let number = chance.usize(..3);
        let seed = chance.u64(..);
        let child = std::mem::replace(&mut children[number], Child { pid: 0 });
        child.kill();
        let begin = Instant::now();
        disturb(&mut store, &mut chance);
        slowest = slowest.max(begin.elapsed());
        let known = acknowledged[number].load(Acquire);
        let value = value_of(&mut store, &[b'#', number as u8]);
        if evict == Evict::None || value.is_some() {
            let value: u64 =
                String::from_utf8(value.unwrap_or(b"0".into())).unwrap().parse().unwrap();
            assert!(
                value == known || value == known + 1,
                "{value} stands, {known} was acknowledged"
            );
            acknowledged[number].store(value, Release);
        }
        prove(&mut store);
        std::mem::forget(std::mem::replace(&mut children[number], start(&mut store, number, seed)));
    }
    children.drain(..).for_each(Child::kill);
    store.tidy().unwrap();
    let verified = prove(&mut store);
    let stat = store.stat();
    assert_eq!((verified.claimed, stat.participants.len()), (0, 1), "something is left");
    eprintln!("{kills} kills, {} recoveries, slowest call {slowest:?}", stat.recoveries);
}

#[test]
fn a_store_with_room_survives_a_storm_of_kills() {
    storm(32 << 20, Evict::None);
}

#[test]
fn a_full_store_survives_a_storm_of_kills() {
    storm(1 << 20, Evict::Policy);
}

#[test]
fn readers_do_not_wait_for_a_stopped_writer() {
    let mut chance = chance();
    let mut store = store(1 << 20, Evict::None);
    for key in 0..150u32 {
        store.set(&key.to_le_bytes(), &whole_value(&mut chance), &ALWAYS).unwrap();
    }
    let seed = chance.u64(..);
    let mut theirs = Rng::with_seed(seed);
    let child = Child::start(&mut store, |store| {
        let keys: Vec<_> = (0..8).map(|_| theirs.u32(..150).to_le_bytes()).collect();
        let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
        let value = whole_value(&mut theirs);
        let set = |_: &&[u8]| Change::Set { value: value.clone(), expiry: None, flags: 0 };
        let _ = store.update_many(&keys, |_| (keys.iter().map(set).collect(), ()));
    });
    for _ in 0..100 {
        spin(Duration::from_micros(chance.u64(..500)));
        child.stop();
        // It goes on only behind all this: to wait for it would be an error, or never end.
        for key in 0..150u32 {
            assert_whole(&value_of(&mut store, &key.to_le_bytes()).unwrap());
        }
        let mut seen = 0;
        assert_eq!(store.scan(0, 1000, |_, _| seen += 1).unwrap(), 0);
        assert_eq!(seen, 150);
        child.signal(libc::SIGCONT);
    }
    child.kill();
    prove(&mut store);
}

#[test]
fn processes_that_write_the_same_keys_keep_them_whole() {
    let mut chance = chance();
    let mut store = store(8 << 20, Evict::None);
    let done = shared_words(1);
    let children: Vec<_> = (0..3)
        .map(|_| {
            let mut chance = Rng::with_seed(chance.u64(..));
            let mut calls = 0;
            Child::start(&mut store, move |store| {
                if calls < 2000 {
                    disturb(store, &mut chance);
                    store.increment(b"count", 1).unwrap();
                    calls += 1;
                } else if calls == 2000 {
                    done[0].fetch_add(1, std::sync::atomic::Ordering::Release);
                    calls += 1;
                } else {
                    std::thread::yield_now();
                }
            })
        })
        .collect();
    children[0].wait_until(|| {
        disturb(&mut store, &mut chance);
        done[0].load(std::sync::atomic::Ordering::Acquire) == 3
    });
    assert_eq!(value_of(&mut store, b"count").unwrap(), b"6000");
    assert_eq!(store.stat().participants.len(), 4);
    children.into_iter().for_each(Child::kill);
    prove(&mut store);
}

#[test]
fn a_child_of_fork_is_a_participant_of_its_own() {
    let mut store = store(1 << 20, Evict::None);
    let done = shared_words(1);
    let child = Child::start(&mut store, |store| {
        store.set(b"child", b"was here", &ALWAYS).unwrap();
        done[0].store(1, std::sync::atomic::Ordering::Release);
    });
    child.wait_until(|| done[0].load(std::sync::atomic::Ordering::Acquire) != 0);
    let mut pids: Vec<_> = store.stat().participants.iter().map(|one| one.pid).collect();
    let mut expected = vec![std::process::id(), child.pid as u32];
    pids.sort_unstable();
    expected.sort_unstable();
    assert_eq!(pids, expected);
    child.kill();
    store.tidy().unwrap();
    assert_eq!(store.stat().participants.len(), 1);
    assert_eq!(value_of(&mut store, b"child").unwrap(), b"was here");
}

#[test]
fn threads_have_sessions_of_their_own() {
    let mut store = store(8 << 20, Evict::None);
    std::thread::scope(|threads| {
        for _ in 0..4 {
            let mut own = store.try_clone().unwrap();
            threads.spawn(move || {
                for number in 0..2000u32 {
                    own.increment(b"count", 1).unwrap();
                    own.set(&(number % 100).to_le_bytes(), &[1; 200], &ALWAYS).unwrap();
                }
            });
        }
    });
    assert_eq!(value_of(&mut store, b"count").unwrap(), b"8000");
    assert_eq!((store.stat().participants.len(), prove(&mut store).entries), (1, 101));
}

#[test]
fn participants_have_a_limit_and_slots_come_back() {
    let store = store(1 << 20, Evict::None);
    let mut clones: Vec<_> = (1..8).map(|_| store.try_clone().unwrap()).collect();
    let error = store.try_clone().unwrap_err();
    assert_eq!(error.to_string(), "all 8 participants of the store are taken");
    clones.pop();
    store.try_clone().unwrap();
}

/// A child that stops itself while it holds the shard of `key`.
fn stop_holding(store: &mut Store, key: &'static [u8]) -> Child {
    let child = Child::start(store, move |store| {
        let stop = |_: Option<morecore_store::Entry<'_>>| {
            // SAFETY: raising a signal has no preconditions.
            unsafe { libc::raise(libc::SIGSTOP) };
            (Change::Set { value: b"theirs".to_vec(), expiry: None, flags: 0 }, ())
        };
        store.update(key, stop).unwrap();
        loop {
            std::thread::yield_now();
        }
    });
    assert!(libc::WIFSTOPPED(child.wait(libc::WUNTRACED)));
    child
}

#[test]
fn a_stopped_owner_is_waited_for_reported_and_goes_on() {
    let mut store = store(1 << 20, Evict::None);
    store.set(b"key", b"before", &ALWAYS).unwrap();
    let child = stop_holding(&mut store, b"key");
    let mut watch = store.try_clone().unwrap();
    let begin = Instant::now();
    std::thread::scope(|threads| {
        threads.spawn(|| {
            // Who only looks waits for nobody meanwhile.
            while watch.stat().long_waits == 0 {
                assert_eq!(value_of(&mut watch, b"key").unwrap(), b"before");
                std::thread::yield_now();
            }
            child.signal(libc::SIGCONT);
        });
        store.set(b"key", b"ours", &ALWAYS).unwrap();
    });
    assert!(begin.elapsed() >= Duration::from_secs(1), "{:?}", begin.elapsed());
    assert_eq!(
        (value_of(&mut store, b"key").unwrap(), store.stat().long_waits),
        (b"ours".into(), 1)
    );
    child.kill();
    prove(&mut store);
}

#[test]
fn an_owner_that_stays_stopped_is_named_and_nothing_is_changed() {
    let mut store = store(1 << 20, Evict::None);
    store.set(b"key", b"before", &ALWAYS).unwrap();
    let child = stop_holding(&mut store, b"key");
    match store.set(b"key", &[7; 500], &ALWAYS) {
        Err(Error::Held { by_pid, ms }) => {
            assert_eq!((by_pid, ms >= 10_000), (child.pid as u32, true));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        (value_of(&mut store, b"key").unwrap(), store.stat().long_waits),
        (b"before".into(), 1)
    );
    // Once it is dead, nobody waits for it any more.
    child.kill();
    store.set(b"key", b"after", &ALWAYS).unwrap();
    assert_eq!(prove(&mut store).claimed, 0);
}
