//! A bucket: one line of the cache, with a small entry whole.
//!
//! ```text
//!   word 0      kind 3 | flagged | key bytes 6 | value bytes 6 | unused 16 | version, low 32
//!   word 1      expiry in unix ms 44 (0 = never) | main | unused 3 | version, high 16
//!   words 2-7   the key, then the value, then the flags
//! ```
//!
//! Flags of 0 cost nothing; others take 4 of the 48 bytes, which `flagged` tells.
//!
//! Out of the table, the same type also holds an entry that has a payload (see `payload.rs`), with
//! its words 0 and 1 as above, and all that its head says:
//!
//! ```text
//!   word 2      offset of the payload 48 | flags, low 16
//!   word 3      value's bytes 48 | flags, high 16
//!   word 4      key's bytes
//!   word 5      offset of the key
//!   word 6      offset of the value
//! ```
//!
//! Knows nothing of where it stands: whether a bucket holds an entry at all, its mark tells
//! (`shelf.rs`).

use crate::atomic::{Acquire, AtomicU64, Relaxed};
use crate::hash::{hash, hash_of_ends};
use crate::layout::{BYTES_MOST, KEY_BYTES_MOST, WORD};
use crate::payload::Shape;
use crate::view::Look;
use crate::{Error, Meta};

/// The bytes of a bucket: a line of the cache, so that a small entry costs one miss.
pub(crate) const BUCKET_BYTES: u64 = 64;

/// What fits in words 2 to 7.
pub(crate) const INLINE_BYTES: usize = 48;

const KIND_MASK: u64 = 0x7;
/// Whether the flags stand behind an inline value.
const FLAGGED: u64 = 0x8;
const INLINE: u64 = 1;
const FLAGGED_INLINE: u64 = FLAGGED | INLINE;
const PAYLOAD: u64 = 2;
/// Where an inline entry says its key's length and its value's, in six bits each.
const KEY_BYTES_SHIFT: u32 = 4;
const VALUE_BYTES_SHIFT: u32 = 10;
const INLINE_BYTES_MASK: u64 = 0x3f;
const EXPIRY_MASK: u64 = (1 << 44) - 1;
/// Whether the entry was asked for again: then eviction counts it among the many that stay.
pub(crate) const MAIN: u64 = 1 << 44;
const VERSION_SHIFT: u32 = 48;

/// Bits 0 to 47 of words 2 and 3: no offset and no length in a store has more than 46.
const LOW_MASK: u64 = (1 << LOW_BITS) - 1;
const LOW_BITS: u32 = 48;
const _: () = assert!(BYTES_MOST <= LOW_MASK);

/// The bytes of an inline entry's flags.
const FLAGS_BYTES: usize = size_of::<u32>();

/// The latest expiry that a bucket can say: in the year 2527. Later ones mean this one.
pub(crate) const EXPIRY_MOST: u64 = EXPIRY_MASK;

/// A key that is looked for, prepared once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sought<'k> {
    pub(crate) key: &'k [u8],
    pub(crate) hash: u64,
    /// The key's first 48 bytes as words, padded with zeros.
    words: [u64; 6],
}

impl<'k> Sought<'k> {
    #[inline]
    pub(crate) fn new(seed: u64, key: &'k [u8]) -> Self {
        Self::hashed(hash(seed, key), key)
    }

    #[inline]
    pub(crate) fn hashed(hash: u64, key: &'k [u8]) -> Self {
        Self { key, hash, words: pack(key) }
    }
}

/// The first 48 bytes as words, padded with zeros. To copy a number of bytes that the compiler does
/// not know is a call; so whole words are read as such, and the rest out of the last whole word.
#[inline]
fn pack(bytes: &[u8]) -> [u64; 6] {
    let bytes = &bytes[..bytes.len().min(INLINE_BYTES)];
    let (chunks, rest) = bytes.as_chunks::<8>();
    let mut words = [0; 6];
    for (word, chunk) in words.iter_mut().zip(chunks) {
        *word = u64::from_le_bytes(*chunk);
    }
    if !rest.is_empty() {
        words[chunks.len()] = match bytes.last_chunk::<8>() {
            Some(last) => u64::from_le_bytes(*last) >> (64 - 8 * rest.len()),
            None => rest.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)),
        };
    }
    words
}

