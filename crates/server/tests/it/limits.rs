//! No client can cost another its time, or the server more than a bounded amount of memory.

use std::io::Write;
use std::net::TcpStream;
use std::time::Instant;

use morecore_server::Options;
use morecore_store::{Create, Evict};

use crate::house::{House, under_every_model};
use crate::talk::{PATIENCE, Talk};

#[test]
fn half_a_command_and_silence_keeps_nobody_waiting() {
    under_every_model(|options| {
        let house = House::open(options);
        let mut half = Talk::to(house.address);
        half.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\nnot all");
        let mut other = Talk::to(house.address);
        assert_eq!(other.ask("PING"), "+PONG");
        half.send(&vec![b'x'; 100_000 - 7]);
        half.send(b"\r\n");
        assert_eq!(half.reply(), "+OK");
        assert_eq!(other.ask("STRLEN k"), ":100000");
    });
}

#[test]
fn a_bulk_of_a_gigabyte_is_refused_in_words() {
    under_every_model(|options| {
        let house = House::open(options);
        let mut talk = Talk::to(house.address);
        talk.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1073741824\r\n");
        assert_eq!(talk.reply(), "-ERR Protocol error: invalid bulk length");
        assert_eq!(talk.reply(), "closed");
    });
}

/// The most memory that a process ever had, in KiB.
fn peak_kib(pid: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn an_offset_beyond_any_value_of_the_store_takes_no_memory() {
    const MOST_KIB: u64 = 64 << 10; // An eighth of what such a value would take.
    under_every_model(|options| {
        let (house, _) = House::apart(options, None);
        let mut talk = Talk::to(house.address);
        let info = talk.ask("INFO server");
        let pid = info.split("process_id:").nth(1).unwrap().split('\\').next().unwrap();
        let before = peak_kib(pid);
        let far =
            ["SETRANGE k 536870900 x", "SETBIT k 4294967290 1", "BITFIELD k SET u8 4294967200 1"];
        for command in far {
            let reply = talk.ask(command);
            assert!(reply.starts_with("-ERR value has 536870"), "{command}: {reply}");
        }
        let peak = peak_kib(pid);
        assert!(peak < before + MOST_KIB, "{before} KiB before, {peak} KiB");
        assert_eq!(talk.ask("EXISTS k"), ":0");
    });
}

#[test]
fn garbage_is_answered_in_words_and_ends_the_connection() {
    under_every_model(|options| {
        let house = House::open(options);
        let mut talk = Talk::to(house.address);
        talk.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n*1\r\n!\r\n");
        assert!(talk.reply().starts_with("-ERR unknown command '"));
        assert_eq!(talk.reply(), "-ERR Protocol error: expected '$', got '!'");
        assert_eq!(talk.reply(), "closed");
        assert_eq!(Talk::to(house.address).ask("PING"), "+PONG");
    });
}

#[test]
fn seeded_garbage_never_stops_the_server() {
    let seed = std::env::var("SEED").ok().map_or_else(|| fastrand::u64(..), |s| s.parse().unwrap());
    eprintln!("SEED={seed}");
    under_every_model(|options| {
        let mut random = fastrand::Rng::with_seed(seed);
        let house = House::open(options);
        for _ in 0..50 {
            let mut talk = TcpStream::connect(house.address).unwrap();
            let alphabet = b"*$0123456789\r\n\r\n\"' GETSx\x00\xff";
            let bytes: Vec<u8> =
                (0..random.usize(0..5000)).map(|_| *random.choice(alphabet).unwrap()).collect();
            // The server may have hung up in the middle of it, as it should.
            let _closed = talk.write_all(&bytes);
        }
        assert_eq!(Talk::to(house.address).ask("PING"), "+PONG");
    });
}

#[test]
fn a_client_that_does_not_read_is_bounded_and_keeps_nobody_waiting() {
    const VALUE_BYTES: usize = 1 << 20;
    // 200 MiB of replies: far more than the server keeps and the sockets buffer.
    const ASKED: usize = 200;
    under_every_model(|options| {
        let house = House::open(options);
        let mut other = Talk::to(house.address);
        let value = vec![b'x'; VALUE_BYTES];
        assert_eq!(other.ask_exactly(&[b"SET", b"k", &value]), "+OK");
        let mut slow = Talk::to(house.address);
        slow.send("GET k\r\n".repeat(ASKED).as_bytes());
        // What is answered by now shows in the list of clients; what is kept has a limit.
        let lines = other.ask("CLIENT LIST");
        let kept = lines
            .split(" omem=")
            .skip(1)
            .map(|rest| rest.split(' ').next().unwrap().parse::<usize>().unwrap());
        assert!(kept.max().unwrap() <= (16 << 20) + VALUE_BYTES + 64, "{lines}");
        assert_eq!(other.ask("PING"), "+PONG");
        for _ in 0..ASKED {
            assert_eq!(slow.reply().len(), VALUE_BYTES + 2);
        }
        slow.send(b"PING\r\n");
        assert_eq!(slow.reply(), "+PONG");
    });
}

#[test]
fn more_clients_than_allowed_are_told_so() {
    under_every_model(|options| {
        let house = House::open(Options { clients_most: 2, ..options });
        let (mut one, mut two) = (Talk::to(house.address), Talk::to(house.address));
        assert_eq!((one.ask("PING"), two.ask("PING")), ("+PONG".into(), "+PONG".into()));
        let mut third = Talk::to(house.address);
        assert_eq!(third.reply(), "-ERR max number of clients reached");
        assert_eq!(third.reply(), "closed");
        assert_eq!(one.ask("QUIT"), "+OK");
        assert_eq!(one.reply(), "closed");
        // The place is free as soon as the server has noticed.
        while Talk::to(house.address).ask("PING") != "+PONG" {}
        assert_eq!(two.ask("PING"), "+PONG");
    });
}

#[test]
fn a_silent_client_is_sent_away_where_there_is_a_timeout() {
    under_every_model(|options| {
        let house = House::open(Options { timeout_s: 1, ..options });
        let mut silent = house.talk_in_time("PING", "+PONG");
        assert_eq!(silent.reply(), "closed");
    });
}

#[test]
fn a_timeout_may_come_later_and_go_again() {
    under_every_model(|options| {
        let house = House::open(options);
        let (mut silent, mut keeper) = (Talk::to(house.address), Talk::to(house.address));
        assert_eq!(silent.ask("PING"), "+PONG");
        assert_eq!(keeper.ask("CONFIG SET timeout 1"), "+OK");
        assert_eq!(silent.reply(), "closed");
        let mut keeper = house.talk_in_time("CONFIG SET timeout 0", "+OK");
        assert_eq!(keeper.ask("CONFIG GET timeout"), "[\"timeout\", \"0\"]");
    });
}

#[test]
fn a_password_may_come_later_and_go_again() {
    under_every_model(|options| {
        let house = House::open(options);
        let mut keeper = Talk::to(house.address);
        assert_eq!(keeper.ask("CONFIG SET requirepass secret"), "+OK");
        // Who was let in stays in.
        assert_eq!(keeper.ask("PING"), "+PONG");
        let mut late = Talk::to(house.address);
        assert_eq!(late.ask("PING"), "-NOAUTH Authentication required.");
        assert!(late.ask("AUTH wrong").starts_with("-WRONGPASS"));
        assert_eq!(late.ask("AUTH secret"), "+OK");
        assert_eq!(late.ask("PING"), "+PONG");
        let mut third = Talk::to(house.address);
        assert!(third.ask("HELLO 3").starts_with("-NOAUTH"));
        assert_eq!(keeper.ask_exactly(&[b"CONFIG", b"SET", b"requirepass", b""]), "+OK");
        assert_eq!(third.ask("PING"), "+PONG");
        assert!(third.ask("AUTH secret").starts_with("-ERR AUTH <password> called without"));
        let long = [b'x'; 513];
        let refused = keeper.ask_exactly(&[b"CONFIG", b"SET", b"requirepass", &long]);
        assert!(refused.contains("at most 512 bytes"), "{refused}");
    });
}

#[test]
fn keep_alive_is_as_it_is_set_for_who_comes_then() {
    under_every_model(|options| {
        let house = House::open(options);
        let mut keeper = Talk::to(house.address);
        let mut probe_after = |seconds: &str| {
            assert_eq!(keeper.ask(&format!("CONFIG SET tcp-keepalive {seconds}")), "+OK");
            let mut talk = Talk::to(house.address);
            let info = talk.ask("CLIENT INFO");
            let (_, behind) = info.split_once("addr=127.0.0.1:").unwrap();
            let (port, _) = behind.split_once(' ').unwrap();
            probe_after_s(house.address.port(), port.parse().unwrap())
        };
        assert_eq!(probe_after("0"), None);
        let seconds = probe_after("77").unwrap();
        assert!((1..=77).contains(&seconds), "{seconds}");
        let seconds = probe_after("300").unwrap();
        assert!((78..=300).contains(&seconds), "{seconds}");
    });
}

/// After how many seconds the kernel will probe the other end of one of the server's connections;
/// nothing: never.
fn probe_after_s(server: u16, client: u16) -> Option<u64> {
    let ends = format!("0100007F:{server:04X} 0100007F:{client:04X}");
    loop {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let line = table.lines().find(|line| line.contains(&ends)).expect("the server accepted");
        // Behind the number and the ends: state, queues, timer:when in hundredths of a second.
        let timer = line.split_whitespace().nth(5).unwrap();
        match timer.split_once(':').unwrap() {
            ("00", _) => return None,
            ("02", when) => return Some(u64::from_str_radix(when, 16).unwrap().div_ceil(100)),
            // What was sent is not acknowledged yet.
            _ => std::thread::yield_now(),
        }
    }
}

#[test]
fn a_large_value_comes_and_goes_in_pieces() {
    under_every_model(|options| {
        let house = House::open(options);
        let mut talk = Talk::to(house.address);
        let value: Vec<u8> = (0..10_000_000_u32).map(|n| b'a' + (n % 23) as u8).collect();
        assert_eq!(talk.ask_exactly(&[b"SET", b"large", &value]), "+OK");
        let shown = talk.ask("GET large");
        assert_eq!(shown.len(), value.len() + 2);
        assert!(shown.as_bytes()[1..].starts_with(&value));
    });
}

#[test]
fn a_value_beyond_the_store_is_refused_in_words() {
    under_every_model(|options| {
        let house = House::open(options);
        let mut talk = Talk::to(house.address);
        let value = vec![b'x'; 70 << 20];
        let refused = talk.ask_exactly(&[b"SET", b"k", &value]);
        assert!(refused.starts_with("-ERR value has 73400320 bytes, at most "), "{refused}");
        assert_eq!(talk.ask("PING"), "+PONG");
    });
}

#[test]
fn many_clients_that_do_not_read_share_one_bound() {
    const VALUE_BYTES: usize = 1 << 20;
    const CLIENTS: usize = 20;
    const BOUND: u64 = 8 << 20;
    under_every_model(|options| {
        let house = House::open(Options { buffer_bytes_most: BOUND, ..options });
        let mut other = Talk::to(house.address);
        assert_eq!(other.ask_exactly(&[b"SET", b"k", &vec![b'x'; VALUE_BYTES]]), "+OK");
        let mut slow: Vec<Talk> = (0..CLIENTS).map(|_| Talk::to(house.address)).collect();
        for talk in &mut slow {
            talk.send("GET k\r\n".repeat(50).as_bytes());
        }
        let info = other.ask("INFO memory");
        let buffered =
            info.split("mem_clients_normal:").nth(1).unwrap().split('\\').next().unwrap();
        // Each may have one reply beyond the bound.
        let most = BOUND + (CLIENTS * VALUE_BYTES) as u64;
        assert!(buffered.parse::<u64>().unwrap() <= most, "{buffered} bytes, at most {most}");
        for talk in &mut slow {
            for _ in 0..50 {
                assert_eq!(talk.reply().len(), VALUE_BYTES + 2);
            }
        }
    });
}

#[test]
fn many_halves_of_large_commands_share_one_bound() {
    const VALUE_BYTES: usize = 10 << 20;
    const HALF_BYTES: usize = 9 << 20;
    under_every_model(|options| {
        let house = House::open(Options { buffer_bytes_most: 16 << 20, ..options });
        let half = || {
            let mut talk = Talk::to(house.address);
            talk.send(format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${VALUE_BYTES}\r\n").as_bytes());
            talk.send(&[b'x'; HALF_BYTES]);
            talk
        };
        let mut first = half();
        let mut other = Talk::to(house.address);
        while !other.ask("CLIENT LIST").contains(&format!("qbuf={}", HALF_BYTES + 31)) {}
        assert_eq!(half().reply(), "-ERR the buffers of all clients are full");
        first.send(&[b'x'; VALUE_BYTES - HALF_BYTES]);
        first.send(b"\r\n");
        assert_eq!(first.reply(), "+OK");
        assert!(other.ask("INFO memory").contains("mem_clients_normal:0"));
    });
}

#[test]
fn a_full_store_that_may_not_evict_says_so_and_goes_on() {
    let create = Create { memory_bytes: 16 << 20, evict: Evict::None, ..Create::default() };
    under_every_model(|options| {
        let house = House::before(&create, options);
        let mut talk = Talk::to(house.address);
        let value = vec![b'x'; 100_000];
        let set = |talk: &mut Talk, index: usize| {
            talk.ask_exactly(&[b"SET", format!("key:{index}").as_bytes(), &value])
        };
        let full = (0..1000).find(|index| set(&mut talk, *index) != "+OK").unwrap();
        let words = "-OOM command not allowed when used memory > 'maxmemory'.";
        assert_eq!(set(&mut talk, full), words);
        assert_eq!(talk.ask_exactly(&[b"APPEND", b"key:0", &value]), words);
        assert_eq!(talk.ask("STRLEN key:0"), ":100000");
        assert_eq!(talk.ask("DEL key:0 key:1"), ":2");
        assert_eq!(set(&mut talk, full), "+OK");
    });
}

#[test]
fn a_full_store_that_may_evict_takes_everything() {
    let create = Create { memory_bytes: 16 << 20, ..Create::default() };
    under_every_model(|options| {
        let house = House::before(&create, options);
        let mut talk = Talk::to(house.address);
        let value = vec![b'x'; 100_000];
        for index in 0..1000 {
            let key = format!("key:{index}");
            assert_eq!(talk.ask_exactly(&[b"SET", key.as_bytes(), &value]), "+OK");
        }
        assert_eq!(talk.ask("STRLEN key:999"), ":100000");
        assert_eq!(talk.ask("EXISTS key:0"), ":0");
    });
}

#[test]
fn who_polls_busily_serves_the_same_and_sleeps_at_last() {
    under_every_model(|options| {
        let house = House::open(Options { busy_poll_us: 1000, ..options });
        let mut talk = Talk::to(house.address);
        assert_eq!(talk.ask("SET k v"), "+OK");
        for _ in 0..1000 {
            assert_eq!(talk.ask("GET k"), "\"v\"");
        }
        house.stop();
    });
}

#[test]
fn replies_that_were_taken_are_not_shown_as_waiting() {
    under_every_model(|options| {
        let house = House::open(options);
        let (mut idle, mut other) = (Talk::to(house.address), Talk::to(house.address));
        for bytes in [1, 100, 200_000] {
            assert_eq!(other.ask_exactly(&[b"SET", b"k", &vec![b'x'; bytes]]), "+OK");
            assert_eq!(idle.ask("GET k").len(), bytes + 2);
            // A large reply is there a moment before the server takes note that it is gone.
            let is_idle = |lines: &str| {
                let line = lines.split("\\n").find(|line| line.contains(" cmd=get "));
                line.is_some_and(|line| line.contains(" obl=0 ") && line.contains(" omem=0 "))
            };
            let until = Instant::now() + PATIENCE;
            let mut lines = other.ask("CLIENT LIST");
            while bytes == 200_000 && !is_idle(&lines) && Instant::now() < until {
                lines = other.ask("CLIENT LIST");
            }
            assert!(is_idle(&lines), "{bytes}: {lines}");
        }
    });
}
