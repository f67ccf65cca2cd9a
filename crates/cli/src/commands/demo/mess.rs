//! What a demo would leave behind, and the end of it: one store, and processes.
//!
//! Promises: it is cleared away when the demo ends, and as well when a signal ends it.

use std::io;
use std::process::{self, Child};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use morecore_store::{Name, Store};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

use crate::failure::Failure;

/// As a shell tells it of a program that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// The store and the processes of a demo.
pub(super) struct Mess(Arc<Contents>);

/// The same, for the thread that waits for signals.
struct Contents {
    store: Name,
    children: Mutex<Vec<Pid>>,
}

/// A process of the demo: it does not outlive this value.
pub(super) struct Player<'a> {
    mess: &'a Mess,
    child: Child,
}

impl Mess {
    /// Begins to look after a demo whose store has this name.
    pub(super) fn new(store: &Name) -> Result<Mess, Failure> {
        let contents = Arc::new(Contents { store: store.clone(), children: Mutex::default() });
        let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
        // Before the first other thread, which inherits it: the waiter below is the only one who
        // takes them. A process that we start begins without anything blocked.
        signals.thread_block().map_err(io::Error::from)?;
        let waiter = Arc::clone(&contents);
        thread::Builder::new().name("signals".to_string()).spawn(move || {
            if signals.wait().is_ok() {
                waiter.clear();
                process::exit(INTERRUPTED);
            }
        })?;
        Ok(Mess(contents))
    }

    /// Looks after a process as well.
    pub(super) fn adopt(&self, child: Child) -> Player<'_> {
        self.0.children().push(pid(&child));
        Player { mess: self, child }
    }
}

impl Drop for Mess {
    fn drop(&mut self) {
        self.0.clear();
    }
}

impl Contents {
    fn children(&self) -> std::sync::MutexGuard<'_, Vec<Pid>> {
        // A list of numbers is whole whoever panicked.
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the processes and removes the store. What is gone already is no failure.
    fn clear(&self) {
        for pid in self.children().drain(..) {
            let _ = kill(pid, Signal::SIGKILL);
        }
        let _ = Store::remove(&self.store);
    }
}

impl Player<'_> {
    /// The process itself.
    pub(super) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, signal: Signal) -> Result<(), Failure> {
        Ok(kill(pid(&self.child), signal).map_err(io::Error::from)?)
    }
}

impl Drop for Player<'_> {
    fn drop(&mut self) {
        // Both fail if it has ended and was waited for, and that is all that is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let ours = pid(&self.child);
        self.mess.0.children().retain(|other| *other != ours);
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}