/// The eight words of a bucket, read or to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Bucket(pub(crate) [u64; 8]);

/// Where the value of an entry with a payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Payload {
    /// The payload's offset, as the heap gave it.
    pub(crate) at: u64,
    /// Where in it the value begins.
    pub(crate) value_at: u64,
    /// The value's length.
    pub(crate) value_bytes: u64,
}

impl Bucket {
    /// An entry that fits whole; `None` if it does not. The version is put in later.
    pub(crate) fn inline(key: &[u8], value: &[u8], flags: u32) -> Option<Self> {
        let bytes = key.len() + value.len();
        if bytes + if flags == 0 { 0 } else { FLAGS_BYTES } > INLINE_BYTES {
            return None;
        }
        let mut bucket = Self::default();
        let (key_bytes, value_bytes) = (key.len() as u64, value.len() as u64);
        bucket.0[0] = INLINE | key_bytes << KEY_BYTES_SHIFT | value_bytes << VALUE_BYTES_SHIFT;
        bucket.0[2..].copy_from_slice(&pack(key));
        bucket.put(key.len(), value);
        if flags != 0 {
            bucket.0[0] |= FLAGGED;
            bucket.put(bytes, &flags.to_le_bytes());
        }
        Some(bucket)
    }

    /// Puts bytes behind the first `at` of words 2 to 7, where nothing is yet: their words are
    /// shifted into place.
    #[inline]
    fn put(&mut self, at: usize, bytes: &[u8]) {
        let (first, shift) = (2 + at / 8, 8 * (at % 8) as u32);
        let count = bytes.len().div_ceil(8);
        for (index, word) in pack(bytes).into_iter().enumerate().take(count) {
            self.0[first + index] |= word << shift;
            if let Some(next) = self.0.get_mut(first + index + 1) {
                *next |= word.checked_shr(64 - shift).unwrap_or(0);
            }
        }
    }

    /// The word that begins behind the first `at` bytes of words 2 to 7; zeros behind the last.
    #[inline]
    fn word_from(&self, at: usize) -> u64 {
        let (first, shift) = (2 + at / 8, 8 * (at % 8) as u32);
        let low = self.0.get(first).map_or(0, |word| word >> shift);
        let next = self.0.get(first + 1).copied().unwrap_or(0);
        low | next.checked_shl(64 - shift).unwrap_or(0)
    }

    /// An entry whose key and value are in a payload.
    pub(crate) fn with_payload(payload: Payload, key: (u64, u64), flags: u32) -> Self {
        let (low, high) = (u64::from(flags & 0xffff), u64::from(flags >> 16));
        let Payload { at, value_at, value_bytes } = payload;
        let (key_at, key_bytes) = key;
        let (at, value) = (at | low << LOW_BITS, value_bytes | high << LOW_BITS);
        Self([PAYLOAD, 0, at, value, key_bytes, key_at, value_at, 0])
    }

    pub(crate) fn version(&self) -> u64 {
        version_of(self.0[0], self.0[1])
    }

    pub(crate) fn with_version(mut self, version: u64) -> Self {
        self.0[0] = (self.0[0] & 0xffff_ffff) | version << 32;
        self.0[1] = (self.0[1] & (EXPIRY_MASK | MAIN)) | (version >> 32) << VERSION_SHIFT;
        self
    }

    /// Whether it was asked for again since it came, or came back soon after it was dropped.
    pub(crate) fn is_main(&self) -> bool {
        self.0[1] & MAIN != 0
    }

    pub(crate) fn with_main(mut self, is_main: bool) -> Self {
        self.0[1] = Self::main_word(self.0[1] & !MAIN, is_main);
        self
    }

    /// Word 1 of an entry that becomes one of the main ones.
    pub(crate) fn main_word(word1: u64, is_main: bool) -> u64 {
        if is_main { word1 | MAIN } else { word1 }
    }

    /// Unix milliseconds; 0 = never.
    pub(crate) fn expiry(&self) -> u64 {
        expiry_of(self.0[1])
    }

