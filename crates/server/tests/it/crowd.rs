//! Many clients at once.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use morecore_server::{Error, Options, Server};
use morecore_store::{Create, Store};

use crate::house::{House, options, under_every_model};
use crate::talk::{PATIENCE, Talk};

#[test]
fn increments_of_many_clients_are_all_counted() {
    count_up_together(8, 200, |talk| assert!(talk.ask("INCR n").starts_with(':')));
}

/// Has so many clients count `n` up by one so many times each, as `count` does it, under every
/// model; none of it may be lost.
pub(crate) fn count_up_together(clients: usize, times: usize, count: impl Fn(&mut Talk) + Sync) {
    under_every_model(|options| {
        let house = House::open(options);
        std::thread::scope(|scope| {
            for _ in 0..clients {
                scope.spawn(|| {
                    let mut talk = Talk::to(house.address);
                    (0..times).for_each(|_| count(&mut talk));
                });
            }
        });
        let all = format!("\"{}\"", clients * times);
        assert_eq!(Talk::to(house.address).ask("GET n"), all);
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
        let until = Instant::now() + PATIENCE;
        while talk.ask("DBSIZE") != ":0" {
            assert!(Instant::now() < until, "expired keys stay");
        }
    });
}
