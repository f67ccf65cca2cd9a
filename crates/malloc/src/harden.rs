//! The hardened heap: `MORECORE_CONF=harden:on`.
//!
//! ```text
//!   block or chunk of a payload        | what was asked for | fill ... | seal |
//!
//!   given --free--> quarantined, all poison --pushed out, or the end of the program--> free
//! ```
//!
//! The seal is the last word that the tier gives: it hides how much was asked for behind a secret
//! and the address, so whatever is written past the end breaks it, or the fill before it. A payload
//! that is freed is overwritten and waits; when it leaves, whatever has changed in it was written
//! after the free. A seal of its own marks those that wait.
//!
//! Promises: nothing of this is on the fast paths. When it is on, threads have no magazines, so
//! every call ends here, under one lock. When it is off, what it costs is a question on the slow
//! paths. All is given and taken by the same tiers.
//! Knows nothing of how those serve a request.

use core::ptr;
use core::sync::atomic::AtomicU8;
use core::sync::atomic::Ordering::Relaxed;

use morecore_heap::REQUEST_MOST;

use crate::arena;
use crate::line::abort;
use crate::lock::Lock;
use crate::tiers;

/// The bytes of a seal.
const SEAL_BYTES: u64 = size_of::<u64>() as u64;

/// What stands between the payload and its seal.
const FILL: u8 = 0xa5;

/// What is written over a freed payload: as an address it is none that a program can have.
const POISON: u8 = 0xdf;

/// How many payloads wait at most: their places are two pages.
const WAITING_MOST: usize = 512;

/// The bytes of those that wait, at most: as much as a small program may notice.
const WAITING_BYTES_MOST: u64 = 4 << 20;

/// A longer payload does not wait: the others would all go for it.
const PAYLOAD_MOST: u64 = 256 << 10;

/// Not read yet; no; yes.
static STATE: AtomicU8 = AtomicU8::new(0);
const OFF: u8 = 1;
const ON: u8 = 2;

static QUARANTINE: Lock<Quarantine> =
    Lock::new(Quarantine { waiting: [NOTHING; WAITING_MOST], next: 0, bytes: 0 });

/// The payloads that wait, in the order in which they were freed.
struct Quarantine {
    waiting: [Waiting; WAITING_MOST],
    /// Where the next one goes, and before it the oldest stands.
    next: usize,
    bytes: u64,
}

/// A payload that waits, and what it has.
#[derive(Clone, Copy)]
struct Waiting {
    place: u64,
    has: u64,
}

const NOTHING: Waiting = Waiting { place: 0, has: 0 };

/// What a seal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seal {
    /// In use, and so many bytes were asked for.
    Given(u64),
    /// Freed.
    Freed,
    /// Somebody wrote over it.
    Broken,
}

/// Takes over what the environment asks for.
pub(crate) fn set(is_on: bool) {
    STATE.store(if is_on { ON } else { OFF }, Relaxed);
}

/// Is it on?
#[inline]
pub(crate) fn is_on() -> bool {
    match STATE.load(Relaxed) {
        OFF => false,
        ON => true,
        // Nobody has asked for anything yet: whoever takes the arena first reads what is wanted.
        _ => {
            drop(arena::hold());
            STATE.load(Relaxed) == ON
        }
    }
}

/// A payload of `bytes` bytes at a multiple of `align`, or null.
pub(crate) fn allocate(bytes: u64, align: u64) -> *mut u8 {
    // What is refused below is refused with the seal as well.
    let whole = bytes.min(REQUEST_MOST) + SEAL_BYTES;
    let payload = tiers::raw_allocate(whole, align);
    if payload.is_null() {
        return payload;
    }
    let has = tiers::raw_bytes(payload);
    let slack = (has - SEAL_BYTES - bytes) as usize;
    // SAFETY: the payload is new, and has so many bytes before its last word.
    unsafe { payload.wrapping_add(bytes as usize).write_bytes(FILL, slack) };
    write_seal(payload, has, given(payload, bytes));
    payload
}

