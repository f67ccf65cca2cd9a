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
    /// The values between them; what was borrowed for some that may come is empty.
    leased: Option<Box<Leases>>,
}

/// Leased values, in the order in which they are sent.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    values: Vec<Leased>,
    /// How many bytes of them are to be sent yet.
    bytes: usize,
}

/// A value that is sent from where it stands.
#[derive(Debug)]
struct Leased {
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
        self.leased = spares.leased.take();
    }

    /// Gives it back, when nothing in it is to be sent.
    pub(super) fn give_back(&mut self, spares: &mut Spares) {
        self.clear();
        spares.take_back_output(std::mem::take(&mut self.bytes));
        if self.leased.is_some() {
            spares.leased = self.leased.take();
        }
    }

    /// Gives back what no value was leased for, so that the next who leases one has it while these
    /// replies wait for the end of the turn.
    pub(super) fn give_back_leases(&mut self, spares: &mut Spares) {
        if let Some(leased) = self.leased.take_if(|leased| leased.values.is_empty()) {
            spares.leased = Some(leased);
        }
    }

    /// How much is to be sent.
    pub(super) const fn len(&self) -> usize {
        self.bytes.len() - self.sent + self.leased_bytes()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.sent == self.bytes.len() && self.leased_bytes() == 0
    }

    /// How much was appended since there were so many bytes, with nothing leased.
    pub(super) const fn appended(&self, before: usize) -> usize {
        self.bytes.len() - before + self.leased_bytes()
    }

    const fn leased_bytes(&self) -> usize {
        match &self.leased {
            Some(leased) => leased.bytes,
            None => 0,
        }
    }

    /// The values that are not gone.
    fn values(&self) -> &[Leased] {
        self.leased.as_ref().map_or(&[], |leased| &leased.values)
    }

    /// Takes the values that belong into what was appended.
    pub(super) fn take_lent(&mut self, lent: &mut Vec<Lent>) {
        let leased = self.leased.get_or_insert_default();
        for (at, value) in lent.drain(..) {
            leased.bytes += value.len();
            leased.values.push(Leased { at, value, sent: 0 });
        }
    }

    /// Calls `send` with what is to be sent, in pieces: all of it, if they are not too many.
    #[inline]
    pub(super) fn send<R>(&self, send: impl FnOnce(&[&[u8]]) -> R) -> R {
        let values = self.values();
        if values.is_empty() {
            return send(&[&self.bytes[self.sent..]]);
        }
        let (mut pieces, mut count, mut from) = ([&[][..]; PIECES_MOST], 0, self.sent);
        // A value and what stands before it take two places, and the end one.
        for Leased { at, value, sent } in values.iter().take(PIECES_MOST / 2) {
            pieces[count] = &self.bytes[from..*at];
            pieces[count + 1] = &value[*sent..];
            (count, from) = (count + 2, *at);
        }
        if values.len() <= PIECES_MOST / 2 {
            pieces[count] = &self.bytes[from..];
            count += 1;
        }
        send(&pieces[..count])
    }

    /// What is to be sent, if it is all in one piece.
    pub(super) fn whole(&self) -> Option<&[u8]> {
        self.values().is_empty().then(|| &self.bytes[self.sent..])
    }

    /// Takes note that so many bytes of it were sent.
    #[inline]
    pub(super) fn take_away(&mut self, mut count: usize) {
        if let Some(leased) = &mut self.leased
            && !leased.values.is_empty()
        {
            count = leased.take_away(count, &mut self.sent);
        }
        self.sent += count;
    }

    /// Copies what is leased: it is not known when the rest will be sent. Returns whether anything
    /// was.
    #[inline]
    pub(super) fn keep(&mut self) -> bool {
        let is_leased = !self.values().is_empty();
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
        for Leased { at, value, sent } in self.values() {
            each(&self.bytes[from..*at]);
            each(&value[*sent..]);
            from = *at;
        }
        each(&self.bytes[from..]);
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.sent = 0;
        if let Some(leased) = &mut self.leased {
            leased.values.clear();
            leased.bytes = 0;
        }
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

impl Leases {
    /// Takes note that of the values, and of the bytes before the last of them, `count` were sent;
    /// of the bytes `before` were already. Returns what is left of `count`.
    fn take_away(&mut self, mut count: usize, before: &mut usize) -> usize {
        let mut done = 0;
        for Leased { at, value, sent } in &mut self.values {
            let of_bytes = count.min(*at - *before);
            *before += of_bytes;
            let of_value = (count - of_bytes).min(value.len() - *sent);
            *sent += of_value;
            self.bytes -= of_value;
            count -= of_bytes + of_value;
            if *sent < value.len() {
                break;
            }
            done += 1;
        }
        self.values.drain(..done);
        if self.values.is_empty() { count } else { 0 }
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
    fn room_for_leases_goes_to_who_needs_it() {
        let mut spares = Spares::default();
        example(1).0.give_back(&mut spares);
        let (mut plain, mut leasing) = (Output::default(), Output::default());
        plain.borrow(&mut spares);
        plain.bytes.extend_from_slice(b"+OK\r\n");
        plain.give_back_leases(&mut spares);
        leasing.borrow(&mut spares);
        assert!(
            plain.leased.is_none()
                && leasing.leased.is_some_and(|leased| leased.values.capacity() > 0)
        );
    }

    #[test]
    fn what_is_kept_is_what_was_left() {
        for kept_after in 0..12 {
            check(5, 53, kept_after);
        }
        check(1, 50, 0);
    }
}
