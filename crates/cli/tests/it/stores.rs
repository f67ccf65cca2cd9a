//! Stores without a server: every command that attaches and acts directly.

use std::io::Write;
use std::process::Stdio;
use std::time::Instant;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{PATIENCE, TestStore, ask, failed, morecore, send_signal, told};

fn json(output: &std::process::Output) -> Value {
    serde_json::from_str(&told(output)).unwrap()
}

#[test]
fn a_value_comes_back_as_it_is() {
    let store = TestStore::new();
    assert_eq!(told(&store.ask("set k v")), "OK\n");
    assert_eq!(told(&store.ask("get k")), "v");
    assert_eq!(told(&store.ask("set k -5")), "OK\n");
    assert_eq!(told(&store.ask("get k")), "-5");
}

#[test]
fn bytes_come_from_standard_input() {
    let store = TestStore::new();
    let value: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let mut child =
        store.command("set -x k").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&value).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(store.ask("get k").stdout == value);
    let meta = json(&store.ask("get k --json"));
    assert_eq!(meta["bytes"], 100_000);
    assert_eq!(meta["value_hex"].as_str().map(str::len), Some(200_000));
}

#[test]
fn a_key_that_is_not_there_is_exit_status_1() {
    let store = TestStore::new();
    let missing = (1, "morecore: no such key: k".to_string());
    assert_eq!(failed(&store.ask("get k")), missing);
    assert_eq!(failed(&store.ask("ttl k")), missing);
    assert_eq!(failed(&store.ask("expire k 1s")), missing);
    assert_eq!(failed(&store.ask("set k v --if-present")), missing);
    assert_eq!(failed(&store.ask("exists k")), (1, String::new()));
    assert_eq!(failed(&store.ask("del k")), (1, String::new()));
}

#[test]
fn conditions_hold() {
    let store = TestStore::new();
    told(&store.ask("set k 1 --if-absent"));
    assert_eq!(
        failed(&store.ask("set k 2 --if-absent")),
        (1, "morecore: key exists: k".to_string())
    );
    told(&store.ask("set k 3 --if-present"));
    assert_eq!(told(&store.ask("get k")), "3");
}

#[test]
fn numbers_add_up() {
    let store = TestStore::new();
    assert_eq!(told(&store.ask("incr n")), "1\n");
    assert_eq!(told(&store.ask("incr n 41")), "42\n");
    assert_eq!(told(&store.ask("incr n -50")), "-8\n");
    told(&store.ask("set n x"));
    let (status, complaint) = failed(&store.ask("incr n"));
    assert_eq!((status, complaint.contains("not an integer")), (1, true), "{complaint}");
}

#[test]
fn an_entry_has_an_end() {
    let store = TestStore::new();
    let left = || told(&store.ask("ttl k")).trim_end().parse::<u64>().unwrap();
    told(&store.ask("set k v --expire 2h"));
    // Half an hour is more than any machine takes from one command to the next.
    assert!((5400..=7200).contains(&left()));
    told(&store.ask("expire k 3600s"));
    assert!((1800..=3600).contains(&left()));
    let left_ms = json(&store.ask("ttl k --json"))["ttl_ms"].as_u64().unwrap();
    assert!((1_800_000..=3_600_000).contains(&left_ms), "{left_ms}");
    told(&store.ask("set k v"));
    assert_eq!(told(&store.ask("ttl k")), "-1\n");
    told(&store.ask("set k v --expire 1ms"));
    // The store asks the clock itself: by the time of another process a millisecond has passed.
    while store.ask("exists k").status.success() {}
    assert_eq!(failed(&store.ask("get k")).0, 1);
}

#[test]
fn keys_are_counted_and_removed() {
    let store = TestStore::new();
    told(&store.ask("set a 1"));
    told(&store.ask("set b 2"));
    assert_eq!(told(&store.ask("exists a b")), "2\n");
    let some = store.ask("exists a b c");
    assert_eq!((some.status.code(), some.stdout.as_slice()), (Some(1), b"2\n".as_slice()));
    assert_eq!(json(&store.ask("exists a --json"))["exist"], 1);
    assert_eq!(told(&store.ask("del a b")), "2\n");
}

