//! Chores of the project itself: `cargo xtask tidy` and `cargo xtask ci`.
//!
//! Knows nothing of heaps; it reads the tree as text, and the manifests by way of `cargo metadata`.
#![forbid(unsafe_code)]

mod tidy;
mod tree;

use std::env;
use std::process::{Command, ExitCode};

/// What there is to do.
const USAGE: &str = "usage: cargo xtask tidy | ci";

fn main() -> ExitCode {
    let chore = env::args().nth(1);
    let outcome = match chore.as_deref() {
        Some("tidy") => tidy::run(),
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
    let script = tree::root().join(".ci/run");
    match Command::new(&script).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!(".ci/run ended with {status}")),
        Err(error) => Err(format!("{}: {error}", script.display())),
    }
}
