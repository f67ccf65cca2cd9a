//! memcached's language: beside Redis's on one port, and next to memcached itself.
//!
//! Random lines are asked of our server and of a real memcached: the replies must be the same, but
//! for versions and times. Where no memcached 1.6.18 is installed that is skipped.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use fastrand::Rng;
use morecore_server::{Model, Options, Protocol};
use morecore_store::{Create, Evict};

use crate::house::{House, under_every_model};
use crate::talk::{PATIENCE, Talk};

/// The version whose words are ours; others say some things otherwise.
const VERSION: &str = "VERSION 1.6.18";

/// Pipelines asked in one run: about a second.
const ROUNDS: usize = 1_000;

/// A real memcached on a Unix socket; it ends when it is dropped.
pub(crate) struct Memcached {
    child: Child,
    socket: PathBuf,
}

impl Memcached {
    /// Starts one; `None`, and a word about it, where it is not installed or another version.
    pub(crate) fn start() -> Option<Self> {
        let unique = format!("morecore-memcached-{}-{:x}", std::process::id(), fastrand::u64(..));
        let socket = std::env::temp_dir().join(unique);
        let mut command = Command::new("memcached");
        command.args(["-u", "root", "-s"]).arg(&socket);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                eprintln!("skipped: memcached does not start ({error})");
                return None;
            }
        };
        let memcached = Self { child, socket };
        let until = Instant::now() + PATIENCE;
        while UnixStream::connect(&memcached.socket).is_err() {
            assert!(Instant::now() < until, "memcached does not start");
            std::thread::yield_now();
        }
        let mut talk = memcached.talk();
        talk.send(b"version\r\n");
        let version = talk.line();
        if version != VERSION {
            eprintln!("skipped: memcached is {version}");
            return None;
        }
        Some(memcached)
    }

    pub(crate) fn talk(&self) -> Talk {
        Talk::to_unix(&self.socket)
    }
}

impl Drop for Memcached {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
        let _gone = std::fs::remove_file(&self.socket);
    }
}

/// Sends lines, and returns so many lines of the reply.
fn ask<const COUNT: usize>(talk: &mut Talk, lines: &str) -> [String; COUNT] {
    talk.send(lines.replace('|', "\r\n").as_bytes());
    std::array::from_fn(|_| talk.line())
}

#[test]
fn an_item_is_the_same_key_in_both_languages() {
    under_every_model(|options| {
        let house = House::open(options);
        let (mut redis, mut other) = (Talk::to(house.address), Talk::to(house.address));
        // A deadline: what is left until then depends on how fast the machine is.
        assert_eq!(ask(&mut other, "set k 7 4102444800 2|10|"), ["STORED"]);
        assert_eq!(redis.ask("GET k"), "\"10\"");
        assert_eq!(redis.ask("EXPIRETIME k"), ":4102444800");
        // What only changes the value keeps the flags; SET makes a new one.
        assert_eq!(redis.ask("INCR k"), ":11");
        assert_eq!(redis.ask("APPEND k 0"), ":3");
        assert_eq!(ask(&mut other, "get k|"), ["VALUE k 7 3", "110", "END"]);
        assert_eq!(redis.ask("RENAME k other"), "+OK");
        assert_eq!(redis.ask("EXPIRE other 1000"), ":1");
        let [told] = ask(&mut other, "mg other f t|");
        let left = told.strip_prefix("HD f7 t").unwrap().parse::<u64>().unwrap();
        assert!((1..=1000).contains(&left), "{told}");
        assert_eq!(redis.ask("SET other x"), "+OK");
        assert_eq!(ask(&mut other, "mg other f t v|"), ["VA 1 f0 t-1", "x"]);
        assert_eq!(ask(&mut other, "delete other|"), ["DELETED"]);
        assert_eq!(redis.ask("GET other"), "nil");
        assert!(redis.ask("CLIENT LIST").contains("cmd=delete user=default redir=-1 resp=0"));
    });
}

