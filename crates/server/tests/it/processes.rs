//! A child for each client: one that is killed costs no client but its own.

use morecore_server::Model;

use crate::house::{House, kill_process, options};
use crate::talk::Talk;

/// The number behind `name:` in what INFO says.
fn number(talk: &mut Talk, name: &str) -> u64 {
    let info = talk.ask("INFO");
    let rest = info.split(&format!("{name}:")).nth(1).unwrap();
    rest.split('\\').next().unwrap().parse().unwrap()
}

#[test]
fn a_killed_child_harms_no_other_client() {
    let house = House::open(options(Model::Process));
    let (mut one, mut two) = (Talk::to(house.address), Talk::to(house.address));
    assert_eq!((one.ask("SET k v"), two.ask("GET k")), ("+OK".into(), "\"v\"".into()));
    let pid = number(&mut one, "process_id");
    assert_ne!(pid, number(&mut two, "process_id"));
    assert_eq!(number(&mut two, "connected_clients"), 2);
    assert_eq!(number(&mut two, "morecore_participants"), 3);
    kill_process(pid);
    assert_eq!(one.reply(), "closed");
    // The parent notices soon, and clears up after it.
    while number(&mut two, "connected_clients") > 1 {}
    while number(&mut two, "morecore_participants") > 2 {}
    assert_eq!(two.ask("GET k"), "\"v\"");
    assert_eq!(Talk::to(house.address).ask("SET k w"), "+OK");
    assert_eq!(two.ask("GET k"), "\"w\"");
    house.stop();
}

#[test]
fn children_killed_while_they_write_leave_a_store_that_goes_on() {
    const KILLED: usize = 20;
    let house = House::open(options(Model::Process));
    let mut watcher = Talk::to(house.address);
    for _ in 0..KILLED {
        let mut writer = Talk::to(house.address);
        let pid = number(&mut writer, "process_id");
        writer.send("INCR n\r\nAPPEND text some-text\r\n".repeat(2000).as_bytes());
        kill_process(pid);
    }
    while number(&mut watcher, "connected_clients") > 1 {}
    let before: u64 = watcher.ask("INCRBY n 0")[1..].parse().unwrap();
    assert_eq!(watcher.ask("INCR n"), format!(":{}", before + 1));
    house.stop();
}

#[test]
fn a_pause_that_ends_while_it_is_asked_about_keeps_nobody() {
    const ROUNDS: usize = 300;
    let house = House::open(options(Model::Process));
    let (mut keeper, mut writer) = (Talk::to(house.address), Talk::to(house.address));
    for _ in 0..ROUNDS {
        assert_eq!(keeper.ask("CLIENT PAUSE 100000 WRITE"), "+OK");
        writer.send(b"SET k 1\r\n");
        while !keeper.ask("CLIENT LIST").contains("flags=b") {}
        assert_eq!(keeper.ask("CLIENT UNPAUSE"), "+OK");
        assert_eq!(writer.reply(), "+OK");
    }
    house.stop();
}