    pub(crate) fn with_expiry(mut self, expiry: Option<u64>) -> Self {
        // An expiry of 0 would mean never: the first millisecond of 1970 stands for it.
        let expiry = expiry.map_or(0, |at| at.clamp(1, EXPIRY_MOST));
        self.0[1] = (self.0[1] & !EXPIRY_MASK) | expiry;
        self
    }

    pub(crate) fn key_bytes(&self) -> u64 {
        if self.is_inline() {
            return self.0[0] >> KEY_BYTES_SHIFT & INLINE_BYTES_MASK;
        }
        self.0[4]
    }

    pub(crate) fn value_bytes(&self) -> u64 {
        if self.is_inline() {
            return self.0[0] >> VALUE_BYTES_SHIFT & INLINE_BYTES_MASK;
        }
        self.0[3] & LOW_MASK
    }

    /// Does the entry stand whole in its bucket?
    #[inline]
    pub(crate) fn is_inline(&self) -> bool {
        self.0[0] & KIND_MASK == INLINE
    }

    /// What a client keeps beside its value.
    pub(crate) fn flags(&self) -> u32 {
        match self.0[0] & (KIND_MASK | FLAGGED) {
            INLINE => 0,
            // Cut to its lower half: what stands behind the flags is nothing.
            FLAGGED_INLINE => self.word_from(self.content_bytes() as usize) as u32,
            _ => (self.0[2] >> LOW_BITS | self.0[3] >> LOW_BITS << 16) as u32,
        }
    }

    /// Key and value together: what counts as content.
    pub(crate) fn content_bytes(&self) -> u64 {
        self.key_bytes().saturating_add(self.value_bytes())
    }

    pub(crate) fn meta(&self) -> Meta {
        let expiry = self.expiry();
        Meta {
            version: self.version(),
            expiry_ms: (expiry != 0).then_some(expiry),
            bytes: self.value_bytes(),
            flags: self.flags(),
        }
    }

    /// The payload, if the entry has one.
    pub(crate) fn payload(&self) -> Option<Payload> {
        let [word0, _, at, value, _, _, value_at, _] = self.0;
        let (at, value_bytes) = (at & LOW_MASK, value & LOW_MASK);
        (word0 & KIND_MASK == PAYLOAD).then_some(Payload { at, value_at, value_bytes })
    }

    /// Where the key of an entry with a payload stands.
    pub(crate) fn key_at(&self) -> u64 {
        self.0[5]
    }

    /// Is this the inline entry of the key?
    #[inline]
    pub(crate) fn is_of(&self, sought: &Sought<'_>) -> bool {
        sought.is_inline_in(self.0[0], |index| self.0[2 + index])
    }

    /// Appends the key.
    pub(crate) fn copy_key(&self, look: &impl Look, out: &mut Vec<u8>) -> Result<(), Error> {
        let count = self.key_bytes();
        match self.0[0] & KIND_MASK {
            INLINE if count as usize <= INLINE_BYTES => {
                out.extend_from_slice(&self.content()[..count as usize]);
                Ok(())
            }
            PAYLOAD if count <= KEY_BYTES_MOST => look.view().copy_out(self.key_at(), count, out),
            _ => Err(Error::Damaged { what: "a bucket of no kind", at: self.0[0] }),
        }
    }

    /// Appends the value of an inline entry; false if it has a payload.
    #[inline]
    pub(crate) fn copy_inline_value(&self, out: &mut Vec<u8>) -> bool {
        let (key, value) = (self.key_bytes() as usize, self.value_bytes() as usize);
        let is_inline = self.is_inline() && key + value <= INLINE_BYTES;
        if is_inline {
            out.extend_from_slice(&self.content()[key..key + value]);
        }
        is_inline
    }

    /// Returns the hash of the entry's key.
    pub(crate) fn hash(&self, look: &impl Look, seed: u64) -> Result<u64, Error> {
        let count = self.key_bytes() as usize;
        if self.is_inline() && count <= INLINE_BYTES {
            return Ok(hash(seed, &self.content()[..count]));
        }
        // Most keys need no memory of their own to be looked at.
        let mut key = [0; 64];
        if let Some(key) = key.get_mut(..count)
            && !self.is_inline()
        {
            look.view().copy_to(self.key_at(), key)?;
            return Ok(hash(seed, key));
        }
        let mut key = Vec::new();
        self.copy_key(look, &mut key)?;
        Ok(hash(seed, &key))
    }

