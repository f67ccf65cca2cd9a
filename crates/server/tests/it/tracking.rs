//! Who hears of what: changed keys, commands, and the ends of connections.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use morecore_server::Options;
use morecore_store::{Create, Expiry, Set, Store};

use crate::house::{House, under_every_model};
use crate::talk::Talk;

/// A client of RESP3 that asked this.
fn talk(house: &House, command: &str) -> Talk {
    let mut talk = Talk::to(house.address);
    assert!(talk.ask("HELLO 3").starts_with('{'));
    assert_eq!(talk.ask(command), "+OK", "{command}");
    talk
}

/// What a client hears of a key.
fn told(key: &str) -> String {
    format!(">[\"invalidate\", [\"{key}\"]]")
}

#[test]
fn one_who_read_a_key_hears_of_its_next_change_by_any_door() {
    under_every_model(|options| {
        let (house, mut local) = House::shared(options);
        let mut reader = talk(&house, "CLIENT TRACKING ON");
        let mut writer = Talk::to(house.address);
        let always = Set::default();
        local.set(b"k", b"0", &always).unwrap();
        // A client, also where the key was not there, and also more than one change.
        assert_eq!(reader.ask("MGET k absent"), "[\"0\", nil]");
        assert_eq!(writer.ask("SET absent 1"), "+OK");
        assert_eq!(reader.reply(), told("absent"));
        assert_eq!(writer.ask("INCR k"), ":1");
        assert_eq!(writer.ask("INCR k"), ":2");
        assert_eq!(reader.reply(), told("k"));
        // A transaction.
        assert_eq!(reader.ask("GET k"), "\"2\"");
        for command in ["MULTI", "SET other 1", "INCR k", "EXEC"] {
            writer.ask(command);
        }
        assert_eq!(reader.reply(), told("k"));
        // A local process that sets, and one that deletes.
        assert_eq!(reader.ask("GET k"), "\"3\"");
        local.set(b"k", b"4", &always).unwrap();
        assert_eq!(reader.reply(), told("k"));
        assert_eq!(reader.ask("GET k"), "\"4\"");
        assert!(local.delete(b"k").unwrap());
        assert_eq!(reader.reply(), told("k"));
        // Time. On a machine that stands still it may be gone before it is read, and what is not
        // there is remembered as well: then once more.
        assert_eq!(writer.ask("SET k 5 PX 300"), "+OK");
        while reader.ask("STRLEN k") == ":0" {
            assert_eq!(writer.ask("SET k 5 PX 10000"), "+OK");
            assert_eq!(reader.reply(), told("k"));
        }
        assert_eq!(reader.reply(), told("k"));
        // Itself; and then nothing that was not read since.
        assert_eq!(reader.ask("GET k"), "nil");
        assert_eq!(reader.ask("SET k 6"), "+OK");
        assert_eq!(reader.reply(), told("k"));
        assert_eq!(writer.ask("SET k 7"), "+OK");
        assert_eq!(reader.ask("GET other"), "\"1\"");
        assert_eq!(writer.ask("FLUSHALL"), "+OK");
        assert_eq!(reader.reply(), ">[\"invalidate\", nil]");
        assert_eq!(reader.ask("CLIENT TRACKING OFF"), "+OK");
        assert_eq!(reader.ask("GET k"), "nil");
        assert_eq!(writer.ask("SET k 8"), "+OK");
        assert_eq!(reader.ask("PING"), "+PONG");
    });
}

/// Waits until one who is told of the prefix `a:` hears of single keys: what another process does
/// before all is known, or a client of which the server hears late, may have everything forgotten.
fn wait_until_all_is_known(reader: &mut Talk, local: &mut Store) {
    local.set(b"a:probe", b"0", &Set::default()).unwrap();
    while reader.reply() != told("a:probe") {
        local.set(b"a:probe", b"0", &Set::default()).unwrap();
    }
}

