//! A worker: a process that looks things up as fast as it can whenever it is told to.
//!
//! ```text
//! standard input                        standard output
//! fill                                  1000000 700000000      (items, nanoseconds)
//! tidy                                  16000000               (nanoseconds)
//! grow                                  412000 3200000         (nanoseconds: the longest set)
//! read                                  1000000 600000000      (every item once)
//! run uniform 90/10 200      (ms)       3200000 200013457      (operations, nanoseconds)
//! ```
//!
//! Promises: keys are drawn before the clock runs. It ends when its input does.

use std::hint::black_box;
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::draw::{Distribution, Key, key};
use super::pauses::longest_set;
use super::setting::{BATCH, Content, Mix};
use super::shelf::{Shelf, ShelfName};
use crate::failure::Failure;
use crate::output::Out;

/// The most keys that are drawn for all runs: read from end to end, so the processor has them at
/// hand, and so many that what is found under them is in no cache when they come again.
const DRAWN_MOST: usize = 1 << 22;

/// Operations between two looks at the clock: a few microseconds in memory, a few milliseconds
/// over a socket.
const STRETCH: usize = 256;

/// In a mix, each operation of this place is a set.
const SET_EVERY: usize = 10;

/// What a worker has.
struct Bench {
    shelf: Shelf,
    content: Content,
    value: Vec<u8>,
    seed: u64,
    distribution: Option<Distribution>,
    keys: Vec<Key>,
    at: usize,
}

/// Does what standard input says until it ends.
pub(super) fn work(
    shelf: ShelfName,
    at: &Path,
    content: Content,
    seed: u64,
    out: &mut Out,
) -> Result<(), Failure> {
    let shelf = Shelf::open(shelf, at)?;
    let value = b"0123456789abcdef".iter().copied().cycle().take(content.value_bytes).collect();
    let (distribution, keys) = (None, Vec::new());
    let mut bench = Bench { shelf, content, value, seed, distribution, keys, at: 0 };
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["fill"] => {
                let time = bench.fill()?;
                writeln!(out, "{} {}", content.items, time.as_nanos())?;
            }
            ["tidy"] => writeln!(out, "{}", bench.shelf.tidy()?.as_nanos())?,
            ["grow"] => {
                let longest = longest_set(content, &bench.value)?;
                writeln!(out, "{} {}", longest.own.as_nanos(), longest.wall.as_nanos())?;
            }
            ["read"] => {
                let time = bench.read_all()?;
                writeln!(out, "{} {}", content.items, time.as_nanos())?;
            }
            ["run", distribution, mix, ms] => {
                let named = |known: &Distribution| known.name() == distribution;
                let distribution = Distribution::ALL.into_iter().find(named);
                let known = distribution.zip(Mix::named(mix));
                let Some(((distribution, mix), ms)) = known.zip(ms.parse().ok()) else {
                    return Err(unknown(&line));
                };
                bench.prepare(distribution);
                let (operations, time) = bench.run(mix, Duration::from_millis(ms))?;
                writeln!(out, "{operations} {}", time.as_nanos())?;
            }
            _ => return Err(unknown(&line)),
        }
        out.flush()?;
    }
    Ok(())
}

fn unknown(line: &str) -> Failure {
    Failure::new(format!("a worker cannot `{line}`"))
}

impl Bench {
    /// Sets every item, in their order.
    fn fill(&mut self) -> Result<Duration, Failure> {
        let mut keys = Vec::with_capacity(BATCH);
        let start = Instant::now();
        for first in (0..self.content.items).step_by(BATCH) {
            let end = first.saturating_add(BATCH as u32).min(self.content.items);
            keys.clear();
            keys.extend((first..end).map(key));
            self.shelf.fill(&keys, &self.value)?;
        }
        Ok(start.elapsed())
    }

    /// Reads every item once, in the order in which they were set.
    fn read_all(&mut self) -> Result<Duration, Failure> {
        let mut found = Vec::with_capacity(self.value.len());
        let start = Instant::now();
        for number in 0..self.content.items {
            self.shelf.get(&key(number), &self.value, &mut found)?;
        }
        Ok(start.elapsed())
    }

    /// Draws keys, unless they are at hand.
    fn prepare(&mut self, distribution: Distribution) {
        if self.distribution != Some(distribution) {
            let count = (self.content.items as usize).min(DRAWN_MOST).next_multiple_of(STRETCH);
            self.keys = distribution.draw(self.content.items, count, self.seed);
            self.at = 0;
            self.distribution = Some(distribution);
        }
    }

    /// Works for `time`; gives the operations, and the time that they took in the end.
    fn run(&mut self, mix: Mix, time: Duration) -> Result<(u64, Duration), Failure> {
        let mut found = Vec::with_capacity(BATCH * self.value.len());
        let mut operations = 0;
        let start = Instant::now();
        loop {
            self.run_stretch(mix, &mut found)?;
            self.at = (self.at + STRETCH) % self.keys.len();
            operations += STRETCH as u64;
            let elapsed = start.elapsed();
            if elapsed >= time {
                return Ok((operations, elapsed));
            }
        }
    }

    /// Does what the mix wants with the next keys.
    #[inline]
    fn run_stretch(&mut self, mix: Mix, found: &mut Vec<u8>) -> Result<(), Failure> {
        let keys = &self.keys[self.at..self.at + STRETCH];
        if matches!(mix, Mix::Batch | Mix::SetBatch) {
            for keys in keys.as_chunks().0 {
                if mix == Mix::SetBatch {
                    self.shelf.set_batch(keys, &self.value)?;
                } else {
                    self.shelf.get_batch(keys, &self.value, found)?;
                    black_box(&*found);
                }
            }
            return Ok(());
        }
        let set_every = if mix == Mix::Set { 1 } else { SET_EVERY };
        for (place, key) in keys.iter().enumerate() {
            if mix != Mix::Read && place % set_every == set_every - 1 {
                self.shelf.set(key, &self.value)?;
            } else {
                self.shelf.get(key, &self.value, found)?;
                black_box(&*found);
            }
        }
        Ok(())
    }
}
