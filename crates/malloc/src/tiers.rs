//! From a request to the tier that serves it, and from an address to the tier that it came from.
//!
//! ```text
//!   allocate   to 16 KiB: a block, to 256 KiB: a chunk, both from the thread's magazine
//!              to 32 MiB: a chunk    above: a mapping
//!
//!   free       ledger -- own slab --> magazine
//!              unit map -- slab of another's --> its remote mask
//!                       -- chunks --> magazine, arena
//!                       -- foreign --> mappings, or a misuse
//! ```
//!
//! Promises: the fast paths (a magazine that has a block; a free into a magazine) are inlined
//! whole, use no atomic operation, and do not touch the block. Null means that there is no core,
//! `errno` says so, and nothing has changed. A misuse ends the process with a line.
//! Knows nothing of C.

use core::ptr;
use core::sync::atomic::Ordering::Relaxed;

use morecore_heap::layout::align_up;
use morecore_heap::{
    CHUNK_TAGS, Chunk, Class, GRANULE, Misuse, Offset, REQUEST_MOST, Region, Slab, Tag, Unit, WORD,
    Wrong,
};
use morecore_sys::{Errno, memory};

use crate::arena::{self, Given};
use crate::harden;
use crate::ledger;
use crate::life;
use crate::line::{abort_for, keeping_errno, rightly};
use crate::local;
use crate::magazine::Waiting;
use crate::mapping::Mapping;
use crate::shelf::Shelf;
use crate::thread::{GONE, NOBODY, Thread, core};

/// From this on a request gets a mapping of its own: pages that move (`mremap`) beat bytes that are
/// copied, and nothing of it is left in anybody's way. Below it chunks are better: what one leaves
/// warm serves any other. (A program with payloads of 64 KiB to 8 MiB took 10 times as long with
/// 4 MiB here.)
const LARGE_LEAST: u64 = 32 << 20;

/// A chunk's payload has at least this many bytes, so that the bits of any two chunks are in
/// different words of the ledger: one can be used while the other is freed.
const CHUNK_PAYLOAD_LEAST: u64 = (1 << ledger::WORD_BITS) - CHUNK_TAGS;

/// `ENOMEM`: the same number on every Linux.
const NO_MEMORY: Errno = Errno(12);

/// A payload shrinks where it is, unless it falls into the small tier: copying this much costs less
/// than the hole that it would leave among the chunks.
const COPIED_MOST: u64 = 1 << 10;

/// A payload of `bytes` bytes at a multiple of 16, or null.
#[inline(always)]
pub(crate) fn allocate(bytes: usize) -> *mut u8 {
    let Some(class) = Class::of(bytes as u64) else { return allocate_beyond(bytes as u64, 1) };
    let thread = local::thread();
    // SAFETY: a thread's word names a record that is this thread's, or one that stays empty.
    let thread = unsafe { &*thread };
    match thread.magazine(class).take() {
        Some(block) => address(block),
        None => allocate_small(class, bytes),
    }
}

/// A payload of `bytes` bytes at a multiple of 16, all zero, or null.
#[inline]
pub(crate) fn allocate_zeroed(bytes: usize) -> *mut u8 {
    if bytes as u64 > morecore_heap::SMALL_MOST {
        return allocate_zeroed_beyond(bytes as u64);
    }
    let payload = allocate(bytes);
    if !payload.is_null() {
        // SAFETY: the payload is new, and so long.
        unsafe { payload.write_bytes(0, bytes) };
    }
    payload
}

/// A payload of `bytes` bytes at a multiple of `align`, a power of two, or null.
pub(crate) fn allocate_aligned(bytes: usize, align: usize) -> *mut u8 {
    if align <= 16 {
        return allocate(bytes);
    }
    if harden::is_on() {
        return given_or_refused(harden::allocate(bytes as u64, align as u64));
    }
    match Class::aligned(bytes as u64, align as u64) {
        Some(class) => allocate(class.shape().bytes as usize),
        None => allocate_beyond((bytes as u64).max(1), align as u64),
    }
}

