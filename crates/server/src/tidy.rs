//! A thread that tidies the store a few times a second: it clears up after dead participants, drops
//! entries that expired and that nobody asks for, empties the store when somebody wished so for a
//! time that has come, tells who wants to hear of changed keys, and sends silent clients away.
//!
//! Promises: clients never wait for it longer than for one another. It ends when it is dropped.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, thread};

use morecore_store::Store;

use crate::log::Level;
use crate::shared::{Shared, now_ms};

/// Ten times a second, as often as Redis looks for expired keys (`hz`).
pub(crate) const EVERY: Duration = Duration::from_millis(100);

/// How often silent clients are looked for, in milliseconds: Redis too counts a timeout in whole
/// seconds.
const SWEEP_MS: u64 = 1000;

/// The thread.
pub(crate) struct Tidying {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Tidying {
    /// Starts it on a `Store` of its own.
    pub(crate) fn start(mut store: Store, shared: Arc<Shared>) -> io::Result<Self> {
        let (stop, stopped) = channel();
        let work = move || {
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                tidy(&mut store, &shared);
            }
        };
        let thread = thread::Builder::new().name("tidy".into()).spawn(work)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

/// Tidies once, and tells clients what others changed.
pub(crate) fn tidy(store: &mut Store, shared: &Shared) {
    shared.flush_if_due(now_ms(), || store.clear());
    // Before what has expired is dropped, which is a change of its shard.
    let told = shared.clients.exchange.tend(store, now_ms());
    let tidied = store.tidy();
    if let Err(error) = tidied.and(told) {
        shared.log.line(Level::Warning, format_args!("cannot tidy the store: {error}"));
    }
    sweep(shared, now_ms());
    shared.rates.measure(now_ms(), || shared.all_counts());
}

/// Once a second, sends away who has been silent for too long.
fn sweep(shared: &Shared, now_ms: u64) {
    let timeout_ms = shared.settings.timeout_s.load(Relaxed).saturating_mul(1000);
    if timeout_ms == 0 || now_ms.abs_diff(shared.swept_ms.load(Relaxed)) < SWEEP_MS {
        return;
    }
    shared.swept_ms.store(now_ms, Relaxed);
    let mut silent = Vec::new();
    shared.clients.each_with_id(|id, _, about| {
        if about.is_silent(now_ms, timeout_ms) {
            silent.push(id);
        }
    });
    silent.into_iter().for_each(|id| shared.clients.exchange.cut(id));
}

impl Drop for Tidying {
    fn drop(&mut self) {
        // Without its sender the channel ends, and so does the thread.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has ended the process, or its test already.
            let _ended = thread.join();
        }
    }
}
