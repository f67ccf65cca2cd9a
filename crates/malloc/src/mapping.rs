//! Mappings: large payloads, each with an mmap of its own.
//!
//! ```text
//!   address --hash--> [ at | bytes ]  ...  a table of all that are used, in core of its own
//!
//!   kept: [ at | bytes ] x 16   freed but still warm: used again before the system is asked
//! ```
//!
//! Promises: nothing of a mapping stands in it or beside it, so a payload begins and ends with a
//! page, and whether an address is the beginning of a mapping, and how long that is, is known
//! exactly. What is kept warm is bounded. The calls that map and unmap a payload are not made
//! here, so that whoever holds the table never waits for them.

use morecore_sys::memory;

/// How many freed mappings are kept: a program that frees and takes large payloads in turn has a
/// few of them.
const KEPT_MOST: usize = 16;

/// The most that is kept at first: one of the smallest mappings. A program that never asks again
/// has lost no more than that.
const KEPT_BYTES_AT_FIRST: u64 = 4 << 20;

/// The most that is ever kept: to fault this in again takes some 20 ms, to have it idle is a part
/// of most machines' memory that is not missed.
const KEPT_BYTES_MOST: u64 = 64 << 20;

/// The least that the table holds: one page of 16-byte places.
const PLACES_LEAST: u64 = 256;

/// A stretch of pages of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    /// Its address, the beginning of a page.
    pub(crate) at: u64,
    /// Its length, a multiple of a page.
    pub(crate) bytes: u64,
}

/// A place of the table that nothing is in.
const NOTHING: Mapping = Mapping { at: 0, bytes: 0 };

/// All mappings of the process, used and kept.
///
/// # Invariants
/// - `open`: `places` is a power of two, and fewer than half of them are taken, or would be if
///   those that are away came back.
/// - `reachable`: between the place that a mapping's hash names and the one that it is in, all
///   places are taken.
/// - `summed`: the sums are those of the mappings that are used, and that are kept.
/// - `bounded`: no more is kept than `kept_bytes_most`, which is at most [`KEPT_BYTES_MOST`].
pub(crate) struct Mappings {
    table: *mut Mapping,
    places: u64,
    used_count: u64,
    used_bytes: u64,
    /// Those that move just now, and are nowhere.
    away_count: u64,
    kept: [Mapping; KEPT_MOST],
    kept_bytes: u64,
    /// The most that is kept now.
    kept_bytes_most: u64,
    /// The bytes of the mapping that last went back because it was too much to keep.
    dropped_bytes: u64,
}

// SAFETY: the table is core of our own; the pointer to it is used only through `&mut self`.
unsafe impl Send for Mappings {}

impl Mappings {
    pub(crate) const fn new() -> Self {
        Self {
            table: core::ptr::null_mut(),
            places: 0,
            used_count: 0,
            used_bytes: 0,
            away_count: 0,
            kept: [NOTHING; KEPT_MOST],
            kept_bytes: 0,
            kept_bytes_most: KEPT_BYTES_AT_FIRST,
            dropped_bytes: 0,
        }
    }

    /// Returns how many mappings are used, and their bytes.
    pub(crate) fn used(&self) -> (u64, u64) {
        (self.used_count, self.used_bytes)
    }

    /// Returns the bytes that are kept warm.
    pub(crate) fn kept_bytes(&self) -> u64 {
        self.kept_bytes
    }

    /// Returns the mapping that begins at `at`.
    pub(crate) fn find(&self, at: u64) -> Option<Mapping> {
        if self.places == 0 {
            return None;
        }
        let found = self.read(self.place_of(at));
        (at != 0 && found.at == at).then_some(found)
    }

    /// Takes up a mapping that is used from now on; `false` if there is no core for the table.
    pub(crate) fn insert(&mut self, mapping: Mapping) -> bool {
        let count = self.used_count + self.away_count;
        if 2 * (count + 1) > self.places && !self.grow() {
            return false;
        }
        self.put(mapping);
        true
    }

    /// Drops the mapping that begins at `at` from the used ones, while it moves; its place in the
    /// table is kept for it.
    pub(crate) fn take_away(&mut self, at: u64) -> Option<Mapping> {
        let taken = self.remove(at)?;
        self.away_count += 1;
        Some(taken)
    }

