//! Options behind the fixed arguments of a command, read one by one.
//!
//! Promises: words are compared without regard to the case of their ASCII letters.

use crate::arguments::Arguments;
use crate::refusal::Refusal;

/// Whether `argument` is `word`, in any case of letters.
pub(super) fn is_word(argument: &[u8], word: &str) -> bool {
    argument.eq_ignore_ascii_case(word.as_bytes())
}

/// Walks the options of a command from left to right.
pub(super) struct Options<'a> {
    left: Arguments<'a>,
}

impl<'a> Options<'a> {
    /// The options that begin behind the first `fixed` arguments.
    pub(super) fn behind(fixed: usize, arguments: Arguments<'a>) -> Self {
        Options { left: arguments.skip(fixed) }
    }

    /// The next word, or `None` at the end.
    pub(super) fn next(&mut self) -> Option<&'a [u8]> {
        let word = self.left.get(0)?;
        self.left = self.left.skip(1);
        Some(word)
    }

    /// The value of the option that was just read.
    ///
    /// # Errors
    /// `Syntax` when the arguments end here.
    pub(super) fn value(&mut self) -> Result<&'a [u8], Refusal<'a>> {
        self.next().ok_or(Refusal::Syntax)
    }

    /// All that has not been read.
    pub(super) fn rest(self) -> Arguments<'a> {
        self.left
    }
}
