//! Long values: received where they will stand and sent from there, and seen by nobody before they
//! are whole, whatever their client does.

use std::time::Instant;

use morecore_store::{Create, Evict};

use crate::house::{House, under_every_model};
use crate::talk::{PATIENCE, Talk};

/// Long enough to be received in place and sent from there, and for more than one read.
const BYTES: usize = 200_000;

/// The beginning of a SET of a long value, up to the value.
fn head(key: &str, bytes: usize) -> Vec<u8> {
    format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${bytes}\r\n", key.len()).into_bytes()
}

fn value_of(byte: u8) -> Vec<u8> {
    vec![byte; BYTES]
}

/// How [`Talk`] shows it.
fn shown(byte: u8) -> String {
    format!("{:?}", String::from_utf8(value_of(byte)).unwrap())
}

/// Waits until so much has come of what is to be executed.
fn wait_for_pending(other: &mut Talk, bytes: usize) {
    wait_for(other, "CLIENT LIST", |lines| {
        let pending = lines.split(" qbuf=").skip(1);
        let mut pending = pending.map(|rest| rest.split(' ').next().unwrap());
        pending.any(|count| count.parse::<usize>().unwrap() >= bytes)
    });
}

fn wait_for(other: &mut Talk, command: &str, is_met: impl Fn(&str) -> bool) {
    let until = Instant::now() + PATIENCE;
    loop {
        let found = other.ask(command);
        if is_met(&found) {
            return;
        }
        assert!(Instant::now() < until, "{found}");
    }
}

#[test]
fn nobody_sees_a_long_value_before_it_is_whole() {
    under_every_model(|options| {
        let house = House::open(options);
        let (mut talk, mut other) = (Talk::to(house.address), Talk::to(house.address));
        for (round, byte) in (b'a'..=b'c').enumerate() {
            talk.send(&head("k", BYTES));
            talk.send(&value_of(byte)[..BYTES - 1]);
            let before = if round == 0 { ":0".into() } else { format!(":{BYTES}") };
            assert_eq!(other.ask("STRLEN k"), before);
            talk.send(&[&[byte][..], b"\r\nSTRLEN k\r\n"].concat());
            assert_eq!((talk.reply(), talk.reply()), ("+OK".into(), format!(":{BYTES}")));
            assert_eq!(other.ask("GET k"), shown(byte));
        }
    });
}

#[test]
fn a_client_that_dies_in_the_middle_of_a_long_value_leaves_nothing() {
    const CLIENTS: usize = 40;
    const HALF: usize = 1 << 20;
    under_every_model(|options| {
        let (house, mut store) = House::shared(options);
        let mut other = Talk::to(house.address);
        assert_eq!(other.ask_exactly(&[b"SET", b"k", &value_of(b'a')]), "+OK");
        let free = store.stat().free_bytes;
        for _ in 0..CLIENTS {
            let mut talk = Talk::to(house.address);
            talk.send(&head("k", 2 * HALF));
            talk.send(&vec![b'b'; HALF]);
            drop(talk);
        }
        wait_for(&mut other, "INFO clients", |info| info.contains("connected_clients:1\\"));
        assert_eq!(other.ask("GET k"), shown(b'a'));
        store.tidy().unwrap();
        let (proof, stat) = (store.verify().unwrap(), store.stat());
        assert_eq!((proof.entries, proof.claimed, stat.free_bytes), (1, 0, free));
    });
}

#[test]
fn clients_that_say_half_of_a_long_value_have_a_small_part_of_the_store() {
    const CLIENTS: usize = 100;
    const SAID: usize = 1 << 20;
    under_every_model(|options| {
        let create = Create { memory_bytes: 64 << 20, evict: Evict::None, ..Create::default() };
        let house = House::before(&create, options);
        let mut other = Talk::to(house.address);
        let mut half = Vec::new();
        for _ in 0..CLIENTS {
            let mut talk = Talk::to(house.address);
            talk.send(&head("k", SAID));
            talk.send(&value_of(b'x')[..100]);
            half.push(talk);
        }
        // All but a sixteenth of it, and what the store is made of, is for others.
        let value = vec![b'v'; SAID];
        for key in 0..52 {
            assert_eq!(other.ask_exactly(&[b"SET", &[key], &value]), "+OK", "{key}");
        }
    });
}

#[test]
fn a_slow_reader_gets_a_long_value_as_it_was_and_pins_nothing() {
    // As much as a connection may have waiting, and more than sockets buffer.
    const ASKED: usize = 60;
    under_every_model(|options| {
        let (house, mut store) = House::shared(options);
        let (mut slow, mut other) = (Talk::to(house.address), Talk::to(house.address));
        // The second of these finds out that values are long.
        assert_eq!(other.ask_exactly(&[b"SET", b"k", &value_of(b'a')]), "+OK");
        assert_eq!((other.ask("GET k"), other.ask("GET k")), (shown(b'a'), shown(b'a')));
        slow.send("GET k\r\n".repeat(ASKED).as_bytes());
        wait_for(&mut other, "CLIENT LIST", |lines| {
            lines.contains("cmd=get ") && !lines.contains(" omem=0 tot-mem=0 events=r cmd=get")
        });
        assert_eq!(other.ask_exactly(&[b"SET", b"k", &value_of(b'b')]), "+OK");
        assert_eq!(other.ask("DEL k"), ":1");
        // It may be in the middle of sending yet.
        let until = Instant::now() + PATIENCE;
        loop {
            store.tidy().unwrap();
            let proof = store.verify().unwrap();
            if (proof.entries, proof.pending) == (0, 0) {
                break;
            }
            assert!(Instant::now() < until, "{proof:?}");
        }
        for number in 0..ASKED {
            assert_eq!(slow.reply(), shown(b'a'), "{number}");
        }
        assert_eq!(slow.ask("GET k"), "nil");
    });
}

