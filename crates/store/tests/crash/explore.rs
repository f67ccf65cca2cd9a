//! What must hold wherever an operation is stopped.
//!
//! At each stop at which the segment differs from the stop before:
//! - parked: with the child standing still but alive, each key reads as before or as after;
//! - killed: a survivor of a copy attaches, the store is proven whole, its contents are all as
//!   before the operation or all as after it (and, once after, never before again; entries that are
//!   evicted or cleared go one by one), it can write on at once, and no hold, claim or chunk of the
//!   dead is left;
//! - killed twice (`CRASH=full`): the survivor is stopped after each of its instructions too, taken
//!   for dead as well, and a second survivor must find the same.
//!
//! Where the segment is as at the stop before, so is all that others can see.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use morecore_store::{Create, Evict, Set, Store};

use crate::image::{Image, Pages};
use crate::tracer::{Stop, Traced};

/// An instant in 2026, in unix milliseconds: the time at which every case takes place.
pub(crate) const NOW_MS: u64 = 1_790_000_000_000;

/// The smallest store: chunks only.
pub(crate) const SMALL: u64 = 1 << 20;

/// A store large enough to have slabs.
pub(crate) const WITH_SLABS: u64 = 256 << 20;

/// How many keys that the operation leaves alone are read at each stop.
const SAME_MOST: usize = 20;

/// An operation to stop everywhere, and the store that it works on.
pub(crate) struct Case {
    /// What happens, for the report.
    pub(crate) name: &'static str,
    /// The size of the store.
    pub(crate) memory_bytes: u64,
    /// What a full store does.
    pub(crate) evict: Evict,
    /// Fills the store.
    pub(crate) prepare: fn(&mut Store),
    /// Changes it.
    pub(crate) operation: fn(&mut Store),
}

/// How much was explored.
#[derive(Default)]
struct Explored {
    instructions: u64,
    images: u64,
    rescuer_instructions: u64,
    rescuer_images: u64,
    slowest_parked_read: Duration,
}

/// Keys, values and expiries.
type Contents = BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>;

/// A case under way: what may be seen at a stop, and where to look.
struct Expected {
    before: Contents,
    after: Contents,
    /// The keys that differ, and some that do not.
    telling: Vec<Vec<u8>>,
    pages: Pages,
}

impl Expected {
    /// Whether the operation drops several entries, or drops some and sets another.
    fn drops(&self) -> bool {
        let dropped = self.before.keys().filter(|key| !self.after.contains_key(*key)).count();
        dropped > 1 || (dropped == 1 && self.after.len() == self.before.len())
    }
}

/// Explores a case, and prints what it counted.
pub(crate) fn explore(case: &Case) {
    explore_in(case, |how| Store::anonymous(how).unwrap());
}

/// Explores a case in a store that `make` makes, and prints what it counted.
pub(crate) fn explore_in(case: &Case, make: impl FnOnce(&Create) -> Store) {
    let (memory_bytes, evict) = (case.memory_bytes, case.evict);
    let how = Create { memory_bytes, evict, ..Create::default() };
    let mut store = make(&how);
    store.set_now(Some(NOW_MS));
    (case.prepare)(&mut store);
    let mut observer = store.try_clone().unwrap();
    let expected = expect(case, &mut store);
    let mut explored = Explored::default();
    walk(case, &mut store, &mut observer, &expected, &mut explored);
    println!(
        "{}: {} instructions, {} images, all whole; rescuers: {} instructions, {} images; \
         slowest read beside a parked writer {:?}",
        case.name,
        explored.instructions,
        explored.images,
        explored.rescuer_instructions,
        explored.rescuer_images,
        explored.slowest_parked_read
    );
    assert!(explored.images > 1, "{}: the operation changed nothing", case.name);
}

/// Steps a child through the operation and examines every image that it leaves.
fn walk(
    case: &Case,
    store: &mut Store,
    observer: &mut Store,
    expected: &Expected,
    explored: &mut Explored,
) {
    let (base, bytes) = store.memory();
    let [mut last, mut copy] = [(); 2].map(|()| Image::new(bytes, &expected.pages));
    let operation = case.operation;
    let child = Traced::spawn(
        || {
            // The first call of a child of fork makes it a participant of its own.
            store.peek(b"nothing").unwrap();
            store
        },
        |store| operation(store),
    );
    let mut is_after = false;
    loop {
        if !last.is_copy(base) {
            last.copy(base);
            let at = format!("{}, instruction {}", case.name, explored.instructions);
            explored.images += 1;
            parked(observer, expected, explored, &at);
            is_after |= killed(&last, &mut copy, child.pid(), expected, is_after, &at);
            if wants_deep() {
                killed_twice(&last, bytes, child.pid(), expected, explored, &at);
            }
        }
        if child.step() == Stop::Over {
            break;
        }
        explored.instructions += 1;
    }
    let touched = Pages::touched(&[base], bytes);
    assert!(expected.pages.contain(&touched), "{}: a page was not looked at", case.name);
    assert!(is_after, "{}: done, and a survivor does not see it", case.name);
}

/// With the child standing still, each key reads as before or as after.
fn parked(observer: &mut Store, expected: &Expected, explored: &mut Explored, at: &str) {
    if expected.drops() {
        return; // A read is a visit, which would change what is evicted next.
    }
    for key in &expected.telling {
        let mut value = Vec::new();
        let begun = Instant::now();
        let found = observer.get(key, &mut value).unwrap();
        explored.slowest_parked_read = explored.slowest_parked_read.max(begun.elapsed());
        let seen = found.map(|meta| (value, meta.expiry_ms));
        let is_known =
            seen.as_ref() == expected.before.get(key) || seen.as_ref() == expected.after.get(key);
        assert!(is_known, "{at}: a reader sees {seen:?} under {key:?}");
    }
}

