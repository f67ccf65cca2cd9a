//! Changing entries: one transaction, whatever the number of keys and shards.
//!
//! Promises: all of a change or nothing of it; an entry that is replaced or removed leaves its
//! payload claimed, as it was, until the change counts and the holds are gone.

use morecore_heap::{Core, Offset, UndoLog};

use crate::atomic::{Relaxed, Release};
use crate::bucket::{BUCKET_BYTES, Bucket, Sought};
use crate::grow::Lacking;
use crate::layout::{KEY_BYTES_MOST, WORD, shard};
use crate::many::New;
use crate::reader::Reader;
use crate::session::Session;
use crate::table::{ENTRY_NOTES_MOST, Edit, Group, group_of};
use crate::view::{Look, View};
use crate::{Change, Condition, Error, Expiry, Meta, Set, SetDone};

/// The alignment of a payload: its head is read by whole words, and a stub names it by words.
pub(crate) const PAYLOAD_ALIGN: u64 = WORD;

/// How often one change may make place: more than a group can grow before it is split.
const PLACES_MOST: usize = 64;

/// What is to become of one key's entry, with what it needs already claimed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Act {
    /// It stays.
    Keep,
    /// It goes.
    Remove,
    /// It gets another expiry.
    Expire(Option<u64>),
    /// It becomes this bucket; the payload, if it has one, is this claim.
    Put(Bucket, Option<u64>),
}

impl Act {
    /// The same, with an expiry.
    pub(crate) fn expiring(self, expiry: Option<u64>) -> Self {
        match self {
            Act::Put(bucket, claim) => Act::Put(bucket.with_expiry(expiry), claim),
            other => other,
        }
    }
}

/// A change of one key.
pub(crate) type Step<'k> = (Sought<'k>, Act);

/// The table's words, changed by way of the journal.
struct Logged<'a> {
    core: &'a mut Core<UndoLog>,
    view: View,
    has_emptied: &'a mut bool,
}

impl Look for Logged<'_> {
    fn read(&self, at: u64) -> Result<u64, Error> {
        self.view.read(at)
    }

    fn read_line(&self, at: u64) -> Result<[u64; 8], Error> {
        self.view.read_line(at)
    }

    fn view(&self) -> &View {
        &self.view
    }
}

impl Edit for Logged<'_> {
    fn write(&mut self, at: u64, value: u64) {
        self.core.write(Offset(at), value);
    }

    #[inline]
    fn fill(&mut self, at: u64, bucket: &Bucket) -> Result<(), Error> {
        if *self.has_emptied {
            for (number, &word) in bucket.0.iter().enumerate() {
                self.core.write(Offset(at + number as u64 * WORD), word);
            }
            return Ok(());
        }
        let Some(line) = self.view.line(at) else {
            return Err(Error::Damaged { what: "a bucket out of bounds", at });
        };
        for (to, &word) in line.iter().zip(&bucket.0) {
            // Release, as in `Core::write_fresh`: who sees the mark sees the entry.
            to.store(word, Release);
        }
        Ok(())
    }

    fn prepare(&mut self, at: u64, value: u64) {
        self.core.write_fresh(Offset(at), value);
    }

    fn empties(&mut self) {
        *self.has_emptied = true;
    }
}

impl Session {
    /// Prepares a new value for a key: in a bucket, or in a payload that is claimed and filled.
    pub(crate) fn prepare(
        &mut self,
        sought: &Sought<'_>,
        value: &[u8],
        flags: u32,
    ) -> Result<Act, Error> {
        if let Some(bucket) = Bucket::inline(sought.key, value, flags) {
            return Ok(Act::Put(bucket, None));
        }
        self.check_value(value)?;
        let new = New { sought: *sought, value, flags };
        let (at, claim) = self.claim_payload(sought.hash, self.bytes_of(&new))?;
        self.fill_payload(at, &new);
        Ok(Act::Put(Self::bucket_of(at, &new), Some(claim)))
    }

    /// The entry of a key that has not expired; its shard is held.
    pub(crate) fn live(&self, sought: &Sought<'_>) -> Result<Option<Bucket>, Error> {
        let found = self.find(sought)?.map(|(_, _, bucket)| bucket);
        Ok(found.filter(|bucket| !self.has_expired(bucket)))
    }

    /// The entry of a key and where it stands; its shard is held.
    pub(crate) fn find(&self, sought: &Sought<'_>) -> Result<Option<(Group, u64, Bucket)>, Error> {
        let Some(group) = group_of(&self.view, &self.plan, sought.hash)? else { return Ok(None) };
        let found = group.find(&self.view, sought)?;
        Ok(found.map(|(index, bucket)| (group, index, bucket)))
    }