#[test]
fn long_values_are_replaced_evicted_and_read_at_the_same_time() {
    const KEYS: usize = 50;
    under_every_model(|options| {
        // Room for some twenty of them.
        let create = Create { memory_bytes: 8 << 20, ..Create::default() };
        let house = House::before(&create, options);
        let address = house.address;
        std::thread::scope(|scope| {
            for byte in b'a'..=b'd' {
                scope.spawn(move || {
                    let mut talk = Talk::to(address);
                    for number in 0..2 * KEYS {
                        let key = format!("k{}", number % KEYS);
                        talk.send(&[&head(&key, BYTES)[..], &value_of(byte), b"\r\n"].concat());
                        talk.send(format!("GET {key}\r\n").as_bytes());
                        assert_eq!(talk.reply(), "+OK");
                        let found = talk.reply();
                        let is_whole = (b'a'..=b'd').any(|byte| found == shown(byte));
                        assert!(is_whole || found == "nil", "{:.60}", found);
                    }
                });
            }
        });
        let mut talk = Talk::to(address);
        let count = talk.ask("DBSIZE");
        assert!(count != ":0", "{count}");
    });
}

#[test]
fn what_is_more_than_a_set_is_done_with_a_long_value_too() {
    under_every_model(|options| {
        let house = House::open(options);
        let (mut talk, mut other) = (Talk::to(house.address), Talk::to(house.address));
        let mut half = |talk: &mut Talk, byte| {
            talk.send(&head("k", BYTES));
            talk.send(&value_of(byte)[..BYTES / 2]);
            wait_for_pending(&mut other, BYTES / 2);
        };
        let rest = |talk: &mut Talk, byte| {
            talk.send(&value_of(byte)[BYTES / 2..]);
            talk.send(b"\r\n");
        };
        // Somebody begins to watch all commands.
        half(&mut talk, b'a');
        let mut monitor = Talk::to(house.address);
        assert_eq!(monitor.ask("MONITOR"), "+OK");
        rest(&mut talk, b'a');
        assert_eq!(talk.reply(), "+OK");
        let mut told = monitor.reply();
        while !told.contains("SET") {
            told = monitor.reply();
        }
        assert!(told.len() > BYTES, "{told:.100}");
        drop(monitor);
        // A pause begins.
        half(&mut talk, b'b');
        let mut pausing = Talk::to(house.address);
        assert_eq!(pausing.ask("CLIENT PAUSE 60000 WRITE"), "+OK");
        rest(&mut talk, b'b');
        assert_eq!(pausing.ask("GET k"), shown(b'a'));
        assert_eq!(pausing.ask("CLIENT UNPAUSE"), "+OK");
        assert_eq!((talk.reply(), talk.ask("GET k")), ("+OK".into(), shown(b'b')));
        // A transaction, and a client that wants no replies.
        assert_eq!((pausing.ask("WATCH k"), pausing.ask("MULTI")), ("+OK".into(), "+OK".into()));
        pausing.send(&[&head("k", BYTES)[..], &value_of(b'c'), b"\r\n"].concat());
        assert_eq!((pausing.reply(), pausing.ask("GET k")), ("+QUEUED".into(), "+QUEUED".into()));
        half(&mut talk, b'd');
        rest(&mut talk, b'd');
        assert_eq!((talk.reply(), pausing.ask("EXEC")), ("+OK".into(), "nil".into()));
        talk.send(b"CLIENT REPLY OFF\r\nGET k\r\nGET k\r\nCLIENT REPLY ON\r\n");
        assert_eq!((talk.reply(), talk.ask("GET k")), ("+OK".into(), shown(b'd')));
    });
}

#[test]
fn the_slow_log_tells_of_a_long_value_as_of_any() {
    under_every_model(|options| {
        let house = House::open(options);
        let mut talk = Talk::to(house.address);
        assert_eq!(talk.ask("CONFIG SET slowlog-log-slower-than 0"), "+OK");
        talk.send(&[&head("k", BYTES)[..], &value_of(b'a')[..BYTES - 10]].concat());
        wait_for_pending(&mut Talk::to(house.address), BYTES - 10);
        talk.send(&[&value_of(b'a')[..10], b"\r\n"].concat());
        assert_eq!(talk.reply(), "+OK");
        let told = talk.ask("SLOWLOG GET 128");
        let shown =
            format!("[\"SET\", \"k\", \"{}... ({} more bytes)\"]", "a".repeat(128), BYTES - 128);
        assert!(told.contains(&shown), "{told:.3000}");
    });
}

#[test]
fn a_long_value_that_does_not_end_as_it_must_is_an_error_of_the_protocol() {
    under_every_model(|options| {
        let house = House::open(options);
        let mut talk = Talk::to(house.address);
        talk.send(&[&head("k", BYTES)[..], &value_of(b'a'), b"xyPING\r\n"].concat());
        assert!(talk.reply().starts_with("-ERR Protocol error"));
        assert_eq!(talk.reply(), "closed");
        assert_eq!(Talk::to(house.address).ask("EXISTS k"), ":0");
    });
}
