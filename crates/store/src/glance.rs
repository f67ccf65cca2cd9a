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
use crate::table::{Directory, Group, PLACES, Ring};

/// Where in a bucket the key begins.
const CONTENT_AT: u64 = 2 * WORD;

/// How many lines of a payload are fetched at once, before its length is known; the rest when it
/// is, and behind that the processor sees the pattern.
const FETCH_FIRST: u64 = 2;
const FETCH_MOST: u64 = 16;

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
        if group.rows != 0 {
            // On its way while the buckets are looked at.
            let ring = group.stubs();
            self.view.prefetch(ring.line_at(ring.home(hash)));
        }
        if group.buckets != 0 && key.len() <= INLINE_BYTES {
            let found = self.seek_whole(group.whole(), hash, key)?;
            if found.is_some() {
                return Some(found);
            }
        }
        if group.rows == 0 { Some(None) } else { self.seek_stub(group.stubs(), hash, key) }
    }

    #[inline(always)]
    fn seek_whole(self, ring: Ring, hash: u64, key: &[u8]) -> Option<Option<Glimpse>> {
        let home = ring.home(hash);
        let mut hop = Bucket::hop(self.view.peek(ring.line_at(home))?);
        while hop != 0 {
            let line_at = ring.line_at(ring.after(home, u64::from(hop.trailing_zeros())));
            let line = self.view.line(line_at)?;
            let word0 = line[0].load(Relaxed);
            if is_key_in(line, word0, key) {
                let key_bytes = key.len();
                let value_bytes = plain_value_bytes(word0)?;
                if key_bytes + value_bytes > INLINE_BYTES {
                    return None;
                }
                let mut bucket = Bucket::default();
                (bucket.0[0], bucket.0[1]) = (word0, line[1].load(Relaxed));
                let value_at = line_at + CONTENT_AT + key_bytes as u64;
                return Some(Some(Glimpse { bucket, value_at, value_bytes }));
            }
            hop &= hop - 1;
        }
        Some(None)
    }

    #[inline(always)]
    fn seek_stub(self, ring: Ring, hash: u64, key: &[u8]) -> Option<Option<Glimpse>> {
        let home = ring.home(hash);
        let mut hop = Bucket::hop(self.view.peek(ring.line_at(home))?);
        while hop != 0 {
            let line_at = ring.line_at(ring.after(home, u64::from(hop.trailing_zeros())));
            let line = self.view.line(line_at)?;
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

/// Whether a bucket is the inline entry of a key. Of the usual length it is compared without a
/// branch for each word.
#[inline(always)]
fn is_key_in(line: &[AtomicU64; 8], word0: u64, key: &[u8]) -> bool {
    if !says_inline_key_of(word0, key.len()) {
        return false;
    }
    let (words, rest) = key.as_chunks::<8>();
    if let ([first, second], []) = (words, rest) {
        let first = line[2].load(Relaxed) ^ u64::from_le_bytes(*first);
        let second = line[3].load(Relaxed) ^ u64::from_le_bytes(*second);
        return first | second == 0;
    }
    let content = line[2].as_ptr().cast::<u8>();
    // SAFETY: an inline key is no longer than the 48 bytes of words 2 to 7, which the caller made
    // sure of; they are mapped as the line is.
    unsafe { racy::equals(content, key) }
}
