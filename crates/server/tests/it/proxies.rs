//! Proxies of others before our servers, as docs/many-machines.md has them: twemproxy, which shards
//! keys, and HAProxy, which spreads clients. Where one is not installed its test is skipped.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use morecore_server::{Model, Options, Server};
use morecore_store::{Create, Store};

use crate::house::{House, options};
use crate::talk::{PATIENCE, Talk};

/// Keys that are put through a proxy: so many that one of two servers gets none only if it is not
/// asked.
const KEYS: usize = 100;

/// A proxy in a folder of its own, listening on `proxy.sock` there; both go when it is dropped.
struct Proxy {
    child: Child,
    folder: PathBuf,
}

impl Proxy {
    /// Starts `program` with `arguments`, where `CONFIG` stands for a file with this content, and
    /// `FOLDER` in it for its folder; `None`, and a word about it, where it is not installed.
    fn start(program: &str, arguments: &[&str], config: &str) -> Option<Self> {
        let unique = format!("morecore-proxy-{}-{:x}", std::process::id(), fastrand::u64(..));
        let folder = std::env::temp_dir().join(unique);
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("config");
        std::fs::write(&path, config.replace("FOLDER", folder.to_str().unwrap())).unwrap();
        let mut command = Command::new(program);
        command.current_dir(&folder).stdout(Stdio::null()).stderr(Stdio::null());
        for argument in arguments {
            command.arg(if *argument == "CONFIG" { path.as_os_str() } else { argument.as_ref() });
        }
        match command.spawn() {
            Ok(child) => {
                let mut proxy = Self { child, folder };
                let until = Instant::now() + PATIENCE;
                while UnixStream::connect(proxy.socket()).is_err() {
                    let ended = proxy.child.try_wait().unwrap();
                    assert!(ended.is_none(), "{program} does not start: {ended:?}");
                    assert!(Instant::now() < until, "{program} does not start");
                    std::thread::yield_now();
                }
                Some(proxy)
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NotFound, "{program}");
                eprintln!("skipped: {program} is not installed");
                std::fs::remove_dir_all(&folder).unwrap();
                None
            }
        }
    }

    /// twemproxy before two servers, for one language.
    fn twemproxy(servers: [SocketAddr; 2], is_redis: bool) -> Option<Self> {
        let [one, other] = servers;
        let config = format!(
            "pool:\n  listen: FOLDER/proxy.sock 0600\n  hash: murmur\n  distribution: ketama\n  \
             redis: {is_redis}\n  servers:\n   - {one}:1 one\n   - {other}:1 other\n"
        );
        // Its statistics have a port whatever one says; one that is free at this moment.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let port = free.port().to_string();
        // Its log lies where only its own user may write, if one says nothing.
        let log = ["-o", "/dev/null"];
        let arguments = ["-c", "CONFIG", "-s", &port, "-a", "127.0.0.1"];
        Self::start("nutcracker", &[&log[..], &arguments].concat(), &config)
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("proxy.sock")
    }

    fn talk(&self) -> Talk {
        Talk::to_unix(&self.socket())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
        let _gone = std::fs::remove_dir_all(&self.folder);
    }
}

/// What `DBSIZE` says of each server: all keys together, and none of them without any.
fn assert_sharded(houses: &[House; 2]) {
    let counts = houses.each_ref().map(|house| {
        let count = Talk::to(house.address).ask("DBSIZE");
        count.trim_start_matches(':').parse::<usize>().unwrap()
    });
    assert_eq!(counts.iter().sum::<usize>(), KEYS, "{counts:?}");
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}

#[test]
fn twemproxy_shards_the_keys_of_redis_clients() {
    let houses = [(); 2].map(|()| House::open(options(Model::Epoll)));
    let servers = houses.each_ref().map(|house| house.address);
    let Some(proxy) = Proxy::twemproxy(servers, true) else { return };
    let mut talk = proxy.talk();
    for n in 0..KEYS {
        assert_eq!(talk.ask(&format!("SET key:{n} {n}")), "+OK");
    }
    assert_sharded(&houses);
    for n in 0..KEYS {
        assert_eq!(talk.ask(&format!("INCRBY key:{n} 1000")), format!(":{}", 1000 + n));
    }
    assert_eq!(talk.ask("MGET key:0 key:1 key:2 none"), "[\"1000\", \"1001\", \"1002\", nil]");
    assert_eq!(talk.ask("DEL key:0 key:1 key:2 none"), ":3");
}

#[test]
fn twemproxy_shards_the_keys_of_memcached_clients() {
    let houses = [(); 2].map(|()| House::open(options(Model::Epoll)));
    let servers = houses.each_ref().map(|house| house.address);
    let Some(proxy) = Proxy::twemproxy(servers, false) else { return };
    let mut talk = proxy.talk();
    for n in 0..KEYS {
        talk.send(format!("set key:{n} {n} 0 2\r\nab\r\n").as_bytes());
        assert_eq!(talk.line(), "STORED");
    }
    assert_sharded(&houses);
    for n in 0..KEYS {
        talk.send(format!("get key:{n}\r\n").as_bytes());
        let lines = [talk.line(), talk.line(), talk.line()];
        assert_eq!(lines, [format!("VALUE key:{n} {n} 2"), "ab".into(), "END".into()]);
    }
}

#[test]
fn haproxy_goes_on_with_the_other_server_before_the_same_store() {
    let store = Store::anonymous(&Create { memory_bytes: 64 << 20, ..Create::default() }).unwrap();
    let servers = [(); 2].map(|()| {
        let options = Options { model: Model::Epoll, ..options(Model::Epoll) };
        let server = Server::bind(store.try_clone().unwrap(), options).unwrap();
        let address = server.addresses().next().unwrap();
        let stopper = server.stopper();
        (address, stopper, std::thread::spawn(move || server.run()))
    });
    let config = format!(
        "defaults\n mode tcp\n timeout connect 5s\n timeout client 1h\n timeout server 1h\n \
         option redispatch\n\
         listen store\n bind unix@FOLDER/proxy.sock\n balance leastconn\n \
         option tcp-check\n tcp-check send PING\\r\\n\n tcp-check expect string +PONG\n \
         server one {} check inter 100ms\n server other {} check inter 100ms\n",
        servers[0].0, servers[1].0,
    );
    let Some(proxy) = Proxy::start("haproxy", &["-db", "-f", "CONFIG"], &config) else {
        servers.into_iter().for_each(stop);
        return;
    };
    // A client that comes in the moment before a check notices that a server is gone may be sent
    // away, and all are while the machine stands still for longer than the checks wait.
    let ask_until = |command: &str, reply: &str| {
        let until = Instant::now() + PATIENCE;
        while proxy.talk().ask(command) != reply {
            assert!(Instant::now() < until, "nobody answers {command}");
        }
    };
    (0..4).for_each(|n| ask_until(&format!("SET key:{n} {n}"), "+OK"));
    let [one, other] = servers;
    stop(one);
    ask_until("GET key:3", "\"3\"");
    stop(other);
}

/// Stops a server and waits until it has.
fn stop(
    (_, stopper, thread): (
        SocketAddr,
        morecore_server::Stopper,
        std::thread::JoinHandle<Result<(), morecore_server::Error>>,
    ),
) {
    stopper.stop();
    thread.join().unwrap().unwrap();
}
