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

use crate::bucket::{BUCKET_BYTES, Bucket};
use crate::layout::{Plan, WORD};
use crate::payload::{self, KEY_AT, STUBS, ShortHead, Stub};
use crate::racy;
use crate::reader::{Reader, Reading};
use crate::shelf::SHELF;
use crate::table::{Group, directory_of};
use crate::view::Look;
use crate::{Error, Meta};

/// How many groups one call goes through at most, when they are empty.
const STRETCHES_MOST: u32 = 1024;

/// How many payloads are fetched ahead: as many misses as a core has under way at once, and a few
/// more, for some keys are a second line.
const PREFETCH_STUBS: usize = 24;

/// Entries, copied: the keys byte behind byte.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    keys: Vec<u8>,
    /// Where each key ends.
    entries: Vec<(usize, Meta)>,
}

impl Shown {
    fn iter(&self) -> impl Iterator<Item = (&[u8], Meta)> {
        let mut begin = 0;
        self.entries.iter().map(move |&(end, meta)| {
            let key = &self.keys[begin..end];
            begin = end;
            (key, meta)
        })
    }
}

/// The entries from a hash on, up to where they are about `count`.
#[derive(Debug, Default)]
struct Stretch {
    seed: u64,
    from: u64,
    count: u64,
    now: u64,
    /// Up to which hash; 0 = the last one too.
    end: u64,
    /// Whether all that a group holds is in the stretch: then no hash is asked for.
    is_whole: bool,
    shown: Shown,
    stubs: Vec<Stub>,
    /// How far into its payload the last key reached.
    reach: u64,
}

impl Reading for Stretch {
    /// The first hash behind the entries; 0 at the end.
    type Out = u64;

    fn read(&mut self, look: &impl Look, plan: &Plan) -> Result<u64, Error> {
        self.shown.keys.clear();
        self.shown.entries.clear();
        let shard_bits = plan.shard_bits();
        let Some(directory) = directory_of(look, plan, plan.shard_of(self.from))? else {
            return Ok(end_of(self.from, shard_bits));
        };
        let group = Group::from_word(look.read(directory.entry_at(plan, self.from))?)?;
        let Some(group) = group else {
            return Ok(end_of(self.from, shard_bits + directory.depth));
        };
        if group.depth > directory.depth {
            // Stretches would be so short that nobody sees the last one.
            return Err(Error::Damaged { what: "a group deeper than its directory", at: group.at });
        }
        // Each bit more of the hash halves what is shown.
        let entries_most = group.buckets + group.rows * STUBS;
        let parts = (entries_most / self.count.max(1)).max(1).next_power_of_two();
        let bits = shard_bits + group.depth;
        self.end = end_of(self.from, (bits + parts.trailing_zeros()).min(63));
        self.is_whole = parts == 1 && self.from & end_of(0, bits).wrapping_sub(1) == 0;
        self.show_buckets(look, &group)?;
        self.show_payloads(look, &group)?;
        Ok(self.end)
    }
}

impl Stretch {
    fn show_buckets(&mut self, look: &impl Look, group: &Group) -> Result<(), Error> {
        let shelves = group.whole();
        for shelf in 0..shelves.count() {
            let mut used = shelves.used_on(look, shelf)?;
            while used != 0 {
                let index = shelf * SHELF + u64::from(used.trailing_zeros());
                self.show(look, &shelves.bucket(look, index)?)?;
                used &= used - 1;
            }
        }
        Ok(())
    }

    /// The keys stand in the payloads, somewhere in memory: those of later ones are on their way
    /// while earlier ones are read.
    fn show_payloads(&mut self, look: &impl Look, group: &Group) -> Result<(), Error> {
        let (ring, mut stubs) = (group.stubs(), std::mem::take(&mut self.stubs));
        stubs.clear();
        for index in 0..group.rows {
            let row = look.read_line(ring.line_at(index))?;
            stubs.extend(row[1..].iter().filter(|&&word| word != 0).map(|&word| Stub(word)));
        }
        // A second line only if keys as long as the last one reach into it: keys are mostly alike.
        let fetch = |stub: &Stub, reach: u64| {
            look.view().prefetch(stub.at());
            if stub.at() % BUCKET_BYTES + reach > BUCKET_BYTES {
                look.view().prefetch(stub.at() + reach - 1);
            }
        };
        let mut reach = self.reach;
        stubs.iter().take(PREFETCH_STUBS).for_each(|stub| fetch(stub, reach));
        for (index, stub) in stubs.iter().enumerate() {
            if let Some(later) = stubs.get(index + PREFETCH_STUBS) {
                fetch(later, reach);
            }
            reach = self.show_payload(look, stub.at())?;
        }
        self.reach = reach;
        self.stubs = stubs;
        Ok(())
    }

