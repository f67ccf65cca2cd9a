//! Rounds: every contestant measured in turn, again and again, and what their numbers say.
//!
//! ```text
//! round 0 (warm-up, thrown away)   a b c
//! round 1                          a b c        what disturbs a machine for a while
//! round 2                          b c a        disturbs all contestants alike
//! round 3                          c a b
//! ```
//!
//! Promises: a contestant's n-th sample was taken in the same round as every other's n-th, so two
//! of them may be compared pair by pair; the one that begins changes from round to round.
//!
//! Knows nothing of what is measured.
//! Source: T. Kalibera and R. Jones, "Rigorous Benchmarking in Reasonable Time", ISMM 2013.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;
use serde_json::{Value, json};

use crate::failure::Failure;

/// A middle needs three numbers, and five keep one disturbed round at either end away from it.
const ROUNDS: u32 = 5;

/// With `--quick`: enough to see that it works, and which way it leans.
const QUICK_ROUNDS: u32 = 1;

/// How much is measured.
#[derive(clap::Args, Clone, Copy)]
pub(crate) struct Effort {
    /// How often each contestant is measured, after one round of warming up [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Little work and one round, in seconds: to see that it works, not how fast
    #[arg(long)]
    pub(crate) quick: bool,
}

impl Effort {
    /// Rounds that count.
    pub(crate) fn rounds(self) -> u32 {
        self.rounds.unwrap_or(if self.quick { QUICK_ROUNDS } else { ROUNDS })
    }

    /// Rounds that are thrown away: a quick look is not worth one.
    fn warm_ups(self) -> u32 {
        u32::from(!self.quick)
    }
}

/// Measures each contestant once a round; gives the samples of each, in the contestants' order.
///
/// # Errors
/// - A measurement failed; the others are not begun.
pub(crate) fn interleave<C, S>(
    contestants: &[C],
    effort: Effort,
    mut measure: impl FnMut(&C) -> Result<S, Failure>,
) -> Result<Vec<Vec<S>>, Failure> {
    let mut samples: Vec<Vec<S>> = contestants.iter().map(|_| Vec::new()).collect();
    let first = effort.warm_ups() as usize;
    for round in 0..first + effort.rounds() as usize {
        for turn in 0..contestants.len() {
            let index = (round + turn) % contestants.len();
            let sample = measure(&contestants[index])?;
            if round >= first {
                samples[index].push(sample);
            }
        }
    }
    Ok(samples)
}

/// Many samples of one quantity: their middle, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// The one in the middle; between two, half way.
    pub(crate) median: f64,
    /// The least of all.
    pub(crate) least: f64,
    /// The most of all.
    pub(crate) most: f64,
}

impl Spread {
    /// The spread of `samples`; not a number if there are none.
    pub(crate) fn of(samples: impl IntoIterator<Item = f64>) -> Spread {
        let mut sorted: Vec<f64> = samples.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (Some(&least), Some(&most)) = (sorted.first(), sorted.last()) else {
            return Spread { median: f64::NAN, least: f64::NAN, most: f64::NAN };
        };
        let (below, above) = ((sorted.len() - 1) / 2, sorted.len() / 2);
        Spread { median: f64::midpoint(sorted[below], sorted[above]), least, most }
    }

    /// How many times theirs `ours` is, round by round: what slows a whole round slows both of its
    /// numbers and leaves their ratio alone.
    pub(crate) fn of_ratios(ours: &[f64], theirs: &[f64]) -> Spread {
        Spread::of(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs))
    }

    /// As a JSON object.
    pub(crate) fn to_json(self) -> Value {
        json!({ "median": self.median, "min": self.least, "max": self.most })
    }
}

/// The geometric mean: of ratios, the one that does not depend on which side is the unit.
pub(crate) fn geometric_mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (mut count, mut sum) = (0u32, 0.0);
    for value in values {
        count += 1;
        sum += value.ln();
    }
    (sum / f64::from(count)).exp()
}

/// What is being done, on one line of standard error that is written over again and again; nothing
/// where no person looks on.
pub(crate) struct Progress {
    is_shown: bool,
}

/// Back to the begin of the line, and away with what stands there.
const WIPE: &str = "\r\x1b[K";

impl Progress {
    /// A line, if standard error is a terminal.
    pub(crate) fn new() -> Progress {
        Progress { is_shown: io::stderr().is_terminal() }
    }

    /// Says what is being done now.
    pub(crate) fn say(&self, words: impl fmt::Display) {
        if self.is_shown {
            // A standard error that is gone is no reason to stop measuring.
            let _ = write!(io::stderr(), "{WIPE}{words}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.say("");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effort(rounds: u32) -> Effort {
        Effort { rounds: Some(rounds), quick: false }
    }

    #[test]
    fn contestants_take_turns_and_the_first_round_is_thrown_away() {
        let mut order = String::new();
        let samples = interleave(&['a', 'b', 'c'], effort(2), |&name| {
            order.push(name);
            Ok(order.len())
        });
        assert_eq!(order, "abcbcacab");
        assert_eq!(samples.unwrap(), [[6, 8], [4, 9], [5, 7]]);
    }

    #[test]
    fn a_failure_ends_it() {
        let samples = interleave(&[1, 2], effort(1), |&number| match number {
            1 => Ok(()),
            _ => Err(Failure::new("no")),
        });
        assert_eq!(samples.unwrap_err().sentence(), Some("no"));
    }

    #[test]
    fn a_spread_has_a_middle_and_two_ends() {
        let spread = |samples: &[f64]| {
            let Spread { median, least, most } = Spread::of(samples.iter().copied());
            [median, least, most]
        };
        assert_eq!(spread(&[3.0, 9.0, 1.0]), [3.0, 1.0, 9.0]);
        assert_eq!(spread(&[4.0, 2.0]), [3.0, 2.0, 4.0]);
        assert!(spread(&[])[0].is_nan());
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let spread = Spread::of_ratios(&[1.0, 20.0, 3.0], &[2.0, 40.0, 3.0]);
        assert_eq!(spread, Spread { median: 0.5, least: 0.5, most: 1.0 });
    }

    #[test]
    fn a_geometric_mean_is_the_same_from_either_side() {
        let mean = geometric_mean([2.0, 8.0]);
        assert!((mean - 4.0).abs() < 1e-12);
        assert!((geometric_mean([0.5, 0.125]) * mean - 1.0).abs() < 1e-12);
    }
}
