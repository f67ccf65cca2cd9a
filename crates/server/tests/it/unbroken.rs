//! What breaks servers: floods of connections, a want of descriptors, and being killed.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use morecore_server::{Model, Options};
use morecore_store::Store;

use crate::house::{House, under_every_model};
use crate::talk::{PATIENCE, Talk};

/// How many clients a test may have under a model.
fn clients(model: Model, most: usize) -> usize {
    match model {
        Model::Epoll | Model::Uring => most,
        Model::Thread => most.min(1000),
        // Participants' places and select's descriptors are few.
        Model::Process | Model::Select => most.min(200),
    }
}

/// How many descriptors one test of this process may have beside those of other tests; nothing, and
/// a word about it, where that is too few for a crowd.
fn descriptors() -> Option<usize> {
    /// For the other tests, which have some hundreds of clients and their servers in this process.
    const OTHERS: u64 = 3_000;
    let most = morecore_sys::descriptor::raise_limit(20_000).unwrap();
    if most < OTHERS + 1_000 {
        eprintln!("skipped: no more than {most} descriptors may be had here (ulimit -Hn)");
        return None;
    }
    Some((most - OTHERS) as usize)
}

/// The processor's time of a process, in ticks of which a second has a hundred.
fn ticks(pid: u64) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn value_of(store: &mut Store, key: &str) -> u64 {
    let mut value = Vec::new();
    let found = store.get(key.as_bytes(), &mut value).unwrap();
    found.map_or(0, |_| String::from_utf8(value).unwrap().parse().unwrap())
}

#[test]
fn ten_thousand_idle_clients_keep_nobody_waiting() {
    under_every_model(|options| {
        let Some(descriptors) = descriptors() else { return };
        let count = clients(options.model, descriptors.min(10_000));
        let most = options.clients_most;
        let (house, _) = House::apart(Options { clients_most: most + 10, ..options }, None);
        let mut idle: Vec<TcpStream> = Vec::new();
        for _ in 0..count {
            match TcpStream::connect(house.address) {
                Ok(stream) => idle.push(stream),
                Err(error) => panic!("client {}: {error}", idle.len()),
            }
        }
        let mut talk = Talk::to(house.address);
        let wanted = format!("connected_clients:{}", count + 1);
        let until = Instant::now() + PATIENCE;
        while !talk.ask("INFO clients").contains(&wanted) {
            assert!(Instant::now() < until, "{}", talk.ask("INFO clients"));
        }
        // The last of them is served as well as the first.
        for stream in [&idle[0], &idle[count - 1]] {
            let mut reply = [0; 7];
            (&*stream).write_all(b"PING\r\n").unwrap();
            (&*stream).read_exact(&mut reply).unwrap();
            assert_eq!(&reply, b"+PONG\r\n");
        }
    });
}

#[test]
fn a_storm_of_connections_leaves_nothing_behind() {
    const STORMERS: usize = 4;
    const EACH: usize = 150;
    under_every_model(|options| {
        let (house, _) = House::apart(options, None);
        let mut talk = Talk::to(house.address);
        std::thread::scope(|scope| {
            for stormer in 0..STORMERS {
                let address = house.address;
                scope.spawn(move || {
                    for n in 0..EACH {
                        let Ok(mut stream) = TcpStream::connect(address) else { continue };
                        // Some say nothing, some half a command, some go without hearing.
                        let said: &[u8] = match (stormer + n) % 4 {
                            0 => b"",
                            1 => b"*2\r\n$3\r\nGET\r\n$1",
                            2 => b"PING\r\nSUBSCRIBE c\r\n",
                            _ => b"MULTI\r\nINCR n\r\n",
                        };
                        let _gone = stream.write_all(said);
                    }
                });
            }
            for _ in 0..50 {
                assert_eq!(talk.ask("PING"), "+PONG");
            }
        });
        let until = Instant::now() + PATIENCE;
        while !talk.ask("INFO clients").contains("connected_clients:1\\") {
            assert!(Instant::now() < until, "{}", talk.ask("CLIENT LIST"));
        }
        // Who goes is no client any more before the last that it listened to is ended.
        while talk.ask("PUBSUB CHANNELS") != "[]" {
            assert!(Instant::now() < until, "{}", talk.ask("PUBSUB CHANNELS"));
        }
        assert!(talk.ask("INFO memory").contains("mem_clients_normal:0"));
        assert_eq!(talk.ask("EXISTS n"), ":0");
    });
}

