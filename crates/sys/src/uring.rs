//! `io_uring`: what is to be done with many sockets is told to the kernel in one call, and what was
//! done is read from memory.
//!
//! ```text
//!   receive, send, watch, ...  --> submissions --turn--> the kernel
//!               completion <-- completions <------------'
//! ```
//!
//! Promises: safe to use, because whatever the kernel reads and writes is the ring's own memory:
//! bytes to send are copied into it, and received ones are lent out of it. One thread uses a ring,
//! the one that has made it; another's calls fail with `EEXIST`. When a ring ends, the kernel
//! breaks a wait of that thread off (`EINTR`), if it lives on.
//! It needs Linux 6.1: receives that go on, with buffers that the kernel chooses from, and work
//! that is done only when we ask for it. An older kernel, or one that does not allow it, refuses
//! [`Uring::new`].
//! Knows nothing of what the bytes mean.
//! Source: `io_uring`(7); `J. Axboe, Efficient IO with io_uring, 2019`.

mod abi;
mod pool;
mod queues;

use core::mem::ManuallyDrop;

use abi::{Parameters, Submission};
pub use pool::Filled;
use pool::Pool;
use queues::Queues;

use crate::descriptor::Descriptor;
use crate::{Errno, Failed};

/// Submissions of one turn before they are submitted early: some for each of the buffers.
const SUBMISSIONS: u32 = 1024;

/// Completions that have room; where more come at once, the kernel keeps them for us.
const COMPLETIONS: u32 = 4096;

/// What is told of a cancel that found nothing: it is not worth telling.
const UNHEARD: u64 = u64::MAX;

/// A ring.
#[derive(Debug)]
pub struct Uring {
    ring: Descriptor,
    queues: Queues,
    /// Dropped by hand: not before nothing is under way.
    pool: ManuallyDrop<Pool>,
}

/// Something that was done.
#[derive(Debug, PartialEq, Eq)]
pub struct Completion {
    /// The number under which it was asked for, which is below [`u64::MAX`].
    pub token: u64,
    /// How many bytes, or which events; or why not.
    pub result: Result<u32, Failed>,
    /// What was received, for [`Uring::bytes`]; to be given back.
    pub filled: Option<Filled>,
    /// Whether nothing more will come under this token.
    pub is_last: bool,
}

impl Uring {
    /// Makes a ring, for this thread.
    ///
    /// # Errors
    /// As `io_uring_setup`(2): `ENOSYS` (no such calls), `EPERM` (not allowed), `EINVAL` (an older
    /// kernel), `EMFILE`, `ENOMEM`.
    pub fn new() -> Result<Self, Failed> {
        let mut made =
            Parameters { completions: COMPLETIONS, flags: abi::SETUP, ..Parameters::default() };
        let ring = abi::setup(SUBMISSIONS, &mut made)?;
        if made.features & abi::FEATURES != abi::FEATURES {
            return Err(Failed { call: "io_uring_setup", errno: Errno(libc::EOPNOTSUPP) });
        }
        let queues = Queues::map(&ring, &made)?;
        let pool = ManuallyDrop::new(Pool::new(&ring)?);
        Ok(Self { ring, queues, pool })
    }

    /// Receives whatever comes, one completion for each piece, until an end, an error, a lack of
    /// buffers (`ENOBUFS`) or a cancel.
    ///
    /// # Errors
    /// As [`Uring::turn`], where submissions have to be submitted for want of room. So it is with
    /// all that is asked for.
    pub fn receive(&mut self, socket: &Descriptor, token: u64) -> Result<(), Failed> {
        self.push(Submission {
            opcode: abi::OP_RECEIVE,
            flags: abi::BUFFER_SELECT,
            priority: abi::RECEIVE_MANY,
            descriptor: socket.number(),
            group: pool::GROUP,
            token,
            ..Submission::default()
        })
    }

    /// Sends a copy of what fits into the socket now, without waiting; returns `false`, and does
    /// nothing, where there is no room for the copy in this turn.
    ///
    /// # Errors
    /// As [`Uring::receive`].
    pub fn send(&mut self, socket: &Descriptor, from: &[u8], token: u64) -> Result<bool, Failed> {
        let Ok(length) = u32::try_from(from.len()) else { return Ok(false) };
        let Some(at) = self.pool.copy(from) else { return Ok(false) };
        self.push(Submission {
            opcode: abi::OP_SEND,
            descriptor: socket.number(),
            address: at.addr() as u64,
            length,
            // It is done, or refused, inside of the submit, so the copy may go after that.
            how: (libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT) as u32,
            token,
            ..Submission::default()
        })?;
        Ok(true)
    }

    /// Tells each time when something can be read, until a cancel.
    ///
    /// # Errors
    /// As [`Uring::receive`].
    pub fn watch(&mut self, what: &Descriptor, token: u64) -> Result<(), Failed> {
        self.poll(what, libc::POLLIN, abi::POLL_MANY, token)
    }

