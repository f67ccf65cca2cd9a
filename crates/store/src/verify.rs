//! The proof that a store is whole.
//!
//! - `heap`: every invariant of the heap (`morecore_heap::check`).
//! - `owned`: each payload in use is a directory, a group, an entry's, claimed or pending: one.
//! - `placed`: each entry finds itself: it is of its group, and its home leads to its place.
//! - `counted`: the counts of a shard are those of its entries.
//! - `due`: the due of each expiry is not too late (`expire.rs`).
//! - `settled`: no journal has a note, no version is odd, and no free slot claims or leases.
//! - `leased`: what was retired while somebody read it in place is pending, and nothing else is.
//!
//! Promises: changes nothing; ends on whatever stands in the segment.

use std::collections::{HashMap, HashSet};

use morecore_heap::{Class, Core, Part, Slab, UndoLog, Walk, check};

use crate::atomic::{Acquire, fence};
use crate::bucket::{BUCKET_BYTES, Bucket};
use crate::expire::Due;
use crate::layout::{Plan, WORD, header, shard, slot};
use crate::lease::pending;
use crate::ring::HOP;
use crate::session::{Session, Turn, core};
use crate::shelf::{SHELF, Shelves};
use crate::space::Space;
use crate::table::{Directory, Group, PLACES, directory_of, prefix};
use crate::view::{Look, View};
use crate::{Broken, Error, Verified};

/// How often a proof from outside begins again because somebody changed the store meanwhile. A
/// fuzzer has segments in which a change never ends, and more to do than to wait for it.
const TRIES_MOST: u32 = if cfg!(fuzzing) { 2 } else { 64 };

/// After so many findings the rest says nothing new.
const BROKEN_MOST: usize = 100;

/// What a payload is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Directory,
    Group {
        used: u64,
    },
    Payload {
        used: u64,
    },
    Claimed,
    /// Retired, and still read in place.
    Pending,
}

/// Every payload that the table or a participant knows of.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    uses: HashMap<u64, Use>,
    verified: Verified,
}

/// Proves a store whole while nobody can change it.
pub(crate) fn under_all_holds(session: &mut Session) -> Result<Verified, Vec<Broken>> {
    let turn = Turn(session);
    let session = &mut *turn.0;
    hold_all(session).map_err(|error| vec![broken("held", 0, error.to_string())])?;
    prove(&session.view, &session.plan, session.seed)
}

fn hold_all(session: &mut Session) -> Result<(), Error> {
    session.enter_to_change()?;
    session.clear_up()?;
    let shards: Vec<_> = (0..session.plan.shards).collect();
    session.hold(&shards)?;
    session.hold_heap()?;
    // Who holds the heap makes its version odd; nothing is under way all the same.
    let version = header::HEAP_VERSION_AT;
    session.view.store(version, session.view.load(version).wrapping_add(1));
    Ok(())
}

/// Proves a store whole without holding it: only what stood still throughout proves anything.
pub(crate) fn from_outside(view: &View, plan: &Plan, seed: u64) -> Result<Verified, Vec<Broken>> {
    let versions = || -> Vec<u64> {
        let shards = (0..plan.shards).map(|shard| plan.shard_at(shard) + shard::VERSION);
        shards.chain([header::HEAP_VERSION_AT]).map(|at| view.load(at)).collect()
    };
    let mut last = Err(Vec::new());
    for _ in 0..TRIES_MOST {
        let before = versions();
        last = prove(view, plan, seed);
        fence(Acquire);
        if versions() == before && before.iter().all(|version| version & 1 == 0) {
            return last;
        }
        std::thread::yield_now();
    }
    let mut found = last.err().unwrap_or_default();
    found.insert(0, broken("settled", 0, "the store never stood still".to_owned()));
    Err(found)
}

