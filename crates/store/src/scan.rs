//! Going through all entries, a stretch of hashes at a time.
//!
//! ```text
//!   0 ........ cursor ======== next .......................... 2^64
//!              a part of what one group holds, read in one piece
//! ```
//!
//! A group holds the entries of a stretch of hashes, and a cursor is a place in the row of all
//! hashes. However the table grows between two calls, the entries before the cursor were shown and
//! those behind it will be.
//!
//! Promises: an entry that stays throughout is shown exactly once.

use crate::bucket::Bucket;
use crate::layout::Plan;
use crate::payload::STUBS;
use crate::reader::{Reader, Reading};
use crate::table::{BUCKETS_LEAST, Group, directory_of};
use crate::view::Look;
use crate::{Error, Meta};

/// How many groups one call goes through at most, when they are empty.
const STRETCHES_MOST: u32 = 1024;

/// An entry, copied.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) key: Vec<u8>,
    pub(crate) meta: Meta,
}

/// The entries from a hash on, up to where they are about `count`.
struct Stretch {
    seed: u64,
    from: u64,
    count: u64,
    now: u64,
}

impl Reading for Stretch {
    /// The entries, and the first hash behind them; 0 at the end.
    type Out = (Vec<Shown>, u64);

    fn read(&mut self, look: &impl Look, plan: &Plan) -> Result<Self::Out, Error> {
        let shard_bits = plan.shard_bits();
        let Some(directory) = directory_of(look, plan, plan.shard_of(self.from))? else {
            return Ok((Vec::new(), end_of(self.from, shard_bits)));
        };
        let group = Group::from_word(look.read(directory.entry_at(plan, self.from))?)?;
        let Some(group) = group else {
            return Ok((Vec::new(), end_of(self.from, shard_bits + directory.depth)));
        };
        if group.depth > directory.depth {
            // Stretches would be so short that nobody sees the last one.
            return Err(Error::Damaged { what: "a group deeper than its directory", at: group.at });
        }
        // Each bit more of the hash halves what is shown.
        let entries_most = group.buckets + group.rows * STUBS;
        let parts = (entries_most / self.count.max(1)).max(1);
        let bits = (shard_bits + group.depth + parts.next_power_of_two().trailing_zeros()).min(63);
        let end = end_of(self.from, bits);
        let mut shown = Vec::with_capacity(BUCKETS_LEAST as usize);
        let mut place = 0;
        while place < group.places() {
            if let Some(bucket) = group.entry(look, place)?
                && self.wants(look, &bucket, end)?
            {
                let mut key = Vec::new();
                bucket.copy_key(look, &mut key)?;
                shown.push(Shown { key, meta: bucket.meta() });
            }
            place = group.next_place(place);
        }
        Ok((shown, end))
    }
}

impl Stretch {
    fn wants(&self, look: &impl Look, bucket: &Bucket, end: u64) -> Result<bool, Error> {
        if bucket.expiry() != 0 && bucket.expiry() <= self.now {
            return Ok(false);
        }
        let hash = bucket.hash(look, self.seed)?;
        Ok(hash >= self.from && (end == 0 || hash < end))
    }
}

/// The first hash with other `bits` highest bits than `hash`; 0 if there is none.
pub(crate) fn end_of(hash: u64, bits: u32) -> u64 {
    (hash | u64::MAX.checked_shr(bits).unwrap_or(0)).wrapping_add(1)
}

impl Reader<'_> {
    /// Shows entries from `cursor` on until there were `count`, and returns the next cursor; 0 at
    /// the end.
    pub(crate) fn scan(
        self,
        seed: u64,
        now: u64,
        cursor: u64,
        count: usize,
        mut each: impl FnMut(&[u8], Meta),
    ) -> Result<u64, Error> {
        let (mut from, mut shown) = (cursor, 0);
        for _ in 0..STRETCHES_MOST {
            let rest = count.saturating_sub(shown) as u64;
            let (entries, end) = self.stretch(seed, now, from, rest)?;
            shown += entries.len();
            for entry in &entries {
                each(&entry.key, entry.meta);
            }
            from = end;
            if end == 0 || shown >= count {
                break;
            }
        }
        Ok(from)
    }

    /// Returns the key of one of the entries that come next from a random hash on.
    pub(crate) fn random_key(
        self,
        seed: u64,
        now: u64,
        random: u64,
        key: &mut Vec<u8>,
    ) -> Result<bool, Error> {
        let (mut from, mut count) = (random, 1u64);
        let mut has_wrapped = false;
        loop {
            let (mut entries, end) = self.stretch(seed, now, from, count)?;
            if !entries.is_empty() {
                let index = random as usize % entries.len();
                key.extend_from_slice(&entries.swap_remove(index).key);
                return Ok(true);
            }
            if has_wrapped && (end == 0 || end > random) {
                return Ok(false);
            }
            has_wrapped |= end == 0;
            from = end;
            // Each stretch reads its whole group: in an empty table, that once is enough.
            count = count.saturating_mul(2);
        }
    }

    fn stretch(
        self,
        seed: u64,
        now: u64,
        from: u64,
        count: u64,
    ) -> Result<(Vec<Shown>, u64), Error> {
        let mut stretch = Stretch { seed, from, count, now };
        Ok(self.read(self.plan.shard_of(from), &mut stretch)?.0)
    }
}