/// The same, all zero.
pub(crate) fn allocate_zeroed(bytes: u64) -> *mut u8 {
    let payload = allocate(bytes, 1);
    if !payload.is_null() {
        // SAFETY: the payload is new, and so long.
        unsafe { payload.write_bytes(0, bytes as usize) };
    }
    payload
}

/// Takes a payload back; null is nothing.
pub(crate) fn free(payload: *mut u8) {
    if payload.is_null() {
        return;
    }
    let (has, _) = examine(payload, "free");
    // SAFETY: the payload is ours again, and has so many bytes before its last word.
    unsafe { payload.write_bytes(POISON, (has - SEAL_BYTES) as usize) };
    write_seal(payload, has, freed(payload));
    if has > PAYLOAD_MOST {
        return tiers::raw_free(payload);
    }
    let mut next = Waiting { place: payload.expose_provenance() as u64, has };
    loop {
        // Without the lock, for whoever is told of a misuse may want to free something.
        let (oldest, is_full) = QUARANTINE.take().exchange(next);
        oldest.let_go();
        if !is_full {
            return;
        }
        next = NOTHING;
    }
}

/// Makes a payload `bytes` long; it always moves, so that whoever keeps the old address is seen.
pub(crate) fn resize(payload: *mut u8, bytes: u64) -> *mut u8 {
    let (_, before) = examine(payload, "resize");
    let moved = allocate(bytes, 1);
    if !moved.is_null() {
        let count = before.min(bytes) as usize;
        // SAFETY: both are payloads of at least so many bytes, and the new one is nobody else's.
        unsafe { moved.copy_from_nonoverlapping(payload, count) };
        free(payload);
    }
    moved
}

/// How many bytes were asked for: no more may be used.
pub(crate) fn payload_bytes(payload: *mut u8) -> u64 {
    examine(payload, "use").1
}

/// Looks at all that waits: whoever wrote there is seen at the end of the program at the latest.
pub(crate) fn check_all() {
    for _ in 0..WAITING_MOST {
        let (oldest, _) = QUARANTINE.take().exchange(NOTHING);
        oldest.let_go();
    }
}

/// Takes the lock before a fork; `false` if this thread has it.
pub(crate) fn hold_for_fork() -> bool {
    QUARANTINE.take_for_fork()
}

/// Lets the lock go after a fork.
///
/// # Safety
/// - The caller is the thread that got `true` from [`hold_for_fork`], or its image in the child.
pub(crate) unsafe fn let_go_after_fork() {
    // SAFETY: the caller's duty, passed on.
    unsafe { QUARANTINE.let_go_after_fork() };
}

impl Quarantine {
    /// Puts `next` where the oldest stands, and gives that one; `true` if too many bytes still
    /// wait.
    fn exchange(&mut self, next: Waiting) -> (Waiting, bool) {
        let oldest = core::mem::replace(&mut self.waiting[self.next], next);
        self.next = (self.next + 1) % WAITING_MOST;
        self.bytes = self.bytes + next.has - oldest.has;
        (oldest, self.bytes > WAITING_BYTES_MOST)
    }
}

impl Waiting {
    /// Frees the payload, if it is as it was left.
    fn let_go(self) {
        if self.place == 0 {
            return;
        }
        let payload: *mut u8 = ptr::with_exposed_provenance_mut(self.place as usize);
        check_poison(payload, self.has);
        // Whoever is given this place next finds no seal of its past.
        write_seal(payload, self.has, 0);
        tiers::raw_free(payload);
    }
}

/// What a payload in use has, and what was asked for; the end of the process if it is not in use,
/// or somebody wrote past its end.
fn examine(payload: *mut u8, act: &str) -> (u64, u64) {
    let at = payload.addr();
    // What was never given ends the process here.
    let has = tiers::raw_bytes(payload);
    let bytes = match seal(payload, has) {
        Seal::Given(bytes) => bytes,
        Seal::Freed if act == "free" => {
            abort(format_args!("double free of {at:#x}: payload of {has} bytes, already free"))
        }
        Seal::Freed => {
            abort(format_args!("{act} after free of {at:#x}: payload of {has} bytes, already free"))
        }
        Seal::Broken => abort(format_args!(
            "overrun found at {act} of {at:#x}: payload of {has} bytes, the word at its end is gone"
        )),
    };
    let end = payload.wrapping_add(bytes as usize);
    if let Some(index) = first_other(end, has - SEAL_BYTES - bytes, FILL) {
        abort(format_args!(
            "overrun found at {act} of {at:#x}: payload of {bytes} bytes, byte {} was written",
            bytes + index
        ));
    }
    (has, bytes)
}