#[test]
fn keys_match_patterns_in_order() {
    let store = TestStore::new();
    for key in ["b:2", "a:1", "b:1", "c"] {
        told(&store.ask(&format!("set {key} x")));
    }
    assert_eq!(told(&store.ask("keys *")), "a:1\nb:1\nb:2\nc\n");
    assert_eq!(told(&store.ask("keys b:?")), "b:1\nb:2\n");
    assert_eq!(json(&store.ask("keys b:[1] --json")), serde_json::json!([{ "key": "b:1" }]));
    let mut scanned: Vec<String> =
        told(&store.ask("scan --match ?:1")).lines().map(str::to_string).collect();
    scanned.sort();
    assert_eq!(scanned, ["a:1", "b:1"]);
    assert_eq!(told(&store.ask("scan --json")).lines().count(), 4);
}

#[test]
fn a_store_is_made_once_and_listed() {
    let store = TestStore::new();
    let (status, complaint) = failed(&store.ask("create"));
    assert_eq!(status, 1);
    assert!(complaint.contains("exists already"), "{complaint}");
    assert!(told(&ask("ls")).contains(&store.name));
    let all = json(&ask("ls --json"));
    let ours = all.as_array().unwrap().iter().find(|one| one["name"] == store.name.as_str());
    let ours = ours.expect("the store is listed");
    assert_eq!(ours["mode"], "0600");
    assert!(ours["key"].as_str().unwrap().starts_with("0x6d63"), "{ours}");
    told(&ask(&format!("rm {}", store.name)));
    assert!(!told(&ask("ls")).contains(&store.name));
    let (status, complaint) = failed(&store.ask("get k"));
    assert_eq!(status, 1);
    assert!(complaint.contains("morecore create"), "{complaint}");
}

#[test]
fn the_name_comes_from_flag_argument_or_environment() {
    let store = TestStore::absent();
    told(&ask(&format!("create --memory 8mb {}", store.name)));
    told(&ask(&format!("set k v --store {}", store.name)));
    assert_eq!(told(&store.ask("get k")), "v");
    let mut elsewhere = morecore();
    elsewhere.args(["get", "k", "--store", &store.name]).env("MORECORE_STORE", "no-such-store");
    assert_eq!(told(&elsewhere.output().unwrap()), "v");
}

#[test]
fn a_store_says_what_it_is() {
    let store = TestStore::new();
    for number in 1..=100 {
        told(&store.ask(&format!("set key:{number} {}", "v".repeat(number * 10))));
    }
    let facts = json(&store.ask("stat --json"));
    assert_eq!(facts["entries"], 100);
    assert_eq!(facts["memory_bytes"], 8 << 20);
    assert!(told(&store.ask("stat")).contains("100"));
    let map = json(&store.ask("map --json"));
    let pieces = map["pieces"].as_array().unwrap();
    let total: u64 = pieces.iter().map(|piece| piece["bytes"].as_u64().unwrap()).sum();
    assert_eq!(total, map["memory_bytes"].as_u64().unwrap(), "the pieces do not tile the store");
    assert!(told(&store.ask("map")).contains("payload"));
}

#[test]
fn a_whole_store_is_proven_whole() {
    let store = TestStore::new();
    for number in 1..=50 {
        told(&store.ask(&format!("set key:{number} {}", "v".repeat(number * 100))));
    }
    told(&store.ask("del key:7 key:8"));
    assert!(told(&store.ask("verify")).starts_with("whole: 48 entries"));
    let proven = json(&store.ask("verify --json"));
    assert_eq!((&proven["is_whole"], &proven["entries"]), (&true.into(), &48.into()));
}

