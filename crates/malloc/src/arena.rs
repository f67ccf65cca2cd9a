//! The arena: what the threads of this process share, and its lock.
//!
//! ```text
//!   regions of the source   [ chunk | slab of a thread | row of slabs | chunk | ... | top ]
//!   unit map                for each 64 KiB of the address space: whose it is
//!   mappings                large payloads
//!   idle                    the records of threads that ended
//! ```
//!
//! Promises: everything here is used under one lock, but for the unit map, which anyone may read.
//! Core comes in steps that grow with what there is, so a small program stays small and a large one
//! asks seldom. What is free and warm stays within a bound, and goes back after a time (`warm.rs`).
//! Knows nothing of magazines.

mod slabs;
mod trim;

use core::ptr;

use morecore_heap::layout::align_up;
use morecore_heap::units::{LEAF_BYTES, LEAF_CORE};
use morecore_heap::{
    CHUNK_LEAST, CHUNK_TAGS, Census, Chunk, Chunks, Class, Misuse, Offset, Region, Slab, Source,
    UNIT, Unit, Units, core_for,
};
use morecore_sys::environment::StandardError;
use morecore_sys::memory::{self, Advice};

use crate::conf::{Conf, From};
use crate::ledger::{self, Stamp};
use crate::line::{abort, keeping_errno};
use crate::lock::{Held, Lock};
use crate::magazine::room_bytes;
use crate::mapping::Mappings;
use crate::rows::Rows;
use crate::source::System;
use crate::thread::{Thread, core};
use crate::warm::{NOTED_LEAST, Warm};

/// The least that the source is asked for: pages that are not touched cost nothing, so this
/// only saves calls.
const STEP_LEAST: u64 = 1 << 20;

/// Each step is at least this part of what there is.
const STEP_PART: u64 = 8;

/// From this much core on, new core comes in huge pages, if what there is is used densely: then
/// they are filled soon, and save hundreds of faults each. (A program of two threads in 100 MB took
/// half the faults and 0.92 of the time, at the same peak of memory.)
const HUGE_LEAST: u64 = 32 << 20;

/// Core is used densely if at most this part of it is free.
const SPARSE_PART: u64 = 8;

/// How many leaves the unit map has room for: 48 bits of addresses, 4 GiB each.
const LEAVES: u64 = (1 << 48) / LEAF_CORE;

/// Words of core that are part of the program.
#[repr(C, align(64))]
struct Words<const COUNT: usize>(core::cell::UnsafeCell<[u64; COUNT]>);

// SAFETY: they are used only through `Core`, under the duties of `thread::core`.
unsafe impl<const COUNT: usize> Sync for Words<COUNT> {}

impl<const COUNT: usize> Words<COUNT> {
    const fn new() -> Self {
        Self(core::cell::UnsafeCell::new([0; COUNT]))
    }

    #[inline(always)]
    fn place(&self) -> Offset {
        Offset(self.0.get().expose_provenance() as u64)
    }
}

static ROOT: Words<{ LEAVES as usize }> = Words::new();
static CHUNKS: Words<{ Chunks::BYTES.div_ceil(8) as usize }> = Words::new();
static ARENA: Lock<Arena> = Lock::new(Arena::new());

/// What the threads share.
///
/// # Invariants
/// - `fresh`: in `growing`, the part of the core that was added last, no word from `fresh` on was
///   ever handed out, and but for the tags and the fence at its end all of them are zero. It is
///   behind the head of the top.
pub(crate) struct Arena {
    is_ready: bool,
    statistics_to: Option<StandardError>,
    source: System,
    growing: Region,
    fresh: Offset,
    used_bytes: u64,
    warm: Warm,
    rows: Rows,
    idle: *mut Thread,
    threads: u64,
    pub(crate) mappings: Mappings,
}

// SAFETY: the records that it names are used only under its lock while they are idle.
unsafe impl Send for Arena {}

/// Takes the arena.
pub(crate) fn hold() -> Held<'static, Arena> {
    let mut arena = ARENA.take();
    if !arena.is_ready {
        arena.make_ready();
    }
    arena
}

/// The unit map: it tells of any address whether it is ours.
#[inline(always)]
pub(crate) fn units() -> Units {
    Units::new(ROOT.place(), LEAVES)
}

/// Takes the arena before a fork, so that the child gets it whole; `false` if this thread has it.
#[must_use]
pub(crate) fn hold_for_fork() -> bool {
    ARENA.take_for_fork()
}