/// With the child taken for dead, a survivor finds a whole store. Returns whether it is as after.
fn killed(
    last: &Image,
    copy: &mut Image,
    pid: u32,
    expected: &Expected,
    was_after: bool,
    at: &str,
) -> bool {
    copy.copy(last.base());
    let mut survivor = copy.attach(&[pid]);
    let is_after = examine(&mut survivor, expected, at);
    assert!(is_after || !was_after, "{at}: what was done is undone");
    survivor.set(b"survivor", &[7; 100], &Set::default()).unwrap();
    assert!(survivor.delete(b"survivor").unwrap(), "{at}: a survivor cannot write on");
    prove(&mut survivor, at);
    is_after
}

/// Stops the survivor after each of its instructions too, and takes it for dead as well.
fn killed_twice(
    last: &Image,
    bytes: u64,
    pid: u32,
    expected: &Expected,
    explored: &mut Explored,
    at: &str,
) {
    let pages = rescuer_pages(last, bytes, pid, expected);
    let [mut first, mut seen, mut copy] = [(); 3].map(|()| Image::new(bytes, &pages));
    first.copy(last.base());
    let rescuer = Traced::spawn(|| (), |()| rescue(&first, pid));
    while rescuer.step() == Stop::Stepped {
        explored.rescuer_instructions += 1;
        if seen.is_copy(first.base()) {
            continue;
        }
        seen.copy(first.base());
        explored.rescuer_images += 1;
        copy.copy(first.base());
        let mut survivor = copy.attach(&[pid, rescuer.pid()]);
        let at = format!("{at}, rescuer's instruction {}", explored.rescuer_instructions);
        examine(&mut survivor, expected, &at);
    }
    let touched = Pages::touched(&[first.base()], bytes);
    assert!(pages.contain(&touched), "{at}: a page of the rescuer's was not looked at");
}

/// All that a rescuer does: to attach rolls back, to tidy frees what was claimed.
fn rescue(image: &Image, dead: u32) {
    let mut rescuer = image.attach(&[dead]);
    rescuer.set_now(Some(NOW_MS));
    rescuer.tidy().unwrap();
}

/// The pages that a rescuer touches beside those of the operation: it is tried on a copy.
fn rescuer_pages(last: &Image, bytes: u64, pid: u32, expected: &Expected) -> Pages {
    let mut trial = Image::new(bytes, &expected.pages);
    trial.copy(last.base());
    rescue(&trial, pid);
    Pages::touched(&[last.base(), trial.base()], bytes)
}

/// Proves a survivor's store whole, and its contents entire. Returns whether they are as after.
fn examine(survivor: &mut Store, expected: &Expected, at: &str) -> bool {
    survivor.set_now(Some(NOW_MS));
    prove(survivor, at);
    let seen = contents(survivor);
    let is_after = seen == expected.after;
    // What goes when entries are dropped goes one by one; nothing else may come or change.
    let is_between = expected.drops()
        && seen.iter().all(|(key, value)| expected.before.get(key) == Some(value))
        && expected
            .after
            .keys()
            .all(|key| seen.contains_key(key) || !expected.before.contains_key(key));
    let is_known = is_after || is_between || seen == expected.before;
    assert!(is_known, "{at}: half of the operation is there");
    is_after
}

/// Proves that every invariant holds, and that only the living have anything in hand.
fn prove(store: &mut Store, at: &str) {
    match store.verify() {
        Ok(verified) => {
            let left = (verified.claimed, verified.pending);
            assert_eq!(left, (0, 0), "{at}: a claim or a lease of the dead is left");
        }
        Err(broken) => panic!("{at}: {}", broken[0]),
    }
}

/// All that a store holds.
fn contents(store: &mut Store) -> Contents {
    let (mut keys, mut cursor) = (Vec::new(), 0);
    loop {
        cursor = store.scan(cursor, 100, |key, _| keys.push(key.to_vec())).unwrap();
        if cursor == 0 {
            break;
        }
    }
    let mut contents = Contents::new();
    for key in keys {
        let mut value = Vec::new();
        if let Some(meta) = store.get(&key, &mut value).unwrap() {
            contents.insert(key, (value, meta.expiry_ms));
        }
    }
    contents
}

/// What may be seen: the operation is tried on a copy, by a participant in the slot that the
/// child's will be, so that it touches the same pages.
fn expect(case: &Case, store: &mut Store) -> Expected {
    let before = contents(store);
    let (base, bytes) = store.memory();
    let image = Image::of(store);
    let mut trial = image.attach(&[]);
    trial.set_now(Some(NOW_MS));
    (case.operation)(&mut trial);
    let after = contents(&mut trial);
    let differs = |key: &&Vec<u8>| before.get(*key) != after.get(*key);
    let differing = before.keys().chain(after.keys()).filter(differs);
    let telling = differing.chain(before.keys().take(SAME_MOST)).cloned().collect();
    let pages = Pages::touched(&[base, image.base()], bytes);
    Expected { before, after, telling, pages }
}

/// Whether the rescuers are to be stopped everywhere as well.
fn wants_deep() -> bool {
    std::env::var("CRASH").is_ok_and(|mode| mode == "full")
}
