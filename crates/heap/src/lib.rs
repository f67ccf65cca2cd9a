//! The engine of morecore: core in, payloads out.
//!
//! ```text
//!   heap     allocate, free, resize: sees all tiers
//!    |-- slabs   small requests: blocks of a class, under masks      (size, slab, units)
//!    |-- chunks  medium requests: boundary tags, bins, fits          (chunk, bins, fit, regions)
//!    +-- source  where core comes from
//!   core     the one door to all words; a journal hears of each change
//! ```
//!
//! One code for a process (base null, no journal), a shared segment (an undo log) and an array in a
//! test. All that a heap must remember lives in its core, named by offsets; the values that stand
//! for a part of it ([`Chunks`], [`Slabs`], [`Units`]) are small and hold nothing else, so any
//! number of sessions, each with its own journal, can use the same heap, one after another.
//!
//! In one transaction, allocate before you free: what was freed in a transaction must stay as it
//! was until the commit, because to roll back gives it back whole.
//!
//! It makes no system call, allocates nothing, and depends on nothing.
#![no_std]

#[cfg(test)]
extern crate self as morecore_heap;
#[cfg(test)]
extern crate std;

pub mod abort;
pub mod layout;
pub mod units;

mod array;
mod bins;
mod census;
mod check;
mod chunk;
mod chunks;
mod core;
mod fit;
mod heap;
mod journal;
mod misuse;
mod regions;
mod size;
mod slab;
mod slabs;
mod source;
mod walk;

// It is one file for both kinds of tests, and these do not use all of it.
#[cfg(test)]
#[allow(dead_code)]
#[path = "../tests/it/array.rs"]
mod testing;

pub use crate::array::ArrayHeap;
pub use crate::census::{Census, ClassTally, Tally};
pub use crate::check::check;
pub use crate::chunk::{CHUNK_LEAST, CHUNK_TAGS, Chunk, Tag};
pub use crate::chunks::{CHUNKS_NOTES_MOST, Chunks};
pub use crate::core::{Core, same_as_plain_store};
pub use crate::fit::Fit;
pub use crate::heap::{Heap, Parts};
pub use crate::journal::{Journal, NoJournal, UndoLog};
pub use crate::layout::{GRANULE, Offset, REQUEST_MOST, UNIT, WORD};
pub use crate::misuse::{Misuse, Wrong};
pub use crate::regions::{REGION_COST, core_for};
pub use crate::size::{ALL_CLASSES, CLASSES, Class, SMALL_MOST, Shape};
pub use crate::slab::{Place, Slab};
pub use crate::slabs::{Given, Loan, SEAT_NOTES_MOST, SLABS_NOTES_MOST, Slabs};
pub use crate::source::{Fixed, Region, Source};
pub use crate::units::{Unit, Units};
pub use crate::walk::{Broken, Part, Walk};
