//! `morecore run`: exit statuses, signals, and programs that our malloc does not reach.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::support::{failed, morecore, send_signal, told};

/// Runs a shell script on our malloc.
fn shell(script: &str) -> std::process::Output {
    morecore().args(["run", "--", "sh", "-c", script]).output().unwrap()
}

#[test]
fn the_status_is_the_programs_own() {
    assert_eq!(failed(&shell("exit 7")), (7, String::new()));
    assert_eq!(told(&shell("echo hello")), "hello\n");
}

#[test]
fn a_signal_adds_128() {
    assert_eq!(failed(&shell("kill -9 $$")).0, 137);
    assert_eq!(failed(&shell("kill -TERM $$")).0, 143);
}

#[test]
fn what_is_not_there_is_127_and_what_is_no_program_126() {
    let run = |name: &str| failed(&morecore().args(["run", "--", name]).output().unwrap());
    assert_eq!(run("no-such-program"), (127, "morecore: no-such-program: not found".to_string()));
    let (status, complaint) = run("/etc/passwd");
    assert_eq!(status, 126);
    assert!(complaint.contains("cannot execute /etc/passwd: Permission denied"), "{complaint}");
}

#[test]
fn a_usage_error_of_run_is_125() {
    assert_eq!(failed(&morecore().arg("run").output().unwrap()).0, 125);
}

#[test]
fn the_library_is_in_the_program() {
    let maps = told(&shell("cat /proc/self/maps"));
    assert!(maps.contains("libmorecore"), "{maps}");
}

#[test]
fn a_signal_that_comes_at_once_is_not_lost() {
    let mut command = morecore();
    let mut child = command.args(["run", "--", "cat"]).stdin(Stdio::piped()).spawn().unwrap();
    send_signal(&child, Signal::SIGTERM);
    // Ended as `run` tells it, or before it could do anything about it.
    let status = child.wait().unwrap();
    assert!(status.code() == Some(143) || status.signal() == Some(15), "{status}");
}

#[test]
fn what_was_to_be_preloaded_stays() {
    let mut command = morecore();
    command.env("LD_PRELOAD", "libm.so.6").args(["run", "--", "sh", "-c", "echo $LD_PRELOAD"]);
    let list = told(&command.output().unwrap());
    assert!(list.contains("libmorecore") && list.trim_end().ends_with(":libm.so.6"), "{list}");
}

#[test]
fn conf_reaches_the_program() {
    let mut command = morecore();
    command.args(["run", "--conf", "source:mmap", "--", "sh", "-c", "echo $MORECORE_CONF"]);
    assert_eq!(told(&command.output().unwrap()), "source:mmap\n");
}

#[test]
fn a_signal_for_us_goes_to_the_program() {
    let mut command = morecore();
    // It ends with its standard input, whatever becomes of the test.
    let script = "trap 'echo got; exit 5' TERM; echo ready; while read line; do :; done";
    command.args(["run", "--", "sh", "-c", script]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.process_group(0).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut ready = [0; 6];
    stdout.read_exact(&mut ready).unwrap();
    send_signal(&child, Signal::SIGTERM);
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!((child.wait().unwrap().code(), rest.as_str()), (Some(5), "got\n"));
}

#[test]
fn a_program_begins_with_nothing_blocked_and_what_was_ignored() {
    let program = env!("CARGO_BIN_EXE_morecore");
    let script = format!("trap '' HUP; exec {program} run -- grep Sig /proc/self/status");
    let status = told(&Command::new("sh").args(["-c", &script]).output().unwrap());
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    assert_eq!(mask("SigBlk:"), 0, "{status}");
    // Signal 1 is SIGHUP, the lowest bit.
    assert_eq!(mask("SigIgn:") & 1, 1, "{status}");
}

#[test]
fn a_program_that_preloads_do_not_reach_is_named() {
    let folder = std::env::temp_dir().join(format!("morecore-test-{}-own", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let build = |source: &str, flag: &str| {
        let (c, program) = (folder.join("own.c"), folder.join("own"));
        std::fs::write(&c, source).unwrap();
        let mut gcc = Command::new("gcc");
        gcc.args([flag, "-fno-builtin", "-w", "-o"]).arg(&program).arg(&c);
        assert!(gcc.status().unwrap().success(), "gcc {flag}");
        let output = morecore().arg("run").arg("--").arg(&program).output().unwrap();
        (output.status.code(), failed(&output).1)
    };
    let own =
        build("void *malloc(unsigned long n) { return 0; } int main() { return 4; }", "-rdynamic");
    let fixed = build("int main() { return 3; }", "-static");
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(own.0, Some(4));
    assert!(own.1.ends_with("brings its own malloc and keeps it"), "{}", own.1);
    assert_eq!(fixed.0, Some(3));
    assert!(fixed.1.contains("is linked statically"), "{}", fixed.1);
}
