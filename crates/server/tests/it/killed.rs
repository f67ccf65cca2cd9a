//! A server that is killed while long values come and go: those that it acknowledged are there,
//! none is there in part, and what was on its way takes no memory any more.
//!
//! ```text
//!   writers   SET a long value --> +OK     one of them sends a part, and the server is killed
//!   readers   GET long values, whose replies are sent from where they stand
//! ```

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Release;
use std::time::Instant;

use fastrand::Rng;
use morecore_server::Options;
use morecore_store::{Set, Store};

use crate::house::{House, under_every_model};
use crate::talk::{PATIENCE, Talk};

/// Who writes, a key each, and who reads.
const WRITERS: usize = 4;
const READERS: usize = 2;

/// The most that the keys take beside themselves and their values: tables and tags. The shortest
/// value is three times as long, so none can hide in it.
const TABLE_BYTES_MOST: u64 = 16 << 10;

/// How many servers are killed under each model.
const KILLS: u32 = 4;

/// The value of a number: each of its bytes tells, and it is long enough to be filled in place.
fn value_of(number: u64) -> Vec<u8> {
    let words = 6_000 + number as usize * 7_919 % 60_000;
    number.to_le_bytes().repeat(words)
}

/// The number of a value, which must be whole.
fn number_of(value: &[u8]) -> u64 {
    let number = u64::from_le_bytes(value[..8].try_into().unwrap());
    assert!(value == value_of(number), "a torn value of {number}, {} bytes", value.len());
    number
}

/// A SET, as it is sent.
fn set(key: &str, number: u64) -> Vec<u8> {
    let value = value_of(number);
    let head = format!("*3\r\n$3\r\nSET\r\n$1\r\n{key}\r\n${}\r\n", value.len());
    [head.as_bytes(), &value, b"\r\n"].concat()
}

/// Sets the values of 1, 2, 3 and so on, and says which was acknowledged, until the connection
/// ends.
fn write(mut talk: Talk, key: &str, acknowledged: &AtomicU64) {
    for number in 1.. {
        talk.send(&set(key, number));
        match talk.try_reply().as_deref() {
            Some("+OK") => acknowledged.store(number, Release),
            None => return,
            Some(other) => panic!("{other}"),
        }
    }
}

/// Reads all keys until the connection ends; what comes whole was shown to be.
fn read(mut talk: Talk) {
    loop {
        for key in 0..WRITERS {
            talk.send(format!("GET {key}\r\n").as_bytes());
        }
        for _ in 0..WRITERS {
            if talk.try_reply().is_none() {
                return;
            }
        }
    }
}

/// Clients write and read until the server dies in the middle of a value; returns what was
/// acknowledged of each key.
fn kill_in_a_value(house: House, chance: &mut Rng) -> [u64; WRITERS] {
    let acknowledged = [const { AtomicU64::new(0) }; WRITERS];
    let address = house.address;
    let come = || Talk::to(address);
    std::thread::scope(|scope| {
        for (key, acknowledged) in acknowledged.iter().enumerate().skip(1) {
            let talk = come();
            scope.spawn(move || write(talk, &key.to_string(), acknowledged));
        }
        for _ in 0..READERS {
            let talk = come();
            scope.spawn(move || read(talk));
        }
        let mut talk = come();
        let last = chance.u64(1..12);
        for number in 1..last {
            talk.send(&set("0", number));
            assert_eq!(talk.reply(), "+OK");
            acknowledged[0].store(number, Release);
        }
        let command = set("0", last);
        talk.send(&command[..chance.usize(..command.len())]);
        if chance.bool() {
            // By now some of it has been received, where the model can do two things at once.
            assert_eq!(come().ask("PING"), "+PONG");
        }
        house.kill();
    });
    acknowledged.map(AtomicU64::into_inner)
}

/// Waits until nothing of the dead is left; those whom the server forked may die after it.
fn bury(store: &mut Store) {
    let until = Instant::now() + PATIENCE;
    loop {
        store.tidy().unwrap();
        let (proof, stat) = (store.verify().unwrap(), store.stat());
        if (proof.claimed, proof.pending, stat.participants.len()) == (0, 0, 1) {
            return;
        }
        assert!(Instant::now() < until, "{proof:?} {:?}", stat.participants);
    }
}

/// Kills one server, and looks at what it left.
fn check(options: Options, chance: &mut Rng) {
    let (house, mut store) = House::apart(options, None);
    // The first slab of a class stays for good: that of directories is made now.
    store.set(b"0", b"", &Set::default()).unwrap();
    store.clear().unwrap();
    let free = store.stat().free_bytes;
    let acknowledged = kill_in_a_value(house, chance);
    bury(&mut store);
    for (key, known) in acknowledged.into_iter().enumerate() {
        let mut value = Vec::new();
        let found = store.get(key.to_string().as_bytes(), &mut value).unwrap();
        let number = found.map_or(0, |_| number_of(&value));
        // The one that was on its way may have come whole.
        assert!((known..=known + 1).contains(&number), "{key}: {number}, {known} acknowledged");
    }
    let stat = store.stat();
    let (taken, content) = (free - stat.free_bytes, stat.content_bytes);
    let is_needed = (content..content + TABLE_BYTES_MOST).contains(&taken);
    assert!(is_needed, "{taken} bytes are taken, and {content} in use");
    // And when they go, all is as it was.
    store.clear().unwrap();
    bury(&mut store);
    assert_eq!(store.stat().free_bytes, free);
}

#[test]
fn a_server_killed_in_the_middle_of_long_values_leaves_whole_ones_and_nothing_else() {
    let seed = std::env::var("SEED").ok().map_or_else(|| fastrand::u64(..), |s| s.parse().unwrap());
    eprintln!("SEED={seed}");
    let mut chance = Rng::with_seed(seed);
    let chances: Vec<u64> = (0..KILLS).map(|_| chance.u64(..)).collect();
    under_every_model(|options| {
        for &seed in &chances {
            check(options.clone(), &mut Rng::with_seed(seed));
        }
    });
}
