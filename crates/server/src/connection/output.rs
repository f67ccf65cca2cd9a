//! What is to be sent to one client: bytes, and between them values that are sent from where they
//! stand in the store.
//!
//! ```text
//!   bytes    +OK\r\n$102400\r\n | \r\n$102400\r\n | \r\n:7\r\n
//!                               ^                 ^
//!   leased            102400 bytes       102400 bytes        each behind the bytes before `at`
//! ```
//!
//! Promises: a lease lives no longer than the turn that took it: what the socket does not take is
//! copied ([`Output::keep`]). So a client that reads slowly, or not at all, pins nothing of the
//! store, and what waits for it is counted as before.
//! Knows nothing of replies.

use morecore_store::Lease;
use morecore_sys::socket::PIECES_MOST;

use crate::desk::Spares;

/// What is to be sent.
#[derive(Debug, Default)]
pub(super) struct Output {
    /// Replies, but for leased values.
    pub(super) bytes: Vec<u8>,
    /// Those before it are gone.
    sent: usize,
    leased: Vec<Leased>,
    /// How many bytes of leased values are to be sent yet.
    leased_bytes: usize,
}

/// A value that is sent from where it stands.
#[derive(Debug)]
pub(crate) struct Leased {
    /// How many of the bytes come before it.
    at: usize,
    value: Lease,
    /// How much of it is gone.
    sent: usize,
}

/// A lease that a reply has in it, and where among the bytes of the output.
pub(crate) type Lent = (usize, Lease);

impl Output {
    pub(super) const fn has_no_buffer(&self) -> bool {
        self.bytes.capacity() == 0
    }

    /// Gets what replies are collected in.
    pub(super) fn borrow(&mut self, spares: &mut Spares) {
        self.bytes = spares.lend_output();
        self.leased = std::mem::take(&mut spares.leased);
    }

    /// Gives it back, when nothing in it is to be sent.
    pub(super) fn give_back(&mut self, spares: &mut Spares) {
        self.clear();
        spares.take_back_output(std::mem::take(&mut self.bytes));
        if self.leased.capacity() > 0 {
            spares.leased = std::mem::take(&mut self.leased);
        }
    }

    /// How much is to be sent.
    pub(super) const fn len(&self) -> usize {
        self.bytes.len() - self.sent + self.leased_bytes
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.sent == self.bytes.len() && self.leased_bytes == 0
    }

    /// How much was appended since there were so many bytes, with nothing leased.
    pub(super) const fn appended(&self, before: usize) -> usize {
        self.bytes.len() - before + self.leased_bytes
    }

    /// Takes the values that belong into what was appended.
    pub(super) fn take_lent(&mut self, lent: &mut Vec<Lent>) {
        for (at, value) in lent.drain(..) {
            self.leased_bytes += value.len();
            self.leased.push(Leased { at, value, sent: 0 });
        }
    }

    /// Calls `send` with what is to be sent, in pieces: all of it, if they are not too many.
    #[inline]
    pub(super) fn send<R>(&self, send: impl FnOnce(&[&[u8]]) -> R) -> R {
        if self.leased.is_empty() {
            return send(&[&self.bytes[self.sent..]]);
        }
        let (mut pieces, mut count, mut from) = ([&[][..]; PIECES_MOST], 0, self.sent);
        // A value and what stands before it take two places, and the end one.
        for Leased { at, value, sent } in self.leased.iter().take(PIECES_MOST / 2) {
            pieces[count] = &self.bytes[from..*at];
            pieces[count + 1] = &value[*sent..];
            (count, from) = (count + 2, *at);
        }
        if self.leased.len() <= PIECES_MOST / 2 {
            pieces[count] = &self.bytes[from..];
            count += 1;
        }
        send(&pieces[..count])
    }

    /// What is to be sent, if it is all in one piece.
    pub(super) fn whole(&self) -> Option<&[u8]> {
        self.leased.is_empty().then(|| &self.bytes[self.sent..])
    }

    /// Takes note that so many bytes of it were sent.
    #[inline]
    pub(super) fn take_away(&mut self, mut count: usize) {
        if !self.leased.is_empty() {
            count = self.take_leased_away(count);
        }
        self.sent += count;
    }

