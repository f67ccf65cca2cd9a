//! How the table grows: a group is rebuilt a quarter larger, or split in two.
//!
//! ```text
//!   claim fresh chunks --> fill them, unlogged --> publish: one directory word (or a few), and
//!                                                  the old group takes the new one's claim
//! ```
//!
//! Promises: readers see the old group or the new one; whoever dies meanwhile leaves the old one
//! and a claim. Entries that have expired are left behind.

use morecore_heap::Offset;

use crate::atomic::{Release, fence};
use crate::bucket::{BUCKET_BYTES, Bucket, HOP};
use crate::layout::{WORD, shard};
use crate::session::Session;
use crate::table::{
    BUCKETS_LEAST, BUCKETS_MOST, BUCKETS_SPLIT, DEPTH_MOST, Directory, Edit, Group, directory_of,
    group_of, prefix,
};
use crate::view::{Look, View};
use crate::{Error, Evict};

/// The most directory words that are changed in place, and the most payloads of expired entries
/// that are left behind at once: so many notes fit in any journal.
const WORDS_MOST: u64 = 64;

/// A chunk that nobody knows but us, written without the journal.
struct Fresh(View);

impl Look for Fresh {
    fn read(&self, at: u64) -> Result<u64, Error> {
        self.0.read(at)
    }

    fn read_line(&self, at: u64) -> Result<[u64; 8], Error> {
        self.0.read_line(at)
    }

    fn view(&self) -> &View {
        &self.0
    }
}

impl Edit for Fresh {
    fn write(&mut self, at: u64, value: u64) {
        self.0.store(at, value);
    }

    fn fill(&mut self, at: u64, value: u64) {
        self.0.store(at, value);
    }

    fn empties(&mut self) {}
}

/// What a group holds, on its way to another one.
#[derive(Default)]
struct Contents {
    live: Vec<(u64, Bucket)>,
    expired: Vec<(u64, Bucket)>,
}

/// A new group and the claim that keeps it until it is published.
type Built = (Group, u64);

impl Session {
    /// Makes place for one more entry of `hash`, whose shard is held: by growth, or, if there is no
    /// memory for that, by dropping an entry near its home.
    pub(crate) fn make_place(&mut self, hash: u64) -> Result<(), Error> {
        let claims = self.claims;
        let grown = self.grow(hash);
        if !self.open.is_empty() {
            self.undo();
        }
        // What was retired, and what was built in vain: nobody else holds the heap for long.
        self.free_claims(claims)?;
        if grown? { Ok(()) } else { self.drop_near(hash) }
    }

    /// Grows the group of a hash; false if there is no memory for it.
    fn grow(&mut self, hash: u64) -> Result<bool, Error> {
        let shard = self.plan.shard_of(hash);
        let Some(directory) = directory_of(&self.view, &self.plan, shard)? else {
            return self.found_directory(shard).map(|()| true);
        };
        let Some(group) = group_of(&self.view, &self.plan, hash)? else {
            return self.found_group(directory, hash).map(|()| true);
        };
        if group.buckets < BUCKETS_SPLIT || group.depth >= DEPTH_MOST {
            return self.enlarge(directory, &group, hash);
        }
        self.split(directory, &group, hash)
    }

    /// Gives a shard its first directory, of one word, and that a small group.
    fn found_directory(&mut self, shard: u64) -> Result<(), Error> {
        let (at, directory_claim) = self.claim_evicting(WORD, WORD)?;
        let (group_at, group_claim) =
            self.claim_evicting(BUCKETS_LEAST * BUCKET_BYTES, BUCKET_BYTES)?;
        let group = Group { at: group_at, buckets: BUCKETS_LEAST, depth: 0 };
        self.clear(&group);
        self.view.store(at, group.word());
        self.begin(&[shard]);
        let word_at = Offset(self.plan.shard_at(shard) + shard::DIRECTORY);
        self.core.write(word_at, Directory { at, depth: 0 }.word());
        self.publish(Some(directory_claim), None)?;
        self.publish(Some(group_claim), None)?;
        self.commit();
        Ok(())
    }