    /// Words 2 to 7 as bytes.
    #[inline]
    fn content(&self) -> [u8; INLINE_BYTES] {
        let mut bytes = [0u8; INLINE_BYTES];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(&self.0[2..]) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

impl Sought<'_> {
    /// Is this the key of an inline entry whose word 0 is `word0`, and the words of whose content
    /// are what `word` says?
    #[inline(always)]
    pub(crate) fn is_inline_in(&self, word0: u64, word: impl Fn(usize) -> u64) -> bool {
        let count = self.key.len();
        if !says_inline_key_of(word0, count) {
            return false;
        }
        // All words at once, without a branch for each.
        let whole = count / 8;
        let mut differences = 0;
        for index in 0..whole.min(self.words.len()) {
            differences |= word(index) ^ self.words[index];
        }
        let rest = count % 8;
        if rest != 0 && whole < self.words.len() {
            differences |= (word(whole) ^ self.words[whole]) << (64 - 8 * rest);
        }
        differences == 0 && count <= INLINE_BYTES
    }
}

/// Whether word 0 says that this is an inline entry with a key of so many bytes.
#[inline(always)]
pub(crate) fn says_inline_key_of(word0: u64, count: usize) -> bool {
    let head = INLINE | (count as u64) << KEY_BYTES_SHIFT;
    word0 & (KIND_MASK | INLINE_BYTES_MASK << KEY_BYTES_SHIFT) == head
}

/// The same, of one without flags.
#[inline(always)]
pub(crate) fn says_plain_key_of(word0: u64, count: usize) -> bool {
    let head = INLINE | (count as u64) << KEY_BYTES_SHIFT;
    word0 & (KIND_MASK | FLAGGED | INLINE_BYTES_MASK << KEY_BYTES_SHIFT) == head
}

/// The hash of the key of the entry that stands whole in a line; `None` if none does.
#[inline(always)]
pub(crate) fn hash_of_line(seed: u64, line: &[AtomicU64; 8]) -> Option<u64> {
    // Acquire pairs with the Release of whoever wrote the entry: the rest is read behind this.
    let word0 = line[0].load(Acquire);
    let count = (word0 >> KEY_BYTES_SHIFT & INLINE_BYTES_MASK) as usize;
    if word0 & KIND_MASK != INLINE {
        return None;
    }
    if !(8..=16).contains(&count) {
        return Some(hash_of_other_line(seed, line));
    }
    let (first, next) = (line[2].load(Relaxed), line[3].load(Relaxed));
    // Where the last eight bytes begin.
    let last = match 8 * (count as u32 - 8) {
        0 => first,
        64 => next,
        shift => first >> shift | next << (64 - shift),
    };
    Some(hash_of_ends(seed, count, first, last))
}

#[cold]
fn hash_of_other_line(seed: u64, line: &[AtomicU64; 8]) -> u64 {
    let bucket = Bucket(std::array::from_fn(|number| line[number].load(Relaxed)));
    let count = (bucket.key_bytes() as usize).min(INLINE_BYTES);
    hash(seed, &bucket.content()[..count])
}

/// Whether the entry in a line has expired by `now`.
#[inline(always)]
pub(crate) fn has_expired_by(line: &[AtomicU64; 8], now: u64) -> bool {
    let expiry = expiry_of(line[1].load(Relaxed));
    expiry != 0 && expiry <= now
}

/// The version in words 0 and 1.
#[inline(always)]
pub(crate) fn version_of(word0: u64, word1: u64) -> u64 {
    word0 >> 32 | (word1 >> VERSION_SHIFT) << 32
}

/// The expiry in word 1: unix milliseconds; 0 = never.
#[inline(always)]
pub(crate) fn expiry_of(word1: u64) -> u64 {
    word1 & EXPIRY_MASK
}

/// The value's length in word 0 of an inline entry without flags; `None` for any other word.
#[inline(always)]
pub(crate) fn plain_value_bytes(word0: u64) -> Option<usize> {
    (word0 & (KIND_MASK | FLAGGED) == INLINE)
        .then_some((word0 >> VALUE_BYTES_SHIFT & INLINE_BYTES_MASK) as usize)
}

impl Meta {
    /// Whether the entry of `key` that this is known of stands whole in its bucket, without a
    /// payload.
    #[must_use]
    pub fn is_inline(&self, key: &[u8]) -> bool {
        let flags = if self.flags == 0 { 0 } else { FLAGS_BYTES as u64 };
        key.len() as u64 + self.bytes + flags <= INLINE_BYTES as u64
    }

