//! A session: one attached participant, and the transactions that it makes.
//!
//! ```text
//!   take holds --> begin --> change words, each noted first --> commit --> let go --> free claims
//!                    |                                            |
//!                    | journal gets its first note,               | journal length = 0: THE store;
//!                    | then shard versions turn odd               | then versions turn even
//! ```
//!
//! The journal has a note before a version turns odd, and the version turns even after the journal
//! is empty. So an odd version with an empty journal says: decided; and with notes: the old values
//! in them are the last state that counts.
//!
//! A payload is *claimed* (its offset stands in the slot) from before it is allocated until it is
//! published, and from when it is retired until it is free. So no death leaks it, and heap and
//! table never change in one transaction: a retired payload stays as it was until nobody needs it.
//!
//! Promises: what a session holds it lets go of at the end of each call, also when that unwinds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use morecore_heap::{Core, UndoLog};
use morecore_sys::clock;

use crate::atomic::{Acquire, Relaxed, Release, fence};
use crate::expire::Late;
use crate::hold::{Hold, Waited};
use crate::layout::{Plan, header, shard, slot};
use crate::lease::Seat;
use crate::mapping::{Backing, Mapping};
use crate::participant::{Identity, Me};
use crate::presence::Presence;
use crate::space::Space;
use crate::stock::Stock;
use crate::view::View;
use crate::{Error, Evict};

/// How long a live owner may stand still before that is counted where `stat` shows it.
const LONG_WAIT: Duration = Duration::from_secs(1);

/// How long a live owner may stand still before we give up: holds last microseconds, so it was
/// stopped; longer than any scheduler keeps a runnable process waiting.
const WAIT_MOST: Duration = Duration::from_secs(10);

/// How many calls go by before one slot is looked at for a dead owner: it costs some microseconds.
const CALLS_PER_LOOK: u32 = 1024;

/// How many changes go by before some dues are looked at: then that costs a nanosecond a change.
const CHANGES_PER_DUES: u32 = 64;

/// How many dues that are, and the most stretches that are gone through: a line of the cache, and
/// some microseconds.
const DUES: (u64, u32) = (8, 1);

/// One attached participant.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) view: View,
    pub(crate) plan: Plan,
    pub(crate) seed: u64,
    pub(crate) evict: Evict,
    /// Whether payloads end with a sum: in files, which may be torn when the machine stops.
    pub(crate) has_sums: bool,
    pub(crate) me: Me,
    pub(crate) slot: u64,
    /// The slot, as we share it with our leases.
    pub(crate) seat: Option<Arc<Seat>>,
    /// The segment as the heap sees it, with our journal.
    pub(crate) core: Core<UndoLog>,
    pub(crate) space: Space,
    /// How many of our claims are in use: the first ones.
    pub(crate) claims: u64,
    /// Payloads that we claim for sets to come.
    pub(crate) stock: Stock,
    /// The shards that we hold, ascending.
    pub(crate) held: Vec<u64>,
    /// The hashes that the caller holds them for, if it said so: what is dropped to make room for
    /// it is anything else.
    pub(crate) busy: Vec<u64>,
    /// Those of them whose version we made odd.
    pub(crate) open: Vec<u64>,
    pub(crate) is_heap_held: bool,
    /// Whether this transaction emptied a bucket: then a bucket that is empty is not fresh.
    pub(crate) has_emptied: bool,
    /// Dead participants whose holds were freed, and whose claims were not yet.
    pub(crate) unfinished: Vec<u64>,
    pub(crate) now: Option<u64>,
    /// The dead participant whose slot we took over, until what it claims is free.
    adopted: Identity,
    calls: u32,
    changes: u32,
    pub(crate) mapping: Arc<Mapping>,
}

// SAFETY: a session is used by one thread at a time; what its pointers reach is shared memory,
// which is only used through atomics and under holds.
unsafe impl Send for Session {}

impl Session {
    /// Attaches to a store that is ready.
    pub(crate) fn new(mapping: Arc<Mapping>, presumed_dead: Vec<u32>) -> Result<Self, Error> {
        let view = mapping.view();
        let plan = Plan::new(view.bytes());
        let me = Me::new(presumed_dead)?;
        let space = Space::new(&plan);
        let evict = if view.load(header::EVICT_AT) == 0 { Evict::Policy } else { Evict::None };
        let mut session = Self {
            seed: view.load(header::SEED_AT),
            core: core(&view, &plan, 0),
            slot: 0,
            seat: None,
            claims: 0,
            stock: Stock::default(),
            held: Vec::new(),
            busy: Vec::new(),
            open: Vec::new(),
            is_heap_held: false,
            has_emptied: false,
            unfinished: Vec::new(),
            now: None,
            adopted: Identity::NOBODY,
            calls: 0,
            changes: 0,
            view,
            plan,
            evict,
            has_sums: matches!(mapping.backing(), Backing::File(_)),
            me,
            space,
            mapping,
        };
        session.join()?;
        session.recover_all().inspect_err(|_| session.leave())?;
        Ok(session)
    }

