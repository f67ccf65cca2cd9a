//! Segments that hold nonsense: whoever looks gets an answer or an error; whoever writes may also
//! end with the name of an invariant that does not hold, and never leaves the segment.

pub(crate) mod body;

use std::panic::PanicHookInfo;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use morecore_store::{Create, Error, Evict, Set, Store};

use crate::deaths::die_with_parent;
use crate::{ALWAYS, chance};

/// Memory aligned to a page, for a copy of a segment.
#[repr(align(4096))]
#[derive(Clone, Copy)]
struct Page([u64; 512]);

fn image(store: &Store) -> Vec<Page> {
    let (base, bytes) = store.memory();
    let mut pages = vec![Page([0; 512]); bytes as usize / 4096];
    // SAFETY: both are `bytes` long, and nobody writes to the store meanwhile.
    unsafe { base.cast::<Page>().copy_to_nonoverlapping(pages.as_mut_ptr(), pages.len()) };
    pages
}

/// Looks at everything; the answers may be anything.
fn look(pages: &mut [Page], keys: &[Vec<u8>]) {
    let bytes = size_of_val(pages) as u64;
    // SAFETY: the pages outlive the observer, and nobody else uses them.
    let observed = unsafe { Store::observe_memory(pages.as_mut_ptr().cast(), bytes) };
    let Ok(mut observer) = observed else { return };
    observer.set_now(Some(5));
    let mut value = Vec::new();
    for key in keys {
        value.clear();
        let _ = observer.get(key, &mut value);
        let _ = observer.peek(key);
    }
    let mut cursor = 0;
    for _ in 0..10_000 {
        match observer.scan(cursor, 100, |_, _| ()) {
            Ok(0) | Err(_) => break,
            Ok(next) => cursor = next,
        }
    }
    let _ = observer.random_key(&mut value);
    let _ = (observer.stat(), observer.census(), observer.verify());
}

/// How long the random tests go on: FUZZ_SECONDS in the environment makes it longer.
fn duration() -> Duration {
    let given = std::env::var("FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs_f64(given.unwrap_or(4.0))
}

/// Words that arithmetic trips over: next to the ends of what a word, an offset and a half of one
/// can say, and offsets and sizes that end there.
const EXTREMES: [u64; 12] = [
    u64::MAX,
    u64::MAX - 1,
    u64::MAX - 7,
    u64::MAX - 15,
    u64::MAX << 16,
    1 << 63,
    (1 << 63) - 16,
    1 << 47,
    (1 << 46) - 64,
    u32::MAX as u64,
    1 << 20,
    (1 << 20) - 8,
];

/// An input for the fuzzer's body: a base and some mutations.
fn input(chance: &mut fastrand::Rng) -> Vec<u8> {
    let mutations = 1 << chance.u32(..6);
    let mut input = vec![chance.u8(..)];
    input.extend((0..mutations * 12).map(|_| chance.u8(..)));
    input
}

/// The same, in which every other mutation makes a word extreme.
fn extreme_input(chance: &mut fastrand::Rng) -> Vec<u8> {
    let mut input = input(chance);
    for mutation in input[1..].chunks_exact_mut(12) {
        if chance.bool() {
            continue;
        }
        // Overwrites a word that is in use: see `body.rs`.
        mutation[0] = 1;
        let extreme = EXTREMES[chance.usize(..EXTREMES.len())];
        mutation[4..].copy_from_slice(&extreme.to_le_bytes());
    }
    input
}

/// What has an answer, has it within so much of the processor's time: a damaged shard is tried a
/// bounded number of times.
const ANSWER_MOST: Duration = Duration::from_secs(30);

/// How long a writer may take in all: far longer than it waits for holds that damage gave to
/// somebody who lives, on a machine that stands still meanwhile.
const END_MOST: Duration = Duration::from_secs(600);

/// The processor's time that this thread has had.
fn spent() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure is ours to write.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(failed, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn whoever_looks_at_a_damaged_segment_gets_an_answer_or_an_error() {
    let mut chance = chance();
    let mut memory = body::Fenced::new(1 << 20);
    let (begin, mut rounds) = (Instant::now(), 0);
    while begin.elapsed() < duration() {
        let input = extreme_input(&mut chance);
        eprintln_on_panic(&input, |input| body::look(input, &mut memory));
        rounds += 1;
    }
    eprintln!("{rounds} damaged segments");
}

/// Calls; should that panic, or last too long, the input is shown first.
fn eprintln_on_panic(input: &[u8], call: impl FnOnce(&[u8])) {
    struct Shown<'a>(&'a [u8], Duration);
    impl Drop for Shown<'_> {
        fn drop(&mut self) {
            let is_late = spent() - self.1 > ANSWER_MOST;
            if std::thread::panicking() || is_late {
                eprintln!("the input was {:02x?}", self.0);
            }
            assert!(!is_late || std::thread::panicking(), "no answer in {ANSWER_MOST:?}");
        }
    }
    let shown = Shown(input, spent());
    call(shown.0);
}

#[test]
fn the_fuzzers_corpus_has_answers() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/segment");
    let mut memory = body::Fenced::new(1 << 20);
    for file in std::fs::read_dir(corpus).unwrap() {
        let input = std::fs::read(file.unwrap().path()).unwrap();
        eprintln_on_panic(&input, |input| body::look(input, &mut memory));
    }
}

