//! Traces: what a program asks of an allocator, in order.
//!
//! The one here is made up, from a seed, in the shape that real programs have: most payloads are
//! small and die young, some live for the length of a phase, few live on; and a phase ends by
//! dropping most of what it made, at once and in no order. The survivors are what fragments a heap.
//!
//! Source: the shape, P. R. Wilson et al., Dynamic Storage Allocation: A Survey and Critical
//! Review, 1995, sections 2.4 ("ramps, peaks, plateaus") and 3.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use fastrand::Rng;

/// One call. Payloads are numbered from 0 in the order in which they are allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// Asks for this many bytes.
    Allocate {
        /// The payload's number.
        payload: u32,
        /// The bytes asked for.
        bytes: u32,
    },
    /// Gives a payload back.
    Free {
        /// The payload's number.
        payload: u32,
    },
    /// Asks for another size.
    Resize {
        /// The payload's number.
        payload: u32,
        /// The bytes asked for.
        bytes: u32,
    },
}

/// The phases of the made-up program: enough for the survivors of one to be in the way of the next.
const PHASES: u32 = 8;

/// Of a hundred payloads: those that die within [`YOUNG_CALLS`] calls, and those that live about as
/// long as their phase. The rest may live on.
const YOUNG: u32 = 80;
const OF_PHASE: u32 = 17;

/// How long the young live, in calls, at most.
const YOUNG_CALLS: u64 = 400;

/// One payload in so many grows once in its life, as a string or a table does.
const GROWS: u32 = 12;

/// Of what may live on, a hundredth part that does, at the end of a phase.
const SURVIVES: u32 = 35;

/// Makes about `calls` calls up; the same seed makes the same ones. What is left is freed at the
/// end.
pub(crate) fn made_up(calls: u32, seed: u64) -> Vec<Call> {
    let mut maker = Maker { rng: Rng::with_seed(seed), ..Maker::default() };
    for _ in 0..PHASES {
        maker.phase(calls / PHASES);
    }
    maker.drop_until(u64::MAX);
    maker.rng.shuffle(&mut maker.lasting);
    for payload in std::mem::take(&mut maker.lasting) {
        maker.calls.push(Call::Free { payload });
    }
    maker.calls
}

/// The program that is made up.
#[derive(Default)]
struct Maker {
    rng: Rng,
    calls: Vec<Call>,
    allocated: u32,
    /// Payloads with a time to die, the next first.
    mortal: BinaryHeap<Reverse<(u64, u32)>>,
    /// Payloads without one.
    lasting: Vec<u32>,
}

impl Maker {
    /// A ramp up, and at its end a fall.
    fn phase(&mut self, calls: u32) {
        let end = self.calls.len() + calls as usize;
        // Each phase has a size that it likes, as programs do with their own structures.
        let favourite = self.log_uniform(48, 2048);
        while self.calls.len() < end {
            self.drop_until(self.calls.len() as u64);
            self.allocate(favourite, end as u64);
        }
        self.rng.shuffle(&mut self.lasting);
        let kept = self.lasting.len() * SURVIVES as usize / 100;
        for payload in self.lasting.split_off(kept) {
            self.calls.push(Call::Free { payload });
        }
    }

    /// One payload, with a size and a time to live; and for some a growth.
    fn allocate(&mut self, favourite: u32, phase_end: u64) {
        let payload = self.allocated;
        self.allocated += 1;
        let kind = self.rng.u32(0..100);
        let bytes = match kind {
            ..YOUNG => self.log_uniform(16, 1024),
            _ if self.rng.bool() => favourite,
            // The largest is rare: a buffer, a table that grew.
            _ if self.rng.u32(0..40) == 0 => self.log_uniform(16 << 10, 256 << 10),
            _ => self.log_uniform(32, 16 << 10),
        };
        self.calls.push(Call::Allocate { payload, bytes });
        if self.rng.u32(0..GROWS) == 0 {
            let bytes = bytes + bytes / 2 + 16;
            self.calls.push(Call::Resize { payload, bytes });
        }
        let now = self.calls.len() as u64;
        match kind {
            ..YOUNG => self.mortal.push(Reverse((now + self.rng.u64(1..YOUNG_CALLS), payload))),
            _ if kind < YOUNG + OF_PHASE => {
                let last = phase_end.max(now + 1);
                self.mortal.push(Reverse((self.rng.u64(now..=last), payload)));
            }
            _ => self.lasting.push(payload),
        }
    }

    /// Frees what was to die before `now`.
    fn drop_until(&mut self, now: u64) {
        while let Some(Reverse((end, payload))) = self.mortal.peek().copied() {
            if end > now {
                return;
            }
            self.mortal.pop();
            self.calls.push(Call::Free { payload });
        }
    }

    /// A size between `least` and `most`, each doubling as likely as any other.
    fn log_uniform(&mut self, least: u32, most: u32) -> u32 {
        let exponent =
            f64::from(least).ln() + self.rng.f64() * (f64::from(most).ln() - f64::from(least).ln());
        // Most sizes are those of structures: whole words.
        (exponent.exp() as u32).next_multiple_of(8).clamp(least, most)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_trace_makes_sense() {
        let mut live = BTreeSet::new();
        let calls = made_up(20_000, 7);
        for call in &calls {
            match call {
                Call::Allocate { payload, bytes } => {
                    assert!(*bytes > 0);
                    assert!(live.insert(*payload));
                }
                Call::Free { payload } => assert!(live.remove(payload)),
                Call::Resize { payload, .. } => assert!(live.contains(payload)),
            }
        }
        assert!(live.is_empty(), "{} are never freed", live.len());
        assert!(calls.len() >= 20_000);
    }

    #[test]
    fn a_seed_is_a_trace() {
        assert_eq!(made_up(1000, 7), made_up(1000, 7));
        assert_ne!(made_up(1000, 7), made_up(1000, 8));
    }
}
