//! A session's stock: payloads that it claims and has no use for yet, so that most sets of values
//! with payloads do not touch the heap, which all sessions share.
//!
//! ```text
//!   empty --claimed, several under one hold--> ready --lent to a set--> lent
//!     ^                                          ^                        |
//!     +---- the set was of a new entry ----------+---- the set was refused, or what it replaced
//!     |                                                stands in the claim now: as good as new
//!     +---- given back to the heap: another size is wanted, room is wanted, or we leave
//! ```
//!
//! The last claims of a slot are the stock's: a payload in it is claimed as any other, so a death
//! leaks nothing, and a rescuer frees it. Which claims are lent, and how long the payloads are, the
//! session alone knows.
//!
//! A set that replaces a value by one as long takes a payload from the stock and leaves the old one
//! there. One of a new entry takes one; when the stock has no more, several are claimed at once.
//!
//! Promises: a stock is a small part of the store, and none in a small one; what is read in place
//! is not in it; a store is not full while its own session has a stock.
//! Source: J. Bonwick and J. Adams, Magazines and Vmem, USENIX 2001, for the idea.

use crate::Error;
use crate::bucket::Bucket;
use crate::change::PAYLOAD_ALIGN;
use crate::grow::Lacking;
use crate::layout::{WORD, slot};
use crate::session::Session;

/// How many payloads are claimed at once: then a hold of the heap costs each of them little.
const CLAIMED_AT_ONCE: u64 = 8;

/// The part of a store that a stock may be, as much as that.
const PART: u64 = 4096;

/// The longest payload of a stock: to copy a longer one takes longer than to claim it.
const BYTES_MOST: u64 = 2048;

/// One of a stock's claims.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    /// The payload that is claimed; 0 = none.
    at: u64,
    /// Its size.
    words: u64,
    /// Whether a set has it.
    is_lent: bool,
    /// The size of the payload that stands here when that set counts.
    next_words: u64,
}

/// What a session has in stock.
#[derive(Debug, Default)]
pub(crate) struct Stock {
    places: [Place; slot::STOCK_MOST as usize],
    /// How many are lent.
    lent: u32,
    /// The size that was wanted last, and that was not there.
    missed_words: u64,
}

impl Session {
    /// Claims a payload of `bytes` bytes for the entry of `hash`, out of the stock if it is there;
    /// drops others for it if the store does that. Returns where it is, and the claim's number.
    pub(crate) fn claim_payload(&mut self, hash: u64, bytes: u64) -> Result<(u64, u64), Error> {
        if let Some(found) = self.claim_of_stock(bytes) {
            return Ok(found);
        }
        if self.is_to_stock(bytes) {
            self.fill_stock(bytes)?;
            if let Some(found) = self.claim_of_stock(bytes) {
                return Ok(found);
            }
        }
        self.sparing([hash], |session| match session.claim_evicting(bytes, PAYLOAD_ALIGN) {
            Err(Error::Full { .. }) if session.has_stock() => {
                session.give_stock_back()?;
                session.claim_evicting(bytes, PAYLOAD_ALIGN)
            }
            claimed => claimed,
        })
    }

    /// A payload of the stock, and the number of its claim.
    #[inline]
    pub(crate) fn claim_of_stock(&mut self, bytes: u64) -> Option<(u64, u64)> {
        let words = words(bytes);
        let is_wanted = |place: &Place| place.at != 0 && place.words == words;
        let mut places = self.stock.places.iter_mut().enumerate();
        let (number, place) = places.find(|(_, place)| is_wanted(place) && !place.is_lent)?;
        (place.is_lent, place.next_words) = (true, 0);
        self.stock.lent += 1;
        Some((place.at, slot::STOCK_FIRST + number as u64))
    }

    /// Whether several payloads of this size are to be claimed: when it is wanted again, and so
    /// many of them are a small part of the store.
    fn is_to_stock(&mut self, bytes: u64) -> bool {
        let words = words(bytes);
        let is_again = std::mem::replace(&mut self.stock.missed_words, words) == words;
        // In a file payloads have sums, and what is lost to others at a death counts for more.
        is_again
            && !self.has_sums
            && self.stock.lent == 0
            && bytes <= BYTES_MOST.min(self.plan.bytes / PART / CLAIMED_AT_ONCE)
    }

    /// Gives back what is of another size, and claims several of this one.
    fn fill_stock(&mut self, bytes: u64) -> Result<(), Error> {
        self.hold_heap()?;
        let filled = self.fill_stock_held(bytes);
        if filled.is_err() {
            self.core.roll_back();
        }
        self.let_go_heap();
        filled
    }

