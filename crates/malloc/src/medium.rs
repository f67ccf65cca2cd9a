//! The medium tier: chunks, from a thread's magazines or from the arena.
//!
//! Promises: whether a free is right is one bit of the ledger, whether the chunk then waits or goes
//! back; a chunk whose tags were overwritten is seen when it is freed; nothing is read that is not
//! in a region, whatever address is given.
//! Knows nothing of blocks and mappings.

use morecore_heap::{CHUNK_TAGS, Chunk, GRANULE, Misuse, Offset, Tag, Unit, WORD, Wrong};

use crate::arena::{self, Given};
use crate::clear;
use crate::ledger;
use crate::life;
use crate::line::{abort_for, rightly};
use crate::local;
use crate::magazine::Waiting;
use crate::shelf::Shelf;
use crate::thread::{NOBODY, Thread, core};

/// A chunk's payload has at least this many bytes, so that the bits of any two chunks are in
/// different words of the ledger: one can be used while the other is freed.
const PAYLOAD_LEAST: u64 = (1 << ledger::WORD_BITS) - CHUNK_TAGS;

/// A payload of `bytes` bytes at a multiple of `align`; `None` if there is no core.
pub(crate) fn allocate(bytes: u64, align: u64) -> Option<Given> {
    if let Some(payload) = take_waiting(bytes, align) {
        return Some(Given::dirty(Offset(payload)));
    }
    if Shelf::of(bytes).is_some() && local::thread() == NOBODY.record() {
        // So that it has magazines when it frees: who asks for such may never ask for less.
        life::with_record(|_| ());
    }
    let given = arena::hold().allocate(rounded(bytes), align.max(GRANULE))?;
    ledger::bits_of(given.payload.0).enter(given.payload.0);
    Some(given)
}

/// A payload that waits in this thread's magazines.
#[inline]
pub(crate) fn take_waiting(bytes: u64, align: u64) -> Option<u64> {
    if align > GRANULE {
        return None;
    }
    thread().chunks(Shelf::of(bytes)?).take()
}

/// Takes a payload back: it waits in a magazine, or goes back to the arena.
pub(crate) fn free(at: Offset) {
    let bits = ledger::bits_of(at.0);
    if !at.is_aligned(GRANULE) || !bits.strike_shared(at.0) {
        no_chunk(at);
    }
    let chunk = Chunk::at(&core(), at - WORD);
    if !is_twinned(chunk) || !Tag::read(&core(), chunk.begin).is_used() {
        abort_for(&Misuse { begin: at, ..Misuse::new(Wrong::Overrun, at) });
    }
    let magazine = Shelf::holding(chunk.payload_bytes()).map(|shelf| thread().chunks(shelf));
    if let Some(magazine) = magazine.filter(|magazine| !magazine.is_full()) {
        return magazine.push(Waiting::new(at.0, bits));
    }
    clear::look_at(at, chunk.payload_bytes());
    // A misuse is told of without the arena: a handler of SIGABRT may allocate.
    let freed = arena::hold().free(at);
    rightly(freed);
}

/// Makes a payload larger or smaller where it is; `false` if it can not grow there.
pub(crate) fn resize(at: Offset, wanted: u64) -> bool {
    let resized = arena::hold().resize_in_place(at, rounded(wanted));
    rightly(resized)
}

/// The bytes of a payload.
pub(crate) fn payload_bytes(at: Offset) -> u64 {
    if !at.is_aligned(GRANULE) || !ledger::is_used(at) {
        no_chunk(at);
    }
    // The chunk is the caller's, so nobody changes its tags meanwhile.
    let chunk = Chunk::at(&core(), at - WORD);
    if !is_twinned(chunk) {
        abort_for(&Misuse { begin: at, ..Misuse::new(Wrong::Overrun, at) });
    }
    chunk.payload_bytes()
}

/// What a request for `bytes` bytes gets.
fn rounded(bytes: u64) -> u64 {
    Shelf::of(bytes).map_or(bytes.max(PAYLOAD_LEAST), Shelf::bytes)
}

/// Does a chunk with the same sound tag at both its ends stand there? Nothing is read that is not
/// in a region.
fn is_twinned(chunk: Chunk) -> bool {
    let is_ours = |at| arena::units().entry(&core(), at) != Unit::FOREIGN;
    let tag = Tag::read(&core(), chunk.begin);
    tag.is_sound() && is_ours(chunk.last_tag()) && Tag::read(&core(), chunk.last_tag()) == tag
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
    // waits in a magazine.
    let is_whole = is_twinned(chunk);
    if !is_whole && Tag::read(&core(), begin) != Tag(0) {
        abort_for(&Misuse::new(Wrong::NotABlock, at));
    }
    let bytes = if is_whole { chunk.payload_bytes() } else { 0 };
    abort_for(&Misuse { begin: at, bytes, ..Misuse::new(Wrong::DoubleFree, at) })
}

#[inline(always)]
fn thread() -> &'static Thread {
    // SAFETY: a thread's word names a record that is this thread's, or one that stays empty; and
    // records are never given back.
    unsafe { &*local::thread() }
}
