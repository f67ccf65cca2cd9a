//! The arguments of one command, where they lie in the bytes that arrived.
//!
//! ```text
//!   bytes   * 2 \r\n $ 3 \r\n G E T \r\n $ 1 \r\n k \r\n
//!   ranges                    [---]               [-]
//! ```
//!
//! Promises: copying `Arguments` copies two fat pointers, never what they point at.
//! Knows nothing of what an argument means.

use std::ops::Range;

/// The arguments of one command, its name first; or a tail of them, such as the keys of an `MGET`.
#[derive(Clone, Copy)]
pub struct Arguments<'a> {
    bytes: &'a [u8],
    ranges: &'a [Range<usize>],
}

impl<'a> Arguments<'a> {
    /// The stretches `ranges` of `bytes`; the parser made both, so each range lies within.
    pub(crate) fn new(bytes: &'a [u8], ranges: &'a [Range<usize>]) -> Self {
        Arguments { bytes, ranges }
    }

    /// How many arguments there are.
    pub fn len(self) -> usize {
        self.ranges.len()
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.ranges.is_empty()
    }

    /// The argument at `index`, or `None` behind the last.
    pub fn get(self, index: usize) -> Option<&'a [u8]> {
        self.ranges.get(index).map(|range| &self.bytes[range.clone()])
    }

    /// All but the first `count` arguments; nothing where there are no more than that.
    pub fn skip(self, count: usize) -> Self {
        Arguments { bytes: self.bytes, ranges: self.ranges.get(count..).unwrap_or(&[]) }
    }

    /// The arguments in their order.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = &'a [u8]> + ExactSizeIterator + Clone {
        self.ranges.iter().map(move |range| &self.bytes[range.clone()])
    }

    /// How many bytes they are as an array of bulks, as clients' libraries write them.
    pub fn written_bytes(self) -> usize {
        let head = |number: usize| 1 + number.checked_ilog10().unwrap_or(0) as usize + 1 + 2;
        let bulks = self.iter().map(|bytes| head(bytes.len()) + bytes.len() + 2);
        head(self.len()) + bulks.sum::<usize>()
    }

    /// The argument at `index`, which the arity of the command has already promised.
    ///
    /// # Panics
    /// When there is no such argument: the row of the command promises less than its reader takes.
    pub(crate) fn at(self, index: usize) -> &'a [u8] {
        &self.bytes[self.ranges[index].clone()]
    }
}

impl std::fmt::Debug for Arguments<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(|bytes| bytes.escape_ascii().to_string())).finish()
    }
}

impl PartialEq for Arguments<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

/// Keys with their values, as `MSET` has them.
///
/// # Invariants
/// - `paired`: the number of arguments is even.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pairs<'a>(Arguments<'a>);

impl<'a> Pairs<'a> {
    /// `arguments` two by two, or `None` when one is left over.
    pub(crate) fn new(arguments: Arguments<'a>) -> Option<Self> {
        arguments.len().is_multiple_of(2).then_some(Pairs(arguments))
    }

    /// How many pairs there are.
    pub fn len(self) -> usize {
        self.0.len() / 2
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The key and the value of pair `index`, or `None` behind the last.
    pub fn get(self, index: usize) -> Option<(&'a [u8], &'a [u8])> {
        Some((self.0.get(2 * index)?, self.0.get(2 * index + 1)?))
    }

    /// Each key with its value, in their order.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = (&'a [u8], &'a [u8])> + ExactSizeIterator {
        (0..self.len()).map(move |index| (self.0.at(2 * index), self.0.at(2 * index + 1)))
    }
}
