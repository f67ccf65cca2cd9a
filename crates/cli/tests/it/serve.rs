//! `morecore serve`: the ready line, the models, and what stays when it has gone.

use std::io::{BufRead, BufReader, Read, Write};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;

use crate::support::{TestServer, failed, told};

#[test]
fn the_ready_line_says_where_and_what() {
    let server = TestServer::start("");
    let expected = format!(
        "ready port={} admin=off store={} model=epoll pid={}\n",
        server.number("port="),
        server.store.name,
        server.number("pid=")
    );
    assert_eq!(server.ready, expected);
}

#[test]
fn what_is_set_over_tcp_is_read_without_the_server() {
    for model in ["epoll", "process", "select", "thread"] {
        let mut server = TestServer::start(&format!("--model {model}"));
        assert_eq!(server.say("SET greeting hello"), "+OK", "{model}");
        assert_eq!(told(&server.store.ask("get greeting")), "hello", "{model}");
        told(&server.store.ask("set reply welcome"));
        assert_eq!(server.say("STRLEN reply"), ":7", "{model}");
        assert_eq!(server.end_with(Signal::SIGTERM), Some(0), "{model}");
        assert_eq!(told(&server.store.ask("get greeting")), "hello", "{model}");
        assert!(told(&server.store.ask("verify")).starts_with("whole: 2 entries"), "{model}");
    }
}

#[test]
fn the_language_is_told_by_the_first_line_or_by_a_flag() {
    let server = TestServer::start("");
    assert_eq!(server.say("set greeting 5 0 5\r\nhello"), "STORED");
    assert_eq!(server.say("STRLEN greeting"), ":5");
    assert_eq!(told(&server.store.ask("get greeting")), "hello");
    assert_eq!(TestServer::start("--protocol memcached").say("STRLEN greeting"), "ERROR");
    assert_eq!(TestServer::start("--protocol resp").say("get greeting"), "$-1");
}

#[test]
fn both_signals_end_it_well() {
    assert_eq!(TestServer::start("").end_with(Signal::SIGINT), Some(0));
    assert_eq!(TestServer::start("--model thread").end_with(Signal::SIGTERM), Some(0));
}

#[test]
fn select_refuses_whom_it_has_no_descriptor_for_and_serves_the_others() {
    // Our own ends are as many, and other tests have some, too.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if most < 2 * 1024 {
        eprintln!("skipped: no more than {most} descriptors may be had here (ulimit -Hn)");
        return;
    }
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let server = TestServer::start("--model select");
    let mut inside = Vec::new();
    let refusal = loop {
        let mut socket = server.connect();
        socket.write_all(b"PING\r\n").unwrap();
        let mut answer = String::new();
        BufReader::new(&socket).read_line(&mut answer).unwrap();
        if answer != "+PONG\r\n" {
            break answer;
        }
        inside.push(socket);
        assert!(inside.len() < 1024);
    };
    assert!(refusal.starts_with("-ERR max number of clients reached: select(2)"), "{refusal}");
    // Some descriptors are the server's own, and not many.
    assert!(inside.len() > 1000, "{}", inside.len());
    for mut socket in inside {
        socket.write_all(b"PING\r\n").unwrap();
        let mut answer = [0; 7];
        socket.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"+PONG\r\n");
    }
    // Those have left; the server has room as soon as it has noticed.
    while server.say("PING") != "+PONG" {}
}

#[test]
fn a_killed_server_leaves_a_whole_store() {
    let mut server = TestServer::start("");
    assert_eq!(server.say("SET k v"), "+OK");
    assert_eq!(server.end_with(Signal::SIGKILL), None);
    told(&server.store.ask("verify"));
    assert_eq!(told(&server.store.ask("get k")), "v");
}

#[test]
fn a_port_that_is_taken_is_told() {
    let server = TestServer::start("");
    let port = server.number("port=");
    let (status, complaint) = failed(&server.store.ask(&format!("serve --port {port}")));
    assert_eq!(status, 1);
    assert!(complaint.contains(&format!("port {port}")), "{complaint}");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
}

#[test]
fn a_unix_socket_is_served_too() {
    let path = std::env::temp_dir().join(format!("morecore-test-{}.sock", std::process::id()));
    let server = TestServer::start(&format!("--unixsocket {}", path.display()));
    let mut socket = std::os::unix::net::UnixStream::connect(&path).unwrap();
    socket.write_all(b"PING\r\n").unwrap();
    let mut answer = [0; 7];
    socket.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+PONG\r\n");
    drop(server);
    let _ = std::fs::remove_file(path);
}

#[test]
fn a_password_is_asked_for() {
    let server = TestServer::start("--requirepass secret");
    assert!(server.say("GET k").starts_with("-NOAUTH"));
    let mut socket = server.connect();
    socket.write_all(b"AUTH secret\r\nSET k v\r\n").unwrap();
    let answers: Vec<String> = BufReader::new(socket).lines().take(2).map(Result::unwrap).collect();
    assert_eq!(answers, ["+OK", "+OK"]);
}

#[test]
fn garbage_harms_nobody() {
    let server = TestServer::start("");
    let mut silent = server.connect();
    silent.write_all(b"*2\r\n$3\r\nGE").unwrap();
    assert!(server.say("*1\r\n$99999999999").starts_with("-ERR Protocol error"));
    assert!(server.say("*1\r\n$1073741824").starts_with("-ERR Protocol error"));
    let mut noise = server.connect();
    noise.write_all(&[0xff, 0x00, 0x13, b'*', b'x', b'\r', b'\n']).unwrap();
    let mut answer = String::new();
    BufReader::new(noise).read_line(&mut answer).unwrap();
    assert!(answer.starts_with("-ERR"), "{answer}");
    assert_eq!(server.say("PING"), "+PONG");
}

#[test]
fn a_file_of_settings_is_read_and_what_is_strange_is_named() {
    let path = std::env::temp_dir().join(format!("morecore-test-{}.conf", std::process::id()));
    std::fs::write(&path, "maxclients 7\nappendonly yes\nrequirepass \"a b\"\n").unwrap();
    let server = TestServer::start(&format!("--config {}", path.display()));
    assert!(server.say("PING").starts_with("-NOAUTH"));
    std::fs::write(&path, "appendonly yes\nport nowhere\n").unwrap();
    let (status, complaint) =
        failed(&server.store.ask(&format!("serve --config {}", path.display())));
    let _ = std::fs::remove_file(&path);
    assert_eq!(status, 1);
    assert!(complaint.contains("left out: appendonly yes"), "{complaint}");
    assert!(complaint.contains("nowhere"), "{complaint}");
}