    /// Puts a small group where a directory has none.
    fn found_group(&mut self, directory: Directory, hash: u64) -> Result<(), Error> {
        let (at, claim) = self.claim_evicting(BUCKETS_LEAST * BUCKET_BYTES, BUCKET_BYTES)?;
        let group = Group { at, buckets: BUCKETS_LEAST, depth: directory.depth };
        self.clear(&group);
        self.begin(&[self.plan.shard_of(hash)]);
        self.core.write(Offset(directory.entry_at(&self.plan, hash)), group.word());
        self.publish(Some(claim), None)?;
        self.commit();
        Ok(())
    }

    /// Replaces a group by one a quarter larger; by one as large if it held much that has expired.
    fn enlarge(&mut self, directory: Directory, group: &Group, hash: u64) -> Result<bool, Error> {
        // The memory first: where there is none, nothing else needs to be done.
        let Some(mut fresh) = self.claim_group(group.buckets * 5 / 4, group.depth)? else {
            return Ok(false);
        };
        let contents = self.contents_of(group)?;
        if contents.expired.len() as u64 >= group.buckets / 8 {
            fresh.0.buckets = group.buckets;
        }
        let Some(built) = self.fill_or_enlarge(fresh, &contents.live)? else { return Ok(false) };
        self.replace_group(directory, group, &[built], &contents, hash)
    }

    /// Replaces a group by two, by the next bit of the hash.
    fn split(&mut self, directory: Directory, group: &Group, hash: u64) -> Result<bool, Error> {
        // A half, and a quarter of that more; both before anything else, as in `enlarge`.
        let buckets = group.buckets * 5 / 8;
        let Some(low) = self.claim_group(buckets, group.depth + 1)? else { return Ok(false) };
        let Some(high) = self.claim_group(buckets, group.depth + 1)? else { return Ok(false) };
        let contents = self.contents_of(group)?;
        let skip = self.plan.shard_bits() + group.depth;
        let (ones, zeros): (Vec<_>, Vec<_>) =
            contents.live.iter().partition(|(hash, _)| hash << skip >> 63 == 1);
        let Some(low) = self.fill_or_enlarge(low, &zeros)? else { return Ok(false) };
        let Some(high) = self.fill_or_enlarge(high, &ones)? else { return Ok(false) };
        self.replace_group(directory, group, &[low, high], &contents, hash)
    }

    /// Publishes what replaces a group, in the directory or in a copy of it.
    fn replace_group(
        &mut self,
        directory: Directory,
        group: &Group,
        built: &[Built],
        contents: &Contents,
        hash: u64,
    ) -> Result<bool, Error> {
        let depth = directory.depth.max(built[0].0.depth);
        let words = 1 << (directory.depth - group.depth);
        let copy = if depth > directory.depth || words > WORDS_MOST {
            let Some((at, claim)) = self.claim(WORD << depth, WORD)? else { return Ok(false) };
            let copy = Directory { at, depth };
            self.copy_directory(directory, copy)?;
            Some((copy, claim))
        } else {
            None
        };
        let first = prefix(hash << self.plan.shard_bits(), group.depth);
        let shard = self.plan.shard_of(hash);
        if let Some((copy, _)) = copy {
            for (at, word) in words_of(copy, first, group.depth, built) {
                self.view.store(at, word);
            }
        }
        // Pairs with the Acquire of readers who come by way of the published word.
        fence(Release);
        self.begin(&[shard]);
        match copy {
            Some((copy, claim)) => {
                let at = Offset(self.plan.shard_at(shard) + shard::DIRECTORY);
                self.core.write(at, copy.word());
                self.publish(Some(claim), Some(directory.at))?;
            }
            None => {
                for (at, word) in words_of(directory, first, group.depth, built) {
                    self.core.write(Offset(at), word);
                }
            }
        }
        self.publish(Some(built[0].1), Some(group.at))?;
        for (_, claim) in &built[1..] {
            self.publish(Some(*claim), None)?;
        }
        self.leave_behind(&contents.expired)?;
        self.commit();
        Ok(true)
    }

