//! What the living do for the dead.
//!
//! ```text
//!   rescuer = me --> roll back its journal --> even versions --> free its holds --> rescuer = 0
//!   later, holding nothing:  free its claims --> identity = 0
//! ```
//!
//! To attach rolls back and no more: it waits for nobody, and touches no heap, which in a damaged
//! segment may say anything. Whoever changes something next frees the claims first.
//!
//! Promises: every step can be done twice, so a rescuer may die anywhere and the next one begins
//! again; one rescuer at a time works on a slot; a journal that no store writes is refused whole.
//! That a rescuer of another pid namespace is dead, its seats tell: that of its own slot, or while
//! it has none, the dead one's, on which it sits down first.

use crate::Error;
use crate::atomic::{Acquire, Relaxed, Release};
use crate::hold::Hold;
use crate::layout::{PAGE, WORD, header, shard, slot};
use crate::lease::end_leases;
use crate::participant::Identity;
use crate::presence::Presence;
use crate::session::{Session, core};

impl Session {
    /// Recovers every slot whose owner is dead, and frees what those claim.
    pub(crate) fn clear_up(&mut self) -> Result<(), Error> {
        self.recover_all()?;
        self.finish_others();
        self.free_claims(0)
    }

    /// Rolls back and lets go for every dead owner.
    pub(crate) fn recover_all(&mut self) -> Result<(), Error> {
        (0..self.plan.slots).try_for_each(|slot| self.recover_if_dead(slot))
    }

    /// Rolls back and lets go for the owner of `slot` if it is dead. Its claims are freed when we
    /// hold nothing ourselves.
    pub(crate) fn recover_if_dead(&mut self, slot: u64) -> Result<(), Error> {
        let owner = self.identity_of(slot);
        if slot == self.slot || !self.is_gone(slot, owner) || !self.become_its_rescuer(slot) {
            return Ok(());
        }
        let mut recovered = Ok(());
        // Its lock tells only now: nobody sits down in a slot that is cleared up.
        if self.identity_of(slot) == owner && self.is_gone(slot, owner) {
            recovered = self.roll_back(slot);
            if recovered.is_ok() && !self.unfinished.contains(&slot) {
                self.unfinished.push(slot);
            }
        }
        self.end_rescue(slot);
        recovered
    }

    /// Refuses a journal that no store writes: one too long, or with a note of a word that no
    /// transaction changes. To roll it back would write anywhere.
    pub(crate) fn check_journal(&self, slot: u64) -> Result<(), Error> {
        let journal = self.plan.journal_at(slot);
        let count = self.view.load(journal);
        if count > self.plan.notes {
            return Err(Error::Damaged { what: "a journal longer than can be", at: journal });
        }
        for index in 0..count {
            let at = journal + WORD + index * 2 * WORD;
            let noted = self.view.load(at);
            // All but the header may be changed by a transaction.
            let is_sound = noted.is_multiple_of(WORD) && (PAGE..self.plan.bytes).contains(&noted);
            if !is_sound {
                return Err(Error::Damaged { what: "a note of no word", at });
            }
        }
        Ok(())
    }

    /// Takes back what a dead owner left half done, and frees its holds.
    fn roll_back(&mut self, slot: u64) -> Result<(), Error> {
        self.check_journal(slot)?;
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
        end_leases(&self.view, &self.plan, slot);
        if had_begun {
            self.view.word(header::RECOVERIES_AT).fetch_add(1, Relaxed);
        }
        Ok(())
    }

    fn make_even(&self, version_at: u64) {
        let version = self.view.word(version_at);
        let value = version.load(Relaxed);
        // Release pairs with the Acquire of readers: they see what was rolled back.
        version.store(value.wrapping_add(value & 1), Release);
    }