    /// The same for what stands before the last leased value, and it; returns what is left.
    fn take_leased_away(&mut self, mut count: usize) -> usize {
        let mut done = 0;
        for Leased { at, value, sent } in &mut self.leased {
            let before = count.min(*at - self.sent);
            self.sent += before;
            let of_value = (count - before).min(value.len() - *sent);
            *sent += of_value;
            self.leased_bytes -= of_value;
            count -= before + of_value;
            if *sent < value.len() {
                break;
            }
            done += 1;
        }
        self.leased.drain(..done);
        if self.leased.is_empty() { count } else { 0 }
    }

    /// Copies what is leased: it is not known when the rest will be sent. Returns whether anything
    /// was.
    #[inline]
    pub(super) fn keep(&mut self) -> bool {
        let is_leased = !self.leased.is_empty();
        if is_leased {
            self.copy_leased();
        }
        is_leased
    }

    #[cold]
    fn copy_leased(&mut self) {
        let mut copied = Vec::with_capacity(self.len());
        self.send_all(|piece| copied.extend_from_slice(piece));
        self.clear();
        self.bytes = copied;
    }

    /// Calls `each` with every piece.
    fn send_all(&self, mut each: impl FnMut(&[u8])) {
        let mut from = self.sent;
        for Leased { at, value, sent } in &self.leased {
            each(&self.bytes[from..*at]);
            each(&value[*sent..]);
            from = *at;
        }
        each(&self.bytes[from..]);
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.leased.clear();
        (self.sent, self.leased_bytes) = (0, 0);
    }

    /// Forgets the bytes that are gone. Each byte moves at most once for each that was sent,
    /// because only a part that is smaller than the sent one moves.
    pub(super) fn forget_sent(&mut self) {
        self.keep();
        if self.sent > self.bytes.len() / 2 {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use morecore_store::{Create, Set, Store};

    use super::*;

    /// An output with values between its bytes, and what it comes to.
    fn example(values: usize) -> (Output, Vec<u8>) {
        let create = Create { memory_bytes: 8 << 20, ..Create::default() };
        let mut store = Store::anonymous(&create).unwrap();
        let (mut output, mut whole, mut lent) = (Output::default(), Vec::new(), Vec::new());
        for number in 0..values as u8 {
            let (before, value) = (vec![number; usize::from(number) % 3], vec![b'v'; 100]);
            output.bytes.extend_from_slice(&before);
            store.set(&[number], &value, &Set::default()).unwrap();
            lent.push((output.bytes.len(), store.lease(&[number]).unwrap().unwrap()));
            whole.extend([before, value].concat());
        }
        output.take_lent(&mut lent);
        output.bytes.extend_from_slice(b"end");
        whole.extend_from_slice(b"end");
        (output, whole)
    }

    /// Takes it in steps of so many bytes; after some it is kept.
    fn check(values: usize, step: usize, kept_after: usize) {
        let (mut output, whole) = example(values);
        let mut found = Vec::new();
        for steps in 0.. {
            assert_eq!(output.len(), whole.len() - found.len());
            if output.is_empty() {
                break;
            }
            if steps == kept_after {
                output.keep();
                output.forget_sent();
                assert_eq!(output.whole(), Some(&whole[found.len()..]));
            }
            let mut offered = output.send(|pieces| pieces.concat());
            assert!(!offered.is_empty());
            offered.truncate(step);
            output.take_away(offered.len());
            found.extend(offered);
        }
        assert_eq!(found, whole, "{values} values, {step} bytes at a time");
    }

    #[test]
    fn all_of_it_is_sent_whatever_is_taken_at_once() {
        for values in [0, 1, 2, PIECES_MOST / 2, PIECES_MOST / 2 + 1, 40] {
            for step in [1, 7, 100, 101, 1000, usize::MAX] {
                check(values, step, usize::MAX);
            }
        }
    }

    #[test]
    fn what_is_kept_is_what_was_left() {
        for kept_after in 0..12 {
            check(5, 53, kept_after);
        }
        check(1, 50, 0);
    }
}