#[test]
fn a_version_lets_one_of_two_through() {
    under_every_model(|options| {
        let house = House::open(options);
        let (mut one, mut two) = (Talk::to(house.address), Talk::to(house.address));
        let [_, head, ..] = ask::<4>(&mut one, "set k 5 0 1|a|gets k|");
        let version = head.strip_prefix("VALUE k 5 1 ").unwrap();
        let cas = |value: &str| format!("cas k 9 0 1 {version}|{value}|");
        assert_eq!(ask(&mut two, &cas("b")), ["STORED"]);
        assert_eq!(ask(&mut one, &cas("c")), ["EXISTS"]);
        assert_eq!(ask(&mut one, "get k|"), ["VALUE k 9 1", "b", "END"]);
        assert_eq!(ask(&mut one, &cas("c").replace(" k ", " none ")), ["NOT_FOUND"]);
        // The version that a change tells is the one that the next needs.
        for change in ["ms k 1 c|1|", "ms k 1 MA c|2|", "ma k c|"] {
            let [told] = ask(&mut one, change);
            let version = told.strip_prefix("HD c").unwrap();
            assert_eq!(ask(&mut two, &format!("mg k c|md k C{version}1|")), [told.as_str(), "EX"]);
        }
        let [told] = ask(&mut one, "mg k c|");
        let version = told.strip_prefix("HD c").unwrap();
        assert_eq!(
            ask(&mut two, &format!("ma k C{version} v|md k C{version}|")),
            ["VA 2", "14", "EX"]
        );
    });
}

#[test]
fn many_who_count_lose_nothing() {
    const CLIENTS: usize = 4;
    const EACH: usize = 500;
    under_every_model(|options| {
        let house = House::open(options);
        ask::<2>(&mut Talk::to(house.address), "set n 0 0 1|0|set s 0 0 0||");
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    let mut talk = Talk::to(house.address);
                    talk.send("incr n 1\r\nappend s 0 0 1\r\nx\r\n".repeat(EACH).as_bytes());
                    (0..2 * EACH).for_each(|_| drop(talk.line()));
                });
            }
        });
        let total = CLIENTS * EACH;
        assert_eq!(
            ask(&mut Talk::to(house.address), "mg n v|mg s s|"),
            ["VA 4".into(), total.to_string(), format!("HD s{total}")]
        );
    });
}

#[test]
fn a_language_can_be_prescribed() {
    under_every_model(|options| {
        let of = |protocol| Options { protocol: Some(protocol), ..options.clone() };
        let house = House::open(of(Protocol::Memcached));
        assert_eq!(ask(&mut Talk::to(house.address), "PING|get k|"), ["ERROR", "END"]);
        let house = House::open(of(Protocol::Resp));
        assert_eq!(ask(&mut Talk::to(house.address), "get k|"), ["$-1"]);
    });
}

#[test]
fn a_flush_may_be_put_off() {
    under_every_model(|options| {
        let house = House::open(options);
        let mut talk = Talk::to(house.address);
        // What was set is there until then; on a machine that stands still it may take some goes.
        let put_off = ["STORED", "OK", "HD"];
        assert!((0..100).any(|_| ask(&mut talk, "set k 0 0 1|a|flush_all 1|mg k|") == put_off));
        while ask(&mut talk, "mg k|") != ["EN"] {}
        assert_eq!(ask(&mut talk, "set k 0 0 1|a|mg k|"), ["STORED", "HD"]);
        assert_eq!(ask(&mut talk, "flush_all|mg k|"), ["OK", "EN"]);
    });
}

#[test]
fn a_flush_that_was_put_off_needs_no_command_to_come() {
    under_every_model(|options| {
        let (house, mut local) = House::shared(options);
        let mut talk = Talk::to(house.address);
        assert_eq!(ask(&mut talk, "set k 0 0 1|a|flush_all 1|"), ["STORED", "OK"]);
        while local.peek(b"k").unwrap().is_some() {
            std::thread::yield_now();
        }
    });
}

#[test]
fn who_finds_the_house_full_is_told_so_in_its_own_words() {
    under_every_model(|options| {
        let protocol = Some(Protocol::Memcached);
        let house = House::open(Options { clients_most: 1, protocol, ..options });
        let mut one = Talk::to(house.address);
        assert_eq!(ask(&mut one, "mn|"), ["MN"]);
        let mut other = Talk::to(house.address);
        assert_eq!(
            (other.line(), other.line()),
            ("ERROR Too many open connections".into(), "closed".into())
        );
    });
}

