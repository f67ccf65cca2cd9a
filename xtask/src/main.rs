//! Chores of the project itself: `cargo xtask tidy`, `cargo xtask crash` and `cargo xtask ci`.
//!
//! Knows nothing of heaps; it reads the tree as text, and the manifests by way of `cargo metadata`.
#![forbid(unsafe_code)]

mod tidy;
mod tree;

use std::env;
use std::process::{Command, ExitCode};

/// What there is to do.
const USAGE: &str = "usage: cargo xtask tidy | crash | ci";

fn main() -> ExitCode {
    let chore = env::args().nth(1);
    let outcome = match chore.as_deref() {
        Some("tidy") => tidy::run(),
        Some("crash") => crash(),
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

/// The crash test with nothing left out: rescuers are stopped at every instruction too.
fn crash() -> Result<(), String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(tree::root()).env("CRASH", "full");
    finish(command.args(["test", "--package", "morecore-store", "--test", "crash"]))
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
