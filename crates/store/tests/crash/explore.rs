//! What must hold wherever an operation is stopped.
//!
//! At each stop at which the segment differs from the stop before:
//! - parked: with the child standing still but alive, each key reads as before or as after;
//! - killed: a survivor of a copy attaches, the store is proven whole, its contents are all as
//!   before the operation or all as after it (and, once after, never before again; entries that are
//!   evicted or cleared go one by one), it can write on at once, and no hold, claim or chunk of the
//!   dead is left;
//! - killed twice (`CRASH=full`): the survivor is stopped after each instruction with which it
//!   writes to the segment, taken for dead as well, and a second survivor must find the same.
//!   (`CRASH=counted` traps and counts all others of its instructions, too: it finds the same, and
//!   takes a hundred times as long.)
//!
//! Where the segment is as at the stop before, so is all that others can see.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use morecore_store::{Create, Evict, Observer, Set, Store};

use crate::image::{Image, Pages};
use crate::tracer::{Grain, Stop, Traced};

/// An instant in 2026, in unix milliseconds: the time at which every case takes place.
pub(crate) const NOW_MS: u64 = 1_790_000_000_000;

/// The smallest store: chunks only.
pub(crate) const SMALL: u64 = 1 << 20;

/// A store large enough to have slabs, also of the fine classes.
pub(crate) const WITH_SLABS: u64 = 512 << 20;

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
    /// Whether it changes one key after the other, and says so; what drops entries does anyway.
    pub(crate) is_in_parts: bool,
}

/// How much was explored.
#[derive(Default)]
struct Explored {
    instructions: u64,
    images: u64,
    rescuer_instructions: u64,
    rescuer_writes: u64,
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
    is_in_parts: bool,
}

impl Expected {
    /// Whether the operation drops several entries, or drops some and sets another.
    fn drops(&self) -> bool {
        let dropped = self.before.keys().filter(|key| !self.after.contains_key(*key)).count();
        dropped > 1 || (dropped == 1 && self.after.len() == self.before.len())
    }

    /// Whether this may be seen on the way: what goes when entries are dropped goes one by one;
    /// nothing else may come or change, unless the operation is in parts.
    fn is_between(&self, seen: &Contents) -> bool {
        let is_as = |state: &Contents, key: &Vec<u8>| seen.get(key) == state.get(key);
        let keys = || self.before.keys().chain(self.after.keys()).chain(seen.keys());
        if self.is_in_parts {
            return keys().all(|key| is_as(&self.before, key) || is_as(&self.after, key));
        }
        let is_dropped = |key: &Vec<u8>| !seen.contains_key(key) && !self.after.contains_key(key);
        self.drops() && keys().all(|key| is_as(&self.before, key) || is_dropped(key))
    }
}

/// The copies that are worked with, made once for a case.
struct Copies {
    /// As the child left the segment at its last stop.
    last: Image,
    /// What a rescuer works on, and as it left that at its last stop.
    first: Image,
    seen: Image,
    /// What a survivor works on.
    copy: Image,
    pages: Pages,
}

impl Copies {
    fn new(bytes: u64, pages: &Pages) -> Self {
        let [last, first, seen, copy] = [(); 4].map(|()| Image::new(bytes, pages));
        Self { last, first, seen, copy, pages: pages.clone() }
    }

    /// What was written is to be copied from here on.
    fn cover(&mut self, written: Option<&Range<usize>>) {
        let Some(written) = written.filter(|written| !self.pages.cover(written)) else { return };
        self.widen(self.pages.with(written));
    }

    /// The pages that a survivor has touched are copied from here on: to zero them is quicker than
    /// to have them taken away and touched anew for each image.
    fn learn(&mut self) {
        if self.copy.has_others() {
            let touched = Pages::touched(&[self.copy.base()], self.copy.bytes());
            self.widen(self.pages.and(&touched));
        }
    }

    fn widen(&mut self, pages: Pages) {
        for image in [&mut self.last, &mut self.first, &mut self.seen, &mut self.copy] {
            image.widen(&pages);
        }
        self.pages = pages;
    }
}