#[test]
fn a_want_of_descriptors_is_waited_out_and_keeps_nobody_waiting() {
    const ROOM: u64 = 30;
    const TRIED: usize = 60;
    under_every_model(|options| {
        let (house, _) = House::apart(options, Some(ROOM));
        let mut talk = Talk::to(house.address);
        let info = talk.ask("INFO server");
        let pid = info.split("process_id:").nth(1).unwrap().split('\\').next().unwrap();
        let pid: u64 = pid.parse().unwrap();
        let crowd: Vec<TcpStream> =
            (0..TRIED).map(|_| TcpStream::connect(house.address).unwrap()).collect();
        let since = (Instant::now(), ticks(pid));
        while since.0.elapsed() < Duration::from_millis(500) {
            assert_eq!(talk.ask("PING"), "+PONG");
            std::thread::yield_now();
        }
        drop(crowd);
        // There is room again, and nobody has to wait long for it.
        let until = Instant::now() + PATIENCE;
        let mut is_served = false;
        while !is_served {
            assert!(Instant::now() < until, "nobody is let in any more");
            // Who comes before there is room may be sent away.
            let mut new = Talk::to(house.address);
            new.send(b"PING\r\n");
            is_served = new.try_reply().as_deref() == Some("+PONG");
        }
        assert_eq!(talk.ask("PING"), "+PONG");
    });
}

#[test]
fn who_waits_for_descriptors_does_not_spin() {
    under_every_model(|options| {
        let (house, _) = House::apart(options, Some(12));
        let mut talk = Talk::to(house.address);
        let info = talk.ask("INFO server");
        let pid = info.split("process_id:").nth(1).unwrap().split('\\').next().unwrap();
        let crowd: Vec<TcpStream> =
            (0..40).map(|_| TcpStream::connect(house.address).unwrap()).collect();
        assert_eq!(talk.ask("PING"), "+PONG");
        let mut stream = &crowd[0];
        stream.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
        // Who spins does so all the time; on a machine that others have too, what was just begun
        // may take long, and what another had may be counted.
        let until = Instant::now() + PATIENCE;
        loop {
            let (since, before) = (Instant::now(), ticks(pid.parse().unwrap()));
            // Time has to pass for this; there is nothing that could be waited for.
            let _nothing = stream.read(&mut [0; 1]);
            let spent = ticks(pid.parse().unwrap()) - before;
            let most = since.elapsed().as_millis() as u64 / 10 / 4 + 2;
            if spent <= most {
                break;
            }
            assert!(Instant::now() < until, "{spent} ticks of the processor, at most {most}");
        }
    });
}

#[test]
fn a_line_without_end_is_cut_off() {
    under_every_model(|options| {
        let house = House::open(options);
        let mut talk = Talk::to(house.address);
        talk.send(b"GET ");
        talk.send(&vec![b'x'; 70_000]);
        assert_eq!(talk.reply(), "-ERR Protocol error: too big inline request");
        assert_eq!(talk.reply(), "closed");
        let mut talk = Talk::to(house.address);
        talk.send(b"*1\r\n$");
        talk.send(&vec![b'1'; 70_000]);
        assert!(talk.reply().starts_with("-ERR Protocol error: "));
        assert_eq!(talk.reply(), "closed");
        assert_eq!(Talk::to(house.address).ask("PING"), "+PONG");
    });
}

/// Has clients count until their connections end; returns how many counts were acknowledged.
fn count_until_the_end(house: House, counting: usize, end: impl FnOnce(House)) -> u64 {
    let address = house.address;
    std::thread::scope(|scope| {
        let counters: Vec<_> = (0..counting)
            .map(|_| {
                let mut talk = Talk::to(address);
                scope.spawn(move || {
                    let once = "MULTI\r\nINCR one\r\nINCR two\r\nEXEC\r\nINCR three\r\n";
                    let mut acknowledged = 0;
                    loop {
                        talk.send(once.repeat(10).as_bytes());
                        for _ in 0..50 {
                            match talk.try_reply().as_deref() {
                                None => return acknowledged,
                                Some(reply) if reply.starts_with(':') => acknowledged += 1,
                                Some(_) => {}
                            }
                        }
                    }
                })
            })
            .collect();
        let mut watcher = Talk::to(address);
        while watcher.ask("GET three").trim_matches('"').parse::<u64>().unwrap_or(0) < 500 {}
        end(house);
        counters.into_iter().map(|counter| counter.join().unwrap()).sum()
    })
}

#[test]
fn a_server_killed_under_load_loses_nothing_that_it_acknowledged() {
    under_every_model(|options| {
        let (house, mut store) = House::apart(options, None);
        let acknowledged = count_until_the_end(house, 4, House::kill);
        store.tidy().unwrap();
        let (one, two) = (value_of(&mut store, "one"), value_of(&mut store, "two"));
        assert_eq!(one, two, "a transaction was cut in half");
        assert!(value_of(&mut store, "three") >= acknowledged);
        store.verify().unwrap();
    });
}

#[test]
fn a_server_that_is_ended_under_load_answers_what_it_executed() {
    under_every_model(|options| {
        let (house, mut store) = House::apart(options, None);
        let acknowledged = count_until_the_end(house, 4, House::stop);
        assert_eq!(value_of(&mut store, "one"), value_of(&mut store, "two"));
        let three = value_of(&mut store, "three");
        assert!(three >= acknowledged, "{three} counted, {acknowledged} acknowledged");
        store.verify().unwrap();
    });
}
