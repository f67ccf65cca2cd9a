//! Memory of keys that will soon be asked for, on its way before it is needed: for who has many
//! commands in hand.
//!
//! ```text
//!   begin_fetch(a) begin_fetch(b) ...     the lines where each look-up begins and is counted
//!   fetch_on(a)    fetch_on(b)    ...     what that line leads to
//!   get(a)         get(b)         ...     no wait for memory
//! ```
//!
//! Promises: nothing is changed, and what is read on the way may be torn: then another line is
//! fetched, or none.
//! Source: S. Chen et al., Improving Hash Join Performance through Prefetching, 2004.

use crate::Store;
use crate::bucket::BUCKET_BYTES;
use crate::hash::hash;
use crate::payload::Stub;
use crate::reader::Reader;
use crate::shelf::{SHELF, mark_of};
use crate::table::group_of;
use crate::view::Look;

/// How many lines of a payload are fetched: its head, its key and the begin of its value. From
/// there on the processor sees the pattern itself.
const FETCH_LINES: u64 = 4;

/// A key's memory on its way.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fetching(u64);

impl Fetching {
    pub(crate) fn hash(self) -> u64 {
        self.0
    }
}

impl Store {
    /// Has the lines on their way where the look-up of `key` begins, and where it is counted.
    #[inline]
    #[must_use]
    pub fn begin_fetch(&self, key: &[u8]) -> Fetching {
        let hash = hash(self.session.seed, key);
        self.reader().prefetch(hash);
        self.session.view.prefetch(self.session.plan.visits_of(hash).0);
        Fetching(hash)
    }

    /// Goes on when that line may have come: the entry may stand beside it, and its value
    /// elsewhere.
    #[inline]
    pub fn fetch_on(&self, fetching: Fetching) {
        self.reader().fetch_on(fetching.0);
    }
}

impl Reader<'_> {
    /// Fetches the lines where an entry of `hash` may stand, and its payload.
    #[inline]
    pub(crate) fn fetch_on(self, hash: u64) {
        let Ok(Some(group)) = group_of(self.view, self.plan, hash) else { return };
        if group.buckets != 0 {
            self.view.prefetch(self.plan.visits_in(group.at).word_at);
            let (shelves, home) = (group.whole(), group.whole().home(hash));
            let marks = shelves.marks(self.view, home);
            let mut equal = marks.map_or(0, |marks| marks.equal(mark_of(hash)));
            while equal != 0 {
                let index = home * SHELF + u64::from(equal.trailing_zeros());
                self.view.prefetch(shelves.line_at(index));
                equal &= equal - 1;
            }
        }
        let ring = group.stubs();
        if ring.lines != 0 {
            let home = ring.home(hash);
            // The first bit is the home itself.
            let mut hop = ring.hop(self.view, home).unwrap_or(0) & !1;
            while hop != 0 {
                let index = ring.after(home, u64::from(hop.trailing_zeros()));
                self.view.prefetch(ring.line_at(index));
                hop &= hop - 1;
            }
            self.fetch_payload(ring.line_at(home), hash);
        }
    }

    /// Fetches the payload of a stub in the row at `row_at` that may be of `hash`.
    #[inline]
    fn fetch_payload(self, row_at: u64, hash: u64) {
        let Ok(row) = self.view.read_line(row_at) else { return };
        let stubs = row[1..].iter().map(|&word| Stub(word));
        for stub in stubs.filter(|stub| stub.may_be_of(hash)) {
            for line in 0..FETCH_LINES {
                self.view.prefetch(stub.at() + line * BUCKET_BYTES);
            }
        }
    }
}