/// Explores a case, and prints what it counted.
pub(crate) fn explore(case: &Case) {
    explore_in(case, Grain::Counted, |how| Store::anonymous(how).unwrap());
}

/// Explores a case in a store that `make` makes, and prints what it counted.
pub(crate) fn explore_in(case: &Case, grain: Grain, make: impl FnOnce(&Create) -> Store) {
    let (memory_bytes, evict) = (case.memory_bytes, case.evict);
    let how = Create { memory_bytes, evict, ..Create::default() };
    let mut store = make(&how);
    store.set_now(Some(NOW_MS));
    (case.prepare)(&mut store);
    let expected = expect(case, &mut store);
    let (mut explored, begun) = (Explored::default(), Instant::now());
    walk(case, grain, &mut store, &expected, &mut explored);
    // A row of the table in docs/crash.md, and what does not belong there.
    println!(
        "| {} | {} | {} | {} | {} | slowest read {:?}, rescuers' instructions {}, {:?} in all",
        case.name,
        explored.instructions,
        explored.images,
        explored.rescuer_writes,
        explored.rescuer_images,
        explored.slowest_parked_read,
        explored.rescuer_instructions,
        begun.elapsed(),
    );
    assert!(explored.images > 1, "{}: the operation changed nothing", case.name);
}

/// Steps a child through the operation and examines every image that it leaves.
fn walk(
    case: &Case,
    grain: Grain,
    store: &mut Store,
    expected: &Expected,
    explored: &mut Explored,
) {
    let (base, bytes) = store.memory();
    let mut copies = Copies::new(bytes, &expected.pages);
    // SAFETY: the store's memory is mapped for as long as `store` lives, and written by it alone.
    let mut observer = unsafe { Store::observe_memory(base.cast_mut(), bytes) }.unwrap();
    observer.set_now(Some(NOW_MS));
    let operation = case.operation;
    let prepare = || {
        // The first call of a child of fork makes it a participant of its own.
        store.peek(b"nothing").unwrap();
        store
    };
    let child = Traced::spawn((base, bytes), grain, prepare, |store| operation(store));
    copies.last.copy(base);
    let (mut is_after, mut is_changed) = (false, true);
    loop {
        if is_changed {
            let at = format!("{}, instruction {}", case.name, child.instructions());
            explored.images += 1;
            parked(&observer, expected, explored, &at);
            is_after |= killed(&mut copies, child.pid(), expected, is_after, &at);
            if let Some(grain) = rescuers_grain() {
                killed_twice(&mut copies, bytes, (child.pid(), grain), expected, explored, &at);
            }
        }
        match child.step() {
            Stop::Over => break,
            Stop::Stepped { near } => {
                copies.cover(near.as_ref());
                is_changed = copies.last.follow(base, near);
            }
        }
    }
    explored.instructions = child.instructions();
    copies.last.widen(&Pages::touched(&[base], bytes));
    assert!(copies.last.is_copy(base), "{}: something was written unseen", case.name);
    assert!(is_after, "{}: done, and a survivor does not see it", case.name);
}