fn prove(view: &View, plan: &Plan, seed: u64) -> Result<Verified, Vec<Broken>> {
    let mut found = Vec::new();
    let mut owners = Owners::find(view, plan, Some(seed), &mut found);
    let (space, core) = (Space::new(plan), core(view, plan, 0));
    if let Err(wrong) = check(&core, space.chunks, space.units, &[space.slabs]) {
        found.push(broken("heap", wrong.at.0, format!("{} does not hold", wrong.invariant)));
    }
    account(&core, &space, &mut owners, &mut found);
    check_settled(view, plan, &mut found);
    owners.verified.bytes += plan.heap_at;
    found.truncate(BROKEN_MOST);
    if found.is_empty() { Ok(owners.verified) } else { Err(found) }
}

/// Finds for each payload that is in use who uses it; none must be left on either side.
fn account(core: &Core<UndoLog>, space: &Space, owners: &mut Owners, found: &mut Vec<Broken>) {
    let mut uses = std::mem::take(&mut owners.uses);
    let verified = &mut owners.verified;
    for part in Walk::new(core, space.chunks, space.units) {
        match part {
            Ok(Part::Region(region)) => verified.bytes += region.bytes,
            Ok(Part::Free(_) | Part::Top(_)) => verified.chunks += 1,
            Ok(Part::Used(chunk)) => {
                verified.chunks += 1;
                let (at, bytes) = (chunk.payload().0, chunk.payload_bytes());
                settle(at, bytes, uses.remove(&at), found);
            }
            Ok(Part::Slab(_, slab, class)) => {
                verified.chunks += 1;
                let bytes = u64::from(class.shape().bytes);
                for at in used_blocks(core, slab, class) {
                    settle(at, bytes, uses.remove(&at), found);
                }
            }
            Err(wrong) => {
                found.push(broken("heap", wrong.at.0, format!("{} fails", wrong.invariant)));
                break;
            }
        }
    }
    for (at, using) in uses {
        found.push(broken("owned", at, format!("{using:?} is no payload in use")));
    }
}

/// One payload in use, and who uses it.
fn settle(at: u64, bytes: u64, using: Option<Use>, found: &mut Vec<Broken>) {
    let needed = match using {
        None => return found.push(broken("owned", at, format!("nobody uses {bytes} bytes"))),
        Some(Use::Payload { used }) => used,
        Some(_) => 0,
    };
    if needed > bytes {
        let what = format!("an entry of {needed} bytes in a payload of {bytes}");
        found.push(broken("owned", at, what));
    }
}

fn used_blocks(core: &Core<UndoLog>, slab: Slab, class: Class) -> impl Iterator<Item = u64> {
    let blocks = u64::from(class.shape().blocks);
    (0..blocks).filter_map(move |index| {
        let (word, bit) = (index / 64, index % 64);
        let is_used = slab.mask(core, word) >> bit & 1 == 0;
        is_used.then(|| slab.block(class, word, bit).0)
    })
}

fn check_settled(view: &View, plan: &Plan, found: &mut Vec<Broken>) {
    for shard in 0..plan.shards {
        let at = plan.shard_at(shard) + shard::VERSION;
        if view.load(at) & 1 == 1 {
            found.push(broken("settled", at, format!("the version of shard {shard} is odd")));
        }
    }
    for slot in 0..plan.slots {
        let at = plan.slot_at(slot);
        let (is_free, notes) =
            (view.load(at + slot::IDENTITY) == 0, view.load(plan.journal_at(slot)));
        if notes != 0 {
            found.push(broken("settled", at, format!("slot {slot} has {notes} notes")));
        }
        let claims = (0..slot::CLAIMS_MOST).filter(|&c| view.load(plan.claim_at(slot, c)) != 0);
        if is_free && claims.count() != 0 {
            found.push(broken("settled", at, format!("slot {slot} is free and claims something")));
        }
        let leases = (0..slot::LEASES_MOST).filter(|&l| view.load(plan.lease_at(slot, l)) != 0);
        if is_free && leases.count() != 0 {
            found.push(broken("settled", at, format!("slot {slot} is free and leases something")));
        }
    }
}

