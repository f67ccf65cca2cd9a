//! The longest set while a store grows from nothing.
//!
//! ```text
//!   | set | set | ========= a long one ========= | set |     by the wall
//!   |    the time of the processor for all of them    |     sent away? none took more than this
//! ```
//!
//! A set that takes long by the clock on the wall may have done nothing: its thread was sent away.
//! Of a stretch in which that happened no set took more than the processor's time of all.
//!
//! Promises: what is told as a set's own time is at least that.
//! Source: getrusage(2).

use std::time::{Duration, Instant};

use morecore_store::{Create, Evict, Set, Store};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

use super::draw::key;
use super::memory_bytes;
use super::setting::Content;
use crate::failure::Failure;

/// Sets between two looks at what the thread used: such a look takes about as long as one set.
const STRETCH: u32 = 64;

/// The longest set.
pub(super) struct Longest {
    /// By the clock on the wall.
    pub(super) wall: Duration,
    /// Without the time in which the thread was sent away.
    pub(super) own: Duration,
}

/// What this thread has used so far.
struct Used {
    processor: Duration,
    switches: i64,
}

impl Used {
    fn now() -> Result<Used, Failure> {
        let used = getrusage(UsageWho::RUSAGE_THREAD).map_err(std::io::Error::from)?;
        let duration = |time: TimeVal| {
            Duration::from_secs(time.tv_sec().unsigned_abs())
                + Duration::from_micros(time.tv_usec().unsigned_abs())
        };
        let switches = used.voluntary_context_switches() + used.involuntary_context_switches();
        Ok(Used { processor: duration(used.user_time()) + duration(used.system_time()), switches })
    }
}

/// Sets all items, one after the other, in a store of their own that begins empty.
pub(super) fn longest_set(content: Content, value: &[u8]) -> Result<Longest, Failure> {
    let memory_bytes = memory_bytes(content);
    let mut store = Store::anonymous(&Create { memory_bytes, mode: 0o600, evict: Evict::None })?;
    let mut longest = Longest { wall: Duration::ZERO, own: Duration::ZERO };
    for first in (0..content.items).step_by(STRETCH as usize) {
        let (before, mut wall) = (Used::now()?, Duration::ZERO);
        for number in first..first.saturating_add(STRETCH).min(content.items) {
            let begin = Instant::now();
            store.set(&key(number), value, &Set::default())?;
            wall = wall.max(begin.elapsed());
        }
        let after = Used::now()?;
        let used = after.processor.saturating_sub(before.processor);
        let own = if after.switches == before.switches { wall } else { wall.min(used) };
        longest.wall = longest.wall.max(wall);
        longest.own = longest.own.max(own);
    }
    Ok(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_set_takes_longer_of_its_own_than_by_the_wall() {
        let longest = longest_set(Content { items: 1000, value_bytes: 32 }, &[7; 32]).unwrap();
        assert!(longest.own <= longest.wall && !longest.wall.is_zero());
    }
}