#[test]
fn a_full_store_that_may_not_evict_refuses() {
    let store = TestStore::absent();
    told(&store.ask("create --memory 8mb --evict none"));
    let value = "v".repeat(100_000);
    let refused = (0..200)
        .map(|number| store.ask(&format!("set key:{number} {value}")))
        .find(|output| !output.status.success())
        .expect("8 MiB do not hold 20 MB");
    let (status, complaint) = failed(&refused);
    assert_eq!(status, 1);
    assert!(complaint.contains("store is full"), "{complaint}");
    told(&store.ask("verify"));
}

#[test]
fn a_full_store_that_may_evict_goes_on() {
    let store = TestStore::new();
    let value = "v".repeat(100_000);
    for number in 0..120 {
        told(&store.ask(&format!("set key:{number} {value}")));
    }
    assert!(json(&store.ask("stat --json"))["evictions"].as_u64() > Some(0));
    told(&store.ask("verify"));
}

/// A folder of this test alone, which goes with it.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(test: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("morecore-cli-{test}-{}", std::process::id()));
        // What is there a run with our number left that was killed.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn path(&self, file: &str) -> String {
        self.0.join(file).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn every_command_works_on_a_store_in_a_file() {
    let folder = Folder::new("file");
    let path = folder.path("store");
    told(&ask(&format!("create --memory 4mb --mode 0640 file:{path}")));
    let on_it = |arguments: &str| ask(&format!("{arguments} --store file:{path}"));
    assert_eq!(told(&on_it("set k v")), "OK\n");
    assert_eq!(told(&on_it("get k")), "v");
    assert_eq!(told(&on_it("incr n 5")), "5\n");
    assert_eq!(told(&on_it("expire n 2h")), "1\n");
    assert_eq!(told(&on_it("exists k n")).trim(), "2");
    assert_eq!(told(&on_it("keys k*")), "k\n");
    assert_eq!(json(&on_it("stat --json"))["entries"], 2);
    assert_eq!(json(&on_it("verify --json"))["is_whole"], true);
    assert!(told(&on_it("map")).contains("F fixed"));
    assert_eq!(told(&on_it("del n")).trim(), "1");
    let (status, complaint) = failed(&ask(&format!("create file:{path}")));
    assert!(status == 1 && complaint.contains("exists already"), "{complaint}");
    told(&ask(&format!("rm file:{path}")));
    let (status, complaint) = failed(&on_it("get k"));
    assert!(status == 1 && complaint.contains("no store is named"), "{complaint}");
}

#[test]
fn a_torn_file_is_refused_and_salvaged() {
    let folder = Folder::new("torn");
    let (path, new) = (folder.path("store"), folder.path("new"));
    told(&ask(&format!("create --memory 4mb file:{path}")));
    told(&ask(&format!("set k v --store file:{path}")));
    // In use since another boot: not closed, and an unknown number of the boot.
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[512..528].fill(3);
    std::fs::write(&path, bytes).unwrap();
    let (status, complaint) = failed(&ask(&format!("get k --store file:{path}")));
    assert!(status == 1 && complaint.contains("verify --salvage"), "{complaint}");
    let salvaged = ask(&format!("verify --json --store file:{path} --salvage file:{new}"));
    assert_eq!(
        (json(&salvaged)["kept"].clone(), json(&salvaged)["lost"].clone()),
        (1.into(), 0.into())
    );
    assert_eq!(told(&ask(&format!("get k --store file:{new}"))), "v");
}

