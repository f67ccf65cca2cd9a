//! Chores of the project itself: `cargo xtask tidy`, `crash`, `storm`, `fuzz`, `loom`, `stress` and
//! `ci`.
//!
//! Knows nothing of heaps; it reads the tree as text, and the manifests by way of `cargo metadata`.
#![forbid(unsafe_code)]

mod fuzz;
mod tidy;
mod tree;

use std::env;
use std::process::{Command, ExitCode};

/// What there is to do.
const USAGE: &str = "usage: cargo xtask tidy | crash | storm [--minutes N] | \
     fuzz [NAME] [--minutes N] | loom | stress [--minutes N] | ci";

fn main() -> ExitCode {
    let chore = env::args().nth(1);
    let outcome = match chore.as_deref() {
        Some("tidy") => tidy::run(),
        Some("crash") => crash(),
        Some("storm") => storm(&env::args().skip(2).collect::<Vec<_>>()),
        Some("fuzz") => fuzz::run(&env::args().skip(2).collect::<Vec<_>>()),
        Some("stress") => stress(&env::args().skip(2).collect::<Vec<_>>()),
        Some("loom") => loom(),
        Some("ci") => ci(),
        _ => Err(USAGE.to_string()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("{sentence}");
            ExitCode::FAILURE
        }
    }
}

/// Everything that must hold before a change is handed in; the script is the one that a machine
/// runs, so that both mean the same.
fn ci() -> Result<(), String> {
    finish(&mut Command::new(tree::root().join(".ci/run")))
}

/// The crash test with nothing left out: rescuers are stopped wherever they write, too. Each case
/// prints what it counted.
fn crash() -> Result<(), String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(tree::root()).env("CRASH", "full");
    command.args(["test", "--package", "morecore-store", "--test", "crash"]);
    finish(command.args(["--", "--nocapture"]))
}

/// The storm of kills for as long as is asked, 10 minutes if nothing is: on a store with room, and
/// at the same time on one that is full.
fn storm(arguments: &[String]) -> Result<(), String> {
    let minutes = minutes(arguments)?;
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(tree::root()).env("STORM_SECONDS", (minutes * 60.0).to_string());
    command.args(["test", "--release", "--package", "morecore-store", "--test", "it"]);
    finish(command.args(["storm::", "--", "--nocapture"]))
}

/// The stress of the malloc for as long as is asked, 10 minutes if nothing is, shared among all
/// sources, all fits, and the hardened heap.
fn stress(arguments: &[String]) -> Result<(), String> {
    let fits = ["bins", "first", "next", "best"];
    let plain = ["mmap", "brk"].map(|source| fits.map(|fit| format!("source:{source},fit:{fit}")));
    let mut confs = plain.concat();
    confs.push("harden:on".to_string());
    let seconds = minutes(arguments)? * 60.0 / confs.len() as f64;
    for conf in confs {
        println!("{conf}, {seconds:.0} seconds");
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.current_dir(tree::root()).env("STRESS_SECONDS", seconds.to_string());
        command.env("MORECORE_CONF", conf);
        command.args(["test", "--quiet", "--release", "--package", "morecore-malloc", "--lib"]);
        finish(command.args(["stress::", "--", "--ignored", "--nocapture"]))?;
    }
    Ok(())
}

/// What `--minutes` says, 10 if nothing does.
fn minutes(arguments: &[String]) -> Result<f64, String> {
    match arguments {
        [] => Ok(10.0),
        [flag, minutes] if flag == "--minutes" => {
            minutes.parse().map_err(|_| format!("`{minutes}` is no number of minutes"))
        }
        _ => Err(USAGE.to_string()),
    }
}

/// The models of holds, of version reads and of leases, in a directory of their own: with
/// `--cfg loom` all is compiled anew.
fn loom() -> Result<(), String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(tree::root()).env("RUSTFLAGS", "--cfg loom");
    command.env("CARGO_TARGET_DIR", tree::root().join("target/loom"));
    finish(command.args(["test", "--release", "--package", "morecore-store", "--test", "loom"]))
}

/// Waits for a program, which must end well.
fn finish(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{name} ended with {status}")),
        Err(error) => Err(format!("{name}: {error}")),
    }
}
