//! A magazine: one word of a slab's mask, on loan to a thread.
//!
//! ```text
//!   slab    | header | ... | block 64 | block 65 | ... | block 127 | ...
//!                          ^                                       ^
//!                          first                                   first + span
//!   bits                   1          0                1           1 = free
//! ```
//!
//! Promises: taking a block and giving it back touch neither the block nor the slab; a free of a
//! block that is free already, or of a place in it where none begins, is seen at once.
//! Knows nothing of where loans come from: that is `thread.rs`.

use core::cell::Cell;

use morecore_heap::{Class, Loan, Misuse, Offset, Slab, Wrong};

/// What became of a block that was given to a magazine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gift {
    /// It is free now.
    Taken,
    /// It is none of this magazine's.
    Elsewhere,
    /// It lies in the magazine's word, but is free already, or no block begins there.
    Wrong,
}

/// The blocks of a class that a thread hands out next.
///
/// # Invariants
/// - `on loan`: while `span` is not 0, each block from `first` up to `first + span` is either
///   in use, or its bit is set here and nowhere else, or others have freed it and its bit is set in
///   the slab's remote mask. A new magazine spans nothing.
/// - `cut`: `first` is where a block of the class begins, and `bytes` is the size of those, unless
///   it is nobody's.
#[repr(C, align(32))]
pub(crate) struct Magazine {
    first: Cell<u64>,
    bits: Cell<u64>,
    span: Cell<u32>,
    bytes: Cell<u32>,
    /// 2^32 divided by `bytes`, rounded up.
    reciprocal: Cell<u32>,
    word: Cell<u32>,
}

// Two magazines share a line of the cache, and none lies on two.
const _: () = assert!(size_of::<Magazine>() == 32);

impl Magazine {
    pub(crate) const fn new() -> Self {
        Self {
            first: Cell::new(0),
            bits: Cell::new(0),
            span: Cell::new(0),
            bytes: Cell::new(0),
            reciprocal: Cell::new(0),
            word: Cell::new(0),
        }
    }

    /// Makes it one of `class`, which it stays: what is told once need not be told at each loan.
    pub(crate) fn prepare(&self, class: Class) {
        let bytes = class.shape().bytes;
        self.bytes.set(bytes);
        self.reciprocal.set((1u64 << 32).div_ceil(u64::from(bytes)) as u32);
    }

    /// Takes the first free block.
    #[inline(always)]
    pub(crate) fn take(&self) -> Option<u64> {
        let bits = self.bits.get();
        if bits == 0 {
            return None;
        }
        self.bits.set(bits & (bits - 1));
        Some(self.first.get() + u64::from(bits.trailing_zeros()) * u64::from(self.bytes.get()))
    }

    /// Gives the block at `at` back, if it is one of these.
    #[inline(always)]
    pub(crate) fn give(&self, at: Offset) -> Gift {
        let distance = at.0.wrapping_sub(self.first.get());
        if distance >= u64::from(self.span.get()) {
            return Gift::Elsewhere;
        }
        // For a multiple of `bytes` this is exact: 64 times the error of the rounded-up
        // reciprocal, which is below `bytes`, is far below 2^32. For all else the product tells.
        let index = (distance * u64::from(self.reciprocal.get())) >> 32;
        let bits = self.bits.get();
        let is_block = index * u64::from(self.bytes.get()) == distance;
        if !is_block || bits & (1 << index) != 0 {
            return Gift::Wrong;
        }
        self.bits.set(bits | 1 << index);
        Gift::Taken
    }

    /// What is wrong with a free of `at`, of which `give` said so.
    #[cold]
    pub(crate) fn misuse(&self, class: Class, at: Offset) -> Misuse {
        let into = (at.0 - self.first.get()) % u64::from(self.bytes.get());
        let twice = self.slab(class).twice(class, at - into);
        if into == 0 { twice } else { Misuse { wrong: Wrong::Interior, at, ..twice } }
    }

    /// Takes up a new loan. The old one is used up.
    #[inline]
    pub(crate) fn load(&self, class: Class, loan: Loan) {
        let blocks = (u64::from(class.shape().blocks) - loan.word * 64).min(64);
        self.first.set(loan.first.0);
        self.bits.set(loan.bits);
        self.span.set(blocks as u32 * self.bytes.get());
        self.word.set(loan.word as u32);
    }

