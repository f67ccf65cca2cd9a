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
use std::time::Instant;

use super::workloads::{Measure, give_back, payload, small};

/// Numbers of threads to show: alone, as many as small machines have processors, more than those,
/// and as many as a server with a thread a client has.
pub(crate) const THREADS: [usize; 5] = [1, 2, 8, 64, 1000];

/// Numbers of live payloads to show: from what fits into the nearest cache to more than any cache.
pub(crate) const LIVE: [usize; 5] = [1_000, 10_000, 100_000, 1_000_000, 10_000_000];

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
    }
}
