//! Who is attached, and is it alive?
//!
//! ```text
//!   identity   pid 22 | namespaces 20 | start time 22        0 = nobody
//! ```
//!
//! One word tells a process from all others, so that one compare-and-swap claims a slot whole: a
//! process can die before it or after it, but not in the middle.
//!
//! Promises: `is_dead` is true only if the process runs no more. A process of another pid namespace
//! counts as alive, for its number means nothing here; one of another time namespace, for its
//! start time does not; and one whose number was used again within the tick that it began in. Of
//! those `presence.rs` tells.
//! Source: proc_pid_stat(5); a pid is below 2^22 (PID_MAX_LIMIT in the kernel).

use std::sync::OnceLock;

use morecore_sys::process::{self, ForkWord};

use crate::Error;
use crate::atomic::{AtomicU64, Relaxed};

const PID_BITS: u32 = 22;
const NAMESPACE_BITS: u32 = 20;

/// 22 bits of a start time in ticks of 10 ms: it repeats after half a day, so a process that gets a
/// dead one's number is taken for it once in four million times, and then only waited for.
const START_BITS: u32 = 22;

const _: () = assert!(PID_BITS + NAMESPACE_BITS + START_BITS == 64);

/// A process, unlike any other of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity(pub(crate) u64);

impl Identity {
    pub(crate) const NOBODY: Self = Self(0);

    /// This process.
    fn find_own() -> Self {
        let pid = process::id();
        let start = process::stat(pid).map_or(0, |stat| stat.start);
        Self::new(pid, own_namespaces(), start)
    }

    fn new(pid: u32, namespace: u64, start: u64) -> Self {
        let namespace = namespace & ((1 << NAMESPACE_BITS) - 1);
        let start = start & ((1 << START_BITS) - 1);
        Self(u64::from(pid) | namespace << PID_BITS | start << (PID_BITS + NAMESPACE_BITS))
    }

    pub(crate) fn is_nobody(self) -> bool {
        self == Self::NOBODY
    }

    pub(crate) fn pid(self) -> u32 {
        (self.0 & ((1 << PID_BITS) - 1)) as u32
    }

    fn namespace(self) -> u64 {
        self.0 >> PID_BITS & ((1 << NAMESPACE_BITS) - 1)
    }

    fn start(self) -> u64 {
        self.0 >> (PID_BITS + NAMESPACE_BITS)
    }

    /// Whether this process surely runs no more, as `own` sees it.
    fn is_dead(self, own: Self) -> bool {
        if self == own || self.namespace() != own.namespace() {
            return false;
        }
        let meant = self.start();
        let is_same = |start: u64| meant == 0 || start & ((1 << START_BITS) - 1) == meant;
        !process::is_alive(self.pid(), is_same)
    }
}

/// The pid and the time namespace as one number. Inodes of namespaces are small and dense beside
/// the bits that count, so an odd factor keeps pairs apart.
fn own_namespaces() -> u64 {
    process::pid_namespace().wrapping_add(process::time_namespace().wrapping_mul(0x9e37))
}

/// Set in a process that knows its own identity; zero again in a child of fork.
static FORK_WORD: OnceLock<ForkWord> = OnceLock::new();

/// This process's identity, valid while the fork word is set.
static OWN: AtomicU64 = AtomicU64::new(0);

/// What a session knows of itself and of others.
#[derive(Debug)]
pub(crate) struct Me {
    pub(crate) identity: Identity,
    /// Processes that count as dead although they may live: a test's children that stand still.
    pub(crate) presumed_dead: Vec<u32>,
}

impl Me {
    /// This process.
    pub(crate) fn new(presumed_dead: Vec<u32>) -> Result<Self, Error> {
        if FORK_WORD.get().is_none() {
            let word = ForkWord::new()?;
            // Two threads may come here at once; the second's page is only one too many.
            let _ = FORK_WORD.set(word);
        }
        Ok(Self { identity: own(), presumed_dead })
    }

    /// Whether this value was made in this process, and not in one that forked it.
    #[inline]
    pub(crate) fn is_this_process(&self) -> bool {
        is_this_process(self.identity)
    }

    /// Whether `other`'s number means nothing here.
    pub(crate) fn is_foreign(&self, other: Identity) -> bool {
        !other.is_nobody() && other.namespace() != self.identity.namespace()
    }

    /// Whether `other` surely runs no more.
    pub(crate) fn knows_dead(&self, other: Identity) -> bool {
        !other.is_nobody()
            && (self.presumed_dead.contains(&other.pid()) || other.is_dead(self.identity))
    }
}

/// Whether an identity that this process, or one that forked it, found as its own is its own.
#[inline]
pub(crate) fn is_this_process(identity: Identity) -> bool {
    FORK_WORD.get().is_some_and(|word| word.get() == identity.pid())
}

/// The identity of this process, found anew in a child of fork.
fn own() -> Identity {
    let word = FORK_WORD.get().expect("set by whoever makes a `Me`");
    if word.get() == 0 {
        OWN.store(Identity::find_own().0, Relaxed);
        word.set(process::id());
    }
    Identity(OWN.load(Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_says_who_it_is() {
        let identity = Identity::new(4_194_303, 0xf000_0007, 0x12_3456_7890);
        assert_eq!((identity.pid(), identity.namespace()), (4_194_303, 7));
        assert_eq!(identity.start(), 0x3456_7890 & 0x3f_ffff);
    }

    #[test]
    fn a_process_is_dead_when_it_is_gone_or_another() {
        let me = Me::new(vec![]).unwrap();
        assert!(!me.knows_dead(me.identity));
        assert!(!me.knows_dead(Identity::NOBODY));
        let other_start = Identity(me.identity.0 ^ 1 << 63);
        assert!(me.knows_dead(other_start));
        let other_namespace = Identity(other_start.0 ^ 1 << PID_BITS);
        assert!(!me.knows_dead(other_namespace));
    }

    #[test]
    fn a_child_that_ended_is_dead() {
        let me = Me::new(vec![]).unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let start = process::stat(child.id()).unwrap().start;
        let identity = Identity::new(child.id(), own_namespaces(), start);
        child.wait().unwrap();
        assert!(me.knows_dead(identity));
    }
}
