//! Large values, read in place: a lease pins a payload until it is dropped, or its holder dies.
//!
//! ```text
//!   reader   find the entry --> lease = payload --> fence --> still the entry's?  no: again
//!   writer   retire the payload, commit --> fence --> is it leased?  no: free it
//!                                                       yes: pending --> fence --> once more
//!   reader   lease = 0 --> fence --> is anything pending?  yes: say so, the next writer frees it
//!
//!   slot     [ leased: how many ] [ payload ][ 0 ][ payload ] ...      one page of leases
//!   pending --> payload --> payload --> 0              each one's first word names the next
//! ```
//!
//! Whoever comes second across a fence sees the other: a payload that is leased while it is retired
//! is either seen by the writer, or the reader sees that it is no longer the entry's. A lease is a
//! word of the participant's slot, so whoever recovers a dead one ends its leases.
//!
//! A payload that is retired while leased is pending: still in use, reachable from nowhere else,
//! and freed by the next change that anyone makes after its last lease ended.
//!
//! Promises: a lease waits for nobody and costs no copy; what it shows does not change, whatever
//! happens to the entry; a payload is freed once, after its last lease, whoever dies.
//! Source: M. Michael, Hazard Pointers, 2004.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use morecore_heap::Offset;

use crate::atomic::{AtomicU32, Relaxed, Release, SeqCst, fence};
use crate::bucket::{Payload, Sought};
use crate::change::check_key;
use crate::layout::{Plan, SLOTS_MOST, WORD, leased, slot};
use crate::mapping::Mapping;
use crate::participant::{Identity, is_this_process};
use crate::presence::Presence;
use crate::reader::{FindBucket, NEVER_STILL, Reader, TRIES_MOST};
use crate::session::Session;
use crate::view::View;
use crate::{Error, Meta, Store};

/// The words of a bitmap of a slot's leases.
const BITMAP_WORDS: usize = slot::LEASES_MOST as usize / 64;

/// A value that is read where it stands, for as long as this lives.
///
/// It shows the value as it was when the lease was taken: whoever sets or deletes the key
/// afterwards publishes something else, and the memory of this one is free again once its last
/// lease is gone, also when the process that holds the lease is killed.
///
/// A child of fork has no share in the leases of its parent: it takes its own.
#[derive(Debug)]
pub struct Lease {
    content: Content,
    meta: Meta,
}

#[derive(Debug)]
enum Content {
    /// A value so small that it stands in the bucket is copied: a pin would cost more.
    Copied(Vec<u8>),
    /// `count` bytes of a pinned payload.
    Pinned { begin: *const u8, count: usize, _pin: Pin },
}

// SAFETY: the bytes are only read, and the pin, which is let go from any thread, keeps them.
unsafe impl Send for Lease {}
// SAFETY: as above.
unsafe impl Sync for Lease {}

impl Lease {
    /// What is known of the entry beside its value.
    #[must_use]
    pub fn meta(&self) -> Meta {
        self.meta
    }
}

impl Deref for Lease {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.content {
            Content::Copied(value) => value,
            // SAFETY: the bytes are inside the mapping, which the pin keeps; and as long as they
            // are pinned nobody frees them, so nobody writes them.
            Content::Pinned { begin, count, .. } => unsafe {
                std::slice::from_raw_parts(*begin, *count)
            },
        }
    }
}

impl Store {
    /// Leases a value: it is read where it stands, without a copy, and stays as it is until the
    /// lease is dropped, whatever becomes of the entry. A value that stands in its bucket, because
    /// it has no more than 48 bytes with its key, is copied instead.
    ///
    /// ```
    /// # use morecore_store::{Create, Set, Store};
    /// # let how = Create { memory_bytes: 8 << 20, ..Create::default() };
    /// let mut store = Store::anonymous(&how)?;
    /// store.set(b"page", &[b'x'; 100_000], &Set::default())?;
    /// let page = store.lease(b"page")?.expect("it was just set");
    /// store.delete(b"page")?;
    /// assert!(page.iter().all(|&byte| byte == b'x'));
    /// drop(page); // Now its memory can be used again.
    /// # Ok::<(), morecore_store::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::TooManyLeases`] from the 513th lease of a session on; as [`Store::get`];
    /// [`Error::Held`] if this session has something to clear up first and cannot.
    pub fn lease(&mut self, key: &[u8]) -> Result<Option<Lease>, Error> {
        // What a session that took over a dead one's slot has to free is freed before it pins.
        self.session.enter_to_change()?;
        check_key(key)?;
        let sought = Sought::new(self.session.seed, key);
        let lease = self.session.lease(&sought)?;
        if lease.is_some() {
            self.session.visit_found(&sought);
        }
        Ok(lease)
    }
}

/// A slot that is ours, as its session and their leases share it: it is free when the last of them
/// is gone.
#[derive(Debug)]
pub(crate) struct Seat {
    mapping: Arc<Mapping>,
    plan: Plan,
    pub(crate) slot: u64,
    identity: Identity,
    /// Our opening of the file, where the store is in one.
    pub(crate) presence: Option<Presence>,
    /// Which leases are in use.
    used: Mutex<[u64; BITMAP_WORDS]>,
    /// Whether the session left it with nothing claimed.
    is_left: AtomicU32,
}