/// Lets the arena go after a fork.
///
/// # Safety
/// - The caller is the thread that got `true` from [`hold_for_fork`], or its image in the child.
pub(crate) unsafe fn let_go_after_fork() {
    // SAFETY: the caller's duty, passed on.
    unsafe { ARENA.let_go_after_fork() };
}

/// A payload, and what of it is known to be zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given {
    /// Where it is.
    pub(crate) payload: Offset,
    /// All bytes of it are zero from here on...
    pub(crate) clean_from: Offset,
    /// ...up to here.
    pub(crate) clean_to: Offset,
}

impl Given {
    /// One of which nothing is known.
    pub(crate) const fn dirty(payload: Offset) -> Self {
        Self { payload, clean_from: FAR, clean_to: FAR }
    }
}

impl Arena {
    const fn new() -> Self {
        Self {
            is_ready: false,
            statistics_to: None,
            source: System::new(From::Mmap),
            growing: Region { begin: Offset::NONE, bytes: 0 },
            fresh: Offset::NONE,
            used_bytes: 0,
            warm: Warm::new(),
            rows: Rows::new(),
            idle: ptr::null_mut(),
            threads: 0,
            mappings: Mappings::new(),
        }
    }

    #[cold]
    fn make_ready(&mut self) {
        let conf = keeping_errno(Conf::read);
        if conf.shows_statistics {
            self.statistics_to = StandardError::copy();
        }
        self.source = System::new(conf.from);
        Chunks::format(&mut core(), CHUNKS.place(), conf.fit);
        self.is_ready = true;
    }

    /// Where statistics go when the program ends, if the user asked for them.
    pub(crate) fn statistics_to(&self) -> Option<StandardError> {
        self.statistics_to
    }

    /// A payload of the chunk tier.
    pub(crate) fn allocate(&mut self, bytes: u64, align: u64) -> Option<Given> {
        let payload = match chunks().allocate(&mut core(), bytes, align) {
            Some(payload) => payload,
            None => self.make_room(bytes, align)?,
        };
        let chunk = Chunk::at(&core(), payload - 8);
        let fresh = self.fresh_from(payload);
        self.used_bytes += chunk.bytes;
        let is_first = self.touch(chunk);
        let given = match self.warm.taken(chunk, fresh) {
            Some(pages) if pages.begin < fresh => {
                let clean_to = if pages.end() < fresh { pages.end() } else { FAR };
                Given { payload, clean_from: pages.begin.max(payload), clean_to }
            }
            _ => Given { payload, clean_from: fresh, clean_to: FAR },
        };
        if is_first && self.warm.may_go_instead(self.used_bytes) {
            self.give_back_early();
        }
        Some(given)
    }

    /// A payload for which no chunk is large enough: before the source is asked, what others freed
    /// in the slabs of threads that ended makes room.
    #[cold]
    fn make_room(&mut self, bytes: u64, align: u64) -> Option<Offset> {
        self.tidy_idle();
        if let Some(payload) = chunks().allocate(&mut core(), bytes, align) {
            return Some(payload);
        }
        self.grow(core_for(bytes, align))?;
        chunks().allocate(&mut core(), bytes, align)
    }

    /// Takes the slabs that others have emptied out of the records of threads that ended.
    fn tidy_idle(&mut self) {
        let mut idle = self.idle;
        // SAFETY: records are never given back, and the idle ones are ours while we hold.
        while let Some(record) = unsafe { idle.as_ref() } {
            record.tidy(self);
            idle = record.next_idle.get();
        }
    }

    /// Takes a payload of the chunk tier back.
    pub(crate) fn free(&mut self, payload: Offset) -> Result<(), Misuse> {
        self.release(payload, None)
    }

    /// Takes a payload back; about `warm_bytes` bytes of its chunk have pages, or all of it.
    fn release(&mut self, payload: Offset, warm_bytes: Option<u64>) -> Result<(), Misuse> {
        let bytes = chunks().payload_bytes(&core(), payload)?;
        let free = chunks().free(&mut core(), payload)?;
        self.used_bytes -= bytes + CHUNK_TAGS;
        self.warm.freed(free, warm_bytes.unwrap_or(bytes + CHUNK_TAGS));
        if free.bytes >= NOTED_LEAST {
            if self.warm.may_go_early(self.used_bytes) {
                self.give_back_early();
            } else if self.warm.is_too_much(self.used_bytes) {
                self.give_back(free);
            }
        }
        self.tick();
        Ok(())
    }

