//! What the kernel and we agree on: the layouts, numbers and three calls of `io_uring`.
//!
//! ```text
//!   submission (64 bytes)  opcode 1 | flags 1 | priority 2 | descriptor 4 | offset 8 | address 8
//!                          length 4 | how 4 | token 8 | group 2 | zeros 22
//!   completion (16 bytes)  token 8 | result 4 | flags 4
//!   buffer     (16 bytes)  address 8 | length 4 | id 2 | 2: in the first of a ring, its tail
//! ```
//!
//! Knows nothing of rings and who writes what when.
//! Source: `linux/io_uring.h` of Linux 6.1, `io_uring_setup`(2), `io_uring_enter`(2),
//! `io_uring_register`(2).

use core::ptr;

use crate::descriptor::Descriptor;
use crate::{Errno, Failed};

/// What is asked of the kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Submission {
    pub(super) opcode: u8,
    pub(super) flags: u8,
    pub(super) priority: u16,
    pub(super) descriptor: i32,
    pub(super) offset: u64,
    pub(super) address: u64,
    pub(super) length: u32,
    /// Flags of the operation: of a send, a poll, a cancel.
    pub(super) how: u32,
    pub(super) token: u64,
    pub(super) group: u16,
    pub(super) zeros: [u16; 11],
}

/// What the kernel answers.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Completed {
    pub(super) token: u64,
    pub(super) result: i32,
    pub(super) flags: u32,
}

/// A buffer that the kernel may receive into.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Provided {
    pub(super) address: u64,
    pub(super) bytes: u32,
    pub(super) id: u16,
    pub(super) tail: u16,
}

/// What a ring is to be, and what it has become.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Parameters {
    pub(super) submissions: u32,
    pub(super) completions: u32,
    pub(super) flags: u32,
    pub(super) sq_thread: [u32; 2],
    pub(super) features: u32,
    pub(super) wq: u32,
    pub(super) zeros: [u32; 3],
    pub(super) submission_at: SubmissionAt,
    pub(super) completion_at: CompletionAt,
}

/// Where the words of the submission queue stand in its mapping.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SubmissionAt {
    pub(super) head: u32,
    pub(super) tail: u32,
    pub(super) mask: u32,
    entries: u32,
    pub(super) flags: u32,
    dropped: u32,
    pub(super) array: u32,
    pub(super) zeros: [u32; 3],
}

/// The same of the completion queue.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CompletionAt {
    pub(super) head: u32,
    pub(super) tail: u32,
    pub(super) mask: u32,
    entries: u32,
    overflow: u32,
    pub(super) entries_at: u32,
    pub(super) zeros: [u32; 4],
}

/// Registers a ring of buffers.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BufferRing {
    pub(super) address: u64,
    pub(super) entries: u32,
    pub(super) group: u16,
    pub(super) flags: u16,
    pub(super) zeros: [u64; 3],
}

/// Cancels what is under way, and waits until it is.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct CancelNow {
    token: u64,
    descriptor: i32,
    pub(super) flags: u32,
    timeout: [i64; 2],
    pub(super) zeros: [u64; 4],
}

/// How long `enter` waits at most.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct WaitArgument {
    signals: u64,
    signals_bytes: u32,
    zero: u32,
    timeout: u64,
}

const _: () = assert!(size_of::<Submission>() == 64);
const _: () = assert!(size_of::<Completed>() == 16);
const _: () = assert!(size_of::<Provided>() == 16);
const _: () = assert!(size_of::<Parameters>() == 120);
const _: () = assert!(size_of::<BufferRing>() == 40);
const _: () = assert!(size_of::<CancelNow>() == 64);

pub(super) const OP_POLL: u8 = 6;
pub(super) const OP_CANCEL: u8 = 14;
pub(super) const OP_CLOSE: u8 = 19;
pub(super) const OP_SEND: u8 = 26;
pub(super) const OP_RECEIVE: u8 = 27;

/// The kernel takes a buffer from the group.
pub(super) const BUFFER_SELECT: u8 = 1 << 5;
/// Only a failure is told.
pub(super) const SKIP_SUCCESS: u8 = 1 << 6;

/// In `priority` of a receive: it goes on after the first bytes.
pub(super) const RECEIVE_MANY: u16 = 1 << 1;
/// In `length` of a poll: it goes on after the first event.
pub(super) const POLL_MANY: u32 = 1;

/// In the flags of a completion: a buffer was filled, whose id stands in the upper half.
pub(super) const HAS_BUFFER: u32 = 1;
/// In the flags of a completion: more of them will come.
pub(super) const HAS_MORE: u32 = 1 << 1;
pub(super) const BUFFER_SHIFT: u32 = 16;