/// A child that is killed when the test ends.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_store_is_shared_at_a_socket() {
    let folder = Folder::new("share");
    let socket = folder.path("socket");
    let (status, complaint) = failed(&ask(&format!("get k --store unix:{socket}")));
    assert!(status == 1 && complaint.contains("nobody shares a store"), "{complaint}");
    for is_read_only in [false, true] {
        let mut command = morecore();
        command.args(["share", "--memory", "4mb", &socket]).stdout(Stdio::piped());
        if is_read_only {
            command.arg("--read-only");
        }
        let mut share = Running(command.spawn().unwrap());
        let mut ready = String::new();
        let mut lines = std::io::BufReader::new(share.0.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut lines, &mut ready).unwrap();
        assert!(ready.starts_with(&format!("ready socket={socket} store=memory")), "{ready}");
        let shared = listed_for(share.0.id(), &format!("unix:{socket}"));
        assert_eq!((&shared["kind"], &shared["attached"]), (&"memory".into(), &1.into()));
        let set = ask(&format!("set k v --store unix:{socket}"));
        if is_read_only {
            assert!(failed(&set).1.contains("read-only"), "{set:?}");
        } else {
            told(&set);
            assert_eq!(told(&ask(&format!("get k --store unix:{socket}"))), "v");
        }
        assert_eq!(
            told(&ask(&format!("keys * --store unix:{socket}"))).len(),
            usize::from(!is_read_only) * 2
        );
        send_signal(&share.0, Signal::SIGTERM);
        assert!(share.0.wait().unwrap().success());
        assert!(!std::path::Path::new(&socket).exists());
    }
}

/// The entry of a name that only one process is attached to, but for other tests' `ls`, which are
/// while they look.
fn listed_for(pid: u32, name: &str) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        let found = listed("ls --json", name).expect("it is in use");
        if found["pids"] == serde_json::json!([pid]) {
            return found;
        }
        assert!(Instant::now() < until, "{found}");
    }
}

/// The entry of a name among what a command lists.
fn listed(command: &str, name: &str) -> Option<Value> {
    let all = json(&ask(command));
    all.as_array().unwrap().iter().find(|one| one["name"] == name).cloned()
}

#[test]
fn a_file_is_listed_while_it_is_in_use_and_where_it_is_named() {
    let folder = Folder::new("listed");
    let path = folder.path("cache");
    let name = format!("file:{path}");
    told(&ask(&format!("create --memory 2mb {name}")));
    std::fs::write(folder.path("other"), "no store").unwrap();
    assert_eq!(listed("ls --json", &name), None);
    let found = listed(&format!("ls --json {}", folder.path("")), &name).unwrap();
    assert_eq!((&found["state"], &found["attached"]), (&"ready".into(), &0.into()));
    assert_eq!((&found["kind"], &found["memory_bytes"]), (&"file".into(), &(2 << 20).into()));
    assert_eq!(listed(&format!("ls --json {path}"), &name), Some(found));
    let (status, complaint) = failed(&ask(&format!("ls {}", folder.path("other"))));
    assert!(status == 1 && complaint.ends_with("other: no store is in it"), "{complaint}");
    let (status, complaint) = failed(&ask(&format!("ls {}", folder.path("none"))));
    assert!(status == 1 && complaint.contains("none: No such file"), "{complaint}");

    let mut command = morecore();
    command.args(["share", "--store", &name, &folder.path("socket")]).stdout(Stdio::piped());
    let mut share = Running(command.spawn().unwrap());
    let mut lines = std::io::BufReader::new(share.0.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut lines, &mut String::new()).unwrap();
    listed_for(share.0.id(), &name);
    assert!(told(&ask("ls")).contains(&name));
    told(&ask(&format!("rm {name}")));
    let found = listed("ls --json", &name).expect("it is still in use");
    assert_eq!(found["state"], "removed");
}

#[test]
fn a_store_says_how_much_of_it_is_resident() {
    let store = TestStore::new();
    let before = json(&store.ask("stat --json"))["resident_bytes"].as_u64().unwrap();
    let value = "x".repeat(100_000);
    for number in 0..20 {
        told(&store.ask(&format!("set k:{number} {value}")));
    }
    let after = json(&store.ask("stat --json"))["resident_bytes"].as_u64().unwrap();
    assert!(after > before + 2_000_000 && after < 8 << 20, "{before} {after}");
    assert!(told(&store.ask("stat")).contains("resident"));
    let listed = listed("ls --json", &store.name).unwrap()["resident_bytes"].as_u64().unwrap();
    assert!(listed >= after, "{listed} {after}");
}