/// With the child standing still, each key reads as before or as after.
fn parked(observer: &Observer, expected: &Expected, explored: &mut Explored, at: &str) {
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
fn killed(copies: &mut Copies, pid: u32, expected: &Expected, was_after: bool, at: &str) -> bool {
    copies.copy.copy(copies.last.base());
    let mut survivor = copies.copy.attach(&[pid]);
    let is_after = examine(&mut survivor, expected, at);
    assert!(is_after || !was_after, "{at}: what was done is undone");
    survivor.set(b"survivor", &[7; 100], &Set::default()).unwrap();
    assert!(survivor.delete(b"survivor").unwrap(), "{at}: a survivor cannot write on");
    prove(&mut survivor, at);
    drop(survivor);
    copies.learn();
    is_after
}

/// Stops the survivor after each of its writes too, and takes it for dead as well.
fn killed_twice(
    copies: &mut Copies,
    bytes: u64,
    (pid, grain): (u32, Grain),
    expected: &Expected,
    explored: &mut Explored,
    at: &str,
) {
    copies.first.copy(copies.last.base());
    copies.seen.copy(copies.last.base());
    let (first, base) = (&copies.first, copies.first.base());
    let rescuer = Traced::spawn((base, bytes), grain, || (), |()| rescue(first, pid));
    while let Stop::Stepped { near } = rescuer.step() {
        explored.rescuer_writes += 1;
        copies.cover(near.as_ref());
        if !copies.seen.follow(base, near) {
            continue;
        }
        explored.rescuer_images += 1;
        copies.copy.copy(copies.seen.base());
        let mut survivor = copies.copy.attach(&[pid, rescuer.pid()]);
        let at = format!("{at}, rescuer's write {}", explored.rescuer_writes);
        examine(&mut survivor, expected, &at);
        drop(survivor);
        copies.learn();
    }
    explored.rescuer_instructions += rescuer.instructions();
    copies.seen.widen(&Pages::touched(&[base], bytes));
    assert!(copies.seen.is_copy(base), "{at}: a rescuer wrote something unseen");
    copies.seen.widen(&copies.pages);
}

/// All that a rescuer does: to attach rolls back, to tidy frees what was claimed.
fn rescue(image: &Image, dead: u32) {
    let mut rescuer = image.attach(&[dead]);
    rescuer.set_now(Some(NOW_MS));
    rescuer.tidy().unwrap();
}

/// Proves a survivor's store whole, and its contents entire. Returns whether they are as after.
fn examine(survivor: &mut Store, expected: &Expected, at: &str) -> bool {
    survivor.set_now(Some(NOW_MS));
    prove(survivor, at);
    let seen = contents(survivor);
    let is_after = seen == expected.after;
    let is_known = is_after || seen == expected.before || expected.is_between(&seen);
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
    Expected { before, after, telling, pages, is_in_parts: case.is_in_parts }
}

/// How the rescuers are to be stopped, if they are.
fn rescuers_grain() -> Option<Grain> {
    match std::env::var("CRASH").ok()?.as_str() {
        "full" => Some(Grain::Writes),
        "counted" => Some(Grain::Counted),
        _ => None,
    }
}

/// The words that change at each stop of a child that rescues what stands in `last`.
fn changes(last: &Image, bytes: u64, dead: u32, grain: Grain) -> Vec<Vec<usize>> {
    let pages = Pages::touched(&[last.base()], bytes);
    let [mut first, mut seen] = [(); 2].map(|()| Image::new(bytes, &pages));
    first.copy(last.base());
    rescue(&first, dead); // Now the pages that a rescuer needs are known.
    let pages = Pages::touched(&[first.base()], bytes);
    for image in [&mut first, &mut seen] {
        image.widen(&pages);
    }
    first.copy(last.base());
    seen.copy(last.base());
    let rescuer = Traced::spawn((first.base(), bytes), grain, || (), |()| rescue(&first, dead));
    let mut changes = Vec::new();
    while let Stop::Stepped { .. } = rescuer.step() {
        if !seen.is_copy(first.base()) {
            changes.push(seen.differing(first.base()));
            seen.copy(first.base());
        }
    }
    changes
}

#[test]
fn whoever_is_stopped_at_writes_is_seen_in_every_state() {
    let how = Create { memory_bytes: SMALL, ..Create::default() };
    let mut store = Store::anonymous(&how).unwrap();
    store.set(b"key", &[1; 1000], &Set::default()).unwrap();
    let (base, bytes) = store.memory();
    let prepare = || store.hold_keys(&[b"key"]).unwrap();
    let child = Traced::spawn((base, bytes), Grain::Counted, prepare, |()| {
        unreachable!("it is never stepped")
    });
    let last = Image::new(bytes, &Pages::touched(&[base], bytes));
    last.copy(base);
    let by = |grain| changes(&last, bytes, child.pid(), grain);
    let of_each = by(Grain::Each);
    assert!(of_each.len() > 5, "{of_each:?}");
    assert_eq!(of_each, by(Grain::Writes));
    assert_eq!(of_each, by(Grain::Counted));
}
