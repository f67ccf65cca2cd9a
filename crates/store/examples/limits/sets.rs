//! How long sets of new items take while a store grows from nothing, and why the longest do.
//!
//! A set that takes long by the clock on the wall may have done nothing: so of each stretch of sets
//! with a long one in it the processor's time is told too, how often its thread was sent from the
//! processor, and how many pages it touched first.

use std::time::Instant;

use morecore_store::{Set, Store};

use crate::create;

/// What an item takes of a store, at most: its room is ample.
const ITEM_BYTES: u64 = 160;

/// From this on a set is long: a goal is that none takes four times as much.
const LONG_NS: u32 = 250_000;

/// Sets between two looks at what the thread used: such a look takes longer than a set.
const STRETCH: u64 = 64;

/// So many long ones are told of.
const TOLD: usize = 12;

/// What a thread has used so far.
#[derive(Clone, Copy)]
struct Usage {
    processor_ns: u64,
    faults: i64,
    switches: i64,
}

/// A long set.
struct Long {
    number: u64,
    ns: u32,
    /// What its stretch used.
    processor_ns: u64,
    faults: i64,
    switches: i64,
}

/// Sets one item after the other in a store that begins empty.
pub(crate) fn longest_sets(items: u64) {
    let mut store = Store::anonymous(&create((items * ITEM_BYTES).max(1 << 30))).unwrap();
    // Not of zeroes: its own pages are not to be touched for the first time within a set.
    let mut times = vec![1u32; items as usize];
    let (mut longs, mut before) = (Vec::new(), Usage::now());
    let (all, all_before) = (Instant::now(), before);
    for number in 0..items {
        if number.is_multiple_of(STRETCH) {
            before = Usage::now();
        }
        let begin = Instant::now();
        store.set(&key(number), &[7; 32], &Set::default()).unwrap();
        let ns = u32::try_from(begin.elapsed().as_nanos()).unwrap_or(u32::MAX);
        times[number as usize] = ns;
        if ns > LONG_NS {
            longs.push(before.long(number, ns));
        }
    }
    let (seconds, used) = (all.elapsed().as_secs_f64(), Usage::now());
    let processor = (used.processor_ns - all_before.processor_ns) as f64 / 1e9;
    println!("{items} items of 16 + 32 bytes: {seconds:.1} s, of the processor {processor:.1} s");
    tell_times(&mut times);
    tell_longs(longs);
    let stat = store.stat();
    let each = |bytes: u64| bytes as f64 / items as f64 - 48.0;
    let (used, resident) = (each(stat.used_bytes), each(resident_bytes(&store)));
    println!("bytes an item beyond key and value: {used:.1} used, {resident:.1} resident");
    let begin = Instant::now();
    let verified = store.verify().unwrap();
    println!("verify: {:.2} s, {} entries", begin.elapsed().as_secs_f64(), verified.entries);
}

fn key(number: u64) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    let (mut rest, mut at) = (number, 15);
    while rest != 0 {
        key[at] = b'0' + (rest % 10) as u8;
        (rest, at) = (rest / 10, at - 1);
    }
    key
}

fn tell_times(times: &mut [u32]) {
    times.sort_unstable();
    let at = |part: f64| f64::from(times[(times.len() as f64 * part) as usize]) / 1e3;
    let most = f64::from(times[times.len() - 1]) / 1e3;
    print!("a set: median {:.2} us, 99 % {:.2}, 99.99 % {:.1}, ", at(0.5), at(0.99), at(0.9999));
    println!("99.9999 % {:.1}, longest {most:.0}", at(0.999_999));
    for limit in [100_000, 250_000, 1_000_000, 4_000_000] {
        let count = times.len() - times.partition_point(|&ns| ns <= limit);
        println!("  longer than {:5.2} ms: {count}", f64::from(limit) / 1e6);
    }
}

fn tell_longs(mut longs: Vec<Long>) {
    longs.sort_by_key(|long| std::cmp::Reverse(long.processor_ns));
    println!("long ones whose stretches of {STRETCH} sets used most of the processor:");
    for Long { number, ns, processor_ns, faults, switches } in longs.iter().take(TOLD) {
        let (ms, processor_ms) = (f64::from(*ns) / 1e6, *processor_ns as f64 / 1e6);
        print!("  set {number:9}: {ms:7.3} ms; stretch: processor {processor_ms:7.3} ms, ");
        println!("{faults} pages touched first, sent away {switches} times");
    }
    let away = longs.iter().filter(|long| long.switches != 0).count();
    println!("  in {away} of {} stretches with a long one it was sent away", longs.len());
}

impl Usage {
    fn now() -> Self {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the clock is one that there is, and `time` outlives the call.
        let told = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
        // SAFETY: numbers alone, of which each may be zero.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: `usage` outlives the call.
        let used = unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
        assert_eq!((told, used), (0, 0), "a thread can ask what it used");
        let processor_ns = time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64;
        let switches = usage.ru_nivcsw + usage.ru_nvcsw;
        Self { processor_ns, faults: usage.ru_minflt, switches }
    }

    /// A long set in a stretch that began with this.
    fn long(self, number: u64, ns: u32) -> Long {
        let now = Self::now();
        Long {
            number,
            ns,
            processor_ns: now.processor_ns - self.processor_ns,
            faults: now.faults - self.faults,
            switches: now.switches - self.switches,
        }
    }
}

/// The bytes of a store's memory that are resident.
fn resident_bytes(store: &Store) -> u64 {
    let (base, _) = store.memory();
    let begin = format!("{:x}-", base as usize);
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let own = maps.lines().skip_while(|line| !line.starts_with(&begin));
    let resident = own.skip(1).find_map(|line| line.strip_prefix("Rss:")).unwrap();
    let kib: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    kib << 10
}