    /// Counts expired entries that were not taken along, and retires their payloads.
    fn leave_behind(&mut self, expired: &[(u64, Bucket)]) -> Result<(), Error> {
        for (hash, bucket) in expired {
            self.publish(None, bucket.payload().map(|payload| payload.at))?;
            self.count(*hash, -1, 0, bucket.content_bytes());
            self.tally(*hash, shard::EXPIRED);
        }
        Ok(())
    }

    /// Copies a directory into a fresh one, as deep or one deeper.
    fn copy_directory(&self, from: Directory, to: Directory) -> Result<(), Error> {
        let more = to.depth - from.depth;
        for index in 0..to.count() {
            let word = self.view.read(from.at + (index >> more) * WORD)?;
            self.view.store(to.at + index * WORD, word);
        }
        Ok(())
    }

    /// All entries of a group, with their hashes.
    fn contents_of(&self, group: &Group) -> Result<Contents, Error> {
        let mut contents = Contents::default();
        let now = self.now_ms();
        for index in 0..group.buckets {
            let bucket = Bucket(self.view.read_line(group.bucket_at(index))?);
            if bucket.is_empty() {
                continue;
            }
            let hash = bucket.hash(&self.view, self.seed)?;
            let has_expired = bucket.expiry() != 0 && bucket.expiry() <= now;
            if has_expired && (contents.expired.len() as u64) < WORDS_MOST {
                contents.expired.push((hash, bucket));
            } else {
                contents.live.push((hash, bucket));
            }
        }
        Ok(contents)
    }

    /// Claims the chunk of a group; `None` if there is no memory for it.
    fn claim_group(&mut self, buckets: u64, depth: u32) -> Result<Option<Built>, Error> {
        let claimed = self.claim(buckets * BUCKET_BYTES, BUCKET_BYTES)?;
        Ok(claimed.map(|(at, claim)| (Group { at, buckets, depth }, claim)))
    }

    /// Fills a fresh group; if an entry finds no place, a larger one instead, as rare hashes need.
    /// `None` if there is no memory for that.
    fn fill_or_enlarge(
        &mut self,
        fresh: Built,
        entries: &[(u64, Bucket)],
    ) -> Result<Option<Built>, Error> {
        let mut built = fresh;
        while !self.fill(&built.0, entries)? {
            let buckets = built.0.buckets * 5 / 4;
            if buckets > BUCKETS_MOST {
                return Ok(None);
            }
            // What was too small is freed with the other claims.
            let Some(larger) = self.claim_group(buckets, built.0.depth)? else { return Ok(None) };
            built = larger;
        }
        Ok(Some(built))
    }

    /// Puts entries into a fresh group; false if one finds no place.
    fn fill(&self, group: &Group, entries: &[(u64, Bucket)]) -> Result<bool, Error> {
        self.clear(group);
        let mut fresh = Fresh(self.view);
        for (hash, bucket) in entries {
            if !group.insert(&mut fresh, *hash, *bucket)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Empties a fresh group: the first word of a bucket says that all of it is.
    fn clear(&self, group: &Group) {
        for index in 0..group.buckets {
            self.view.store(group.bucket_at(index), 0);
        }
    }

    /// Drops an entry whose place a new one of `hash` can have.
    fn drop_near(&mut self, hash: u64) -> Result<(), Error> {
        let full = Error::Full { bytes: BUCKETS_LEAST * BUCKET_BYTES };
        let group = group_of(&self.view, &self.plan, hash)?;
        let (Some(group), Evict::Policy) = (group, self.evict) else { return Err(full) };
        let claims = self.claims;
        let Some(victim) = self.pick(&group, group.home(hash), HOP, false)? else {
            return Err(full);
        };
        self.drop_picked(&group, &victim)?;
        self.free_claims(claims)
    }
}

/// The words that lead to what replaces a group of `depth`, the `first`-th of that depth.
fn words_of(
    directory: Directory,
    first: u64,
    depth: u32,
    built: &[Built],
) -> impl Iterator<Item = (u64, u64)> {
    let count = 1u64 << (directory.depth - depth);
    let each = count / built.len() as u64;
    (0..count).map(move |index| {
        let (group, _) = built[(index / each) as usize];
        (directory.at + (first * count + index) * WORD, group.word())
    })
}
