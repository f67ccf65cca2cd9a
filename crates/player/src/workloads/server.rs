//! A server: payloads of random sizes live for random times, and longer than their threads: each
//! thread works for a while and leaves all that lives to its successor.
//!
//! Asks: what becomes of a thread's memory when it ends, and who reuses it? Like `larson`.

use super::{Measure, Payload, give_back, in_threads, payload};

/// Who serves at once: twice the processors of a small machine.
const THREADS: usize = 4;

/// Payloads that live at a time, in each line of threads.
const LIVE: usize = 5_000;

/// Threads that follow one another in a line.
const SUCCESSORS: usize = 30;

/// Payloads that each of them makes.
const COUNT: usize = 80_000;

/// Requests and replies: from a few words to a kilobyte.
const LEAST: usize = 10;
const MOST: usize = 1000;

pub(super) fn play(measure: Measure) -> u64 {
    in_threads(THREADS, |line| {
        let mut live: Vec<_> = (0..LIVE).map(|_| payload(LEAST, 1)).collect();
        let mut sum = 0;
        for successor in 0..SUCCESSORS {
            sum += in_threads_of_one(|| serve(measure, line * SUCCESSORS + successor, &mut live));
        }
        sum + live.into_iter().map(give_back).sum::<u64>()
    })
}

/// Does `work` in a thread of its own and waits for it.
fn in_threads_of_one(work: impl FnOnce() -> u64 + Send) -> u64 {
    std::thread::scope(|scope| scope.spawn(work).join()).unwrap_or(0)
}

/// What one thread does in its life.
fn serve(measure: Measure, index: usize, live: &mut [Payload]) -> u64 {
    let mut rng = measure.rng(index);
    let mut sum = 0;
    for turn in 0..measure.share(COUNT) {
        let place = rng.usize(..live.len());
        let next = payload(rng.usize(LEAST..=MOST), turn as u8);
        sum += give_back(std::mem::replace(&mut live[place], next));
    }
    sum
}
