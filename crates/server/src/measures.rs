//! What commands took, how often they were asked, and which errors were answered.
//!
//! ```text
//!   words     errors, one a code | command | command | ...
//!   command   calls | took, ns | rejected | failed | how many took so long, BUCKETS of them
//! ```
//!
//! Promises: errors are always counted, where they are answered, which is never on a quick way.
//! Commands are measured only while `latency-tracking` is on, for it takes two looks at a clock
//! each; while it is off it costs nothing. All processes of a server count in the same words.
//! A bucket is at most one part in 64 wide, so a percentile is right to two digits.
//! Source: HdrHistogram's buckets (<https://hdrhistogram.org>), as Redis 7 has them in latency.c.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use morecore_sys::Failed;
use morecore_sys::process::SharedWords;
use morecore_wire::all_rows;

/// The codes of the errors that are answered to clients of RESP, the most usual first. One that is
/// not among them is counted as the first.
const CODES: [&str; 9] = [
    "ERR",
    "BUSYKEY",
    "EXECABORT",
    "NOAUTH",
    "NOPROTO",
    "OOM",
    "TRYAGAIN",
    "WRONGPASS",
    "WRONGTYPE",
];

/// Words of a command before its buckets.
const NUMBERS: usize = 4;

/// Times below this have a bucket each, and each power of two from there on as many together.
const STEPS: u64 = 64;

/// Powers of two that are told apart above `STEPS`: up to 137 s, and longer times count as that.
const POWERS: usize = 31;

const BUCKETS: usize = STEPS as usize * (1 + POWERS);

/// Percentiles that INFO tells at most.
pub(crate) const PERCENTILES_MOST: usize = 16;

/// The percentiles that it tells at first, as Redis.
const PERCENTILES: [f64; 3] = [50.0, 99.0, 99.9];

/// What was measured.
#[derive(Debug)]
pub(crate) struct Measures {
    words: SharedWords,
    /// The names of all commands, sorted.
    names: Box<[&'static str]>,
}

/// What was measured of one command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured<'a> {
    pub(crate) name: &'static str,
    words: &'a [AtomicU64],
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Done,
    /// It was executed, and its reply is an error.
    Failed,
}

impl Measures {
    pub(crate) fn new() -> Result<Self, Failed> {
        let mut names: Box<[&'static str]> = all_rows().map(|row| row.name).collect();
        names.sort_unstable();
        let count = CODES.len() + 1 + PERCENTILES_MOST + names.len() * (NUMBERS + BUCKETS);
        let measures = Self { words: SharedWords::new(count)?, names };
        measures.set_percentiles(&PERCENTILES);
        Ok(measures)
    }

    /// Counts an error that was answered.
    #[cold]
    pub(crate) fn error(&self, code: &str) {
        let index = CODES.iter().position(|known| *known == code).unwrap_or_default();
        self.words[index].fetch_add(1, Relaxed);
    }

    /// Counts a command that was executed.
    pub(crate) fn command(&self, name: &str, took: Duration, end: End) {
        let Some([calls, took_ns, _, failed, buckets @ ..]) = self.of(name) else { return };
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        calls.fetch_add(1, Relaxed);
        took_ns.fetch_add(ns, Relaxed);
        if end == End::Failed {
            failed.fetch_add(1, Relaxed);
        }
        buckets[bucket_of(ns)].fetch_add(1, Relaxed);
    }

    /// Counts a command that was not executed.
    pub(crate) fn rejected(&self, name: &str) {
        if let Some([_, _, rejected, ..]) = self.of(name) {
            rejected.fetch_add(1, Relaxed);
        }
    }

    /// Each code that was answered, and how often.
    pub(crate) fn errors(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.words[..CODES.len()].iter().map(|word| word.load(Relaxed));
        CODES.into_iter().zip(counts).filter(|(_, count)| *count > 0)
    }

    /// Every command that was asked.
    pub(crate) fn commands(&self) -> impl Iterator<Item = Measured<'_>> {
        self.names
            .iter()
            .filter_map(|name| Some(Measured { name, words: self.of(name)? }))
            .filter(|measured| measured.calls() > 0 || measured.rejected() > 0)
    }

    /// Has all counts begin anew. What is counted meanwhile may be lost, or stay.
    pub(crate) fn reset(&self) {
        let end = CODES.len();
        self.words[..end].iter().for_each(|word| word.store(0, Relaxed));
        let counted = self.commands().map(|measured| measured.words);
        counted.flatten().for_each(|word| {
            // Pages of which nothing is used stay as they are.
            if word.load(Relaxed) > 0 {
                word.store(0, Relaxed);
            }
        });
    }

    /// The percentiles that are told.
    pub(crate) fn percentiles(&self) -> Vec<f64> {
        let [count, bits @ ..] = &self.words[CODES.len()..][..=PERCENTILES_MOST] else {
            return Vec::new();
        };
        let bits = &bits[..(count.load(Relaxed) as usize).min(PERCENTILES_MOST)];
        bits.iter().map(|bits| f64::from_bits(bits.load(Relaxed))).collect()
    }

    /// Has these told, at most [`PERCENTILES_MOST`]. Who asks meanwhile may get some of both.
    pub(crate) fn set_percentiles(&self, percentiles: &[f64]) {
        let [count, bits @ ..] = &self.words[CODES.len()..][..=PERCENTILES_MOST] else { return };
        for (bits, percentile) in bits.iter().zip(percentiles) {
            bits.store(percentile.to_bits(), Relaxed);
        }
        count.store(percentiles.len().min(PERCENTILES_MOST) as u64, Relaxed);
    }