#[test]
fn statistics_are_true() {
    under_every_model(|options| {
        // Those two the house has in a process of their own.
        let is_apart = matches!(options.model, Model::Process | Model::Select);
        let house = House::open(options);
        let mut talk = Talk::to(house.address);
        let mut stat = |asked: &str, name: &str| {
            let [_] = ask(&mut talk, &format!("mn|{asked}|"));
            let mut found = None;
            loop {
                match talk.line() {
                    line if line == "END" => break found,
                    line => {
                        let value = line.strip_prefix(&format!("STAT {name} "));
                        found = found.or(value.map(String::from));
                    }
                }
            }
        };
        assert_eq!(stat("set k 0 0 5|hello|get k none", "none"), None);
        assert_eq!(stat("stats", "get_hits").as_deref(), Some("1"));
        assert_eq!(stat("stats", "get_misses").as_deref(), Some("1"));
        assert_eq!(stat("stats", "cmd_set").as_deref(), Some("1"));
        assert_eq!(stat("stats", "curr_items").as_deref(), Some("1"));
        assert_eq!(stat("stats", "bytes").as_deref(), Some("6"));
        let is_here = stat("stats", "pid") == Some(std::process::id().to_string());
        assert_ne!(is_here, is_apart);
        assert_eq!(stat("stats items", "items:1:number").as_deref(), Some("1"));
        assert_eq!(stat("stats slabs", "active_slabs").as_deref(), Some("1"));
        assert_eq!(stat("stats settings", "item_size_max").as_deref(), Some("1048576"));
        assert_eq!(stat("stats sizes", "sizes_status").as_deref(), Some("disabled"));
        let asked = "set n 0 0 1|5|incr n 1|decr n 1|incr none 1|decr none 1|decr n 1|delete none|\
                     touch n 0|touch none 0|gat 0 n|cas none 0 0 1 1|x|cas n 0 0 1 0|x|ms n 1|7|\
                     delete n";
        assert_eq!(stat(asked, "none"), None);
        for (name, count) in [
            ("cmd_touch", "3"),
            ("touch_hits", "2"),
            ("touch_misses", "1"),
            ("delete_hits", "1"),
            ("delete_misses", "1"),
            ("incr_hits", "1"),
            ("incr_misses", "1"),
            ("decr_hits", "2"),
            ("decr_misses", "1"),
            ("cas_hits", "0"),
            ("cas_misses", "1"),
            ("cas_badval", "1"),
        ] {
            assert_eq!(stat("stats", name).as_deref(), Some(count), "{name}");
        }
        assert_eq!(ask(&mut talk, "stats reset|"), ["RESET"]);
        talk.send(b"stats conns\r\n");
        assert!(talk.line().contains(":addr 127.0.0.1:"));
    });
}

#[test]
fn a_client_that_does_not_read_is_bounded() {
    const VALUE_BYTES: usize = 1_000_000;
    const ASKED: usize = 200;
    under_every_model(|options| {
        let house = House::open(options);
        let mut other = Talk::to(house.address);
        other.send(format!("set k 0 0 {VALUE_BYTES}\r\n").as_bytes());
        other.send(&vec![b'x'; VALUE_BYTES]);
        assert_eq!(ask(&mut other, "|"), ["STORED"]);
        let mut slow = Talk::to(house.address);
        slow.send("get k\r\n".repeat(ASKED).as_bytes());
        let lines = Talk::to(house.address).ask("CLIENT LIST");
        let kept = lines.split(" omem=").skip(1);
        let kept = kept.map(|rest| rest.split(' ').next().unwrap().parse::<usize>().unwrap());
        assert!(kept.max().unwrap() <= (16 << 20) + VALUE_BYTES + 64, "{lines}");
        for _ in 0..ASKED {
            assert_eq!(slow.line(), format!("VALUE k 0 {VALUE_BYTES}"));
            assert_eq!(slow.line().len(), VALUE_BYTES);
            assert_eq!(slow.line(), "END");
        }
    });
}

