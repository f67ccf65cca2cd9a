//! `morecore run`: a program on our malloc.
//!
//! Our process stays beside the program, to turn its end into the exit status that coreutils' tools
//! give, and passes on every signal that it gets, except those that the terminal sent: the program,
//! in the same process group, has got them too.
//!
//! Knows nothing of the heap: the library reads `MORECORE_CONF` itself.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};

use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::unistd::Pid;

use crate::failure::Failure;
use crate::{library, program};

/// Our own failure, as coreutils' env and timeout have it.
const OUR_FAILURE: u8 = 125;
/// The program was found and could not be executed.
const CANNOT_EXECUTE: u8 = 126;
/// The program was not found.
const NOT_FOUND: u8 = 127;
/// Added to the number of the signal that ended the program.
const BY_SIGNAL: i32 = 128;

/// `si_code` of a signal that the kernel made, for one because a key was pressed (SI_KERNEL).
const FROM_KERNEL: i32 = 0x80;

/// Runs a program on our malloc
#[derive(clap::Args)]
pub(crate) struct Run {
    /// Settings of the heap, as in MORECORE_CONF: source:brk|mmap, fit:bins|first|next|best, ...
    #[arg(long, value_name = "K:V,...")]
    conf: Option<String>,
    /// The program and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CMD"
    )]
    command: Vec<OsString>,
}

impl Run {
    /// Runs the program to its end and gives its exit status, or 128 + the signal that ended it.
    pub(crate) fn run(self) -> Result<u8, Failure> {
        let Some((name, arguments)) = self.command.split_first() else {
            return Err(Failure::with_status(OUR_FAILURE, "no program named"));
        };
        let ours = |failure: Failure| match failure.sentence() {
            Some(sentence) => Failure::with_status(OUR_FAILURE, sentence),
            None => failure,
        };
        let library = library::path().map_err(ours)?;
        if let Some((file, reason)) = program::examine(name) {
            eprintln!("morecore: {} {}", file.display(), reason.reason());
        }
        let mut command = Command::new(name);
        command.args(arguments).env("LD_PRELOAD", preload(library.as_os_str()));
        if let Some(conf) = self.conf {
            command.env("MORECORE_CONF", conf);
        }
        let child = command.spawn().map_err(|error| not_started(name, &error))?;
        let status = accompany(child)
            .map_err(|error| Failure::with_status(OUR_FAILURE, format!("waiting: {error}")))?;
        Ok(as_exit_code(status))
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
fn accompany(mut child: Child) -> io::Result<ExitStatus> {
    // Only after the program was started: it inherits neither what is blocked nor what is ignored.
    let signals = passed_on();
    signals.thread_block()?;
    let arrivals = SignalFd::new(&signals)?;
    let pid = Pid::from_raw(child.id().cast_signed());
    loop {
        // Asked before the first signal is read: the program may have ended before we blocked it.
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

/// Every signal that means something to the program, and the one that tells of its end. Those that
/// stop and continue are left alone: the shell sends them to the whole process group.
fn passed_on() -> SigSet {
    let mut signals = SigSet::empty();
    for signal in [
        Signal::SIGCHLD,
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGTERM,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGALRM,
        Signal::SIGWINCH,
    ] {
        signals.add(signal);
    }
    signals
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