impl Owners {
    /// Goes through the table and all claims. With a seed, what is wrong on the way is told.
    pub(crate) fn find(
        view: &View,
        plan: &Plan,
        seed: Option<u64>,
        found: &mut Vec<Broken>,
    ) -> Self {
        let mut owners = Self::default();
        for shard in 0..plan.shards {
            if let Err(error) = owners.find_in_shard(view, plan, shard, seed, found) {
                found.push(broken("placed", plan.shard_at(shard), error.to_string()));
            }
        }
        for slot in 0..plan.slots {
            for claim in 0..slot::CLAIMS_MOST {
                let payload = view.load(plan.claim_at(slot, claim));
                if payload != 0 {
                    owners.add(payload, Use::Claimed, found);
                    owners.verified.claimed += 1;
                }
            }
        }
        match pending(view, plan) {
            Ok(payloads) => {
                owners.verified.pending += payloads.len() as u64;
                payloads.into_iter().for_each(|at| owners.add(at, Use::Pending, found));
            }
            Err(error) => found.push(broken("leased", plan.leased_at, error.to_string())),
        }
        owners
    }

    /// What the payload at `at` is used for.
    pub(crate) fn of(&self, at: u64) -> Option<&Use> {
        self.uses.get(&at)
    }

    /// How many bytes of entries begin in a stretch.
    pub(crate) fn used_between(&self, from: u64, to: u64) -> u64 {
        let inside = self.uses.iter().filter(|(at, _)| (from..to).contains(*at));
        inside.map(|(_, using)| if let Use::Payload { used } = using { *used } else { 0 }).sum()
    }

    fn add(&mut self, at: u64, using: Use, found: &mut Vec<Broken>) {
        if let Some(other) = self.uses.insert(at, using) {
            found.push(broken("owned", at, format!("is both {other:?} and {using:?}")));
        }
    }

    fn find_in_shard(
        &mut self,
        view: &View,
        plan: &Plan,
        shard: u64,
        seed: Option<u64>,
        found: &mut Vec<Broken>,
    ) -> Result<(), Error> {
        let (mut entries, mut bytes) = (0u64, 0u64);
        if let Some(directory) = directory_of(view, plan, shard)? {
            self.add(directory.at, Use::Directory, found);
            let mut index = 0;
            while index < directory.count() {
                let word = view.read(directory.at + index * WORD)?;
                let Some(group) = Group::from_word(word)? else {
                    index += 1;
                    continue;
                };
                let span = 1u64 << directory.depth.saturating_sub(group.depth);
                check_stretch(view, directory, &group, index, span, found)?;
                let proof = Proof { view, plan, seed, shard, directory, group, index };
                let (more_entries, more_bytes) = self.find_in_group(&proof, found)?;
                (entries, bytes) = (entries + more_entries, bytes.wrapping_add(more_bytes));
                index += span;
            }
        }
        let at = plan.shard_at(shard);
        let counted = (view.load(at + shard::ENTRIES), view.load(at + shard::CONTENT_BYTES));
        if seed.is_some() && counted != (entries, bytes) {
            let what = format!("(entries, bytes) are {:?}, counted {counted:?}", (entries, bytes));
            found.push(broken("counted", at, what));
        }
        Ok(())
    }

    fn find_in_group(
        &mut self,
        proof: &Proof<'_>,
        found: &mut Vec<Broken>,
    ) -> Result<(u64, u64), Error> {
        let (view, group) = (proof.view, &proof.group);
        let (mut whole, mut stubs, mut bytes) = (0, 0, 0u64);
        // Each hop that a stub needs: its home, and how far it stands from there.
        let mut needed = HashSet::new();
        let mut place = 0;
        while place < group.places() {
            if let Some(bucket) = group.entry(view, place)? {
                bytes = bytes.wrapping_add(bucket.content_bytes());
                if let Some(payload) = bucket.payload() {
                    stubs += 1;
                    let used = payload.value_at.saturating_add(payload.value_bytes);
                    let used = used.saturating_sub(payload.at);
                    self.add(payload.at, Use::Payload { used }, found);
                    self.verified.payloads += 1;
                } else {
                    whole += 1;
                }
                if let Some(seed) = proof.seed {
                    needed.extend(proof.check_entry(&bucket, seed, place, found)?);
                }
            }
            place = group.next_place(place);
        }
        let hops = hops_in(view, group)?;
        if hops != needed.len() as u64 && proof.seed.is_some() {
            let what = format!("{hops} hops lead to stubs that need {}", needed.len());
            found.push(broken("placed", group.at, what));
        }
        if has_marks_behind(view, group.whole())? {
            let what = "a mark behind the last bucket".to_owned();
            found.push(broken("placed", group.at, what));
        }
        let used = whole * BUCKET_BYTES + stubs * WORD;
        self.add(group.at, Use::Group { used }, found);
        let entries = whole + stubs;
        self.verified.entries += entries;
        self.verified.buckets += group.lines();
        self.verified.groups += 1;
        Ok((entries, bytes))
    }
}

