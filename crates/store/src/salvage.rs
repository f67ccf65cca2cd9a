//! What is whole in a file that was in use when the machine stopped, taken over into a new store.
//!
//! ```text
//!   torn file --> shard --> directory --> group --> bucket --> key is of this place?
//!                                                              no journal notes a word of it?
//!                                                              sum over key and value is right?
//!                                                              yes, each time: set in the new one
//! ```
//!
//! Some pages of such a file are as they were last, others older, and one may be caught in the
//! middle of a change. So nothing is believed that does not prove itself: in stores that are in
//! files, a value that has a payload carries a sum. A value in its bucket is on the disk in one
//! piece with its key, and is left out if a change of it was under way.
//!
//! Promises: the file is only read; what is kept is what somebody set, though perhaps not the last
//! that was; ends on whatever stands in the file.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use morecore_sys::file;

use crate::bucket::{BUCKET_BYTES, Bucket};
use crate::file::open_unclean;
use crate::hash::hash;
use crate::layout::{Plan, WORD, header, shard};
use crate::mapping::Mapping;
use crate::name::Place;
use crate::payload::Shape;
use crate::reader::Reader;
use crate::session::{Session, system_now_ms};
use crate::shelf::mark_of;
use crate::system::check;
use crate::table::{Directory, Group, directory_of};
use crate::view::{Look, View};
use crate::{Create, Error, Evict, Expiry, Name, Salvaged, Set, Store};

impl Store {
    /// Takes what is whole in a file that was in use when the machine stopped over into a new
    /// store, as large and with the same mode. The file stays as it is.
    ///
    /// # Errors
    /// [`Error::Damaged`] if not even the file's header is whole; [`Error::Exists`] if `into` does;
    /// as [`Store::create`] and [`Store::set`].
    pub fn salvage(from: &Name, into: &Name) -> Result<Salvaged, Error> {
        let Place::File(path) = from.place() else {
            return Err(Error::NotHere { name: from.to_string() });
        };
        let torn = Torn::open(path)?;
        let mut store = Self::create(into, &torn.how()?)?;
        torn.take_over(&mut store)
    }
}

/// What a value's payload ends with in a store that is in a file.
fn sum(seed: u64, key: &[u8], value: &[u8]) -> u64 {
    hash(hash(seed, key), value)
}

impl Session {
    /// How many bytes a payload of this shape takes, with the sum behind it if there is one.
    pub(crate) fn payload_bytes(&self, shape: Shape) -> u64 {
        if self.has_sums { sum_at(shape.bytes) + WORD } else { shape.bytes }
    }

    /// Puts the sum behind a value that ends at `end`, in a claimed payload.
    pub(crate) fn put_sum(&self, end: u64, key: &[u8], value: &[u8]) {
        if self.has_sums {
            self.view.store(sum_at(end), sum(self.seed, key, value));
        }
    }
}

/// Where the sum of a value that ends at `end` stands: on a whole word.
fn sum_at(end: u64) -> u64 {
    end.next_multiple_of(WORD)
}

/// A file that nothing is believed of.
struct Torn {
    mapping: Mapping,
    view: View,
    plan: Plan,
    seed: u64,
    now_ms: u64,
    /// The words that an unfinished change had noted, as they were before it.
    doubtful: HashMap<u64, u64>,
}

impl Torn {
    fn open(path: &Path) -> Result<Self, Error> {
        let mapping = open_unclean(path)?;
        let view = mapping.view();
        check(&view)?;
        let plan = Plan::new(view.bytes());
        let doubtful = noted_words(&view, &plan);
        let (seed, now_ms) = (view.load(header::SEED_AT), system_now_ms());
        Ok(Self { mapping, view, plan, seed, now_ms, doubtful })
    }

    /// How the store was made.
    fn how(&self) -> Result<Create, Error> {
        let told = self.mapping.descriptor().map(file::stat).transpose()?;
        let evict = if self.view.load(header::EVICT_AT) == 0 { Evict::Policy } else { Evict::None };
        Ok(Create {
            memory_bytes: self.plan.bytes,
            mode: told.map_or(Create::default().mode, |told| told.mode),
            evict,
        })
    }

