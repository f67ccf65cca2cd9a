//! What a demo or a bench would leave behind, and the end of it: stores, processes and a directory.
//!
//! Promises: it is cleared away when the command ends, and as well when a signal ends it.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{self, Child};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use morecore_store::{Name, Store};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

use crate::failure::Failure;

/// As a shell tells it of a program that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// What is to be cleared away.
pub(crate) struct Mess(Arc<Mutex<Contents>>);

/// The same, for the thread that waits for signals.
#[derive(Default)]
struct Contents {
    stores: Vec<Name>,
    directories: Vec<PathBuf>,
    children: Vec<Pid>,
}

/// A process that was adopted: it does not outlive this value.
pub(crate) struct Player<'a> {
    mess: &'a Mess,
    child: Child,
}

impl Mess {
    /// Nothing yet; from now on a signal that ends the command clears away first.
    pub(crate) fn new() -> Result<Mess, Failure> {
        let contents = Arc::new(Mutex::new(Contents::default()));
        let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
        // Before the first other thread, which inherits it: the waiter below is the only one who
        // takes them. A process that we start begins without anything blocked.
        signals.thread_block().map_err(io::Error::from)?;
        let waiter = Arc::clone(&contents);
        thread::Builder::new().name("signals".to_string()).spawn(move || {
            if signals.wait().is_ok() {
                lock(&waiter).clear();
                process::exit(INTERRUPTED);
            }
        })?;
        Ok(Mess(contents))
    }

    /// Looks after a store, which need not be there yet.
    pub(crate) fn add_store(&self, store: &Name) {
        lock(&self.0).stores.push(store.clone());
    }

    /// Looks after a directory, with all that is in it.
    pub(crate) fn add_directory(&self, path: PathBuf) {
        lock(&self.0).directories.push(path);
    }

    /// Looks after a process as well.
    pub(crate) fn adopt(&self, child: Child) -> Player<'_> {
        lock(&self.0).children.push(pid(&child));
        Player { mess: self, child }
    }
}

impl Drop for Mess {
    fn drop(&mut self) {
        lock(&self.0).clear();
    }
}

impl Contents {
    /// Ends the processes, removes the stores and directories. What is gone already is no failure.
    fn clear(&mut self) {
        for pid in self.children.drain(..) {
            let _ = kill(pid, Signal::SIGKILL);
        }
        for store in self.stores.drain(..) {
            let _ = Store::remove(&store);
        }
        for path in self.directories.drain(..) {
            let _ = fs::remove_dir_all(path);
        }
    }
}

fn lock(contents: &Mutex<Contents>) -> MutexGuard<'_, Contents> {
    // Lists of names are whole whoever panicked.
    contents.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Player<'_> {
    /// The process itself.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Failure> {
        Ok(kill(pid(&self.child), signal).map_err(io::Error::from)?)
    }
}

impl Drop for Player<'_> {
    fn drop(&mut self) {
        // Both fail if it has ended and was waited for, and that is all that is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let ours = pid(&self.child);
        lock(&self.mess.0).children.retain(|other| *other != ours);
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}
