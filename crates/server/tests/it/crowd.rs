//! Many clients at once.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use morecore_server::{Error, Options, Server};
use morecore_store::{Create, Store};

use crate::house::{House, options, under_every_model};
use crate::talk::Talk;

#[test]
fn increments_of_many_clients_are_all_counted() {
    const CLIENTS: usize = 8;
    const ROUNDS: usize = 200;
    under_every_model(|options| {
        let house = House::open(options);
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    let mut talk = Talk::to(house.address);
                    for _ in 0..ROUNDS {
                        assert!(talk.ask("INCR shared").starts_with(':'));
                    }
                });
            }
        });
        let all = format!("\"{}\"", CLIENTS * ROUNDS);
        assert_eq!(Talk::to(house.address).ask("GET shared"), all);
    });
}

#[test]
fn hundreds_of_clients_are_served_at_once() {
    under_every_model(|options| {
        // Each client of a `process` needs a participant's place: 200 MiB have 700.
        let create = Create { memory_bytes: 200 << 20, ..Create::default() };
        let house = House::before(&create, options);
        let mut talks: Vec<Talk> = (0..300).map(|_| Talk::to(house.address)).collect();
        for talk in &mut talks {
            assert_eq!(talk.ask("PING"), "+PONG");
        }
        let info = talks[0].ask("INFO clients");
        assert!(info.contains("connected_clients:300"), "{info}");
    });
}

#[test]
fn one_port_on_two_addresses() {
    let bind = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let options = Options { bind, ..options(morecore_server::Model::Epoll) };
    let store = Store::anonymous(&Create::default()).unwrap();
    match Server::bind(store, options) {
        Ok(server) => {
            let ports: Vec<_> = server.addresses().map(|address| address.port()).collect();
            assert_eq!(ports, [server.port().unwrap(); 2]);
        }
        // Where the machine has no IPv6 there is nothing to see.
        Err(Error::Listen { address, .. }) => assert!(address.is_ipv6()),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn what_expired_goes_without_being_asked_for() {
    const KEYS: usize = 1000;
    under_every_model(|options| {
        let house = House::open(options);
        let mut talk = Talk::to(house.address);
        for index in 0..KEYS {
            talk.send(format!("SET key:{index} v PX 1\r\n").as_bytes());
        }
        for _ in 0..KEYS {
            assert_eq!(talk.reply(), "+OK");
        }
        let until = Instant::now() + Duration::from_secs(20);
        while talk.ask("DBSIZE") != ":0" {
            assert!(Instant::now() < until, "expired keys stay");
        }
    });
}
