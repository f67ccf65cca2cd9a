//! A glance at entries with a payload: they stand behind a stub, far from the table.
//!
//! ```text
//!   row --the stub's bits of the hash--> payload: two words, key, value      almost always
//!                                                 three words, key, value    `open_long`
//! ```
//!
//! A processor that waits for a payload's first line has its other lines under way if it knows
//! where they are. So where the value begins is told by the key that is looked for, which is at
//! hand, and not by the length that the payload names: that is compared, and a processor takes it
//! for granted until it has come. For the same reason a row's stubs are compared all at once: a
//! processor looks no further ahead than some hundred instructions.
//!
//! Promises: as `glance.rs`.

use crate::atomic::Relaxed;
use crate::bucket::{BUCKET_BYTES, INLINE_BYTES};
use crate::glance::{Begun, Glimpse, Line, Still, Whole, take};
use crate::layout::WORD;
use crate::payload::{self, KEY_AT, ShortHead, Stub};
use crate::racy;
use crate::reader::Reader;
use crate::ring::{Ring, hop_in};
use crate::table::{Group, PLACES};
use crate::view::View;

/// The words of a row that are stubs: all but the first.
const STUBS_OF_ROW: u32 = (1 << PLACES) - 2;

/// How many lines of a payload with three words are fetched at once when its length is known;
/// behind that the processor sees the pattern.
const FETCH_MOST: u64 = 16;

/// The rows of a group, in bounds.
#[derive(Debug, Clone, Copy)]
struct Rows<'a> {
    lines: &'a [Line],
    ring: Ring,
}

impl<'a> Rows<'a> {
    /// The home of a hash, and the distances from there of the rows with its stubs, a bit each.
    #[inline(always)]
    fn home(self, hash: u64) -> Option<(u64, u64)> {
        let home = self.ring.home(hash);
        Some((home, hop_in(self.lines.get(home as usize)?[0].load(Relaxed))))
    }

    /// The row that the lowest bit of a hop speaks of. No division: a hop reaches once around a
    /// ring at most, and of one that is damaged another row is read, or none.
    #[inline(always)]
    fn after(self, home: u64, hop: u64) -> Option<&'a Line> {
        let index = home as usize + hop.trailing_zeros() as usize;
        let count = self.lines.len();
        self.lines.get(if index < count { index } else { index - count })
    }
}

/// The payload that the home of a hash leads to first, in a group of rows alone.
#[inline(always)]
fn first_payload(view: &View, word: u64, hash: u64) -> Option<u64> {
    let (at, rows) = Group::rows_in(word)?;
    let bytes = view.near(at, rows * BUCKET_BYTES)?.as_ptr();
    let row = |index: u64| {
        let line = bytes.wrapping_add((index * BUCKET_BYTES) as usize).cast::<Line>();
        // SAFETY: `near` found as many lines, aligned as a group is, and each index is below that.
        unsafe { &*line }
    };
    // By the arithmetic of `home` it is one of the rows.
    let home = Ring { at, lines: rows }.home(hash);
    let index = home + u64::from(hop_in(row(home)[0].load(Relaxed)).trailing_zeros());
    let index = if index < rows { index } else { index - rows };
    if index >= rows {
        return None;
    }
    let row = row(index);
    let found = stubs_of(row, hash);
    (found != 0).then(|| stub_in(row, found).at())
}

/// The stubs of a row that may be of a hash, a bit each.
#[inline(always)]
fn stubs_of(row: &Line, hash: u64) -> u32 {
    // SAFETY: a line is mapped while it is borrowed.
    let equal = unsafe { racy::equal_tops(row.as_ptr().cast(), Stub::top_of(hash)) };
    equal & STUBS_OF_ROW
}

/// The stub of the lowest bit.
#[inline(always)]
fn stub_in(row: &Line, found: u32) -> Stub {
    Stub(row[found.trailing_zeros() as usize % row.len()].load(Relaxed))
}

