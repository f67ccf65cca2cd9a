//! Look-ups of many keys, a stage at a time, so that each waits for memory while others do.
//!
//! ```text
//!   set_out     hash --> the word of the group     the marks of its home come, or its row
//!   approach    these say where the entry is       its line comes, or its payload's first one
//!   come_near   that says how long the value is    the rest of its payload comes
//!   arrive      key the same? --> value --> version the same?
//!                  no: the look-up begins anew
//! ```
//!
//! Nothing is looked at twice: each stage leaves to the next what it has found. A look-up reads
//! between two looks at the version of its shard, as any other does, if they are further apart.
//!
//! Promises: as `reader.rs`.
//! Source: S. Chen et al., Improving Hash Join Performance through Prefetching, 2004.

use crate::bucket::BUCKET_BYTES;
use crate::glance::{Glimpse, Line, Shelf, Still, Whole};
use crate::reader::Reader;
use crate::table::Group;
use crate::{payload, racy};

/// How many lines of a payload are fetched, at most: from there on the processor sees the pattern
/// itself.
const LINES_MOST: u64 = 32;

/// A look-up under way.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Staged<'a> {
    pub(crate) hash: u64,
    still: Option<Still<'a>>,
    at: Stage<'a>,
}

/// Where it is.
#[derive(Debug, Clone, Copy, Default)]
enum Stage<'a> {
    /// It came no further.
    #[default]
    Nowhere,
    /// Before its home shelf, in a group without rows.
    Shelf(Shelf<'a>),
    /// Before its home row, in the group of this word.
    Row(u64),
    /// Before a line in which the entry may stand whole.
    Line(&'a Line),
    /// Before a payload that may be the entry's.
    Payload(u64),
}

impl<'a> Reader<'a> {
    /// Begins the look-up of a hash.
    #[inline(always)]
    pub(crate) fn set_out(self, hash: u64) -> Staged<'a> {
        let Some(begun) = self.begin(hash) else {
            return Staged { hash, ..Staged::default() };
        };
        let at = if let Some((at, buckets)) = Group::whole_in(begun.word) {
            let whole = Whole::of(self.view, at, buckets, buckets);
            whole.map_or(Stage::Nowhere, |whole| {
                let home = whole.home(hash);
                racy::fetch(home.marks());
                Stage::Shelf(home)
            })
        } else if let Some(group) = Group::unchecked(begun.word) {
            self.prefetch_row(&group, hash);
            Stage::Row(begun.word)
        } else {
            Stage::Nowhere
        };
        Staged { hash, still: Some(begun.still), at }
    }

    /// Goes on when what it waited for may have come; where the visit will be counted, if it is,
    /// comes too.
    #[inline(always)]
    pub(crate) fn approach(self, staged: &mut Staged<'a>, is_counted: bool) {
        match staged.at {
            Stage::Shelf(shelf) => {
                let Some(line) = shelf.first(staged.hash) else { return };
                racy::fetch_behind(line, 0);
                if is_counted {
                    let line_at = line.as_ptr().addr() - self.view.base().addr();
                    self.view.prefetch(self.plan.visits_in(line_at as u64).word_at);
                }
                staged.at = Stage::Line(line);
            }
            Stage::Row(word) => {
                let Some(at) = self.first_payload(word, staged.hash) else { return };
                self.view.prefetch(at);
                if is_counted {
                    self.view.prefetch(self.plan.visits_of(staged.hash).0);
                }
                staged.at = Stage::Payload(at);
            }
            Stage::Nowhere | Stage::Line(_) | Stage::Payload(_) => {}
        }
    }

    /// Has all of a payload on its way, whose first line may have come.
    #[inline(always)]
    pub(crate) fn come_near(self, staged: &Staged<'a>) {
        let Stage::Payload(at) = staged.at else { return };
        let lines = payload::bytes_at(self.view, at).unwrap_or(0).div_ceil(BUCKET_BYTES);
        for line in 1..=lines.min(LINES_MOST) {
            self.view.prefetch(at + line * BUCKET_BYTES);
        }
    }

    /// Reads the entry that it came to and appends its value; `None` of the outer kind: the look-up
    /// must begin anew.
    #[inline(always)]
    pub(crate) fn arrive(
        self,
        staged: &Staged<'a>,
        key: &[u8],
        now_ms: &impl Fn() -> u64,
        value: &mut Vec<u8>,
    ) -> Option<Option<Glimpse<'a>>> {
        let still = staged.still?;
        match staged.at {
            Stage::Line(line) => self.glance_at(still, line, key, now_ms, value),
            Stage::Payload(at) => self.glance_in(still, at, key, now_ms, value),
            Stage::Nowhere | Stage::Shelf(_) | Stage::Row(_) => None,
        }
    }
}
