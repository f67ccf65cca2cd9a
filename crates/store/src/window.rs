//! Room for one payload that is large beside the others: what lies side by side in memory goes.
//!
//! ```text
//!   .. [entry][free][entry][group][entry] ..      from some entry's chunk on, as far as is
//!      |<----------- wanted ----------->|         wanted: entries are dropped, and groups with all
//!                                                 that they lead to
//! ```
//!
//! Dropping by the table's order would free chunks that are scattered over all memory, and they
//! meet only when most of the store is gone. A payload has its key, so the table can be asked
//! whose it is.
//!
//! Memory is walked without a hold, so what is read may be stale: each find is looked up in the
//! table, under its shard's hold, before anything is dropped for it.
//!
//! Promises: a walk ends, stays inside the segment, and drops nothing that the table does not name.

use morecore_heap::{CHUNK_TAGS, Chunk, Class, Offset, Part, Slab, Tag, Walk};

use crate::bucket::{BUCKET_BYTES, Bucket};
use crate::layout::WORD;
use crate::payload::{self, Stub};
use crate::pick::Victim;
use crate::reader::{Reader, Reading};
use crate::scan::end_of;
use crate::session::Session;
use crate::table::{Directory, Group, LINES_MOST, directory_of, group_of};
use crate::view::Look;
use crate::{Error, layout::Plan};

/// The most occupants of a window: half a gigabyte of small entries, and a second's work.
const OCCUPANTS_MOST: usize = 1 << 22;

/// How many groups are tried for an entry to begin at.
const STARTS_MOST: u32 = 16;

/// How many windows are looked at for one without groups, each of which takes hundreds of entries
/// along: about one in four of 100 KB has one, so that four in a row are rare, and a look at a
/// window is a small part of what it costs to clear it.
const WINDOWS_COMPARED: u32 = 4;

/// What stands in a window and can be dropped.
#[derive(Debug, Clone, Copy)]
enum Occupant {
    /// The payload of an entry with this hash.
    Payload { at: u64, hash: u64 },
    /// A group, and the hash of one of its entries.
    Group { at: u64, hash: u64 },
    /// The directory of a shard: it goes with all that it leads to, which in a large store is a
    /// part in a thousand.
    Directory { at: u64, shard: u64 },
}

impl Occupant {
    /// Whether many entries go with it, wherever they are in memory.
    fn leads_to_many(&self) -> bool {
        !matches!(self, Self::Payload { .. })
    }
}

/// The payload of some entry near a hash.
struct SomePayload(u64);

impl Reading for SomePayload {
    type Out = Option<u64>;

    fn read(&mut self, look: &impl Look, plan: &Plan) -> Result<Self::Out, Error> {
        let Some(group) = group_of(look, plan, self.0)? else { return Ok(None) };
        let ring = group.stubs();
        for step in 0..ring.lines {
            let index = ring.after(ring.home(self.0), step);
            let row = look.read_line(ring.line_at(index))?;
            if let Some(&word) = row[1..].iter().find(|&&word| word != 0) {
                return Ok(Some(Stub(word).at()));
            }
        }
        Ok(None)
    }
}

impl Session {
    /// Drops what lies side by side somewhere, `bytes` long; returns how many bytes were dropped, 0
    /// if what was found there cannot be dropped.
    pub(crate) fn clear_window(&mut self, bytes: u64) -> Result<u64, Error> {
        let mut cheapest: Option<(usize, Vec<Occupant>)> = None;
        for _ in 0..WINDOWS_COMPARED {
            let Some(start) = self.window_start()? else { break };
            let Some(occupants) = self.occupants(start, bytes + CHUNK_TAGS) else { continue };
            let crowds = occupants.iter().filter(|occupant| occupant.leads_to_many()).count();
            if cheapest.as_ref().is_none_or(|(fewest, _)| crowds < *fewest) {
                cheapest = Some((crowds, occupants));
            }
            if crowds == 0 {
                break;
            }
        }
        let mut dropped = 0;
        for occupant in cheapest.map_or(Vec::new(), |(_, occupants)| occupants) {
            dropped += self.drop_occupant(occupant)?;
        }
        Ok(dropped)
    }

    /// As [`Self::clear_window`], but goes through all memory before it says that there is none.
    pub(crate) fn clear_sure_window(&mut self, bytes: u64) -> Result<u64, Error> {
        for _ in 0..STARTS_MOST {
            let dropped = self.clear_window(bytes)?;
            if dropped != 0 {
                return Ok(dropped);
            }
        }
        let wanted = bytes + CHUNK_TAGS;
        let Some(start) = self.find_window(wanted) else { return Ok(0) };
        let Some(occupants) = self.occupants(start, wanted) else { return Ok(0) };
        let mut dropped = 0;
        for occupant in occupants {
            dropped += self.drop_occupant(occupant)?;
        }
        Ok(dropped)
    }