/// Takes a payload back; null is nothing.
///
/// # Safety
/// - Nobody uses the payload any more. (An address that is no payload ends the process.)
#[inline(always)]
pub(crate) unsafe fn free(payload: *mut u8) {
    let at = payload.addr() as u64;
    // SAFETY: a thread's word names a record that is this thread's, or one that stays empty.
    let thread = unsafe { &*local::thread() };
    let Some((distance, bits)) = ledger::look(at, thread.stamp()) else {
        return free_elsewhere(payload);
    };
    // SAFETY: that is what each slab of ours was assigned with.
    let magazine = unsafe { thread.magazine_at(distance) };
    if magazine.is_full() || thread.is_told() || !bits.strike(at) {
        return free_own(payload);
    }
    magazine.push(Waiting::new(at, bits));
}

/// Makes a payload `bytes` long, here or elsewhere; null if there is no core, and then it stays.
///
/// # Safety
/// - The payload is the caller's, and used only under its new address afterwards.
pub(crate) unsafe fn resize(payload: *mut u8, bytes: usize) -> *mut u8 {
    if harden::is_on() {
        return given_or_refused(harden::resize(payload, bytes as u64));
    }
    let at = Offset(payload.addr() as u64);
    let unit = arena::units().entry(&core(), at);
    let wanted = bytes as u64;
    let has = if let Some(class) = unit.class() {
        let has = small_bytes(slab_of(unit, at), class, at);
        // In place if it stays in its class, or shrinks by less than half.
        if wanted <= has && (2 * wanted > has || Class::of(wanted) == Some(class)) {
            return payload;
        }
        has
    } else if unit == Unit::CHUNKS {
        let has = chunk_bytes(at);
        let is_chunk = wanted > COPIED_MOST && wanted < LARGE_LEAST;
        if is_chunk && resize_chunk(at, wanted) {
            return payload;
        }
        has
    } else {
        let has = mapping_bytes(at);
        let is_mapping = (LARGE_LEAST / 2..=REQUEST_MOST).contains(&wanted);
        if is_mapping && let Some(resized) = resize_mapping(at, has, wanted) {
            return resized;
        }
        has
    };
    let moved = allocate(bytes);
    if !moved.is_null() {
        let count = has.min(wanted) as usize;
        // SAFETY: both are payloads of at least so many bytes, and the new one is nobody else's.
        unsafe { moved.copy_from_nonoverlapping(payload, count) };
        // SAFETY: the payload is the caller's, who uses only the new one from here on.
        unsafe { free(payload) };
    }
    moved
}

/// How many bytes of a payload may be used.
///
/// # Safety
/// - The payload is the caller's.
pub(crate) unsafe fn payload_bytes(payload: *mut u8) -> usize {
    let bytes = if harden::is_on() { harden::payload_bytes(payload) } else { raw_bytes(payload) };
    bytes as usize
}

/// How many bytes the tier that an address came from gives; the end of the process if it is no
/// payload in use.
pub(crate) fn raw_bytes(payload: *mut u8) -> u64 {
    let at = Offset(payload.addr() as u64);
    let unit = arena::units().entry(&core(), at);
    match unit.class() {
        Some(class) => small_bytes(slab_of(unit, at), class, at),
        None if unit == Unit::CHUNKS => chunk_bytes(at),
        None => mapping_bytes(at),
    }
}

/// A payload of whichever tier serves `bytes` bytes at a multiple of `align`, or null; without a
/// magazine of this thread's.
pub(crate) fn raw_allocate(bytes: u64, align: u64) -> *mut u8 {
    let block = match Class::aligned(bytes, align.max(16)) {
        Some(class) => life::with_record(|thread| thread.refill(class)).flatten(),
        None => given_beyond(bytes, align).map(|given| given.payload.0),
    };
    block.map_or(ptr::null_mut(), address)
}

/// Gives back to the system what is free, but for `keep` bytes. `true` if anything went back.
pub(crate) fn trim(keep: usize) -> bool {
    life::with_record(|thread| thread.empty(&mut arena::hold()));
    let mut has_given = arena::hold().trim(keep as u64);
    loop {
        let Some(mapping) = arena::hold().mappings.forget_one() else { return has_given };
        unmap(mapping);
        has_given = true;
    }
}

/// The bytes of a page.
pub(crate) fn page_bytes() -> usize {
    memory::page_bytes() as usize
}

/// A block, when the magazine has none.
#[cold]
#[inline(never)]
fn allocate_small(class: Class, bytes: usize) -> *mut u8 {
    if harden::is_on() {
        return given_or_refused(harden::allocate(bytes as u64, 1));
    }
    let block = life::with_record(|thread| thread.refill(class)).flatten();
    block.map_or_else(refused, address)
}

