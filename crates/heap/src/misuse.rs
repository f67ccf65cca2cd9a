//! What a caller did wrong when it gave something back.
//!
//! A heap does not act on a misuse: it changes nothing and says what it knows, so that a face can
//! report it and end the program.

use core::fmt;

use crate::layout::Offset;
use crate::size::Class;

/// The ways to free what must not be freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wrong {
    /// It is free already.
    DoubleFree,
    /// It lies inside a block, and is not where the block begins.
    Interior,
    /// It lies in core of ours, but nothing that can be freed begins there.
    NotABlock,
    /// It is not in core of ours.
    Foreign,
    /// The tag behind the chunk was overwritten: somebody wrote past the end of the payload.
    Overrun,
}

/// A call that the heap refused to act on, and what it knows of the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misuse {
    /// What is wrong.
    pub wrong: Wrong,
    /// What the caller gave.
    pub at: Offset,
    /// Where the block or payload that contains it begins, if the heap knows.
    pub begin: Offset,
    /// The bytes of that block or payload; 0 = not known.
    pub bytes: u64,
    /// The class of that block, if it is one.
    pub class: Option<Class>,
}

impl Misuse {
    /// A misuse of a place of which no more is known.
    #[cold]
    #[must_use]
    pub const fn new(wrong: Wrong, at: Offset) -> Self {
        Self { wrong, at, begin: Offset::NONE, bytes: 0, class: None }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DoubleFree => "double free",
            Self::Interior => "free of an interior pointer",
            Self::NotABlock => "free of a place where no block begins",
            Self::Foreign => "free of a foreign address",
            Self::Overrun => "overrun found at free",
        })
    }
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.wrong, self.at)?;
        if self.begin.is_none() {
            return Ok(());
        }
        match self.class {
            Some(class) => {
                let class_number = class.number();
                write!(f, ": block {} of {} bytes (class {class_number})", self.begin, self.bytes)?;
            }
            None => write!(f, ": payload {} of {} bytes", self.begin, self.bytes)?,
        }
        match self.wrong {
            Wrong::DoubleFree => f.write_str(", already free"),
            _ => Ok(()),
        }
    }
}

impl core::error::Error for Misuse {}
