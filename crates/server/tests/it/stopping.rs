//! A server that is stopped answers what has come, and leaves nothing behind.

use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use morecore_server::Options;

use crate::house::{House, under_every_model};
use crate::talk::Talk;

#[test]
fn what_has_arrived_is_answered_before_the_end() {
    const ASKED: usize = 10_000;
    /// What a server does in its last two seconds, on a machine that stands still for longer than
    /// that now and then, but not each time.
    const GOES: usize = 10;
    under_every_model(|options| {
        let are_all_answered = || {
            let house = House::open(options.clone());
            let mut talk = Talk::to(house.address);
            assert_eq!(talk.ask("PING"), "+PONG");
            talk.send("INCR n\r\n".repeat(ASKED).as_bytes());
            let since = Instant::now();
            house.ask_to_stop();
            let last = (1..).find(|n| talk.try_reply() != Some(format!(":{n}"))).unwrap() - 1;
            assert!(last == ASKED || since.elapsed() >= Duration::from_secs(2), "{last}");
            house.stop();
            last == ASKED
        };
        assert!((0..GOES).any(|_| are_all_answered()));
    });
}

#[test]
fn idle_clients_and_half_commands_do_not_delay_the_end() {
    under_every_model(|options| {
        let house = House::open(options);
        let (mut idle, mut half) = (Talk::to(house.address), Talk::to(house.address));
        assert_eq!(idle.ask("PING"), "+PONG");
        half.send(b"*2\r\n$3\r\nGET\r\n");
        house.stop();
        assert_eq!((idle.reply(), half.reply()), ("closed".into(), "closed".into()));
    });
}

#[test]
fn a_stopped_server_lets_nobody_in() {
    under_every_model(|options| {
        let house = House::open(options);
        let address = house.address;
        house.stop();
        assert!(TcpStream::connect(address).is_err());
    });
}

#[test]
fn a_client_that_does_not_read_delays_the_end_for_a_while_only() {
    under_every_model(|options| {
        let house = House::open(options);
        let mut talk = Talk::to(house.address);
        let value = vec![b'x'; 1 << 20];
        assert_eq!(talk.ask_exactly(&[b"SET", b"k", &value]), "+OK");
        talk.send("GET k\r\n".repeat(200).as_bytes());
        house.stop();
    });
}

#[test]
fn a_unix_socket_serves_and_its_file_goes_with_the_server() {
    under_every_model(|options| {
        let name = format!("morecore-it-{}-{}.sock", std::process::id(), options.model);
        let path: PathBuf = std::env::temp_dir().join(name);
        let house = House::open(Options { unix_socket: Some(path.clone()), ..options });
        assert_eq!(Talk::to_unix(&path).ask("SET k v"), "+OK");
        assert_eq!(Talk::to(house.address).ask("GET k"), "\"v\"");
        house.stop();
        assert!(!path.exists());
    });
}

#[test]
fn a_client_that_says_shutdown_stops_the_server() {
    under_every_model(|options| {
        let house = House::open(options);
        let (mut one, mut other) = (Talk::to(house.address), Talk::to(house.address));
        assert_eq!(other.ask("PING"), "+PONG");
        one.send(b"SET k v\r\nSHUTDOWN NOSAVE\r\nPING\r\n");
        assert_eq!(one.reply(), "+OK");
        assert_eq!(one.reply(), "closed");
        house.wait();
    });
}
