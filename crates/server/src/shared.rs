//! What every connection of a server shares: its options, its clients, what it counted.
//!
//! Promises: counting costs a thread a few plain additions to its own line of memory a turn, and
//! nothing that another thread could feel.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::clients::{Clients, locked};
use crate::log::Log;
use crate::options::Options;

/// What every connection of a server shares.
#[derive(Debug)]
pub(crate) struct Shared {
    /// What it was told; `threads` and `clients_most` are what it really has.
    pub(crate) options: Options,
    /// The TCP port that it got.
    pub(crate) port: Option<u16>,
    pub(crate) clients: Arc<Clients>,
    /// Clients that were let in, and clients that were sent away.
    pub(crate) connections: AtomicU64,
    pub(crate) rejected: AtomicU64,
    /// When memcached's `flush_all` with a delay is due, in unix milliseconds; 0: none is.
    pub(crate) flush_at_ms: AtomicU64,
    /// Where memcached's `stats reset` had the counters begin anew.
    counted_before: Mutex<Counts>,
    /// What each desk counted.
    pub(crate) totals: Box<[Totals]>,
    pub(crate) started_ms: u64,
    /// 40 hexadecimal digits that differ at each start.
    pub(crate) run_id: String,
    pub(crate) log: Log,
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
}

/// What one desk counted since the start: only it writes them, so that nobody has to lock a line;
/// a line pair of their own (two, because processors fetch pairs) keeps others' writes away.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Totals {
    pub(crate) commands: AtomicU64,
    pub(crate) refusals: AtomicU64,
    pub(crate) hits: AtomicU64,
    pub(crate) misses: AtomicU64,
    pub(crate) puts: AtomicU64,
    pub(crate) flushes: AtomicU64,
    pub(crate) in_bytes: AtomicU64,
    pub(crate) out_bytes: AtomicU64,
}

impl Shared {
    pub(crate) fn new(options: Options, port: Option<u16>, desks: usize) -> Self {
        let log = Log(options.log);
        Self {
            port,
            clients: Arc::new(Clients::new(options.buffer_bytes_most)),
            connections: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            flush_at_ms: AtomicU64::new(0),
            counted_before: Mutex::default(),
            totals: (0..desks).map(|_| Totals::default()).collect(),
            started_ms: now_ms(),
            run_id: run_id(),
            log,
            options,
        }
    }

    /// What was counted since the last [`Shared::reset_counts`].
    pub(crate) fn counts(&self) -> Counts {
        // In this order: what was counted only rises.
        let before = *locked(&self.counted_before);
        let all = self.all_counts();
        Counts {
            commands: all.commands - before.commands,
            refusals: all.refusals - before.refusals,
            hits: all.hits - before.hits,
            misses: all.misses - before.misses,
            puts: all.puts - before.puts,
            flushes: all.flushes - before.flushes,
            in_bytes: all.in_bytes - before.in_bytes,
            out_bytes: all.out_bytes - before.out_bytes,
        }
    }

    /// Has [`Shared::counts`] begin anew.
    pub(crate) fn reset_counts(&self) {
        *locked(&self.counted_before) = self.all_counts();
    }

    fn all_counts(&self) -> Counts {
        Counts {
            commands: self.sum(|totals| &totals.commands),
            refusals: self.sum(|totals| &totals.refusals),
            hits: self.sum(|totals| &totals.hits),
            misses: self.sum(|totals| &totals.misses),
            puts: self.sum(|totals| &totals.puts),
            flushes: self.sum(|totals| &totals.flushes),
            in_bytes: self.sum(|totals| &totals.in_bytes),
            out_bytes: self.sum(|totals| &totals.out_bytes),
        }
    }

    /// The sum of one count over all desks.
    pub(crate) fn sum(&self, of: impl Fn(&Totals) -> &AtomicU64) -> u64 {
        self.totals.iter().map(|totals| of(totals).load(Relaxed)).sum()
    }
}

impl Totals {
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
