//! `morecore share`: hands a store over at a Unix socket, for containers that share nothing else.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use morecore_store::{Create as How, Name, Store};
use nix::sys::signal::{SigSet, Signal};

use super::Evict;
use super::create::mode;
use crate::failure::Failure;
use crate::output::Out;
use crate::quantity;

/// Hands a store over at a socket: `--store unix:SOCKET` attaches to it from anywhere that sees it
#[derive(clap::Args)]
pub(crate) struct Share {
    /// The store, in a file; without it, one in memory is made that ends with its last user
    #[arg(long, value_name = "file:PATH")]
    store: Option<Name>,
    /// Size of the store that is made
    #[arg(short, long, default_value = "1gb", value_parser = quantity::bytes, value_name = "SIZE")]
    memory: u64,
    /// What it does when it is full: drop what was not used lately, or refuse
    #[arg(long, default_value = "policy", value_enum)]
    evict: Evict,
    /// Who may connect, in octal as for chmod
    #[arg(long, default_value = "0600", value_parser = mode, value_name = "MODE")]
    mode: u32,
    /// Only to look
    #[arg(long)]
    read_only: bool,
    /// Where to listen
    socket: PathBuf,
}

/// What ends a wait.
enum Event {
    Connected(UnixStream),
    Stopped,
}

/// The socket's place in the file system, given back at the end.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        // It may be gone already, and that is what is wanted.
        let _ = fs::remove_file(&self.0);
    }
}

impl Share {
    /// Hands over until SIGTERM or SIGINT. Who is attached keeps what it has.
    pub(crate) fn run(self, out: &mut Out) -> Result<(), Failure> {
        let store = match &self.store {
            Some(name) => Store::attach(name)?,
            None => {
                let (memory_bytes, evict) = (self.memory, self.evict.into());
                Store::memfd(&How { memory_bytes, mode: self.mode, evict })?
            }
        };
        if store.as_fd().is_none() {
            return Err(morecore_store::Error::NoDescriptor.into());
        }
        let shown = self.socket.display();
        let events = listen(&self.socket, self.mode)
            .map_err(|error| Failure::new(format!("cannot listen at {shown}: {error}")))?;
        let _place = Place(self.socket.clone());
        let what = self.store.as_ref().map_or("memory", Name::as_str);
        writeln!(out, "ready socket={shown} store={what} pid={}", process::id())?;
        out.flush()?;
        for event in events {
            let Event::Connected(stream) = event else { break };
            if let Err(error) = store.hand_over(&stream, self.read_only) {
                // Whoever left again: the next one is no worse for it.
                eprintln!("morecore: {error}");
            }
        }
        Ok(())
    }
}

/// Listens, and tells of each who connects, and of the signal that ends it.
fn listen(socket: &PathBuf, mode: u32) -> std::io::Result<Receiver<Event>> {
    let listener = UnixListener::bind(socket)?;
    fs::set_permissions(socket, fs::Permissions::from_mode(mode))?;
    // Before the threads begin: they inherit that these signals wait.
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.thread_block()?;
    let (connected, events) = channel();
    let stopped = connected.clone();
    thread::spawn(move || accept(&listener, &connected));
    thread::spawn(move || {
        // It fails for no set of signals; and nobody hears it only when all is over.
        let _ = signals.wait();
        let _ = stopped.send(Event::Stopped);
    });
    Ok(events)
}

fn accept(listener: &UnixListener, connected: &Sender<Event>) {
    for stream in listener.incoming() {
        let event = match stream {
            Ok(stream) => Event::Connected(stream),
            // As when there are no descriptors left: to go on would be to spin.
            Err(error) => {
                eprintln!("morecore: accept: {error}");
                Event::Stopped
            }
        };
        if connected.send(event).is_err() {
            return;
        }
    }
}