#[test]
fn a_reply_beyond_all_bounds_ends_the_talk() {
    under_every_model(|options| {
        let house = House::open(Options { buffer_bytes_most: 1 << 20, ..options });
        let mut talk = Talk::to(house.address);
        let value = "x".repeat(100_000);
        assert_eq!(ask(&mut talk, &format!("set k 0 0 100000|{value}|")), ["STORED"]);
        talk.send(format!("get{}\r\nmn\r\n", " k".repeat(1000)).as_bytes());
        let mut lines = 0;
        while talk.line() != "SERVER_ERROR out of memory writing get response" {
            lines += 1;
        }
        assert!(lines <= 2 * 11, "{lines} lines");
        assert_eq!(talk.line(), "closed");
    });
}

#[test]
fn lines_without_end_and_garbage_end_nothing_but_their_talk() {
    let seed = std::env::var("SEED").ok().map_or_else(|| fastrand::u64(..), |s| s.parse().unwrap());
    eprintln!("SEED={seed}");
    under_every_model(|options| {
        let house = House::open(Options { protocol: Some(Protocol::Memcached), ..options });
        let mut talk = Talk::to(house.address);
        talk.send(&[b'a'; 5000]);
        assert_eq!([talk.line(), talk.line()], ["CLIENT_ERROR line too long", "closed"]);
        let mut random = Rng::with_seed(seed);
        for _ in 0..50 {
            let alphabet = b"sget 0123456789\r\n\r\nk mvCTIqO\x00\xff";
            let bytes: Vec<u8> =
                (0..random.usize(0..5000)).map(|_| *random.choice(alphabet).unwrap()).collect();
            Talk::to(house.address).send(&bytes);
        }
        let mut half = Talk::to(house.address);
        half.send(b"set k 0 0 100\r\nnot all");
        assert_eq!(ask(&mut Talk::to(house.address), "mn|"), ["MN"]);
    });
}

#[test]
fn a_full_store_says_so_and_keeps_nothing_that_was_replaced() {
    let create = Create { memory_bytes: 16 << 20, evict: Evict::None, ..Create::default() };
    under_every_model(|options| {
        let house = House::before(&create, options);
        let mut talk = Talk::to(house.address);
        let value = "x".repeat(100_000);
        let full = "SERVER_ERROR out of memory storing object";
        let put = |name: &str, index: usize| format!("{name} key:{index} 0 0 100000|{value}|");
        let index = (0..1000).find(|index| ask(&mut talk, &put("add", *index)) == [full]).unwrap();
        assert_eq!(ask(&mut talk, &put("append", 0)), [full]);
        assert_eq!(ask(&mut talk, "mg key:0 s|"), ["HD s100000"]);
        assert_eq!(ask(&mut talk, "set key:0 0 0 900000 noreply|mn|"), ["MN"; 0]);
        talk.send(&vec![b'x'; 900_000 - 4]);
        assert_eq!(ask(&mut talk, "|mg key:0|"), ["EN"]);
        assert_eq!(ask(&mut talk, &put("set", index)), ["STORED"]);
    });
}

#[test]
fn random_lines_get_the_replies_of_memcached() {
    let seed = std::env::var("SEED").ok().map_or_else(|| fastrand::u64(..), |s| s.parse().unwrap());
    eprintln!("SEED={seed}");
    under_every_model(|options| {
        let Some(memcached) = Memcached::start() else { return };
        let house = House::open(Options { protocol: Some(Protocol::Memcached), ..options });
        let (mut ours, mut theirs) = (Talk::to(house.address), memcached.talk());
        let mut random = Rng::with_seed(seed);
        for round in 0..ROUNDS {
            let mut lines: String = (0..random.usize(1..30)).map(|_| line(&mut random)).collect();
            lines += &format!("set last 0 0 4\r\nLAST\r\nmg last v k O{round}\r\nmn\r\n");
            ours.send(lines.as_bytes());
            theirs.send(lines.as_bytes());
            loop {
                let (found, wanted) = (masked(&ours.line()), masked(&theirs.line()));
                assert_eq!(found, wanted, "round {round}, to {lines}");
                if found == format!("VA 4 klast O{round}") {
                    let _last = [ours.line(), ours.line(), theirs.line(), theirs.line()];
                    break;
                }
            }
        }
    });
}

