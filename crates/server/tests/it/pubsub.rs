//! Messages: who listens hears them, whoever serves whom.

use morecore_server::Options;

use crate::house::{House, under_every_model};
use crate::talk::Talk;

/// A client that has subscribed; what it was told is read.
fn listener(house: &House, command: &str) -> Talk {
    let mut talk = Talk::to(house.address);
    assert!(talk.ask(command).starts_with("[\""), "{command}");
    talk
}

#[test]
fn what_is_said_is_heard_by_all_who_listen() {
    under_every_model(|options| {
        let house = House::open(options);
        let mut one = listener(&house, "SUBSCRIBE news");
        let mut two = listener(&house, "SUBSCRIBE news");
        let mut pattern = listener(&house, "PSUBSCRIBE n?w*");
        let mut sharded = listener(&house, "SSUBSCRIBE news");
        let mut three = Talk::to(house.address);
        assert!(three.ask("HELLO 3").starts_with('{'));
        assert_eq!(three.ask("SUBSCRIBE news"), ">[\"subscribe\", \"news\", :1]");
        let mut speaker = Talk::to(house.address);
        for said in ["first", "second"] {
            assert_eq!(speaker.ask(&format!("PUBLISH news {said}")), ":4");
        }
        assert_eq!(speaker.ask("SPUBLISH news third"), ":1");
        assert_eq!(speaker.ask("PUBLISH other fourth"), ":0");
        for said in ["first", "second"] {
            let message = format!("[\"message\", \"news\", \"{said}\"]");
            assert_eq!(one.reply(), message);
            assert_eq!(two.reply(), message);
            assert_eq!(three.reply(), format!(">{message}"));
            assert_eq!(pattern.reply(), format!("[\"pmessage\", \"n?w*\", \"news\", \"{said}\"]"));
        }
        assert_eq!(sharded.reply(), "[\"smessage\", \"news\", \"third\"]");
        // One that listens in RESP3 may speak too, and hears itself.
        assert_eq!(three.ask("PUBLISH news self"), ":4");
        assert_eq!(three.reply(), ">[\"message\", \"news\", \"self\"]");
        assert_eq!(three.ask("PING"), "+PONG");
        // Whoever has left is spoken to no more.
        assert_eq!(two.ask("QUIT"), "[\"message\", \"news\", \"self\"]");
        assert_eq!(two.reply(), "+OK");
        assert_eq!(two.reply(), "closed");
        drop(pattern);
        while speaker.ask("PUBLISH news last") != ":2" {}
        assert_eq!(speaker.ask("PUBSUB NUMPAT"), ":0");
    });
}

#[test]
fn many_messages_come_whole_and_in_their_order() {
    const MESSAGES: usize = 5000;
    const SPEAKERS: usize = 3;
    under_every_model(|options| {
        let house = House::open(options);
        let mut listening = [listener(&house, "SUBSCRIBE c"), listener(&house, "PSUBSCRIBE *")];
        let padding = "x".repeat(200);
        std::thread::scope(|scope| {
            for speaker in 0..SPEAKERS {
                let (house, padding) = (&house, &padding);
                scope.spawn(move || {
                    let mut talk = Talk::to(house.address);
                    let all: String = (0..MESSAGES)
                        .map(|n| format!("PUBLISH c {speaker}:{n}:{padding}\r\n"))
                        .collect();
                    talk.send(all.as_bytes());
                    (0..MESSAGES).for_each(|_| assert_eq!(talk.reply(), ":2"));
                });
            }
            for talk in &mut listening {
                scope.spawn(move || {
                    let mut next = [0; SPEAKERS];
                    for _ in 0..SPEAKERS * MESSAGES {
                        let message = talk.reply();
                        let said = message.rsplit('"').nth(1).unwrap();
                        let mut parts = said.split(':');
                        let mut number = || parts.next().unwrap().parse::<usize>().unwrap();
                        let (speaker, n) = (number(), number());
                        assert_eq!((next[speaker], said.len() > 200), (n, true));
                        next[speaker] += 1;
                    }
                });
            }
        });
    });
}

