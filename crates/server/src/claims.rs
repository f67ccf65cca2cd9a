//! Who is to make an entry anew: one client of memcached's is told that it won (`W`), all others
//! that another did (`Z`).
//!
//! ```text
//!   key and version --hash--> slot: a tag of both, once somebody won that state of the entry
//! ```
//!
//! Promises: of those who meet the same state of an entry one wins, whatever process serves them;
//! who puts it anew changes its version, and the next may win again. A claim is no lock: it is
//! forgotten where another entry's takes its slot, or with the server, and then a second client
//! wins, which costs its work and no truth.
//! Source: `ITEM_TOKEN_SENT` in the proto_text.c of memcached 1.6.18.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::sync::atomic::Ordering::Relaxed;

use morecore_sys::Failed;
use morecore_sys::process::SharedWords;

/// So many entries can be made anew at once with few of them forgotten: 128 KiB, of which pages
/// that nobody writes take no memory.
const SLOTS: usize = 1 << 14;

/// The claims; word 0 is not 0 once there was one.
#[derive(Debug)]
pub(crate) struct Claims {
    words: SharedWords,
}

impl Claims {
    pub(crate) fn new() -> Result<Self, Failed> {
        Ok(Self { words: SharedWords::new(1 + SLOTS)? })
    }

    /// Whether somebody has won this state of an entry.
    pub(crate) fn has(&self, key: &[u8], version: u64) -> bool {
        // Most servers never have one, and need not hash.
        if self.words[0].load(Relaxed) == 0 {
            return false;
        }
        let (slot, tag) = slot_and_tag(key, version);
        self.words[slot].load(Relaxed) == tag
    }

    /// Claims this state of an entry; returns whether who asks is the first. The word alone tells,
    /// so its order beside others does not matter.
    pub(crate) fn win(&self, key: &[u8], version: u64) -> bool {
        self.words[0].store(1, Relaxed);
        let (slot, tag) = slot_and_tag(key, version);
        self.words[slot].swap(tag, Relaxed) != tag
    }
}

/// Where a state of an entry is claimed, and by what word: never 0, which is no claim. The hasher
/// has no secret, so that all processes agree.
fn slot_and_tag(key: &[u8], version: u64) -> (usize, u64) {
    let mut hasher = DefaultHasher::new();
    hasher.write(key);
    hasher.write_u64(version);
    let tag = hasher.finish() | 1;
    (1 + (tag >> 32) as usize % SLOTS, tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wins_each_state() {
        let claims = Claims::new().unwrap();
        assert!(!claims.has(b"k", 1));
        assert!(claims.win(b"k", 1));
        assert!(claims.has(b"k", 1) && !claims.win(b"k", 1));
        assert!(!claims.has(b"k", 2) && !claims.has(b"j", 1));
        assert!(claims.win(b"k", 2));
    }
}
