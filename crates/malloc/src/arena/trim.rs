//! What goes back when somebody asks for it: `malloc_trim`, and who would be refused otherwise.
//!
//! Promises: nothing that is free stays warm, wherever it stands.
//! Knows nothing of what goes back by itself: that is `warm.rs`.

use morecore_heap::{Part, Region, Source, UNIT, Unit, Walk};

use super::{Arena, chunks, units};
use crate::ledger;
use crate::line::abort;
use crate::thread::core;

impl Arena {
    /// Gives back what is free, but for `keep` bytes of the top. `true` if anything went back.
    pub(crate) fn trim(&mut self, keep: u64) -> bool {
        self.tidy_idle();
        let before = self.warm.bytes();
        for part in Walk::new(&core(), chunks(), units()) {
            match part {
                Ok(Part::Free(free)) => {
                    self.give_back(free);
                    ledger::give_back(Region::between(free.begin, free.end()));
                }
                Ok(_) => {}
                Err(broken) => abort(format_args!("{broken}")),
            }
        }
        let gone = self.rows.give_back();
        self.warm.gone(gone);
        self.trim_top(keep) || self.warm.bytes() < before
    }

    /// Gives back the addresses that are reserved for later; `true` if there were any.
    pub(crate) fn give_up_reserved(&mut self) -> bool {
        self.source.give_up_reserved()
    }

    /// Gives back the end of the top, but for `keep` bytes. `true` if there was anything.
    fn trim_top(&mut self, keep: u64) -> bool {
        let Some(spare) = chunks().spare_top(&core(), keep, UNIT) else { return false };
        chunks().cut_top(&mut core(), spare);
        ledger::give_back(spare);
        if self.source.less_core(spare) {
            units().mark(&mut core(), spare, Unit::FOREIGN);
            self.fresh = self.fresh.min(spare.begin);
            // The top may reach further down than what was added last.
            let begin = self.growing.begin.min(spare.begin);
            self.growing = Region::between(begin, spare.begin);
            return true;
        }
        // This source keeps it, so it is core again. The last tag of what was left is a stale word
        // inside the top then.
        let short = chunks().top(&core());
        chunks().add_region(&mut core(), spare);
        if let Some(short) = short {
            core().write(short.last_tag(), 0);
        }
        if let Some(top) = chunks().top(&core()) {
            self.warm.formed(top);
        }
        false
    }
}