    /// The first stretch of so many bytes in which all that is used can go.
    fn find_window(&self, wanted: u64) -> Option<Offset> {
        let mut start: Option<Offset> = None;
        for part in Walk::new(&self.core, self.space.chunks, self.space.units) {
            let (chunk, may_go) = match part.ok()? {
                Part::Region(_) => {
                    start = None;
                    continue;
                }
                Part::Free(chunk) | Part::Top(chunk) => (chunk, true),
                Part::Used(chunk) => (chunk, self.occupant(chunk).is_some()),
                Part::Slab(chunk, slab, class) => {
                    (chunk, self.blocks_of(slab, class, &mut Vec::new()).is_some())
                }
            };
            if !may_go {
                start = None;
                continue;
            }
            let begin = *start.get_or_insert(chunk.begin);
            if chunk.end().0 - begin.0 >= wanted {
                return Some(begin);
            }
        }
        None
    }

    /// Where the chunk of some entry begins.
    fn window_start(&self) -> Result<Option<Offset>, Error> {
        let reader = Reader { view: &self.view, plan: &self.plan };
        for _ in 0..STARTS_MOST {
            let hash = self.next_turn();
            let (payload, _) = reader.read(self.plan.shard_of(hash), &mut SomePayload(hash))?;
            let Some(payload) = payload.map(Offset) else { continue };
            let slab = self.space.units.slab_of(&self.core, payload);
            let payload = slab.map_or(payload, |(slab, _)| slab.begin());
            return Ok((payload.0 > WORD).then(|| payload - WORD));
        }
        Ok(None)
    }

    /// All that is used in a window; `None` if something there is not to be dropped.
    fn occupants(&self, start: Offset, bytes: u64) -> Option<Vec<Occupant>> {
        let (mut at, end) = (start, start + bytes);
        let mut occupants = Vec::new();
        while at < end && occupants.len() < OCCUPANTS_MOST {
            let tag = Tag(self.core.try_read(at)?);
            if !tag.is_sound() || !self.core.contains(at, tag.bytes()) {
                return None;
            }
            let chunk = Chunk { begin: at, bytes: tag.bytes() };
            if tag.is_used() {
                match self.space.units.slab_of(&self.core, chunk.payload()) {
                    Some((slab, class)) => self.blocks_of(slab, class, &mut occupants)?,
                    None => occupants.push(self.occupant(chunk)?),
                }
            }
            at = chunk.end();
        }
        (at >= end).then_some(occupants)
    }

    fn blocks_of(&self, slab: Slab, class: Class, occupants: &mut Vec<Occupant>) -> Option<()> {
        for index in 0..u64::from(class.shape().blocks) {
            if slab.mask(&self.core, index / 64) >> (index % 64) & 1 == 0 {
                let at = slab.block(class, index / 64, index % 64).0;
                occupants.push(self.entry_at(at)?);
            }
        }
        Some(())
    }

    /// Whose a used chunk is; `None` if it is not to be dropped.
    fn occupant(&self, chunk: Chunk) -> Option<Occupant> {
        let at = chunk.payload().0;
        if let Some(entry) = self.entry_at(at) {
            return Some(entry);
        }
        let lines = (chunk.payload_bytes() / BUCKET_BYTES).min(LINES_MOST);
        match (0..lines).find_map(|line| self.hash_of_group_at(at, line)) {
            Some(hash) => self.may_take_group(at, hash).then_some(Occupant::Group { at, hash }),
            None => self.directory_at(at).or_else(|| self.empty_group_at(at)),
        }
    }

    /// The hash of an entry in line `line` of the group at `at`, if there is such a group.
    fn hash_of_group_at(&self, at: u64, line: u64) -> Option<u64> {
        let words = self.view.read_line(at + line * BUCKET_BYTES).ok()?;
        let of = |bucket: Bucket| {
            let hash = bucket.hash(&self.view, self.seed).ok()?;
            let group = group_of(&self.view, &self.plan, hash).ok()??;
            (group.at == at).then_some(hash)
        };
        // Whether the line is a bucket or a row, only one of these is an entry of this group.
        let whole = Some(Bucket(words)).filter(Bucket::is_inline).and_then(of);
        let stubs = words[1..].iter().filter(|&&word| word != 0);
        let mut heads = stubs.filter_map(|&word| payload::read(&self.view, Stub(word).at()).ok());
        whole.or_else(|| heads.find_map(of))
    }

    /// The directory at `at`, if a shard says that it is its own.
    fn directory_at(&self, at: u64) -> Option<Occupant> {
        let is_at = |shard: &u64| {
            let directory = directory_of(&self.view, &self.plan, *shard);
            matches!(directory, Ok(Some(directory)) if directory.at == at)
        };
        let shard = (0..self.plan.shards).find(is_at)?;
        (!self.held.contains(&shard)).then_some(Occupant::Directory { at, shard })
    }

