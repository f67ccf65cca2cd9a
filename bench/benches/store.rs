//! Question: how many reads and writes a second do one and two threads of a process get?
//! Unit: thousand operations a second, and nanoseconds each. Beside it, in turn: LMDB without
//! syncing (a transaction an operation, and one for 256 reads), Boost.Interprocess (an unordered map
//! under its mutex, where g++ and libboost-dev are), dashmap, and hashbrown as the limit of one
//! thread alone. And what does a set of an item that is there cost, as ours do it one at a time
//! and 16 in a call?
//!
//! `cargo bench -p morecore-bench --bench store [-- ITEMS VALUE_BYTES uniform|zipf]`; without
//! `--bench`, as tests run it, few items and one short round. The last lines are the same as CSV.

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

/// How long a sample takes: some hundred thousand look-ups.
const SAMPLE: Duration = Duration::from_millis(100);
const TEST_SAMPLE: Duration = Duration::from_millis(2);

/// Keys that are drawn before any clock runs, so many that what is found under them is in no cache
/// when they come again, and operations between two looks at the clock.
const DRAWN: usize = 1 << 20;
const STRETCH: usize = 256;

/// Keys in a call that sets many.
const BATCH: usize = 16;

/// In a mix, each operation of this place is a set.
const SET_EVERY: usize = 10;

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mix {
    Read,
    Mixed,
    Set,
    SetBatch,
}

impl Mix {
    const ALL: [Mix; 4] = [Mix::Read, Mix::Mixed, Mix::Set, Mix::SetBatch];

    fn name(self) -> &'static str {
        match self {
            Mix::Read => "read",
            Mix::Mixed => "90/10",
            Mix::Set => "set",
            Mix::SetBatch => "set-16",
        }
    }
}

/// What is measured.
struct Setting<'a> {
    value: &'a [u8],
    distribution: Distribution,
    mix: Mix,
    threads: usize,
}

fn main() {
    let is_test = !std::env::args().any(|argument| argument == "--bench");
    let mut numbers = std::env::args().filter_map(|argument| argument.parse().ok());
    let items = numbers.next().unwrap_or(if is_test { TEST_ITEMS } else { ITEMS });
    let value_bytes_wanted = numbers.next();
    let names = Distribution::ALL.map(Distribution::name);
    let distribution_wanted = std::env::args().find(|argument| names.contains(&&argument[..]));
    let mut table = String::from("value_bytes,distribution,mix,threads,name,per_s,min,max\n");
    for value_bytes in [32, 200, 1024] {
        if value_bytes_wanted.is_some_and(|wanted| wanted as usize != value_bytes) {
            continue;
        }
        let value = vec![b'v'; value_bytes];
        let mut contestants = shelves::all(items, &value);
        for contestant in &mut contestants {
            let start = Instant::now();
            (0..items).for_each(|number| contestant.shelves[0].set(&key(number), &value));
            let each_ns = start.elapsed().as_nanos() as f64 / f64::from(items);
            contestant.shelves[0].tidy();
            if !contestant.reads_only {
                println!("fill with {value_bytes} B: {:<22} {each_ns:>7.0} ns", contestant.name);
            }
        }
        for distribution in Distribution::ALL {
            if distribution_wanted.as_ref().is_some_and(|wanted| wanted != distribution.name()) {
                continue;
            }
            let keys = [1, 2].map(|seed| distribution.draw(items, DRAWN, seed));
            for mix in Mix::ALL {
                for threads in [1, 2] {
                    let setting = Setting { value: &value, distribution, mix, threads };
                    compare(&setting, &mut contestants, &keys, is_test, &mut table);
                }
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
    let mix = setting.mix.name();
    let (value_bytes, threads) = (setting.value.len(), setting.threads);
    println!("\n{mix} of {value_bytes} B, {distribution}, {threads} threads");
    let mut rates: Vec<Vec<f64>> = contestants.iter().map(|_| Vec::new()).collect();
    for round in 0..=rounds {
        for turn in 0..contestants.len() {
            let index = (round + turn) % contestants.len();
            let contestant = &mut contestants[index];
            let is_idle = match setting.mix {
                Mix::Read => false,
                Mix::Mixed | Mix::Set => contestant.reads_only,
                Mix::SetBatch => !contestant.has_batches,
            };
            if contestant.shelves.len() < threads || is_idle {
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
        match setting.mix {
            Mix::Read => shelf.get_all(stretch, setting.value.len(), &mut found),
            Mix::Set => stretch.iter().for_each(|key| shelf.set(key, setting.value)),
            Mix::SetBatch => {
                stretch.chunks(BATCH).for_each(|keys| shelf.set_all(keys, setting.value));
            }
            Mix::Mixed => {
                for (place, key) in stretch.iter().enumerate() {
                    if place % SET_EVERY == SET_EVERY - 1 {
                        shelf.set(key, setting.value);
                    } else {
                        shelf.get(key, &mut found);
                        assert_eq!(black_box(&found).len(), setting.value.len());
                    }
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