    /// The bytes of that entry: its bucket, or its payload and its stub. What the heap rounds up is
    /// not counted.
    #[must_use]
    pub fn entry_bytes(&self, key: &[u8]) -> u64 {
        if self.is_inline(key) {
            return BUCKET_BYTES;
        }
        WORD + Shape::new(key.len() as u64, self.bytes, self.flags).bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inline_entry_keeps_what_it_is_given() {
        let bucket = Bucket::inline(b"key", b"value", 0).unwrap();
        let bucket = bucket.with_version(0xffff_1234_5678).with_expiry(Some(99));
        let mut value = Vec::new();
        assert!(bucket.copy_inline_value(&mut value));
        assert_eq!(value, b"value");
        let meta = Meta { version: 0xffff_1234_5678, expiry_ms: Some(99), bytes: 5, flags: 0 };
        assert_eq!((bucket.meta(), bucket.content_bytes()), (meta, 8));
    }

    #[test]
    fn forty_eight_bytes_fit_and_one_more_does_not() {
        assert!(Bucket::inline(&[1; 16], &[2; 32], 0).is_some());
        assert!(Bucket::inline(&[1; 16], &[2; 33], 0).is_none());
        assert!(Bucket::inline(&[1; 16], &[2; 28], 1).is_some());
        assert!(Bucket::inline(&[1; 16], &[2; 29], 1).is_none());
        assert!(Bucket::inline(&[], &[], 0).is_some_and(|bucket| bucket.is_inline()));
    }

    #[test]
    fn flags_stand_behind_an_inline_value_of_any_length() {
        for (key, value) in (0..=44).flat_map(|key| (0..=44 - key).map(move |value| (key, value))) {
            for flags in [1, 0x0102_0304, u32::MAX] {
                let bucket = Bucket::inline(&[0xff; 48][..key], &[0xee; 48][..value], flags);
                let bucket = bucket.unwrap().with_version(u64::MAX >> 16).with_expiry(Some(7));
                let mut found = Vec::new();
                assert!(bucket.copy_inline_value(&mut found));
                assert_eq!((found.as_slice(), bucket.meta().flags), (&[0xee; 48][..value], flags));
            }
        }
    }

    #[test]
    fn flags_share_the_words_of_offset_and_length() {
        let most = BYTES_MOST - 16;
        for flags in [0, 1, 0x8000, 0x1_0000, 0x8765_4321, u32::MAX] {
            let payload = Payload { at: most, value_at: most + 16, value_bytes: most };
            let bucket = Bucket::with_payload(payload, (most + 8, 8), flags);
            assert_eq!((bucket.payload(), bucket.meta().flags), (Some(payload), flags));
        }
    }

    #[test]
    fn a_key_finds_its_own_entry_and_no_other() {
        for count in 0..=48 {
            let key: Vec<u8> = (0..count as u8).collect();
            let bucket = Bucket::inline(&key, &[], 0).unwrap();
            assert!(bucket.is_of(&Sought::new(1, &key)), "{count}");
            for wrong in 0..count {
                let mut other = key.clone();
                other[wrong] ^= 0x80;
                assert!(!bucket.is_of(&Sought::new(1, &other)), "byte {wrong} of {count}");
            }
            let longer = [&key[..], &[0]].concat();
            assert!(!bucket.is_of(&Sought::new(1, &longer)), "{count}");
        }
    }
}