#[test]
fn a_listener_that_does_not_read_is_cut_off_and_keeps_nobody_waiting() {
    const MESSAGE_BYTES: usize = 1 << 20;
    // Far more than may wait for one, here and in the sockets.
    const MESSAGES: usize = 120;
    under_every_model(|options| {
        let house = House::open(options);
        let mut slow = listener(&house, "SUBSCRIBE c");
        let mut good = listener(&house, "SUBSCRIBE c");
        let mut speaker = Talk::to(house.address);
        let message = vec![b'x'; MESSAGE_BYTES];
        for _ in 0..MESSAGES {
            let heard = speaker.ask_exactly(&[b"PUBLISH", b"c", &message]);
            assert!(heard == ":2" || heard == ":1", "{heard}");
            assert!(good.reply().len() > MESSAGE_BYTES);
        }
        while speaker.ask("PUBSUB NUMSUB c") != "[\"c\", :1]" {}
        assert_eq!(speaker.ask("PUBLISH c last"), ":1");
        assert_eq!(good.reply(), "[\"message\", \"c\", \"last\"]");
        // What came before it was cut off is whole, but for the last.
        let mut read = 0;
        while slow.try_reply().is_some_and(|reply| reply != "closed") {
            read += 1;
        }
        assert!(read < MESSAGES, "{read} messages were kept");
    });
}

#[test]
fn one_that_listens_may_be_silent() {
    under_every_model(|options| {
        let house = House::open(Options { timeout_s: 1, ..options });
        let mut listening = house.talk_in_time("SUBSCRIBE c", "[\"subscribe\", \"c\", :1]");
        let mut silent = Talk::to(house.address);
        assert_eq!(silent.reply(), "closed");
        house.talk_in_time("PUBLISH c here", ":1");
        assert_eq!(listening.reply(), "[\"message\", \"c\", \"here\"]");
    });
}

#[test]
fn a_server_that_listeners_wait_at_stops() {
    under_every_model(|options| {
        let house = House::open(options);
        let mut listening = listener(&house, "SUBSCRIBE c");
        house.stop();
        assert_eq!(listening.reply(), "closed");
    });
}

#[test]
fn who_wants_no_replies_is_told_of_channels_and_hears_messages_all_the_same() {
    under_every_model(|options| {
        let house = House::open(options);
        let mut speaker = Talk::to(house.address);
        for (hello, mark) in [("HELLO 2", ""), ("HELLO 3", ">")] {
            let mut talk = Talk::to(house.address);
            talk.ask(hello);
            talk.send(b"CLIENT REPLY OFF\r\nGET k\r\nSUBSCRIBE\r\nSUBSCRIBE c\r\n");
            assert_eq!(talk.reply(), format!("{mark}[\"subscribe\", \"c\", :1]"));
            assert_eq!(speaker.ask("PUBLISH c said"), ":1");
            assert_eq!(talk.reply(), format!("{mark}[\"message\", \"c\", \"said\"]"));
            talk.send(b"PING\r\nUNSUBSCRIBE c\r\n");
            assert_eq!(talk.reply(), format!("{mark}[\"unsubscribe\", \"c\", :0]"));
            assert_eq!(talk.ask("CLIENT REPLY ON"), "+OK");
            talk.send(b"CLIENT REPLY SKIP\r\n");
            assert_eq!(talk.ask("CLIENT REPLY ON"), "+OK");
            talk.send(b"CLIENT REPLY SKIP\r\nPSUBSCRIBE c*\r\nPUNSUBSCRIBE\r\n");
            assert_eq!(talk.reply(), format!("{mark}[\"psubscribe\", \"c*\", :1]"));
            assert_eq!(talk.reply(), format!("{mark}[\"punsubscribe\", \"c*\", :0]"));
            assert_eq!(talk.ask("PING"), "+PONG");
        }
    });
}
