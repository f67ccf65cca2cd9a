//! Transactions: nobody comes between, and all of it happens or none.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use morecore_server::Model;
use morecore_store::Set;

use crate::crowd::count_up_together;
use crate::house::{House, kill_process, options, under_every_model};
use crate::redis::Redis;
use crate::talk::Talk;

/// Asks several commands as one transaction; returns what EXEC says.
fn transact(talk: &mut Talk, commands: &[&str]) -> String {
    assert_eq!(talk.ask("MULTI"), "+OK");
    for command in commands {
        assert_eq!(talk.ask(command), "+QUEUED", "{command}");
    }
    talk.ask("EXEC")
}

#[test]
fn what_is_moved_in_transactions_is_never_seen_twice_or_missing() {
    const CLIENTS: u64 = 4;
    const ROUNDS: u64 = 200;
    const ALL: u64 = 1000;
    under_every_model(|options| {
        let house = House::open(options);
        let mut watcher = Talk::to(house.address);
        assert_eq!(watcher.ask(&format!("MSET account:0 {ALL} account:1 0 account:2 0")), "+OK");
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let movers: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    let mut talk = Talk::to(house.address);
                    scope.spawn(move || {
                        for round in 0..ROUNDS {
                            let (from, to) = ((client + round) % 3, (client + round + 1) % 3);
                            let (take, give) =
                                (format!("DECR account:{from}"), format!("INCR account:{to}"));
                            let done = transact(&mut talk, &[&take, "STRLEN other", &give]);
                            assert!(done.starts_with("[:"), "{done}");
                        }
                    })
                })
                .collect();
            scope.spawn(|| {
                while !is_over.load(Relaxed) {
                    let seen = transact(&mut watcher, &["MGET account:0 account:1 account:2"]);
                    let numbers = seen.split('"').filter_map(|part| part.parse::<i64>().ok());
                    assert_eq!(numbers.sum::<i64>(), ALL as i64, "{seen}");
                }
            });
            for mover in movers {
                mover.join().unwrap();
            }
            is_over.store(true, Relaxed);
        });
    });
}

#[test]
fn a_counter_that_is_watched_counts_everybody() {
    count_up_together(4, 50, |talk| {
        loop {
            assert_eq!(talk.ask("WATCH n"), "+OK");
            let old: usize = talk.ask("GET n").trim_matches('"').parse().unwrap_or(0);
            let done = transact(talk, &[&format!("SET n {}", old + 1)]);
            if done != "nil" {
                assert_eq!(done, "[+OK]");
                break;
            }
        }
    });
}

#[test]
fn a_key_that_came_and_went_was_touched_whoever_did_it() {
    under_every_model(|options| {
        let house = House::open(options);
        let (mut talk, mut other) = (Talk::to(house.address), Talk::to(house.address));
        let mut memcached = Talk::to(house.address);
        assert_eq!(talk.ask("WATCH k"), "+OK");
        assert_eq!((other.ask("SET k 1"), other.ask("DEL k")), ("+OK".into(), ":1".into()));
        assert_eq!(transact(&mut talk, &["GET k"]), "nil");
        assert_eq!(talk.ask("WATCH k"), "+OK");
        assert_eq!(transact(&mut other, &["SET k 1", "DEL k"]), "[+OK, :1]");
        assert_eq!(transact(&mut talk, &["GET k"]), "nil");
        assert_eq!(talk.ask("WATCH k"), "+OK");
        for (line, said) in [("set k 0 0 1\r\n1\r\n", "STORED"), ("delete k\r\n", "DELETED")] {
            memcached.send(line.as_bytes());
            assert_eq!(memcached.line(), said);
        }
        assert_eq!(transact(&mut talk, &["GET k"]), "nil");
        // Who watches no more is not waited for, nor who went away watching.
        let mut gone = Talk::to(house.address);
        assert_eq!(gone.ask("WATCH k"), "+OK");
        drop(gone);
        assert_eq!(talk.ask("WATCH k"), "+OK");
        assert_eq!((other.ask("SET j 1"), other.ask("DEL j")), ("+OK".into(), ":1".into()));
        assert_eq!(transact(&mut talk, &["GET k"]), "[nil]");
    });
}

