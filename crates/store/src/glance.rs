//! A glance: the look-up that nearly every one is, in as few instructions as can be.
//!
//! ```text
//!   version even --> group --> marks --> entry --> its value behind the caller's bytes
//!   version the same?   yes: the value counts      no, or anything else: `Reader::get_again`
//! ```
//!
//! The time of a look-up is that of its misses. A processor has several under way only if the next
//! look-up begins while this one waits, and it looks no further ahead than some hundred
//! instructions; and what it does ahead is thrown away when it guessed a branch wrong. So nothing
//! here is done twice, nothing is called for an entry that stands whole on its home shelf in a
//! group without rows, what other entries need stands apart (it would take their registers), and no
//! branch that depends on a line of memory is taken now one way and now the other: the marks, of
//! which the cache holds most, say which line it is.
//!
//! Promises: as `reader.rs`. It gives up where a slower look-up has more to say: a shard that
//! changes, flags beside an inline value, and whatever is damaged.

use crate::Meta;
use crate::atomic::{Acquire, AtomicU8, AtomicU64, Relaxed, fence};
use crate::bucket::{
    BUCKET_BYTES, INLINE_BYTES, expiry_of, plain_value_bytes, says_inline_key_of,
    says_plain_key_of, version_of,
};
use crate::layout::{WORD, shard};
use crate::payload::{self, Stub};
use crate::racy;
use crate::reader::Reader;
use crate::ring::{Ring, hop_in};
use crate::shelf::{ALL, SHELF, SHELF_BYTES, Shelves, mark_of, spilled_bit};
use crate::table::{Directory, Group, PLACES};

/// Where in a bucket the key begins.
const CONTENT_AT: usize = 2 * WORD as usize;

/// How many lines of a payload are fetched at once, before its length is known; the rest when it
/// is, and behind that the processor sees the pattern.
const FETCH_FIRST: u64 = 2;
const FETCH_MOST: u64 = 16;

/// The words of a line of the cache.
type Line = [AtomicU64; 8];

/// An entry as a glance finds it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Glimpse<'a> {
    value: &'a [AtomicU8],
    version: u64,
    expiry: u64,
    flags: u32,
}

impl Glimpse<'_> {
    /// Where its value begins.
    #[inline(always)]
    pub(crate) fn value_begin(self) -> *const AtomicU8 {
        self.value.as_ptr()
    }

    /// What is told of it.
    #[inline(always)]
    pub(crate) fn meta(self) -> Meta {
        let Self { value, version, expiry, flags } = self;
        let expiry_ms = (expiry != 0).then_some(expiry);
        Meta { version, expiry_ms, bytes: value.len() as u64, flags }
    }
}

/// A shard's version as it was before anything was read.
#[derive(Debug, Clone, Copy)]
struct Still<'a> {
    version: &'a AtomicU64,
    before: u64,
}

impl Still<'_> {
    /// What was read, if the version is still the same.
    #[inline(always)]
    fn of<T>(self, read: T) -> Option<T> {
        // Pairs with the Release fence of `begin`: if we saw a word of a change, we see its odd
        // version now.
        fence(Acquire);
        (self.version.load(Relaxed) == self.before).then_some(read)
    }
}

/// A key of 8 to 16 bytes, as most are, that is looked for without a branch: its first and its last
/// eight bytes, some of them in both.
#[derive(Debug, Clone, Copy)]
struct ShortKey {
    bytes: usize,
    first: u64,
    last: u64,
}

impl ShortKey {
    /// `None` if it is shorter or longer.
    #[inline(always)]
    fn new(key: &[u8]) -> Option<Self> {
        let (first, last) = (key.first_chunk()?, key.last_chunk()?);
        let (first, last) = (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
        (key.len() <= 16).then_some(Self { bytes: key.len(), first, last })
    }

    /// Whether a bucket is its inline entry, without flags.
    #[inline(always)]
    fn is_in(self, line: &Line) -> bool {
        let head = line[0].load(Relaxed);
        let end = line[2].as_ptr().cast::<u8>().wrapping_add(self.bytes - size_of::<u64>());
        // SAFETY: inside of words 2 and 3.
        let end = unsafe { racy::load_word(end) };
        let differences = (line[2].load(Relaxed) ^ self.first) | (end ^ self.last);
        differences == 0 && says_plain_key_of(head, self.bytes)
    }
}

/// Buckets and their marks, in bounds.
#[derive(Debug, Clone, Copy)]
struct Whole<'a> {
    bytes: &'a [AtomicU8],
    buckets: u64,
}

/// What the first look at a home shelf shows.
enum First<'a> {
    /// The entry.
    Is(&'a Line),
    /// That there is none.
    Absent,
    /// Neither: there may be more to look at.
    Unclear,
}

