//! Huge pages for the part of a heap that is dense.
//!
//! ```text
//!   | fixed part | huge pages        | pages as they were touched | untouched |
//!                0 .. heap           ^ HUGE_TO: counts up by a stretch at a time
//! ```
//!
//! With pages of 4 KiB nearly every look-up in a large store misses the processor's table of pages,
//! too, and each process that attaches has to have each of them mapped. But a huge page is resident
//! whole, so only memory that is in use already is made one, behind where the heap grows, and none
//! in a small store.
//!
//! To collapse pages takes some milliseconds, mostly of waiting, and who touches them meanwhile
//! waits too. So it is for whoever tidies, a stretch at a time; writers only say how far the heap
//! reaches. Of all processes one does each stretch: the one that counts the word up. If it dies
//! meanwhile, its stretch stays as it was.
//!
//! Promises: what stands in memory does not change; without help from the system nothing is lost
//! but time.
//! Source: madvise(2), MADV_COLLAPSE, which works on shared memory whatever the system's setting.

use morecore_sys::memory::{Advice, HUGE_PAGE_BYTES, advise, look_for_pages};

use crate::atomic::Relaxed;
use crate::layout::{PAGE, Plan, header};
use crate::mapping::Mapping;
use crate::session::Session;

/// How far into a segment a heap reaches before it has huge pages: below, all of it is within reach
/// of the processor's tables, and one huge page more or less is a part of it that shows.
const FROM_BYTES: u64 = 32 << 20;

/// What is collapsed at a time.
const STRETCH_BYTES: u64 = 4 * HUGE_PAGE_BYTES;

impl Session {
    /// A payload was claimed that ends at `end`.
    #[inline]
    pub(crate) fn grown_to(&self, end: u64) {
        if end >= FROM_BYTES {
            let reach = self.view.word(header::HEAP_REACH_AT);
            // By whole stretches, so that the word is seldom written.
            let stretches = end / STRETCH_BYTES * STRETCH_BYTES;
            if reach.load(Relaxed) < stretches {
                reach.fetch_max(stretches, Relaxed);
            }
        }
    }

    /// All from `end` on is free, and its pages went back: when the heap grows over it again, it
    /// gets huge pages again.
    pub(crate) fn heap_shrank_to(&self, end: u64) {
        let stretches = end / STRETCH_BYTES * STRETCH_BYTES;
        for at in [header::HEAP_REACH_AT, header::HUGE_TO_AT] {
            self.view.word(at).fetch_min(stretches, Relaxed);
        }
    }

    /// Makes huge pages of the next stretch behind which the heap has grown; true if there was one.
    pub(crate) fn collapse_next(&self) -> bool {
        let (word, reach) =
            (self.view.word(header::HUGE_TO_AT), self.view.load(header::HEAP_REACH_AT));
        let done = word.load(Relaxed);
        let from = done.max(first_page(&self.plan));
        let to = from.saturating_add(STRETCH_BYTES);
        if reach.min(self.plan.bytes) < to
            || word.compare_exchange(done, to, Relaxed, Relaxed).is_err()
        {
            return false;
        }
        collapse(&self.mapping, from, to);
        true
    }
}

/// The first huge page that has nothing of the fixed part, most of which is never touched.
fn first_page(plan: &Plan) -> u64 {
    plan.heap_at.next_multiple_of(HUGE_PAGE_BYTES)
}

fn collapse(mapping: &Mapping, from: u64, to: u64) {
    let base = mapping.view().base().expose_provenance() as u64;
    for at in (from..to).step_by(HUGE_PAGE_BYTES as usize) {
        if !is_mostly_there(base + at) {
            continue; // Its pages were given back: all of a huge page would be resident again.
        }
        // SAFETY: inside the segment, as something was claimed behind it, and the mapping keeps it;
        // to collapse pages changes nothing of what stands there.
        let collapsed = unsafe { advise(base + at, HUGE_PAGE_BYTES, Advice::Collapse) };
        if collapsed.is_err_and(|failed| failed.errno.0 == EINVAL) {
            return; // Not this kind of memory, or not this kernel.
        }
    }
}

/// Whether most small pages of a huge one are resident.
fn is_mostly_there(at: u64) -> bool {
    let mut pages = [0; (HUGE_PAGE_BYTES / PAGE) as usize];
    // Who cannot tell does as if they were.
    look_for_pages(at, &mut pages).is_err()
        || pages.iter().filter(|&&page| page & 1 != 0).count() > pages.len() / 2
}

/// errno(3): an argument that makes no sense.
const EINVAL: i32 = 22;

#[cfg(test)]
mod tests {
    use crate::{Create, Evict, Set, Store};

    #[test]
    fn a_large_heap_gets_huge_pages_by_and_by_and_keeps_its_values() {
        let how = Create { memory_bytes: 256 << 20, mode: 0o600, evict: Evict::None };
        let mut store = Store::anonymous(&how).unwrap();
        assert!(!store.session.collapse_next(), "a small heap has none");
        for number in 0..50_000u32 {
            store.set(&number.to_le_bytes(), &[number as u8; 1000], &Set::default()).unwrap();
        }
        let stretches = (0..100).take_while(|_| store.session.collapse_next()).count();
        assert!((4..8).contains(&stretches), "{stretches}");
        for number in 0..50_000u32 {
            let mut value = Vec::new();
            store.get(&number.to_le_bytes(), &mut value).unwrap().unwrap();
            assert_eq!(value, [number as u8; 1000]);
        }
        store.verify().unwrap();
    }
}
