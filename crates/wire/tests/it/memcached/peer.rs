//! The same lines to memcached itself, where its version 1.6.18 is installed: the same answers.
//!
//! Left out of the comparison, by masking: versions, and the seconds that are left.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use morecore_wire::memcached::Limits;

use super::random::{command, salad};
use super::talk;
use crate::random::random;

/// How many pipelines are compared: a second or so.
const ROUNDS: usize = 5_000;

/// How long anything may take before the test fails: longer than any machine stands still.
const PATIENCE: Duration = Duration::from_secs(300);

/// A memcached of our own; it ends with the test.
struct Peer {
    child: Child,
    path: String,
}

impl Peer {
    /// Starts one, or says that there is none to start.
    fn start() -> Option<Peer> {
        let path = format!("{}/wire-{}.sock", env::temp_dir().display(), process::id());
        let mut program = Command::new("memcached");
        program.args(["-u", "root", "-s", &path]).stdin(Stdio::null()).stderr(Stdio::null());
        match program.spawn() {
            Ok(child) => Some(Peer { child, path }),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => panic!("memcached does not start: {error}"),
        }
    }

    fn connect(&self) -> UnixStream {
        let until = Instant::now() + PATIENCE;
        loop {
            match UnixStream::connect(&self.path) {
                Ok(stream) => return stream,
                Err(error) => assert!(Instant::now() < until, "memcached does not listen: {error}"),
            }
            thread::yield_now();
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // What fails here failed before: the child is gone, or the socket.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.path);
    }
}

/// The version whose words are ours; others say some things otherwise.
const VERSION: &str = "VERSION 1.6.18";

/// What every pipeline ends with: nothing else is answered like this.
const LAST: &str = "set last 0 0 4\r\nLAST\r\nmg last v\r\nmn\r\n";

/// What the peer answers to `input`, which ends with [`LAST`].
fn ask(stream: &mut UnixStream, input: &str) -> String {
    stream.write_all(input.as_bytes()).expect("memcached reads");
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while !answer.ends_with(b"LAST\r\nMN\r\n") {
        let count = stream.read(&mut buffer).unwrap_or(0);
        assert!(count > 0, "memcached fell silent: {}", answer.escape_ascii());
        answer.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8_lossy(&answer).replace("\r\n", "|")
}

/// `answer` without versions and seconds: those of `c5`, `t20`, and the last of `VALUE k 0 1 5`.
fn masked(answer: &str) -> String {
    let mask = |word: &str| match word.split_at_checked(1) {
        Some((letter @ ("c" | "t"), digits)) if digits.parse::<u64>().is_ok() => {
            format!("{letter}#")
        }
        _ => word.to_owned(),
    };
    let line = |line: &str| {
        let mut words: Vec<_> = line.split(' ').map(mask).collect();
        if words[0] == "VALUE" && words.len() == 5 {
            words[4] = "#".to_owned();
        }
        words.join(" ")
    };
    answer.split('|').map(line).collect::<Vec<_>>().join("|")
}

#[test]
fn memcached_says_the_same() {
    let Some(peer) = Peer::start() else {
        println!("memcached is not installed: apt-get install memcached");
        return;
    };
    let mut stream = peer.connect();
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket has a timeout");
    let version = ask(&mut stream, &format!("version\r\n{LAST}"));
    if !version.starts_with(VERSION) {
        println!("not compared: {version}");
        return;
    }
    let mut random = random();
    for round in 0..ROUNDS {
        let suffix = format!("{round:06}");
        // From here on no entry has version 1, and each has a higher one.
        let mut input = "set last 0 0 1\r\nx\r\n".repeat(2);
        input.extend((0..random.usize(1..30)).map(|_| match random.bool() {
            true => command(&mut random, &suffix),
            false => salad(&mut random),
        }));
        input += LAST;
        let ours = talk(input.as_bytes(), input.len(), Limits::DEFAULT);
        let theirs = ask(&mut stream, &input);
        assert_eq!(masked(&ours), masked(&theirs), "to {input}");
    }
}
