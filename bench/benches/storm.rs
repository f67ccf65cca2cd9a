//! Question: of eight processes that share a store, one is killed every few milliseconds. How long do
//! the others go on?
//! Unit: kills until nobody gets on for five seconds, or finds something lost or torn. Beside our
//! store: LMDB without syncing, and Boost.Interprocess (a map in a managed segment, under its mutex),
//! which is compiled with g++ where it and libboost-dev are installed.
//!
//! `cargo bench -p morecore-bench --bench storm -- SECONDS`, 20 unless told, for each.
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on says so and ends")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::{Duration, Instant};

use fastrand::Rng;
use heed::types::{Bytes, U32};
use heed::{Database, EnvFlags, EnvOpenOptions};
use morecore_store::{Create, Set, Store};

const WORKERS: usize = 8;

/// Nobody waits this long for a lock whose owner lives.
const STILL_MOST: Duration = Duration::from_secs(5);

/// What a worker ends with when it finds something wrong.
const LOST: i32 = 2;
const TORN: i32 = 3;

fn main() {
    let seconds = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let seconds = seconds.unwrap_or(if is_bench { 20.0 } else { 0.2 });
    let directory = std::env::temp_dir().join(format!("morecore-storm-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    println!("name,kills,operations,end");
    let store = Store::anonymous(&Create { memory_bytes: 32 << 20, ..Create::default() }).unwrap();
    run("morecore", &directory, seconds, |counters, worker| {
        fork(|| ours(&mut store.try_clone().unwrap(), counters, worker))
    });
    let lmdb = directory.clone();
    run("LMDB", &directory, seconds, |counters, worker| {
        fork(|| lmdb_worker(&lmdb, counters, worker))
    });
    if let Some(program) = boost(&directory) {
        let (name, file) =
            (format!("morecore-storm-{}", std::process::id()), counters_in(&directory));
        run("Boost.Interprocess", &directory, seconds, |_, worker| {
            let mut command = Command::new(&program);
            command.arg(&name).arg(&file).arg(worker.to_string());
            command.spawn().unwrap().id() as i32
        });
        let _ = std::fs::remove_file(Path::new("/dev/shm").join(&name));
    } else {
        println!("Boost.Interprocess,,,needs g++ and libboost-dev");
    }
    std::fs::remove_dir_all(&directory).unwrap();
}

fn counters_in(directory: &Path) -> PathBuf {
    directory.join("counters")
}

/// A page of counters that all workers share: for each the number that it set last, acknowledged,
/// and how often it read.
fn counters(directory: &Path) -> &'static [AtomicU64] {
    use std::os::fd::AsRawFd;
    let file = std::fs::File::create_new(counters_in(directory)).unwrap();
    file.set_len(4096).unwrap();
    drop(file);
    let file =
        std::fs::File::options().read(true).write(true).open(counters_in(directory)).unwrap();
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a fresh mapping at a place of the kernel's choice.
    let at = unsafe {
        libc::mmap(std::ptr::null_mut(), 4096, protection, libc::MAP_SHARED, file.as_raw_fd(), 0)
    };
    assert_ne!(at, libc::MAP_FAILED);
    // SAFETY: 4096 bytes, aligned to a page, mapped for good, and used as atomics only.
    unsafe { std::slice::from_raw_parts(at.cast(), 2 * WORKERS) }
}

fn fork(work: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child uses its own copy of all, and leaves by `_exit` or a signal.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        let ended = work();
        // SAFETY: leaving at once is always allowed.
        unsafe { libc::_exit(ended) }
    }
    pid
}

/// Kills one of eight at random every few milliseconds, until time is up or it goes wrong.
fn run(
    name: &str,
    directory: &Path,
    seconds: f64,
    start: impl Fn(&'static [AtomicU64], usize) -> i32,
) {
    let counters = counters(directory);
    let mut chance = Rng::with_seed(7);
    let mut pids: Vec<i32> = (0..WORKERS).map(|worker| start(counters, worker)).collect();
    let (begin, mut kills, mut end) = (Instant::now(), 0, "whole");
    let done = || counters.iter().map(|word| word.load(Acquire)).sum::<u64>();
    let mut progress = (0, Instant::now());
    while begin.elapsed().as_secs_f64() < seconds {
        // The pace of the storm: nothing is waited for.
        std::thread::sleep(Duration::from_micros(chance.u64(1000..5000)));
        if done() != progress.0 {
            progress = (done(), Instant::now());
        } else if progress.1.elapsed() > STILL_MOST {
            end = "hangs";
            break;
        } else {
            continue;
        }
        let worker = chance.usize(..WORKERS);
        let status = kill(pids[worker]);
        match libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)) {
            None if libc::WTERMSIG(status) == libc::SIGKILL => kills += 1,
            Some(LOST) => end = "loses what was acknowledged",
            Some(TORN) => end = "tears a value",
            _ => end = "a survivor crashes",
        }
        pids[worker] = start(counters, worker);
        if end != "whole" {
            break;
        }
    }
    for pid in pids {
        kill(pid);
    }
    println!("{name},{kills},{},{end}", done());
    std::fs::remove_file(counters_in(directory)).unwrap();
}

