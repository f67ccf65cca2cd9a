//! A glance: the look-up that nearly every one is, in as few instructions as can be.
//!
//! ```text
//!   version even --> group --> marks --> entry --> its value behind the caller's bytes
//!                          --> row --> payload: `far.rs`
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
use crate::racy;
use crate::reader::Reader;
use crate::shelf::{ALL, SHELF, SHELF_BYTES, SPILLED, Shelves, mark_of, spilled_bit};
use crate::table::{Directory, Group};
use crate::view::View;

/// Where in a bucket the key begins.
const CONTENT_AT: usize = 2 * WORD as usize;

/// The words of a line of the cache.
pub(crate) type Line = [AtomicU64; 8];

/// An entry as a glance finds it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Glimpse<'a> {
    pub(crate) value: &'a [AtomicU8],
    pub(crate) version: u64,
    pub(crate) expiry: u64,
    pub(crate) flags: u32,
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
pub(crate) struct Still<'a> {
    version: &'a AtomicU64,
    before: u64,
}

impl Still<'_> {
    /// What was read, if the version is still the same.
    #[inline(always)]
    pub(crate) fn of<T>(self, read: T) -> Option<T> {
        // Pairs with the Release fence of `begin`: if we saw a word of a change, we see its odd
        // version now.
        fence(Acquire);
        (self.version.load(Relaxed) == self.before).then_some(read)
    }
}

/// A look-up that knows the word of its group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begun<'a> {
    pub(crate) still: Still<'a>,
    pub(crate) word: u64,
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
pub(crate) struct Whole<'a> {
    bytes: &'a [AtomicU8],
    buckets: u64,
    lines: u64,
}

/// One shelf of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shelf<'a> {
    marks: &'a [AtomicU8; SHELF_BYTES as usize],
    lines: &'a [Line; SHELF as usize],
}

impl<'a> Shelf<'a> {
    /// Where its marks begin.
    #[inline(always)]
    pub(crate) fn marks(self) -> *const u8 {
        self.marks.as_ptr().cast()
    }

    /// Its marks that are those of a hash.
    #[inline(always)]
    fn equal(self, hash: u64) -> u32 {
        // SAFETY: as many bytes as are borrowed.
        unsafe { racy::equal_bytes(self.marks(), mark_of(hash)) & ALL }
    }

    /// The bucket of the lowest bit.
    #[inline(always)]
    fn line(self, equal: u32) -> &'a Line {
        // The bits are those of a shelf's buckets.
        &self.lines[equal.trailing_zeros() as usize]
    }

    /// Whether an entry of a hash may stand on the next one.
    #[inline(always)]
    fn has_spilled(self, hash: u64) -> bool {
        self.marks[SPILLED as usize].load(Relaxed) & spilled_bit(hash) != 0
    }

    /// The first bucket whose mark is that of a hash.
    #[inline(always)]
    pub(crate) fn first(self, hash: u64) -> Option<&'a Line> {
        let equal = self.equal(hash);
        (equal != 0).then(|| self.line(equal))
    }
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
    /// Those of a group, `lines` lines of them and of others.
    #[inline(always)]
    pub(crate) fn of(view: &'a View, at: u64, buckets: u64, lines: u64) -> Option<Self> {
        // The last shelf counts as a full one: its marks are not asked how many there are.
        let reach = lines * (BUCKET_BYTES + SHELF_BYTES) + SHELF * BUCKET_BYTES;
        Some(Self { bytes: view.near(at, reach)?, buckets, lines })
    }

    /// One of its shelves.
    #[inline(always)]
    fn shelf(self, index: u64) -> Shelf<'a> {
        let begin = self.bytes.as_ptr();
        let marks = begin.wrapping_add((self.lines * BUCKET_BYTES + index * SHELF_BYTES) as usize);
        let lines = begin.wrapping_add((index * SHELF * BUCKET_BYTES) as usize);
        // SAFETY: `of` counts the marks of more shelves than there are.
        let marks = unsafe { &*marks.cast() };
        // SAFETY: `of` counts the buckets of full shelves, each a line; the group is aligned.
        Shelf { marks, lines: unsafe { &*lines.cast() } }
    }

    /// The home shelf of a hash.
    #[inline(always)]
    pub(crate) fn home(self, hash: u64) -> Shelf<'a> {
        self.shelf(Shelves::home_among(self.buckets, hash))
    }

    /// Looks at the first bucket whose mark is that of the hash.
    #[inline(always)]
    fn first(self, hash: u64, is_it: impl Fn(&Line) -> bool) -> First<'a> {
        let home = self.home(hash);
        match home.first(hash) {
            Some(line) if is_it(line) => First::Is(line),
            None if !home.has_spilled(hash) => First::Absent,
            _ => First::Unclear,
        }
    }

    /// The entry of a key; `None` of the inner kind if it is one that a glance is not enough for.
    #[inline(always)]
    pub(crate) fn search_for(self, hash: u64, key: &[u8]) -> Option<Option<Glimpse<'a>>> {
        Some(glimpse(self.search(hash, key)?, key.len()))
    }

    /// Looks at all that may be it.
    #[inline(never)]
    fn search(self, hash: u64, key: &[u8]) -> Option<&'a Line> {
        let count = Shelves::count_for(self.buckets);
        let mut index = Shelves::home_among(self.buckets, hash);
        for _ in 0..count {
            let shelf = self.shelf(index);
            let mut equal = shelf.equal(hash);
            while equal != 0 {
                let line = shelf.line(equal);
                if is_of(line, key) {
                    return Some(line);
                }
                equal &= equal - 1;
            }
            if !shelf.has_spilled(hash) {
                return None;
            }
            index = if index + 1 < count { index + 1 } else { 0 };
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
        Begun { still, word }: Begun<'a>,
        hash: u64,
        key: &[u8],
        now_ms: &impl Fn() -> u64,
        value: &mut Vec<u8>,
    ) -> Option<Option<Glimpse<'a>>> {
        let (at, buckets) = Group::whole_in(word)?;
        let whole = Whole::of(self.view, at, buckets, buckets)?;
        let first = match ShortKey::new(key) {
            Some(short) => whole.first(hash, |line| short.is_in(line)),
            None => First::Unclear,
        };
        let line = match first {
            First::Is(line) => line,
            First::Absent => return still.of(None),
            First::Unclear => match whole.search(hash, key) {
                Some(line) => line,
                None => return still.of(None),
            },
        };
        take(glimpse(line, key.len())?, still, now_ms, value)
    }

    /// Reads the entry in a line if it is that of the key, as [`Self::glance`].
    #[inline(always)]
    pub(crate) fn glance_at(
        self,
        still: Still<'a>,
        line: &'a Line,
        key: &[u8],
        now_ms: &impl Fn() -> u64,
        value: &mut Vec<u8>,
    ) -> Option<Option<Glimpse<'a>>> {
        if !ShortKey::new(key)?.is_in(line) {
            return None;
        }
        take(glimpse(line, key.len())?, still, now_ms, value)
    }

    /// Begins a look-up: nothing has been read yet of what the version is about. `None` if the
    /// shard is being changed.
    #[inline(always)]
    pub(crate) fn begin(self, hash: u64) -> Option<Begun<'a>> {
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
        Some(Begun { still: Still { version, before }, word })
    }
}

/// Appends the value of what was found, if it counts.
#[inline(always)]
pub(crate) fn take<'a>(
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