    fn of(&self, name: &str) -> Option<&[AtomicU64]> {
        let index = self.names.binary_search(&name).ok()?;
        let from = CODES.len() + 1 + PERCENTILES_MOST + index * (NUMBERS + BUCKETS);
        Some(&self.words[from..from + NUMBERS + BUCKETS])
    }
}

impl Measured<'_> {
    pub(crate) fn calls(&self) -> u64 {
        self.words[0].load(Relaxed)
    }

    pub(crate) fn took_ns(&self) -> u64 {
        self.words[1].load(Relaxed)
    }

    pub(crate) fn rejected(&self) -> u64 {
        self.words[2].load(Relaxed)
    }

    pub(crate) fn failed(&self) -> u64 {
        self.words[3].load(Relaxed)
    }

    /// The time that so many of a hundred calls did not take longer than, in nanoseconds.
    pub(crate) fn percentile_ns(&self, percentile: f64) -> u64 {
        let wanted = (self.calls() as f64 * percentile / 100.0).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.words[NUMBERS..].iter().enumerate() {
            seen += count.load(Relaxed);
            if seen >= wanted {
                return last_ns(index);
            }
        }
        // More is counted as called than as measured for a moment.
        last_ns(BUCKETS - 1)
    }

    /// How many calls took no longer than each power of two of 1024 ns, told in microseconds, where
    /// that differs from the one before.
    pub(crate) fn powers(&self) -> Vec<(u64, u64)> {
        let (mut powers, mut seen, mut told) = (Vec::new(), 0, 0);
        let mut end_ns = 1024;
        for (index, count) in self.words[NUMBERS..].iter().enumerate() {
            while first_ns(index) >= end_ns {
                if seen > told {
                    powers.push((end_ns / 1000, seen));
                    told = seen;
                }
                end_ns *= 2;
            }
            seen += count.load(Relaxed);
        }
        if seen > told {
            powers.push((end_ns / 1000, seen));
        }
        powers
    }
}

/// The bucket of a time.
fn bucket_of(ns: u64) -> usize {
    if ns < STEPS {
        return ns as usize;
    }
    let power = (ns.ilog2() - STEPS.ilog2()) as usize;
    if power >= POWERS {
        return BUCKETS - 1;
    }
    // The highest bit tells the power, and the six behind it the step.
    (1 + power) * STEPS as usize + ((ns >> power) - STEPS) as usize
}

/// The shortest time in a bucket.
fn first_ns(index: usize) -> u64 {
    let (power, step) = (index as u64 / STEPS, index as u64 % STEPS);
    if power == 0 { step } else { (STEPS + step) << (power - 1) }
}

/// The longest.
fn last_ns(index: usize) -> u64 {
    first_ns(index + 1) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_the_bucket_that_says_so() {
        let mut ns = 0_u64;
        while ns < 1 << 36 {
            let index = bucket_of(ns);
            assert!((first_ns(index)..=last_ns(index)).contains(&ns), "{ns} in {index}");
            assert!(last_ns(index) - first_ns(index) <= ns / STEPS, "{ns} in {index}");
            ns += 1 + ns / 97;
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn what_was_counted_is_told_until_it_begins_anew() {
        let measures = Measures::new().unwrap();
        assert_eq!(measures.commands().count(), 0);
        for us in 1..=100 {
            measures.command("get", Duration::from_micros(us), End::Done);
        }
        measures.command("config|set", Duration::from_secs(1000), End::Failed);
        measures.rejected("set");
        measures.rejected("no such command");
        let names: Vec<_> = measures.commands().map(|measured| measured.name).collect();
        assert_eq!(names, ["config|set", "get", "set"]);
        let [set, get, _] = measures.commands().collect::<Vec<_>>().try_into().unwrap();
        assert_eq!((get.calls(), get.took_ns(), get.rejected()), (100, 5_050_000, 0));
        assert_eq!((set.calls(), set.failed()), (1, 1));
        let near = |ns: u64, us: u64| ns >= us * 1000 && ns <= us * 1000 * 65 / 64;
        assert!(near(get.percentile_ns(50.0), 50), "{}", get.percentile_ns(50.0));
        assert!(near(get.percentile_ns(99.0), 99) && near(get.percentile_ns(100.0), 100));
        assert!(near(get.percentile_ns(0.0), 1));
        assert_eq!(
            get.powers(),
            [(1, 1), (2, 2), (4, 4), (8, 8), (16, 16), (32, 32), (65, 65), (131, 100)]
        );
        measures.error("OOM");
        measures.error("ANOTHER");
        assert_eq!(measures.errors().collect::<Vec<_>>(), [("ERR", 1), ("OOM", 1)]);
        measures.reset();
        assert_eq!((measures.commands().count(), measures.errors().count()), (0, 0));
    }

    #[test]
    fn percentiles_are_those_that_were_set() {
        let measures = Measures::new().unwrap();
        assert_eq!(measures.percentiles(), PERCENTILES);
        measures.set_percentiles(&[0.0, 100.0]);
        assert_eq!(measures.percentiles(), [0.0, 100.0]);
        measures.set_percentiles(&[]);
        assert_eq!(measures.percentiles(), [0.0; 0]);
    }
}