/// The kernel may make other numbers of entries than were asked for.
const SETUP_CLAMP: u32 = 1 << 4;
/// The number of completions is told.
const SETUP_CQSIZE: u32 = 1 << 3;
/// A submission that is wrong does not keep those behind it.
const SETUP_SUBMIT_ALL: u32 = 1 << 7;
/// One thread alone submits (Linux 6.0).
const SETUP_SINGLE_ISSUER: u32 = 1 << 12;
/// Work is done when that thread asks for completions, and interrupts it nowhere else (Linux 6.1).
const SETUP_DEFER: u32 = 1 << 13;

/// How our rings are.
pub(super) const SETUP: u32 =
    SETUP_CLAMP | SETUP_CQSIZE | SETUP_SUBMIT_ALL | SETUP_SINGLE_ISSUER | SETUP_DEFER;

/// Both queues stand in one mapping; no completion is lost; a wait has a timeout.
pub(super) const FEATURES: u32 = 1 | 1 << 1 | 1 << 8;

/// Where the submissions themselves are mapped.
pub(super) const SUBMISSIONS_AT: i64 = 0x1000_0000;

const ENTER_WAIT: u32 = 1;
const ENTER_ARGUMENT: u32 = 1 << 3;

const REGISTER_BUFFERS: u32 = 22;
const REGISTER_CANCEL: u32 = 24;

const CANCEL_ALL: u32 = 1;
const CANCEL_ANY: u32 = 1 << 2;

/// Makes a ring.
pub(super) fn setup(entries: u32, parameters: &mut Parameters) -> Result<Descriptor, Failed> {
    let at = ptr::from_mut(parameters);
    // SAFETY: `at` is live and exclusive, and the kernel fills what it points at.
    let made = unsafe { libc::syscall(libc::SYS_io_uring_setup, entries, at) };
    // SAFETY: `made` is what the call returned just now: a descriptor, or -1.
    unsafe { Descriptor::from_call("io_uring_setup", made as i32) }
}

/// Submits, and waits until something is completed or `timeout_ms` is over (0: does not wait,
/// `None`: for ever); returns how many were submitted.
pub(super) fn enter(
    ring: &Descriptor,
    submissions: u32,
    timeout_ms: Option<u32>,
) -> Result<u32, Failed> {
    let timeout = timeout_ms.map(|ms| libc::timespec {
        tv_sec: i64::from(ms / 1000),
        tv_nsec: i64::from(ms % 1000 * 1_000_000),
    });
    let argument = WaitArgument {
        signals: 0,
        signals_bytes: 0,
        zero: 0,
        timeout: timeout.as_ref().map_or(0, |timeout| ptr::from_ref(timeout).addr() as u64),
    };
    let wanted = u32::from(timeout_ms != Some(0));
    let flags = ENTER_WAIT | ENTER_ARGUMENT;
    let (at, bytes) = (&raw const argument, size_of::<WaitArgument>());
    let call = libc::SYS_io_uring_enter;
    // SAFETY: `at` and what it points at live until the call returns. What the submissions point
    // at is the ring's own, and lives as long as it.
    let done = unsafe { libc::syscall(call, ring.number(), submissions, wanted, flags, at, bytes) };
    match u32::try_from(done) {
        Ok(count) => Ok(count),
        // The time is over; a signal came; completions must be taken first.
        Err(_) if matches!(Errno::last().0, libc::ETIME | libc::EINTR | libc::EBUSY) => Ok(0),
        Err(_) => Err(Failed::last("io_uring_enter")),
    }
}

/// Registers a ring of buffers.
///
/// # Safety
/// - The ring's memory, and that of the buffers that will be put into it, lives as long as `ring`
///   has anything under way.
pub(super) unsafe fn register_buffers(
    ring: &Descriptor,
    buffers: &BufferRing,
) -> Result<(), Failed> {
    // SAFETY: `buffers` is live; what it names is the caller's duty.
    unsafe { register(ring, REGISTER_BUFFERS, ptr::from_ref(buffers).cast(), 1) }
}

/// Cancels all that is under way, and returns when nothing is.
pub(super) fn cancel_everything(ring: &Descriptor) -> Result<(), Failed> {
    let flags = CANCEL_ALL | CANCEL_ANY;
    let timeout = [-1, -1];
    let all = CancelNow { token: 0, descriptor: -1, flags, timeout, zeros: [0; 4] };
    // SAFETY: `all` is live, and the kernel only reads it.
    let done = unsafe { register(ring, REGISTER_CANCEL, (&raw const all).cast(), 1) };
    match done {
        // Nothing was under way.
        Err(failed) if failed.errno == Errno(libc::ENOENT) => Ok(()),
        done => done,
    }
}

/// # Safety
/// - `argument` is what the operation `what` takes, `count` of it, and lives until the return.
unsafe fn register(
    ring: &Descriptor,
    what: u32,
    argument: *const u8,
    count: u32,
) -> Result<(), Failed> {
    let call = libc::SYS_io_uring_register;
    // SAFETY: the argument is the caller's duty.
    let done = unsafe { libc::syscall(call, ring.number(), what, argument, count) };
    if done < 0 { Err(Failed::last("io_uring_register")) } else { Ok(()) }
}