    /// Tells once when something can be read.
    ///
    /// # Errors
    /// As [`Uring::receive`].
    pub fn await_input(&mut self, what: &Descriptor, token: u64) -> Result<(), Failed> {
        self.poll(what, libc::POLLIN, 0, token)
    }

    /// Tells once when something can be written.
    ///
    /// # Errors
    /// As [`Uring::receive`].
    pub fn await_room(&mut self, what: &Descriptor, token: u64) -> Result<(), Failed> {
        self.poll(what, libc::POLLOUT, 0, token)
    }

    /// Ends what is under way under `token`; its last completion tells so.
    ///
    /// # Errors
    /// As [`Uring::receive`].
    pub fn cancel(&mut self, token: u64) -> Result<(), Failed> {
        self.push(Submission {
            opcode: abi::OP_CANCEL,
            flags: abi::SKIP_SUCCESS,
            descriptor: -1,
            address: token,
            token: UNHEARD,
            ..Submission::default()
        })
    }

    /// Closes a descriptor, after all that was asked of it before has been submitted. What is under
    /// way there must have been cancelled.
    ///
    /// # Errors
    /// As [`Uring::receive`].
    pub fn close(&mut self, what: Descriptor) -> Result<(), Failed> {
        let kept = ManuallyDrop::new(what);
        let pushed = self.push(Submission {
            opcode: abi::OP_CLOSE,
            flags: abi::SKIP_SUCCESS,
            descriptor: kept.number(),
            token: UNHEARD,
            ..Submission::default()
        });
        if pushed.is_err() {
            drop(ManuallyDrop::into_inner(kept));
        }
        pushed
    }

    /// Submits all that was asked for, and waits until something is done or `timeout_ms` is over
    /// (`None`: for ever; 0: does not wait). A signal ends the wait early.
    ///
    /// # Errors
    /// As `io_uring_enter`(2): `ENOMEM`, and what only a wrong use brings.
    pub fn turn(&mut self, timeout_ms: Option<u32>) -> Result<(), Failed> {
        let mut left = self.queues.publish();
        loop {
            let taken = abi::enter(&self.ring, left, timeout_ms)?;
            left = left.saturating_sub(taken);
            if left == 0 {
                self.pool.forget_sent();
                return Ok(());
            }
            if taken == 0 {
                // Completions stand in the way of the rest: the caller takes them first.
                return Ok(());
            }
        }
    }

    /// Takes the next thing that was done.
    pub fn completion(&mut self) -> Option<Completion> {
        loop {
            let done = self.queues.pop()?;
            if done.token == UNHEARD {
                continue;
            }
            let result = match u32::try_from(done.result) {
                Ok(count) => Ok(count),
                Err(_) => Err(Failed { call: "io_uring", errno: Errno(-done.result) }),
            };
            let id = (done.flags >> abi::BUFFER_SHIFT) as u16;
            let has_buffer = done.flags & abi::HAS_BUFFER != 0;
            let filled = match result {
                _ if !has_buffer => None,
                Ok(bytes) => Pool::filled(id, bytes as usize),
                Err(_) => Pool::filled(id, 0),
            };
            let is_last = done.flags & abi::HAS_MORE == 0;
            return Some(Completion { token: done.token, result, filled, is_last });
        }
    }

    /// The bytes that were received.
    #[must_use]
    pub fn bytes(&self, filled: &Filled) -> &[u8] {
        self.pool.bytes(filled)
    }

    /// Lets the kernel receive into a buffer again.
    pub fn give_back(&mut self, filled: Filled) {
        self.pool.give_back(filled);
    }

    fn poll(
        &mut self,
        what: &Descriptor,
        events: i16,
        length: u32,
        token: u64,
    ) -> Result<(), Failed> {
        // As the kernel reads the word: its two halves are swapped on big-endian machines.
        let how = if cfg!(target_endian = "big") { (events as u32) << 16 } else { events as u32 };
        self.push(Submission {
            opcode: abi::OP_POLL,
            descriptor: what.number(),
            length,
            how,
            token,
            ..Submission::default()
        })
    }

    fn push(&mut self, submission: Submission) -> Result<(), Failed> {
        if self.queues.push(submission) {
            return Ok(());
        }
        self.turn(Some(0))?;
        match self.queues.push(submission) {
            true => Ok(()),
            false => Err(Failed { call: "io_uring_enter", errno: Errno(libc::EBUSY) }),
        }
    }
}

impl Completion {
    /// Whether it ended without a fault of the descriptor: by a cancel, or for want of buffers.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        let passes = |failed: Failed| matches!(failed.errno.0, libc::ECANCELED | libc::ENOBUFS);
        self.result.is_err_and(passes)
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        if abi::cancel_everything(&self.ring).is_err() {
            // Something may still be written to the pool: it stays.
            return;
        }
        // SAFETY: it is dropped here alone, and `self` is not used any more.
        unsafe { ManuallyDrop::drop(&mut self.pool) };
    }
}

#[cfg(test)]
mod tests;
