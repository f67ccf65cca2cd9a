//! From a request to the tier that serves it, and from an address to the tier that it came from.
//!
//! ```text
//!   allocate   to 16 KiB: a block, to 256 KiB: a chunk, both from the thread's magazine
//!              to 32 MiB: a chunk    above: a mapping
//!
//!   free       ledger -- own slab --> magazine
//!                     -- slab of another's --> the ledger's other page (ledger/freed.rs)
//!              unit map -- chunks --> magazine, arena          (medium.rs)
//!                       -- foreign --> mappings, or a misuse    (large.rs)
//! ```
//!
//! Promises: the fast paths (a magazine that has a block; a free into a magazine) are inlined
//! whole, use no atomic operation, and do not touch the block. Null means that there is no core,
//! `errno` says so, and nothing has changed. A misuse ends the process with a line.
//! Knows nothing of C.

use core::ptr;
use core::sync::atomic::Ordering::Relaxed;

use morecore_heap::abort::broken;
use morecore_heap::{Class, Offset, REQUEST_MOST, Region, Slab, UNIT, Unit};
use morecore_sys::{Errno, memory};

use crate::arena;
use crate::clear;
use crate::harden;
use crate::large;
use crate::ledger::freed::{Given, Page};
use crate::life;
use crate::line::{abort_for, rightly};
use crate::local;
use crate::magazine::{Magazine, Waiting};
use crate::medium;
use crate::thread::{GONE, NOBODY, Thread, core};

/// From this on a request gets a mapping of its own: pages that move (`mremap`) beat bytes that are
/// copied, and nothing of it is left in anybody's way. Below it chunks are better: what one leaves
/// warm serves any other. (A program with payloads of 64 KiB to 8 MiB took 10 times as long with
/// 4 MiB here.)
const LARGE_LEAST: u64 = 32 << 20;

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
        None => allocate_small(bytes),
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
    let Some((distance, bits)) = thread.look(at) else {
        return free_elsewhere(payload);
    };
    // SAFETY: that is what each slab of ours was assigned with.
    let magazine = unsafe { thread.magazine_at(distance) };
    match magazine.room() {
        Some(room) if !thread.is_told() && bits.strike(at) => {
            magazine.push_into(room, Waiting::new(at, bits));
        }
        _ => free_own(payload),
    }
}

/// Makes a payload `bytes` long, here or elsewhere; null if there is no core, and then it stays.
///
/// # Safety
/// - The payload is the caller's, and used only under its new address afterwards.
#[inline]
pub(crate) unsafe fn resize(payload: *mut u8, bytes: usize) -> *mut u8 {
    let at = payload.addr() as u64;
    // SAFETY: a thread's word names a record that is this thread's, or one that stays empty.
    let thread = unsafe { &*local::thread() };
    match thread.look(at) {
        Some((distance, bits)) if bits.has(at) && !thread.is_told() => {
            let Some(class) = Magazine::class(distance) else { broken("stamped", Offset(at)) };
            let has = class.shape().bytes as usize;
            // SAFETY: the ledger says that a block in use begins there, and the caller's duty.
            unsafe { resize_block(payload, class, has, bytes) }
        }
        // SAFETY: the caller's duty, passed on.
        _ => unsafe { resize_elsewhere(payload, bytes) },
    }
}

/// Makes a block of `class`, which has `has` bytes, `bytes` long.
///
/// # Safety
/// - As for [`resize`].
#[inline(always)]
unsafe fn resize_block(payload: *mut u8, class: Class, has: usize, bytes: usize) -> *mut u8 {
    // In place if it stays in its class, or shrinks by less than half.
    if bytes <= has && (2 * bytes > has || Class::of(bytes as u64) == Some(class)) {
        return payload;
    }
    // SAFETY: the caller's duty, passed on.
    unsafe { moved(payload, has, bytes) }
}

/// Puts the first bytes of a payload that has `has` of them into a new one, `bytes` long, and takes
/// the old one back; null if there is no core, and then it stays.
///
/// # Safety
/// - As for [`resize`].
unsafe fn moved(payload: *mut u8, has: usize, bytes: usize) -> *mut u8 {
    let moved = allocate(bytes);
    if !moved.is_null() {
        // SAFETY: both are payloads of at least so many bytes, and the new one is nobody else's.
        unsafe { moved.copy_from_nonoverlapping(payload, has.min(bytes)) };
        // SAFETY: the payload is the caller's, who uses only the new one from here on.
        unsafe { free(payload) };
    }
    moved
}

