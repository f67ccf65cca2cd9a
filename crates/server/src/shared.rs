//! What every connection of a server shares: its options, its clients, what it counted.
//!
//! Promises: counting costs a thread a few plain additions to its own line of memory a turn, and
//! nothing that another thread could feel.

use std::array::from_fn;
use std::hash::{BuildHasher, RandomState};
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use morecore_sys::Failed;
use morecore_sys::process::SharedWords;
use morecore_sys::ready::Waker;

use crate::board::Board;
use crate::claims::Claims;
use crate::clients::Clients;
use crate::exchange::Words;
use crate::fillers::Fillers;
use crate::log::Log;
use crate::measures::Measures;
use crate::options::{Model, Options};
use crate::password::Password;
use crate::rates::Rates;
use crate::settings::Settings;
use crate::slow::SlowLog;
use crate::tally::TALLIES;
use crate::touches::Touches;

/// Words that one thread or process counts in, 256 bytes: two pairs of lines, because processors
/// fetch pairs.
const BLOCK: usize = 32;

/// What every connection of a server shares.
#[derive(Debug)]
pub(crate) struct Shared {
    /// What it was told; `threads` and `clients_most` are what it really has.
    pub(crate) options: Options,
    /// The TCP port that it got.
    pub(crate) port: Option<u16>,
    pub(crate) clients: Arc<Clients>,
    /// Clients that were let in, and clients that were sent away.
    pub(crate) connections: Count,
    pub(crate) rejected: Count,
    /// When memcached's `flush_all` with a delay is due, in unix milliseconds; 0: none is.
    pub(crate) flush_at_ms: Count,
    /// Whether SHUTDOWN was asked for.
    pub(crate) is_stopping: Count,
    pub(crate) settings: Settings,
    pub(crate) password: Password,
    /// When silent clients were last looked for, in unix milliseconds.
    pub(crate) swept_ms: Count,
    pub(crate) rates: Rates,
    pub(crate) slow_log: SlowLog,
    pub(crate) measures: Measures,
    pub(crate) touches: Touches,
    pub(crate) claims: Claims,
    pub(crate) fillers: Arc<Fillers>,
    /// What wakes the thread that lets clients in, once there is one.
    pub(crate) stop: OnceLock<Arc<Waker>>,
    /// What the counters said when memcached's `stats reset` had them begin anew.
    counted_before: Totals,
    /// What each desk counted.
    pub(crate) totals: Box<[Totals]>,
    pub(crate) started_ms: u64,
    /// 40 hexadecimal digits that differ at each start.
    pub(crate) run_id: String,
    pub(crate) log: Log,
}

/// A word that all processes of the server share.
#[derive(Clone, Debug)]
pub(crate) struct Count {
    words: Arc<SharedWords>,
    at: usize,
}

/// What a thread counted in one turn.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) commands: u64,
    pub(crate) refusals: u64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    /// Values that clients of memcached put, and their calls of `flush_all`.
    pub(crate) puts: u64,
    pub(crate) flushes: u64,
    pub(crate) in_bytes: u64,
    pub(crate) out_bytes: u64,
    /// What clients of memcached met with, by [`Tally`].
    pub(crate) tallies: [u64; TALLIES],
}

/// What one desk counted since the start: only it writes them, so that nobody has to lock a line;
/// [`BLOCK`] words of their own keep others' writes away.
#[derive(Debug)]
pub(crate) struct Totals {
    pub(crate) commands: Count,
    pub(crate) refusals: Count,
    pub(crate) hits: Count,
    pub(crate) misses: Count,
    pub(crate) puts: Count,
    pub(crate) flushes: Count,
    pub(crate) in_bytes: Count,
    pub(crate) out_bytes: Count,
    pub(crate) tallies: [Count; TALLIES],
}

impl Shared {
    pub(crate) fn new(options: Options, port: Option<u16>, desks: usize) -> Result<Self, Failed> {
        let words = Arc::new(SharedWords::new((2 + desks) * BLOCK)?);
        let board = match options.model {
            Model::Process => Some(Board::new(desks)?),
            Model::Epoll | Model::Select | Model::Thread | Model::Uring => None,
        };
        let mut at = 0..;
        let mut count = || Count { words: Arc::clone(&words), at: at.next().unwrap_or_default() };
        let log = Log::new(options.log, count());
        let exchange = Words {
            attention: count(),
            watchers: count(),
            tracked: [count(), count(), count()],
            heard: [count(), count(), count()],
            tracked_keys_most: count(),
            notices: count(),
            measures: count(),
        };
        exchange.measures.store(options.is_measuring.into(), Relaxed);
        Ok(Self {
            port,
            clients: Arc::new(Clients::new(
                options.buffer_bytes_most,
                board,
                exchange,
                log.clone(),
            )),
            connections: count(),
            rejected: count(),
            flush_at_ms: count(),
            is_stopping: count(),
            settings: Settings::new(&options, &mut count),
            password: Password::new(options.password.clone())?,
            swept_ms: count(),
            rates: Rates::new(now_ms(), &mut count),
            slow_log: SlowLog::new()?,
            measures: Measures::new()?,
            touches: Touches::new()?,
            claims: Claims::new()?,
            fillers: Arc::default(),
            stop: OnceLock::new(),
            counted_before: Totals::new(&words, (1 + desks) * BLOCK),
            totals: (1..=desks).map(|desk| Totals::new(&words, desk * BLOCK)).collect(),
            started_ms: now_ms(),
            run_id: run_id(),
            log,
            options,
        })
    }

    /// Has the server stop, as SIGTERM does.
    pub(crate) fn ask_to_stop(&self) {
        self.is_stopping.store(1, Relaxed);
        // A child has no waker of its parent's: its end wakes that.
        if let Some(stop) = self.stop.get() {
            stop.wake();
        }
    }

