//! How much happens in a second, as INFO tells it: measured once a second by who tidies.
//!
//! Promises: nobody who executes commands pays for it.

use std::sync::atomic::Ordering::Relaxed;

use crate::shared::{Count, Counts};

/// What is measured at once, at least, in milliseconds.
const SECOND_MS: u64 = 1000;

/// How much happens in a second.
#[derive(Debug)]
pub(crate) struct Rates {
    /// When was measured last, in unix milliseconds, and what was counted until then: commands,
    /// bytes that came, bytes that went.
    measured_ms: Count,
    before: [Count; 3],
    /// How many of each there were in a second then.
    pub(crate) a_second: [Count; 3],
}

impl Rates {
    pub(crate) fn new(now_ms: u64, mut word: impl FnMut() -> Count) -> Self {
        let [before, a_second] = [[(); 3]; 2].map(|three| three.map(|()| word()));
        let measured_ms = word();
        measured_ms.store(now_ms, Relaxed);
        Self { measured_ms, before, a_second }
    }

    /// Measures, if it is time to; only who tidies calls it.
    pub(crate) fn measure(&self, now_ms: u64, counts: impl FnOnce() -> Counts) {
        let past_ms = now_ms.saturating_sub(self.measured_ms.load(Relaxed));
        if past_ms < SECOND_MS {
            return;
        }
        self.measured_ms.store(now_ms, Relaxed);
        let counts = counts();
        let now = [counts.commands, counts.in_bytes, counts.out_bytes];
        for ((rate, before), now) in self.a_second.iter().zip(&self.before).zip(now) {
            let more = now.saturating_sub(before.swap(now, Relaxed));
            rate.store(more.saturating_mul(1000) / past_ms, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_what_was_counted_in_a_second() {
        let rates = Rates::new(10_000, Count::alone);
        let counts =
            |commands, in_bytes| move || Counts { commands, in_bytes, ..Counts::default() };
        let now = || [0, 1, 2].map(|which| rates.a_second[which].load(Relaxed));
        rates.measure(10_999, counts(500, 0));
        assert_eq!(now(), [0, 0, 0]);
        rates.measure(12_000, counts(500, 4000));
        assert_eq!(now(), [250, 2000, 0]);
        rates.measure(13_000, counts(500, 4001));
        assert_eq!(now(), [0, 1, 0]);
    }
}
