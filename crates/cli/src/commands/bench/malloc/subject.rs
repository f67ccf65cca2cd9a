//! Subjects: what is run on every malloc. Workloads of the lab, played by a program that this one
//! carries, and programs that many machines have.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use morecore_player::{Measure, Piece, WORKLOADS};

use super::programs::{self, PROGRAMS, Program};
use super::replay;
use crate::commands::bench::contestant::Missing;
use crate::failure::Failure;
use crate::program;

/// Something to run on every malloc.
pub(super) struct Subject {
    pub(super) name: &'static str,
    /// What it does.
    pub(super) about: &'static str,
    /// A program of others, not a workload of ours.
    pub(super) is_program: bool,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: Vec<(&'static str, &'static str)>,
    /// What is done to it from outside while it runs, as a script for sh; for a server.
    pub(super) load: Option<String>,
}

/// Everything that can be run here, and what cannot. Inputs are written into `directory`;
/// `player` is the program that plays workloads, and `recording` the archive of a recorded program.
pub(super) fn all(
    player: &Path,
    measure: Measure,
    recording: &Path,
    directory: &Path,
) -> Result<(Vec<Subject>, Vec<Missing>), Failure> {
    let ours = |name, about, arguments| Subject {
        name,
        about,
        is_program: false,
        program: player.to_path_buf(),
        arguments,
        environment: Vec::new(),
        load: None,
    };
    let mut subjects: Vec<Subject> = WORKLOADS
        .iter()
        .map(|found| ours(found.name, found.about, Piece::Workload.arguments(found.name, measure)))
        .collect();
    let mut missing = Vec::new();
    if recording.is_file() {
        let arguments = Piece::Recording.arguments(directory.join(replay::CALLS), measure);
        subjects.push(ours(replay::NAME, replay::ABOUT, arguments));
    } else {
        let remedy = format!("no file {}: --recording names it", recording.display());
        missing.push(Missing { name: replay::NAME.to_string(), remedy });
    }
    for program in &PROGRAMS {
        match found(program) {
            Ok(path) => subjects.push(program.subject(path, measure, directory)),
            Err(remedy) => missing.push(Missing { name: program.name.to_string(), remedy }),
        }
    }
    Ok((subjects, missing))
}

/// Keeps the subjects that `only` names, all if it names none.
pub(super) fn keep(subjects: &mut Vec<Subject>, only: &[String]) -> Result<(), Failure> {
    for name in only {
        if !subjects.iter().any(|subject| subject.name == name) {
            let remedy = "--list shows what can be measured here";
            return Err(Failure::new(format!("no workload or program is called {name}: {remedy}")));
        }
    }
    subjects.retain(|subject| only.is_empty() || only.iter().any(|name| subject.name == name));
    Ok(())
}

/// The program's file, or what keeps it from being measured.
fn found(wanted: &Program) -> Result<PathBuf, String> {
    let install = || format!("apt-get install {}", wanted.package);
    if let Some(other) =
        wanted.helpers.iter().find(|name| program::find(OsStr::new(name)).is_none())
    {
        return Err(format!("needs {other}: {}", install()));
    }
    let path = program::find(OsStr::new(wanted.command)).ok_or_else(install)?;
    let path = programs::behind(wanted, path);
    match program::examine(path.as_os_str()) {
        Some((file, reason)) => Err(format!("{} {}", file.display(), reason.reason())),
        None => Ok(path),
    }
}
