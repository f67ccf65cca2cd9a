//! The program as a user has it, and stores and servers that go away with the test.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// Who says nothing for so long is broken: no machine stands still for that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// The program, without anything from the environment that would change what it does.
pub(crate) fn morecore() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_morecore"));
    for name in ["MORECORE_STORE", "MORECORE_CONF", "LD_PRELOAD", "NO_COLOR"] {
        command.env_remove(name);
    }
    command
}

/// Runs the program with `arguments`, separated by blanks.
pub(crate) fn ask(arguments: &str) -> Output {
    morecore().args(arguments.split_whitespace()).output().unwrap()
}

/// What it printed; it must have succeeded.
pub(crate) fn told(output: &Output) -> String {
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {complaint}", output.status);
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The exit status and the complaint.
pub(crate) fn failed(output: &Output) -> (i32, String) {
    let complaint = String::from_utf8_lossy(&output.stderr).trim_end().to_string();
    (output.status.code().unwrap(), complaint)
}

/// Sends a signal to a child that was not waited for yet.
pub(crate) fn send_signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, signal).unwrap();
}

/// A store of this test alone.
pub(crate) struct TestStore {
    pub(crate) name: String,
}

impl TestStore {
    /// A name for a store that is not there yet.
    pub(crate) fn absent() -> TestStore {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test-{}-{count}", std::process::id());
        // What is there a run with our number left that was killed.
        let _ = morecore().args(["rm", &name]).output();
        TestStore { name }
    }

    /// A store of 8 MiB.
    pub(crate) fn new() -> TestStore {
        let store = TestStore::absent();
        told(&store.ask("create --memory 8mb"));
        store
    }

    /// Runs a command on it.
    pub(crate) fn ask(&self, arguments: &str) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// A command on it, not run yet.
    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = morecore();
        command.args(arguments.split_whitespace()).env("MORECORE_STORE", &self.name);
        command
    }
}

impl Drop for TestStore {
    fn drop(&mut self) {
        let _ = morecore().args(["rm", &self.name]).output();
    }
}

/// A server on a store of its own.
pub(crate) struct TestServer {
    pub(crate) store: TestStore,
    pub(crate) ready: String,
    child: Child,
}

impl TestServer {
    /// Starts one with more `flags`, and waits until it says that it is ready.
    pub(crate) fn start(flags: &str) -> TestServer {
        let store = TestStore::absent();
        let mut command = store.command("serve --port 0 --memory 8mb --loglevel warning");
        command.args(flags.split_whitespace()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        TestServer { store, ready, child }
    }

    /// The number behind `name=` in the ready line.
    pub(crate) fn number(&self, name: &str) -> u32 {
        let value = self.ready.split_whitespace().find_map(|word| word.strip_prefix(name));
        value.unwrap_or_else(|| panic!("no {name} in {:?}", self.ready)).parse().unwrap()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let port = self.number("port=").try_into().unwrap();
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    /// Sends one line and gives the first line of the answer.
    pub(crate) fn say(&self, line: &str) -> String {
        let mut socket = self.connect();
        write!(socket, "{line}\r\n").unwrap();
        let mut answer = String::new();
        BufReader::new(socket).read_line(&mut answer).unwrap();
        answer.trim_end().to_string()
    }

    /// Sends a signal, and gives the exit status.
    pub(crate) fn end_with(&mut self, signal: Signal) -> Option<i32> {
        send_signal(&self.child, signal);
        self.child.wait().unwrap().code()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