    /// Copies the entry in a payload if it is one of the stretch; returns how far its key reaches.
    /// Most have a short head and are wanted, whatever their hash: for them nothing is asked that
    /// is not told.
    #[inline]
    fn show_payload(&mut self, look: &impl Look, at: u64) -> Result<u64, Error> {
        let head = ShortHead::new(look.read(at)?, look.read(at + WORD)?);
        let Some(head) = head.filter(|head| self.is_whole && head.expiry == 0) else {
            let bucket = payload::read(look, at)?;
            self.show(look, &bucket)?;
            return Ok(bucket.key_at() + bucket.key_bytes() - at);
        };
        let Some(key) = look.view().shared(at + KEY_AT, head.key_bytes) else {
            return Err(Error::Damaged { what: "a key out of bounds", at });
        };
        racy::copy_behind(key, &mut self.shown.keys);
        let end = self.shown.keys.len() + key.len();
        // SAFETY: `copy_behind` filled as many bytes behind the old length.
        unsafe { self.shown.keys.set_len(end) };
        let (version, bytes) = (head.version, head.value_bytes);
        self.shown.entries.push((end, Meta { version, expiry_ms: None, bytes, flags: 0 }));
        Ok(KEY_AT + head.key_bytes)
    }

    /// Copies an entry if it is one of the stretch.
    fn show(&mut self, look: &impl Look, bucket: &Bucket) -> Result<(), Error> {
        if bucket.expiry() != 0 && bucket.expiry() <= self.now {
            return Ok(());
        }
        if !self.is_whole {
            let hash = bucket.hash(look, self.seed)?;
            if hash < self.from || self.end != 0 && hash >= self.end {
                return Ok(());
            }
        }
        bucket.copy_key(look, &mut self.shown.keys)?;
        self.shown.entries.push((self.shown.keys.len(), bucket.meta()));
        Ok(())
    }
}

/// The first hash with other `bits` highest bits than `hash`; 0 if there is none.
pub(crate) fn end_of(hash: u64, bits: u32) -> u64 {
    (hash | u64::MAX.checked_shr(bits).unwrap_or(0)).wrapping_add(1)
}

impl Reader<'_> {
    /// Shows entries from `cursor` on until there were `count`, and at most about as many more;
    /// returns the next cursor, 0 at the end.
    pub(crate) fn scan(
        self,
        seed: u64,
        now: u64,
        cursor: u64,
        count: usize,
        mut each: impl FnMut(&[u8], Meta),
    ) -> Result<u64, Error> {
        let (mut from, mut shown) = (cursor, 0);
        let mut stretch = Stretch { seed, now, ..Stretch::default() };
        for _ in 0..STRETCHES_MOST {
            // Not what is left of the count: to show a part of a group is to look at all of it.
            (stretch.from, stretch.count) = (from, count as u64);
            let (end, _) = self.read(self.plan.shard_of(from), &mut stretch)?;
            shown += stretch.shown.entries.len();
            stretch.shown.iter().for_each(|(key, meta)| each(key, meta));
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
        let mut stretch = Stretch { seed, now, from: random, count: 1, ..Stretch::default() };
        let mut has_wrapped = false;
        loop {
            let (end, _) = self.read(self.plan.shard_of(stretch.from), &mut stretch)?;
            let count = stretch.shown.entries.len();
            if count != 0 {
                let found = stretch.shown.iter().nth(random as usize % count);
                key.extend_from_slice(found.map_or(&[], |(key, _)| key));
                return Ok(true);
            }
            if has_wrapped && (end == 0 || end > random) {
                return Ok(false);
            }
            has_wrapped |= end == 0;
            stretch.from = end;
            // Each stretch reads its whole group: in an empty table, that once is enough.
            stretch.count = stretch.count.saturating_mul(2);
        }
    }
}