    /// Appends the value of a live entry whose shard is held; returns where it begins, and the
    /// rest.
    pub(crate) fn read_held(
        &self,
        sought: &Sought<'_>,
        values: &mut Vec<u8>,
    ) -> Result<Option<(usize, Meta)>, Error> {
        let Some(bucket) = self.live(sought)? else { return Ok(None) };
        let from = values.len();
        if !bucket.copy_inline_value(values) {
            Reader { view: &self.view, plan: &self.plan }.copy_payload(&bucket, values)?;
        }
        Ok(Some((from, bucket.meta())))
    }

    /// Puts an entry for a key if the condition holds; takes the key's shard, and keeps it.
    pub(crate) fn put_if(
        &mut self,
        sought: &Sought<'_>,
        act: Act,
        how: &Set,
    ) -> Result<SetDone, Error> {
        let shards = [self.plan.shard_of(sought.hash)];
        self.hold(&shards)?;
        let mut expiry = match how.expiry {
            Expiry::At(at) => Some(at),
            Expiry::Clear | Expiry::Keep => None,
        };
        if how.condition != Condition::Always || how.expiry == Expiry::Keep {
            let live = self.live(sought)?.map(|bucket| bucket.meta());
            let is_met = match how.condition {
                Condition::Always => true,
                Condition::Absent => live.is_none(),
                Condition::Present => live.is_some(),
                Condition::Version(version) => live.is_some_and(|meta| meta.version == version),
            };
            if !is_met {
                return Ok(SetDone::Refused);
            }
            if how.expiry == Expiry::Keep {
                expiry = live.and_then(|meta| meta.expiry_ms);
            }
        }
        let version = self.change(&shards, &[(*sought, act.expiring(expiry))])?;
        Ok(SetDone::Stored { version })
    }

    /// What a change comes to, with what it needs claimed.
    pub(crate) fn act_for(&mut self, sought: &Sought<'_>, change: &Change) -> Result<Act, Error> {
        self.check_own()?;
        match change {
            Change::Keep => Ok(Act::Keep),
            Change::Remove => Ok(Act::Remove),
            Change::Expire(expiry) => Ok(Act::Expire(*expiry)),
            Change::Set { value, expiry, flags } => {
                Ok(self.prepare(sought, value, *flags)?.expiring(*expiry))
            }
        }
    }

    #[inline]
    pub(crate) fn has_expired(&self, bucket: &Bucket) -> bool {
        let expiry = bucket.expiry();
        expiry != 0 && expiry <= self.now_ms()
    }