/// A random line, and its value; mostly one that means something. What is counted up and down is
/// not looked at: memcached leaves spaces behind it.
fn line(random: &mut Rng) -> String {
    let any = |random: &mut Rng, of: &[&str]| (*random.choice(of).unwrap()).to_owned();
    let key = any(random, &["a", "b", "a-longer-key-than-fits-in-a-bucket-with-its-value"]);
    let number = any(random, &["n", "m"]);
    let length = random.choice([0, 3, 5, 40, 60]).unwrap_or(0);
    let value = &"vwxyz12345".repeat(6)[..length];
    let expiry = any(random, &["0", "4000", "-1", "2000000000", "0", "0", "x"]);
    let flags = any(random, &["0", "0", "7", "4294967295", "-1", "x"]);
    let quiet = any(random, &["", "", "", " noreply"]);
    let of_put = flags_of(random, &["T4000", "k", "b", "O7", "q", "F8", "C9999999999"]);
    match random.u8(0..18) {
        0..3 => {
            let name = any(random, &["set", "add", "replace", "append", "prepend"]);
            format!("{name} {key} {flags} {expiry} {length}{quiet}\r\n{value}\r\n")
        }
        3 => format!("cas {key} 3 {expiry} {length} 9999999999{quiet}\r\n{value}\r\n"),
        4 => format!("ms {key} {length}{of_put}\r\n{value}\r\n"),
        5 => {
            let mode = any(random, &["MA", "MP", "MR", "MS", "ME", "MX"]);
            format!("ms {key} {length} {mode}{}\r\n{value}\r\n", flags_of(random, &["k", "q"]))
        }
        6 => format!("{} {key} b {key}\r\n", any(random, &["get", "gets"])),
        7 => format!("{} {expiry} {key}\r\n", any(random, &["gat", "gats"])),
        8 | 9 => {
            // T counts from where it stands on, so it stands first.
            let asked = ["T2000", "v", "s", "t", "c", "f", "k", "O1", "q", "u"];
            format!("mg {key}{}\r\n", flags_of(random, &asked))
        }
        10 => format!("md {key}{}\r\n", flags_of(random, &["k", "q", "C9999999999", "O5"])),
        11 => format!("delete {key}{}\r\n", any(random, &["", " 0", " 5", " noreply"])),
        12 => format!("touch {key} {expiry}{quiet}\r\n"),
        13 => {
            let by = any(random, &["1", "5", "x", "18446744073709551615", "-1"]);
            format!("{} {number} {by}{quiet}\r\n", any(random, &["incr", "decr"]))
        }
        14 => {
            let asked = ["T2000", "N4000", "J5", "D7", "t", "v", "k", "O2", "MD", "q", "C0"];
            format!("ma {number}{}\r\n", flags_of(random, &asked))
        }
        15 => {
            // Keys in base64: `a`, and one that is none.
            let key = any(random, &["YQ==", "YQ==", "YQ", "*"]);
            // Not `k`: memcached tells a key as it was set, and we as it was asked for.
            let name = any(random, &["mg", "md"]);
            format!("{name} {key} b{}\r\n", flags_of(random, &["O3", "q"]))
        }
        16 => {
            // N and R count from where they stand on, as T.
            let asked = ["N4000", "R5000", "k", "O4", "q", "v", "f", "s", "t"];
            format!("mg {key}{}\r\n", flags_of(random, &asked))
        }
        _ => any(random, &["set n 0 0 2\r\n10\r\n", "mn\r\n", "bogus\r\n", "get\r\n", "mg\r\n"]),
    }
}

/// Some of these flags.
fn flags_of(random: &mut Rng, choices: &[&str]) -> String {
    choices.iter().filter(|_| random.u8(0..3) == 0).map(|flag| format!(" {flag}")).collect()
}

/// A line of a reply without what differs: versions, and seconds that are left.
fn masked(line: &str) -> String {
    let mask = |word: &str| match word.split_at_checked(1) {
        Some((letter @ ("c" | "t"), digits)) if digits.parse::<u64>().is_ok() => {
            format!("{letter}#")
        }
        _ => word.to_owned(),
    };
    let mut words: Vec<_> = line.split(' ').map(mask).collect();
    if words[0] == "VALUE" && words.len() == 5 {
        words[4] = "#".to_owned();
    }
    words.join(" ")
}