impl<'a> Reader<'a> {
    /// As [`Self::glance`], in a group of rows alone, of the entry that its home leads to first, as
    /// most are: in so few instructions that the next look-up begins while this one waits.
    #[inline(always)]
    pub(crate) fn glance_row(
        self,
        Begun { still, word }: Begun<'a>,
        hash: u64,
        key: &[u8],
        now_ms: &impl Fn() -> u64,
        value: &mut Vec<u8>,
    ) -> Option<Option<Glimpse<'a>>> {
        let at = first_payload(self.view, word, hash)?;
        take(self.open_short(at, key)?, still, now_ms, value)
    }

    /// As [`Self::open`], for a key of 8 to 16 bytes and a payload with two words; `None` if it is
    /// not the one.
    #[inline(always)]
    fn open_short(self, at: u64, key: &[u8]) -> Option<Glimpse<'a>> {
        let (first, last) = (key.first_chunk()?, key.last_chunk()?);
        let key_bytes = key.len() as u64;
        let begin = self.view.near(at, KEY_AT + key_bytes)?.as_ptr().cast::<u8>();
        let word = |at: u64| {
            // SAFETY: all that is asked for is among the bytes that `near` found.
            unsafe { racy::load_word(begin.wrapping_add(at as usize)) }
        };
        let differences = word(KEY_AT) ^ u64::from_le_bytes(*first)
            | word(KEY_AT + key_bytes - WORD) ^ u64::from_le_bytes(*last);
        let head = ShortHead::new(word(0), word(WORD))?;
        if differences != 0 || head.key_bytes != key_bytes || key.len() > 16 {
            return None;
        }
        let value = self.view.near(at + KEY_AT + key_bytes, head.value_bytes)?;
        Some(Glimpse { value, version: head.version, expiry: head.expiry, flags: 0 })
    }

    /// As [`Self::glance`], in a group that may have rows.
    #[inline(always)]
    pub(crate) fn glance_far(
        self,
        hash: u64,
        key: &[u8],
        now_ms: &impl Fn() -> u64,
        value: &mut Vec<u8>,
    ) -> Option<Option<Glimpse<'a>>> {
        let Begun { still, word } = self.begin(hash)?;
        let Some(group) = Group::unchecked(word) else { return still.of(None) };
        let found = self.seek(&group, hash, key)?;
        let Some(found) = found else { return still.of(None) };
        take(found, still, now_ms, value)
    }

    /// The payload that the look-up of a hash comes to first, in a group of rows alone.
    #[inline(always)]
    pub(crate) fn first_payload(self, word: u64, hash: u64) -> Option<u64> {
        first_payload(self.view, word, hash)
    }

    /// Reads the entry in the payload at `at` if it is that of the key, as [`Self::glance`].
    #[inline(always)]
    pub(crate) fn glance_in(
        self,
        still: Still<'a>,
        at: u64,
        key: &[u8],
        now_ms: &impl Fn() -> u64,
        value: &mut Vec<u8>,
    ) -> Option<Option<Glimpse<'a>>> {
        take(self.open(at, key)??, still, now_ms, value)
    }

    /// Has the row on its way where the look-up of a hash begins.
    #[inline(always)]
    pub(crate) fn prefetch_row(self, group: &Group, hash: u64) {
        let ring = group.stubs();
        self.view.prefetch(ring.line_at(ring.home(hash)));
    }

    #[inline(always)]
    fn rows(self, group: &Group) -> Option<Rows<'a>> {
        let ring = group.stubs();
        Some(Rows { lines: self.view.lines(ring.at, ring.lines)?, ring })
    }

    /// The entry of a key in a group.
    #[inline(always)]
    fn seek(self, group: &Group, hash: u64, key: &[u8]) -> Option<Option<Glimpse<'a>>> {
        if group.buckets != 0 && key.len() <= INLINE_BYTES {
            if group.rows != 0 {
                // On its way while the buckets are looked at.
                self.prefetch_row(group, hash);
            }
            let whole = Whole::of(self.view, group.at, group.buckets, group.lines())?;
            if let Some(found) = whole.search_for(hash, key) {
                return found.map(Some);
            }
        }
        if group.rows == 0 {
            return Some(None);
        }
        let rows = self.rows(group)?;
        let (home, mut hop) = rows.home(hash)?;
        while hop != 0 {
            let row = rows.after(home, hop)?;
            let mut found = stubs_of(row, hash);
            while found != 0 {
                let stub = stub_in(row, found);
                if !stub.is_none()
                    && let Some(glimpse) = self.open(stub.at(), key)?
                {
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
    pub(crate) fn open(self, at: u64, key: &[u8]) -> Option<Option<Glimpse<'a>>> {
        let key_bytes = key.len() as u64;
        let begin = self.view.near(at, KEY_AT + key_bytes)?.as_ptr().cast::<u8>();
        // SAFETY: the first of the bytes that `near` found.
        let version = unsafe { racy::load_word(begin) };
        // SAFETY: the next ones.
        let expiry = unsafe { racy::load_word(begin.wrapping_add(WORD as usize)) };
        let Some(head) = ShortHead::new(version, expiry) else { return self.open_long(at, key) };
        // SAFETY: `near` found as many bytes as the key has, too.
        let is_it = unsafe { racy::equals(begin.wrapping_add(KEY_AT as usize), key) };
        if !is_it || head.key_bytes != key_bytes {
            return Some(None);
        }
        let value = self.view.near(at + KEY_AT + key_bytes, head.value_bytes)?;
        Some(Some(Glimpse { value, version: head.version, expiry: head.expiry, flags: 0 }))
    }

    /// The same, whatever the payload begins with.
    #[inline(never)]
    fn open_long(self, at: u64, key: &[u8]) -> Option<Option<Glimpse<'a>>> {
        let bucket = payload::read(self.view, at).ok()?;
        let payload = bucket.payload()?;
        let lines = payload.value_bytes / BUCKET_BYTES;
        for line in 1..lines.min(FETCH_MOST) + 1 {
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
