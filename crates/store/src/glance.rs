//! A glance: the look-up that nearly every one is, in as few instructions as can be.
//!
//! ```text
//!   version even --> group --> home --> entry --> its value behind the caller's bytes
//!   version the same?   yes: the value counts      no, or anything else: `Reader::get_again`
//! ```
//!
//! The time of a look-up is that of its misses. A processor has several under way only if the next
//! look-up begins while this one waits, and it looks no further ahead than some hundred
//! instructions. So nothing here is done twice, nothing is called, and no branch depends on memory
//! that is not there yet but those that nearly always go the same way.
//!
//! Promises: as `reader.rs`. It gives up where a slower look-up has more to say: a shard that
//! changes, flags, and whatever is damaged.

use crate::Meta;
use crate::atomic::{Acquire, AtomicU64, Relaxed, fence};
use crate::bucket::{BUCKET_BYTES, Bucket, INLINE_BYTES, plain_value_bytes, says_inline_key_of};
use crate::layout::{WORD, shard};
use crate::payload::{self, Stub};
use crate::racy;
use crate::reader::{Reader, has_expired};
use crate::ring::Ring;
use crate::table::{Directory, Group, PLACES};

/// Where in a bucket the key begins.
const CONTENT_AT: u64 = 2 * WORD;

/// How many lines behind its home an entry is fetched from before it is known where it stands.
const FETCH_BEHIND: u64 = 2;

/// How many lines of a payload are fetched at once, before its length is known; the rest when it
/// is, and behind that the processor sees the pattern.
const FETCH_FIRST: u64 = 2;
const FETCH_MOST: u64 = 16;

/// The words of a line of the cache.
type Line = [AtomicU64; 8];

/// An entry as a glance finds it: its words 0 and 1, and where its value is.
struct Glimpse {
    bucket: Bucket,
    value_at: u64,
    value_bytes: usize,
}

