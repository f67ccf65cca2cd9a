//! Step 2: a server in a process of its own; a key set over TCP, and read from shared memory by
//! another process when the server is gone.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use fastrand::Rng;
use morecore_store::{Create, Evict, Store};
use morecore_wire::Reply;
use nix::sys::signal::Signal;

use super::Stage;
use crate::client::Client;
use crate::failure::Failure;
use crate::quantity::show_count;

/// The store of the demo: enough for every step.
const MEMORY_BYTES: u64 = 64 << 20;

/// Keys that are loaded: more than any processor's caches hold, with their values.
const KEYS: u32 = 100_000;

/// Commands in one write while loading, and reads between two looks at the clock.
const BATCH: u32 = 1000;

/// Reads from shared memory, and over TCP, that are measured; for about a second together.
const SHARED_READS: u32 = 1_000_000;
const TCP_READS: u32 = 20_000;

/// The key that is followed all the way.
const KEY: &str = "greeting";
const VALUE: &str = "set over TCP, read from shared memory";

/// Loads a server, measures both ways to read, stops it, and reads once more.
pub(super) fn play(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let how = Create { memory_bytes: MEMORY_BYTES, mode: 0o600, evict: Evict::None };
    Store::create(&stage.store, &how)?;
    let mut command = stage.ourselves(&["serve", "--port", "0"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut server = stage.mess.adopt(child);
    let ready = first_line(server.child().stdout.take())?;
    let port =
        port(&ready).ok_or_else(|| Failure::new(format!("the server did not start: `{ready}`")))?;
    stage.say(&ready)?;

    let mut client = Client::connect(port)?;
    client.call(&[b"SET", KEY.as_bytes(), VALUE.as_bytes()], |_| ())?;
    stage.say(format_args!("SET {KEY} over TCP"))?;
    let keys = KEYS / stage.part;
    let load_ns = load(&mut client, keys)?;
    stage.say(format_args!(
        "{} keys over TCP, {BATCH} commands a write: {load_ns} ns a key",
        show_count(keys.into())
    ))?;
    measure(stage, &mut client, keys)?;

    server.signal(Signal::SIGTERM)?;
    let status = server.child().wait()?;
    if !status.success() {
        return Err(Failure::new(format!("the server ended with {status}")));
    }
    let output = stage.ourselves(&["get", KEY]).output()?;
    if output.stdout != VALUE.as_bytes() {
        let found = String::from_utf8_lossy(&output.stdout);
        return Err(Failure::new(format!("another process read `{found}`, not `{VALUE}`")));
    }
    stage.say(format_args!("server stopped; `morecore get {KEY}` in another process: {VALUE}"))
}

/// The first line that a process writes.
fn first_line(stdout: Option<std::process::ChildStdout>) -> Result<String, Failure> {
    let mut line = String::new();
    if let Some(stdout) = stdout {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    Ok(line.trim_end().to_string())
}

/// The port in the line that a server prints when it is ready.
fn port(ready: &str) -> Option<u16> {
    ready.split_whitespace().find_map(|word| word.strip_prefix("port="))?.parse().ok()
}

/// Sets all keys over TCP, and gives the nanoseconds for each.
fn load(client: &mut Client, keys: u32) -> Result<u128, Failure> {
    let start = Instant::now();
    for first in (0..keys).step_by(BATCH as usize) {
        let pairs: Vec<_> = (first..first + BATCH).map(|n| (key(n), value(n))).collect();
        let commands: Vec<[&[u8]; 3]> = pairs
            .iter()
            .map(|(key, value)| [b"SET".as_slice(), key.as_bytes(), value.as_bytes()])
            .collect();
        let commands: Vec<&[&[u8]]> = commands.iter().map(|command| command.as_slice()).collect();
        client.send(&commands)?;
        for _ in 0..BATCH {
            client.receive(|_| ())?;
        }
    }
    Ok(start.elapsed().as_nanos() / u128::from(keys))
}

/// Reads keys at random, from shared memory and over TCP, and checks every value.
fn measure(stage: &mut Stage<'_>, client: &mut Client, keys: u32) -> Result<(), Failure> {
    let mut store = Store::attach(&stage.store)?;
    let mut found = Vec::new();
    let shared_ns = timed(stage, keys, SHARED_READS / stage.part, |key, value| {
        found.clear();
        store.get(key, &mut found)?;
        Ok(found == value)
    })?;
    let tcp_ns = timed(stage, keys, TCP_READS / stage.part, |key, value| {
        let is_same = |reply: &Reply<'_>| *reply == Reply::Bulk(value);
        Ok(client.call(&[b"GET", key], is_same)?)
    })?;
    stage.say(format_args!(
        "a read from shared memory {shared_ns} ns, a GET over TCP and back {tcp_ns} ns: {} times",
        tcp_ns / shared_ns.max(1)
    ))
}

/// The nanoseconds that one of `count` reads takes, each of a key at random; `read` says whether it
/// found the value.
fn timed(
    stage: &Stage<'_>,
    keys: u32,
    count: u32,
    mut read: impl FnMut(&[u8], &[u8]) -> Result<bool, Failure>,
) -> Result<u128, Failure> {
    let mut rng = Rng::with_seed(stage.seed);
    let mut time = Duration::ZERO;
    for _ in 0..count / BATCH {
        // Made before the clock runs: the reads alone are measured.
        let numbers = (0..BATCH).map(|_| rng.u32(..keys));
        let wanted: Vec<_> = numbers.map(|number| (key(number), value(number))).collect();
        let start = Instant::now();
        for (key, value) in &wanted {
            if !read(key.as_bytes(), value.as_bytes())? {
                return Err(Failure::new(format!("another value for {key}")));
            }
        }
        time += start.elapsed();
    }
    Ok(time.as_nanos() / u128::from(count))
}

fn key(number: u32) -> String {
    format!("key:{number:07}")
}

fn value(number: u32) -> String {
    format!("value of key number {number:010}")
}