    /// Claims a slot.
    fn join(&mut self) -> Result<(), Error> {
        let presence = Presence::begin(&self.mapping)?;
        let slot = match self.claim_slot(presence.as_ref()) {
            Some(slot) => slot,
            None => {
                let most = self.plan.slots as u32;
                let adopted = self.adopt_dead_slot(presence.as_ref());
                let (slot, dead) = adopted.ok_or(Error::TooManyParticipants { most })?;
                (self.claims, self.adopted) = (slot::CLAIMS_MOST, dead);
                slot
            }
        };
        self.slot = slot;
        self.core = core(&self.view, &self.plan, slot);
        if self.view.load(self.plan.journal_at(slot)) != 0 {
            // Whoever left it left it empty. It stays taken: nobody else must use it either.
            let at = self.plan.journal_at(slot);
            return Err(Error::Damaged { what: "a free slot with notes", at });
        }
        self.view.store(self.plan.slot_at(slot) + slot::SINCE_MS, system_now_ms());
        if let Some(presence) = &presence {
            presence.end_turn()?;
        }
        let identity = self.me.identity;
        let seat = Seat::new(self.mapping.clone(), self.plan, slot, identity, presence);
        self.seat = Some(Arc::new(seat));
        Ok(())
    }

    fn claim_slot(&self, presence: Option<&Presence>) -> Option<u64> {
        let own = self.me.identity.0;
        (0..self.plan.slots).find(|&slot| {
            let word = self.view.word(self.plan.slot_at(slot) + slot::IDENTITY);
            if word.load(Relaxed) != 0 || !self.may_sit(presence, slot) {
                return false;
            }
            // Acquire pairs with the Release of whoever freed the slot, clean.
            let is_ours = word.compare_exchange(0, own, Acquire, Relaxed).is_ok();
            if let (false, Some(presence)) = (is_ours, presence) {
                presence.rise(slot);
            }
            is_ours
        })
    }

    /// Says that a free slot is ours before its identity does. Not while somebody clears up in it:
    /// that one may have looked before we sat.
    fn may_sit(&self, presence: Option<&Presence>, slot: u64) -> bool {
        let Some(presence) = presence else { return true };
        if !presence.sit(slot) {
            return false;
        }
        let is_open = self.view.load(self.plan.slot_at(slot) + slot::RESCUER) == 0;
        if !is_open {
            presence.rise(slot);
        }
        is_open
    }

    /// Whether the owner of a slot surely runs no more: its number tells, or its seat does.
    pub(crate) fn is_gone(&self, slot: u64, owner: Identity) -> bool {
        let presence = self.seat.as_ref().and_then(|seat| seat.presence.as_ref());
        self.is_gone_as(presence, slot, owner)
    }

    /// The same, as somebody sees it who has no slot yet.
    pub(crate) fn is_gone_as(
        &self,
        presence: Option<&Presence>,
        slot: u64,
        owner: Identity,
    ) -> bool {
        let has_risen = |own: &Presence| !owner.is_nobody() && own.is_gone(slot);
        self.me.knows_dead(owner) || presence.is_some_and(has_risen)
    }

    /// Leaves: what is claimed is freed, and then the slot. What the dead claim is left to whoever
    /// changes something next.
    pub(crate) fn leave(&mut self) {
        if !self.me.is_this_process() {
            return; // The slot is our parent's.
        }
        let identity_at = self.plan.slot_at(self.slot) + slot::IDENTITY;
        if self.claims == slot::CLAIMS_MOST && !self.adopted.is_nobody() {
            // Nothing was changed since we took the slot over: it is the dead one's again.
            return self.view.store(identity_at, self.adopted.0);
        }
        if matches!(self.mapping.backing(), Backing::File(_)) {
            // The last one who leaves closes the file: the dead must not look as if they lived.
            let _ = self.clear_up();
        }
        self.unfinished.clear();
        self.abandon();
        // What is claimed yet is freed by whoever finds that nobody sits here any more.
        let is_clean = self.give_stock_back().is_ok() && self.claims == 0;
        if let Some(seat) = self.seat.take().filter(|_| is_clean) {
            seat.leave();
        }
    }

