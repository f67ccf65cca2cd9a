//! What makes no sense is told in one sentence, with the right exit status.

use crate::support::{TestStore, ask, failed};

/// The command must fail with this status and a complaint that contains this.
fn check(arguments: &str, status: i32, contains: &str) {
    let (found, complaint) = failed(&ask(arguments));
    assert_eq!(found, status, "{arguments}: {complaint}");
    assert!(complaint.contains(contains), "{arguments}: {complaint}");
}

#[test]
fn usage_errors_are_2() {
    check("", 2, "Usage");
    check("frobnicate", 2, "frobnicate");
    check("get", 2, "KEY");
    check("create --memory 1xb", 2, "`xb` is no unit of size");
    check("create --memory lots", 2, "whole number");
    check("create --mode 0999", 2, "not an octal number");
    check("create --mode 0777", 2, "no mode of a store");
    check("create a/b", 2, "slashes");
    check("set k", 2, "VALUE");
    check("set k v -x", 2, "cannot be used with");
    check("set k v --expire soon", 2, "whole number");
    check("set k v --expire 0", 2, "no time to live");
    check("set k v --if-absent --if-present", 2, "cannot be used with");
    check("incr k one", 2, "one");
    check("expire k 10parsecs", 2, "`parsecs` is no unit of time");
    check("serve --port 70000", 2, "70000");
    check("serve --model quantum", 2, "quantum");
    check("serve --bind nowhere", 2, "nowhere");
}

#[test]
fn a_store_that_is_not_there_is_told_by_every_command() {
    let store = TestStore::absent();
    for command in [
        "get k",
        "set k v",
        "del k",
        "incr k",
        "ttl k",
        "expire k 1s",
        "exists k",
        "keys *",
        "scan",
        "stat",
        "map",
        "verify",
    ] {
        let (status, complaint) = failed(&store.ask(command));
        assert_eq!(status, 1, "{command}");
        assert!(complaint.contains(&store.name), "{command}: {complaint}");
        assert!(complaint.contains("morecore create"), "{command}: {complaint}");
    }
    check(&format!("rm {}", store.name), 1, "no store is named");
}

#[test]
fn a_store_too_small_is_told() {
    let store = TestStore::absent();
    let (status, complaint) = failed(&store.ask("create --memory 4kb"));
    assert_eq!(status, 1, "{complaint}");
    assert!(complaint.contains("4096"), "{complaint}");
}

#[test]
fn help_and_version_are_no_errors() {
    assert!(ask("--help").status.success());
    assert!(ask("--version").status.success());
    for command in ["run", "lib", "create", "ls", "rm", "get", "set", "serve", "demo"] {
        assert!(ask(&format!("{command} --help")).status.success(), "{command}");
    }
}
