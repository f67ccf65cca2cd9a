//! The measures of a heap, and how places in it are named.
//!
//! ```text
//!  base                                                          base + bytes
//!   |  unit 0  |  unit 1  |  unit 2  |  ...                            |
//!   +----------+----------+----------+---------------------------------+
//!   ^ offset 0: never handed out, so that 0 can say "none"
//! ```
//!
//! Promises: every link in a heap is an [`Offset`], so a heap works wherever it is mapped. In a
//! process the base is null, so an offset is an address.
//! Knows nothing of how core is read or written: that is `core.rs`.

use core::fmt;
use core::ops::{Add, Sub};

/// Every chunk and block size is a multiple of this many bytes: the strictest alignment that C
/// promises (`max_align_t`, 16 on 64-bit targets). It leaves four spare bits in every tag.
pub const GRANULE: u64 = 16;

/// The bytes of a word: all that a heap keeps about itself is kept in words.
pub const WORD: u64 = 8;

/// A slab begins on a multiple of this many bytes, and the unit map has one entry for each. 64 KiB:
/// small enough that a lone object of a class pins little, large enough that a map of a whole
/// process is small (2 bytes a unit), and thousands of the least blocks share one header.
pub const UNIT: u64 = 1 << UNIT_BITS;

/// [`UNIT`] as a shift.
pub const UNIT_BITS: u32 = 16;

/// Requests above this are refused: half of what 48 bits of address can name, so that no sum of
/// a size, an alignment and an offset can overflow.
pub const REQUEST_MOST: u64 = 1 << 47;

/// A line of the cache, in bytes, on every processor that we build for.
pub const CACHE_LINE: u64 = 64;

const _: () = assert!(UNIT.is_multiple_of(GRANULE));

/// A place in a heap: its distance from the base in bytes; 0 = none.
///
/// Arithmetic wraps: what a damaged heap says leads to a wild place, and that is found out where an
/// offset becomes a pointer ([`Core::pointer`](crate::Core::pointer)), by every build alike.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Offset(pub u64);

impl Offset {
    /// No place.
    pub const NONE: Self = Self(0);

    /// Is this no place?
    #[inline(always)]
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Is this a multiple of `align`, a power of two?
    #[inline(always)]
    #[must_use]
    pub const fn is_aligned(self, align: u64) -> bool {
        self.0 & (align - 1) == 0
    }

    /// The next multiple of `align`, a power of two, from here on.
    #[inline(always)]
    #[must_use]
    pub const fn align_up(self, align: u64) -> Self {
        Self(self.0.wrapping_add(align - 1) & !(align - 1))
    }

    /// The last multiple of `align`, a power of two, up to here.
    #[inline(always)]
    #[must_use]
    pub const fn align_down(self, align: u64) -> Self {
        Self(self.0 & !(align - 1))
    }

    /// The place of word `index` in a row of words that begins here.
    #[inline(always)]
    #[must_use]
    pub const fn word(self, index: u64) -> Self {
        Self(self.0.wrapping_add(index.wrapping_mul(WORD)))
    }
}

/// The next multiple of `align`, a power of two, from `bytes` on.
#[inline(always)]
#[must_use]
pub const fn align_up(bytes: u64, align: u64) -> u64 {
    (bytes + (align - 1)) & !(align - 1)
}

impl Add<u64> for Offset {
    type Output = Self;
    #[inline(always)]
    fn add(self, bytes: u64) -> Self {
        Self(self.0.wrapping_add(bytes))
    }
}

impl Sub<u64> for Offset {
    type Output = Self;
    #[inline(always)]
    fn sub(self, bytes: u64) -> Self {
        Self(self.0.wrapping_sub(bytes))
    }
}

impl Sub for Offset {
    type Output = u64;
    #[inline(always)]
    fn sub(self, earlier: Self) -> u64 {
        self.0.wrapping_sub(earlier.0)
    }
}

impl fmt::Debug for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
