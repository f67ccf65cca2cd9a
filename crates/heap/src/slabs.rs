//! The small tier: for each class, the slabs that have a free block.
//!
//! ```text
//!   state   [ head of class 0 ][ head of class 1 ] ... CLASSES words, or ALL_CLASSES
//!               |
//!               v
//!             slab <-> slab <-> slab <-> (round again)      each with a free block
//! ```
//!
//! A slab that gets its first free block comes to the head: it is the fullest, so it is filled
//! before emptier ones. A slab whose last free block is taken leaves the ring. An empty slab that
//! is alone in its ring stays; the next to come stands before it, so only the last of a ring can
//! be empty, unless a caller keeps one that `give` told it of.
//!
//! Promises: take and give are O(1) and write nothing into a block.
//! Knows nothing of where slabs come from: the caller seats them in payloads of the chunk tier.

use crate::core::Core;
use crate::journal::Journal;
use crate::layout::{Offset, UNIT, WORD};
use crate::misuse::Misuse;
use crate::size::{ALL_CLASSES, CLASSES, Class};
use crate::slab::{Place, Slab};
use crate::source::Region;
use crate::units::{Unit, Units};

/// The most notes that `take`, `give`, `borrow` and `return_word` make in a journal: mask,
/// summary, count; and to join or leave a ring, four links and the head.
pub const SLABS_NOTES_MOST: u64 = 8;

/// The most notes that `seat` and `unseat` make: an entry of the unit map for each unit, a ring's
/// links and head, and the header's first word.
pub const SEAT_NOTES_MOST: u64 = 24;

/// The small tier of a heap: a small value that names its state in core.
///
/// # Invariants
/// - `ringed`: the links of a ring agree, forth and back, and all its slabs are of its class.
/// - `listed`: a slab is in a ring if and only if it has a free block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slabs {
    state: Offset,
    is_fine: bool,
}

/// What became of a slab that got blocks back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// It stays where it is.
    Kept,
    /// All its blocks are free, and its class has another slab: it may be unseated.
    Empty,
}

/// Blocks of one mask word, taken out of their slab to be handed out without touching it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loan {
    /// Where it came from.
    pub slab: Slab,
    /// Which mask word it is.
    pub word: u64,
    /// The block that bit 0 stands for.
    pub first: Offset,
    /// The free blocks.
    pub bits: u64,
}

impl Slabs {
    /// The bytes of its state.
    pub const BYTES: u64 = CLASSES as u64 * WORD;

    /// The bytes of the state of one that has the fine classes too.
    pub const FINE_BYTES: u64 = ALL_CLASSES as u64 * WORD;

    /// The small tier whose state stands at `state`; a state of zeros is an empty one.
    #[inline(always)]
    #[must_use]
    pub const fn at(state: Offset) -> Self {
        Self { state, is_fine: false }
    }

    /// The same with the fine classes, whose state is `FINE_BYTES` long.
    #[must_use]
    pub const fn fine_at(state: Offset) -> Self {
        Self { state, is_fine: true }
    }

    /// The classes that it has slabs of.
    pub fn classes(self) -> impl Iterator<Item = Class> {
        let count = if self.is_fine { ALL_CLASSES } else { CLASSES };
        Class::all_and_fine().take(count)
    }

    /// The first slab of a class that has a free block.
    #[inline(always)]
    #[must_use]
    pub fn head<J: Journal>(self, core: &Core<J>, class: Class) -> Option<Slab> {
        let head = Offset(core.read(self.state.word(u64::from(class.number()))));
        if head.is_none() { None } else { Some(Slab::at(head)) }
    }

    /// Takes a block of a class; `None` if no slab has one.
    #[inline]
    pub fn take<J: Journal>(self, core: &mut Core<J>, class: Class) -> Option<Offset> {
        let slab = self.head(core, class)?;
        let word = u64::from(slab.summary(core).trailing_zeros());
        let index = u64::from(slab.mask(core, word).trailing_zeros());
        if slab.take_bits(core, word, 1 << index) == 0 {
            self.leave(core, class, slab);
        }
        Some(slab.block(class, word, index))
    }

    /// Gives a block back to the slab that contains it, which is of this tier.
    ///
    /// # Errors
    /// No block begins there, or it is free already; nothing was changed.
    #[inline]
    pub fn give<J: Journal>(
        self,
        core: &mut Core<J>,
        slab: Slab,
        class: Class,
        block: Offset,
    ) -> Result<Given, Misuse> {
        let place = slab.place(class, block)?;
        self.give_place(core, slab, class, place).ok_or_else(|| slab.twice(class, block))
    }

    /// As `give`, for who knows the block's place already; `None` if it is free already.
    #[inline(always)]
    pub fn give_place<J: Journal>(
        self,
        core: &mut Core<J>,
        slab: Slab,
        class: Class,
        place: Place,
    ) -> Option<Given> {
        let is_free = slab.mask(core, place.word) & place.bit != 0;
        (!is_free).then(|| self.put(core, slab, class, place, 1))
    }

    /// Takes up to `most` free blocks, the lowest of one mask word; `None` if the class has none.
    #[inline]
    pub fn borrow<J: Journal>(self, core: &mut Core<J>, class: Class, most: u32) -> Option<Loan> {
        let slab = self.head(core, class)?;
        let word = u64::from(slab.summary(core).trailing_zeros());
        let bits = lowest(slab.mask(core, word), most);
        if slab.take_bits(core, word, bits) == 0 {
            self.leave(core, class, slab);
        }
        Some(Loan { slab, word, first: slab.block(class, word, 0), bits })
    }

