//! What the program promises to who starts it.

use std::process::{Command, Output};

fn play(arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_morecore-player"));
    command.args(arguments.split(' ')).output().expect("it is built beside this test")
}

#[test]
fn it_prints_the_same_outcome_each_time() {
    let once = play("workload server 1 100");
    assert!(once.status.success() && once.stdout.ends_with(b"\n"), "{once:?}");
    assert_eq!(once.stdout, play("workload server 1 100").stdout);
    assert_eq!(play("point nothing 1 1").stdout, b"nothing\n");
}

#[test]
fn what_it_does_not_know_is_said() {
    let check = |arguments, expected: &str| {
        let told = play(arguments);
        assert!(!told.status.success());
        assert_eq!(String::from_utf8_lossy(&told.stderr).trim_end(), expected);
    };
    check("workload nothing 1 1", "morecore-player: no workload is called nothing");
    check("point live:7 1 1", "morecore-player: no point is called live:7");
    let usage = "usage: morecore-player workload|recording|point NAME SEED PART";
    check("workload server 1 0", usage);
    check("workload", usage);
}
