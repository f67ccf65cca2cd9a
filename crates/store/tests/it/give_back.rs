//! Memory that is free goes back to the system; the system itself is asked how much is there.

use std::os::fd::AsRawFd;

use morecore_store::{Create, Evict, Name, Store};

use crate::{ALWAYS, chance, prove, value_of};

const PAGE: usize = 4096;
const MEMORY_BYTES: u64 = 64 << 20;

/// The time at which the tests begin, and how long they let something rest.
const NOW_MS: u64 = 1_790_000_000_000;
const RESTED_MS: u64 = 2_000;

fn how() -> Create {
    Create { memory_bytes: MEMORY_BYTES, mode: 0o600, evict: Evict::None }
}

/// How many bytes of the segment have a page.
fn resident(store: &Store) -> u64 {
    let (base, bytes) = store.memory();
    let mut pages = vec![0u8; bytes as usize / PAGE];
    // SAFETY: the segment is mapped, and `pages` has a byte for each of its pages.
    let failed =
        unsafe { libc::mincore(base.cast_mut().cast(), bytes as usize, pages.as_mut_ptr()) };
    assert_eq!(failed, 0, "{}", std::io::Error::last_os_error());
    pages.iter().filter(|page| *page & 1 != 0).count() as u64 * PAGE as u64
}

fn key(number: u32) -> [u8; 4] {
    number.to_le_bytes()
}

/// A value whose length and bytes follow from its number.
fn value(number: u32) -> Vec<u8> {
    let bytes = [10, 100, 900, 5_000, 70_000][number as usize % 5];
    vec![number as u8; bytes]
}

/// Tidies once a tenth of a second, as a server does, until what is free has rested.
fn rest(store: &mut Store, now_ms: &mut u64) {
    for _ in 0..RESTED_MS / 100 {
        *now_ms += 100;
        store.set_now(Some(*now_ms));
        store.tidy().unwrap();
    }
}

const COUNT: u32 = 3_000;

fn fill(store: &mut Store) {
    for number in 0..COUNT {
        store.set(&key(number), &value(number), &ALWAYS).unwrap();
    }
}

/// Fills a store and empties it again, and says how much memory it had and has.
fn check_emptied(mut store: Store, empty: impl FnOnce(&mut Store)) -> (u64, u64) {
    let mut now_ms = NOW_MS;
    store.set_now(Some(now_ms));
    let fresh = resident(&store);
    fill(&mut store);
    let full = resident(&store);
    assert!(full > 40 << 20, "{full}");
    empty(&mut store);
    rest(&mut store, &mut now_ms);
    let left = resident(&store);
    // The last huge page or two may have too little free for it to be split.
    assert!(left < fresh + (1 << 20), "{left} of {full} are left; {fresh} when it was made");
    assert_eq!(store.resident_bytes(), Some(left));
    prove(&mut store);
    fill(&mut store);
    for number in 0..COUNT {
        assert_eq!(value_of(&mut store, &key(number)), Some(value(number)), "{number}");
    }
    prove(&mut store);
    (full, left)
}

fn delete_all(store: &mut Store) {
    for number in 0..COUNT {
        assert!(store.delete(&key(number)).unwrap());
    }
}

#[test]
fn what_was_deleted_goes_back() {
    check_emptied(Store::anonymous(&how()).unwrap(), delete_all);
}

#[test]
fn what_was_cleared_goes_back() {
    check_emptied(Store::anonymous(&how()).unwrap(), |store| store.clear().unwrap());
}

#[test]
fn memory_that_was_handed_over_goes_back() {
    let store = Store::memfd(&how()).unwrap();
    let other = Store::from_fd(store.as_fd().unwrap().try_clone_to_owned().unwrap()).unwrap();
    check_emptied(store, delete_all);
    // The system counts what this memory has, whoever maps it.
    assert!(blocks(&other) < 60 << 20);
}

/// The bytes that the system has given to a descriptor's memory or file.
fn blocks(store: &Store) -> u64 {
    // SAFETY: `stat` is plain numbers, for which all zero is a value.
    let mut told: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open, and the kernel fills a `stat`.
    let failed = unsafe { libc::fstat(store.as_fd().unwrap().as_raw_fd(), &raw mut told) };
    assert_eq!(failed, 0);
    told.st_blocks as u64 * 512
}

