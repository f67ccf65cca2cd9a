//! The process that is measured: it plays one workload, recording or point, and prints the outcome.
//!
//! It is this same program, started anew with [`PLAY`] in front. That is looked for before the
//! command line is parsed: the parser, its tables and its help touch more memory than some of what
//! is measured here needs, and would be a floor under every peak.
//!
//! Knows nothing of clocks and of who competes.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use super::replay;
use super::show::Point;
use crate::failure::Failure;
use crate::lab::recorded;
use crate::lab::workloads::{Measure, WORKLOADS};

/// The first argument of such a process; no command begins so.
const PLAY: &str = ":play";

/// What is played.
#[derive(Clone, Copy)]
pub(super) enum Piece {
    /// A workload, by its name.
    Workload,
    /// A recording, by the file of its calls.
    Recording,
    /// A point of a show.
    Point,
}

impl Piece {
    const ALL: [Piece; 3] = [Piece::Workload, Piece::Recording, Piece::Point];

    const fn name(self) -> &'static str {
        match self {
            Piece::Workload => "workload",
            Piece::Recording => "recording",
            Piece::Point => "point",
        }
    }

    /// The arguments with which this program plays it.
    pub(super) fn arguments(self, what: impl Into<OsString>, measure: Measure) -> Vec<OsString> {
        let (seed, part) = (measure.seed.to_string(), measure.part.to_string());
        vec![PLAY.into(), self.name().into(), what.into(), seed.into(), part.into()]
    }

    fn play(self, what: &OsStr, measure: Measure) -> Result<(), Failure> {
        let name = what.to_string_lossy();
        match self {
            Piece::Workload => {
                let found = WORKLOADS.iter().find(|workload| workload.name == name);
                let workload = found.ok_or_else(|| Failure::new(format!("no workload {name}")))?;
                println!("{}", workload.play(measure));
            }
            Piece::Recording => {
                let times = (replay::TIMES / measure.part).max(1);
                println!("{}", recorded::play(Path::new(what), times)?);
            }
            Piece::Point => {
                let point: Point = name.parse().map_err(|error: String| Failure::new(error))?;
                point.play(measure)?;
            }
        }
        Ok(())
    }
}

/// Plays what the command line names, if this process was started for that.
pub(crate) fn play_if_asked() -> Option<ExitCode> {
    let mut arguments = env::args_os().skip(1);
    if arguments.next()? != PLAY {
        return None;
    }
    let told: Vec<OsString> = arguments.collect();
    Some(match play(&told) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("morecore: {}", failure.sentence().unwrap_or_default());
            ExitCode::FAILURE
        }
    })
}

fn play(told: &[OsString]) -> Result<(), Failure> {
    let number = |text: &OsString| text.to_str()?.parse::<u64>().ok();
    let parsed = || {
        let [kind, what, seed, part] = told else { return None };
        let piece = Piece::ALL.into_iter().find(|piece| *kind == *piece.name())?;
        let part = number(part)?.try_into().ok().filter(|part: &u32| *part > 0)?;
        Some((piece, what, Measure { seed: number(seed)?, part }))
    };
    let usage = || Failure::new(format!("{PLAY} workload|recording|point NAME SEED PART"));
    let (piece, what, measure): (Piece, _, _) = parsed().ok_or_else(usage)?;
    piece.play(what, measure)
}
