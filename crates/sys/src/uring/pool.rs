//! Memory that the kernel reads from and writes to: buffers to receive into, and room to send from.
//!
//! ```text
//!   | ring of buffers: who is free | buffer 0 | buffer 1 | ...     | room to send from ... |
//!     the kernel takes from here,    one in use at a time by         copies, from one submit
//!     we give back                   one completion                  to the next
//! ```
//!
//! Promises: a buffer is in the hands of the kernel or of one [`Filled`], never of both.

use core::sync::atomic::AtomicU16;
use core::sync::atomic::Ordering::Release;
use core::{mem::offset_of, ptr, slice};

use super::abi::{self, BufferRing, Provided};
use crate::descriptor::Descriptor;
use crate::{Failed, memory};

/// Buffers that the kernel may fill. Every one is touched in turn, so they should fit in the
/// second cache with what is mostly in them: 256 batches of a few KiB. A power of two.
pub(super) const BUFFERS: u16 = 256;

/// Bytes in one: a pipeline of hundreds of small commands in one piece, and one of sixteen values
/// of 1 KiB, which takes a little more than 16 KiB: what is cut is answered in two pieces, and its
/// client is woken for each. What is never filled is never touched.
const BUFFER_BYTES: usize = 32 << 10;

/// Room for replies from one submit to the next: those of 256 clients, at a KiB each.
const SEND_BYTES: usize = 256 << 10;

/// The group that the buffers are known by; there is one.
pub(super) const GROUP: u16 = 0;

/// Bytes of the ring of buffers. (A multiple of a page, so what follows is aligned as well.)
const RING_BYTES: usize = BUFFERS as usize * size_of::<Provided>();

const BYTES: usize = RING_BYTES + BUFFERS as usize * BUFFER_BYTES + SEND_BYTES;

/// A buffer that the kernel has filled, until it is given back.
#[derive(Debug, PartialEq, Eq)]
pub struct Filled {
    id: u16,
    bytes: usize,
}

/// The memory.
///
/// # Invariants
/// - `mapped`: `at` begins a mapping of [`BYTES`] bytes, while this lives.
/// - `own`: each id below [`BUFFERS`] is either in the ring, or in one [`Filled`].
#[derive(Debug)]
pub(super) struct Pool {
    at: *mut u8,
    /// How many buffers were ever given to the kernel, wrapping.
    tail: u16,
    /// How much of the room to send from is taken.
    sending: usize,
}

impl Pool {
    /// Maps the memory, and gives all buffers to the kernel.
    pub(super) fn new(ring: &Descriptor) -> Result<Self, Failed> {
        let at = memory::map(0, BYTES as u64)?;
        let at = ptr::with_exposed_provenance_mut(at as usize);
        let mut pool = Self { at, tail: 0, sending: 0 };
        let (address, entries) = (at.addr() as u64, u32::from(BUFFERS));
        let buffers = BufferRing { address, entries, group: GROUP, ..BufferRing::default() };
        // SAFETY: the memory lives as long as the pool, and `Uring` ends what is under way before
        // it drops its pool.
        unsafe { abi::register_buffers(ring, &buffers) }?;
        (0..BUFFERS).for_each(|id| pool.offer(id));
        Ok(pool)
    }

    /// What a completion has filled, if its id is one of ours.
    pub(super) fn filled(id: u16, bytes: usize) -> Option<Filled> {
        (id < BUFFERS && bytes <= BUFFER_BYTES).then_some(Filled { id, bytes })
    }

    /// The bytes in a filled buffer.
    pub(super) fn bytes(&self, filled: &Filled) -> &[u8] {
        let offset = RING_BYTES + filled.id as usize * BUFFER_BYTES;
        // SAFETY: `mapped`; an id is below `BUFFERS`.
        let at = unsafe { self.at.add(offset) };
        // SAFETY: the stretch is mapped and was zero or written by the kernel; by `own` the kernel
        // does not write there while `filled` is borrowed.
        unsafe { slice::from_raw_parts(at, filled.bytes) }
    }

    /// Lets the kernel fill a buffer again.
    pub(super) fn give_back(&mut self, filled: Filled) {
        self.offer(filled.id);
    }

    /// Copies bytes to where they can be sent from; `None` where the room is taken until the next
    /// submit.
    pub(super) fn copy(&mut self, from: &[u8]) -> Option<*const u8> {
        if from.len() > SEND_BYTES - self.sending {
            return None;
        }
        let offset = BYTES - SEND_BYTES + self.sending;
        // SAFETY: `mapped`; there is room, as was just seen.
        let at = unsafe { self.at.add(offset) };
        // SAFETY: `at` has room for `from`, which is elsewhere; sends read only inside of a submit.
        unsafe { at.copy_from_nonoverlapping(from.as_ptr(), from.len()) };
        self.sending += from.len();
        Some(at)
    }

    /// All that was copied has been sent.
    pub(super) const fn forget_sent(&mut self) {
        self.sending = 0;
    }

    fn offer(&mut self, id: u16) {
        let address = self.at.addr() + RING_BYTES + id as usize * BUFFER_BYTES;
        let entry = (self.tail % BUFFERS) as usize * size_of::<Provided>();
        let field = |offset: usize| self.at.wrapping_add(entry + offset);
        // SAFETY: `mapped`, and aligned: the ring has `BUFFERS` entries. All but the last word of
        // an entry, which in the first is the tail, is ours until the tail passes it.
        unsafe { field(offset_of!(Provided, address)).cast::<u64>().write(address as u64) };
        // SAFETY: as above.
        unsafe { field(offset_of!(Provided, bytes)).cast::<u32>().write(BUFFER_BYTES as u32) };
        // SAFETY: as above.
        unsafe { field(offset_of!(Provided, id)).cast::<u16>().write(id) };
        self.tail = self.tail.wrapping_add(1);
        let tail = self.at.wrapping_add(offset_of!(Provided, tail)).cast();
        // SAFETY: `mapped`; the word is aligned, and only accessed as an atomic.
        let tail = unsafe { AtomicU16::from_ptr(tail) };
        // Release pairs with the kernel's Acquire: it sees the entry before the tail.
        tail.store(self.tail, Release);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours; `Uring` has ended whatever used it.
        let _unmapped = unsafe { memory::unmap(self.at.addr() as u64, BYTES as u64) };
    }
}

// SAFETY: the mapping is reached through `self` alone, from whichever thread has it.
unsafe impl Send for Pool {}
