//! A histogram of times: how long did the slowest hundredth take?
//!
//! ```text
//! time   0 ..... 64 ..... 128 ......... 256 .............. 512     ns
//! cells  one a ns | 64 of 1 ns | 64 of 2 ns  | 64 of 4 ns | ...    64 a power of two
//! ```
//!
//! Promises: a time is known to 1/64 of itself; recording one costs a few nanoseconds and allocates
//! nothing.
//! Source: the idea of HdrHistogram (G. Tene).

use std::time::Duration;

/// Cells for each power of two: a time is known to 1.6 %, which is less than it varies.
const CELLS: u64 = 64;

/// The cells of times up to 2^40 ns, eighteen minutes: no bench runs so long.
const ALL_CELLS: usize = (CELLS * 36) as usize;

/// Counts of times.
pub(super) struct Histogram {
    counts: Vec<u32>,
    count: u64,
}

impl Histogram {
    /// Nothing recorded yet.
    pub(super) fn new() -> Histogram {
        Histogram { counts: vec![0; ALL_CELLS], count: 0 }
    }

    /// Records `time`, as often as `times` says.
    pub(super) fn record(&mut self, time: Duration, times: u64) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let cell = cell(ns).min(ALL_CELLS - 1);
        self.counts[cell] =
            self.counts[cell].saturating_add(u32::try_from(times).unwrap_or(u32::MAX));
        self.count += times;
    }

    /// The nanoseconds that `share` of all times do not exceed; 0 if there are none.
    pub(super) fn quantile_ns(&self, share: f64) -> u64 {
        let wanted = (self.count as f64 * share).ceil() as u64;
        let mut passed = 0;
        for (cell, count) in self.counts.iter().enumerate() {
            passed += u64::from(*count);
            if passed >= wanted && passed > 0 {
                return most_of(cell);
            }
        }
        0
    }
}

/// The cell of a time.
fn cell(ns: u64) -> usize {
    if ns < CELLS {
        return ns as usize;
    }
    let shift = u64::from(ns.ilog2() - CELLS.ilog2());
    ((shift + 1) * CELLS + (ns >> shift) - CELLS) as usize
}

/// The longest time of a cell.
fn most_of(cell: usize) -> u64 {
    let cell = cell as u64;
    if cell < CELLS {
        return cell;
    }
    let shift = cell / CELLS - 1;
    ((cell % CELLS + CELLS + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_lies_in_its_cell() {
        for ns in [0, 1, 63, 64, 65, 127, 128, 129, 1000, 123_456, 1 << 39] {
            let most = most_of(cell(ns));
            assert!(most >= ns && most - ns <= ns / 64, "{ns} in a cell up to {most}");
        }
        for other in 1..ALL_CELLS {
            assert_eq!(cell(most_of(other - 1) + 1), other);
        }
    }

    #[test]
    fn quantiles_are_of_what_was_recorded() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.quantile_ns(0.5), 0);
        for ns in 1..=50 {
            histogram.record(Duration::from_nanos(ns), 2);
        }
        assert_eq!(histogram.quantile_ns(0.5), 25);
        assert_eq!(histogram.quantile_ns(0.99), 50);
        assert_eq!(histogram.quantile_ns(0.01), 1);
    }
}
