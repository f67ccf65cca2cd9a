//! The large tier: payloads that are mappings of their own.
//!
//! Promises: the calls of the system that map, move and unmap are made without the arena, so nobody
//! waits for them. What is kept for later is given up before anybody is refused.
//! Knows nothing of chunks and blocks.

use morecore_heap::layout::align_up;
use morecore_heap::{Misuse, Offset, Wrong};
use morecore_sys::memory;

use crate::arena::{self, Given};
use crate::clear;
use crate::line::{abort_for, keeping_errno};
use crate::mapping::Mapping;

/// A payload of `bytes` bytes at a multiple of `align`, from what is kept warm or from the system;
/// `None`: the system has no more.
pub(crate) fn allocate(bytes: u64, align: u64) -> Option<Given> {
    let page = memory::page_bytes();
    let bytes = align_up(bytes, page);
    let reused = if align <= page { arena::hold().mappings.reuse(bytes) } else { None };
    let is_warm = reused.is_some();
    let mapping = match reused {
        Some(mapping) => mapping,
        None => keeping_errno(|| map(bytes, align, page))?,
    };
    let is_known = arena::hold().mappings.insert(mapping);
    if !is_known {
        unmap(mapping);
        return None;
    }
    let payload = Offset(mapping.at);
    if is_warm {
        return Some(Given::dirty(payload));
    }
    Some(Given { payload, clean_from: payload, clean_to: payload + bytes })
}

/// Takes a payload back, if it is one.
pub(crate) fn free(at: Offset) {
    let mut arena = arena::hold();
    let removed = arena.mappings.remove(at.0);
    let unneeded = removed.map(|mapping| {
        clear::look_at(at, mapping.bytes);
        arena.mappings.keep(mapping)
    });
    drop(arena);
    match unneeded {
        Some(Some(mapping)) => unmap(mapping),
        Some(None) => {}
        None => abort_for(&foreign(at)),
    }
}

/// Makes a payload of `has` bytes longer or shorter; its pages move, its bytes are not copied.
/// Returns where it is now. `None`: the system refuses. It does so where memory is short, but also
/// if the program has given different advice (madvise(2)) for different parts of the payload, for
/// then it is several mappings to the system.
pub(crate) fn resize(at: Offset, has: u64, wanted: u64) -> Option<Offset> {
    let wanted = align_up(wanted, memory::page_bytes());
    if wanted == has {
        return Some(at);
    }
    // While it moves, nobody may find it: its old place may be somebody else's at once.
    let taken = arena::hold().mappings.take_away(at.0);
    let Some(old) = taken else { abort_for(&foreign(at)) };
    // SAFETY: the mapping is the caller's, who uses only the new place afterwards.
    let now = keeping_errno(|| unsafe { memory::resize(old.at, old.bytes, wanted, true) });
    let new = now.as_ref().map_or(old, |now| Mapping { at: *now, bytes: wanted });
    arena::hold().mappings.bring_back(new);
    now.ok().map(Offset)
}

/// The bytes of a payload.
pub(crate) fn payload_bytes(at: Offset) -> u64 {
    let found = arena::hold().mappings.find(at.0);
    found.unwrap_or_else(|| abort_for(&foreign(at))).bytes
}

/// Gives back to the system all that is kept for later: mappings that are warm, and addresses that
/// are reserved. `true` if there was any.
#[cold]
pub(crate) fn give_up_kept() -> bool {
    let had_reserved = arena::hold().give_up_reserved();
    unmap_kept() || had_reserved
}

/// Gives back to the system the mappings that are kept warm. `true` if there were any.
pub(crate) fn unmap_kept() -> bool {
    let mut had_any = false;
    loop {
        // The arena must be let go before the call of the system.
        let forgotten = arena::hold().mappings.forget_one();
        let Some(mapping) = forgotten else { return had_any };
        unmap(mapping);
        had_any = true;
    }
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

fn foreign(at: Offset) -> Misuse {
    Misuse::new(Wrong::Foreign, at)
}