    /// Time passes: it is looked at by who frees.
    fn tick(&mut self) {
        if self.warm.is_over() {
            self.end_epoch();
        }
    }

    /// Makes a payload of the chunk tier larger or smaller where it is.
    pub(crate) fn resize_in_place(&mut self, payload: Offset, bytes: u64) -> Result<bool, Misuse> {
        let before = Chunk::at(&core(), payload - 8);
        let mut is_done = chunks().resize_in_place(&mut core(), payload, bytes)?;
        if !is_done && self.borders_on_growth(before) {
            let more = core_for(bytes, 1).saturating_sub(before.bytes);
            is_done = self.grow(more).is_some()
                && chunks().resize_in_place(&mut core(), payload, bytes)?;
        }
        let after = Chunk::at(&core(), payload - 8);
        if after.bytes > before.bytes {
            let fresh = self.fresh_from(before.end());
            self.warm.used(Region::between(before.end(), after.end()), fresh);
        }
        self.used_bytes = self.used_bytes + after.bytes - before.bytes;
        let is_first = self.touch(after);
        if let Some(rest) = after.free_after(&core()) {
            self.warm.freed(rest, before.bytes.saturating_sub(after.bytes));
        }
        if is_first && self.warm.may_go_instead(self.used_bytes) {
            self.give_back_early();
        }
        Ok(is_done)
    }

    /// Is there nothing behind a chunk but what grows? Then it can grow where it is.
    fn borders_on_growth(&self, chunk: Chunk) -> bool {
        let end = chunks().top(&core()).map_or(self.growing.end() - 8, |top| top.begin);
        chunk.end() == end
    }

    /// A record for a thread that begins: one that is idle, or a new one.
    pub(crate) fn thread(&mut self) -> *mut Thread {
        let idle = self.idle;
        if !idle.is_null() {
            // SAFETY: records are never given back, and the idle ones are ours while we hold.
            self.idle = unsafe { &*idle }.next_idle.replace(ptr::null_mut());
            return idle;
        }
        let bytes = size_of::<Thread>() as u64;
        let align = align_of::<Thread>() as u64;
        let Some(given) = self.allocate(bytes + room_bytes(), align) else {
            return ptr::null_mut();
        };
        let thread: *mut Thread = core().pointer(given.payload, bytes).cast();
        // SAFETY: the payload is new, long enough, and aligned as asked.
        unsafe { thread.write(Thread::new(Stamp::of(self.threads + 1))) };
        // SAFETY: it was written above, and is nobody else's yet; its room is behind it.
        unsafe { &*thread }.furnish();
        self.threads += 1;
        thread
    }

    /// Takes back the record of a thread that ends.
    pub(crate) fn retire(&mut self, thread: *mut Thread) {
        // SAFETY: records are never given back, and the caller's thread uses this one no more.
        let record = unsafe { &*thread };
        record.retire(self);
        record.next_idle.set(self.idle);
        self.idle = thread;
    }

    /// The first of the idle records.
    pub(crate) fn first_idle(&self) -> *mut Thread {
        self.idle
    }

    /// How many records there are, idle or not.
    pub(crate) fn threads(&self) -> u64 {
        self.threads
    }

    /// What the chunk tier consists of.
    pub(crate) fn census(&self) -> Census {
        let mut census = match Census::take_by(&core(), chunks(), units(), free_in) {
            Ok(census) => census,
            Err(broken) => abort(format_args!("{broken}")),
        };
        // To the chunk tier the spare units of rows are used.
        let spare = self.rows.spare();
        census.used.count -= spare.count;
        census.used.bytes -= spare.bytes;
        census.free.count += spare.count;
        census.free.bytes += spare.bytes;
        census
    }

    /// Asks the source for at least `bytes`, and gives them to the chunk tier.
    #[cold]
    fn grow(&mut self, bytes: u64) -> Option<()> {
        let proportional = (chunks().core_bytes(&core()) / STEP_PART).max(STEP_LEAST);
        let region = self
            .source
            .more_core(align_up(bytes.max(proportional), UNIT))
            .or_else(|| self.source.more_core(align_up(bytes, UNIT)))?;
        self.map_units(region)?;
        self.welcome_huge_pages(region);
        let before = chunks().top(&core());
        chunks().add_region(&mut core(), region);
        match (before, chunks().top(&core())) {
            // The top was extended over its last tag, which is a stale word in it now.
            (Some(before), Some(top)) if before.begin == top.begin => {
                core().write(before.last_tag(), 0);
                self.growing.bytes += region.bytes;
            }
            (_, Some(top)) => {
                self.growing = Region::between(top.begin, region.end());
                // The top may begin with what was free, and used before, at an earlier region's
                // end. Its tag and its note are written.
                self.fresh = region.begin.max(top.begin + CHUNK_LEAST);
            }
            (_, None) => {}
        }
        if let Some(top) = chunks().top(&core()) {
            self.warm.formed(top);
        }
        Some(())
    }