impl Seat {
    /// A slot that `identity`, which is this process, has just taken: leases of its last owner end.
    pub(crate) fn new(
        mapping: Arc<Mapping>,
        plan: Plan,
        slot: u64,
        identity: Identity,
        presence: Option<Presence>,
    ) -> Self {
        end_leases(&mapping.view(), &plan, slot);
        let used = Mutex::new([0; BITMAP_WORDS]);
        Self { mapping, plan, slot, identity, presence, used, is_left: AtomicU32::new(0) }
    }

    /// Says that the session needs the slot no more.
    pub(crate) fn leave(&self) {
        self.is_left.store(1, Release);
    }

    /// Pins a payload. It is pinned if, after a fence, it still was an entry's.
    fn pin(self: &Arc<Self>, payload: u64) -> Result<Pin, Error> {
        let view = self.mapping.view();
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let free = used.iter().position(|&word| word != u64::MAX);
        let Some(word) = free else {
            return Err(Error::TooManyLeases { most: slot::LEASES_MOST as u32 });
        };
        let lease = word as u64 * 64 + u64::from(used[word].trailing_ones());
        used[word] |= 1 << (lease % 64);
        let count_at = self.plan.slot_at(self.slot) + slot::LEASED;
        if view.load(count_at) <= lease {
            let (at, bit) = slot_bit(&self.plan, self.slot);
            view.word(at).fetch_or(bit, Relaxed);
            view.store(count_at, lease + 1);
        }
        view.store(self.plan.lease_at(self.slot, lease), payload);
        drop(used);
        // Pairs with the fence in `leased`: see the head of this file.
        fence(SeqCst);
        Ok(Pin { seat: self.clone(), lease })
    }

    fn unpin(&self, lease: u64) {
        if !is_this_process(self.identity) {
            return; // It is our parent's.
        }
        let view = self.mapping.view();
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        view.store(self.plan.lease_at(self.slot, lease), 0);
        used[lease as usize / 64] &= !(1 << (lease % 64));
        drop(used);
        tell_dropped(&view, &self.plan);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if !is_this_process(self.identity) {
            return; // It is our parent's.
        }
        if self.is_left.load(Relaxed) == 0 {
            // It claims something yet, and is cleared up by whoever finds that nobody sits there.
            return self.presence.iter().for_each(|presence| presence.rise(self.slot));
        }
        let view = self.mapping.view();
        end_leases(&view, &self.plan, self.slot);
        match &self.presence {
            Some(presence) => presence.leave(&self.mapping, &self.plan, self.slot),
            None => view.store(self.plan.slot_at(self.slot) + slot::IDENTITY, 0),
        }
    }
}

/// A lease's word, given back when this is dropped.
#[derive(Debug)]
struct Pin {
    seat: Arc<Seat>,
    lease: u64,
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.seat.unpin(self.lease);
    }
}

/// Ends all leases of a slot whose owner is dead, or has none.
pub(crate) fn end_leases(view: &View, plan: &Plan, slot: u64) {
    let count_at = plan.slot_at(slot) + slot::LEASED;
    let count = view.load(count_at).min(slot::LEASES_MOST);
    if count == 0 {
        return;
    }
    for lease in 0..count {
        view.store(plan.lease_at(slot, lease), 0);
    }
    view.store(count_at, 0);
    let (at, bit) = slot_bit(plan, slot);
    view.word(at).fetch_and(!bit, Relaxed);
    tell_dropped(view, plan);
}

/// Says that a lease ended, if a payload may have waited for that.
fn tell_dropped(view: &View, plan: &Plan) {
    // Pairs with the fence in `leased`: either whoever makes a payload pending sees that our lease
    // is gone, or we see the payload.
    fence(SeqCst);
    if view.load(plan.leased_at + leased::PENDING) != 0 {
        view.store(plan.leased_at + leased::DROPPED, 1);
    }
}

/// The word and the bit that say whether a slot has leases.
fn slot_bit(plan: &Plan, slot: u64) -> (u64, u64) {
    (plan.leased_at + leased::SLOTS + slot / 64 * WORD, 1 << (slot % 64))
}

/// All payloads that are leased, ascending.
fn leased(view: &View, plan: &Plan) -> Vec<u64> {
    // Pairs with the fence in `pin`: what was retired before it is no longer found after it.
    fence(SeqCst);
    let mut found = Vec::new();
    for index in 0..SLOTS_MOST / 64 {
        let mut slots = view.load(plan.leased_at + leased::SLOTS + index * WORD);
        while slots != 0 {
            let slot = index * 64 + u64::from(slots.trailing_zeros());
            slots &= slots - 1;
            if slot >= plan.slots {
                break;
            }
            let count = view.load(plan.slot_at(slot) + slot::LEASED).min(slot::LEASES_MOST);
            let payloads = (0..count).map(|lease| view.load(plan.lease_at(slot, lease)));
            found.extend(payloads.filter(|&payload| payload != 0));
        }
    }
    found.sort_unstable();
    found
}

