//! Who hears of what: changed keys, commands, and the ends of connections.

use std::time::{Duration, Instant};

use morecore_server::Options;
use morecore_store::{Create, Set};

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
        // Time.
        assert_eq!(writer.ask("SET k 5 PX 300"), "+OK");
        assert_eq!(reader.ask("STRLEN k"), ":1");
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

#[test]
fn one_who_is_told_of_prefixes_hears_of_them_by_any_door() {
    under_every_model(|options| {
        let (house, mut local) = House::shared(options);
        let always = Set::default();
        local.set(b"a:old", b"0", &always).unwrap();
        let mut reader = talk(&house, "CLIENT TRACKING ON BCAST PREFIX a: PREFIX b: NOLOOP");
        let mut writer = Talk::to(house.address);
        // What went before all was known may be forgotten as a whole.
        assert_eq!(reader.reply(), ">[\"invalidate\", nil]");
        assert_eq!(writer.ask("MSET c:1 x a:1 x"), "+OK");
        assert_eq!(reader.reply(), told("a:1"));
        local.set(b"b:1", b"0", &always).unwrap();
        assert_eq!(reader.reply(), told("b:1"));
        local.set(b"c:1", b"0", &always).unwrap();
        assert!(local.delete(b"a:old").unwrap());
        assert_eq!(reader.reply(), told("a:old"));
        assert_eq!(writer.ask("PEXPIRE b:1 50"), ":1");
        assert_eq!(reader.reply(), told("b:1"));
        assert_eq!(reader.reply(), told("b:1"));
        assert_eq!(reader.ask("SET a:own 1"), "+OK");
        assert_eq!(writer.ask("DEL a:1"), ":1");
        assert_eq!(reader.reply(), told("a:1"));
        assert_eq!(reader.ask("PING"), "+PONG");
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
