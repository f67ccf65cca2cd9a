//! Listens on the ports, runs the chosen model, and stops cleanly.
//!
//! ```text
//!   open --> Listening --before a store--> Server --run--> accepting clients
//!                                                              |
//!                    over <-- answering what came <-- stop, SIGTERM, SIGINT
//! ```
//!
//! Promises: one thread accepts, so a limit on clients or descriptors is kept exactly, told to who
//! is over it, and never spun on. A stopped server has answered every command that had arrived
//! from a client that takes its replies. The store stays.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::available_parallelism;

use morecore_store::Store;
use morecore_sys::descriptor::raise_limit;
use morecore_sys::ready::{Polled, Signal, Signals, Waker, poll};
use morecore_sys::uring::Uring;

use crate::accept::Doorkeeper;
use crate::desk::Desk;
use crate::error::Error;
use crate::listen::{self, Door};
use crate::log::{self, Level};
use crate::model::Running;
use crate::options::{Model, Options};
use crate::shared::Shared;
use crate::tidy::Tidying;

/// Descriptors that the server itself needs, generously: standard streams, doors, an epoll set
/// and a waker a loop, and what a store or a library may open for a moment. Redis keeps 32.
const DESCRIPTORS_OWN: u64 = 64;

/// Doors that are open, before a store is at hand: so that one is made only where it can be served.
pub struct Listening {
    doors: Vec<Door>,
    shared: Arc<Shared>,
    threads: usize,
}

/// A server that listens, and does not answer yet.
pub struct Server {
    doors: Vec<Door>,
    shared: Arc<Shared>,
    desks: Vec<Desk>,
    /// Attached once more, to tidy.
    spare: Store,
    stop: Arc<Waker>,
    signals: Option<Signals>,
}

/// Stops a running server, from any thread.
#[derive(Clone, Debug)]
pub struct Stopper(Arc<Waker>);

impl Listening {
    /// Opens the doors that `options` ask for.
    ///
    /// # Errors
    /// The address is taken or not ours, or a limit of the system is in the way.
    pub fn open(mut options: Options) -> Result<Self, Error> {
        fall_back(&mut options);
        let threads = options.model.threads().or(options.threads);
        let threads = threads.or(available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN);
        options.threads = Some(threads);
        let lowered = allow_clients(&mut options, threads)?;
        let doors = listen::open(&options)?;
        let port = doors.iter().find_map(|door| door.address().map(|address| address.port()));
        let desks = match options.model {
            Model::Process => options.clients_most as usize,
            Model::Epoll | Model::Select | Model::Thread | Model::Uring => threads.get(),
        };
        let shared = Arc::new(Shared::new(options, port, desks)?);
        if let Some((wanted, why)) = lowered {
            let most = shared.options.clients_most;
            let words = format_args!("at most {most} clients instead of {wanted}: {why}");
            shared.log.line(Level::Warning, words);
        }
        Ok(Self { doors, shared, threads: threads.get() })
    }

    /// Makes a server of it, with `store` behind the doors.
    ///
    /// # Errors
    /// The store has no room for as many threads, or the system refuses a descriptor.
    pub fn before(self, mut store: Store) -> Result<Server, Error> {
        let Self { doors, mut shared, threads } = self;
        if let (Model::Process, Some(shared)) = (shared.options.model, Arc::get_mut(&mut shared)) {
            leave_places(shared, &mut store);
        }
        let desk = |index| Ok(Desk::new(store.try_clone()?, Arc::clone(&shared), index));
        let desks = (0..threads).map(desk).collect::<Result<_, Error>>()?;
        let stop = Arc::new(Waker::new()?);
        if shared.options.model != Model::Process {
            // Set once: this consumes who could set it again.
            let _new = shared.stop.set(Arc::clone(&stop));
        }
        Ok(Server { doors, shared, desks, spare: store, stop, signals: None })
    }
}

impl Server {
    /// Opens the doors that `options` ask for, with `store` behind them.
    ///
    /// # Errors
    /// As [`Listening::open`] and [`Listening::before`].
    pub fn bind(store: Store, options: Options) -> Result<Self, Error> {
        Listening::open(options)?.before(store)
    }