/// A block of this thread's own, of which something is not plain.
#[cold]
#[inline(never)]
fn free_own(payload: *mut u8) {
    let at = Offset(payload.addr() as u64);
    let Some((slab, class)) = arena::units().slab_of(&core(), at) else { return };
    // SAFETY: a thread's word names a record that is this thread's, or one that stays empty.
    let thread = unsafe { &*local::thread() };
    thread.give(slab, class, at);
}

/// What is in no slab that the ledger knows as this thread's goes back.
#[inline(never)]
fn free_elsewhere(payload: *mut u8) {
    if harden::is_on() {
        return harden::free(payload);
    }
    raw_free(payload);
}

/// Takes a payload back into the tier that it came from, past this thread's magazines.
pub(crate) fn raw_free(payload: *mut u8) {
    let at = Offset(payload.addr() as u64);
    let unit = arena::units().entry(&core(), at);
    let Some(class) = unit.class() else { return free_beyond(unit, at) };
    let slab = slab_of(unit, at);
    // SAFETY: a thread's word names a record that is this thread's, or one that stays empty.
    let thread = unsafe { &*local::thread() };
    // Relaxed: the owner of a slab in which a block is used changes only when its thread is gone,
    // and whoever reads the old name frees for another, which is right in any case.
    let owner = slab.owner(&core()).load(Relaxed);
    if owner == thread.name() {
        return thread.give(slab, class, at);
    }
    free_remote(slab, class, at, owner);
}

/// A block of another thread's slab goes back to it.
fn free_remote(slab: Slab, class: Class, at: Offset, owner: u64) {
    if !ledger::is_used(at) {
        rightly(slab.place(class, at));
        abort_for(&slab.twice(class, at));
    }
    if rightly(slab.give_remote(&core(), class, at)) {
        let owner = ptr::with_exposed_provenance_mut(owner as usize);
        // SAFETY: the owner word of a slab names a record, and we were told to tell.
        unsafe { Thread::tell(owner, slab, class) };
    }
}

/// A payload beyond the small tier.
#[inline(never)]
fn allocate_beyond(bytes: u64, align: u64) -> *mut u8 {
    if harden::is_on() {
        return given_or_refused(harden::allocate(bytes, align));
    }
    given_beyond(bytes, align).map_or_else(refused, |given| address(given.payload.0))
}

#[inline(never)]
fn allocate_zeroed_beyond(bytes: u64) -> *mut u8 {
    if harden::is_on() {
        return given_or_refused(harden::allocate_zeroed(bytes));
    }
    let Some(given) = given_beyond(bytes, 1) else { return refused() };
    let end = given.payload + bytes;
    clear(Region::between(given.payload, given.clean_from.min(end)));
    if given.clean_to < end {
        clear(Region::between(given.clean_to.max(given.clean_from), end));
    }
    address(given.payload.0)
}

/// Makes a part of a new payload zero.
fn clear(dirty: Region) {
    // SAFETY: the payload is new, and nobody else's.
    unsafe { address(dirty.begin.0).write_bytes(0, dirty.bytes as usize) };
}

fn given_beyond(bytes: u64, align: u64) -> Option<Given> {
    if bytes > REQUEST_MOST || align > REQUEST_MOST {
        return None;
    }
    let shelf = if align <= GRANULE { Shelf::of(bytes) } else { None };
    if let Some(shelf) = shelf {
        // SAFETY: a thread's word names a record that is this thread's, or one that stays empty.
        let thread = unsafe { &*local::thread() };
        if let Some(payload) = thread.chunks(shelf).take() {
            return Some(Given::dirty(Offset(payload)));
        }
    }
    let wanted = shelf.map_or(bytes.max(CHUNK_PAYLOAD_LEAST), Shelf::bytes);
    // What is aligned to more than that would cost as much core as its alignment.
    let is_chunk = wanted.max(align) < LARGE_LEAST;
    let given = if is_chunk { arena::hold().allocate(wanted, align.max(GRANULE)) } else { None };
    if let Some(given) = given {
        ledger::bits_of(given.payload.0).enter(given.payload.0);
        return Some(given);
    }
    // Where chunks have no room, the system may still have some.
    given_mapping(bytes, align)
}

