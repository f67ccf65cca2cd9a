//! Stores that outlive their makers: System V segments.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};

use morecore_store::{Create, Error, Evict, ListedState, Name, Store};
use morecore_sys::segment;

use crate::{ALWAYS, prove, value_of};

/// A store of this test alone, which is removed also when the test fails.
struct Removed(Name);

impl Removed {
    fn new(test: &str) -> Self {
        let name = Name::new(&format!("it-{test}-{}", std::process::id())).unwrap();
        // What is there a run with our number left that was killed.
        let _ = Store::remove(&name);
        Self(name)
    }

    fn create(&self) -> Store {
        let how = Create { memory_bytes: 2 << 20, mode: 0o600, evict: Evict::None };
        Store::create(&self.0, &how).unwrap()
    }

    fn segment(&self) -> morecore_store::Listed {
        let mut listed = Store::list().unwrap();
        listed.retain(|store| store.name == self.0.as_str());
        assert_eq!(listed.len(), 1);
        listed.remove(0)
    }
}

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = Store::remove(&self.0);
    }
}

/// A word of the header of an attached segment.
fn header_word<'a>(at: *mut u8, index: usize) -> &'a AtomicU64 {
    let word = at.cast::<u64>().wrapping_add(index);
    // SAFETY: a segment is larger than its header, aligned, and attached until the test detaches
    // it.
    unsafe { AtomicU64::from_ptr(word) }
}

#[test]
fn a_store_is_made_once_listed_attached_and_removed() {
    let name = Removed::new("made");
    assert!(matches!(Store::attach(&name.0), Err(Error::NoSuchStore { .. })));
    let mut one = name.create();
    let how = Create { memory_bytes: 2 << 20, ..Create::default() };
    assert!(matches!(Store::create(&name.0, &how), Err(Error::Exists { .. })));
    let listed = name.segment();
    assert_eq!((listed.bytes, listed.mode, listed.attached), (2 << 20, 0o600, 1));
    assert_eq!((listed.key >> 16, listed.state), (0x6d63, ListedState::Ready));
    one.set(b"k", b"v", &ALWAYS).unwrap();
    drop(one);
    let mut two = Store::attach(&name.0).unwrap();
    assert_eq!(value_of(&mut two, b"k").unwrap(), b"v");
    assert_eq!((two.name(), two.memory_bytes()), (name.0.to_string(), 2 << 20));
    Store::remove(&name.0).unwrap();
    assert!(matches!(Store::remove(&name.0), Err(Error::NoSuchStore { .. })));
    // Who is attached keeps the store; a new one of the name is another one.
    let mut three = name.create();
    assert_eq!(value_of(&mut two, b"k").unwrap(), b"v");
    assert_eq!(value_of(&mut three, b"k"), None);
    two.set(b"k", b"w", &ALWAYS).unwrap();
    prove(&mut two);
}

#[test]
fn two_attachments_at_different_addresses_see_the_same() {
    let name = Removed::new("two");
    let mut one = name.create();
    let mut two = Store::attach(&name.0).unwrap();
    assert_ne!(one.memory().0, two.memory().0);
    for number in 0..500u32 {
        let value = vec![number as u8; number as usize];
        one.set(&number.to_le_bytes(), &value, &ALWAYS).unwrap();
        assert_eq!(value_of(&mut two, &number.to_le_bytes()), Some(value));
        assert!(number % 3 != 0 || two.delete(&number.to_le_bytes()).unwrap());
    }
    prove(&mut one);
    prove(&mut two);
    assert_eq!(one.stat().participants.len(), 2);
    drop(two);
    assert_eq!(one.stat().participants.len(), 1);
}

#[test]
fn an_observer_sees_and_cannot_write() {
    let name = Removed::new("observer");
    let mut store = name.create();
    for number in 0..300u32 {
        store.set(&number.to_le_bytes(), &vec![1; number as usize], &ALWAYS).unwrap();
    }
    let observer = Store::observe(&name.0).unwrap();
    let mut value = Vec::new();
    assert_eq!(observer.get(&299u32.to_le_bytes(), &mut value).unwrap().unwrap().bytes, 299);
    assert_eq!((value.len(), observer.len()), (299, 300));
    let mut seen = 0;
    assert_eq!(observer.scan(0, 1000, |_, _| seen += 1).unwrap(), 0);
    assert_eq!(seen, 300);
    assert_eq!(observer.verify().unwrap(), prove(&mut store));
    assert_eq!(observer.stat().entries, 300);
    let census = observer.census();
    assert_eq!(census.pieces.iter().map(|piece| piece.bytes).sum::<u64>(), 2 << 20);
    let mut next = 0;
    for piece in &census.pieces {
        assert_eq!(piece.at, next);
        next = piece.at + piece.bytes;
    }
    assert_eq!(observer.stat().participants.len(), 1);
}

