//! How a free chunk is chosen.
//!
//! | fit | which of the chunks that are large enough | looks at |
//! | --- | --- | --- |
//! | `Bins` | a good one: the best of a few in the first bin that has one | a bounded number |
//! | `First` | the one at the lowest offset | all that might fit |
//! | `Next` | the first one after the last allocation, and round again | all that might fit |
//! | `Best` | the smallest, and of these the lowest | a bin or two |
//!
//! All four find chunks by way of the bins, so a heap can change its fit at any time; `First` and
//! `Next` pay for that by a look at every free chunk of enough size. They are here to be
//! compared. The top is used last under every fit.
//!
//! Promises: `Bins` takes a bounded number of steps.
//! Knows nothing of splitting, nor of the top.

use crate::bins::{Bins, bin_of, is_exact};
use crate::chunk::{CHUNK_LEAST, Chunk};
use crate::core::Core;
use crate::journal::Journal;
use crate::layout::{GRANULE, Offset, REQUEST_MOST, WORD};

/// How many chunks of a bin `Bins` looks at. Chunks of one bin differ by at most 1/8, so more
/// looks gain little, and each may be a cache miss.
const LOOKS_MOST: u32 = 8;

/// The ways to choose a free chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fit {
    /// The best of a few in the smallest bin with a chunk that fits; O(1).
    #[default]
    Bins,
    /// The lowest.
    First,
    /// The lowest after the last allocation.
    Next,
    /// The smallest.
    Best,
}

/// What is asked of the chunk tier.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    /// The size of the chunk, tags and all.
    pub(crate) bytes: u64,
    /// What the payload's begin must be a multiple of; a power of two.
    pub(crate) align: u64,
}

impl Fit {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Bins, Self::First, Self::Next, Self::Best];

    /// The fit with a number, as core stores it.
    #[must_use]
    pub const fn from_number(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::Bins),
            1 => Some(Self::First),
            2 => Some(Self::Next),
            3 => Some(Self::Best),
            _ => None,
        }
    }

    /// Its number, as core stores it.
    #[must_use]
    pub const fn number(self) -> u64 {
        self as u64
    }

    /// Its name, as a person writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bins => "bins",
            Self::First => "first",
            Self::Next => "next",
            Self::Best => "best",
        }
    }

    /// The fit of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fit| fit.name() == name)
    }
}

impl Request {
    /// A payload of `bytes` bytes at a multiple of `align`; `None` if that is beyond all bounds.
    #[inline(always)]
    pub(crate) fn new(bytes: u64, align: u64) -> Option<Self> {
        if bytes > REQUEST_MOST || align > REQUEST_MOST {
            return None;
        }
        debug_assert!(align.is_power_of_two());
        Some(Self { bytes: Chunk::bytes_for(bytes), align })
    }

    /// Where in a free chunk a chunk for this request would begin, if there is room. What is left
    /// before it is nothing, or enough for a chunk.
    #[inline(always)]
    pub(crate) fn seat_in(self, free: Chunk) -> Option<Offset> {
        let mut begin = free.begin;
        if self.align > GRANULE {
            begin = free.payload().align_up(self.align) - WORD;
            if begin != free.begin && begin - free.begin < CHUNK_LEAST {
                begin = begin + self.align.max(CHUNK_LEAST);
            }
        }
        if begin + self.bytes <= free.end() { Some(begin) } else { None }
    }
}

/// Chooses a chunk in the bins; `None` if none fits.
#[inline]
pub(crate) fn choose<J: Journal>(
    core: &Core<J>,
    bins: Bins,
    fit: Fit,
    rover: Offset,
    request: Request,
) -> Option<Chunk> {
    match fit {
        Fit::Bins => choose_bins(core, bins, request),
        Fit::Best => choose_best(core, bins, request),
        Fit::First => choose_lowest(core, bins, request, Offset::NONE),
        Fit::Next => choose_lowest(core, bins, request, rover)
            .or_else(|| choose_lowest(core, bins, request, Offset::NONE)),
    }
}

#[inline]
fn choose_bins<J: Journal>(core: &Core<J>, bins: Bins, request: Request) -> Option<Chunk> {
    let mut from = bin_of(request.bytes);
    while let Some(bin) = bins.first_from(core, from) {
        if is_exact(bin) && request.align <= GRANULE {
            return Some(Chunk { begin: bins.head(core, bin), bytes: bin * GRANULE });
        }
        if let Some(chunk) = best_of(core, bins, bin, request, LOOKS_MOST) {
            return Some(chunk);
        }
        from = bin + 1;
    }
    None
}

/// The smallest; equal ones by offset. All in a bin are smaller than any in the next.
fn choose_best<J: Journal>(core: &Core<J>, bins: Bins, request: Request) -> Option<Chunk> {
    let mut from = bin_of(request.bytes);
    while let Some(bin) = bins.first_from(core, from) {
        let best = fitting(core, bins, bin, request).min_by_key(|chunk| (chunk.bytes, chunk.begin));
        if best.is_some() {
            return best;
        }
        from = bin + 1;
    }
    None
}

/// The lowest from `floor` on.
fn choose_lowest<J: Journal>(
    core: &Core<J>,
    bins: Bins,
    request: Request,
    floor: Offset,
) -> Option<Chunk> {
    let mut lowest: Option<Chunk> = None;
    let mut from = bin_of(request.bytes);
    while let Some(bin) = bins.first_from(core, from) {
        let here = fitting(core, bins, bin, request).filter(|chunk| chunk.begin >= floor);
        lowest = here.chain(lowest).min_by_key(|chunk| chunk.begin);
        from = bin + 1;
    }
    lowest
}

/// The smallest that fits among the first `looks` chunks of a bin.
fn best_of<J: Journal>(
    core: &Core<J>,
    bins: Bins,
    bin: u64,
    request: Request,
    looks: u32,
) -> Option<Chunk> {
    let mut best: Option<Chunk> = None;
    let mut begin = bins.head(core, bin);
    for _ in 0..looks {
        if begin.is_none() {
            break;
        }
        let chunk = Chunk::at(core, begin);
        let is_better = best.is_none_or(|best| chunk.bytes < best.bytes);
        if is_better && request.seat_in(chunk).is_some() {
            if chunk.bytes == request.bytes {
                return Some(chunk);
            }
            best = Some(chunk);
        }
        begin = bins.next(core, begin);
    }
    best
}

/// The chunks of a bin that have room for a request.
fn fitting<J: Journal>(
    core: &Core<J>,
    bins: Bins,
    bin: u64,
    request: Request,
) -> impl Iterator<Item = Chunk> {
    let mut begin = bins.head(core, bin);
    core::iter::from_fn(move || {
        if begin.is_none() {
            return None;
        }
        let chunk = Chunk::at(core, begin);
        begin = bins.next(core, begin);
        Some(chunk)
    })
    .filter(move |chunk| request.seat_in(*chunk).is_some())
}
