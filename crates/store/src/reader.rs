//! Looking without waiting: look-ups that write nothing to what they read.
//!
//! ```text
//!   version even:  read --> version the same?  yes: done   no: again
//!   version odd:   the owner's journal has notes --> read, each noted word as it was before
//!                  --> version, owner and notes the same?  yes: done   no: again
//! ```
//!
//! A shard that stays odd is one whose owner died, was stopped, or has much to do. Its unfinished
//! change does not count yet, so the state before it is the state: a reader waits for nobody.
//!
//! A value in a payload is copied after its bucket was read. It is right if the bucket, read again,
//! still says the same version: payloads do not change, and are not reused while they are
//! reachable.
//!
//! Promises: reads only; every offset is checked; every loop has an end.
//! Source: H.-J. Boehm, Can Seqlocks Get Along With Programming Language Memory Models?, 2012.

use crate::atomic::{Acquire, Relaxed, fence};
use crate::bucket::{Bucket, Sought};
use crate::glance::{Begun, Glimpse};
use crate::hold::Hold;
use crate::layout::{Plan, WORD, shard};
use crate::table::group_of;
use crate::view::{Look, View};
use crate::{Error, Meta};

/// How often a reader looks at an odd version before it reads the journal: a change takes some
/// hundred nanoseconds, and so do these.
const ODD_LOOKS: u32 = 64;

/// After how many tries others get the processor: whoever keeps changing the shard may need it.
const TRIES_PER_YIELD: u32 = 128;

/// After how many tries a reader gives up: a shard that changes under each of these is broken,
/// or its words are hostile.
pub(crate) const TRIES_MOST: u32 = 1 << 16;

/// What a reader says when it gives up.
pub(crate) const NEVER_STILL: &str = "a shard that is never still";

/// Something that is read in one piece.
pub(crate) trait Reading {
    /// What it gives.
    type Out;
    /// Reads; what it reads may be torn, and then what it gives is thrown away.
    fn read(&mut self, look: &impl Look, plan: &Plan) -> Result<Self::Out, Error>;
}

/// The bucket of a key.
pub(crate) struct FindBucket<'a>(pub(crate) &'a Sought<'a>);

impl Reading for FindBucket<'_> {
    type Out = Option<Bucket>;

    #[inline]
    fn read(&mut self, look: &impl Look, plan: &Plan) -> Result<Self::Out, Error> {
        let Some(group) = group_of(look, plan, self.0.hash)? else { return Ok(None) };
        Ok(group.find(look, self.0)?.map(|(_, bucket)| bucket))
    }
}

/// A shard's words as they were before the unfinished change that a journal tells of.
struct Before<'a> {
    view: &'a View,
    notes: Vec<(u64, u64)>,
}

impl Look for Before<'_> {
    fn read(&self, at: u64) -> Result<u64, Error> {
        let now = self.view.read(at)?;
        // The first note of a word has its oldest value.
        let noted = self.notes.iter().find(|(noted_at, _)| *noted_at == at);
        Ok(noted.map_or(now, |&(_, old)| old))
    }

    fn read_line(&self, at: u64) -> Result<[u64; 8], Error> {
        let mut words = self.view.read_line(at)?;
        for (index, word) in words.iter_mut().enumerate() {
            let at = at + index as u64 * WORD;
            if let Some(&(_, old)) = self.notes.iter().find(|(noted_at, _)| *noted_at == at) {
                *word = old;
            }
        }
        Ok(words)
    }

    fn view(&self) -> &View {
        self.view
    }
}

/// Who only looks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) view: &'a View,
    pub(crate) plan: &'a Plan,
}