    /// Ends the loan, and says what goes back.
    pub(crate) fn unload(&self, class: Class) -> Option<Loan> {
        if self.span.get() == 0 {
            return None;
        }
        let loan = Loan {
            slab: self.slab(class),
            word: u64::from(self.word.get()),
            first: Offset(self.first.get()),
            bits: self.bits.get(),
        };
        self.bits.set(0);
        self.span.set(0);
        Some(loan)
    }

    /// Has it no block left?
    #[inline(always)]
    pub(crate) fn is_used_up(&self) -> bool {
        self.bits.get() == 0
    }

    /// Is mask word `word` of `slab` on loan here?
    pub(crate) fn is_of(&self, class: Class, slab: Slab, word: u64) -> bool {
        let first = slab.block(class, word, 0);
        self.span.get() != 0 && self.first.get() == first.0
    }

    /// Takes up bits of the word on loan that others have freed.
    ///
    /// # Errors
    /// One of them is here already.
    pub(crate) fn give_bits(&self, class: Class, bits: u64) -> Result<(), Misuse> {
        let twice = self.bits.get() & bits;
        if twice != 0 {
            let slab = self.slab(class);
            let index = u64::from(twice.trailing_zeros());
            return Err(slab.twice(class, slab.block(class, u64::from(self.word.get()), index)));
        }
        self.bits.set(self.bits.get() | bits);
        Ok(())
    }

    /// Is the block at `at` one of these, and free? (No answer for a place where none begins.)
    pub(crate) fn has(&self, at: Offset) -> bool {
        let distance = at.0.wrapping_sub(self.first.get());
        if distance >= u64::from(self.span.get()) {
            return false;
        }
        let index = (distance * u64::from(self.reciprocal.get())) >> 32;
        self.bits.get() & (1 << index) != 0
    }

    /// The slab that the word is of.
    #[cold]
    fn slab(&self, class: Class) -> Slab {
        let distance = class.shape().block(u64::from(self.word.get()) * 64);
        Slab::at(Offset(self.first.get() - distance))
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn loan(class: Class, word: u64, bits: u64) -> Loan {
        let slab = Slab::at(Offset(1 << 20));
        Loan { slab, word, first: slab.block(class, word, 0), bits }
    }

    #[test]
    fn every_block_of_every_class_goes_out_once_and_comes_back_once() {
        for class in Class::all() {
            let words = u64::from(class.shape().words);
            for word in [0, words - 1] {
                let magazine = Magazine::new();
                magazine.prepare(class);
                magazine.load(class, loan(class, word, class.shape().full_mask(word)));
                let blocks: Vec<_> = core::iter::from_fn(|| magazine.take()).map(Offset).collect();
                let count = class.shape().full_mask(word).count_ones() as usize;
                assert_eq!(blocks.len(), count);
                for (block, index) in blocks.iter().zip(0..) {
                    assert_eq!(*block, loan(class, word, 0).slab.block(class, word, index));
                    assert_eq!(magazine.give(*block), Gift::Taken);
                    assert_eq!(magazine.give(*block), Gift::Wrong);
                    let twice = magazine.misuse(class, *block);
                    assert_eq!((twice.wrong, twice.begin), (Wrong::DoubleFree, *block));
                }
                let behind = blocks[count - 1] + u64::from(class.shape().bytes);
                assert_eq!(magazine.give(behind), Gift::Elsewhere);
                assert_eq!(magazine.give(blocks[0] - 16), Gift::Elsewhere);
                let bits = class.shape().full_mask(word);
                assert_eq!(magazine.unload(class), Some(loan(class, word, bits)));
                assert_eq!(magazine.give(blocks[0]), Gift::Elsewhere);
            }
        }
    }

    #[test]
    fn no_place_inside_a_block_is_taken_for_a_block() {
        for class in Class::all() {
            let magazine = Magazine::new();
            magazine.prepare(class);
            magazine.load(class, loan(class, 0, 0));
            let (first, bytes) = (magazine.first.get(), u64::from(class.shape().bytes));
            // Every 17th, to be quick: 17 divides no size, so each place in a block has its turn.
            let places = (0..u64::from(magazine.span.get())).step_by(17);
            for distance in places.filter(|d| d % bytes != 0) {
                assert_eq!(magazine.give(Offset(first + distance)), Gift::Wrong);
                let misuse = magazine.misuse(class, Offset(first + distance));
                let begin = Offset(first + distance / bytes * bytes);
                assert_eq!((misuse.wrong, misuse.begin), (Wrong::Interior, begin));
            }
        }
    }
}