/// How a writer on a damaged segment ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Answers,
    Named,
    Other(i32),
}

/// Whether this process is a child that writes to a damaged segment.
static IS_WRITER: AtomicBool = AtomicBool::new(false);

/// Has a panic of such a child end it, with what it says. Set before any fork: a child may not wait
/// for the lock of the hook, which another thread of its parent can have had.
fn writers_end_by_their_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if IS_WRITER.load(Relaxed) { end_by(info) } else { others(info) }
        }));
    });
}

fn end_by(info: &PanicHookInfo<'_>) -> ! {
    let message = info.payload_as_str().unwrap_or_default();
    let is_named = message.starts_with("invariant `");
    if !is_named {
        let message = format!("{info}\n");
        // SAFETY: the bytes are there; the test's own output is caught and would be lost.
        unsafe { libc::write(2, message.as_ptr().cast(), message.len()) };
    }
    // SAFETY: leaving at once is always allowed.
    unsafe { libc::_exit(if is_named { 1 } else { 2 }) }
}

/// Writes to a damaged segment, in a child: a broken invariant ends the process.
fn write_in_child(input: &[u8], memory: &mut body::Fenced) -> End {
    let base = &body::bases()[usize::from(input[0]) % body::bases().len()];
    let bytes = base.mutate(&input[1..], memory);
    let parent = std::process::id();
    // SAFETY: the child uses its own copy of all, and leaves by `_exit` or a signal.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        die_with_parent(parent);
        IS_WRITER.store(true, Relaxed);
        end_if_it_hangs();
        write_everything(base, bytes, memory);
        // SAFETY: as above.
        unsafe { libc::_exit(0) }
    }
    let mut status = 0;
    // SAFETY: our own child, and a status that is ours to write.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    match status {
        0 => End::Answers,
        _ if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 1 => End::Named,
        _ => End::Other(status),
    }
}

/// Has a signal end this process if it works for too long, or waits for too long.
fn end_if_it_hangs() {
    let seconds = ANSWER_MOST.as_secs();
    let limit = libc::rlimit { rlim_cur: seconds, rlim_max: seconds };
    // SAFETY: the limit is only read.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_CPU, &raw const limit) }, 0);
    // SAFETY: it has no preconditions.
    unsafe { libc::alarm(END_MOST.as_secs() as u32) };
}

fn write_everything(base: &body::Base, bytes: usize, memory: &body::Fenced) {
    let Some(mut store) = memory.attach(bytes, &base.dead) else { return };
    store.set_now(Some(body::NOW_MS));
    for (number, key) in base.keys.iter().enumerate().step_by(5) {
        let error = match number % 4 {
            0 => store.delete(key).err(),
            1 => store.increment(key, 1).err(),
            _ => store.set(key, &vec![3; number * 5], &Set::default()).err(),
        };
        // A hold that damage gave to somebody who lives: an answer that took ten seconds, and the
        // next would take as long.
        if matches!(error, Some(Error::Held { .. })) {
            return;
        }
    }
    let keys: Vec<&[u8]> = base.keys.iter().take(6).map(Vec::as_slice).collect();
    let remove = |_: &&[u8]| morecore_store::Change::Remove;
    let _ = store.update_many(&keys, |_| (keys.iter().map(remove).collect(), ()));
    let _ = (store.tidy(), store.verify().err(), store.clear());
}

#[test]
fn whoever_writes_to_a_damaged_segment_stays_inside_and_ends() {
    writers_end_by_their_panic();
    let mut chance = chance();
    let mut memory = body::Fenced::new(1 << 20);
    let (begin, mut named, mut rounds) = (Instant::now(), 0, 0);
    while begin.elapsed() < duration() {
        let input = input(&mut chance);
        let end = write_in_child(&input, &mut memory);
        assert!(!matches!(end, End::Other(_)), "{end:x?} after {input:02x?}");
        named += u32::from(end == End::Named);
        rounds += 1;
    }
    eprintln!("{rounds} damaged segments written to, {named} ended by an invariant");
}

#[test]
fn noise_is_no_store() {
    let mut chance = chance();
    let mut pages = vec![Page([0; 512]); 256];
    pages.iter_mut().flat_map(|page| &mut page.0).for_each(|word| *word = chance.u64(..));
    look(&mut pages, &[b"k".to_vec()]);
}

#[test]
fn a_group_that_claims_to_be_deep_ends_a_search_for_a_random_key() {
    let how = Create { memory_bytes: 1 << 20, mode: 0o600, evict: Evict::None };
    let mut store = Store::anonymous(&how).unwrap();
    store.set(b"k", b"v", &ALWAYS).unwrap();
    store.delete(b"k").unwrap();
    let mut pages = image(&store);
    let words: Vec<u64> = pages.iter().flat_map(|page| page.0).collect();
    // A group's word says 15 buckets, a place in the heap, and its depth in the lowest bits.
    let is_group = |word: u64| word >> 46 == 15 && word & 0x3f == 0 && (word << 18 >> 18) < 1 << 20;
    let at = words.iter().position(|&word| is_group(word)).unwrap();
    pages[at / 512].0[at % 512] |= 63;
    look(&mut pages, &[b"k".to_vec()]);
}