#[test]
fn a_segment_gives_back_for_all_who_attached() {
    let name = Name::new(&format!("give-back-{}", std::process::id())).unwrap();
    let store = Store::create(&name, &how()).unwrap();
    let observer = Store::observe(&name).unwrap();
    let mut other = Store::attach(&name).unwrap();
    Store::remove(&name).unwrap();
    check_emptied(store, |store| {
        delete_all(store);
        other.set(b"stays", &[7; 30_000], &ALWAYS).unwrap();
    });
    let mut value = Vec::new();
    observer.get(b"stays", &mut value).unwrap().unwrap();
    assert_eq!(value, [7; 30_000]);
}

#[test]
fn a_file_keeps_its_places_on_the_disk() {
    let path = std::env::temp_dir().join(format!("morecore-give-back-{}", std::process::id()));
    let name = Name::new(&format!("file:{}", path.display())).unwrap();
    let how = Create { memory_bytes: 8 << 20, ..how() };
    let mut store = Store::create(&name, &how).unwrap();
    Store::remove(&name).unwrap();
    let mut now_ms = NOW_MS;
    store.set_now(Some(now_ms));
    store.set(b"k", &[1; 3 << 20], &ALWAYS).unwrap();
    assert!(store.delete(b"k").unwrap());
    rest(&mut store, &mut now_ms);
    assert!(blocks(&store) >= 8 << 20);
    prove(&mut store);
}

#[test]
fn what_is_replaced_all_the_time_keeps_its_pages() {
    let mut store = Store::anonymous(&how()).unwrap();
    let mut now_ms = NOW_MS;
    let value = vec![1; 4 << 20];
    let mut warm = 0;
    for turn in 0..100 {
        now_ms += 100;
        store.set_now(Some(now_ms));
        store.set(b"k", &value, &ALWAYS).unwrap();
        store.tidy().unwrap();
        // The old value and the new one stand side by side while one replaces the other.
        if turn == 2 {
            warm = resident(&store);
        }
        assert!(turn < 2 || resident(&store) >= warm, "turn {turn}");
    }
    assert!(warm >= 8 << 20, "{warm}");
}

#[test]
fn a_writer_gives_back_where_nobody_tidies() {
    let mut store = Store::anonymous(&how()).unwrap();
    store.set_now(Some(NOW_MS));
    fill(&mut store);
    delete_all(&mut store);
    let full = resident(&store);
    store.set_now(Some(NOW_MS + RESTED_MS));
    // Every so many changes a batch goes.
    for _ in 0..64 * 256 {
        store.set(b"k", b"v", &ALWAYS).unwrap();
    }
    assert!(resident(&store) < full / 8, "{} of {full}", resident(&store));
    prove(&mut store);
}

#[test]
fn what_is_left_between_survives_and_what_stays_is_little() {
    let mut chance = chance();
    let mut store = Store::anonymous(&how()).unwrap();
    let mut now_ms = NOW_MS;
    store.set_now(Some(now_ms));
    fill(&mut store);
    let mut stays = Vec::new();
    for number in 0..COUNT {
        if chance.u32(..100) == 0 {
            stays.push(number);
        } else {
            assert!(store.delete(&key(number)).unwrap());
        }
    }
    let full = resident(&store);
    rest(&mut store, &mut now_ms);
    assert!(resident(&store) < full / 3, "{} of {full}", resident(&store));
    prove(&mut store);
    for number in stays {
        assert_eq!(value_of(&mut store, &key(number)), Some(value(number)), "{number}");
    }
}

#[test]
fn groups_that_became_empty_go_back_and_come_again() {
    const KEYS: u32 = 150_000;
    let mut store = Store::anonymous(&how()).unwrap();
    let set_all = |store: &mut Store| {
        for number in 0..KEYS {
            store.set(&key(number), b"small", &ALWAYS).unwrap();
        }
    };
    set_all(&mut store);
    let full = prove(&mut store).groups;
    for number in (0..KEYS).filter(|number| number % 1000 != 0) {
        assert!(store.delete(&key(number)).unwrap());
    }
    // As many turns as the largest directory has parts, and each shard one of some.
    for _ in 0..200 {
        store.tidy().unwrap();
    }
    let proof = prove(&mut store);
    assert_eq!(proof.entries, u64::from(KEYS) / 1000);
    assert!(full > 1000 && proof.groups <= proof.entries, "{full} groups, then {proof:?}");
    let (mut seen, mut cursor) = (0, 0);
    loop {
        cursor = store.scan(cursor, 100, |_, _| seen += 1).unwrap();
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(seen, proof.entries);
    set_all(&mut store);
    assert_eq!(prove(&mut store).entries, u64::from(KEYS));
}