/// How many rows a group's hops name.
fn hops_in(view: &View, group: &Group) -> Result<u64, Error> {
    let (ring, mut hops) = (group.stubs(), 0);
    for home in 0..ring.lines {
        hops += u64::from(ring.hop(view, home)?.count_ones());
    }
    Ok(hops)
}

/// Whether there are marks of buckets that the last shelf does not have.
fn has_marks_behind(view: &View, shelves: Shelves) -> Result<bool, Error> {
    for index in shelves.buckets..shelves.count() * SHELF {
        if shelves.mark(view, index)? != 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A group that is gone through, and how it was reached.
struct Proof<'a> {
    view: &'a View,
    plan: &'a Plan,
    seed: Option<u64>,
    shard: u64,
    directory: Directory,
    group: Group,
    /// Its first word in the directory.
    index: u64,
}

impl Proof<'_> {
    /// Does the entry at `place` find itself? Returns the row of a stub's home, and how far it
    /// stands from there.
    fn check_entry(
        &self,
        bucket: &Bucket,
        seed: u64,
        place: u64,
        found: &mut Vec<Broken>,
    ) -> Result<Option<(u64, u64)>, Error> {
        let (plan, group) = (self.plan, &self.group);
        let hash = bucket.hash(self.view, seed)?;
        let at = group.line_at(place);
        let own = prefix(hash << plan.shard_bits(), self.directory.depth);
        let span = 1u64 << self.directory.depth.saturating_sub(group.depth);
        if plan.shard_of(hash) != self.shard || own / span != self.index / span {
            found.push(broken("placed", at, format!("hash {hash:#x} is of another group")));
        }
        let due = Due(self.view.load(plan.due_at(plan.due_of(hash))));
        let expiry = bucket.expiry();
        if expiry != 0 && !due.covers(expiry) {
            found.push(broken("due", at, format!("expires at {expiry} ms, and has {due:?}")));
        }
        let line = place / PLACES;
        if line < group.buckets {
            if !group.whole().leads_to(self.view, hash, line)? {
                found.push(broken("placed", at, format!("no mark leads to {line}")));
            }
            return Ok(None);
        }
        let (ring, index) = (group.stubs(), line - group.buckets);
        if !group.stub(self.view, place)?.may_be_of(hash) {
            found.push(broken("placed", at, format!("the stub is not one of hash {hash:#x}")));
        }
        let home = ring.home(hash);
        let distance = ring.distance(home, index);
        if distance >= HOP || ring.hop(self.view, home)? >> distance & 1 == 0 {
            found.push(broken("placed", at, format!("its home {home} does not lead to {index}")));
        }
        Ok(Some((ring.line_at(home), distance)))
    }
}

/// All the words of a group's stretch of the directory lead to it.
fn check_stretch(
    view: &View,
    directory: Directory,
    group: &Group,
    index: u64,
    span: u64,
    found: &mut Vec<Broken>,
) -> Result<(), Error> {
    if group.depth > directory.depth || !index.is_multiple_of(span) {
        let what = format!("a group of depth {} at {index}", group.depth);
        found.push(broken("placed", directory.at, what));
    }
    for other in index..(index + span).min(directory.count()) {
        if view.read(directory.at + other * WORD)? != group.word() {
            let what = format!("words {index} and {other} of the directory differ");
            found.push(broken("placed", directory.at, what));
        }
    }
    Ok(())
}

fn broken(invariant: &'static str, at: u64, what: String) -> Broken {
    Broken { invariant, at, what }
}