    /// What each call begins with: a child of fork becomes a participant of its own, and now and
    /// then somebody else's death is looked for.
    #[inline]
    pub(crate) fn enter(&mut self) -> Result<(), Error> {
        if !self.me.is_this_process() {
            self.become_own()?;
        }
        self.calls = self.calls.wrapping_add(1);
        if self.calls.is_multiple_of(CALLS_PER_LOOK) {
            self.look_for_a_death();
        }
        Ok(())
    }

    #[cold]
    fn look_for_a_death(&mut self) {
        let slot = u64::from(self.calls / CALLS_PER_LOOK) % self.plan.slots;
        // Who only looks needs nothing of a slot that is damaged.
        let _ = self.recover_if_dead(slot);
    }

    /// What each call that changes something begins with: what could not be freed before is freed
    /// now. A call that only looks does not come here, for it waits for nobody.
    #[inline]
    pub(crate) fn enter_to_change(&mut self) -> Result<(), Error> {
        self.enter()?;
        if self.claims != 0 || !self.unfinished.is_empty() || self.has_dropped_leases() {
            self.finish_others();
            self.free_claims(0)?;
        }
        self.changes = self.changes.wrapping_add(1);
        if self.changes.is_multiple_of(CHANGES_PER_DUES) {
            let turn = Turn(self);
            turn.0.expire_some(DUES, Late::Most)?;
            turn.0.give_back(1)?;
        }
        Ok(())
    }

    /// In a child of fork: forgets what the parent had in hand, and claims a slot.
    #[cold]
    fn become_own(&mut self) -> Result<(), Error> {
        let own = Me::new(self.me.presumed_dead.clone())?;
        let parent = std::mem::replace(&mut self.me, own);
        self.forget();
        self.seat = None;
        let joined = self.join();
        if joined.is_err() {
            // Still nobody: the next call must not act for the parent either.
            self.me = parent;
        }
        joined
    }

    /// Takes the holds of shards: ascending, without repetition.
    pub(crate) fn hold(&mut self, shards: &[u64]) -> Result<(), Error> {
        for &shard in shards {
            debug_assert!(self.held.last().is_none_or(|&last| last < shard));
            self.take(self.plan.shard_at(shard) + shard::HOLD)?;
            self.held.push(shard);
        }
        Ok(())
    }

    /// Takes one more shard if nobody has it: in any order, for it waits for nobody.
    pub(crate) fn try_hold(&mut self, shard: u64) -> bool {
        let word = self.view.half_word(self.plan.shard_at(shard) + shard::HOLD);
        let is_taken = Hold(word).try_take(self.slot);
        if is_taken {
            self.held.push(shard);
        }
        is_taken
    }

    /// Lets go of the shard that was held last.
    pub(crate) fn let_go_last(&mut self) {
        if let Some(shard) = self.held.pop() {
            Hold(self.view.half_word(self.plan.shard_at(shard) + shard::HOLD)).let_go();
        }
    }

    /// Takes the hold at `at`, from a dead owner if need be.
    #[inline]
    fn take(&mut self, at: u64) -> Result<(), Error> {
        if Hold(self.view.half_word(at)).try_take(self.slot) {
            return Ok(());
        }
        self.wait_for(at)
    }

    #[cold]
    fn wait_for(&mut self, at: u64) -> Result<(), Error> {
        let (mut waited, mut is_counted) = (Waited::default(), false);
        loop {
            let begin = Instant::now();
            let hold = Hold(self.view.half_word(at));
            let owner = match hold.take_within_nap(self.slot) {
                Ok(()) => return Ok(()),
                Err(owner) => owner,
            };
            let Some(owner) = owner else {
                if hold.is_of_nobody() {
                    return Err(Error::Damaged { what: "a hold of nobody", at });
                }
                continue;
            };
            if owner >= self.plan.slots {
                return Err(Error::Damaged { what: "a hold of no participant", at });
            }
            self.recover_if_dead(owner)?;
            waited.add(begin.elapsed());
            if waited.0 > LONG_WAIT && !is_counted {
                self.view.word(header::LONG_WAITS_AT).fetch_add(1, Relaxed);
                is_counted = true;
            }
            if waited.0 > WAIT_MOST {
                let by_pid = self.identity_of(owner).pid();
                return Err(Error::Held { by_pid, ms: waited.0.as_millis() as u64 });
            }
        }
    }

    /// Our slot, as leases share it; none in a child of fork that found no slot of its own.
    pub(crate) fn seat(&self) -> Result<&Arc<Seat>, Error> {
        let most = self.plan.slots as u32;
        self.seat.as_ref().ok_or(Error::TooManyParticipants { most })
    }

    /// Who has a slot.
    pub(crate) fn identity_of(&self, slot: u64) -> Identity {
        Identity(self.view.load(self.plan.slot_at(slot) + slot::IDENTITY))
    }

