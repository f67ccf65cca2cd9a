//! Many descriptors, told to the kernel whole at each wait, as a set of bits.
//!
//! ```text
//!   descriptor    0 1 2 3 4 5 ...                1023
//!   reads         . . . x . x ...                          who is waited for
//!     select  --> . . . . . x                              who is ready
//! ```
//!
//! Promises: level-triggered, as `Epoll` is. Where more are ready than one wait tells, the next
//! waits tell the others, so nobody is left out.
//! It takes descriptors below [`Select::END`] only: the kernel's `fd_set` has no more bits.
//! Source: select(2).

use core::ptr;

use super::{Events, Interest};
use crate::descriptor::Descriptor;
use crate::{Errno, Failed};

/// Bits in a word of a set.
const WORD_BITS: usize = u64::BITS as usize;

/// Words in a set.
const WORDS: usize = Select::END / WORD_BITS;

/// As the kernel's `fd_set`: one bit a descriptor.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
struct Bits([u64; WORDS]);

const _: () = assert!(size_of::<Bits>() == size_of::<libc::fd_set>());

/// A set of descriptors that are waited for together. Of a descriptor that is waited for with
/// [`Interest::None`], nothing is told, not even its end.
#[derive(Debug)]
pub struct Select {
    reads: Bits,
    writes: Bits,
    /// What each descriptor is known by, by its number.
    tokens: [u64; Self::END],
    /// Where the next wait begins to tell: the first word that the last one did not tell whole.
    first: usize,
}

impl Select {
    /// The first number that a descriptor must not have.
    pub const END: usize = libc::FD_SETSIZE;

    /// An empty set.
    #[must_use]
    pub const fn new() -> Self {
        let none = Bits([0; WORDS]);
        Self { reads: none, writes: none, tokens: [0; Self::END], first: 0 }
    }

    /// Whether a descriptor's number is one that select(2) can wait for.
    #[must_use]
    pub const fn takes(what: &Descriptor) -> bool {
        (what.number() as usize) < Self::END
    }

    /// Adds a descriptor under the number `token`, or changes it.
    ///
    /// # Errors
    /// `EINVAL` for a descriptor that is not below [`Select::END`].
    pub fn set(&mut self, what: &Descriptor, token: u64, wanted: Interest) -> Result<(), Failed> {
        if !Self::takes(what) {
            return Err(Failed { call: "select", errno: Errno(libc::EINVAL) });
        }
        let number = what.number() as usize;
        self.tokens[number] = token;
        self.reads.put(number, matches!(wanted, Interest::Read | Interest::Both));
        self.writes.put(number, matches!(wanted, Interest::Write | Interest::Both));
        Ok(())
    }

    /// Removes a descriptor; before it is closed, because the kernel refuses closed ones.
    pub fn remove(&mut self, what: &Descriptor) {
        if Self::takes(what) {
            self.reads.put(what.number() as usize, false);
            self.writes.put(what.number() as usize, false);
        }
    }

    /// Waits until something is ready, or `timeout_ms` is over (`None`: for ever); returns how
    /// many are told. A signal ends the wait early, with none.
    ///
    /// # Errors
    /// As select(2), but never `EINTR`.
    pub fn wait(&mut self, events: &mut Events, timeout_ms: Option<u32>) -> Result<usize, Failed> {
        let (mut reads, mut writes) = (self.reads, self.writes);
        let mut timeout = timeout_ms.map(|ms| libc::timeval {
            tv_sec: i64::from(ms / 1000),
            tv_usec: i64::from(ms % 1000 * 1000),
        });
        let until = timeout.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
        let (to_read, to_write) = ((&raw mut reads).cast(), (&raw mut writes).cast());
        // SAFETY: both sets have the form of an fd_set, and are live and exclusive like `until`.
        let count = unsafe { libc::select(self.end(), to_read, to_write, ptr::null_mut(), until) };
        events.clear();
        if super::poll::counted("select", count)? > 0 {
            self.tell(&reads, &writes, events);
        }
        Ok(events.count())
    }

    /// Tells who is ready, as many as there is room for. There is room for more than a word, so
    /// each wait gets beyond the word that the last one ended in.
    fn tell(&mut self, reads: &Bits, writes: &Bits, events: &mut Events) {
        for word in (self.first..WORDS).chain(0..self.first) {
            let mut left = reads.0[word] | writes.0[word];
            while left != 0 {
                let number = word * WORD_BITS + left.trailing_zeros() as usize;
                left &= left - 1;
                if !events.push(self.tokens[number], reads.has(number), writes.has(number)) {
                    self.first = word;
                    return;
                }
            }
        }
        self.first = 0;
    }

    /// One more than the highest descriptor that is waited for.
    fn end(&self) -> i32 {
        let word = (0..WORDS).rev().find(|&word| self.reads.0[word] | self.writes.0[word] != 0);
        word.map_or(0, |word| {
            let highest = (self.reads.0[word] | self.writes.0[word]).ilog2() as usize;
            (word * WORD_BITS + highest + 1) as i32
        })
    }
}

impl Default for Select {
    fn default() -> Self {
        Self::new()
    }
}

impl Bits {
    const fn has(&self, number: usize) -> bool {
        self.0[number / WORD_BITS] >> (number % WORD_BITS) & 1 != 0
    }

    const fn put(&mut self, number: usize, is_in: bool) {
        let bit = 1 << (number % WORD_BITS);
        if is_in {
            self.0[number / WORD_BITS] |= bit;
        } else {
            self.0[number / WORD_BITS] &= !bit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ready::{Event, Waker};

    extern crate std;
    use std::vec::Vec;

    #[test]
    fn tells_who_is_ready_and_nobody_else() {
        let (mut set, one, two) = (Select::new(), Waker::new().unwrap(), Waker::new().unwrap());
        set.set(one.descriptor(), 1, Interest::Read).unwrap();
        set.set(two.descriptor(), 2, Interest::Read).unwrap();
        let mut events = Events::new();
        assert_eq!(set.wait(&mut events, Some(0)), Ok(0));
        two.wake();
        assert_eq!(set.wait(&mut events, None), Ok(1));
        let told = Event { token: 2, is_readable: true, is_writable: false, is_ended: false };
        assert_eq!(events.iter().collect::<Vec<_>>(), [told]);
        set.remove(two.descriptor());
        assert_eq!(set.wait(&mut events, Some(0)), Ok(0));
    }

    #[test]
    fn a_change_of_interest_holds_from_the_next_wait() {
        let (mut set, one) = (Select::new(), Waker::new().unwrap());
        set.set(one.descriptor(), 1, Interest::None).unwrap();
        let mut events = Events::new();
        assert_eq!(set.wait(&mut events, Some(0)), Ok(0));
        set.set(one.descriptor(), 1, Interest::Both).unwrap();
        assert_eq!(set.wait(&mut events, None), Ok(1));
        assert!(events.iter().all(|event| event.is_writable && !event.is_readable));
    }

    #[test]
    fn more_than_one_wait_tells_are_told_by_the_next() {
        let mut set = Select::new();
        let wakers: Vec<_> = (0..300).map(|_| Waker::new().unwrap()).collect();
        for (index, waker) in wakers.iter().enumerate() {
            waker.wake();
            set.set(waker.descriptor(), index as u64, Interest::Read).unwrap();
        }
        let (mut events, mut told) = (Events::new(), [false; 300]);
        for _ in 0..wakers.len() {
            set.wait(&mut events, None).unwrap();
            events.iter().for_each(|event| told[event.token as usize] = true);
        }
        assert_eq!(told, [true; 300]);
    }
}