impl<'a> Whole<'a> {
    /// How many bytes it takes from where the buckets begin, `lines` lines of them and of others in
    /// front of the marks. The last shelf counts as a full one: its marks are not asked how many
    /// there are.
    #[inline(always)]
    fn reach(lines: u64) -> u64 {
        lines * (BUCKET_BYTES + SHELF_BYTES) + SHELF * BUCKET_BYTES
    }

    /// Its home shelf, and the marks of that which are of a hash.
    #[inline(always)]
    fn marks(self, lines: u64, shelf: u64, hash: u64) -> (*const u8, u32) {
        let at = lines * BUCKET_BYTES + shelf * SHELF_BYTES;
        let marks = self.bytes.as_ptr().cast::<u8>().wrapping_add(at as usize);
        // SAFETY: `reach` counts the marks of more shelves than there are.
        (marks, unsafe { racy::equal_bytes(marks, mark_of(hash)) } & ALL)
    }

    /// The bucket of the lowest bit.
    #[inline(always)]
    fn line(self, shelf: u64, equal: u32) -> &'a Line {
        let index = shelf * SHELF + u64::from(equal.trailing_zeros());
        let line = self.bytes.as_ptr().wrapping_add((index * BUCKET_BYTES) as usize);
        // SAFETY: `reach` counts the buckets of full shelves, each a line; the group is aligned.
        unsafe { &*line.cast::<Line>() }
    }

    /// Looks at the first bucket whose mark is that of the hash.
    #[inline(always)]
    fn first(self, lines: u64, hash: u64, is_it: impl Fn(&Line) -> bool) -> First<'a> {
        let home = Shelves::home_among(self.buckets, hash);
        let (marks, equal) = self.marks(lines, home, hash);
        if equal != 0 {
            let line = self.line(home, equal);
            return if is_it(line) { First::Is(line) } else { First::Unclear };
        }
        // SAFETY: a byte of the same shelf.
        let spilled = unsafe { racy::load_byte(marks.wrapping_add(SHELF as usize)) };
        if spilled & spilled_bit(hash) == 0 { First::Absent } else { First::Unclear }
    }

    /// Looks at all that may be it.
    #[inline(never)]
    fn search(self, lines: u64, hash: u64, key: &[u8]) -> Option<&'a Line> {
        let count = Shelves::count_for(self.buckets);
        let mut shelf = Shelves::home_among(self.buckets, hash);
        for _ in 0..count {
            let (marks, mut equal) = self.marks(lines, shelf, hash);
            while equal != 0 {
                let line = self.line(shelf, equal);
                if is_of(line, key) {
                    return Some(line);
                }
                equal &= equal - 1;
            }
            // SAFETY: a byte of the same shelf.
            let spilled = unsafe { racy::load_byte(marks.wrapping_add(SHELF as usize)) };
            if spilled & spilled_bit(hash) == 0 {
                return None;
            }
            shelf = if shelf + 1 < count { shelf + 1 } else { 0 };
        }
        None
    }
}