    fn fill_stock_held(&mut self, bytes: u64) -> Result<(), Error> {
        let wanted = words(bytes);
        let empty = self.stock.places.iter().filter(|place| place.at == 0).count() as u64;
        for number in 0..slot::STOCK_MOST {
            let Place { at, words, .. } = self.stock.places[number as usize];
            if empty < CLAIMED_AT_ONCE && at != 0 && words != wanted {
                self.free_place(number)?;
            }
        }
        let mut more = CLAIMED_AT_ONCE;
        for number in 0..slot::STOCK_MOST {
            if more == 0 || self.stock.places[number as usize].at != 0 {
                continue;
            }
            let claim = slot::STOCK_FIRST + number;
            let Some(at) = self.claim_as(claim, bytes, PAYLOAD_ALIGN) else { break };
            self.stock.places[number as usize] = Place { at, words: wanted, ..Place::default() };
            more -= 1;
        }
        Ok(())
    }

    /// A set that has `claim` replaces `old`, which stands in the claim if the set counts.
    #[inline]
    pub(crate) fn will_retire(&mut self, claim: Option<u64>, old: &Bucket) {
        let number = claim.and_then(|claim| claim.checked_sub(slot::STOCK_FIRST));
        let Some(number) = number else { return };
        let bytes =
            old.payload().map_or(0, |payload| payload.value_at + payload.value_bytes - payload.at);
        self.stock.places[number as usize].next_words = words(bytes);
    }

    /// Sees what became of all that was lent: the calls that had it are over, and nothing is held.
    #[inline]
    pub(crate) fn settle_stock(&mut self) -> Result<(), Error> {
        if self.stock.lent == 0 {
            return Ok(());
        }
        self.settle_lent()
    }

    fn settle_lent(&mut self) -> Result<(), Error> {
        self.stock.lent = 0;
        let mut leased = None;
        for number in 0..slot::STOCK_MOST {
            let place = self.stock.places[number as usize];
            if !place.is_lent {
                continue;
            }
            let at = self.view.load(self.plan.claim_at(self.slot, slot::STOCK_FIRST + number));
            let words = if at == place.at { place.words } else { place.next_words };
            let is_kept = at == 0 || {
                // Retired before this look: whoever has no lease by now gets none.
                let leased = leased.get_or_insert_with(|| self.leased());
                words * WORD <= BYTES_MOST && leased.binary_search(&at).is_err()
            };
            // What is not kept has no size: if it cannot be freed now, it is not lent either.
            let words = if is_kept { words } else { 0 };
            self.stock.places[number as usize] = Place { at, words, ..Place::default() };
            if !is_kept {
                self.free_places(number, number + 1)?;
            }
        }
        Ok(())
    }

    /// Gives all of the stock back that is not lent.
    pub(crate) fn give_stock_back(&mut self) -> Result<(), Error> {
        if self.has_stock() { self.free_places(0, slot::STOCK_MOST) } else { Ok(()) }
    }

    /// Makes place as `make_place` does, with what is in stock if there is no other room.
    pub(crate) fn make_place_with_stock(
        &mut self,
        hash: u64,
        lacking: Lacking,
    ) -> Result<(), Error> {
        match self.make_place(hash, lacking) {
            Err(Error::Full { .. }) if self.has_stock() => {
                self.give_stock_back()?;
                self.make_place(hash, lacking)
            }
            made => made,
        }
    }

    /// Whether the session has more than it uses.
    pub(crate) fn has_stock(&self) -> bool {
        self.stock.places.iter().any(|place| place.at != 0 && !place.is_lent)
    }

    /// Frees places that are not lent, or makes them pending where somebody reads them in place.
    fn free_places(&mut self, from: u64, to: u64) -> Result<(), Error> {
        self.hold_heap()?;
        let mut freed = Ok(());
        for number in from..to {
            let Place { at, is_lent, .. } = self.stock.places[number as usize];
            if at != 0 && !is_lent && freed.is_ok() {
                freed = self.free_place(number);
            }
        }
        if freed.is_err() {
            self.core.roll_back();
        }
        self.let_go_heap();
        freed
    }

    /// The same for one place; the heap is held.
    fn free_place(&mut self, number: u64) -> Result<(), Error> {
        let claim = slot::STOCK_FIRST + number;
        self.free_or_keep(self.slot, claim, claim + 1)?;
        self.stock.places[number as usize] = Place::default();
        Ok(())
    }
}

/// The size of a payload: those of as many words come from one class, so each can stand for
/// another.
fn words(bytes: u64) -> u64 {
    bytes.div_ceil(WORD)
}

