//! A bucket: one line of the cache, with a small entry whole, or a large one's address.
//!
//! ```text
//!   word 0   kind 3 | flagged | key bytes 6 | value bytes 6 | hop 16 | version, low 32
//!   word 1   expiry in unix ms 44 (0 = never) | main | unused 3 | version, high 16
//!
//!            inline            key in the bucket     key in the payload
//!   word 2   key, then value,  offset of payload     offset of payload     (48 bits, and above
//!   word 3   then flags        value's bytes         value's bytes          them 16 of the flags)
//!   word 4       "             key's bytes | hash    key's bytes | hash    (32 bits each)
//!   word 5       "             key                   the whole hash
//!   word 6       "               "                   unused
//!   word 7       "               "                   unused
//! ```
//!
//!   payload: the whole hash 64 | the key, if it is not in the bucket | value      each in words
//!
//! Flags of 0 cost nothing; others take 4 of the 48 bytes of an inline entry, which `flagged`
//! tells, and stand in an entry with a payload where no offset and no length reaches.
//!
//! The hop belongs to the place, not to the entry: bit d says that the bucket d places further on
//! holds an entry whose home is here. So a look-up reads the home, and then only buckets with
//! entries of this home, at most 15 places away.
//!
//! Promises: a bucket of kind 0 is empty, and then its other words mean nothing.
//! Source: M. Herlihy, N. Shavit, M. Tzafrir, Hopscotch Hashing, 2008.

use crate::hash::hash;
use crate::layout::{BYTES_MOST, KEY_BYTES_MOST, WORD};
use crate::view::Look;
use crate::{Error, Meta};

/// The bytes of a bucket: a line of the cache, so that a small entry costs one miss.
pub(crate) const BUCKET_BYTES: u64 = 64;

/// How far from its home an entry may stand, in buckets; one bit each in the hop.
pub(crate) const HOP: u64 = 16;

/// What fits in words 2 to 7.
pub(crate) const INLINE_BYTES: usize = 48;

/// The longest key that stands in the bucket of an entry with a payload: words 5 to 7.
pub(crate) const KEY_IN_BUCKET_BYTES: usize = 24;

/// Where in a payload the key begins: behind the hash, by which a payload's entry is found.
pub(crate) const KEY_AT: u64 = WORD;

const KIND_MASK: u64 = 0x7;
/// Whether the flags stand behind an inline value.
const FLAGGED: u64 = 0x8;
const INLINE: u64 = 1;
const FLAGGED_INLINE: u64 = FLAGGED | INLINE;
const KEY_IN_BUCKET: u64 = 2;
const KEY_IN_PAYLOAD: u64 = 3;
const HOP_SHIFT: u32 = 16;
const HOP_MASK: u64 = 0xffff << HOP_SHIFT;
const EXPIRY_MASK: u64 = (1 << 44) - 1;
/// Whether the entry was asked for again: then eviction counts it among the many that stay.
const MAIN: u64 = 1 << 44;
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
        Self { key, hash: hash(seed, key), words: pack(key) }
    }
}