    /// Takes up again what `take_away` took, wherever it is now. By `open` there is a place for it.
    pub(crate) fn bring_back(&mut self, mapping: Mapping) {
        self.away_count -= 1;
        self.put(mapping);
    }

    fn put(&mut self, mapping: Mapping) {
        self.write(self.place_of(mapping.at), mapping);
        self.used_count += 1;
        self.used_bytes += mapping.bytes;
    }

    /// Drops the mapping that begins at `at` from the used ones.
    pub(crate) fn remove(&mut self, at: u64) -> Option<Mapping> {
        let removed = self.find(at)?;
        let mut hole = self.place_of(at);
        self.used_count -= 1;
        self.used_bytes -= removed.bytes;
        // By `reachable` whatever stands behind the hole, and was hashed to the hole or before it,
        // must move into it.
        let mut place = hole;
        loop {
            place = (place + 1) & (self.places - 1);
            let next = self.read(place);
            if next == NOTHING {
                break;
            }
            let from_home = place.wrapping_sub(self.home(next.at)) & (self.places - 1);
            let from_hole = place.wrapping_sub(hole) & (self.places - 1);
            if from_home >= from_hole {
                self.write(hole, next);
                hole = place;
            }
        }
        self.write(hole, NOTHING);
        Some(removed)
    }

    /// Keeps a mapping that is used no more warm, if that is not too much. Returns what must go
    /// back to the system instead: `mapping` itself, an older one, or nothing.
    pub(crate) fn keep(&mut self, mapping: Mapping) -> Option<Mapping> {
        if self.kept_bytes + mapping.bytes > self.kept_bytes_most {
            self.dropped_bytes = mapping.bytes;
            return Some(mapping);
        }
        // The newest comes first, so the last is the oldest; it goes only if there is no free
        // place.
        let end = self.kept.iter().position(|kept| *kept == NOTHING).unwrap_or(KEPT_MOST - 1);
        let oldest = self.kept[end];
        self.kept.copy_within(..end, 1);
        self.kept[0] = mapping;
        self.kept_bytes += mapping.bytes;
        self.kept_bytes -= oldest.bytes;
        (oldest != NOTHING).then_some(oldest)
    }

    /// Takes `bytes` from what is kept warm: the front of the smallest mapping that is long enough.
    /// The rest of it stays.
    ///
    /// If there is none, but what was dropped last would have served, more is kept from now on: so
    /// a program that takes and frees a large payload in turn soon finds it warm, and one that does
    /// not pays nothing for it.
    pub(crate) fn reuse(&mut self, bytes: u64) -> Option<Mapping> {
        let long_enough = self.kept.iter_mut().filter(|kept| kept.bytes >= bytes);
        let Some(kept) = long_enough.min_by_key(|kept| kept.bytes) else {
            if bytes <= self.dropped_bytes {
                let more = self.kept_bytes_most + self.dropped_bytes;
                self.kept_bytes_most = more.min(KEPT_BYTES_MOST);
                self.dropped_bytes = 0;
            }
            return None;
        };
        let reused = Mapping { at: kept.at, bytes };
        kept.at += bytes;
        kept.bytes -= bytes;
        if kept.bytes == 0 {
            *kept = NOTHING;
        }
        self.kept_bytes -= bytes;
        Some(reused)
    }

    /// Lets go one of those that are kept warm.
    pub(crate) fn forget_one(&mut self) -> Option<Mapping> {
        let kept = self.kept.iter_mut().find(|kept| **kept != NOTHING)?;
        let forgotten = core::mem::replace(kept, NOTHING);
        self.kept_bytes -= forgotten.bytes;
        Some(forgotten)
    }

    /// Makes the table twice as long.
    fn grow(&mut self) -> bool {
        let places = (2 * self.places).max(PLACES_LEAST);
        let Ok(at) = memory::map(0, places * size_of::<Mapping>() as u64) else { return false };
        let old = core::mem::replace(self, Self::new());
        *self = Self {
            table: core::ptr::with_exposed_provenance_mut(at as usize),
            places,
            used_count: 0,
            used_bytes: 0,
            ..old
        };
        for mapping in (0..old.places).map(|place| old.read(place)).filter(|m| *m != NOTHING) {
            self.put(mapping);
        }
        if old.places > 0 {
            let bytes = old.places * size_of::<Mapping>() as u64;
            // SAFETY: the old table is ours alone, and everything in it has moved. If the system
            // will not have it back, it is lost, once for every size.
            let _ = unsafe { memory::unmap(old.table.expose_provenance() as u64, bytes) };
        }
        true
    }