/// A mapping, from those that are kept warm or from the system.
fn given_mapping(bytes: u64, align: u64) -> Option<Given> {
    let page = memory::page_bytes();
    let bytes = align_up(bytes, page);
    let reused = if align <= page { arena::hold().mappings.reuse(bytes) } else { None };
    let is_warm = reused.is_some();
    let mapping = match reused {
        Some(mapping) => mapping,
        None => keeping_errno(|| map(bytes, align, page))?,
    };
    if !arena::hold().mappings.insert(mapping) {
        unmap(mapping);
        return None;
    }
    let payload = Offset(mapping.at);
    if is_warm {
        return Some(Given::dirty(payload));
    }
    Some(Given { payload, clean_from: payload, clean_to: payload + bytes })
}

/// Maps `bytes` at a multiple of `align`.
fn map(bytes: u64, align: u64, page: u64) -> Option<Mapping> {
    if align <= page {
        return Some(Mapping { at: memory::map(0, bytes).ok()?, bytes });
    }
    let whole = bytes.checked_add(align)?;
    let begin = memory::map(0, whole).ok()?;
    let at = align_up(begin, align);
    unmap(Mapping { at: begin, bytes: at - begin });
    unmap(Mapping { at: at + bytes, bytes: begin + whole - (at + bytes) });
    Some(Mapping { at, bytes })
}

/// A free of what is in no slab.
fn free_beyond(unit: Unit, at: Offset) {
    if unit == Unit::CHUNKS {
        return free_chunk(at);
    }
    if at.is_none() {
        return;
    }
    let mut arena = arena::hold();
    let removed = arena.mappings.remove(at.0);
    let unneeded = removed.map(|mapping| arena.mappings.keep(mapping));
    drop(arena);
    match unneeded {
        Some(Some(mapping)) => unmap(mapping),
        Some(None) => {}
        None => abort_for(&foreign(at)),
    }
}

/// A free of what is in a region, but in no slab: it waits on a shelf, or goes back to the arena.
fn free_chunk(at: Offset) {
    let bits = ledger::bits_of(at.0);
    if !at.is_aligned(GRANULE) || !bits.strike_shared(at.0) {
        no_chunk(at);
    }
    let chunk = Chunk::at(&core(), at - WORD);
    if !is_twinned(chunk) || !Tag::read(&core(), chunk.begin).is_used() {
        abort_for(&Misuse { begin: at, ..Misuse::new(Wrong::Overrun, at) });
    }
    // SAFETY: a thread's word names a record that is this thread's, or one that stays empty.
    let thread = unsafe { &*local::thread() };
    let magazine = Shelf::holding(chunk.payload_bytes()).map(|shelf| thread.chunks(shelf));
    match magazine.filter(|magazine| !magazine.is_full()) {
        Some(magazine) => magazine.push(Waiting::new(at.0, bits)),
        // A misuse is told of without the arena: a handler of SIGABRT may allocate.
        None => {
            let freed = arena::hold().free(at);
            rightly(freed);
        }
    }
}

/// Does a chunk with the same sound tag at both its ends stand there? Nothing is read that is not
/// in a region.
fn is_twinned(chunk: Chunk) -> bool {
    let is_ours = |at| arena::units().entry(&core(), at) != Unit::FOREIGN;
    let tag = Tag(core().read(chunk.begin));
    tag.is_sound() && is_ours(chunk.last_tag()) && Tag(core().read(chunk.last_tag())) == tag
}

/// The end of a process that used what is no chunk in use as one. (The arena is not held: a handler
/// of SIGABRT may allocate.)
#[cold]
#[inline(never)]
fn no_chunk(at: Offset) -> ! {
    let begin = Offset(at.0.saturating_sub(WORD));
    // Where a region begins, what is before it may be nobody's.
    let is_ours = arena::units().entry(&core(), begin) != Unit::FOREIGN;
    if !is_ours || !at.is_aligned(GRANULE) {
        abort_for(&Misuse::new(Wrong::NotABlock, at));
    }
    let chunk = Chunk::at(&core(), begin);
    // Where two chunks were coalesced, 0 is left between them. One with whole tags is free, or
    // waits on a shelf.
    let is_whole = is_twinned(chunk);
    if !is_whole && core().read(begin) != 0 {
        abort_for(&Misuse::new(Wrong::NotABlock, at));
    }
    let bytes = if is_whole { chunk.payload_bytes() } else { 0 };
    abort_for(&Misuse { begin: at, bytes, ..Misuse::new(Wrong::DoubleFree, at) })
}

