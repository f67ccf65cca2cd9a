//! `morecore lib`: the library, preloaded into programs that know nothing of it.

use std::path::{Path, PathBuf};
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

/// A program that is compiled for a test, and removed after it.
struct Compiled(PathBuf);

impl Compiled {
    fn new(compiler: &str, source: &str) -> Compiled {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
        let name = format!("morecore-test-{}-{source}.out", std::process::id());
        let program = Compiled(std::env::temp_dir().join(name));
        let mut command = Command::new(compiler);
        // An optimiser may leave out a `new` that nobody looks at.
        command.args(["-O0", "-w", "-pthread", "-o"]).arg(&program.0);
        assert!(command.arg(directory.join(source)).status().unwrap().success(), "{source}");
        program
    }

    /// What it prints on our malloc, asked to behave as `conf` says.
    fn prints(&self, argument: &str, conf: &str) -> String {
        let library = told(&ask("lib"));
        let mut command = Command::new(&self.0);
        command.arg(argument).env("LD_PRELOAD", library.trim()).env("MORECORE_CONF", conf);
        told(&command.output().unwrap())
    }
}

impl Drop for Compiled {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn operators_of_cpp_do_as_cpp_says() {
    let program = Compiled::new("g++", "operators.cpp");
    for conf in ["", "harden:on", "source:brk"] {
        assert_eq!(program.prints("", conf), "11 right, handlers counted 103\n", "{conf}");
    }
}

#[test]
fn a_fork_at_a_bad_moment_leaves_nobody_waiting() {
    let program = Compiled::new("gcc", "forks.c");
    for moment in ["handler", "streams", "medium"] {
        assert_eq!(program.prints(moment, ""), "well\n", "{moment}");
    }
    assert_eq!(program.prints("handler", "harden:on"), "well\n");
}

#[test]
fn nothing_of_the_c_librarys_heap_is_left_out() {
    let names = |library: &str| -> Vec<String> {
        let output = Command::new("nm").args(["-D", "--defined-only", library]).output().unwrap();
        let text = told(&output);
        let name = |line: &str| line.split(' ').nth(2)?.split('@').next().map(str::to_string);
        text.lines().filter_map(name).collect()
    };
    let ours = names(told(&ask("lib")).trim());
    let family = |name: &&String| {
        let name = name.trim_start_matches("__libc_").trim_start_matches("__posix");
        ["malloc", "calloc", "realloc", "reallocarray", "free", "cfree", "memalign", "valloc"]
            .contains(&name)
            || ["pvalloc", "aligned_alloc", "posix_memalign", "_memalign", "mallopt"]
                .contains(&name)
            || ["malloc_", "mallinfo"].iter().any(|begin| name.starts_with(begin))
    };
    let library = Command::new("gcc").arg("-print-file-name=libc.so.6").output().unwrap();
    let theirs = names(told(&library).trim());
    let missing: Vec<_> =
        theirs.iter().filter(family).filter(|name| !ours.contains(name)).collect();
    assert!(theirs.iter().filter(family).count() > 15, "{theirs:?}");
    assert!(missing.is_empty(), "only the C library has {missing:?}");
}
