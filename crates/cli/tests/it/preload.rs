//! `morecore lib`: the library, preloaded into programs that know nothing of it.

use std::path::Path;
use std::process::Command;

use crate::support::{ask, told};

/// Runs a program with and without the library: it must say the same.
fn check(program: &str, arguments: &[&str]) {
    let library = told(&ask("lib"));
    let plain = Command::new(program).args(arguments).output().unwrap();
    let ours =
        Command::new(program).args(arguments).env("LD_PRELOAD", library.trim()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&ours.stderr), String::from_utf8_lossy(&plain.stderr));
    assert!(ours.stdout == plain.stdout, "{program} {arguments:?} says something else");
    assert_eq!(ours.status, plain.status);
}

#[test]
fn the_path_is_a_file_and_always_the_same() {
    let path = told(&ask("lib"));
    assert!(Path::new(path.trim()).is_file(), "{path}");
    assert_eq!(told(&ask("lib")), path);
}

#[test]
fn programs_run_unchanged() {
    check("ls", &["-la", "/etc"]);
    check("sort", &["/etc/services", "/etc/passwd"]);
    check("awk", &["BEGIN { for (i = 0; i < 50000; i++) a[i \"\"] = i; print length(a) }"]);
    check("sh", &["-c", "for i in 1 2 3; do echo $(echo $i | wc -c); done"]);
    check("false", &[]);
}

#[test]
fn a_compiler_runs_unchanged() {
    let source = env!("CARGO_MANIFEST_DIR").to_string() + "/tests/it/sample.c";
    check("gcc", &["-O2", "-S", "-o", "-", &source]);
}

#[test]
fn threads_that_exchange_payloads_find_their_contents() {
    let alone = ask("demo --as churn --seed 1");
    let program = env!("CARGO_BIN_EXE_morecore");
    let ours = ask(&format!("run -- {program} demo --as churn --seed 1"));
    let sum = |text: &str| text.split_whitespace().nth(1).map(str::to_string);
    let (alone, ours) = (told(&alone), told(&ours));
    assert!(ours.starts_with("libmorecore "), "{ours}");
    assert_eq!(sum(&ours), sum(&alone));
}
