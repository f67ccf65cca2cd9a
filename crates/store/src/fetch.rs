//! Memory of keys that will soon be asked for, on its way before it is needed: for who has many
//! commands in hand.
//!
//! ```text
//!   begin_fetch(a) begin_fetch(b) ...     the line where each look-up begins
//!   fetch_on(a)    fetch_on(b)    ...     what that line leads to
//!   get(a)         get(b)         ...     no wait for memory
//! ```
//!
//! Promises: nothing is changed, and what is read on the way may be torn: then another line is
//! fetched, or none.
//! Source: S. Chen et al., Improving Hash Join Performance through Prefetching, 2004.

use crate::Store;
use crate::bucket::Bucket;
use crate::hash::hash;
use crate::reader::Reader;
use crate::table::group_of;
use crate::view::Look;

/// A key's memory on its way.
#[derive(Debug, Clone, Copy)]
pub struct Fetching(u64);

impl Store {
    /// Has the line on its way where the look-up of `key` begins.
    #[inline]
    #[must_use]
    pub fn begin_fetch(&self, key: &[u8]) -> Fetching {
        let hash = hash(self.session.seed, key);
        self.reader().prefetch(hash);
        Fetching(hash)
    }

    /// Goes on when that line may have come: the entry may stand beside it, and its value elsewhere.
    #[inline]
    pub fn fetch_on(&self, fetching: Fetching) {
        self.reader().fetch_on(fetching.0);
    }
}

impl Reader<'_> {
    /// Fetches the entries whose home is that of `hash` and that stand elsewhere, and the payload
    /// of the one that stands there.
    #[inline]
    fn fetch_on(self, hash: u64) {
        let Ok(Some(group)) = group_of(self.view, self.plan, hash) else { return };
        let home = group.home(hash);
        let Ok(line) = self.view.read_line(group.bucket_at(home)) else { return };
        if let Some(payload) = Bucket(line).payload() {
            self.view.prefetch(payload.value_at);
        }
        // The first bit is the home itself.
        let mut hop = Bucket::hop(line[0]) & !1;
        while hop != 0 {
            let index = group.after(home, u64::from(hop.trailing_zeros()));
            self.view.prefetch(group.bucket_at(index));
            hop &= hop - 1;
        }
    }
}
