//! Which keys were touched while somebody watches: what a look at the entry does not tell.
//!
//! ```text
//!   key --hash--> slot: how often a key of this slot was touched       SLOTS of them
//! ```
//!
//! An entry says by its version and expiry what it is. It does not say that it was not there, came
//! and went, nor that it was given the deadline that it has: that is counted here, by whoever
//! serves a client that does so while somebody watches, in whatever process of the server. While
//! nobody watches nothing is counted.
//!
//! Promises: a touch of a key that is watched is never overlooked. Another key of the same slot may
//! be taken for it, once in [`SLOTS`]: then EXEC says that something changed, and its client tries
//! again, as it must be ready to.
//! Knows nothing of what other servers and local processes touch.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use morecore_sys::Failed;
use morecore_sys::process::SharedWords;

use crate::shared::Count;

/// So many that a thousand touches during a watch hit its slot once in sixty-five times, and few
/// enough to be nothing beside a store: 512 KiB, of which pages that nobody touches take no memory.
const SLOTS: usize = 1 << 16;

/// The counts.
#[derive(Debug)]
pub(crate) struct Touches {
    slots: SharedWords,
}

/// A client that watches, as long as this lives.
#[derive(Debug)]
pub(crate) struct Watching(Count);

impl Touches {
    pub(crate) fn new() -> Result<Self, Failed> {
        Ok(Self { slots: SharedWords::new(SLOTS)? })
    }

    /// How often the slot of this key was touched.
    pub(crate) fn of(&self, key: &[u8]) -> u64 {
        // Acquire pairs with the Release in `touch`.
        self.slots[slot_of(key)].load(Acquire)
    }

    /// Counts a touch of this key.
    pub(crate) fn touch(&self, key: &[u8]) {
        // Release pairs with the Acquire in `of`: who sees that the key went sees that it came.
        self.slots[slot_of(key)].fetch_add(1, Release);
    }
}

impl Watching {
    /// One more watches, who is counted in `watchers`.
    pub(crate) fn begin(watchers: &Count) -> Self {
        // Acquire and Release, so that it is before the look at what is watched.
        watchers.fetch_add(1, AcqRel);
        Self(watchers.clone())
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        forget_one(&self.0);
    }
}

/// One watches no more. Whoever was killed is counted out by another, and that may happen twice: so
/// it never goes below nobody.
pub(crate) fn forget_one(watchers: &Count) {
    let less = |count: u64| count.checked_sub(1);
    // There is nobody left to be forgotten.
    let _nobody = watchers.fetch_update(Relaxed, Relaxed, less);
}

/// The slot of a key: the same in all processes, for the hasher has no secret.
fn slot_of(key: &[u8]) -> usize {
    let mut hasher = DefaultHasher::new();
    hasher.write(key);
    hasher.finish() as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_touch_is_seen_by_who_looks_behind_it() {
        let touches = Touches::new().unwrap();
        let before = touches.of(b"key");
        touches.touch(b"other");
        assert_eq!(touches.of(b"key"), before);
        touches.touch(b"key");
        assert_ne!(touches.of(b"key"), before);
    }

    #[test]
    fn who_watches_is_counted_while_it_does() {
        let watchers = Count::alone();
        let (one, two) = (Watching::begin(&watchers), Watching::begin(&watchers));
        assert_eq!(watchers.load(Relaxed), 2);
        drop(one);
        forget_one(&watchers);
        drop(two);
        assert_eq!(watchers.load(Relaxed), 0);
    }
}
