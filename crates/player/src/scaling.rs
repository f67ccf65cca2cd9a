//! Scaling: what a free and an allocation cost as threads, or the payloads that live, become more.
//!
//! Every operation frees one of the thread's live payloads at random and asks for another of a
//! small size. What is alive and how much is done in all does not depend on the number of threads,
//! so that the only thing that grows is what is asked about.
//!
//! Promises: only the operations are timed, not the threads' begin and not the filling.
//! Knows nothing of who competes.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::workloads::{Measure, give_back, payload, small};

/// Numbers of threads to show: alone, as many as small machines have processors, more than those,
/// and as many as a server with a thread a client has.
pub(crate) const THREADS: [usize; 5] = [1, 2, 8, 64, 1000];

/// Numbers of live payloads to show: from what fits into the nearest cache to more than any cache.
pub(crate) const LIVE: [usize; 5] = [1_000, 10_000, 100_000, 1_000_000, 10_000_000];

/// Numbers of live payloads of 16 bytes to show, which fit by the hundred million.
pub(crate) const TINY: [usize; 6] = [1_000, 10_000, 100_000, 1_000_000, 10_000_000, TINY_MOST];

/// The largest of them.
pub const TINY_MOST: usize = 100_000_000;

/// What that needs with the most wasteful of mallocs: a word of the table, and a payload and 16
/// bytes beside it.
pub const TINY_MOST_BYTES: u64 = TINY_MOST as u64 * (8 + 32);

/// Operations in all: half a second or more.
const COUNT: usize = 4_000_000;

/// Payloads that live at a time in all threads together, where threads are counted.
const LIVE_OF_THREADS: usize = 64_000;

/// Nanoseconds of processor time an operation takes in `threads` threads.
pub(crate) fn in_threads(measure: Measure, threads: usize) -> f64 {
    let (live, count) = (LIVE_OF_THREADS / threads, measure.share(COUNT) / threads);
    let barrier = Barrier::new(threads);
    let work = |index| {
        let mut work = Work::new(measure, index, live);
        barrier.wait();
        let begin = Instant::now();
        work.replace(count);
        (begin, Instant::now())
    };
    let times: Vec<_> = thread::scope(|scope| {
        let work = &work;
        let all: Vec<_> = (0..threads).map(|index| scope.spawn(move || work(index))).collect();
        all.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let begin = times.iter().map(|(begin, _)| *begin).min();
    let end = times.iter().map(|(_, end)| *end).max();
    let elapsed = begin.zip(end).map_or(f64::NAN, |(begin, end)| (end - begin).as_secs_f64());
    let processors = thread::available_parallelism().map_or(1, usize::from).min(threads);
    elapsed * processors as f64 * 1e9 / (count * threads) as f64
}

/// Nanoseconds an operation takes while `live` payloads live.
pub(crate) fn with_live(measure: Measure, live: usize) -> f64 {
    let count = measure.share(COUNT);
    let mut work = Work::new(measure, 0, live);
    let begin = Instant::now();
    work.replace(count);
    begin.elapsed().as_secs_f64() * 1e9 / count as f64
}

/// Nanoseconds that a payload of 16 bytes takes while `live` of them are asked for, none freed; and
/// those that an operation takes while they live.
pub(crate) fn with_tiny(measure: Measure, live: usize) -> (f64, f64) {
    let (mut rng, count) = (measure.rng(0), measure.share(COUNT));
    let tiny = |turn: usize| black_box(Box::new([turn as u8; 16]));
    // The table's own pages are there before the clock runs.
    let mut all: Vec<Option<Box<[u8; 16]>>> = Vec::new();
    all.resize_with(live, || None);
    let begin = Instant::now();
    all.iter_mut().enumerate().for_each(|(turn, one)| *one = Some(tiny(turn)));
    let filled = Instant::now();
    let mut sum = 0;
    for turn in 0..count {
        let next = tiny(turn);
        let old = all[rng.usize(..live)].replace(next);
        sum += old.map_or(0, |old| u64::from(old[0]));
    }
    black_box(sum);
    let nanoseconds = |time: Duration, count: usize| time.as_secs_f64() * 1e9 / count as f64;
    (nanoseconds(filled - begin, live), nanoseconds(filled.elapsed(), count))
}

/// What one thread has.
struct Work {
    rng: fastrand::Rng,
    live: Vec<Vec<u8>>,
}

impl Work {
    fn new(measure: Measure, index: usize, live: usize) -> Work {
        let mut rng = measure.rng(index);
        let live = (0..live).map(|turn| payload(small(&mut rng), turn as u8)).collect();
        Work { rng, live }
    }

    fn replace(&mut self, count: usize) {
        let mut sum = 0;
        for turn in 0..count {
            let place = self.rng.usize(..self.live.len());
            let next = payload(small(&mut self.rng), turn as u8);
            sum += give_back(std::mem::replace(&mut self.live[place], next));
        }
        black_box(sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_takes_some_time() {
        let measure = Measure { seed: 1, part: 10_000 };
        for threads in [1, 8] {
            assert!(in_threads(measure, threads) > 0.0);
        }
        assert!(with_live(measure, 1000) > 0.0);
        let (fill, operation) = with_tiny(measure, 1000);
        assert!(fill > 0.0 && operation > 0.0);
    }
}