/// The payloads that wait for the end of their leases; ends on whatever stands in the segment.
pub(crate) fn pending(view: &View, plan: &Plan) -> Result<Vec<u64>, Error> {
    let (mut found, mut link_at) = (Vec::new(), plan.leased_at + leased::PENDING);
    loop {
        let payload = view.load(link_at);
        if payload == 0 {
            return Ok(found);
        }
        check_pending(plan, payload, found.len() as u64)?;
        found.push(payload);
        link_at = payload;
    }
}

/// Refuses what cannot be the `index`-th pending payload.
fn check_pending(plan: &Plan, payload: u64, index: u64) -> Result<(), Error> {
    let is_inside = (plan.heap_at..plan.bytes - WORD).contains(&payload);
    if !is_inside || !payload.is_multiple_of(WORD) {
        return Err(Error::Damaged { what: "a pending payload out of bounds", at: payload });
    }
    if index > plan.slots * slot::LEASES_MOST {
        return Err(Error::Damaged { what: "more pending payloads than leases", at: payload });
    }
    Ok(())
}

impl Session {
    /// Leases the value of a key's entry that has not expired.
    pub(crate) fn lease(&self, sought: &Sought<'_>) -> Result<Option<Lease>, Error> {
        let reader = Reader { view: &self.view, plan: &self.plan };
        let shard = self.plan.shard_of(sought.hash);
        for _ in 0..TRIES_MOST {
            let (bucket, version) = reader.read(shard, &mut FindBucket(sought))?;
            let Some(bucket) = bucket.filter(|bucket| !self.has_expired(bucket)) else {
                return Ok(None);
            };
            let (meta, mut value) = (bucket.meta(), Vec::new());
            if bucket.copy_inline_value(&mut value) {
                return Ok(Some(Lease { content: Content::Copied(value), meta }));
            }
            let Some(Payload { at, value_at, value_bytes }) = bucket.payload() else {
                return Err(Error::Damaged { what: "a bucket of no kind", at: bucket.0[0] });
            };
            let begin = self.view.stretch(value_at, value_bytes)?.cast_const();
            let pin = self.seat()?.pin(at)?;
            if reader.still_stands(shard, version, sought, &bucket)? {
                let count = value_bytes as usize;
                return Ok(Some(Lease {
                    content: Content::Pinned { begin, count, _pin: pin },
                    meta,
                }));
            }
        }
        Err(Error::Damaged { what: NEVER_STILL, at: self.plan.shard_at(shard) })
    }

    /// Whether somebody reads the payload in place now: to drop its entry would give no room.
    pub(crate) fn is_leased(&self, payload: u64) -> bool {
        leased(&self.view, &self.plan).binary_search(&payload).is_ok()
    }

    /// All payloads that are leased now, ascending.
    pub(crate) fn leased(&self) -> Vec<u64> {
        leased(&self.view, &self.plan)
    }

    /// Whether a lease ended for which a pending payload may have waited.
    #[inline]
    pub(crate) fn has_dropped_leases(&self) -> bool {
        self.view.load(self.plan.leased_at + leased::DROPPED) != 0
    }

    /// Frees what is pending for the leases of the dead, before anything is dropped for room.
    pub(crate) fn free_leases_of_the_dead(&mut self) -> Result<(), Error> {
        if self.view.load(self.plan.leased_at + leased::PENDING) == 0 {
            return Ok(());
        }
        self.recover_all()?;
        self.free_pending()
    }

    /// Makes the claimed payload at `claim_at` pending; the heap is held.
    pub(crate) fn make_pending(&mut self, claim_at: Offset, payload: Offset) -> Result<(), Error> {
        check_pending(&self.plan, payload.0, 0)?;
        let head_at = Offset(self.plan.leased_at + leased::PENDING);
        let head = self.core.read(head_at);
        self.core.write(payload, head);
        self.core.write(head_at, payload.0);
        self.core.write(claim_at, 0);
        Ok(())
    }

    /// Claims the pending payloads whose last lease ended, as far as there are claims for them; the
    /// heap is held. Freeing them is for whoever frees claims.
    pub(crate) fn claim_dropped(&mut self) -> Result<(), Error> {
        let head_at = self.plan.leased_at + leased::PENDING;
        if self.view.load(head_at) == 0 {
            return Ok(());
        }
        self.view.store(self.plan.leased_at + leased::DROPPED, 0);
        let leased = self.leased();
        let (mut link_at, mut count) = (Offset(head_at), 0);
        loop {
            let payload = self.core.read(link_at);
            if payload == 0 {
                return Ok(());
            }
            check_pending(&self.plan, payload, count)?;
            count += 1;
            if leased.binary_search(&payload).is_ok() {
                link_at = Offset(payload);
                continue;
            }
            let Ok(claim) = self.next_claim() else {
                self.view.store(self.plan.leased_at + leased::DROPPED, 1);
                return Ok(());
            };
            let next = self.core.read(Offset(payload));
            self.core.write(link_at, next);
            self.core.write(Offset(self.plan.claim_at(self.slot, claim)), payload);
            self.core.commit();
        }
    }
}

#[cfg(test)]
mod tests;
