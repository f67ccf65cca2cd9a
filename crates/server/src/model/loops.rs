//! Loops that serve many clients each, one thread with a desk of its own, and who deals clients to
//! them.
//!
//! ```text
//!   accepted --> mailbox of the loop with the fewest clients --wake--> loop: seats
//!
//!   a turn:  wait -> read the clock -> for each seat that something happened at: attend to it
//! ```
//!
//! Promises: what a loop is told is never lost, and wakes it. A loop ends when it is told to stop
//! and has no client left, or when its patience is over.
//! Knows nothing of how a loop waits and moves bytes: `ready.rs` does it by readiness, `uring.rs`
//! by completions.
//!
//! One thread accepts and deals, rather than every loop with `SO_REUSEPORT` or `EPOLLEXCLUSIVE`:
//! those spread clients by a hash, or to whoever woke last, and a client stays where it came to, so
//! one loop may get nearly all; they differ for Unix sockets; and with them a limit on clients or
//! descriptors is everybody's business. Dealing costs one wake a connection.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use morecore_sys::descriptor::Descriptor;
use morecore_sys::ready::Waker;

use super::Arrival;
use crate::clients::locked;
use crate::desk::Desk;
use crate::error::system;
use crate::exchange::Reach;
use crate::options::Options;

/// A loop, as its thread runs it.
pub(crate) trait Serve: Sized + 'static {
    /// The model's name: what its threads are called.
    const NAME: &'static str;

    /// Makes it, in its own thread.
    fn new(desk: Desk, mailbox: Arc<Mailbox>) -> io::Result<Self>;

    /// Serves until it is over.
    ///
    /// # Errors
    /// The system refuses what nothing can be served without.
    fn run(&mut self) -> io::Result<()>;
}

/// Every loop of the model.
pub(crate) struct Loops {
    handles: Vec<Handle>,
    /// How clients are reached from outside: held here, because the exchange only looks at it.
    _reach: Arc<dyn Reach>,
}

struct Handle {
    mailbox: Arc<Mailbox>,
    thread: JoinHandle<()>,
}

/// Where others leave word for a loop.
pub(crate) struct Mailbox {
    waker: Waker,
    /// Clients here and on their way; only a hint for who deals.
    clients: AtomicUsize,
    letters: Mutex<Letters>,
}

/// What was left for a loop.
#[derive(Default)]
pub(crate) struct Letters {
    pub(super) arrivals: Vec<Arrival>,
    /// Clients whom others have said something.
    pub(super) rung: Vec<u64>,
    /// Clients to be hung up on.
    pub(super) cut: Vec<u64>,
    /// When to give up on clients that do not take their replies, for a loop that is to stop.
    pub(super) stop_until: Option<Instant>,
}

/// The mailboxes of all loops, by their desks.
struct Mailboxes(Vec<Arc<Mailbox>>);

/// When a loop wakes by itself, and when it ends.
pub(super) struct Schedule {
    stop_until: Option<Instant>,
    busy: Duration,
}

impl Loops {
    /// Starts a loop for each desk.
    pub(crate) fn start<L: Serve>(desks: Vec<Desk>) -> io::Result<Self> {
        let shared = desks.first().map(|desk| Arc::clone(&desk.shared));
        let start = |(index, desk)| Handle::start::<L>(index, desk);
        let handles: Vec<Handle> =
            desks.into_iter().enumerate().map(start).collect::<io::Result<_>>()?;
        let mailboxes = handles.iter().map(|handle| Arc::clone(&handle.mailbox)).collect();
        let reach: Arc<dyn Reach> = Arc::new(Mailboxes(mailboxes));
        if let Some(shared) = shared {
            shared.clients.exchange.begin(&reach);
        }
        Ok(Self { handles, _reach: reach })
    }

    /// Gives a client to the loop with the fewest.
    pub(crate) fn serve(&self, arrival: Arrival) {
        let fewest = self.handles.iter().min_by_key(|handle| handle.mailbox.clients.load(Relaxed));
        if let Some(Handle { mailbox, .. }) = fewest {
            mailbox.clients.fetch_add(1, Relaxed);
            locked(&mailbox.letters).arrivals.push(arrival);
            mailbox.waker.wake();
        }
    }

    pub(crate) fn finish(self, until: Instant) {
        for Handle { mailbox, .. } in &self.handles {
            locked(&mailbox.letters).stop_until = Some(until);
            mailbox.waker.wake();
        }
        for Handle { thread, .. } in self.handles {
            // A loop that panicked has ended the process, or its test already.
            let _ended = thread.join();
        }
    }
}