fn kill(pid: i32) -> i32 {
    // SAFETY: our own child, which was not waited for yet.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    let mut status = 0;
    // SAFETY: our own child, and a status that is ours to write.
    unsafe { libc::waitpid(pid, &raw mut status, 0) };
    status
}

fn value_of(number: u64, chance: &mut Rng) -> Vec<u8> {
    let mut value = vec![number as u8; 8 + chance.usize(..600)];
    value[..8].copy_from_slice(&number.to_le_bytes());
    value
}

fn number_in(value: &[u8]) -> u64 {
    u64::from_le_bytes(value[..8].try_into().unwrap())
}

/// Sets a number under a key of its own, and reads another's: `set` and `get` are the store.
fn work<S>(
    store: &mut S,
    counters: &[AtomicU64],
    worker: usize,
    set: impl Fn(&mut S, u32, &[u8]),
    get: impl Fn(&mut S, u32) -> Option<Vec<u8>>,
) -> i32 {
    let mut chance = Rng::with_seed(u64::from(std::process::id()));
    let acknowledged = &counters[worker * 2];
    loop {
        let last = get(store, worker as u32).map_or(0, |value| number_in(&value));
        if last < acknowledged.load(Acquire) {
            return LOST;
        }
        let number = acknowledged.load(Acquire) + 1;
        set(store, worker as u32, &value_of(number, &mut chance));
        acknowledged.store(number, Release);
        if let Some(value) = get(store, chance.u32(..WORKERS as u32)) {
            let byte = number_in(&value) as u8;
            if value[8..].iter().any(|&other| other != byte) {
                return TORN;
            }
        }
        counters[worker * 2 + 1].fetch_add(1, Release);
    }
}

fn ours(store: &mut Store, counters: &[AtomicU64], worker: usize) -> i32 {
    let set = |store: &mut Store, key: u32, value: &[u8]| {
        store.set(&key.to_le_bytes(), value, &Set::default()).unwrap();
    };
    let get = |store: &mut Store, key: u32| {
        let mut value = Vec::new();
        store.get(&key.to_le_bytes(), &mut value).unwrap().map(|_| value)
    };
    work(store, counters, worker, set, get)
}

fn lmdb_worker(directory: &Path, counters: &[AtomicU64], worker: usize) -> i32 {
    let mut options = EnvOpenOptions::new();
    options.map_size(256 << 20).max_readers(1024);
    // SAFETY: what is not synced is lost with the machine alone, which is not what is asked here.
    unsafe { options.flags(EnvFlags::NO_SYNC | EnvFlags::WRITE_MAP) };
    // SAFETY: nobody but these workers changes the file.
    let env = unsafe { options.open(directory) }.unwrap();
    let mut writing = env.write_txn().unwrap();
    let database: Database<U32<heed::byteorder::NativeEndian>, Bytes> =
        env.create_database(&mut writing, None).unwrap();
    writing.commit().unwrap();
    let set = |env: &mut heed::Env, key: u32, value: &[u8]| {
        let put = |env: &heed::Env| {
            let mut writing = env.write_txn()?;
            database.put(&mut writing, &key, value)?;
            writing.commit()
        };
        // What a reader that was killed had open is kept until somebody looks for the dead.
        while put(env).is_err() {
            env.clear_stale_readers().unwrap();
        }
    };
    let get = |env: &mut heed::Env, key: u32| {
        // A slot of a reader that was killed stays until it is looked for.
        let reading = env.read_txn().or_else(|_| {
            env.clear_stale_readers().unwrap();
            env.read_txn()
        });
        let reading = reading.unwrap();
        database.get(&reading, &key).unwrap().map(<[u8]>::to_vec)
    };
    let mut env = env;
    work(&mut env, counters, worker, set, get)
}

/// Compiles the worker of Boost's; `None` if that cannot be done here.
fn boost(directory: &Path) -> Option<PathBuf> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/storm/boost.cc");
    let program = directory.join("boost");
    let mut compile = Command::new("g++");
    compile.args(["-O2", "-o"]).arg(&program).arg(source).args(["-lrt", "-pthread"]);
    compile.status().is_ok_and(|status| status.success()).then_some(program)
}
