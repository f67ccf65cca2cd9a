//! `morecore run`: a program on our malloc.
//!
//! ```text
//! run --blocks signals--> a copy of ourselves --unblocks them, becomes--> the program
//!  |                                                                          |
//!  +-- waits, passes signals on ------------------------------------------ its end
//! ```
//!
//! Our process stays beside the program, to turn its end into the exit status that coreutils' tools
//! give, and passes on every signal that it gets, except those that the terminal sent: the program,
//! in the same process group, has got them too. They are blocked before there is anybody to pass
//! them to, so none can end us alone; the copy in between gives the program the mask that we were
//! given.
//!
//! Knows nothing of the heap: the library reads `MORECORE_CONF` itself.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::unistd::Pid;

use crate::failure::Failure;
use crate::{carried, program};

/// Our own failure, as coreutils' env and timeout have it.
const OUR_FAILURE: u8 = 125;
/// The program was found and could not be executed.
const CANNOT_EXECUTE: u8 = 126;
/// The program was not found.
const NOT_FOUND: u8 = 127;
/// Added to the number of the signal that ended the program.
const BY_SIGNAL: i32 = 128;

/// The program that runs, whatever has become of its file since.
const OURSELVES: &str = "/proc/self/exe";

/// `si_code` of a signal that the kernel made, for one because a key was pressed (SI_KERNEL).
const FROM_KERNEL: i32 = 0x80;

/// Runs a program on our malloc
#[derive(clap::Args)]
pub(crate) struct Run {
    /// Settings of the heap, as in MORECORE_CONF: source:brk|mmap, fit:bins|first|next|best, ...
    #[arg(long, value_name = "K:V,...")]
    conf: Option<String>,
    /// This process is the copy, and these are the signals that it unblocks
    #[arg(long, hide = true, value_delimiter = ',', value_name = "NUMBERS")]
    become_program: Option<Vec<i32>>,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl Run {
    /// Runs the program to its end and gives its exit status, or 128 + the signal that ended it.
    pub(crate) fn run(self) -> Result<u8, Failure> {
        let outcome = match &self.become_program {
            Some(numbers) => Err(self.turn_into_program(numbers)),
            None => self.accompany(),
        };
        outcome.map_err(|failure| match failure.sentence() {
            // What is not about the program is our failure.
            Some(sentence) if failure.status() < OUR_FAILURE => {
                Failure::with_status(OUR_FAILURE, sentence)
            }
            _ => failure,
        })
    }

    /// Starts the copy of ourselves that turns into the program, and stays beside it.
    fn accompany(&self) -> Result<u8, Failure> {
        let (arrivals, blocked) = take_signals()?;
        let mut copy = Command::new(OURSELVES);
        copy.arg("run").arg(format!("--become-program={blocked}"));
        if let Some(conf) = &self.conf {
            copy.arg(format!("--conf={conf}"));
        }
        let child = copy.arg("--").args(&self.command).spawn()?;
        Ok(as_exit_code(wait(child, &arrivals)?))
    }

    /// Becomes the program; what it returns is why that did not work.
    fn turn_into_program(&self, numbers: &[i32]) -> Failure {
        let Some((name, arguments)) = self.command.split_first() else {
            return Failure::new("no program named");
        };
        let library = match carried::library() {
            Ok(library) => library,
            Err(failure) => return failure,
        };
        if let Some((file, reason)) = program::examine(name) {
            eprintln!("morecore: {} {}", file.display(), reason.reason());
        }
        let mut command = Command::new(name);
        command.args(arguments).env("LD_PRELOAD", preload(library.as_os_str()));
        if let Some(conf) = &self.conf {
            command.env("MORECORE_CONF", conf);
        }
        // The last thing before: what came meanwhile comes now, as it would to the program.
        let blocked = numbers.iter().filter_map(|number| Signal::try_from(*number).ok());
        if let Err(error) = SigSet::from_iter(blocked).thread_unblock() {
            return Failure::new(error);
        }
        not_started(name, &command.exec())
    }
}

/// Our library, and behind it whatever was to be preloaded anyway.
fn preload(library: &OsStr) -> OsString {
    let mut list = library.to_owned();
    if let Some(others) = env::var_os("LD_PRELOAD").filter(|others| !others.is_empty()) {
        list.push(":");
        list.push(others);
    }
    list
}

/// What is told when the system does not start the program.
fn not_started(name: &OsStr, error: &io::Error) -> Failure {
    let name = name.display();
    match error.kind() {
        io::ErrorKind::NotFound => Failure::with_status(NOT_FOUND, format!("{name}: not found")),
        _ => Failure::with_status(CANNOT_EXECUTE, format!("cannot execute {name}: {error}")),
    }
}

/// Waits for the program, and passes signals on to it meanwhile. One loop sees both, so no signal
/// can go to a process id that has been given to another since.
fn wait(mut child: Child, arrivals: &SignalFd) -> io::Result<ExitStatus> {
    let pid = Pid::from_raw(child.id().cast_signed());
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        let Some(arrived) = arrivals.read_signal()? else { continue };
        let signal = Signal::try_from(arrived.ssi_signo.cast_signed())?;
        if signal != Signal::SIGCHLD && arrived.ssi_code != FROM_KERNEL {
            // It may just have ended; the next turn sees that.
            let _ = kill(pid, signal);
        }
    }
}

/// Blocks every signal that means something to the program, and the one that tells of its end, to
/// be read from a descriptor; gives also the numbers of those that were not blocked before. Signals
/// that stop and continue are left alone: the shell sends them to the whole process group.
fn take_signals() -> io::Result<(SignalFd, String)> {
    let signals = SigSet::from_iter([
        Signal::SIGCHLD,
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGTERM,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGALRM,
        Signal::SIGWINCH,
    ]);
    let before = signals.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let blocked: Vec<String> = signals
        .iter()
        .filter(|signal| !before.contains(*signal))
        .map(|signal| (signal as i32).to_string())
        .collect();
    Ok((SignalFd::new(&signals)?, blocked.join(",")))
}

/// The program's exit status as a shell would tell it.
fn as_exit_code(status: ExitStatus) -> u8 {
    let code = match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => BY_SIGNAL + signal,
        (None, None) => i32::from(OUR_FAILURE),
    };
    u8::try_from(code).unwrap_or(OUR_FAILURE)
}
