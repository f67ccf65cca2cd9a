//! A run: blocks on their way from a magazine back into the masks of their slab.
//!
//! What was allocated in a row is mostly freed in a row, so neighbours in a magazine are mostly of
//! one word of one slab: then a block costs a multiplication, and the mask is touched once.
//!
//! Knows nothing of masks and counts: `thread.rs` writes them.

use morecore_heap::{Class, Offset, Slab};

use crate::arena;
use crate::line::rightly;
use crate::thread::core;

/// Blocks of one slab that come back, and of these the ones of the word that was last.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub(crate) slab: Slab,
    /// The words that have got bits, and how many blocks there are.
    pub(crate) words: u64,
    pub(crate) many: u64,
    /// The last word, its first block, the bytes of all its blocks, and its bits.
    pub(crate) word: u64,
    first: u64,
    span: u64,
    pub(crate) bits: u64,
}

impl Run {
    /// One of no slab yet.
    pub(crate) const EMPTY: Self = Self {
        slab: Slab::at(Offset::NONE),
        words: 0,
        many: 0,
        word: 0,
        first: 0,
        span: 0,
        bits: 0,
    };

    /// Takes the block at `at` up, if it is of the last word; else `false`.
    #[inline(always)]
    pub(crate) fn takes(&mut self, class: Class, at: u64) -> bool {
        let distance = at.wrapping_sub(self.first);
        let is_near = distance < self.span;
        if is_near {
            self.bits |= 1 << class.shape().index(distance);
            self.many += 1;
        }
        is_near
    }

    /// Turns to the word of the block at `at`, which is of the run's slab, or of any if this is
    /// empty.
    pub(crate) fn turn_to(&mut self, class: Class, at: Offset) {
        if self.many == 0 {
            let Some((slab, _)) = arena::units().slab_of(&core(), at) else {
                morecore_heap::abort::broken("stamped", at);
            };
            self.slab = slab;
        }
        let place = rightly(self.slab.place(class, at));
        let shape = class.shape();
        let blocks = (u64::from(shape.blocks) - place.word * 64).min(64);
        self.word = place.word;
        self.first = self.slab.block(class, place.word, 0).0;
        self.span = blocks * u64::from(shape.bytes);
        self.bits = place.bit;
        self.many += 1;
    }
}