    /// Puts bits back into a mask word.
    ///
    /// # Errors
    /// One of them is there already: a block was freed twice; nothing was changed.
    #[inline]
    pub fn return_word<J: Journal>(
        self,
        core: &mut Core<J>,
        slab: Slab,
        class: Class,
        word: u64,
        bits: u64,
    ) -> Result<Given, Misuse> {
        none_twice(slab, class, word, slab.mask(core, word) & bits)?;
        if bits == 0 {
            return Ok(Given::Kept);
        }
        Ok(self.put(core, slab, class, Place { word, bit: bits }, bits.count_ones().into()))
    }

    /// Puts bits, `many` of them, into a mask word, where none of them is.
    #[inline(always)]
    fn put<J: Journal>(
        self,
        core: &mut Core<J>,
        slab: Slab,
        class: Class,
        place: Place,
        many: u64,
    ) -> Given {
        let count = slab.give_bits(core, place.word, place.bit, many);
        self.settle(core, slab, class, count, many)
    }

    /// What becomes of a slab that got `many` blocks back, and has `count` free ones now.
    #[inline(always)]
    fn settle<J: Journal>(
        self,
        core: &mut Core<J>,
        slab: Slab,
        class: Class,
        count: u64,
        many: u64,
    ) -> Given {
        if count == many && many > 0 {
            self.join(core, class, slab);
        }
        let is_empty = count == u64::from(class.shape().blocks);
        let is_alone = is_empty && slab.next(core) == slab.begin();
        if is_empty && !is_alone { Given::Empty } else { Given::Kept }
    }

    /// Makes a slab out of a payload of `class.shape().payload_bytes()` bytes that begins on a
    /// multiple of [`UNIT`], and puts it at the head of its ring. In a shared heap the caller has
    /// the hold of the chunk tier until it commits: the unit map's words are shared.
    pub fn seat<J: Journal>(
        self,
        core: &mut Core<J>,
        units: Units,
        class: Class,
        payload: Offset,
        owner: u64,
    ) -> Slab {
        debug_assert!(payload.is_aligned(UNIT));
        let slab = Slab::at(payload);
        slab.format(core, class, owner);
        units.mark_slab(core, slab, class);
        self.join(core, class, slab);
        slab
    }

    /// Ends an empty slab of this tier: its payload may go back to the chunk tier. As for `seat`,
    /// the caller has the hold of the chunk tier until it commits.
    pub fn unseat<J: Journal>(self, core: &mut Core<J>, units: Units, slab: Slab, class: Class) {
        if slab.free_count(core) != u64::from(class.shape().blocks) {
            crate::abort::broken("empty", slab.begin());
        }
        self.leave(core, class, slab);
        slab.clear(core);
        let bytes = u64::from(class.shape().units) * UNIT;
        units.mark(core, Region { begin: slab.begin(), bytes }, Unit::CHUNKS);
    }

    /// An empty slab of a class that is kept for later, if there is one.
    #[must_use]
    pub fn spare<J: Journal>(self, core: &Core<J>, class: Class) -> Option<Slab> {
        let head = self.head(core, class)?;
        let last = Slab::at(head.previous(core));
        (last.free_count(core) == u64::from(class.shape().blocks)).then_some(last)
    }

    /// Puts a slab with a free block at the head of its ring: for slabs that change their owner.
    pub fn join<J: Journal>(self, core: &mut Core<J>, class: Class, slab: Slab) {
        let begin = slab.begin();
        match self.head(core, class) {
            None => {
                slab.set_next(core, begin);
                slab.set_previous(core, begin);
            }
            Some(head) => {
                let last = Slab::at(head.previous(core));
                slab.set_next(core, head.begin());
                slab.set_previous(core, last.begin());
                last.set_next(core, begin);
                head.set_previous(core, begin);
            }
        }
        core.write(self.state.word(u64::from(class.number())), begin.0);
    }

    /// Takes a slab out of its ring.
    pub fn leave<J: Journal>(self, core: &mut Core<J>, class: Class, slab: Slab) {
        let (next, previous) = (Slab::at(slab.next(core)), Slab::at(slab.previous(core)));
        if next.previous(core) != slab.begin() || previous.next(core) != slab.begin() {
            crate::abort::broken("ringed", slab.begin());
        }
        let is_alone = next == slab;
        if !is_alone {
            next.set_previous(core, previous.begin());
            previous.set_next(core, next.begin());
        }
        let head_at = self.state.word(u64::from(class.number()));
        if core.read(head_at) == slab.begin().0 {
            core.write(head_at, if is_alone { 0 } else { next.begin().0 });
        }
    }
}

/// An error if any block of a mask word was freed twice: those that `twice` has bits for.
#[inline(always)]
fn none_twice(slab: Slab, class: Class, word: u64, twice: u64) -> Result<(), Misuse> {
    if twice == 0 {
        return Ok(());
    }
    let index = u64::from(twice.trailing_zeros());
    Err(slab.twice(class, slab.block(class, word, index)))
}

/// The lowest `most` bits of those that are 1 in `bits`.
#[inline]
fn lowest(bits: u64, most: u32) -> u64 {
    if bits.count_ones() <= most {
        return bits;
    }
    let rest = (0..most).fold(bits, |rest, _| rest & (rest - 1));
    bits ^ rest
}

#[cfg(test)]
mod tests;