    /// Tells the system that huge pages are welcome in new core, if what there is is large and
    /// dense.
    fn welcome_huge_pages(&self, region: Region) {
        let core_bytes = chunks().core_bytes(&core());
        let is_dense = core_bytes.saturating_sub(self.used_bytes) <= core_bytes / SPARSE_PART;
        if core_bytes >= HUGE_LEAST && is_dense {
            // SAFETY: the region is ours, and this does not change what is in it.
            let advise =
                || unsafe { memory::advise(region.begin.0, region.bytes, Advice::HugePages) };
            // A system without huge pages says no; then the pages are small.
            let _ = keeping_errno(advise);
        }
    }

    /// From where on nothing that follows `at` in its payload was ever touched.
    fn fresh_from(&self, at: Offset) -> Offset {
        fresh_in(self.growing, self.fresh, at)
    }

    /// Takes down that a chunk is used: it, and the head of what follows, are not fresh any more.
    /// `true` if they were until now.
    fn touch(&mut self, chunk: Chunk) -> bool {
        let end = (chunk.end() + CHUNK_LEAST).min(self.growing.end());
        let is_growing = chunk.begin >= self.growing.begin && end <= self.growing.end();
        if is_growing && end > self.fresh {
            self.warm.touched(end - self.fresh);
            self.fresh = end;
            return true;
        }
        false
    }

    /// Says in the unit map that the units of a new region are ours.
    fn map_units(&mut self, region: Region) -> Option<()> {
        while let Some(index) = units().missing_leaf(&core(), region) {
            let leaf = keeping_errno(|| memory::map(0, LEAF_BYTES)).ok()?;
            units().add_leaf(&mut core(), index, Offset(leaf));
        }
        if !ledger::open(region) {
            return None;
        }
        units().mark(&mut core(), region, Unit::CHUNKS);
        Some(())
    }

    /// Gives the pages inside a free chunk back to the system.
    fn give_back(&mut self, free: Chunk) {
        let fresh = self.fresh_from(free.begin);
        let _ = self.warm.give_back(free, fresh);
    }

    /// Gives back the pages of what was free, and not touched, for an epoch.
    #[cold]
    fn end_epoch(&mut self) {
        let (growing, fresh) = (self.growing, self.fresh);
        let core = core();
        let noted = chunks().free_from(&core, NOTED_LEAST);
        self.warm.end_epoch(noted, |free| fresh_in(growing, fresh, free.begin));
        self.rows.end_epoch();
        self.warm.spared(self.rows.warm_bytes());
    }

    /// Gives back the pages of all that is free and large enough, for too much of it is warm.
    #[cold]
    fn give_back_early(&mut self) {
        let (growing, fresh) = (self.growing, self.fresh);
        let core = core();
        let noted = chunks().free_from(&core, NOTED_LEAST);
        self.warm.give_back_early(noted, |free| fresh_in(growing, fresh, free.begin));
    }
}

/// How many blocks of a slab are free: in its mask, in a magazine, or freed by another thread.
fn free_in(slab: Slab, class: Class) -> u64 {
    let shape = class.shape();
    let units = (0..u64::from(shape.units)).map(|index| slab.begin() + index * UNIT);
    let used: u64 = units.map(ledger::freed::used_in).sum();
    u64::from(shape.blocks).saturating_sub(used)
}

/// From where on nothing that follows `at` was ever touched, if nothing was in `growing` from
/// `fresh` on.
fn fresh_in(growing: Region, fresh: Offset, at: Offset) -> Offset {
    let is_growing = at >= growing.begin && at < growing.end();
    if is_growing { fresh.max(at) } else { FAR }
}

/// Behind all that there is.
const FAR: Offset = Offset(!(UNIT - 1));

#[inline(always)]
fn chunks() -> Chunks {
    Chunks::at(CHUNKS.place())
}

#[cfg(test)]
mod tests;
