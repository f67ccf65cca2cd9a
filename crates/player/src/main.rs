//! The process that is measured: it plays one piece and prints the outcome.
//!
//! The program `morecore` carries this one inside itself, and starts it for `bench malloc`.
#![forbid(unsafe_code)]

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

use morecore_player::{Measure, Piece};

const USAGE: &str = "morecore-player workload|recording|point NAME SEED PART";

fn main() -> ExitCode {
    let told: Vec<OsString> = env::args_os().skip(1).collect();
    let Some((piece, what, measure)) = parsed(&told) else {
        eprintln!("usage: {USAGE}");
        return ExitCode::FAILURE;
    };
    match piece.play(what, measure) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("morecore-player: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The command line as [`Piece::arguments`] makes it.
fn parsed(told: &[OsString]) -> Option<(Piece, &OsString, Measure)> {
    let number = |text: &OsString| text.to_str()?.parse::<u64>().ok();
    let [kind, what, seed, part] = told else { return None };
    let piece = Piece::from_name(kind.to_str()?)?;
    let part = number(part)?.try_into().ok().filter(|part: &u32| *part > 0)?;
    Some((piece, what, Measure { seed: number(seed)?, part }))
}
