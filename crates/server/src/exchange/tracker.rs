//! How one client is told of changed keys, and what it has to be told at the end of a pass.
//!
//! ```text
//!   a wish for prefixes: a pass begins, with the versions of all shards
//!     a client of ours changes a shard ------> it has the next version, and the key is told
//!     a shard is gone through ---------------> has it that version?  no: somebody else was there
//!   all are gone through: the pass ends; if somebody was there, all may have changed
//! ```
//!
//! Promises: what changed after a wish is told by its key, or all is told as changed.
//! Knows nothing of who tells, nor of what is in the store.

/// How much the version of a shard moves with one commit.
const COMMIT: u64 = 2;

/// How a client is told.
#[derive(Debug)]
pub(super) struct Tracker {
    /// Who is told instead.
    pub(super) redirect: Option<u64>,
    /// Whether not of its own changes.
    pub(super) is_no_loop: bool,
    /// The prefixes of the keys that it is told of; nothing: those that it reads.
    pub(super) prefixes: Option<Vec<Vec<u8>>>,
    /// Until all is known that has its prefixes.
    pub(super) pass: Option<Pass>,
}

/// What goes on between a wish and the time when all is known that it is about.
#[derive(Debug)]
pub(super) struct Pass {
    /// The version of each shard up to which all changes were told; nothing: it is known.
    told: Vec<Option<u64>>,
    left: usize,
    /// Whether something went untold.
    is_doubtful: bool,
}

impl Tracker {
    /// The prefix by which it is told of this key, if it is.
    pub(super) fn prefix_of(&self, key: &[u8]) -> Option<&[u8]> {
        match self.prefixes.as_deref()? {
            [] => Some(&[]),
            all => all.iter().map(Vec::as_slice).find(|prefix| key.starts_with(prefix)),
        }
    }

    /// Takes note that a change is told that moved a shard so, in so many commits at most. If
    /// somebody else moved it too, what was told is not all.
    pub(super) fn count_told(&mut self, shard: u32, [before, after]: [u64; 2], commits: u64) {
        let pass = self.pass.as_mut();
        let told = pass.and_then(|pass| pass.told.get_mut(shard as usize));
        if let Some(Some(told)) = told
            && *told == before
            && after <= before + commits * COMMIT
        {
            *told = after;
        }
    }

    /// Whether the shard was not gone through yet since the client wished to be told.
    pub(super) fn is_to_know(&self, shard: u32) -> bool {
        let of = |pass: &Pass| pass.told.get(shard as usize).copied().flatten();
        self.pass.as_ref().and_then(of).is_some()
    }

    /// Takes note that the shard is known as of this version; returns whether all shards are now,
    /// and something went untold.
    pub(super) fn count_known(&mut self, shard: u32, version: u64) -> bool {
        let Some(pass) = &mut self.pass else { return false };
        let Some(told) = pass.told.get_mut(shard as usize).and_then(Option::take) else {
            return false;
        };
        pass.is_doubtful |= told != version;
        pass.left -= 1;
        if pass.left > 0 {
            return false;
        }
        self.pass.take().is_some_and(|pass| pass.is_doubtful)
    }
}

impl Pass {
    /// It begins with these versions of all shards.
    pub(super) fn new(versions: impl Iterator<Item = u64>) -> Self {
        let told: Vec<Option<u64>> = versions.map(Some).collect();
        Self { left: told.len(), told, is_doubtful: false }
    }
}