    /// Frees the claims, and then the slots, of the dead whom we recovered. We hold nothing.
    pub(crate) fn finish_others(&mut self) {
        if self.unfinished.is_empty() || !self.held.is_empty() || self.is_heap_held {
            return;
        }
        for slot in std::mem::take(&mut self.unfinished) {
            if !self.is_gone(slot, self.identity_of(slot)) || !self.become_its_rescuer(slot) {
                continue;
            }
            let owner = self.identity_of(slot);
            if self.is_gone(slot, owner) && self.finish(slot).is_ok() {
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
        self.roll_back(slot)?;
        self.free_claims_of(slot)
    }

    /// Takes a dead participant's slot over, with what it claims: that is ours to free from here
    /// on. Returns whose it was, too.
    pub(crate) fn adopt_dead_slot(
        &mut self,
        presence: Option<&Presence>,
    ) -> Option<(u64, Identity)> {
        (0..self.plan.slots).find_map(|slot| {
            let owner = self.identity_of(slot);
            if !self.is_gone_as(presence, slot, owner) {
                return None;
            }
            // From here on its seat is ours: whoever had it is gone.
            if !presence.is_none_or(|presence| presence.sit(slot)) {
                return None;
            }
            let mut is_ours = false;
            let is_rescuer = self.become_rescuer(presence, slot, true);
            if is_rescuer && self.identity_of(slot) == owner && self.roll_back(slot).is_ok() {
                let word = self.view.word(self.plan.slot_at(slot) + slot::IDENTITY);
                let own = self.me.identity.0;
                is_ours = word.compare_exchange(owner.0, own, Acquire, Relaxed).is_ok();
            }
            if is_rescuer {
                self.end_rescue(slot);
            }
            if let (false, Some(presence)) = (is_ours, presence) {
                presence.rise(slot);
            }
            is_ours.then_some((slot, owner))
        })
    }

    /// Becomes the one who works on a dead owner's slot; we have one of our own.
    fn become_its_rescuer(&self, slot: u64) -> bool {
        let presence = self.seat.as_ref().and_then(|seat| seat.presence.as_ref());
        self.become_rescuer(presence, slot, false)
    }

    /// Becomes the one who works on a dead owner's slot: if nobody is, or who was is dead too.
    /// `has_sat` says that we sit on it ourselves.
    fn become_rescuer(&self, presence: Option<&Presence>, slot: u64, has_sat: bool) -> bool {
        let word = self.view.word(self.plan.slot_at(slot) + slot::RESCUER);
        let other = Identity(word.load(Relaxed));
        let has_left = |presence| self.has_left_its_seats(presence, slot, has_sat, other);
        let is_open = other.is_nobody()
            || self.me.knows_dead(other)
            || self.me.is_foreign(other) && presence.is_some_and(has_left);
        // Acquire pairs with the Release of whoever did it before us.
        is_open && word.compare_exchange(other.0, self.me.identity.0, Acquire, Relaxed).is_ok()
    }

    /// Whether nobody sits where a rescuer of `slot`, who is `other`, would: on any slot that is
    /// its own, and on this one.
    fn has_left_its_seats(
        &self,
        presence: &Presence,
        slot: u64,
        has_sat: bool,
        other: Identity,
    ) -> bool {
        let mut own = (0..self.plan.slots).filter(|&own| self.identity_of(own) == other);
        (has_sat || presence.is_gone(slot)) && own.all(|own| presence.is_gone(own))
    }

    fn end_rescue(&self, slot: u64) {
        let word = self.view.word(self.plan.slot_at(slot) + slot::RESCUER);
        let _ = word.compare_exchange(self.me.identity.0, 0, Release, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Create, Store};

    /// Two slots that nobody has, and bits of an identity: a start time's, and a namespace's.
    const DEAD: u64 = 5;
    const THEIRS: u64 = 6;
    const OTHER_START: u64 = 1 << 63;
    const OTHER_NAMESPACE: u64 = 1 << 22;

    /// A rescuer of another namespace stands in a dead one's slot, and `sits` on some; whether the
    /// dead one is cleared up, then, and once nobody sits there any more.
    fn check(has_slot: bool, sits: Option<u64>, expected: bool) {
        let mut store =
            Store::memfd(&Create { memory_bytes: 1 << 20, ..Create::default() }).unwrap();
        let (view, plan) = (store.session.view, store.session.plan);
        let own = store.session.me.identity.0;
        view.store(plan.slot_at(DEAD) + slot::IDENTITY, own ^ OTHER_START);
        view.store(plan.slot_at(DEAD) + slot::RESCUER, own ^ OTHER_NAMESPACE);
        if has_slot {
            view.store(plan.slot_at(THEIRS) + slot::IDENTITY, own ^ OTHER_NAMESPACE);
        }
        let theirs = Presence::begin(&store.session.mapping).unwrap().unwrap();
        theirs.end_turn().unwrap();
        if let Some(seat) = sits {
            assert!(theirs.sit(seat));
        }
        let is_cleared = |store: &mut Store| {
            store.tidy().unwrap();
            view.load(plan.slot_at(DEAD) + slot::IDENTITY) == 0
        };
        assert_eq!(is_cleared(&mut store), expected, "{has_slot} {sits:?}");
        drop(theirs);
        assert!(is_cleared(&mut store));
        store.tidy().unwrap();
        assert_eq!(store.stat().participants.len(), 1);
    }

    #[test]
    fn a_number_that_was_used_again_within_a_tick_is_told_by_its_seat() {
        let how = Create { memory_bytes: 1 << 20, ..Create::default() };
        let mut store = Store::memfd(&how).unwrap();
        let (view, plan) = (store.session.view, store.session.plan);
        // Somebody of our own number and start time has died in a slot, and nobody sits there. In
        // another one we sit ourselves, by another opening, as a second session of ours does.
        let own = store.session.me.identity.0;
        let ours = Presence::begin(&store.session.mapping).unwrap().unwrap();
        ours.end_turn().unwrap();
        assert!(ours.sit(THEIRS));
        view.store(plan.slot_at(DEAD) + slot::IDENTITY, own);
        view.store(plan.slot_at(THEIRS) + slot::IDENTITY, own);
        view.store(plan.shard_at(0) + shard::HOLD, DEAD + 1);
        store.set(b"k", b"v", &crate::Set::default()).unwrap();
        store.tidy().unwrap();
        assert_eq!(view.load(plan.slot_at(DEAD) + slot::IDENTITY), 0);
        assert_eq!(view.load(plan.shard_at(0) + shard::HOLD), 0);
        assert_eq!(view.load(plan.slot_at(THEIRS) + slot::IDENTITY), own);
    }

    #[test]
    fn a_rescuer_of_another_namespace_is_dead_when_it_sits_nowhere() {
        check(false, None, true);
        check(true, None, true);
        check(true, Some(THEIRS), false);
        check(false, Some(DEAD), false);
    }
}
