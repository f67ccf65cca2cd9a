//! What clients of memcached met with, for the counts that `stats` tells one by one.
//!
//! Source: doc/protocol.txt of memcached 1.6.18.

/// What a command of memcached's met with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tally {
    TouchHit,
    TouchMiss,
    DeleteMiss,
    DeleteHit,
    IncrementMiss,
    IncrementHit,
    DecrementMiss,
    DecrementHit,
    CompareMiss,
    CompareHit,
    /// The entry had another version.
    CompareBad,
}

/// How many kinds there are.
pub(crate) const TALLIES: usize = 11;

impl Tally {
    /// What `stats` calls each, in their order.
    pub(crate) const NAMES: [&'static str; TALLIES] = [
        "touch_hits",
        "touch_misses",
        "delete_misses",
        "delete_hits",
        "incr_misses",
        "incr_hits",
        "decr_misses",
        "decr_hits",
        "cas_misses",
        "cas_hits",
        "cas_badval",
    ];
}