    fn take_over(&self, store: &mut Store) -> Result<Salvaged, Error> {
        let mut salvaged = Salvaged::default();
        for index in 0..self.plan.shards {
            let counted = self.view.load(self.plan.shard_at(index) + shard::ENTRIES);
            salvaged.counted = salvaged.counted.saturating_add(counted);
            // A directory that leads nowhere: what it led to is counted, and not found.
            if let Ok(Some(directory)) = directory_of(&self.view, &self.plan, index) {
                self.take_shard(directory, index, store, &mut salvaged)?;
            }
        }
        Ok(salvaged)
    }

    fn take_shard(
        &self,
        directory: Directory,
        shard: u64,
        store: &mut Store,
        salvaged: &mut Salvaged,
    ) -> Result<(), Error> {
        let mut seen = HashSet::new();
        for index in 0..directory.count() {
            let Ok(word) = self.view.read(directory.at.saturating_add(index * WORD)) else {
                break;
            };
            let Ok(Some(group)) = Group::from_word(word) else { continue };
            if !seen.insert(group.at) {
                continue;
            }
            let mut place = 0;
            while place < group.places() {
                let at = group.line_at(place);
                match group.entry(&self.view, place) {
                    Ok(None) => {}
                    Ok(Some(bucket)) => match self.entry(&bucket, at, shard, directory, &group) {
                        Ok(entry) => self.keep(&entry, &bucket, store, salvaged)?,
                        Err(_) => salvaged.lost += 1,
                    },
                    Err(_) => salvaged.lost += 1,
                }
                place = group.next_place(place);
            }
        }
        Ok(())
    }

    fn keep(
        &self,
        (key, value): &(Vec<u8>, Vec<u8>),
        bucket: &Bucket,
        store: &mut Store,
        salvaged: &mut Salvaged,
    ) -> Result<(), Error> {
        let meta = bucket.meta();
        if meta.expiry_ms.is_some_and(|expiry| expiry <= self.now_ms) {
            salvaged.expired += 1;
            return Ok(());
        }
        let expiry = meta.expiry_ms.map_or(Expiry::Clear, Expiry::At);
        store.set(key, value, &Set { expiry, flags: meta.flags, ..Set::default() })?;
        salvaged.kept += 1;
        salvaged.bytes += (key.len() + value.len()) as u64;
        Ok(())
    }

    /// An entry's key and value, if all of it proves itself.
    fn entry(
        &self,
        bucket: &Bucket,
        at: u64,
        shard: u64,
        directory: Directory,
        group: &Group,
    ) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let doubt = |what| Err(Error::Damaged { what, at });
        let (mut key, mut value) = (Vec::new(), Vec::new());
        bucket.copy_key(&self.view, &mut key)?;
        let hash = hash(self.seed, &key);
        let word_at = directory.entry_at(&self.plan, hash);
        if self.plan.shard_of(hash) != shard || self.view.read(word_at)? != group.word() {
            return doubt("an entry of another place");
        }
        let head_at = bucket.payload().map_or(at, |payload| payload.at);
        let words =
            (0..BUCKET_BYTES / WORD).flat_map(|word| [at, head_at].map(|at| at + word * WORD));
        let is_marked_anew = group.whole_at(at).is_some_and(|index| {
            // Its neighbours' marks stand in the same word: only its own byte is of interest.
            let (word_at, shift) = group.whole().mark_word_of(index);
            let earlier = self.doubtful.get(&word_at);
            earlier.is_some_and(|word| (word >> shift) as u8 != mark_of(hash))
        });
        if is_marked_anew || words.into_iter().any(|at| self.doubtful.contains_key(&at)) {
            return doubt("a change of the entry was under way");
        }
        if bucket.copy_inline_value(&mut value) {
            return Ok((key, value));
        }
        Reader { view: &self.view, plan: &self.plan }.copy_payload(bucket, &mut value)?;
        let end = bucket.payload().map_or(0, |payload| payload.value_at + payload.value_bytes);
        if self.view.read(sum_at(end))? != sum(self.seed, &key, &value) {
            return doubt("a payload that is not the entry's, or not whole");
        }
        Ok((key, value))
    }
}

/// All words that stand in a journal which is not empty, with what they were.
fn noted_words(view: &View, plan: &Plan) -> HashMap<u64, u64> {
    let mut words = HashMap::new();
    for slot in 0..plan.slots {
        let journal = plan.journal_at(slot);
        let count = view.load(journal).min(plan.notes);
        for note in 0..count {
            let at = journal + WORD + note * 2 * WORD;
            // The first note of a word has its oldest value.
            words.entry(view.load(at)).or_insert(view.load(at + WORD));
        }
    }
    words
}