/// The first 48 bytes as words. Whole words are read as such: to copy a number of bytes that the
/// compiler does not know is a call.
#[inline]
fn pack(bytes: &[u8]) -> [u64; 6] {
    let bytes = &bytes[..bytes.len().min(INLINE_BYTES)];
    let (chunks, rest) = bytes.as_chunks::<8>();
    let mut words = [0; 6];
    for (word, chunk) in words.iter_mut().zip(chunks) {
        *word = u64::from_le_bytes(*chunk);
    }
    if !rest.is_empty() {
        let last = rest.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
        words[chunks.len()] = last;
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
    /// An entry that fits whole; `None` if it does not. Version and hop are put in later.
    pub(crate) fn inline(key: &[u8], value: &[u8], flags: u32) -> Option<Self> {
        let bytes = key.len() + value.len();
        if bytes + if flags == 0 { 0 } else { FLAGS_BYTES } > INLINE_BYTES {
            return None;
        }
        let mut bucket = Self::default();
        bucket.0[0] = INLINE | (key.len() as u64) << 4 | (value.len() as u64) << 10;
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

    /// An entry whose value is in the payload at `at`, of [`payload_bytes`].
    pub(crate) fn with_payload(sought: &Sought<'_>, at: u64, value_bytes: u64, flags: u32) -> Self {
        let mut words = [0; 8];
        let (low, high) = (u64::from(flags & 0xffff), u64::from(flags >> 16));
        words[2] = at | low << LOW_BITS;
        words[3] = value_bytes | high << LOW_BITS;
        words[4] = sought.key.len() as u64 | sought.hash << 32;
        if sought.key.len() <= KEY_IN_BUCKET_BYTES {
            words[0] = KEY_IN_BUCKET;
            words[5..].copy_from_slice(&sought.words[..3]);
        } else {
            words[0] = KEY_IN_PAYLOAD;
            words[5] = sought.hash;
        }
        Self(words)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0[0] & KIND_MASK == 0
    }

    /// Does word 0 belong to an entry?
    #[inline]
    pub(crate) fn is_used(word0: u64) -> bool {
        word0 & KIND_MASK != 0
    }

    /// The hop in word 0.
    #[inline]
    pub(crate) fn hop(word0: u64) -> u64 {
        (word0 & HOP_MASK) >> HOP_SHIFT
    }

    /// Word 0 of a place whose entry goes: only the hop stays.
    pub(crate) fn emptied(word0: u64) -> u64 {
        word0 & HOP_MASK
    }

    /// Word 0 with hop bit `distance` set or cleared.
    pub(crate) fn with_hop_bit(word0: u64, distance: u64, is_set: bool) -> u64 {
        let bit = 1 << (HOP_SHIFT as u64 + distance);
        if is_set { word0 | bit } else { word0 & !bit }
    }

    /// This entry, in a place whose word 0 was `word0`.
    pub(crate) fn placed(mut self, word0: u64) -> Self {
        self.0[0] = (self.0[0] & !HOP_MASK) | (word0 & HOP_MASK);
        self
    }

    pub(crate) fn version(&self) -> u64 {
        self.0[0] >> 32 | (self.0[1] >> VERSION_SHIFT) << 32
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
        self.0[1] & EXPIRY_MASK
    }

    pub(crate) fn with_expiry(mut self, expiry: Option<u64>) -> Self {
        // An expiry of 0 would mean never: the first millisecond of 1970 stands for it.
        let expiry = expiry.map_or(0, |at| at.clamp(1, EXPIRY_MOST));
        self.0[1] = (self.0[1] & !EXPIRY_MASK) | expiry;
        self
    }

    pub(crate) fn key_bytes(&self) -> u64 {
        match self.0[0] & KIND_MASK {
            INLINE => self.0[0] >> 4 & 0x3f,
            _ => self.0[4] & 0xffff_ffff,
        }
    }

    pub(crate) fn value_bytes(&self) -> u64 {
        match self.0[0] & KIND_MASK {
            INLINE => self.0[0] >> 10 & 0x3f,
            _ => self.0[3] & LOW_MASK,
        }
    }

    /// What a client keeps beside its value.
    fn flags(&self) -> u32 {
        match self.0[0] & (KIND_MASK | FLAGGED) {
            INLINE => 0,
            // Cut to its lower half: what stands behind the flags is nothing.
            FLAGGED_INLINE => self.word_from(self.content_bytes() as usize) as u32,
            _ => (self.0[2] >> LOW_BITS | self.0[3] >> LOW_BITS << 16) as u32,
        }
    }

    /// The payload's offset, in an entry that has one.
    fn payload_at(&self) -> u64 {
        self.0[2] & LOW_MASK
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
        let (at, value_bytes) = (self.payload_at(), self.value_bytes());
        match self.0[0] & KIND_MASK {
            KEY_IN_BUCKET => Some(Payload { at, value_at: at.saturating_add(KEY_AT), value_bytes }),
            KEY_IN_PAYLOAD => {
                let before = KEY_AT + self.key_bytes().next_multiple_of(WORD);
                Some(Payload { at, value_at: at.saturating_add(before), value_bytes })
            }
            _ => None,
        }
    }

    /// Is this the entry of the key? Reads on from where the bucket stands.
    #[inline]
    pub(crate) fn is_of(&self, look: &impl Look, sought: &Sought<'_>) -> Result<bool, Error> {
        let count = sought.key.len();
        match self.0[0] & KIND_MASK {
            INLINE => Ok(self.key_bytes() == count as u64
                && count <= INLINE_BYTES
                && self.begins_with(2, sought)),
            KEY_IN_BUCKET | KEY_IN_PAYLOAD if self.0[4] != (count as u64 | sought.hash << 32) => {
                Ok(false)
            }
            KEY_IN_BUCKET => Ok(count <= KEY_IN_BUCKET_BYTES && self.begins_with(5, sought)),
            KEY_IN_PAYLOAD if self.0[5] == sought.hash => {
                let mut key = Vec::new();
                let key_at = self.payload_at().saturating_add(KEY_AT);
                look.view().copy_out(key_at, count as u64, &mut key)?;
                Ok(key == sought.key)
            }
            _ => Ok(false),
        }
    }

    /// Do the words from `first` on begin with the key?
    #[inline]
    fn begins_with(&self, first: usize, sought: &Sought<'_>) -> bool {
        let count = sought.key.len();
        let whole = count / 8;
        let mut pairs = self.0[first..].iter().zip(&sought.words).take(whole);
        if pairs.any(|(one, other)| one != other) {
            return false;
        }
        let rest = count % 8;
        rest == 0 || (self.0[first + whole] ^ sought.words[whole]) << (64 - 8 * rest) == 0
    }

    /// Appends the key.
    pub(crate) fn copy_key(&self, look: &impl Look, out: &mut Vec<u8>) -> Result<(), Error> {
        let count = self.key_bytes();
        match self.0[0] & KIND_MASK {
            INLINE if count as usize <= INLINE_BYTES => self.copy_words(2, 0, count as usize, out),
            KEY_IN_BUCKET if count as usize <= KEY_IN_BUCKET_BYTES => {
                self.copy_words(5, 0, count as usize, out);
            }
            KEY_IN_PAYLOAD if count <= KEY_BYTES_MOST => {
                look.view().copy_out(self.payload_at().saturating_add(KEY_AT), count, out)?;
            }
            _ => return Err(Error::Damaged { what: "a bucket of no kind", at: self.0[0] }),
        }
        Ok(())
    }

    /// Appends the value of an inline entry; false if it has a payload.
    #[inline]
    pub(crate) fn copy_inline_value(&self, out: &mut Vec<u8>) -> bool {
        let (key, value) = (self.key_bytes() as usize, self.value_bytes() as usize);
        let is_inline = self.0[0] & KIND_MASK == INLINE && key + value <= INLINE_BYTES;
        if is_inline {
            // Whole words, shifted to where the value begins, and what is too much cut off.
            let mut bytes = [0u8; INLINE_BYTES];
            for (index, chunk) in bytes.chunks_exact_mut(8).enumerate() {
                chunk.copy_from_slice(&self.word_from(key + 8 * index).to_le_bytes());
            }
            let length = out.len();
            out.extend_from_slice(&bytes);
            out.truncate(length + value);
        }
        is_inline
    }

    /// Returns the hash of the entry's key.
    pub(crate) fn hash(&self, look: &impl Look, seed: u64) -> Result<u64, Error> {
        if self.0[0] & KIND_MASK == KEY_IN_PAYLOAD {
            return Ok(self.0[5]);
        }
        let mut bytes = [0u8; INLINE_BYTES];
        let first = if self.0[0] & KIND_MASK == INLINE { 2 } else { 5 };
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(&self.0[first..]) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        match bytes.get(..self.key_bytes() as usize) {
            Some(key) => Ok(hash(seed, key)),
            None => {
                let mut key = Vec::new();
                self.copy_key(look, &mut key)?;
                Ok(hash(seed, &key))
            }
        }
    }

    #[inline]
    fn copy_words(&self, first: usize, skip: usize, count: usize, out: &mut Vec<u8>) {
        let mut bytes = [0u8; INLINE_BYTES];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(&self.0[first..]) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&bytes[skip..skip + count]);
    }
}

impl Meta {
    /// Whether the entry of `key` that this is known of stands whole in its bucket, without a
    /// payload.
    #[must_use]
    pub fn is_inline(&self, key: &[u8]) -> bool {
        let flags = if self.flags == 0 { 0 } else { FLAGS_BYTES as u64 };
        key.len() as u64 + self.bytes + flags <= INLINE_BYTES as u64
    }

    /// The bytes of that entry: its bucket, and its payload if it has one. What the heap rounds up
    /// is not counted.
    #[must_use]
    pub fn entry_bytes(&self, key: &[u8]) -> u64 {
        let payload = if self.is_inline(key) { 0 } else { payload_bytes(key, self.bytes) };
        BUCKET_BYTES + payload
    }
}

/// How large a payload the entry needs: the hash, the key if that is long, and the value.
pub(crate) fn payload_bytes(key: &[u8], value_bytes: u64) -> u64 {
    value_from(key) + value_bytes.next_multiple_of(WORD)
}

/// Where in the payload the value begins.
pub(crate) fn value_from(key: &[u8]) -> u64 {
    if key.len() <= KEY_IN_BUCKET_BYTES {
        return KEY_AT;
    }
    KEY_AT + (key.len() as u64).next_multiple_of(WORD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inline_entry_keeps_what_it_is_given() {
        let bucket = Bucket::inline(b"key", b"value", 0).unwrap();
        let bucket = bucket.with_version(0xffff_1234_5678).with_expiry(Some(99)).placed(5 << 16);
        let mut value = Vec::new();
        assert!(bucket.copy_inline_value(&mut value));
        assert_eq!((value.as_slice(), Bucket::hop(bucket.0[0])), (&b"value"[..], 5));
        let meta = Meta { version: 0xffff_1234_5678, expiry_ms: Some(99), bytes: 5, flags: 0 };
        assert_eq!((bucket.meta(), bucket.content_bytes()), (meta, 8));
    }

    #[test]
    fn forty_eight_bytes_fit_and_one_more_does_not() {
        assert!(Bucket::inline(&[1; 16], &[2; 32], 0).is_some());
        assert!(Bucket::inline(&[1; 16], &[2; 33], 0).is_none());
        assert!(Bucket::inline(&[1; 16], &[2; 28], 1).is_some());
        assert!(Bucket::inline(&[1; 16], &[2; 29], 1).is_none());
        assert!(Bucket::inline(&[], &[], 0).is_some_and(|bucket| !bucket.is_empty()));
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
            let bucket = Bucket::with_payload(&Sought::new(1, b"key"), most, most, flags);
            let payload = Payload { at: most, value_at: most + KEY_AT, value_bytes: most };
            assert_eq!((bucket.payload(), bucket.meta().flags), (Some(payload), flags));
        }
    }

    #[test]
    fn a_long_key_stands_before_its_value() {
        let key = [7; 25];
        assert_eq!((value_from(&key), payload_bytes(&key, 9)), (40, 56));
        let bucket = Bucket::with_payload(&Sought::new(1, &key), 4096, 9, 0);
        let payload = Payload { at: 4096, value_at: 4136, value_bytes: 9 };
        assert_eq!((bucket.payload(), bucket.key_bytes()), (Some(payload), 25));
    }
}
