//! `morecore demo`: everything once, with nothing but this program.
//!
//! ```text
//! 1 program   threads that allocate, on the system's malloc and on ours
//! 2 shared    a server; a key set over TCP, read from shared memory when the server is gone
//! 3 killed    a writer, killed with SIGKILL again and again, and the store proven whole each time
//! 4 fits      a trace replayed under four fits, and the pictures
//! ```
//!
//! Promises: each step says what it did in measured numbers; a step that fails says why, the others
//! still run, and the exit status is 1. No store and no process is left over, also after a signal.

mod fits;
mod killed;
mod program;
mod shared;

use std::env;
use std::ffi::OsStr;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use morecore_store::Name;

use crate::failure::Failure;
use crate::mess::Mess;
use crate::output::{Color, Out};

/// Shows everything in about 20 seconds; needs nothing
#[derive(clap::Args)]
pub(crate) struct Demo {
    /// Directory for the pictures [default: a directory of this user's in the temporary one]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// A tenth of everything, in a second or two
    #[arg(long)]
    brief: bool,
    /// What this process plays in the demo of another
    #[arg(long = "as", hide = true, value_enum)]
    role: Option<Role>,
    /// The store of that demo
    #[arg(long, hide = true, default_value = "default")]
    store: Name,
    /// The first step of the writer
    #[arg(long, hide = true, default_value_t = 0)]
    from: u64,
    /// What the writer's steps are made from
    #[arg(long, hide = true, default_value_t = 0)]
    seed: u64,
}

/// The processes that a demo starts of its own program.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Role {
    /// Allocates and frees, in threads.
    Churn,
    /// Changes a store until it is killed.
    Writer,
}

/// What every step needs.
struct Stage<'a> {
    out: &'a mut Out,
    mess: &'a Mess,
    /// This program.
    program: PathBuf,
    /// The store of this demo.
    store: Name,
    seed: u64,
    /// Everything that is done many times is done this part of it.
    part: u32,
}

/// What a brief demo does is this part of a whole one.
const BRIEF_PART: u32 = 10;

impl Demo {
    /// Plays the whole demo, or the one role in it that this process has.
    pub(crate) fn run(self, out: &mut Out) -> Result<(), Failure> {
        match self.role {
            Some(Role::Churn) => program::churn(self.seed, self.part(), out),
            Some(Role::Writer) => killed::write(&self.store, self.from, self.seed),
            None => self.direct(out),
        }
    }

    /// Which part of everything is done.
    fn part(&self) -> u32 {
        if self.brief { BRIEF_PART } else { 1 }
    }

    /// All steps, and what came of them.
    fn direct(self, out: &mut Out) -> Result<(), Failure> {
        let start = Instant::now();
        let seed = seed()?;
        let store: Name = format!("demo-{}", std::process::id()).parse()?;
        let mess = Mess::new()?;
        mess.add_store(&store);
        let program = env::current_exe()?;
        writeln!(out, "morecore demo, seed {seed} (SEED={seed} repeats it)")?;
        let part = self.part();
        let mut stage = Stage { out, mess: &mess, program, store, seed, part };
        let mut failed = 0;
        failed += stage.step("1. A program on our malloc", program::play)?;
        failed += stage.step("2. A server, and shared memory without it", shared::play)?;
        failed += stage.step("3. A writer, killed again and again", killed::play)?;
        failed += stage
            .step("4. One trace under four fits", |stage| fits::play(stage, self.out.as_deref()))?;
        drop(mess);
        let seconds = start.elapsed().as_secs_f64();
        match failed {
            0 => Ok(writeln!(out, "\nall 4 steps done in {seconds:.1} s, nothing left behind")?),
            _ => Err(Failure::new(format!("{failed} of 4 steps failed"))),
        }
    }
}

impl Stage<'_> {
    /// Plays one step; 1 if it failed, which is told.
    fn step(
        &mut self,
        title: &str,
        play: impl FnOnce(&mut Stage<'_>) -> Result<(), Failure>,
    ) -> Result<u32, Failure> {
        let title = self.out.colored(Color::Cyan, title);
        writeln!(self.out, "\n{title}")?;
        self.out.flush()?;
        match play(self) {
            Ok(()) => Ok(0),
            Err(failure) => {
                let sentence = failure.sentence().unwrap_or("it failed and did not say why");
                let failed = self.out.colored(Color::Red, "failed");
                writeln!(self.out, "   {failed}: {sentence}")?;
                Ok(1)
            }
        }
    }

    /// One line of what a step has to say, at once.
    fn say(&mut self, words: impl std::fmt::Display) -> Result<(), Failure> {
        writeln!(self.out, "   {words}")?;
        Ok(self.out.flush()?)
    }

    /// This program, to be started with `arguments` on the demo's store.
    fn ourselves<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).args(["--store", self.store.as_str()]);
        command
    }
}

/// What everything random is made from: the variable SEED, or something new.
fn seed() -> Result<u64, Failure> {
    match env::var("SEED") {
        Ok(text) => text.parse().map_err(|_| Failure::new(format!("SEED is {text}, not a number"))),
        Err(_) => Ok(fastrand::u64(..1 << 32)),
    }
}