#[test]
fn one_who_is_told_of_prefixes_hears_of_them_by_any_door() {
    under_every_model(|options| {
        let (house, mut local) = House::shared(options);
        let always = Set::default();
        local.set(b"a:old", b"0", &always).unwrap();
        let mut reader = talk(&house, "CLIENT TRACKING ON BCAST PREFIX a: PREFIX b: NOLOOP");
        let mut writer = Talk::to(house.address);
        wait_until_all_is_known(&mut reader, &mut local);
        assert_eq!(writer.ask("MSET c:1 x a:1 x"), "+OK");
        assert_eq!(reader.reply(), told("a:1"));
        local.set(b"b:1", b"0", &always).unwrap();
        assert_eq!(reader.reply(), told("b:1"));
        local.set(b"c:1", b"0", &always).unwrap();
        assert!(local.delete(b"a:old").unwrap());
        assert_eq!(reader.reply(), told("a:old"));
        // So long that both are no part of one turn, even if the machine stands still for a while.
        assert_eq!(writer.ask("PEXPIRE b:1 1000"), ":1");
        assert_eq!(reader.reply(), told("b:1"));
        assert_eq!(reader.reply(), told("b:1"));
        assert_eq!(reader.ask("SET a:own 1"), "+OK");
        assert_eq!(writer.ask("DEL a:1"), ":1");
        assert_eq!(reader.reply(), told("a:1"));
        assert_eq!(reader.ask("PING"), "+PONG");
    });
}

#[test]
fn the_keys_of_a_turn_are_told_together_to_one_who_is_told_of_prefixes() {
    under_every_model(|options| {
        let (house, mut local) = House::shared(options);
        let mut reader = talk(&house, "CLIENT TRACKING ON BCAST PREFIX a: PREFIX b:");
        let mut writer = Talk::to(house.address);
        wait_until_all_is_known(&mut reader, &mut local);
        assert_eq!(writer.ask("MSET a:2 x b:1 x c:1 x a:1 x"), "+OK");
        assert_eq!(reader.reply(), ">[\"invalidate\", [\"a:1\", \"a:2\"]]");
        assert_eq!(reader.reply(), told("b:1"));
        for command in ["MULTI", "INCR a:n", "INCR a:n", "DEL a:1", "SET c:1 y", "EXEC"] {
            writer.ask(command);
        }
        assert_eq!(reader.reply(), ">[\"invalidate\", [\"a:1\", \"a:n\"]]");
        // Its own come with its reply, whole.
        assert_eq!(reader.ask("MSET b:1 y b:2 y"), "+OK");
        assert_eq!(reader.reply(), ">[\"invalidate\", [\"b:1\", \"b:2\"]]");
        // So long that both are no part of one turn, even if the machine stands still for a while.
        assert_eq!(writer.ask("SET a:dies v PX 1000"), "+OK");
        assert_eq!(reader.reply(), told("a:dies"));
        assert_eq!(reader.reply(), told("a:dies"));
        assert_eq!(reader.ask("PING"), "+PONG");
    });
}

#[test]
fn no_more_keys_are_remembered_than_the_setting_says() {
    under_every_model(|options| {
        let house = House::open(options);
        let mut reader = talk(&house, "CLIENT TRACKING ON");
        assert_eq!(reader.ask("MGET a b c"), "[nil, nil, nil]");
        let counts = "tracking_total_keys:3\\r\\ntracking_total_items:3\\r\\n\
                      tracking_total_prefixes:0";
        let mut keeper = Talk::to(house.address);
        // It is answered behind what was remembered, which is counted then.
        assert_eq!(reader.ask("PUBSUB NUMPAT"), ":0");
        let info = keeper.ask("INFO stats");
        assert!(info.contains(counts), "{info}");
        assert_eq!(keeper.ask("CONFIG SET tracking-table-max-keys 1"), "+OK");
        let mut forgotten = [reader.reply(), reader.reply()];
        forgotten.sort();
        assert!([["a", "b"], ["a", "c"], ["b", "c"]].map(|two| two.map(told)).contains(&forgotten));
        assert_eq!(keeper.ask("PUBSUB NUMPAT"), ":0");
        assert!(keeper.ask("INFO stats").contains("tracking_total_keys:1"));
    });
}