/// Makes a chunk's payload larger or smaller where it is; `false` if it can not grow there.
fn resize_chunk(at: Offset, wanted: u64) -> bool {
    let wanted = Shelf::of(wanted).map_or(wanted.max(CHUNK_PAYLOAD_LEAST), Shelf::bytes);
    let resized = arena::hold().resize_in_place(at, wanted);
    rightly(resized)
}

/// Makes a mapping longer or shorter; its pages move, its bytes are not copied. `None`: the system
/// refuses. It does so where memory is short, but also if the program has given different advice
/// (madvise(2)) for different parts of the payload, for then it is several mappings to the system.
fn resize_mapping(at: Offset, has: u64, wanted: u64) -> Option<*mut u8> {
    let wanted = align_up(wanted, memory::page_bytes());
    if wanted == has {
        return Some(address(at.0));
    }
    // While it moves, nobody may find it: its old place may be somebody else's at once.
    let taken = arena::hold().mappings.remove(at.0);
    let Some(old) = taken else { abort_for(&foreign(at)) };
    // SAFETY: the mapping is the caller's, who uses only the new place afterwards.
    let now = keeping_errno(|| unsafe { memory::resize(old.at, old.bytes, wanted, true) });
    let new = now.as_ref().map_or(old, |now| Mapping { at: *now, bytes: wanted });
    // There was room in the table for the one that was removed, so there is for this.
    arena::hold().mappings.insert(new);
    now.ok().map(address)
}

/// Gives a mapping's pages and addresses back. If the system refuses (too many mappings), at least
/// its pages go.
fn unmap(mapping: Mapping) {
    if mapping.bytes == 0 {
        return;
    }
    keeping_errno(|| {
        // SAFETY: nobody uses the mapping any more.
        if unsafe { memory::unmap(mapping.at, mapping.bytes) }.is_err() {
            // SAFETY: as above.
            let _ = unsafe { memory::advise(mapping.at, mapping.bytes, memory::Advice::Unneeded) };
        }
    });
}

/// The bytes of a block, if one that is not known to be free begins at `at`.
fn small_bytes(slab: Slab, class: Class, at: Offset) -> u64 {
    rightly(slab.place(class, at));
    if Thread::is_free(slab, class, at) {
        abort_for(&slab.twice(class, at));
    }
    u64::from(class.shape().bytes)
}

/// The bytes of a chunk's payload.
fn chunk_bytes(at: Offset) -> u64 {
    if !at.is_aligned(GRANULE) || !ledger::is_used(at) {
        no_chunk(at);
    }
    // The chunk is the caller's, so nobody changes its tags meanwhile.
    Chunk::at(&core(), at - WORD).payload_bytes()
}

/// The bytes of a mapping.
fn mapping_bytes(at: Offset) -> u64 {
    let found = arena::hold().mappings.find(at.0);
    found.unwrap_or_else(|| abort_for(&foreign(at))).bytes
}

/// The slab of an address, of which the unit map says `unit`.
#[inline(always)]
fn slab_of(unit: Unit, at: Offset) -> Slab {
    Slab::at(at.align_down(morecore_heap::UNIT) - unit.back() * morecore_heap::UNIT)
}

/// What the hardened heap gave; if that is null, C wants to know why.
fn given_or_refused(payload: *mut u8) -> *mut u8 {
    if payload.is_null() { refused() } else { payload }
}

/// Null and `ENOMEM`, as C has it. It is set here, so that the fast paths end with a jump.
#[cold]
fn refused() -> *mut u8 {
    NO_MEMORY.set();
    ptr::null_mut()
}

fn foreign(at: Offset) -> Misuse {
    Misuse::new(Wrong::Foreign, at)
}

#[inline(always)]
fn address(at: u64) -> *mut u8 {
    ptr::with_exposed_provenance_mut(at as usize)
}

/// Is this a word of a thread that has no record?
pub(crate) fn is_nobody(thread: *mut Thread) -> bool {
    thread == NOBODY.record() || thread == GONE.record()
}