    /// The group at `at` that no entry tells of, if a directory names it. All directories are read
    /// for that: it is seldom that eviction leaves a group empty.
    fn empty_group_at(&self, at: u64) -> Option<Occupant> {
        for shard in 0..self.plan.shards {
            let mut next = Some(self.plan.first_of_shard(shard));
            while let (Some(hash), Ok(Some(directory))) =
                (next, directory_of(&self.view, &self.plan, shard))
            {
                let group = group_of(&self.view, &self.plan, hash).ok()?;
                if group.is_some_and(|group| group.at == at) {
                    let may_go = self.may_take_group(at, hash);
                    return may_go.then_some(Occupant::Group { at, hash });
                }
                // Where nothing is damaged, no group is deeper than its directory.
                next = self.behind(hash, directory, group);
            }
        }
        None
    }

    /// The first hash behind those that share a word with `hash`; `None` if the shard ends there.
    fn behind(&self, hash: u64, directory: Directory, group: Option<Group>) -> Option<u64> {
        // Where nothing is damaged, no group is deeper than its directory.
        let depth = group.map_or(directory.depth, |group| group.depth.min(directory.depth));
        let next = end_of(hash, self.plan.shard_bits() + depth);
        (next != 0 && self.plan.shard_of(next) == self.plan.shard_of(hash)).then_some(next)
    }

    /// The payload at `at`, if the table says that it is an entry's.
    fn entry_at(&self, at: u64) -> Option<Occupant> {
        let hash = payload::read(&self.view, at).ok()?.hash(&self.view, self.seed).ok()?;
        let is_entry = self.find_payload(at, hash).ok()?.is_some() && self.may_take(hash);
        (is_entry && !self.is_leased(at)).then_some(Occupant::Payload { at, hash })
    }

    /// The entry whose payload is at `at`. Right if its shard is held, else a guess.
    fn find_payload(&self, at: u64, hash: u64) -> Result<Option<(Group, u64, Bucket)>, Error> {
        let Some(group) = group_of(&self.view, &self.plan, hash)? else { return Ok(None) };
        let is_it = |bucket: &Bucket| Ok(bucket.payload().is_some_and(|it| it.at == at));
        let found = group.find_stub(&self.view, hash, is_it)?;
        Ok(found.map(|(place, bucket)| (group, place, bucket)))
    }

    /// Entries that the caller is about to change are spared; if it did not say which these are,
    /// all of the shards that we hold.
    fn may_take(&self, hash: u64) -> bool {
        if self.busy.is_empty() {
            return !self.held.contains(&self.plan.shard_of(hash));
        }
        !self.busy.contains(&hash)
    }

    /// Whether the group at `at`, with an entry of this hash, may go with all that is in it.
    fn may_take_group(&self, at: u64, hash: u64) -> bool {
        let is_at = |busy: &u64| {
            let group = group_of(&self.view, &self.plan, *busy);
            !matches!(group, Ok(group) if group.is_none_or(|group| group.at != at))
        };
        self.may_take(hash) && !self.busy.iter().any(is_at)
    }

    /// Drops an occupant, if it is still there; returns how many bytes that were.
    fn drop_occupant(&mut self, occupant: Occupant) -> Result<u64, Error> {
        let shard = match occupant {
            Occupant::Payload { hash, .. } | Occupant::Group { hash, .. } => {
                self.plan.shard_of(hash)
            }
            Occupant::Directory { shard, .. } => shard,
        };
        self.with_shard(shard, |session| match occupant {
            Occupant::Payload { at, hash } => session.drop_payload(at, hash),
            Occupant::Group { at, hash } => session.drop_group_at(shard, at, hash),
            Occupant::Directory { at, shard } => session.drop_directory(at, shard),
        })
    }

    /// Drops all groups of a shard; the last one takes the directory at `at` with it.
    fn drop_directory(&mut self, at: u64, shard: u64) -> Result<u64, Error> {
        let (mut dropped, mut next) = (0, Some(self.plan.first_of_shard(shard)));
        while let Some(hash) = next
            && let Some(directory) = directory_of(&self.view, &self.plan, shard)?
            && directory.at == at
        {
            let group = group_of(&self.view, &self.plan, hash)?;
            if let Some(group) = &group {
                dropped += self.drop_group_of(shard, group, hash)?;
            }
            next = self.behind(hash, directory, group);
        }
        Ok(dropped)
    }

    fn drop_payload(&mut self, at: u64, hash: u64) -> Result<u64, Error> {
        match self.find_payload(at, hash)? {
            Some((group, place, bucket)) => {
                let visits = self.visits_of(&bucket, hash, group.line_at(place));
                self.drop_picked(&group, &Victim { place, hash, bucket, visits })
            }
            None => Ok(0),
        }
    }

    fn drop_group_at(&mut self, shard: u64, at: u64, hash: u64) -> Result<u64, Error> {
        match group_of(&self.view, &self.plan, hash)? {
            Some(group) if group.at == at => self.drop_group_of(shard, &group, hash),
            _ => Ok(0),
        }
    }
}