#[test]
fn keyspace_notifications_tell_what_commands_and_time_did() {
    under_every_model(|options| {
        let house = House::open(options);
        let mut listener = Talk::to(house.address);
        assert!(listener.ask("PSUBSCRIBE __key*@0__:*").starts_with("[\"psubscribe\""));
        let mut writer = Talk::to(house.address);
        assert_eq!(writer.ask("SET k before"), "+OK");
        assert_eq!(writer.ask("CONFIG SET notify-keyspace-events EA"), "+OK");
        let mut expect = |command: &str, reply: &str, events: &[[&str; 2]]| {
            assert_eq!(writer.ask(command), reply, "{command}");
            for [event, key] in events {
                let told = format!(
                    "[\"pmessage\", \"__key*@0__:*\", \"__keyevent@0__:{event}\", \"{key}\"]"
                );
                assert_eq!(listener.reply(), told, "{command}");
            }
        };
        expect("SET k 1", "+OK", &[["set", "k"]]);
        expect("SET k 1 NX", "nil", &[]);
        expect("SET k 1 EX 100", "+OK", &[["set", "k"], ["expire", "k"]]);
        expect("SET k 1 KEEPTTL", "+OK", &[["set", "k"]]);
        expect("PERSIST k", ":1", &[["persist", "k"]]);
        expect("INCR k", ":2", &[["incrby", "k"]]);
        expect("INCRBYFLOAT k 1", "\"3\"", &[["incrbyfloat", "k"]]);
        expect("APPEND k a", ":2", &[["append", "k"]]);
        expect("SETRANGE k 1 b", ":2", &[["setrange", "k"]]);
        expect("SETBIT bits 1 1", ":0", &[["setbit", "bits"]]);
        expect("BITFIELD bits SET u8 0 1", "[:64]", &[["setbit", "bits"]]);
        expect("BITOP OR bits absent", ":0", &[["del", "bits"]]);
        expect("MSET a 1 b 2", "+OK", &[["set", "a"], ["set", "b"]]);
        expect("RENAME a c", "+OK", &[["rename_from", "a"], ["rename_to", "c"]]);
        expect("COPY c d", ":1", &[["copy_to", "d"]]);
        expect("GETEX d EX 100", "\"1\"", &[["expire", "d"]]);
        expect("GETDEL d", "\"1\"", &[["del", "d"]]);
        expect("DEL b absent c", ":2", &[["del", "b"], ["del", "c"]]);
        expect("EXPIRE k 100", ":1", &[["expire", "k"]]);
        expect("EXPIRE k -1", ":1", &[["del", "k"]]);
        expect("MULTI", "+OK", &[]);
        expect("INCR n", "+QUEUED", &[]);
        expect("INCR n", "+QUEUED", &[]);
        expect("DEL n", "+QUEUED", &[]);
        let events = [["incrby", "n"], ["incrby", "n"], ["del", "n"]];
        expect("EXEC", "[:1, :2, :1]", &events);
        expect("SET k v PX 50", "+OK", &[["set", "k"], ["expire", "k"], ["expired", "k"]]);
        expect("CONFIG SET notify-keyspace-events En", "+OK", &[]);
        expect("SET new 1", "+OK", &[["new", "new"]]);
        expect(
            "CONFIG SET notify-keyspace-events \"\"",
            "-ERR CONFIG SET failed (possibly related \
            to argument 'notify-keyspace-events') - Invalid event class character. Use \
            'Ag$lshzxeKEtmdn'.",
            &[],
        );
        expect("CONFIG SET notify-keyspace-events Kg", "+OK", &[]);
        expect("UNLINK new", ":1", &[]);
        let told = "[\"pmessage\", \"__key*@0__:*\", \"__keyspace@0__:new\", \"del\"]";
        assert_eq!(listener.reply(), told);
    });
}

#[test]
fn the_end_of_what_another_process_set_is_told_where_it_was_found_before() {
    under_every_model(|options| {
        let (house, mut local) = House::shared(options);
        let mut listener = Talk::to(house.address);
        assert!(listener.ask("SUBSCRIBE __keyevent@0__:expired").starts_with("[\"subscribe\""));
        let mut writer = Talk::to(house.address);
        // Ten looks a second find it, unless the machine stands still for as long as it lives.
        let is_told = |life_ms: u64| {
            assert_eq!(writer.ask("CONFIG SET notify-keyspace-events nKg"), "+OK");
            let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
            let how = Set { expiry: Expiry::At(now_ms + life_ms), ..Set::default() };
            local.set(b"found", b"v", &how).unwrap();
            assert_eq!(writer.ask("CONFIG SET notify-keyspace-events Ex"), "+OK");
            while !local.is_empty() {
                std::thread::yield_now();
            }
            // Behind what is told of it, because that comes before it is dropped.
            assert_eq!(writer.ask("PUBLISH __keyevent@0__:expired over"), ":1");
            let message =
                |said: &str| format!("[\"message\", \"__keyevent@0__:expired\", \"{said}\"]");
            let told = listener.reply();
            let is_told = told == message("found");
            assert!(is_told || told == message("over"), "{told}");
            assert!(!is_told || listener.reply() == message("over"));
            is_told
        };
        assert!([500, 5_000, 50_000].into_iter().any(is_told), "it was never told");
    });
}

