//! Payloads: entries too large for a bucket; and stubs, which lead to them, seven to a row.
//!
//! ```text
//!   row       word 0: the hop, low 16 | words 1 to 7: stubs; 0 = none
//!   stub      hash, low 21 | offset of the payload in words 43
//!
//!   payload   word 0: version 48 | key's bytes, low 16
//!             word 1: expiry in unix ms 44 | main | extended | unused 2 | value's bytes, low 16
//!             word 2, if extended: flags 32 | value's bytes, above 16: 31 | key's bytes, above 16
//!             the key | the value        byte behind byte; if extended, the value on a whole word
//! ```
//!
//! A stub has as much of the hash as the row that it belongs in depends on, and twelve bits more:
//! so rows are rebuilt without a look at payloads, and a look-up reads the payload of another key
//! once in four thousand times.
//!
//! Promises: an entry takes, beyond its key and its value, a stub and 16 bytes if it has no flags
//! and no 64 KiB; what is read of a payload is checked before it is used.

use crate::Error;
use crate::bucket::{Bucket, EXPIRY_MOST, MAIN, Payload};
use crate::layout::{BYTES_MOST, KEY_BYTES_MOST, WORD};
use crate::racy;
use crate::view::{Look, View};

/// The stubs of a row: all its words but the first.
pub(crate) const STUBS: u64 = 7;

/// How many of a hash's lowest bits a stub has. The home in a part of a group depends on these.
pub(crate) const HASH_BITS: u32 = 21;

/// Those bits.
pub(crate) const HASH_MASK: u64 = (1 << HASH_BITS) - 1;

/// How many bits of a stub are the offset in words; the hash's stand above.
const OFFSET_BITS: u32 = 64 - HASH_BITS;
const _: () = assert!(BYTES_MOST / WORD <= 1 << OFFSET_BITS);
const _: () = assert!(HASH_BITS == racy::TOP_BITS);

/// Where the key begins.
pub(crate) const KEY_AT: u64 = 2 * WORD;
const KEY_AT_EXTENDED: u64 = 3 * WORD;

const VERSION_SHIFT: u32 = 16;
/// Above the expiry, and above the bit that says whether the entry is one of the main ones.
const EXTENDED: u64 = 1 << 45;
const _: () = assert!(EXTENDED > MAIN && MAIN > EXPIRY_MOST);
const VALUE_SHIFT: u32 = 48;
/// What the first two words can say of a length, and of the value's the third beyond that.
const LOW_BITS: u32 = 16;
const LOW_MASK: u64 = (1 << LOW_BITS) - 1;
const HIGH_MASK: u64 = (1 << 31) - 1;
const FLAGS_BITS: u32 = 32;

/// One word that leads to a payload; 0 = none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stub(pub(crate) u64);

impl Stub {
    pub(crate) fn new(hash: u64, at: u64) -> Self {
        Self((hash << OFFSET_BITS) | (at / WORD))
    }

    pub(crate) fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The payload's offset.
    #[inline]
    pub(crate) fn at(self) -> u64 {
        (self.0 & ((1 << OFFSET_BITS) - 1)) * WORD
    }

    /// What stands on top in the stub of an entry with this hash.
    #[inline]
    pub(crate) fn top_of(hash: u64) -> u32 {
        (hash & HASH_MASK) as u32
    }

    /// The lowest bits of the hash.
    pub(crate) fn hash(self) -> u64 {
        self.0 >> OFFSET_BITS
    }

    /// May this lead to the entry of a key with this hash?
    #[inline]
    pub(crate) fn may_be_of(self, hash: u64) -> bool {
        self.0 >> OFFSET_BITS == hash & HASH_MASK && self.0 != 0
    }
}

/// Where the parts of a payload are, from its begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) key_at: u64,
    pub(crate) value_at: u64,
    /// All of it.
    pub(crate) bytes: u64,
}

impl Shape {
    /// The payload of an entry.
    pub(crate) fn new(key_bytes: u64, value_bytes: u64, flags: u32) -> Self {
        Self::of(key_bytes, value_bytes, is_extended(key_bytes, value_bytes, flags))
    }

    /// The payload of an entry whose flags and final length are not known yet.
    pub(crate) fn extended(key_bytes: u64, value_bytes: u64) -> Self {
        Self::of(key_bytes, value_bytes, true)
    }

    #[inline]
    fn of(key_bytes: u64, value_bytes: u64, is_extended: bool) -> Self {
        let key_at = if is_extended { KEY_AT_EXTENDED } else { KEY_AT };
        let key_end = key_at + key_bytes;
        let value_at = if is_extended { key_end.next_multiple_of(WORD) } else { key_end };
        Self { key_at, value_at, bytes: value_at + value_bytes }
    }

    /// The entry in a payload of this shape at `at`.
    pub(crate) fn bucket(self, at: u64, key_bytes: u64, value_bytes: u64, flags: u32) -> Bucket {
        let payload = Payload { at, value_at: at + self.value_at, value_bytes };
        Bucket::with_payload(payload, (at + self.key_at, key_bytes), flags)
    }
}