#[test]
fn another_layout_is_left_alone() {
    let name = Removed::new("layout");
    drop(name.create());
    let at = segment::attach(segment::Id(name.segment().id), false).unwrap();
    header_word(at, 1).store(99, Relaxed);
    let error = Store::attach(&name.0).unwrap_err();
    assert!(error.to_string().starts_with("segment has layout 99, not "), "{error}");
    assert!(matches!(Store::observe(&name.0), Err(Error::Layout { found: 99, .. })));
    let how = Create { memory_bytes: 2 << 20, ..Create::default() };
    assert!(matches!(Store::create(&name.0, &how), Err(Error::Exists { .. })));
    assert_eq!(name.segment().state, ListedState::Layout { found: 99 });
    Store::remove(&name.0).unwrap();
    // SAFETY: attached above, and used no more.
    unsafe { segment::detach(at) }.unwrap();
}

#[test]
fn what_a_dead_maker_left_is_replaced() {
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let pid = child.id();
    child.wait().unwrap();
    // It died before it wrote the state, before the magic, and later.
    for (test, words) in
        [("raw", &[(3, 0), (0, 0)][..]), ("state", &[(3, 1), (0, 0)]), ("magic", &[(3, 1)])]
    {
        let name = Removed::new(test);
        drop(name.create());
        let listed = name.segment();
        let at = segment::attach(segment::Id(listed.id), false).unwrap();
        for &(index, word) in words {
            header_word(at, index).store(word, Relaxed);
        }
        let maker = header_word(at, 4);
        maker.store(maker.load(Relaxed) >> 22 << 22 | u64::from(pid), Relaxed);
        // SAFETY: attached above, and used no more.
        unsafe { segment::detach(at) }.unwrap();
        assert!(matches!(Store::attach(&name.0), Err(Error::NoSuchStore { .. })));
        let mut store = name.create();
        assert_eq!(name.segment().key, listed.key, "{test}");
        assert_ne!(name.segment().id, listed.id, "{test}");
        prove(&mut store);
    }
}

#[test]
fn sizes_and_names_have_limits() {
    let name = Removed::new("limits");
    let how = Create { memory_bytes: 1000, ..Create::default() };
    let error = Store::create(&name.0, &how).unwrap_err();
    assert_eq!(error.to_string(), "a store of 1000 bytes is too small, it needs at least 1048576");
}

/// Another name whose store is looked for under the same keys.
fn colliding(name: &Name) -> Name {
    // As the library has it: 16 bits of FNV-1a, folded.
    let key = |name: &str| {
        let fold = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        let hash = name.bytes().fold(0x811c_9dc5, fold);
        (hash ^ (hash >> 16)) & 0xffff
    };
    let others = (0..).map(|number: u32| format!("it-collides-{number}-{}", std::process::id()));
    Name::new(&others.into_iter().find(|other| key(other) == key(name.as_str())).unwrap()).unwrap()
}

/// How often the three meet: without turns, one in some hundred times two stores of the name are
/// made.
const ROUNDS: u32 = 2000;

#[test]
fn a_name_is_made_once_though_two_make_it_while_a_third_makes_place() {
    let name = Removed::new("race");
    let other = Removed(colliding(&name.0));
    let how = Create { memory_bytes: 1 << 20, ..Create::default() };
    let mut chance = crate::chance();
    for round in 0..ROUNDS {
        drop(Store::create(&other.0, &how).unwrap());
        let here = AtomicU32::new(0);
        // Each begins at the same moment, and a little later: a lookup takes some microseconds.
        let wait = |spins: u32| {
            here.fetch_add(1, Release);
            while here.load(Acquire) < 3 {
                std::thread::yield_now();
            }
            (0..spins).for_each(|_| std::hint::spin_loop());
        };
        let make = |spins| {
            wait(spins);
            Store::create(&name.0, &how).is_ok()
        };
        let make = &make;
        let made = std::thread::scope(|threads| {
            let makers = [chance.u32(..1000), chance.u32(..1000)]
                .map(|spins| threads.spawn(move || make(spins)));
            wait(chance.u32(..4000));
            Store::remove(&other.0).unwrap();
            makers.map(|maker| maker.join().unwrap())
        });
        let count = Store::list().unwrap().iter().filter(|s| s.name == name.0.as_str()).count();
        assert_eq!((made[0] ^ made[1], count), (true, 1), "round {round}: {made:?}");
        Store::remove(&name.0).unwrap();
    }
}
