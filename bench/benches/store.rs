//! Question: how many reads and writes a second do one and two threads of a process get?
//! Unit: thousand operations a second, and nanoseconds each. Beside it, in turn: LMDB without
//! syncing (a transaction an operation, and one for 256 reads), dashmap, and hashbrown as the limit
//! of one thread alone.
//!
//! `cargo bench -p morecore-bench [-- ITEMS]`; without `--bench`, as tests run it, few items and
//! one short round. The last lines are the same as CSV.

// The same keys as `morecore bench store`.
#[allow(unused_imports, reason = "its tests run in the crate that it is of")]
#[path = "../../crates/cli/src/commands/bench/store/draw.rs"]
mod draw;
mod shelves;

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use draw::{Distribution, Key, key};
use shelves::{Contestant, Shelf};

/// Items, unless told, and in a test.
const ITEMS: u32 = 1_000_000;
const TEST_ITEMS: u32 = 1000;

/// Rounds that count, after one of warming up; five keep one that was disturbed from the middle.
const ROUNDS: usize = 5;

/// How long a sample takes: a few million look-ups.
const SAMPLE: Duration = Duration::from_millis(200);
const TEST_SAMPLE: Duration = Duration::from_millis(2);

/// Keys that are drawn before any clock runs, so many that what is found under them is in no cache
/// when they come again, and operations between two looks at the clock.
const DRAWN: usize = 1 << 20;
const STRETCH: usize = 256;

/// In a mix, each operation of this place is a set.
const SET_EVERY: usize = 10;

/// What is measured.
struct Setting<'a> {
    value: &'a [u8],
    distribution: Distribution,
    has_sets: bool,
    threads: usize,
}

fn main() {
    let is_test = !std::env::args().any(|argument| argument == "--bench");
    let items = std::env::args().filter_map(|argument| argument.parse().ok()).next();
    let items = items.unwrap_or(if is_test { TEST_ITEMS } else { ITEMS });
    let mut table = String::from("value_bytes,distribution,mix,threads,name,per_s,min,max\n");
    for value_bytes in [32, 1024] {
        let value = vec![b'v'; value_bytes];
        let mut contestants = shelves::all(items, &value);
        for contestant in &mut contestants {
            (0..items).for_each(|number| contestant.shelves[0].set(&key(number), &value));
            contestant.shelves[0].tidy();
        }
        for distribution in Distribution::ALL {
            let keys = [1, 2].map(|seed| distribution.draw(items, DRAWN, seed));
            for (has_sets, threads) in [(false, 1), (false, 2), (true, 1), (true, 2)] {
                let setting = Setting { value: &value, distribution, has_sets, threads };
                compare(&setting, &mut contestants, &keys, is_test, &mut table);
            }
        }
    }
    println!("\n{table}");
}

/// Measures everybody who can be, in turn, and tells.
fn compare(
    setting: &Setting<'_>,
    contestants: &mut [Contestant],
    keys: &[Vec<Key>; 2],
    is_test: bool,
    table: &mut String,
) {
    let (rounds, sample) = if is_test { (1, TEST_SAMPLE) } else { (ROUNDS, SAMPLE) };
    let distribution = setting.distribution.name();
    let mix = if setting.has_sets { "90/10" } else { "read" };
    let (value_bytes, threads) = (setting.value.len(), setting.threads);
    println!("\n{mix} of {value_bytes} B, {distribution}, {threads} threads");
    let mut rates: Vec<Vec<f64>> = contestants.iter().map(|_| Vec::new()).collect();
    for round in 0..=rounds {
        for turn in 0..contestants.len() {
            let index = (round + turn) % contestants.len();
            let contestant = &mut contestants[index];
            if contestant.shelves.len() < threads || (setting.has_sets && contestant.reads_only) {
                continue;
            }
            let rate = measure(setting, contestant, keys, sample);
            if round > 0 {
                rates[index].push(rate);
            }
        }
    }
    for (contestant, mut rates) in contestants.iter().zip(rates).filter(|(_, r)| !r.is_empty()) {
        rates.sort_by(f64::total_cmp);
        let (least, median, most) = (rates[0], rates[rates.len() / 2], rates[rates.len() - 1]);
        let name = contestant.name;
        let each_ns = threads as f64 * 1e9 / median;
        let around = format!("~{:.0}..{:.0}", least / 1e3, most / 1e3);
        println!("  {name:<22} {:>8.0} k/s {around:<16} {each_ns:>7.0} ns", median / 1e3);
        let row = format!("{value_bytes},{distribution},{mix},{threads},{name}");
        table.push_str(&format!("{row},{median:.0},{least:.0},{most:.0}\n"));
    }
}

/// Operations a second of all threads together.
fn measure(
    setting: &Setting<'_>,
    contestant: &mut Contestant,
    keys: &[Vec<Key>; 2],
    time: Duration,
) -> f64 {
    thread::scope(|scope| {
        let shelves = contestant.shelves.iter_mut().zip(keys).take(setting.threads);
        let threads: Vec<_> = shelves
            .map(|(shelf, keys)| scope.spawn(move || work(setting, shelf.as_mut(), keys, time)))
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread that counts")).sum()
    })
}

/// Operations a second of one thread.
fn work(setting: &Setting<'_>, shelf: &mut dyn Shelf, keys: &[Key], time: Duration) -> f64 {
    let mut found = Vec::with_capacity(setting.value.len());
    let mut operations = 0;
    let start = Instant::now();
    for stretch in keys.chunks_exact(STRETCH).cycle() {
        if !setting.has_sets {
            shelf.get_all(stretch, setting.value.len(), &mut found);
        } else {
            for (place, key) in stretch.iter().enumerate() {
                if place % SET_EVERY == SET_EVERY - 1 {
                    shelf.set(key, setting.value);
                } else {
                    shelf.get(key, &mut found);
                    assert_eq!(black_box(&found).len(), setting.value.len());
                }
            }
        }
        operations += STRETCH;
        if start.elapsed() >= time {
            break;
        }
    }
    operations as f64 / start.elapsed().as_secs_f64()
}