    /// The place where the search for `at` begins.
    fn home(&self, at: u64) -> u64 {
        // Source: D. E. Knuth, The Art of Computer Programming, vol. 3, section 6.4: 2^64 divided
        // by the golden ratio spreads addresses that differ by a constant.
        (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) & (self.places - 1)
    }

    /// The place that `at` is in, or the free one where it belongs.
    fn place_of(&self, at: u64) -> u64 {
        let mut place = self.home(at);
        // By `open` a free place comes.
        while !matches!(self.read(place), found if found == NOTHING || found.at == at) {
            place = (place + 1) & (self.places - 1);
        }
        place
    }

    fn read(&self, place: u64) -> Mapping {
        // SAFETY: every caller masks with `places - 1` or counts below it, so it is in the table.
        let at = unsafe { self.table.add(place as usize) };
        // SAFETY: the table is core of our own, zero (which is `NOTHING`) or written by `write`.
        unsafe { at.read() }
    }

    fn write(&mut self, place: u64, mapping: Mapping) {
        // SAFETY: as in `read`.
        let at = unsafe { self.table.add(place as usize) };
        // SAFETY: the table is core of our own, and we have it exclusively.
        unsafe { at.write(mapping) };
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::println;

    use super::*;

    #[test]
    fn it_agrees_with_a_plain_map() {
        let seed = std::env::var("SEED").map_or_else(|_| fastrand::u64(..), |s| s.parse().unwrap());
        println!("SEED={seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut mappings, mut model) = (Mappings::new(), BTreeMap::new());
        for _ in 0..5_000 {
            let at = random.u64(1..2000) << 12;
            let bytes = random.u64(1..100) << 12;
            if random.bool() {
                assert_eq!(mappings.remove(at).map(|m| m.bytes), model.remove(&at));
            } else if let std::collections::btree_map::Entry::Vacant(vacant) = model.entry(at) {
                vacant.insert(bytes);
                assert!(mappings.insert(Mapping { at, bytes }));
            }
            assert_eq!(mappings.find(at).map(|m| m.bytes), model.get(&at).copied());
            assert_eq!(mappings.used(), (model.len() as u64, model.values().sum()));
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_cut_to_measure() {
        let mut mappings = Mappings { kept_bytes_most: 20, ..Mappings::new() };
        let mapping = |at, bytes| Mapping { at, bytes };
        assert_eq!(mappings.keep(mapping(100, 21)), Some(mapping(100, 21)));
        assert_eq!(mappings.keep(mapping(100, 9)), None);
        assert_eq!(mappings.keep(mapping(200, 7)), None);
        assert_eq!(mappings.keep(mapping(300, 5)), Some(mapping(300, 5)));
        assert_eq!(mappings.reuse(8), Some(mapping(100, 8)));
        assert_eq!(mappings.reuse(8), None);
        assert_eq!(mappings.reuse(1), Some(mapping(108, 1)));
        assert_eq!(mappings.kept_bytes(), 7);
        assert_eq!(mappings.forget_one(), Some(mapping(200, 7)));
        assert_eq!(mappings.forget_one(), None);
    }

    #[test]
    fn what_is_asked_for_again_is_kept_the_next_time() {
        let mut mappings = Mappings { kept_bytes_most: 20, ..Mappings::new() };
        let large = Mapping { at: 100, bytes: 50 };
        assert_eq!(mappings.keep(large), Some(large));
        assert_eq!(mappings.reuse(60), None);
        assert_eq!(mappings.keep(large), Some(large), "it would not have served 60");
        assert_eq!(mappings.reuse(50), None);
        assert_eq!(mappings.keep(large), None);
        assert_eq!(mappings.reuse(50), Some(large));
    }

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let mut mappings = Mappings::new();
        for at in 1..=KEPT_MOST as u64 {
            assert_eq!(mappings.keep(Mapping { at, bytes: 1 }), None);
        }
        let oldest = Mapping { at: 1, bytes: 1 };
        assert_eq!(mappings.keep(Mapping { at: 99, bytes: 1 }), Some(oldest));
    }
}
