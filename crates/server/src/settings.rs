//! The settings that CONFIG SET changes while the server runs.
//!
//! Promises: processes of one server see each other's changes.
//! Knows nothing of their names in CONFIG: `execute/config.rs` does.

use std::sync::atomic::Ordering::Relaxed;

use crate::options::Options;
use crate::shared::Count;
use crate::slow::PLACES;

/// From when on a command is slow, in microseconds, as in Redis.
const SLOW_US: i64 = 10_000;

/// The settings that can change.
#[derive(Debug)]
pub(crate) struct Settings {
    /// At most this many clients at once.
    pub(crate) clients_most: Count,
    /// From when on a command is slow, in microseconds; negative: none is. An `i64`.
    pub(crate) slow_us: Count,
    /// How many notices of slow commands are told.
    pub(crate) slow_notices_most: Count,
    /// Who is silent for so many seconds is sent away; 0 nobody.
    pub(crate) timeout_s: Count,
    /// The machines of those who come from now on are probed after so many silent seconds; 0 never.
    pub(crate) keep_alive_s: Count,
}

impl Settings {
    /// As they are at the start, in words of their own.
    pub(crate) fn new(options: &Options, mut word: impl FnMut() -> Count) -> Self {
        let settings = Self {
            clients_most: word(),
            slow_us: word(),
            slow_notices_most: word(),
            timeout_s: word(),
            keep_alive_s: word(),
        };
        settings.clients_most.store(options.clients_most.into(), Relaxed);
        settings.timeout_s.store(options.timeout_s.into(), Relaxed);
        settings.keep_alive_s.store(options.keep_alive_s.into(), Relaxed);
        settings.slow_us.store(SLOW_US.cast_unsigned(), Relaxed);
        settings.slow_notices_most.store(PLACES as u64, Relaxed);
        settings
    }
}
