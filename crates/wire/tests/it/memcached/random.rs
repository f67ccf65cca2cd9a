//! Random lines, and random damage to them.

use fastrand::Rng;
use morecore_wire::memcached::Limits;

use super::talk;
use crate::random::{bytes, damage, random};

/// Rounds of each test: a second or so in a debug build.
const ROUNDS: usize = 10_000;

/// One of `choices`.
fn any<'a>(random: &mut Rng, choices: &[&'a str]) -> &'a str {
    random.choice(choices).expect("there are choices")
}

/// Flags of a meta command, in an order where none depends on another; the last may be wrong.
fn flags(random: &mut Rng, choices: &[&str]) -> String {
    let mut chosen: Vec<_> = choices.iter().filter(|_| random.u8(0..3) == 0).copied().collect();
    // Which of two times counts would depend on their order.
    if chosen.iter().any(|flag| flag.starts_with('T')) {
        chosen.retain(|flag| !flag.starts_with(['N', 'R']));
    }
    if random.u8(0..20) == 0 {
        chosen.push(any(random, &["v", "Z", "Tx", "M", "MX", "Fx", "!", "Dx", "q"]));
    }
    chosen.iter().map(|flag| format!(" {flag}")).collect()
}

/// A command line, and the value that follows it; keys end in `suffix`. Time does not tell in what
/// is answered, and what is counted is not looked at: memcached leaves spaces behind it.
pub(super) fn command(random: &mut Rng, suffix: &str) -> String {
    let key = any(random, &["a", "b", "c"]).to_owned() + suffix;
    let number = any(random, &["n", "m"]).to_owned() + suffix;
    let length = random.usize(0..6);
    let value = "vwxyz12345"[..length].to_owned() + "\r\n";
    let flags_of_put = ["T4000", "k", "b", "O7", "q", "F8", "C1", "I", "ME", "P", "L/x"];
    let quiet = any(random, &["", "", "", " noreply", " more", "  "]);
    let expiry = any(random, &["0", "4000", "-1", "2000000000", "0", "0", "x"]);
    match random.u8(0..16) {
        0 | 1 => {
            let name = any(random, &["set", "add", "replace", "append", "prepend"]);
            let flags = any(random, &["0", "7", "4294967295", "-1", "x"]);
            format!("{name} {key} {flags} {expiry} {length}{quiet}\r\n{value}")
        }
        2 => format!("cas {key} 3 {expiry} {length} 1{quiet}\r\n{value}"),
        3 => format!("ms {key} {length}{}\r\n{value}", flags(random, &flags_of_put)),
        4 => {
            let mode = any(random, &["MA", "MP", "MR", "MS", "MX"]);
            format!("ms {key} {length} {mode}{}\r\n{value}", flags(random, &["k", "O7", "q", "c"]))
        }
        5 => format!("{} {key} b{suffix} {key}\r\n", any(random, &["get", "gets"])),
        6 => format!("{} {expiry} {key}\r\n", any(random, &["gat", "gats"])),
        7 | 8 => {
            let asked =
                ["T2000", "N4000", "v", "s", "t", "c", "f", "k", "O1", "q", "R3000", "R1000", "u"];
            format!("mg {key}{}\r\n", flags(random, &asked))
        }
        9 => format!("md {key}{}\r\n", flags(random, &["T2000", "I", "k", "q", "C1", "O5"])),
        10 => {
            format!("delete {key}{}\r\n", any(random, &["", " 0", " 5", " noreply", " 0 noreply"]))
        }
        11 => format!("touch {key} {expiry}{quiet}\r\n"),
        12 => {
            let by = any(random, &["1", "5", "x", "18446744073709551615", "-1"]);
            format!("{} {number} {by}{quiet}\r\n", any(random, &["incr", "decr"]))
        }
        13 => {
            let asked = ["T2000", "N4000", "J5", "D7", "t", "v", "k", "O2", "MD", "q", "C0"];
            format!("ma {number}{}\r\n", flags(random, &asked))
        }
        14 => format!("set {number} 0 0 2{quiet}\r\n10\r\n"),
        _ => {
            let lines =
                ["", "mn", "mx", "verbosity 0", "bogus a", "get", "mg", "incr n", "set a 0 0"];
            format!("{}\r\n", any(random, &lines))
        }
    }
}

/// A line of likely words in unlikely places, about keys that nobody has. None has a value behind
/// it, not even in error.
pub(super) fn salad(random: &mut Rng) -> String {
    let names = "get gets gat gats delete incr decr touch verbosity version mn mg md ma \
                 set cas append quit_ m ge GET";
    let words = "no none Zm9v Zm9 0 1 -1 +1 00 18446744073709551615 1x noreply v q k b O1 T30 R5 \
                 C1 D2 J3 MI M M+ F1 u I O23456789012345678901234567890123 key-of-many-bytes \t \
                 a\0b \u{e9}";
    let names: Vec<_> = names.split(' ').chain(["stats x", "flush_all x"]).collect();
    let words: Vec<_> = words.split(' ').chain([""]).collect();
    let name = any(random, &names);
    let count = match name {
        // Fewer than a value needs.
        "set" | "cas" | "append" => random.usize(0..4),
        _ if random.u8(0..8) == 0 => random.usize(0..30),
        _ => random.usize(0..6),
    };
    let mut line = any(random, &["", "", " "]).to_owned() + name;
    for _ in 0..count {
        line += " ";
        line += any(random, &words);
    }
    line + any(random, &["\r\n", "\r\n", "\n", " \r\n"])
}

#[test]
fn any_split_of_any_lines_gives_the_same() {
    let mut random = random();
    for _ in 0..ROUNDS {
        let lines: Vec<_> = (0..random.usize(1..6)).map(|_| command(&mut random, "")).collect();
        let mut input = lines.concat().into_bytes();
        if random.bool() {
            damage(&mut random, &mut input);
        }
        // Small enough that some are too large.
        let entry_bytes_most = 64;
        let is_unauthenticated = random.u8(0..8) == 0;
        let limits = Limits { entry_bytes_most, is_unauthenticated };
        let whole = talk(&input, input.len().max(1), limits);
        for piece in [1, 2, 3, random.usize(1..=64)] {
            let shown = input.escape_ascii();
            assert_eq!(talk(&input, piece, limits), whole, "in pieces of {piece}: {shown}");
        }
    }
}

#[test]
fn garbage_is_refused_and_hurts_nobody() {
    let mut random = random();
    for _ in 0..ROUNDS {
        let names = ["set ", "ms ", "mg k ", "get ", "cas ", "ma ", "\r\nmd k ", ""];
        let name = any(&mut random, &names);
        let input = [name.as_bytes(), &bytes(&mut random, 200), b"\r\n"].concat();
        let whole = talk(&input, input.len(), Limits::DEFAULT);
        assert_eq!(talk(&input, 1, Limits::DEFAULT), whole);
    }
}