impl<'a> Reader<'a> {
    /// Reads a key's entry that has not expired and stands whole in a group without rows, and
    /// appends its value. `None` of the outer kind, here and below: it must be looked up again, and
    /// then nothing was appended.
    #[inline(always)]
    pub(crate) fn glance(
        self,
        hash: u64,
        key: &[u8],
        now_ms: &impl Fn() -> u64,
        value: &mut Vec<u8>,
    ) -> Option<Option<Glimpse<'a>>> {
        let (still, word) = self.group_word(hash)?;
        let (at, buckets) = Group::whole_in(word)?;
        let bytes = self.view.near(at, Whole::reach(buckets))?;
        let whole = Whole { bytes, buckets };
        let first = match ShortKey::new(key) {
            Some(short) => whole.first(buckets, hash, |line| short.is_in(line)),
            None => First::Unclear,
        };
        let line = match first {
            First::Is(line) => line,
            First::Absent => return still.of(None),
            First::Unclear => match whole.search(buckets, hash, key) {
                Some(line) => line,
                None => return still.of(None),
            },
        };
        take(glimpse(line, key.len())?, still, now_ms, value)
    }

    /// The same, in a group that may have rows.
    #[inline(always)]
    pub(crate) fn glance_at_rows(
        self,
        hash: u64,
        key: &[u8],
        now_ms: &impl Fn() -> u64,
        value: &mut Vec<u8>,
    ) -> Option<Option<Glimpse<'a>>> {
        let (still, word) = self.group_word(hash)?;
        let Some(group) = Group::from_word(word).ok()? else { return still.of(None) };
        let Some(found) = self.seek(&group, hash, key)? else { return still.of(None) };
        take(found, still, now_ms, value)
    }

    /// The version of the shard of a hash, which must be even, and the word of its group.
    #[inline(always)]
    fn group_word(self, hash: u64) -> Option<(Still<'a>, u64)> {
        let shard = self.view.line(self.plan.shard_at(self.plan.shard_of(hash)))?;
        let version = &shard[(shard::VERSION / WORD) as usize];
        // Acquire pairs with the Release of whoever made it even.
        let before = version.load(Acquire);
        if before & 1 != 0 {
            return None;
        }
        // Whatever it says, what it leads to is in bounds or not found; and if there is none, the
        // magic number of the header is no group without rows.
        let directory =
            Directory::unchecked(shard[(shard::DIRECTORY / WORD) as usize].load(Relaxed));
        let word = self.view.peek(directory.entry_at(self.plan, hash))?;
        Some((Still { version, before }, word))
    }

    /// The entry of a key in a group.
    #[inline(always)]
    fn seek(self, group: &Group, hash: u64, key: &[u8]) -> Option<Option<Glimpse<'a>>> {
        if group.rows != 0 {
            // On its way while the buckets are looked at.
            let ring = group.stubs();
            self.view.prefetch(ring.line_at(ring.home(hash)));
        }
        if group.buckets != 0 && key.len() <= INLINE_BYTES {
            let bytes = self.view.shared(group.at, Whole::reach(group.lines()))?;
            let whole = Whole { bytes, buckets: group.buckets };
            if let Some(line) = whole.search(group.lines(), hash, key) {
                return glimpse(line, key.len()).map(Some);
            }
        }
        if group.rows == 0 {
            return Some(None);
        }
        let ring = group.stubs();
        self.seek_stub(self.view.lines(ring.at, ring.lines)?, ring, hash, key)
    }

    #[inline(always)]
    fn seek_stub(
        self,
        lines: &[Line],
        ring: Ring,
        hash: u64,
        key: &[u8],
    ) -> Option<Option<Glimpse<'a>>> {
        let home = ring.home(hash);
        let mut hop = hop_in(lines.get(home as usize)?[0].load(Relaxed));
        while hop != 0 {
            let line = line_after(lines, home, hop)?;
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
    fn open(self, at: u64, key: &[u8]) -> Option<Option<Glimpse<'a>>> {
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
        let value = self.view.shared(payload.value_at, payload.value_bytes)?;
        let (version, expiry, flags) = (bucket.version(), bucket.expiry(), bucket.flags());
        Some(Some(Glimpse { value, version, expiry, flags }))
    }
}

/// Appends the value of what was found, if it counts.
#[inline(always)]
fn take<'a>(
    found: Glimpse<'a>,
    still: Still<'_>,
    now_ms: &impl Fn() -> u64,
    value: &mut Vec<u8>,
) -> Option<Option<Glimpse<'a>>> {
    racy::copy_behind(found.value, value);
    still.of(())?;
    if found.expiry != 0 && found.expiry <= now_ms() {
        return Some(None);
    }
    // SAFETY: `copy_behind` filled as many bytes behind the old length.
    unsafe { value.set_len(value.len() + found.value.len()) };
    Some(Some(found))
}

/// The line that the lowest bit of a hop speaks of. No division: a hop reaches once around a ring
/// at most, and of one that is damaged another line is read, or none.
#[inline(always)]
fn line_after(lines: &[Line], home: u64, hop: u64) -> Option<&Line> {
    let index = home as usize + hop.trailing_zeros() as usize;
    lines.get(if index < lines.len() { index } else { index - lines.len() })
}

/// What a line holds, of which the key was found to be the one.
#[inline(always)]
fn glimpse(line: &Line, key_bytes: usize) -> Option<Glimpse<'_>> {
    let (word0, word1) = (line[0].load(Relaxed), line[1].load(Relaxed));
    let value_at = CONTENT_AT + key_bytes;
    // SAFETY: a line is as many bytes, and atomics of bytes need no alignment.
    let bytes = unsafe { &*line.as_ptr().cast::<[AtomicU8; size_of::<Line>()]>() };
    let value = bytes.get(value_at..value_at + plain_value_bytes(word0)?)?;
    let (version, expiry) = (version_of(word0, word1), expiry_of(word1));
    Some(Glimpse { value, version, expiry, flags: 0 })
}

/// Whether a bucket is the entry of a key of any length up to 48.
fn is_of(line: &Line, key: &[u8]) -> bool {
    let content = line[2].as_ptr().cast::<u8>();
    let says = says_inline_key_of(line[0].load(Relaxed), key.len());
    // SAFETY: an inline key is no longer than the 48 bytes of words 2 to 7, which are mapped as the
    // line is.
    key.len() <= INLINE_BYTES && says && unsafe { racy::equals(content, key) }
}