fn is_extended(key_bytes: u64, value_bytes: u64, flags: u32) -> bool {
    flags != 0 || key_bytes > LOW_MASK || value_bytes > LOW_MASK
}

/// The words that a payload begins with, and how many of them there are.
pub(crate) fn head_of(bucket: &Bucket) -> ([u64; 3], usize) {
    let (key, value, flags) = (bucket.key_bytes(), bucket.value_bytes(), bucket.flags());
    let version = bucket.version() << VERSION_SHIFT | key & LOW_MASK;
    let expiry = Bucket::main_word(bucket.expiry(), bucket.is_main());
    let expiry = expiry | (value & LOW_MASK) << VALUE_SHIFT;
    if bucket.payload().is_some_and(|payload| bucket.key_at() == payload.at + KEY_AT) {
        return ([version, expiry, 0], 2);
    }
    let high = u64::from(flags) | value >> LOW_BITS << FLAGS_BITS | key >> LOW_BITS << 63;
    ([version, expiry | EXTENDED, high], 3)
}

/// What the first two words of a payload say if that is all that there is to say: the key begins at
/// [`KEY_AT`], the value behind it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShortHead {
    pub(crate) version: u64,
    pub(crate) expiry: u64,
    pub(crate) key_bytes: u64,
    pub(crate) value_bytes: u64,
}

impl ShortHead {
    /// `None` if a third word has more to say.
    #[inline(always)]
    pub(crate) fn new(version: u64, expiry: u64) -> Option<Self> {
        (expiry & EXTENDED == 0).then_some(Self {
            version: version >> VERSION_SHIFT,
            expiry: expiry & EXPIRY_MOST,
            key_bytes: version & LOW_MASK,
            value_bytes: expiry >> VALUE_SHIFT,
        })
    }
}

/// How many bytes the first words of the payload at `at` speak of; fewer if it is one with three.
#[inline(always)]
pub(crate) fn bytes_at(view: &View, at: u64) -> Option<u64> {
    let (version, expiry) = (view.peek(at)?, view.peek(at + WORD)?);
    Some(KEY_AT + (version & LOW_MASK) + (expiry >> VALUE_SHIFT))
}

/// Reads the entry in the payload at `at`, which may be anything.
#[inline]
pub(crate) fn read(look: &impl Look, at: u64) -> Result<Bucket, Error> {
    let (version, expiry) = (look.read(at)?, look.read(at + WORD)?);
    let is_extended = expiry & EXTENDED != 0;
    let high = if is_extended { look.read(at + 2 * WORD)? } else { 0 };
    let key_bytes = version & LOW_MASK | high >> 63 << LOW_BITS;
    let value_bytes = expiry >> VALUE_SHIFT | (high >> FLAGS_BITS & HIGH_MASK) << LOW_BITS;
    if key_bytes > KEY_BYTES_MOST {
        return Err(Error::Damaged { what: "a key longer than can be", at });
    }
    let shape = Shape::of(key_bytes, value_bytes, is_extended);
    let bucket = shape.bucket(at, key_bytes, value_bytes, high as u32);
    let bucket = bucket.with_version(version >> VERSION_SHIFT).with_main(expiry & MAIN != 0);
    let expiry = expiry & EXPIRY_MOST;
    Ok(if expiry == 0 { bucket } else { bucket.with_expiry(Some(expiry)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(key_bytes: u64, value_bytes: u64, flags: u32, expected_head: u64) {
        let shape = Shape::new(key_bytes, value_bytes, flags);
        let written = shape.bucket(64, key_bytes, value_bytes, flags);
        let written = written.with_version(0xffff_1234_5678).with_main(flags == 0);
        let written = written.with_expiry(Some(EXPIRY_MOST - 1));
        let (head, count) = head_of(&written);
        assert_eq!(count as u64 * WORD, expected_head);
        let mut words = [0u64; 16];
        words[8..8 + count].copy_from_slice(&head[..count]);
        // SAFETY: the words outlive the view, and are used through it alone.
        let view = unsafe { View::new(words.as_mut_ptr().cast(), 128) };
        assert_eq!(read(&view, 64).unwrap(), written, "{key_bytes} {value_bytes} {flags}");
    }

    #[test]
    fn a_head_says_all_of_its_entry() {
        check(16, 200, 0, 16);
        check(0, 65_535, 0, 16);
        check(65_535, 0, 0, 16);
        check(16, 200, 1, 24);
        check(16, 65_536, 0, 24);
        check(KEY_BYTES_MOST, BYTES_MOST / 2, u32::MAX, 24);
    }

    #[test]
    fn a_stub_names_its_payload_and_enough_of_the_hash() {
        let stub = Stub::new(u64::MAX - 5, BYTES_MOST - 8);
        assert_eq!((stub.at(), stub.hash()), (BYTES_MOST - 8, HASH_MASK - 5));
        assert!(stub.may_be_of(HASH_MASK - 5) && !stub.may_be_of(HASH_MASK - 4));
        assert!(!Stub(0).may_be_of(0));
    }
}