    /// Makes the steps as one transaction, growing the table if it must; the shards are held.
    /// Returns the version that the first step's entry has now, if it was set.
    pub(crate) fn change(&mut self, shards: &[u64], steps: &[Step<'_>]) -> Result<u64, Error> {
        self.check_own()?;
        let claims = self.claims;
        for _ in 0..PLACES_MOST + steps.len() {
            self.begin(shards);
            let stuck = match self.apply_all(steps) {
                Ok(None) => {
                    let version = self.version(steps[0].0.hash);
                    self.commit();
                    return Ok(version);
                }
                Ok(Some(index)) => Ok(index),
                Err(error) => Err(error),
            };
            self.undo();
            self.claims = claims;
            let (sought, act) = &steps[stuck?];
            if let Act::Put(bucket, _) = act {
                let lacking = Lacking::of(bucket);
                self.sparing(steps.iter().map(|(sought, _)| sought.hash), |session| {
                    session.make_place_with_stock(sought.hash, lacking)
                })?;
            }
        }
        Err(Error::Full { bytes: BUCKET_BYTES })
    }

    /// Makes the steps; the index of the first for which there is no place, if any.
    fn apply_all(&mut self, steps: &[Step<'_>]) -> Result<Option<usize>, Error> {
        for (index, (sought, act)) in steps.iter().enumerate() {
            if self.core.journal().room() < ENTRY_NOTES_MOST {
                return Err(Error::TooManyKeys { keys: steps.len() as u64, most: index as u64 });
            }
            if !self.apply(sought, *act)? {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// Makes one step; false if there is no place for a new entry.
    pub(crate) fn apply(&mut self, sought: &Sought<'_>, act: Act) -> Result<bool, Error> {
        if matches!(act, Act::Keep) {
            return Ok(true);
        }
        let Some(group) = group_of(&self.view, &self.plan, sought.hash)? else {
            return Ok(!matches!(act, Act::Put(..)));
        };
        let found = group.find(&self.view, sought)?;
        match (act, found) {
            (Act::Remove, Some((index, bucket))) => {
                self.remove(&group, sought.hash, index, &bucket)?;
            }
            (Act::Expire(expiry), Some((index, bucket))) if !self.has_expired(&bucket) => {
                let bucket = bucket.with_expiry(expiry);
                self.lower_due(sought.hash, bucket.expiry());
                group.replace(&mut self.edit(), sought.hash, index, bucket)?;
            }
            (Act::Put(new, claim), Some((index, old))) => {
                self.count_visit(self.visits_of(&old, sought.hash, group.line_at(index)));
                self.lower_due(sought.hash, new.expiry());
                let new = new.with_version(self.version(sought.hash)).with_main(old.is_main());
                if new.is_inline() == old.is_inline() {
                    group.replace(&mut self.edit(), sought.hash, index, new)?;
                } else {
                    group.remove(&mut self.edit(), sought.hash, index)?;
                    if !group.insert(&mut self.edit(), sought.hash, new)? {
                        return Ok(false);
                    }
                }
                self.publish(claim, old.payload().map(|payload| payload.at))?;
                self.will_retire(claim, &old);
                self.count(sought.hash, 0, new.content_bytes(), old.content_bytes());
            }
            (Act::Put(new, claim), None) => {
                self.lower_due(sought.hash, new.expiry());
                let is_main = self.was_dropped_lately(sought.hash);
                let new = new.with_version(self.version(sought.hash)).with_main(is_main);
                if !group.insert(&mut self.edit(), sought.hash, new)? {
                    return Ok(false);
                }
                self.publish(claim, None)?;
                self.count(sought.hash, 1, new.content_bytes(), 0);
            }
            (Act::Keep | Act::Remove | Act::Expire(_), _) => {}
        }
        Ok(true)
    }

    /// Takes an entry out of the table; its payload is claimed from here on.
    pub(crate) fn remove(
        &mut self,
        group: &Group,
        hash: u64,
        index: u64,
        bucket: &Bucket,
    ) -> Result<(), Error> {
        group.remove(&mut self.edit(), hash, index)?;
        self.publish(None, bucket.payload().map(|payload| payload.at))?;
        self.count(hash, -1, 0, bucket.content_bytes());
        Ok(())
    }

    /// What was claimed is reachable now, and `retired` is so no more.
    pub(crate) fn publish(
        &mut self,
        claim: Option<u64>,
        retired: Option<u64>,
    ) -> Result<(), Error> {
        let claim = match (claim, retired) {
            (None, None) => return Ok(()),
            (None, Some(_)) => self.next_claim()?,
            (Some(claim), _) => claim,
        };
        let at = Offset(self.plan.claim_at(self.slot, claim));
        self.core.write(at, retired.unwrap_or(0));
        Ok(())
    }

    /// The version that entries of this hash's shard get in this transaction.
    pub(crate) fn version(&self, hash: u64) -> u64 {
        let at = self.plan.shard_at(self.plan.shard_of(hash)) + shard::VERSION;
        self.view.word(at).load(Relaxed).div_ceil(2) & ((1 << 48) - 1)
    }

    /// Counts what was added to a hash's shard and taken from it.
    pub(crate) fn count(&mut self, hash: u64, entries: i64, added: u64, taken: u64) {
        let at = Offset(self.plan.shard_at(self.plan.shard_of(hash)));
        if entries != 0 {
            let count = self.core.read(at + shard::ENTRIES).wrapping_add_signed(entries);
            self.core.write(at + shard::ENTRIES, count);
        }
        if added != taken {
            let bytes = self.core.read(at + shard::CONTENT_BYTES);
            let bytes = bytes.wrapping_add(added).wrapping_sub(taken);
            self.core.write(at + shard::CONTENT_BYTES, bytes);
        }
    }

    fn edit(&mut self) -> Logged<'_> {
        let Self { core, view, has_emptied, .. } = self;
        Logged { core, view: *view, has_emptied }
    }
}

/// Refuses a key that no store can hold.
pub(crate) fn check_key(key: &[u8]) -> Result<(), Error> {
    let bytes = key.len() as u64;
    if bytes > KEY_BYTES_MOST {
        return Err(Error::KeyTooLong { bytes, most: KEY_BYTES_MOST });
    }
    Ok(())
}
