//! `morecore bench malloc`: workloads and real programs on our malloc and on its peers.
//!
//! ```text
//! subject (a workload of the lab, or a program) x contestant (a library in LD_PRELOAD)
//!     --> a process --wait4--> processor time, time, peak of resident memory
//!         (of a workload: morecore-player, which this program carries)
//! ```
//!
//! Promises: every contestant is preloaded, the system's own malloc too, so none is spared what the
//! loader does; and what a process prints must be the same on all, or the contestant has failed.

mod process;
mod programs;
mod replay;
mod report;
mod show;
mod subject;

use std::env;
use std::fs::File;
use std::path::PathBuf;

use morecore_player::Measure;
use morecore_sys::process::give_free_memory_back;

use self::process::Used;
use self::report::Report;
use self::show::Show;
use self::subject::Subject;
use super::contestant::{self, Contestant};
use super::rounds::{Effort, Progress, interleave};
use crate::carried;
use crate::failure::Failure;
use crate::mess::Mess;
use crate::output::Out;

/// With `--quick`, a fortieth: what takes half a second takes about as long as a process to start.
const QUICK_PART: u32 = 40;

/// Our malloc beside glibc, jemalloc, tcmalloc, mimalloc, snmalloc and rpmalloc
#[derive(clap::Args)]
pub(crate) struct Malloc {
    #[command(flatten)]
    effort: Effort,
    /// Measure against these only: names, or paths of libraries to preload
    #[arg(long, value_delimiter = ',', value_name = "PEER,...")]
    peers: Vec<String>,
    /// Measure with these workloads and programs only
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    only: Vec<String>,
    /// List the workloads and programs, and measure nothing
    #[arg(long)]
    list: bool,
    /// Also write every sample to a file, one a line
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Instead, show how something changes as another thing grows or passes
    #[arg(long, value_name = "WHAT")]
    show: Option<Show>,
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// The archive of a recorded program's calls, which are replayed
    #[arg(long, value_name = "ZIP", default_value = replay::RECORDING)]
    recording: PathBuf,
    /// What everything random is made from
    #[arg(long, env = "SEED", default_value_t = 1)]
    seed: u64,
}

/// What one subject used on each contestant: its samples, or why there are none.
struct Outcome {
    subject: Subject,
    samples: Vec<Result<Vec<Used>, String>>,
}

impl Malloc {
    /// Measures everything, or what a show asks for.
    pub(crate) fn run(self, out: &mut Out) -> Result<(), Failure> {
        let part = if self.effort.quick { QUICK_PART } else { 1 };
        let measure = Measure { seed: self.seed, part };
        let Some(show) = self.show else { return self.compete(measure, out) };
        let (contestants, _) = contestant::all(&self.peers)?;
        show.run(&contestants, self.effort, measure, self.json, out)
    }

    fn compete(self, measure: Measure, out: &mut Out) -> Result<(), Failure> {
        let directory = env::temp_dir().join(format!("morecore-bench-{}", std::process::id()));
        let (mut subjects, mut missing) =
            subject::all(&carried::player()?, measure, &self.recording, &directory)?;
        subject::keep(&mut subjects, &self.only)?;
        if self.list {
            return report::list(&subjects, &missing, out);
        }
        let (contestants, others) = contestant::all(&self.peers)?;
        missing.extend(others);
        let mess = Mess::new()?;
        mess.add_directory(directory.clone());
        carried::make_private(&directory)?;
        programs::write_inputs(&subjects, measure, &directory)?;
        replay::write_calls(&subjects, &self.recording, &directory)?;
        // Else the least peak of all processes is what that took here.
        give_free_memory_back();
        let outcomes = self.measure(subjects, &contestants)?;
        if let Some(path) = &self.csv {
            report::write_csv(&contestants, &outcomes, &mut File::create(path)?)?;
        }
        let report = Report::new(contestants, outcomes, missing, self.effort, measure);
        if self.json { out.json(&report.to_json()) } else { report.print(out) }
    }

    /// Every subject on every contestant. One that failed on a contestant is not tried again there.
    fn measure(
        &self,
        subjects: Vec<Subject>,
        contestants: &[Contestant],
    ) -> Result<Vec<Outcome>, Failure> {
        let progress = Progress::new();
        let count = subjects.len();
        let mut outcomes = Vec::new();
        for (index, subject) in subjects.into_iter().enumerate() {
            let mut expected = None;
            let samples = interleave(contestants, self.effort, |contestant| {
                let (name, on) = (subject.name, &contestant.name);
                progress.say(format_args!("{} of {count}: {name} on {on}", index + 1));
                Ok(process::measure(&subject, contestant, &mut expected))
            })?;
            let samples = samples.into_iter().map(|samples| samples.into_iter().collect());
            outcomes.push(Outcome { samples: samples.collect(), subject });
        }
        Ok(outcomes)
    }
}