impl Handle {
    fn start<L: Serve>(index: usize, desk: Desk) -> io::Result<Self> {
        let mailbox = Arc::new(Mailbox {
            waker: Waker::new().map_err(system)?,
            clients: AtomicUsize::new(0),
            letters: Mutex::default(),
        });
        let (tell, told) = channel();
        let own = Arc::clone(&mailbox);
        let serve = move || match L::new(desk, own) {
            Ok(mut serving) => {
                // Nobody hears it who has given up.
                let _unheard = tell.send(Ok(()));
                if let Err(error) = serving.run() {
                    // Without a way to wait, nothing is served.
                    panic!("cannot wait for clients: {error}");
                }
            }
            Err(error) => {
                let _unheard = tell.send(Err(error));
            }
        };
        let name = format!("{}-{index}", L::NAME);
        let thread = std::thread::Builder::new().name(name).spawn(serve)?;
        told.recv().map_err(|_| io::Error::other("a loop ended as it began"))??;
        Ok(Self { mailbox, thread })
    }
}

impl Mailbox {
    /// Leaves word of somebody who is here. The loop is woken for the first letter, and takes all.
    fn leave_word(&self, write: impl FnOnce(&mut Letters)) {
        let mut letters = locked(&self.letters);
        let is_first = letters.rung.is_empty() && letters.cut.is_empty();
        write(&mut letters);
        drop(letters);
        if is_first {
            self.waker.wake();
        }
    }

    /// What is readable when there are letters.
    pub(super) const fn descriptor(&self) -> &Descriptor {
        self.waker.descriptor()
    }

    /// Takes all letters.
    pub(super) fn read(&self) -> Letters {
        self.waker.rest();
        std::mem::take(&mut *locked(&self.letters))
    }

    /// Takes note that a client of this loop has left.
    pub(super) fn count_leave(&self) {
        self.clients.fetch_sub(1, Relaxed);
    }
}

impl Reach for Mailboxes {
    fn ring(&self, desk: Option<usize>, id: u64) {
        let mailboxes = match desk {
            Some(desk) => self.0.get(desk..=desk).unwrap_or_default(),
            None => &self.0,
        };
        mailboxes.iter().for_each(|mailbox| mailbox.leave_word(|letters| letters.rung.push(id)));
    }

    fn cut(&self, id: u64) {
        // It is known where a client is served only of those to whom others speak.
        self.0.iter().for_each(|mailbox| mailbox.leave_word(|letters| letters.cut.push(id)));
    }
}

impl Schedule {
    pub(super) fn new(options: &Options) -> Self {
        Self { stop_until: None, busy: options.busy_poll() }
    }

    /// Takes note that the loop is to stop; returns whether that is new.
    pub(super) fn stop(&mut self, until: Option<Instant>) -> bool {
        let is_new = until.is_some() && self.stop_until.is_none();
        if is_new {
            self.stop_until = until;
        }
        is_new
    }

    /// Whether the loop is to stop.
    pub(super) const fn is_stopping(&self) -> bool {
        self.stop_until.is_some()
    }

    /// Whether a loop that is to stop may wait for its clients still.
    pub(super) fn has_time(&self) -> bool {
        self.stop_until.is_none_or(|until| Instant::now() < until)
    }

    /// Whether the loop is over.
    pub(super) fn is_over(&self, is_empty: bool) -> bool {
        self.is_stopping() && (is_empty || !self.has_time())
    }

    /// Waits by `wait`, which is told how long, in milliseconds (`None`: for ever), and tells
    /// whether something happened. Who polls busily asks again and again for a while before it
    /// sleeps: to be woken takes longer than most commands.
    pub(super) fn wait(
        &self,
        mut wait: impl FnMut(Option<u32>) -> io::Result<bool>,
    ) -> io::Result<()> {
        if !self.busy.is_zero() {
            let since = Instant::now();
            loop {
                if wait(Some(0))? {
                    return Ok(());
                }
                if since.elapsed() >= self.busy {
                    break;
                }
                std::hint::spin_loop();
            }
        }
        wait(self.patience_ms()).map(drop)
    }

    /// How long to wait: until something happens, or the loop is to end.
    fn patience_ms(&self) -> Option<u32> {
        let left = self.stop_until?.saturating_duration_since(Instant::now());
        // Rounded up, so that the end of patience is not spun through.
        Some(u32::try_from(left.as_millis()).unwrap_or(u32::MAX).saturating_add(1))
    }
}