#[test]
fn what_is_evicted_is_told() {
    under_every_model(|options| {
        let create = Create { memory_bytes: 16 << 20, ..Create::default() };
        let house = House::before(&create, options);
        let mut reader = talk(&house, "CLIENT TRACKING ON");
        let mut writer = Talk::to(house.address);
        let value = vec![b'x'; 100_000];
        assert_eq!(writer.ask_exactly(&[b"SET", b"k", &value]), "+OK");
        assert_eq!(reader.ask("STRLEN k"), ":100000");
        // What goes is chosen by chance too.
        let mut index = 0;
        while writer.ask("EXISTS k") == ":1" {
            index += 1;
            let key = format!("other:{index}");
            assert_eq!(writer.ask_exactly(&[b"SET", key.as_bytes(), &value]), "+OK");
        }
        assert_eq!(reader.reply(), told("k"));
    });
}

#[test]
fn another_may_be_told_instead() {
    under_every_model(|options| {
        let house = House::open(options);
        let mut listener = Talk::to(house.address);
        let id = listener.ask("CLIENT ID");
        assert!(listener.ask("SUBSCRIBE __redis__:invalidate").starts_with("[\"subscribe\""));
        let mut reader = Talk::to(house.address);
        let on = format!("CLIENT TRACKING ON REDIRECT {}", &id[1..]);
        assert_eq!(reader.ask(&on), "+OK");
        assert_eq!(reader.ask("CLIENT GETREDIR"), id);
        assert!(reader.ask("CLIENT INFO").contains(&format!(" redir={} ", &id[1..])));
        let info = reader.ask("INFO clients");
        assert!(info.contains("tracking_clients:1\\r\\npubsub_clients:1"), "{info}");
        assert_eq!(reader.ask("GET k"), "nil");
        assert_eq!(Talk::to(house.address).ask("SET k 1"), "+OK");
        let heard = "[\"message\", \"__redis__:invalidate\", [\"k\"]]";
        assert_eq!(listener.reply(), heard);
        assert_eq!(reader.ask("HELLO 3").chars().next(), Some('{'));
        drop(listener);
        assert_eq!(reader.reply(), format!(">[\"tracking-redir-broken\", {id}]"));
        assert!(reader.ask("CLIENT TRACKINGINFO").contains("broken_redirect"));
    });
}

#[test]
fn one_of_resp3_may_be_told_instead_that_never_asked_for_it() {
    under_every_model(|options| {
        let house = House::open(options);
        let mut silent = Talk::to(house.address);
        let id = silent.ask("CLIENT ID");
        let on = format!("CLIENT TRACKING ON REDIRECT {}", &id[1..]);
        let (mut reader, mut writer) = (Talk::to(house.address), Talk::to(house.address));
        assert_eq!(reader.ask(&on), "+OK");
        // In RESP2 it hears of nothing: what comes next is the reply.
        assert_eq!(reader.ask("GET k"), "nil");
        assert_eq!(writer.ask("SET k 1"), "+OK");
        // What it missed, if it did, is all that it may have kept.
        silent.send(b"HELLO 3\r\n");
        let first = silent.reply();
        let hello = if first.starts_with('{') { first } else { silent.reply() };
        assert!(hello.contains("\"proto\": :3"), "{hello}");
        for _ in 0..2 {
            assert_eq!(reader.ask("MGET a b"), "[nil, nil]");
            assert_eq!(writer.ask("SET a 1"), "+OK");
            let mut heard = silent.reply();
            while heard == ">[\"invalidate\", nil]" || heard == told("k") {
                heard = silent.reply();
            }
            assert_eq!(heard, told("a"));
            assert_eq!(writer.ask("DEL a b"), ":1");
            assert_eq!(silent.ask("PING"), "+PONG");
        }
        // It is there still, and so is what it is told, after it has begun anew.
        assert_eq!(silent.ask("RESET"), "+RESET");
        assert!(silent.ask("HELLO 3").starts_with('{'));
        assert_eq!(reader.ask("GET a"), "nil");
        assert_eq!(writer.ask("SET a 2"), "+OK");
        assert_eq!(silent.reply(), told("a"));
        assert!(reader.ask("HELLO 3").starts_with('{'));
        drop(silent);
        assert_eq!(reader.reply(), format!(">[\"tracking-redir-broken\", {id}]"));
    });
}

