//! What others freed in a thread's slabs: how its owner hears of it, and takes it back.
//!
//! ```text
//!   told --> unit --> unit --> none      linked in the ledger, the one told of last first
//! ```
//!
//! Promises: who tells does so with one atomic operation, and waits for nobody; a slab that has
//! another owner meanwhile is passed on.
//! Knows nothing of when to look: that is `thread.rs`.

use core::ptr;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use morecore_heap::abort::broken;
use morecore_heap::{Class, Given, Offset, Slab};

use super::{Thread, core};
use crate::arena::{self, Arena};
use crate::ledger::freed::{self, Page};
use crate::line::{abort_for, rightly};
use crate::magazine::Waiting;

impl Thread {
    /// Tells the owner of a slab that something in one of its units was freed.
    ///
    /// # Safety
    /// - `owner` is a record that was made by [`Arena::thread`].
    /// - The unit is in no such list: `Page::give` told the caller to tell, or it was just taken
    ///   out of one.
    pub(crate) unsafe fn tell(owner: *mut Self, unit: Offset) {
        // SAFETY: records are never given back.
        let told = unsafe { &raw const (*owner).told };
        // SAFETY: as above; this part of a record is atomic, for everyone.
        let told = unsafe { &*told };
        let link = Page::of_unit(unit).link();
        let mut first = told.load(Relaxed);
        loop {
            link.store(first, Relaxed);
            // Release pairs with the Acquire in `collect`: the link is seen with the unit.
            match told.compare_exchange_weak(first, unit.0, Release, Relaxed) {
                Ok(_) => return,
                Err(now) => first = now,
            }
        }
    }

    /// Takes back what others freed in this record's slabs; `false`: nothing was.
    pub(super) fn collect(&self, mut arena: Option<&mut Arena>) -> bool {
        self.slow.set(0);
        if !self.is_told() {
            return false;
        }
        // Acquire pairs with the Release in `tell`.
        let mut next = self.told.swap(0, Acquire);
        while next != 0 {
            let unit = Offset(next);
            let Some((slab, class)) = arena::units().slab_of(&core(), unit) else {
                broken("told", unit);
            };
            next = Page::of_unit(unit).link().load(Relaxed);
            let owner = slab.owner(&core()).load(Relaxed);
            if owner == self.name() {
                self.collect_unit(arena.as_deref_mut(), slab, class, unit);
            } else {
                // It was taken over after somebody had told this record.
                // SAFETY: the owner word of a slab names a record, and the unit left our list.
                unsafe { Self::tell(ptr::with_exposed_provenance_mut(owner as usize), unit) };
            }
        }
        true
    }

    /// Puts what others freed in one unit into its class's magazine, and what has no room there
    /// into the slab's mask; with the arena, all of it: then the thread gives back what it can.
    fn collect_unit(&self, arena: Option<&mut Arena>, slab: Slab, class: Class, unit: Offset) {
        let magazine = self.magazine(class);
        let mut room = if arena.is_some() { 0 } else { magazine.room_left() };
        let mut became = Given::Kept;
        freed::take(unit, |first, used, blocks| {
            let twice = used.strike_all(blocks);
            if twice != 0 {
                // Its owner has freed it as well.
                abort_for(&slab.twice(class, freed::lowest(first, twice)));
            }
            let many = blocks.count_ones() as usize;
            let mut rest = blocks;
            let mut next = || {
                let block = freed::lowest(first, rest);
                rest &= rest.wrapping_sub(1);
                block
            };
            if many <= room {
                room -= many;
                return magazine.lay(many, || Waiting::new(next().0, used));
            }
            for _ in 0..many {
                became = rightly(self.slabs().give(&mut core(), slab, class, next()));
            }
        });
        if became == Given::Empty {
            self.unseat(arena, slab, class);
        }
    }
}
