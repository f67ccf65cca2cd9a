//! What the living do for the dead.
//!
//! ```text
//!   rescuer = me --> roll back its journal --> even versions --> free its holds --> rescuer = 0
//!   later, holding nothing:  free its claims --> identity = 0
//! ```
//!
//! Promises: every step can be done twice, so a rescuer may die anywhere and the next one begins
//! again; one rescuer at a time works on a slot.

use crate::Error;
use crate::atomic::{Acquire, Relaxed, Release};
use crate::hold::Hold;
use crate::layout::{header, shard, slot};
use crate::participant::Identity;
use crate::session::{Session, core};

impl Session {
    /// Recovers every slot whose owner is dead.
    pub(crate) fn recover_all(&mut self) -> Result<(), Error> {
        for slot in 0..self.plan.slots {
            self.recover_if_dead(slot);
        }
        self.finish_others();
        self.free_claims(0)
    }

    /// Rolls back and lets go for the owner of `slot` if it is dead. Its claims are freed when we
    /// hold nothing ourselves.
    pub(crate) fn recover_if_dead(&mut self, slot: u64) {
        let owner = self.identity_of(slot);
        if slot == self.slot || !self.me.knows_dead(owner) || !self.become_rescuer(slot) {
            return;
        }
        if self.identity_of(slot) == owner {
            self.roll_back(slot);
            if !self.unfinished.contains(&slot) {
                self.unfinished.push(slot);
            }
        }
        self.end_rescue(slot);
    }

    /// Takes back what a dead owner left half done, and frees its holds.
    fn roll_back(&mut self, slot: u64) {
        let mut theirs = core(&self.view, &self.plan, slot);
        let had_begun = theirs.journal().length() != 0;
        theirs.roll_back();
        for index in 0..self.plan.shards {
            let at = self.plan.shard_at(index);
            let hold = Hold(self.view.half_word(at + shard::HOLD));
            if hold.owner() == Some(slot) {
                self.make_even(at + shard::VERSION);
                hold.free_of(slot);
            }
        }
        let hold = Hold(self.view.half_word(header::HEAP_HOLD_AT));
        if hold.owner() == Some(slot) {
            self.make_even(header::HEAP_VERSION_AT);
            hold.free_of(slot);
        }
        if had_begun {
            self.view.word(header::RECOVERIES_AT).fetch_add(1, Relaxed);
        }
    }

    fn make_even(&self, version_at: u64) {
        let version = self.view.word(version_at);
        let value = version.load(Relaxed);
        // Release pairs with the Acquire of readers: they see what was rolled back.
        version.store(value + (value & 1), Release);
    }

    /// Frees the claims, and then the slots, of the dead whom we recovered. We hold nothing.
    pub(crate) fn finish_others(&mut self) {
        if self.unfinished.is_empty() || !self.held.is_empty() || self.is_heap_held {
            return;
        }
        for slot in std::mem::take(&mut self.unfinished) {
            if !self.me.knows_dead(self.identity_of(slot)) || !self.become_rescuer(slot) {
                continue;
            }
            let owner = self.identity_of(slot);
            if self.me.knows_dead(owner) && self.finish(slot).is_ok() {
                let word = self.view.word(self.plan.slot_at(slot) + slot::IDENTITY);
                // Release pairs with the Acquire of whoever claims the slot next.
                let _ = word.compare_exchange(owner.0, 0, Release, Relaxed);
            }
            self.end_rescue(slot);
        }
    }

    /// Frees all that a dead participant claims; we are its rescuer.
    fn finish(&mut self, slot: u64) -> Result<(), Error> {
        // Since we recovered the slot, another may have freed it, and its next owner died in it.
        self.roll_back(slot);
        self.free_claims_of(slot)
    }

    /// Takes a dead participant's slot over, with what it claims: that is ours to free from here
    /// on.
    pub(crate) fn adopt_dead_slot(&mut self) -> Option<u64> {
        (0..self.plan.slots).find(|&slot| {
            let owner = self.identity_of(slot);
            if !self.me.knows_dead(owner) || !self.become_rescuer(slot) {
                return false;
            }
            let mut is_ours = false;
            if self.identity_of(slot) == owner {
                self.roll_back(slot);
                let word = self.view.word(self.plan.slot_at(slot) + slot::IDENTITY);
                let own = self.me.identity.0;
                is_ours = word.compare_exchange(owner.0, own, Acquire, Relaxed).is_ok();
            }
            self.end_rescue(slot);
            is_ours
        })
    }

    /// Becomes the one who works on a dead owner's slot: if nobody is, or who was is dead too.
    fn become_rescuer(&self, slot: u64) -> bool {
        let word = self.view.word(self.plan.slot_at(slot) + slot::RESCUER);
        let other = word.load(Relaxed);
        let is_open = other == 0 || self.me.knows_dead(Identity(other));
        // Acquire pairs with the Release of whoever did it before us.
        is_open && word.compare_exchange(other, self.me.identity.0, Acquire, Relaxed).is_ok()
    }

    fn end_rescue(&self, slot: u64) {
        let word = self.view.word(self.plan.slot_at(slot) + slot::RESCUER);
        let _ = word.compare_exchange(self.me.identity.0, 0, Release, Relaxed);
    }
}