/// Resizes what is in no slab that the ledger knows as this thread's.
///
/// # Safety
/// - As for [`resize`].
#[inline(never)]
unsafe fn resize_elsewhere(payload: *mut u8, bytes: usize) -> *mut u8 {
    if harden::is_on() {
        return given_or_refused(harden::resize(payload, bytes as u64));
    }
    let at = Offset(payload.addr() as u64);
    // SAFETY: a thread's word names a record that is this thread's, or one that stays empty.
    let thread = unsafe { &*local::thread() };
    // For the free that may follow, and the next time.
    thread.learn(at.0);
    let unit = arena::units().entry(&core(), at);
    let wanted = bytes as u64;
    let has = if let Some(class) = unit.class() {
        let has = small_bytes(slab_of(unit, at), class, at);
        // SAFETY: a block in use begins there, and the caller's duty.
        return unsafe { resize_block(payload, class, has as usize, bytes) };
    } else if unit == Unit::CHUNKS {
        let has = medium::payload_bytes(at);
        let is_chunk = wanted > COPIED_MOST && wanted < LARGE_LEAST;
        if is_chunk && medium::resize(at, wanted) {
            return payload;
        }
        has
    } else {
        let has = large::payload_bytes(at);
        let is_mapping = (LARGE_LEAST / 2..=REQUEST_MOST).contains(&wanted);
        if is_mapping && let Some(resized) = large::resize(at, has, wanted) {
            return address(resized.0);
        }
        has
    };
    // SAFETY: the caller's duty, passed on.
    unsafe { moved(payload, has as usize, bytes) }
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
        None if unit == Unit::CHUNKS => medium::payload_bytes(at),
        None => large::payload_bytes(at),
    }
}

/// A payload of whichever tier serves `bytes` bytes at a multiple of `align`, or null; without a
/// magazine of this thread's.
pub(crate) fn raw_allocate(bytes: u64, align: u64) -> *mut u8 {
    let block = match Class::aligned(bytes, align.max(16)) {
        Some(class) => refilled(class),
        None => given_beyond(bytes, align).map(|given| given.payload.0),
    };
    block.map_or(ptr::null_mut(), address)
}

/// Gives back to the system what is free, but for `keep` bytes. `true` if anything went back.
pub(crate) fn trim(keep: usize) -> bool {
    life::with_record(|thread| thread.empty(&mut arena::hold()));
    let has_given = arena::hold().trim(keep as u64);
    large::unmap_kept() || has_given
}

/// The bytes of a page.
pub(crate) fn page_bytes() -> usize {
    memory::page_bytes() as usize
}

/// A block, when the magazine has none.
#[cold]
#[inline(never)]
fn allocate_small(bytes: usize) -> *mut u8 {
    if harden::is_on() {
        return given_or_refused(harden::allocate(bytes as u64, 1));
    }
    Class::of(bytes as u64).and_then(refilled).map_or_else(refused, address)
}

