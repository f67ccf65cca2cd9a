//! Workloads: small programs that ask a malloc for one kind of thing, as much of it as half a
//! second takes.
//!
//! They call the allocator as any Rust program does: `Vec`, `Box` and `String` end in the C names
//! malloc, calloc, realloc, posix_memalign and free, which a preloaded library replaces. What is
//! written into a payload is read again before it is freed, and their sum is the outcome.
//!
//! Promises: the outcome depends on the seed and the part alone, not on the malloc and not on how
//! threads take turns.
//!
//! Knows nothing of clocks and of who competes.
//! Source: the ideas of the suite mimalloc-bench (D. Leijen), whose programs are named beside ours.

mod aging;
mod aligned;
mod batches;
mod churn;
mod exchange;
mod grow;
mod large;
mod pairs;
mod server;
mod sharing;
mod strings;
mod trees;
mod turnover;
mod zeroed;

use std::hint::black_box;
use std::thread;

use fastrand::Rng;

/// One workload.
pub struct Workload {
    /// What it is called; a number at the end counts its threads.
    pub name: &'static str,
    /// What it asks of a malloc.
    pub about: &'static str,
    play: fn(Measure) -> u64,
}

/// How much of a workload is played, and from what.
#[derive(Clone, Copy)]
pub struct Measure {
    /// What everything random is made from.
    pub seed: u64,
    /// Of all that is done many times, this part is done: 1 is everything, 10 a tenth.
    pub part: u32,
}

/// All workloads, from the simple to the involved.
pub const WORKLOADS: [Workload; 21] = [
    of("pairs-1", "a payload is freed before the next but few is asked for", pairs::one),
    of("pairs-2", "the same in two threads", pairs::two),
    of("churn-1", "small payloads live for random times", churn::one),
    of("churn-2", "the same in two threads", churn::two),
    of("churn-8", "the same in eight threads", churn::eight),
    of("batches", "thousands at once, freed in order, backwards and shuffled", batches::play),
    of("exchange-2", "one thread asks, another frees", exchange::two),
    of("exchange-8", "eight threads free what their neighbours asked for", exchange::eight),
    of("server", "random lives that outlast the threads that began them", server::play),
    of("turnover", "thousands of short threads", turnover::play),
    of("medium", "1 to 64 KiB live for random times", large::medium),
    of("large", "64 KiB to 8 MiB live for random times", large::large),
    of("grow", "vectors grow by realloc, one beside the other", grow::many),
    of("grow-large", "one vector grows to 256 MiB", grow::one),
    of("strings", "an index of words: strings, hash tables, ordered maps", strings::play),
    of("trees", "binary trees are built, walked and dropped", trees::play),
    of("aligned", "payloads on 64 bytes and on 4 KiB", aligned::play),
    of("zeroed", "zeroed payloads, small and large, of which little is used", zeroed::play),
    of("aging", "a long life in which sizes drift", aging::play),
    of("sharing", "each thread writes to its own tiny payload only", sharing::own),
    of("sharing-given", "the same, after each was given one by another thread", sharing::given),
];

/// A row of the table.
const fn of(name: &'static str, about: &'static str, play: fn(Measure) -> u64) -> Workload {
    Workload { name, about, play }
}

impl Workload {
    /// Plays it in this process, and gives the outcome.
    pub(crate) fn play(&self, measure: Measure) -> u64 {
        (self.play)(measure)
    }
}

impl Measure {
    /// A part of `count`, and at least one.
    pub(crate) fn share(self, count: usize) -> usize {
        (count / self.part as usize).max(1)
    }

    /// The random numbers of thread or stage number `index`.
    pub(crate) fn rng(self, index: usize) -> Rng {
        // An odd factor keeps neighbours' seeds apart; it is 2^64 over the golden ratio.
        Rng::with_seed(self.seed ^ (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}

/// One byte of each page is written: what anyone does who fills it, less the filling.
pub(crate) const PAGE: usize = 4096;

/// A payload whose first byte was written: the allocator is asked for just its capacity.
pub(crate) type Payload = Vec<u8>;

/// Asks for `bytes` bytes and writes the first.
pub(crate) fn payload(bytes: usize, mark: u8) -> Payload {
    let mut payload = Vec::with_capacity(bytes);
    payload.push(mark);
    // Without this the compiler may see that nobody needs it, and ask for nothing.
    black_box(payload)
}

/// Frees a payload and gives what was written into it.
pub(crate) fn give_back(payload: Payload) -> u64 {
    u64::from(payload[0])
}

/// A size as small objects have it: up to 512 bytes, and half of all up to 32.
pub(crate) fn small(rng: &mut Rng) -> usize {
    let most = 16 << rng.u32(0..=5);
    rng.usize(1..=most)
}

/// Does `work` in so many threads at once and adds what they give.
fn in_threads(threads: usize, work: impl Fn(usize) -> u64 + Sync) -> u64 {
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..threads).map(|index| scope.spawn(move || work(index))).collect();
        let sums = threads
            .into_iter()
            .map(|thread| thread.join().expect("a panic ends the process before anyone joins"));
        sums.fold(0, u64::wrapping_add)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_depends_on_the_seed_alone() {
        for workload in &WORKLOADS {
            let play = |seed| workload.play(Measure { seed, part: 1000 });
            assert_eq!(play(1), play(1), "{}", workload.name);
        }
    }

    #[test]
    fn names_are_distinct() {
        let mut names: Vec<_> = WORKLOADS.iter().map(|workload| workload.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), WORKLOADS.len());
    }
}