    /// Returns the TCP port that it listens on.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.shared.port
    }

    /// Returns every TCP address that it listens on.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.doors.iter().filter_map(Door::address)
    }

    /// Returns how it serves its clients.
    #[must_use]
    pub fn model(&self) -> Model {
        self.shared.options.model
    }

    /// Returns what stops it.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.stop))
    }

    /// Has SIGTERM and SIGINT stop it, instead of ending the process at once. They are taken from
    /// this thread and those that it will start, so this belongs before any other thread.
    ///
    /// # Errors
    /// The system refuses a descriptor.
    pub fn stop_on_signals(&mut self) -> Result<(), Error> {
        self.signals = Some(Signals::take(&[Signal::Terminate, Signal::Interrupt])?);
        Ok(())
    }

    /// Serves until it is stopped.
    ///
    /// # Errors
    /// The system refuses a thread or a descriptor at the start, or waiting for clients fails.
    pub fn run(self) -> Result<(), Error> {
        let Self { doors, shared, desks, spare, stop, signals } = self;
        let tidying = match shared.options.model {
            // It forks, so it has one thread, which tidies too.
            Model::Process => {
                drop(spare);
                Ok(None)
            }
            Model::Epoll | Model::Select | Model::Thread | Model::Uring => {
                Tidying::start(spare, Arc::clone(&shared)).map(Some)
            }
        };
        let tidying =
            tidying.map_err(|error| Error::System { call: "starting a thread", error })?;
        let running = Running::start(shared.options.model, desks)
            .map_err(|error| Error::System { call: "starting the model", error })?;
        let mut doorkeeper = Doorkeeper::new(&shared, &running)?;
        let kept = keep_doors(&mut doorkeeper, &running, &doors, &stop, signals.as_ref());
        // Whoever the kernel has let in before now was accepted, as far as they can tell.
        doors.iter().for_each(|door| doorkeeper.accept_last(door));
        drop(doorkeeper);
        drop(doors);
        running.finish();
        drop(tidying);
        shared.log.line(Level::Notice, format_args!("stopped"));
        kept
    }
}

impl Stopper {
    /// Asks the server to stop. [`Server::run`] returns when it has.
    pub fn stop(&self) {
        self.0.wake();
    }
}

/// Lets clients in until something asks to stop.
fn keep_doors(
    doorkeeper: &mut Doorkeeper<'_>,
    running: &Running,
    doors: &[Door],
    stop: &Waker,
    signals: Option<&Signals>,
) -> Result<(), Error> {
    let mut all: Vec<_> = doors.iter().map(|door| Polled::readable(&door.socket)).collect();
    all.push(Polled::readable(stop.descriptor()));
    all.extend(signals.map(|signals| Polled::readable(signals.descriptor())));
    let stops = doors.len()..all.len();
    all.extend(running.tended().map(|(descriptor, _)| Polled::readable(descriptor)));
    let patience_ms = running.tended().map(|(_, ms)| ms);
    loop {
        // While the doors are shut only what stops us is waited for.
        let shut_ms = doorkeeper.shut_ms();
        let first = if shut_ms.is_some() { doors.len() } else { 0 };
        let waited = &mut all[first..];
        poll(waited, shut_ms.or(patience_ms))?;
        running.tend();
        if all[stops.clone()].iter().any(Polled::is_ready) || doorkeeper.is_stopping() {
            return Ok(());
        }
        if shut_ms.is_some() {
            doorkeeper.open_again();
            continue;
        }
        for (door, _) in doors.iter().zip(&all).filter(|(_, polled)| polled.is_ready()) {
            doorkeeper.accept(door);
        }
    }
}

/// Serves with `epoll` where `io_uring` is wanted and the kernel refuses it, and says so.
fn fall_back(options: &mut Options) {
    if options.model != Model::Uring {
        return;
    }
    // In a thread of its own: whose ring ends has a wait broken off.
    let tried = std::thread::spawn(|| Uring::new().map(drop)).join();
    if let Ok(Err(failed)) = tried {
        options.model = Model::Epoll;
        let words = format_args!("serving with epoll: this system refuses io_uring ({failed})");
        if options.log <= Level::Warning {
            log::write_line(words);
        }
    }
}

/// Lets in no more clients than the store has participants' places for, beside those who are there
/// and us: each has a process of its own.
fn leave_places(shared: &mut Shared, store: &mut Store) {
    let stat = store.stat();
    let left = stat.participants_most.saturating_sub(stat.participants.len() as u32 + 1).max(1);
    if left < shared.options.clients_most {
        shared.options.clients_most = left;
        let words = format_args!("at most {left} clients: the store has no more places");
        shared.log.line(Level::Warning, words);
    }
}

/// Raises the limit of descriptors to what the clients need, or lowers the clients to what the
/// limit and the model allow; returns how many were wanted if they are fewer now, and why.
fn allow_clients(
    options: &mut Options,
    threads: NonZeroUsize,
) -> Result<Option<(u32, &'static str)>, Error> {
    let own = DESCRIPTORS_OWN + 2 * threads.get() as u64;
    let wanted = options.clients_most;
    let served = options.model.clients_most().map_or(wanted, |most| most.min(wanted));
    let each = u64::from(options.model.descriptors_a_client());
    let most = raise_limit(u64::from(served) * each + own)?;
    let left = u32::try_from(most.saturating_sub(own) / each).unwrap_or(u32::MAX);
    if left == 0 {
        return Err(Error::Descriptors { most, needed: own });
    }
    options.clients_most = served.min(left);
    Ok(match (left < served, served < wanted) {
        (true, _) => Some((wanted, "the system's limit of descriptors")),
        (false, true) => Some((wanted, "the model's limit")),
        (false, false) => None,
    })
}