impl Reader<'_> {
    /// Reads a key's entry that has not expired, and appends its value. `None`: it must be looked
    /// up again, and then nothing was appended.
    #[inline(always)]
    pub(crate) fn glance(
        self,
        hash: u64,
        key: &[u8],
        now_ms: &impl Fn() -> u64,
        value: &mut Vec<u8>,
    ) -> Option<Option<Meta>> {
        let shard_at = self.plan.shard_at(self.plan.shard_of(hash));
        let version = self.view.word(shard_at + shard::VERSION);
        // Acquire pairs with the Release of whoever made it even.
        let before = version.load(Acquire);
        if before & 1 != 0 {
            return None;
        }
        let directory = Directory::from_word(self.view.peek(shard_at + shard::DIRECTORY)?).ok()?;
        let group = match directory {
            Some(directory) => {
                let word = self.view.peek(directory.entry_at(self.plan, hash))?;
                Group::from_word(word).ok()?
            }
            None => None,
        };
        let glimpse = match group {
            Some(group) => self.seek(&group, hash, key)?,
            None => None,
        };
        if let Some(Glimpse { value_at, value_bytes, .. }) = glimpse {
            self.view.copy_behind(value_at, value_bytes, value)?;
        }
        // Pairs with the Release fence of `begin`: if we saw a word of a change, we see its odd
        // version now.
        fence(Acquire);
        if version.load(Relaxed) != before {
            return None;
        }
        let Some(Glimpse { bucket, value_bytes, .. }) = glimpse else { return Some(None) };
        if has_expired(&bucket, now_ms) {
            return Some(None);
        }
        // SAFETY: `copy_behind` filled as many bytes behind the old length.
        unsafe { value.set_len(value.len() + value_bytes) };
        Some(Some(Meta { bytes: value_bytes as u64, ..bucket.meta() }))
    }

    /// The entry of a key in a group; `None` of the outer kind: look again.
    #[inline(always)]
    fn seek(self, group: &Group, hash: u64, key: &[u8]) -> Option<Option<Glimpse>> {
        // The bounds once, for all that is read of the group.
        let lines = self.view.lines(group.at, group.lines())?;
        if group.rows != 0 && group.buckets != 0 {
            // On its way while the buckets are looked at.
            let ring = group.stubs();
            self.view.prefetch(ring.line_at(ring.home(hash)));
        }
        if group.buckets != 0 && key.len() <= INLINE_BYTES {
            let ring = group.whole();
            // Entries that do not stand in their home mostly stand right behind it: their lines
            // come together with that of the home, which says where they are.
            let home_at = ring.line_at(ring.home(hash));
            for line in 1..=FETCH_BEHIND {
                self.view.prefetch(home_at + line * BUCKET_BYTES);
            }
            let found = find_whole(lines.get(..ring.lines as usize)?, ring, hash, key)?;
            if let Some(index) = found {
                return self.glimpse(ring.line_at(index), lines.get(index as usize)?, key.len());
            }
        }
        if group.rows == 0 {
            return Some(None);
        }
        self.seek_stub(lines.get(group.buckets as usize..)?, group.stubs(), hash, key)
    }

    /// What a bucket holds, of which the key was found to be the one.
    #[inline(always)]
    fn glimpse(self, at: u64, line: &Line, key_bytes: usize) -> Option<Option<Glimpse>> {
        let mut bucket = Bucket::default();
        (bucket.0[0], bucket.0[1]) = (line[0].load(Relaxed), line[1].load(Relaxed));
        let value_bytes = plain_value_bytes(bucket.0[0])?;
        if key_bytes + value_bytes > INLINE_BYTES {
            return None;
        }
        let value_at = at + CONTENT_AT + key_bytes as u64;
        Some(Some(Glimpse { bucket, value_at, value_bytes }))
    }

    #[inline(always)]
    fn seek_stub(
        self,
        lines: &[Line],
        ring: Ring,
        hash: u64,
        key: &[u8],
    ) -> Option<Option<Glimpse>> {
        let home = ring.home(hash);
        let mut hop = Bucket::hop(lines.get(home as usize)?[0].load(Relaxed));
        while hop != 0 {
            let index = ring.after(home, u64::from(hop.trailing_zeros()));
            let line = lines.get(index as usize)?;
            let mut found = 0u32;
            for number in 1..PLACES {
                let stub = Stub(line[number as usize].load(Relaxed));
                found |= u32::from(stub.may_be_of(hash)) << number;
            }
            while found != 0 {
                let at = Stub(line[found.trailing_zeros() as usize].load(Relaxed)).at();
                if let Some(glimpse) = self.open(at, key)? {
                    return Some(Some(glimpse));
                }
                found &= found - 1;
            }
            hop &= hop - 1;
        }
        Some(None)
    }

    /// The entry in the payload at `at`, if it is that of the key.
    #[inline(always)]
    fn open(self, at: u64, key: &[u8]) -> Option<Option<Glimpse>> {
        for line in 1..FETCH_FIRST {
            self.view.prefetch(at + line * BUCKET_BYTES);
        }
        let bucket = payload::read(self.view, at).ok()?;
        let payload = bucket.payload()?;
        let lines = payload.value_bytes / BUCKET_BYTES;
        for line in FETCH_FIRST..lines.min(FETCH_MOST) + 1 {
            self.view.prefetch(at + line * BUCKET_BYTES);
        }
        let is_as_long = bucket.key_bytes() == key.len() as u64;
        if !is_as_long || !self.view.equals(bucket.key_at(), key).ok()? {
            return Some(None);
        }
        if payload.value_bytes > self.plan.value_bytes_most() {
            return None;
        }
        let (value_at, value_bytes) = (payload.value_at, payload.value_bytes as usize);
        Some(Some(Glimpse { bucket, value_at, value_bytes }))
    }
}

/// The index of the bucket with a key. `None` of the outer kind: look again.
#[inline(always)]
fn find_whole(lines: &[Line], ring: Ring, hash: u64, key: &[u8]) -> Option<Option<u64>> {
    let home = ring.home(hash);
    let mut hop = Bucket::hop(lines.get(home as usize)?[0].load(Relaxed));
    while hop != 0 {
        let index = ring.after(home, u64::from(hop.trailing_zeros()));
        if is_key_in(lines.get(index as usize)?, key) {
            return Some(Some(index));
        }
        hop &= hop - 1;
    }
    Some(None)
}

/// Whether a bucket is the inline entry of a key, of at most 48 bytes.
#[inline(always)]
fn is_key_in(line: &Line, key: &[u8]) -> bool {
    let says = says_inline_key_of(line[0].load(Relaxed), key.len());
    // Keys of the usual lengths are compared without a branch.
    match (key.first_chunk::<8>(), key.last_chunk::<8>()) {
        (Some(first), Some(last)) if key.len() <= 16 => {
            let (low, high) = (line[2].load(Relaxed), line[3].load(Relaxed));
            // The last eight bytes of those that the two words begin with.
            let shift = 8 * (key.len() as u32 - 8);
            let pair = u128::from(low) | u128::from(high) << 64;
            let differences = low ^ u64::from_le_bytes(*first);
            let differences = differences | (pair >> shift) as u64 ^ u64::from_le_bytes(*last);
            says & (differences == 0)
        }
        _ => {
            let content = line[2].as_ptr().cast::<u8>();
            // SAFETY: an inline key is no longer than the 48 bytes of words 2 to 7, as the caller
            // made sure; they are mapped as the line is.
            says && unsafe { racy::equals(content, key) }
        }
    }
}