/// Ends the process if a freed payload is not as it was left.
fn check_poison(payload: *mut u8, has: u64) {
    let at = payload.addr();
    let written = match first_other(payload, has - SEAL_BYTES, POISON) {
        None if seal(payload, has) == Seal::Freed => return,
        written => written.unwrap_or(has - SEAL_BYTES),
    };
    abort(format_args!(
        "write after free of {at:#x}: payload of {has} bytes, byte {written} was written"
    ));
}

/// The first of `count` bytes that is not `wanted`.
fn first_other(bytes: *const u8, count: u64, wanted: u8) -> Option<u64> {
    // SAFETY: the callers pass bytes of a payload, up to its last word.
    (0..count).find(|index| unsafe { bytes.wrapping_add(*index as usize).read() } != wanted)
}

/// What the seal of a payload that has `has` bytes says.
fn seal(payload: *mut u8, has: u64) -> Seal {
    // SAFETY: it is the last word of the payload, whose address and length are of whole words.
    let word = unsafe { seal_place(payload, has).read() };
    if word == freed(payload) {
        return Seal::Freed;
    }
    let bytes = shown(word ^ mask(payload));
    if bytes <= has - SEAL_BYTES { Seal::Given(bytes) } else { Seal::Broken }
}

fn write_seal(payload: *mut u8, has: u64, word: u64) {
    // SAFETY: as in `seal`; the payload is not the program's now, or this is not its part.
    unsafe { seal_place(payload, has).write(word) };
}

fn seal_place(payload: *mut u8, has: u64) -> *mut u64 {
    payload.wrapping_add((has - SEAL_BYTES) as usize).cast()
}

/// The seal of a payload in use.
fn given(payload: *mut u8, bytes: u64) -> u64 {
    let word = bytes ^ mask(payload);
    // A text that is one byte too long writes a zero into the first byte, which must not be one.
    if word as u8 == 0 { word ^ AVOIDS_ZERO } else { word }
}

/// How many bytes a seal without its mask shows.
fn shown(word: u64) -> u64 {
    if word >> 63 == 1 { word ^ AVOIDS_ZERO } else { word }
}

/// No payload is so long that this is its length: it can be told from every length.
const AVOIDS_ZERO: u64 = 1 << 63 | 0xff;

/// The seal of a payload that was freed.
fn freed(payload: *mut u8) -> u64 {
    !mask(payload)
}

/// What hides the length: another word in each process, where the system loads it elsewhere each
/// time, and for each address.
fn mask(payload: *mut u8) -> u64 {
    // The fraction of the golden ratio: neighbours' products have nothing in common.
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let secret = (&raw const STATE).addr() as u64;
    (payload.addr() as u64 ^ secret.rotate_left(32)).wrapping_mul(FACTOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_tells_every_length_and_never_begins_with_a_zero() {
        let mut room = [0u64; 1 << 9];
        let payload: *mut u8 = room.as_mut_ptr().cast();
        for offset in 0..64 {
            let payload = payload.wrapping_add(16 * offset);
            for bytes in 0..=1000 {
                let word = given(payload, bytes);
                assert!(word as u8 != 0 && word != freed(payload), "{bytes}");
                write_seal(payload, 1008, word);
                assert_eq!(seal(payload, 1008), Seal::Given(bytes));
            }
        }
        write_seal(payload, 1008, freed(payload));
        assert_eq!(seal(payload, 1008), Seal::Freed);
        write_seal(payload, 1008, 0x4141_4141_4141_4141);
        assert_eq!(seal(payload, 1008), Seal::Broken);
    }
}