/// A block of a slab. Before it is refused, what is kept for later goes back to the system.
fn refilled(class: Class) -> Option<u64> {
    let refill = || life::with_record(|thread| thread.refill(class)).flatten();
    refill().or_else(|| if large::give_up_kept() { refill() } else { None })
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

/// The same for a thread that has learned where the ledger tells of the payload.
#[cold]
#[inline(never)]
fn free_again(payload: *mut u8) {
    // SAFETY: the duty of whoever called `free`. It does not come here again: the leaf is known.
    unsafe { free(payload) };
}

/// What is in no slab that the ledger knows as this thread's goes back.
#[inline(never)]
fn free_elsewhere(payload: *mut u8) {
    // SAFETY: a thread's word names a record that is this thread's, or one that stays empty.
    let thread = unsafe { &*local::thread() };
    if thread.learn(payload.addr() as u64) {
        return free_again(payload);
    }
    if harden::is_on() {
        return harden::free(payload);
    }
    raw_free(payload);
}

/// Takes a payload back into the tier that it came from, past this thread's magazines.
#[inline(always)]
pub(crate) fn raw_free(payload: *mut u8) {
    let at = Offset(payload.addr() as u64);
    let unit = arena::units().entry(&core(), at);
    if !unit.is_slab() {
        return free_beyond(unit, at);
    }
    // SAFETY: a thread's word names a record that is this thread's, or one that stays empty.
    let thread = unsafe { &*local::thread() };
    // By `stamped` the ledger knows the slabs of those who have a stamp: this is none of theirs,
    // and its header, which its owner writes all the time, need not be looked at.
    if !thread.has_stamp() && is_own(thread, at) {
        return free_own(payload);
    }
    match Page::at(at).map_or(Given::Wrong, Page::give) {
        Given::Done => {}
        Given::Tell => tell_owner(at),
        Given::Wrong => wrong_remote(at),
    }
}

/// Is the block at `at` in a slab of this record?
#[cold]
#[inline(never)]
fn is_own(thread: &Thread, at: Offset) -> bool {
    let slab = arena::units().slab_of(&core(), at);
    slab.is_some_and(|(slab, _)| slab.owner(&core()).load(Relaxed) == thread.name())
}

/// The end of a process that freed what is no block in use of another thread's slab.
#[cold]
#[inline(never)]
fn wrong_remote(at: Offset) {
    if let Some((slab, class)) = arena::units().slab_of(&core(), at) {
        rightly(slab.place(class, at));
        abort_for(&slab.twice(class, at));
    }
    broken("stamped", at);
}

/// Tells the owner of a slab that something in the unit of `at` was freed, which `give` asks for.
#[cold]
#[inline(never)]
fn tell_owner(at: Offset) {
    let Some((slab, _)) = arena::units().slab_of(&core(), at) else { broken("stamped", at) };
    // Relaxed: the owner of a slab in which a block is used changes only when its thread is gone,
    // and whoever reads the old name tells another, who passes it on.
    let owner = ptr::with_exposed_provenance_mut(slab.owner(&core()).load(Relaxed) as usize);
    // SAFETY: the owner word of a slab names a record, and we were told to tell.
    unsafe { Thread::tell(owner, at.align_down(UNIT)) };
}

/// A payload beyond the small tier.
#[inline(never)]
fn allocate_beyond(bytes: u64, align: u64) -> *mut u8 {
    if let Some(payload) = medium::take_waiting(bytes, align) {
        return address(payload);
    }
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
    clear::clear(Region::between(given.payload, given.clean_from.min(end)));
    if given.clean_to < end {
        clear::clear(Region::between(given.clean_to.max(given.clean_from), end));
    }
    address(given.payload.0)
}

/// What the tiers beyond the small one give. Before they refuse, what is kept for later goes back
/// to the system, for it may have no more than that.
fn given_beyond(bytes: u64, align: u64) -> Option<arena::Given> {
    if bytes > REQUEST_MOST || align > REQUEST_MOST {
        return None;
    }
    // What is aligned to more than that would cost as much core as its alignment.
    let is_chunk = bytes.max(align) < LARGE_LEAST;
    let given = || {
        let chunk = if is_chunk { medium::allocate(bytes, align) } else { None };
        // Where chunks have no room, the system may still have some.
        chunk.or_else(|| large::allocate(bytes, align))
    };
    given().or_else(|| if large::give_up_kept() { given() } else { None })
}

/// A free of what is in no slab.
#[inline(never)]
fn free_beyond(unit: Unit, at: Offset) {
    if unit == Unit::CHUNKS {
        medium::free(at);
    } else if !at.is_none() {
        large::free(at);
    }
}

/// The bytes of a block, if one that is not known to be free begins at `at`.
fn small_bytes(slab: Slab, class: Class, at: Offset) -> u64 {
    rightly(slab.place(class, at));
    if Thread::is_free(slab, class, at) {
        abort_for(&slab.twice(class, at));
    }
    u64::from(class.shape().bytes)
}

/// The slab of an address, of which the unit map says `unit`.
#[inline(always)]
fn slab_of(unit: Unit, at: Offset) -> Slab {
    Slab::at(at.align_down(UNIT) - unit.back() * UNIT)
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

#[inline(always)]
fn address(at: u64) -> *mut u8 {
    ptr::with_exposed_provenance_mut(at as usize)
}

/// Is this a word of a thread that has no record?
pub(crate) fn is_nobody(thread: *mut Thread) -> bool {
    thread == NOBODY.record() || thread == GONE.record()
}