#[test]
fn what_changes_nothing_within_a_transaction_touches_nothing() {
    under_every_model(|options| {
        let house = House::open(options);
        let (mut watcher, mut other) = (Talk::to(house.address), Talk::to(house.address));
        assert_eq!(watcher.ask("SET k 1"), "+OK");
        assert_eq!(watcher.ask("WATCH k"), "+OK");
        let commands = ["GETEX k PERSIST", "PERSIST k", "EXPIRE k 100 XX", "DEL other"];
        assert_eq!(transact(&mut other, &commands), r#"["1", :0, :0, :0]"#);
        assert_eq!(transact(&mut watcher, &["GET k"]), r#"["1"]"#);
    });
}

#[test]
fn watching_sees_what_a_local_process_and_time_do() {
    under_every_model(|options| {
        let (house, mut local) = House::shared(options);
        let mut talk = Talk::to(house.address);
        let mut other = Talk::to(house.address);
        local.set(b"k", b"1", &Set::default()).unwrap();
        assert_eq!(talk.ask("WATCH k"), "+OK");
        local.set(b"k", b"1", &Set::default()).unwrap();
        assert_eq!(transact(&mut talk, &["SET k 2"]), "nil");
        assert_eq!(talk.ask("WATCH k"), "+OK");
        assert!(local.delete(b"k").unwrap());
        assert_eq!(transact(&mut talk, &["SET k 2"]), "nil");
        watch_what_dies(&mut talk);
        while other.ask("GET k") != "nil" {}
        assert_eq!(transact(&mut talk, &["SET k 2"]), "nil");
        // What is gone already stays gone.
        assert_eq!(talk.ask("WATCH k"), "+OK");
        assert_eq!(transact(&mut talk, &["SET k 2"]), "[+OK]");
    });
}

/// Sets and watches `k`, which dies soon, but was there when it was watched: on a machine that
/// stands still for a while it may take several goes.
fn watch_what_dies(talk: &mut Talk) {
    for life_ms in (0..12).map(|go| 30 << go) {
        assert_eq!(talk.ask(&format!("SET k 1 PX {life_ms}")), "+OK");
        assert_eq!(talk.ask("WATCH k"), "+OK");
        if talk.ask("EXISTS k") == ":1" {
            return;
        }
        assert_eq!(talk.ask("UNWATCH"), "+OK");
    }
    panic!("what is set is gone at once");
}

/// What is no change to Redis, and what is one although the value stays: asked of both.
#[test]
fn who_watches_takes_for_a_change_what_redis_takes_for_one() {
    const NO_CHANGES: [&str; 15] = [
        "SETRANGE k 3 ''",
        "SETBIT k 1 0",
        "BITFIELD k SET u8 0 49",
        "BITFIELD k GET u8 0",
        "BITFIELD k OVERFLOW FAIL INCRBY u8 0 300",
        "PERSIST k",
        "GETEX k PERSIST",
        "GETEX k",
        "EXPIRE k 100 XX",
        "RENAME k k",
        "RENAMENX other k",
        "COPY other k",
        "MSETNX new 1 k 1",
        "SET k 1 NX",
        "TOUCH k",
    ];
    const CHANGES: [&str; 9] = [
        "APPEND k ''",
        "SETRANGE k 0 1",
        "SET k 1 KEEPTTL",
        "SET k 1 XX GET",
        "GETSET k 1",
        "INCRBY k 0",
        "INCRBYFLOAT k 0",
        "MSET k 1",
        "COPY other k REPLACE",
    ];
    let check = |talk: &mut Talk, other: &mut Talk, server: &str| {
        let all = NO_CHANGES.map(|command| (command, "[]"));
        for (command, expected) in all.into_iter().chain(CHANGES.map(|command| (command, "nil"))) {
            assert_eq!(other.ask("MSET k 1 other 1"), "+OK");
            assert_eq!(talk.ask("WATCH k"), "+OK");
            let words = command.split(' ').map(|word| word.trim_matches('\'').as_bytes());
            let said = other.ask_exactly(&words.collect::<Vec<_>>());
            assert!(!said.starts_with('-'), "{command}: {said}");
            assert_eq!(transact(talk, &[]), expected, "{server}: {command}");
        }
    };
    if let Some(redis) = Redis::start(None) {
        check(&mut redis.talk(), &mut redis.talk(), "Redis");
    }
    let house = House::open(options(Model::Epoll));
    let mut talks = [Talk::to(house.address), Talk::to(house.address)];
    let [talk, other] = &mut talks;
    check(talk, other, "ours");
}

#[test]
fn children_killed_in_transactions_leave_them_whole() {
    const KILLED: usize = 20;
    let (house, mut local) = House::shared(options(Model::Process));
    let mut watcher = Talk::to(house.address);
    for _ in 0..KILLED {
        let mut writer = Talk::to(house.address);
        let info = writer.ask("INFO server");
        let pid = info.split("process_id:").nth(1).unwrap().split('\\').next().unwrap();
        let once = "MULTI\r\nINCR n:1\r\nAPPEND text:1 some-text\r\nINCR n:2\r\n\
                    APPEND text:2 some-text\r\nEXEC\r\n";
        writer.send(once.repeat(2000).as_bytes());
        kill_process(pid.parse().unwrap());
        let seen = transact(&mut watcher, &["MGET n:1 n:2", "STRLEN text:1", "STRLEN text:2"]);
        let count: u64 = seen.split('"').nth(1).map_or(0, |count| count.parse().unwrap());
        let length = count * 9;
        let shown = if count == 0 { "nil".into() } else { format!("\"{count}\"") };
        assert_eq!(seen, format!("[[{shown}, {shown}], :{length}, :{length}]"));
    }
    local.verify().unwrap();
}

#[test]
fn more_keys_than_one_journal_takes_back_are_set_all_the_same() {
    const KEYS: usize = 5000;
    under_every_model(|options| {
        let (house, mut local) = House::shared(options);
        let mut talk = Talk::to(house.address);
        let sets: String = (0..KEYS).map(|n| format!("SET key:{n} {n}\r\n")).collect();
        talk.send(format!("MULTI\r\n{sets}DBSIZE\r\nEXEC\r\n").as_bytes());
        assert_eq!(talk.reply(), "+OK");
        (0..=KEYS).for_each(|_| assert_eq!(talk.reply(), "+QUEUED"));
        assert!(talk.reply().ends_with(&format!("+OK, :{KEYS}]")));
        assert_eq!(local.len(), KEYS as u64);
        local.verify().unwrap();
    });
}

#[test]
fn random_transactions_get_the_replies_of_redis() {
    check_random(false);
}

#[test]
fn random_transactions_with_watched_keys_get_the_replies_of_redis() {
    check_random(true);
}

/// Asks Redis and us the same random commands, of two clients each.
fn check_random(watches: bool) {
    const ASKED: usize = 3000;
    let seed = std::env::var("SEED").ok().map_or_else(|| fastrand::u64(..), |s| s.parse().unwrap());
    eprintln!("SEED={seed}");
    under_every_model(|options| {
        let Some(redis) = Redis::start(None) else { return };
        let house = House::open(options);
        let mut random = fastrand::Rng::with_seed(seed);
        let mut ours = [Talk::to(house.address), Talk::to(house.address)];
        let mut theirs = [redis.talk(), redis.talk()];
        for step in 0..ASKED {
            let words: Vec<String> = match random.u32(0..12) {
                0 | 1 => vec!["MULTI".into()],
                2 => vec!["EXEC".into()],
                4 if random.u32(0..4) == 0 => vec!["DISCARD".into()],
                6 if random.u32(0..8) == 0 => vec!["FLUSHALL".into()],
                8 | 9 if watches => vec!["WATCH".into(), crate::differential::key(&mut random)],
                10 if watches && random.u32(0..8) == 0 => vec!["UNWATCH".into()],
                _ => crate::differential::command(&mut random),
            };
            // Replies with times may differ by a moment, and sums of fractions by a rounding.
            let word = words[0].to_ascii_uppercase();
            if word.contains("TTL") || word.contains("TIME") || word.contains("FLOAT") {
                continue;
            }
            // Redis tells nobody of a value that BITFIELD makes longer and then does not change.
            if watches && words.iter().any(|word| word.eq_ignore_ascii_case("FAIL")) {
                continue;
            }
            let who = random.usize(0..2);
            let mut ask = |words: &[&[u8]]| {
                let (found, wanted) =
                    (ours[who].ask_exactly(words), theirs[who].ask_exactly(words));
                let shown: Vec<_> =
                    words.iter().map(|word| word.escape_ascii().to_string()).collect();
                assert_eq!(found, wanted, "step {step}, client {who}: {shown:?}");
            };
            let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
            ask(&words);
        }
    });
}