#[cfg(test)]
mod tests {
    use crate::layout::header;
    use crate::{Create, Evict, Set, Store};

    fn store() -> Store {
        let how = Create { memory_bytes: 64 << 20, mode: 0o600, evict: Evict::None };
        Store::anonymous(&how).unwrap()
    }

    fn heap_version(store: &Store) -> u64 {
        store.session.view.load(header::HEAP_VERSION_AT)
    }

    #[test]
    fn values_that_replace_others_as_long_leave_the_heap_alone() {
        let mut store = store();
        for number in 0..40u8 {
            store.set(&[b'k', number], &[1; 300], &Set::default()).unwrap();
        }
        let before = heap_version(&store);
        for round in 0..10 {
            (0..40u8).for_each(|number| {
                store.set(&[b'k', number], &[round; 300], &Set::default()).unwrap();
            });
        }
        assert_eq!(heap_version(&store), before);
        assert_eq!(store.verify().unwrap().claimed, 0);
    }

    #[test]
    fn new_values_take_a_hold_of_the_heap_for_several() {
        let mut store = store();
        store.set(b"first", &[1; 300], &Set::default()).unwrap();
        let before = heap_version(&store);
        for number in 0..20_000u32 {
            store.set(&number.to_le_bytes(), &[1; 300], &Set::default()).unwrap();
        }
        // An eighth of a hold each; growth of the table takes some, too.
        let holds = (heap_version(&store) - before) / 2;
        assert!(holds < 10_000, "{holds}");
    }

    #[test]
    fn what_is_read_in_place_is_not_lent_again() {
        let mut store = store();
        let mut reader = store.try_clone().unwrap();
        for number in 0..3u8 {
            store.set(&[number], &[1; 300], &Set::default()).unwrap();
        }
        let lease = reader.lease(&[0]).unwrap().unwrap();
        for round in 2..60u8 {
            store.set(&[round % 3], &[round; 300], &Set::default()).unwrap();
            assert_eq!(&lease[..], [1; 300]);
        }
        assert_eq!(store.verify().unwrap().pending, 1);
        drop(lease);
        store.tidy().unwrap();
        let verified = store.verify().unwrap();
        assert_eq!((verified.pending, verified.claimed), (0, 0));
    }

    #[test]
    fn a_set_that_was_refused_leaves_its_payload_in_stock() {
        let mut store = store();
        for number in 0..3u8 {
            store.set(&[number], &[1; 300], &Set::default()).unwrap();
        }
        let absent = Set { condition: crate::Condition::Absent, ..Set::default() };
        let before = heap_version(&store);
        for _ in 0..50 {
            store.set(&[0], &[2; 300], &absent).unwrap();
        }
        assert_eq!(heap_version(&store), before);
        assert_eq!(store.verify().unwrap().entries, 3);
    }

    #[test]
    fn the_stock_of_the_dead_is_freed() {
        let mut dead = store();
        let mut living = dead.try_clone().unwrap();
        for number in 0..3u8 {
            dead.set(&[number], &[1; 300], &Set::default()).unwrap();
        }
        assert!(dead.session.has_stock());
        assert_ne!(living.verify().unwrap().claimed, 0);
        living.session.me.presumed_dead = vec![std::process::id()];
        living.tidy().unwrap();
        assert_eq!(living.verify().unwrap().claimed, 0);
        std::mem::forget(dead);
    }

    #[test]
    fn a_full_store_uses_its_stock_up() {
        let mut store = store();
        let mut number = 0u32;
        while store.set(&number.to_le_bytes(), &[1; 1000], &Set::default()).is_ok() {
            number += 1;
        }
        // At most the one that the last set had in vain.
        let places = store.session.stock.places.iter().filter(|place| place.at != 0);
        assert!(places.count() <= 1);
        let verified = store.verify().unwrap();
        assert_eq!((verified.entries, verified.claimed), (u64::from(number), 0));
        // What is there is replaced by what it left behind, one after the other.
        store.delete(&0u32.to_le_bytes()).unwrap();
        (1..100u32).for_each(|number| {
            store.set(&number.to_le_bytes(), &[2; 1000], &Set::default()).unwrap();
        });
    }

    #[test]
    fn a_small_store_has_no_stock() {
        let how = Create { memory_bytes: 1 << 20, mode: 0o600, evict: Evict::None };
        let mut store = Store::anonymous(&how).unwrap();
        for number in 0..20u8 {
            store.set(&[number], &[1; 300], &Set::default()).unwrap();
        }
        assert!(!store.session.has_stock());
    }
}