    /// Has `clear` remove every entry, if somebody wished so for a time that has come; only one
    /// caller does.
    #[inline]
    pub(crate) fn flush_if_due(
        &self,
        now_ms: u64,
        clear: impl FnOnce() -> Result<(), morecore_store::Error>,
    ) {
        let at_ms = self.flush_at_ms.load(Relaxed);
        if at_ms == 0 || at_ms > now_ms {
            return;
        }
        let due = &self.flush_at_ms;
        if due.compare_exchange(at_ms, 0, Relaxed, Relaxed).is_ok() && clear().is_err() {
            // A stopped process holds a part of the store: the next turn tries again, unless there
            // is a later wish.
            let _later = due.compare_exchange(0, at_ms, Relaxed, Relaxed);
        }
    }

    /// What was counted since the last [`Shared::reset_counts`].
    pub(crate) fn counts(&self) -> Counts {
        let (all, before) = (self.all_counts(), &self.counted_before);
        // Another may have them begin anew between these reads.
        let since = |all: u64, before: &Count| all.saturating_sub(before.load(Relaxed));
        Counts {
            commands: since(all.commands, &before.commands),
            refusals: since(all.refusals, &before.refusals),
            hits: since(all.hits, &before.hits),
            misses: since(all.misses, &before.misses),
            puts: since(all.puts, &before.puts),
            flushes: since(all.flushes, &before.flushes),
            in_bytes: since(all.in_bytes, &before.in_bytes),
            out_bytes: since(all.out_bytes, &before.out_bytes),
            tallies: from_fn(|kind| since(all.tallies[kind], &before.tallies[kind])),
        }
    }

    /// Has [`Shared::counts`] begin anew.
    pub(crate) fn reset_counts(&self) {
        let (all, before) = (self.all_counts(), &self.counted_before);
        for (before, all) in [
            (&before.commands, all.commands),
            (&before.refusals, all.refusals),
            (&before.hits, all.hits),
            (&before.misses, all.misses),
            (&before.puts, all.puts),
            (&before.flushes, all.flushes),
            (&before.in_bytes, all.in_bytes),
            (&before.out_bytes, all.out_bytes),
        ] {
            before.store(all, Relaxed);
        }
        for (before, all) in before.tallies.iter().zip(all.tallies) {
            before.store(all, Relaxed);
        }
    }

    /// What was counted since the start.
    pub(crate) fn all_counts(&self) -> Counts {
        Counts {
            commands: self.sum(|totals| &totals.commands),
            refusals: self.sum(|totals| &totals.refusals),
            hits: self.sum(|totals| &totals.hits),
            misses: self.sum(|totals| &totals.misses),
            puts: self.sum(|totals| &totals.puts),
            flushes: self.sum(|totals| &totals.flushes),
            in_bytes: self.sum(|totals| &totals.in_bytes),
            out_bytes: self.sum(|totals| &totals.out_bytes),
            tallies: from_fn(|kind| self.sum(|totals| &totals.tallies[kind])),
        }
    }

    /// The sum of one count over all desks.
    pub(crate) fn sum(&self, of: impl Fn(&Totals) -> &AtomicU64) -> u64 {
        self.totals.iter().map(|totals| of(totals).load(Relaxed)).sum()
    }
}

#[cfg(test)]
impl Words {
    /// Words that nobody shares.
    pub(crate) fn alone() -> Self {
        let count = Count::alone;
        Self {
            attention: count(),
            watchers: count(),
            tracked: [count(), count(), count()],
            heard: [count(), count(), count()],
            tracked_keys_most: count(),
            notices: count(),
            measures: count(),
        }
    }
}

#[cfg(test)]
impl Count {
    /// A word that nobody shares.
    pub(crate) fn alone() -> Self {
        Self { words: Arc::new(SharedWords::new(1).expect("a test has a page")), at: 0 }
    }
}

impl Deref for Count {
    type Target = AtomicU64;

    fn deref(&self) -> &AtomicU64 {
        &self.words[self.at]
    }
}

impl Totals {
    fn new(words: &Arc<SharedWords>, from: usize) -> Self {
        let count = |index| Count { words: Arc::clone(words), at: from + index };
        Self {
            commands: count(0),
            refusals: count(1),
            hits: count(2),
            misses: count(3),
            puts: count(4),
            flushes: count(5),
            in_bytes: count(6),
            out_bytes: count(7),
            tallies: from_fn(|kind| count(8 + kind)),
        }
    }

    /// Adds what the desk counted, and has it begin anew.
    pub(crate) fn add(&self, counts: &mut Counts) {
        // These are only told to people; nothing is decided by them, so Relaxed is enough.
        for (total, count) in [
            (&self.commands, counts.commands),
            (&self.refusals, counts.refusals),
            (&self.hits, counts.hits),
            (&self.misses, counts.misses),
            (&self.puts, counts.puts),
            (&self.flushes, counts.flushes),
            (&self.in_bytes, counts.in_bytes),
            (&self.out_bytes, counts.out_bytes),
        ] {
            if count > 0 {
                total.store(total.load(Relaxed) + count, Relaxed);
            }
        }
        for (total, count) in self.tallies.iter().zip(counts.tallies) {
            if count > 0 {
                total.store(total.load(Relaxed) + count, Relaxed);
            }
        }
        *counts = Counts::default();
    }
}

/// The time, in unix milliseconds. A clock before 1970 counts as 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// 160 random bits, from the keys that the standard library draws for its hash maps.
fn run_id() -> String {
    let random = || RandomState::new().hash_one(0_u8);
    format!("{:016x}{:016x}{:08x}", random(), random(), random() >> 32)
}