impl Reader<'_> {
    /// Reads from a shard in one piece; returns also the version that it had.
    #[inline]
    pub(crate) fn read<R: Reading>(
        self,
        shard: u64,
        reading: &mut R,
    ) -> Result<(R::Out, u64), Error> {
        let version = self.view.word(self.plan.shard_at(shard) + shard::VERSION);
        // Acquire pairs with the Release of whoever made it even.
        let before = version.load(Acquire);
        if before & 1 == 0 {
            let out = reading.read(self.view, self.plan);
            // Pairs with the Release fence of `begin`: if we saw a word of a change, we see its
            // odd version now.
            fence(Acquire);
            if version.load(Relaxed) == before {
                return out.map(|out| (out, before));
            }
        }
        self.read_again(shard, reading)
    }

    #[cold]
    fn read_again<R: Reading>(self, shard: u64, reading: &mut R) -> Result<(R::Out, u64), Error> {
        let version = self.view.word(self.plan.shard_at(shard) + shard::VERSION);
        for tries in 0..TRIES_MOST {
            let before = version.load(Acquire);
            if before & 1 == 0 {
                let out = reading.read(self.view, self.plan);
                fence(Acquire);
                if version.load(Relaxed) == before {
                    return out.map(|out| (out, before));
                }
            } else if tries >= ODD_LOOKS
                && let Some(out) = self.read_before(shard, before, reading)
            {
                return out.map(|out| (out, before));
            }
            if tries % TRIES_PER_YIELD == TRIES_PER_YIELD - 1 {
                std::thread::yield_now();
            }
            std::hint::spin_loop();
        }
        Err(Error::Damaged { what: NEVER_STILL, at: self.plan.shard_at(shard) })
    }

    /// Reads a shard as it was before the change that is under way; `None` if that went on.
    fn read_before<R: Reading>(
        self,
        shard: u64,
        version: u64,
        reading: &mut R,
    ) -> Option<Result<R::Out, Error>> {
        let owner = self.owner(shard)?;
        let journal = self.plan.journal_at(owner);
        // Acquire pairs with the Release of each note.
        let count = self.view.word(journal).load(Acquire);
        if count > self.plan.notes {
            return None;
        }
        let note = |index| {
            let at = journal + WORD + index * 2 * WORD;
            (self.view.word(at).load(Relaxed), self.view.word(at + WORD).load(Relaxed))
        };
        let look = Before { view: self.view, notes: (0..count).map(note).collect() };
        let out = reading.read(&look, self.plan);
        fence(Acquire);
        let is_same = self.view.word(journal).load(Relaxed) == count
            && self.owner(shard) == Some(owner)
            && self.view.word(self.plan.shard_at(shard) + shard::VERSION).load(Relaxed) == version;
        is_same.then_some(out)
    }

    /// Asks the processor to fetch the line where a key's look-up begins, and waits for nothing.
    /// What is read on the way may be torn: then another line is fetched, or none.
    #[inline]
    pub(crate) fn prefetch(self, hash: u64) {
        if let Ok(Some(group)) = group_of(self.view, self.plan, hash) {
            let (shelves, ring) = (group.whole(), group.stubs());
            if group.buckets != 0 {
                self.view.prefetch(shelves.marks_of(shelves.home(hash)));
            }
            if group.rows != 0 {
                self.view.prefetch(ring.line_at(ring.home(hash)));
            }
        }
    }

    /// Reads a key's entry that has not expired, and appends its value.
    /// If there is one, `visit` is told, with what a glance found of it.
    #[inline(always)]
    pub(crate) fn get(
        self,
        hash: u64,
        key: &[u8],
        now_ms: impl Fn() -> u64,
        visit: impl Fn(Option<Glimpse<'_>>),
        value: &mut Vec<u8>,
    ) -> Result<Option<Meta>, Error> {
        let begun = self.begin(hash);
        match begun.and_then(|begun| self.glance(begun, hash, key, &now_ms, value)) {
            // What is given is put together at the very end: a struct that is carried through
            // branches is copied at each.
            Some(Some(glimpse)) => {
                visit(Some(glimpse));
                Ok(Some(glimpse.meta()))
            }
            Some(None) => Ok(None),
            None => self.get_apart(begun, hash, key, now_ms, visit, value),
        }
    }

    /// As [`Self::get`], for an entry that may have a payload: apart, for its sake and for that of
    /// those which have none.
    #[inline(never)]
    fn get_apart(
        self,
        begun: Option<Begun<'_>>,
        hash: u64,
        key: &[u8],
        now_ms: impl Fn() -> u64,
        visit: impl Fn(Option<Glimpse<'_>>),
        value: &mut Vec<u8>,
    ) -> Result<Option<Meta>, Error> {
        match begun.and_then(|begun| self.glance_row(begun, hash, key, &now_ms, value)) {
            Some(Some(glimpse)) => {
                visit(Some(glimpse));
                Ok(Some(glimpse.meta()))
            }
            Some(None) => Ok(None),
            None => self.get_far(hash, key, now_ms, visit, value),
        }
    }

    /// The same, wherever it stands.
    #[inline(never)]
    fn get_far(
        self,
        hash: u64,
        key: &[u8],
        now_ms: impl Fn() -> u64,
        visit: impl Fn(Option<Glimpse<'_>>),
        value: &mut Vec<u8>,
    ) -> Result<Option<Meta>, Error> {
        if let Some(found) = self.glance_far(hash, key, &now_ms, value) {
            return Ok(found.map(|glimpse| {
                visit(Some(glimpse));
                glimpse.meta()
            }));
        }
        let found = self.get_again(hash, key, now_ms, value)?;
        if found.is_some() {
            visit(None);
        }
        Ok(found)
    }

    /// As [`Self::get`], for what a glance could not tell.
    #[cold]
    #[inline(never)]
    fn get_again(
        self,
        hash: u64,
        key: &[u8],
        now_ms: impl Fn() -> u64,
        value: &mut Vec<u8>,
    ) -> Result<Option<Meta>, Error> {
        let sought = &Sought::hashed(hash, key);
        let shard = self.plan.shard_of(sought.hash);
        for _ in 0..TRIES_MOST {
            let (bucket, version) = self.read(shard, &mut FindBucket(sought))?;
            let Some(bucket) = bucket else { return Ok(None) };
            if has_expired(&bucket, &now_ms) {
                return Ok(None);
            }
            if bucket.copy_inline_value(value) {
                return Ok(Some(bucket.meta()));
            }
            let length = value.len();
            let copied = self.copy_payload(&bucket, value);
            if self.still_stands(shard, version, sought, &bucket)? {
                return copied.map(|()| Some(bucket.meta()));
            }
            value.truncate(length);
        }
        Err(Error::Damaged { what: NEVER_STILL, at: self.plan.shard_at(shard) })
    }

    /// Reads a key's entry that has not expired, and appends a part of its value: from a byte on,
    /// at most so many.
    pub(crate) fn get_range(
        self,
        sought: &Sought<'_>,
        now_ms: impl Fn() -> u64,
        (from, count): (u64, u64),
        part: &mut Vec<u8>,
    ) -> Result<Option<Meta>, Error> {
        let shard = self.plan.shard_of(sought.hash);
        for _ in 0..TRIES_MOST {
            let (bucket, version) = self.read(shard, &mut FindBucket(sought))?;
            let Some(bucket) = bucket.filter(|bucket| !has_expired(bucket, &now_ms)) else {
                return Ok(None);
            };
            let length = part.len();
            let from = from.min(bucket.value_bytes());
            let count = count.min(bucket.value_bytes() - from);
            let copied = if bucket.copy_inline_value(part) {
                part.drain(length..length + from as usize);
                part.truncate(length + count as usize);
                Ok(())
            } else {
                self.copy_part(&bucket, from, count, part)
            };
            if self.still_stands(shard, version, sought, &bucket)? {
                return copied.map(|()| Some(bucket.meta()));
            }
            part.truncate(length);
        }
        Err(Error::Damaged { what: NEVER_STILL, at: self.plan.shard_at(shard) })
    }

    /// Appends `count` bytes from the `from`-th on of a payload's value.
    fn copy_part(
        self,
        bucket: &Bucket,
        from: u64,
        count: u64,
        part: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let Some(payload) = bucket.payload() else {
            return Err(Error::Damaged { what: "a bucket of no kind", at: bucket.0[0] });
        };
        if payload.value_bytes > self.plan.value_bytes_most() {
            let (what, at) = ("a value longer than can be", payload.at);
            return Err(Error::Damaged { what, at });
        }
        // Payloads are read by whole words: what comes before the first byte is cut off again.
        let (skip, length) = (from % WORD, part.len());
        let at = payload.value_at.saturating_add(from - skip);
        self.view.copy_out(at, count + skip, part)?;
        part.drain(length..length + skip as usize);
        Ok(())
    }

    /// Reads what is known of a key's entry that has not expired.
    pub(crate) fn peek(
        self,
        sought: &Sought<'_>,
        now_ms: impl Fn() -> u64,
    ) -> Result<Option<Meta>, Error> {
        let shard = self.plan.shard_of(sought.hash);
        let (bucket, _) = self.read(shard, &mut FindBucket(sought))?;
        Ok(bucket.filter(|bucket| !has_expired(bucket, &now_ms)).map(|bucket| bucket.meta()))
    }

    pub(crate) fn copy_payload(self, bucket: &Bucket, value: &mut Vec<u8>) -> Result<(), Error> {
        let Some(payload) = bucket.payload() else {
            return Err(Error::Damaged { what: "a bucket of no kind", at: bucket.0[0] });
        };
        if payload.value_bytes > self.plan.value_bytes_most() {
            let (what, at) = ("a value longer than can be", payload.at);
            return Err(Error::Damaged { what, at });
        }
        self.view.copy_out(payload.value_at, payload.value_bytes, value)
    }

    /// Whether the payload of a bucket that was read was reachable until now.
    pub(crate) fn still_stands(
        self,
        shard: u64,
        version: u64,
        sought: &Sought<'_>,
        bucket: &Bucket,
    ) -> Result<bool, Error> {
        // Pairs with the Release fence of `begin`, as in `read`.
        fence(Acquire);
        let at = self.plan.shard_at(shard) + shard::VERSION;
        if version & 1 == 0 && self.view.word(at).load(Relaxed) == version {
            return Ok(true);
        }
        let (now, _) = self.read(shard, &mut FindBucket(sought))?;
        Ok(now.is_some_and(|now| {
            now.version() == bucket.version() && now.payload() == bucket.payload()
        }))
    }

    fn owner(self, shard: u64) -> Option<u64> {
        let hold = Hold(self.view.half_word(self.plan.shard_at(shard) + shard::HOLD));
        hold.owner().filter(|&slot| slot < self.plan.slots)
    }
}

#[inline]
pub(crate) fn has_expired(bucket: &Bucket, now_ms: &impl Fn() -> u64) -> bool {
    let expiry = bucket.expiry();
    expiry != 0 && expiry <= now_ms()
}