    /// Begins to change the held shards `shards`.
    pub(crate) fn begin(&mut self, shards: &[u64]) {
        debug_assert!(self.open.is_empty());
        self.has_emptied = false;
        let Some(&first) = shards.first() else { return };
        // A note that changes nothing: no version is odd while the journal is empty, unless all is
        // decided.
        let at = morecore_heap::Offset(self.plan.shard_at(first) + shard::ENTRIES);
        let entries = self.core.read(at);
        self.core.write(at, entries);
        for &shard in shards {
            let version = self.view.word(self.plan.shard_at(shard) + shard::VERSION);
            version.store(version.load(Relaxed) | 1, Release);
            self.open.push(shard);
        }
        // Pairs with the Acquire fence of readers: who sees a word of ours sees the odd version.
        fence(Release);
    }

    /// Makes all that was changed since [`Self::begin`] count.
    pub(crate) fn commit(&mut self) {
        self.core.commit();
        self.close();
    }

    /// Takes back all that was changed since [`Self::begin`].
    pub(crate) fn undo(&mut self) {
        self.core.roll_back();
        self.close();
    }

    fn close(&mut self) {
        for &shard in &self.open {
            let version = self.view.word(self.plan.shard_at(shard) + shard::VERSION);
            // Release pairs with the Acquire of readers: they see the change whole.
            version.store((version.load(Relaxed) | 1).wrapping_add(1), Release);
        }
        self.open.clear();
    }

    /// Takes the hold of the heap; its version is odd while it is held.
    pub(crate) fn hold_heap(&mut self) -> Result<(), Error> {
        self.take(header::HEAP_HOLD_AT)?;
        self.is_heap_held = true;
        let version = self.view.word(header::HEAP_VERSION_AT);
        version.store(version.load(Relaxed) | 1, Release);
        Ok(())
    }

    /// Lets go of the heap.
    pub(crate) fn let_go_heap(&mut self) {
        let version = self.view.word(header::HEAP_VERSION_AT);
        version.store((version.load(Relaxed) | 1).wrapping_add(1), Release);
        self.is_heap_held = false;
        Hold(self.view.half_word(header::HEAP_HOLD_AT)).let_go();
    }

    /// Refuses to a child of fork what its parent began: the holds, the journal and the claims are
    /// the parent's.
    pub(crate) fn check_own(&self) -> Result<(), Error> {
        if self.me.is_this_process() { Ok(()) } else { Err(Error::Forked) }
    }

    /// Forgets what is in hand, without a trace in the segment.
    fn forget(&mut self) {
        self.held.clear();
        self.busy.clear();
        self.open.clear();
        self.unfinished.clear();
        self.is_heap_held = false;
        (self.claims, self.stock) = (0, Stock::default());
    }

    /// Lets go of everything, takes back what is not committed, and frees what is claimed.
    pub(crate) fn abandon(&mut self) {
        if !self.me.is_this_process() {
            return self.forget();
        }
        if self.core.journal().length() != 0 || !self.open.is_empty() {
            self.undo();
        }
        if self.is_heap_held {
            self.let_go_heap();
        }
        while !self.held.is_empty() {
            self.let_go_last();
        }
        self.busy.clear();
        self.finish_others();
        // What cannot be freed now (a stopped process holds the heap) stays claimed; the next call
        // tries again.
        let _ = self.free_claims(0);
        let _ = self.settle_stock();
    }

    /// The time that decides what has expired.
    #[inline]
    pub(crate) fn now_ms(&self) -> u64 {
        self.now.unwrap_or_else(system_now_ms)
    }
}

/// What a call does while it holds things: at its end, also when it unwinds, it has let go.
#[derive(Debug)]
pub(crate) struct Turn<'a>(pub(crate) &'a mut Session);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// The segment with a slot's journal.
pub(crate) fn core(view: &View, plan: &Plan, slot: u64) -> Core<UndoLog> {
    let journal = view.word(plan.journal_at(slot)).as_ptr();
    // SAFETY: the plan gives each slot a journal of this size, and only the slot's owner, or the
    // one rescuer of a dead owner, writes it.
    let journal = unsafe { UndoLog::new(journal, plan.notes) };
    // SAFETY: a page-aligned mapping that lives as long as the session; holds guard each change.
    unsafe { Core::new(view.base(), view.bytes(), journal) }
}

/// Unix milliseconds, a few of them late: a look-up of an entry that can expire asks for them.
pub(crate) fn system_now_ms() -> u64 {
    clock::coarse_unix_ms()
}

#[cfg(test)]
mod tests;