#[test]
fn one_may_choose_what_is_tracked() {
    under_every_model(|options| {
        let house = House::open(options);
        let mut chooses = talk(&house, "CLIENT TRACKING ON OPTIN");
        let mut refuses = talk(&house, "CLIENT TRACKING ON OPTOUT");
        let mut writer = Talk::to(house.address);
        assert_eq!(chooses.ask("GET a"), "nil");
        assert_eq!(chooses.ask("CLIENT CACHING YES"), "+OK");
        assert_eq!(chooses.ask("GET b"), "nil");
        assert_eq!(chooses.ask("GET c"), "nil");
        assert_eq!(refuses.ask("CLIENT CACHING NO"), "+OK");
        assert_eq!(refuses.ask("GET a"), "nil");
        assert_eq!(refuses.ask("GET c"), "nil");
        assert_eq!(writer.ask("MSET a 1 b 1 c 1"), "+OK");
        assert_eq!(chooses.reply(), told("b"));
        assert_eq!(refuses.reply(), told("c"));
        assert_eq!((chooses.ask("PING"), refuses.ask("PING")), ("+PONG".into(), "+PONG".into()));
    });
}

#[test]
fn a_monitor_hears_of_every_command() {
    under_every_model(|options| {
        let house = House::open(Options { password: Some(b"secret".to_vec()), ..options });
        let mut monitor = Talk::to(house.address);
        assert_eq!(
            (monitor.ask("AUTH secret"), monitor.ask("MONITOR")),
            ("+OK".into(), "+OK".into())
        );
        let mut talk = Talk::to(house.address);
        assert_eq!(talk.ask("AUTH secret"), "+OK");
        assert_eq!(talk.ask_exactly(&[b"SET", b"k", b"a \"value\"\r\n\x00"]), "+OK");
        for command in ["MULTI", "GET k", "EXEC", "CONFIG GET save", "PING"] {
            talk.ask(command);
        }
        let mut next = || {
            let line = monitor.reply();
            // What is shown has what the line escapes escaped once more.
            line.split_once("] ").unwrap().1.replace(r#"\""#, "\"")
        };
        assert_eq!(next(), "\"AUTH\" (redacted)");
        assert_eq!(next(), r#""SET" "k" "a \\"value\\"\\r\\n\\x00""#);
        for command in ["\"MULTI\"", "\"GET\" \"k\"", "\"EXEC\"", "\"PING\""] {
            assert_eq!(next(), command);
        }
    });
}

#[test]
fn clients_can_be_hung_up_on() {
    under_every_model(|options| {
        let house = House::open(options);
        let mut killer = Talk::to(house.address);
        let mut one = Talk::to(house.address);
        let id = one.ask("CLIENT ID");
        assert_eq!(killer.ask(&format!("CLIENT KILL ID {}", &id[1..])), ":1");
        assert_eq!(one.reply(), "closed");
        let mut listens = Talk::to(house.address);
        assert!(listens.ask("SUBSCRIBE c").starts_with('['));
        let mut two = Talk::to(house.address);
        assert_eq!(two.ask("PING"), "+PONG");
        assert_eq!(killer.ask("CLIENT KILL TYPE pubsub"), ":1");
        assert_eq!((listens.reply(), two.ask("PING")), ("closed".into(), "+PONG".into()));
        let info = two.ask("CLIENT INFO");
        let address = info.split(" addr=").nth(1).unwrap().split(' ').next().unwrap();
        assert_eq!(killer.ask(&format!("CLIENT KILL {address}")), "+OK");
        assert_eq!(two.reply(), "closed");
        // Who was hung up on leaves the list a moment later.
        while killer.ask("CLIENT LIST").matches("id=").count() > 1 {}
        assert_eq!(killer.ask("CLIENT KILL SKIPME no"), ":1");
        assert_eq!(killer.reply(), "closed");
    });
}

#[test]
fn commands_wait_until_a_pause_is_over() {
    under_every_model(|options| {
        let house = House::open(options);
        let mut keeper = Talk::to(house.address);
        let mut writer = Talk::to(house.address);
        assert_eq!(keeper.ask("CLIENT PAUSE 100000 WRITE"), "+OK");
        assert_eq!(writer.ask("GET k"), "nil");
        writer.send(b"SET k 1\r\nGET k\r\n");
        while !keeper.ask("CLIENT LIST").contains("flags=b") {}
        assert_eq!(keeper.ask("GET k"), "nil");
        assert_eq!(keeper.ask("CLIENT UNPAUSE"), "+OK");
        assert_eq!((writer.reply(), writer.reply()), ("+OK".into(), "\"1\"".into()));
        let since = Instant::now();
        assert_eq!(keeper.ask("CLIENT PAUSE 200"), "+OK");
        assert_eq!(writer.ask("GET k"), "\"1\"");
        // It began with the turn that the command came in, and ends by the clock of whole ones.
        assert!(since.elapsed() >= Duration::from_millis(150));
    });
}
