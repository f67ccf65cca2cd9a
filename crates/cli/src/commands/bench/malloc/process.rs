//! One process under one malloc, and what it used.

use std::io::{self, PipeReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use morecore_sys::process::wait;

use super::subject::Subject;
use crate::commands::bench::contestant::Contestant;

/// What a process used, with the children that it waited for.
#[derive(Clone, Copy)]
pub(super) struct Used {
    /// Processor time, in the program and in the kernel, in seconds.
    pub(super) processor: f64,
    /// Time, in seconds.
    pub(super) elapsed: f64,
    /// The peak of resident memory, in bytes.
    pub(super) peak: f64,
}

/// Runs `subject` on `contestant`'s malloc; the first one that ends well says what is `expected` of
/// all others to print.
///
/// # Errors
/// - The reason, as a sentence: it did not start, did not end well, or printed something else.
pub(super) fn measure(
    subject: &Subject,
    contestant: &Contestant,
    expected: &mut Option<Vec<u8>>,
) -> Result<Used, String> {
    let failed = |error: io::Error| format!("{}: {error}", subject.program.display());
    let start = Instant::now();
    let (child, mut reader) = start_process(subject, contestant).map_err(failed)?;
    let load = subject.load.as_ref().map(start_load).transpose();
    let mut printed = Vec::new();
    reader.read_to_end(&mut printed).map_err(failed)?;
    let ended =
        wait(child.id()).map_err(|error| failed(io::Error::from_raw_os_error(error.errno.0)))?;
    let elapsed = start.elapsed().as_secs_f64();
    // The load ends what it puts its load on; so it is gone by now, or about to.
    let load = load.map_err(failed)?.map(|mut load| load.wait()).transpose().map_err(failed)?;
    if let Some(status) = [Some(ExitStatus::from_raw(ended.status)), load]
        .into_iter()
        .flatten()
        .find(|status| !status.success())
    {
        return Err(format!("{status}: {}", last_line(&printed)));
    }
    let expected = expected.get_or_insert_with(|| printed.clone());
    if *expected != printed {
        return Err(format!("printed `{}`, not `{}`", last_line(&printed), last_line(expected)));
    }
    // A microsecond each, lest a ratio divide by zero.
    let processor = (ended.user_us + ended.system_us).max(1) as f64 / 1e6;
    Ok(Used { processor, elapsed, peak: ended.peak as f64 })
}

/// Starts the process; both of its outputs go into one pipe, whose other end is given as well.
///
/// The peak that the system tells of a process counts from before it executes its program: one that
/// shares this program's memory until then (vfork) would begin with all that we have resident. One
/// that is forked begins with our private pages alone, a megabyte or less. To be told its group,
/// which is the one that it has, makes it a forked one.
fn start_process(subject: &Subject, contestant: &Contestant) -> io::Result<(Child, PipeReader)> {
    let (reader, writer) = io::pipe()?;
    let mut command = Command::new(&subject.program);
    command.args(&subject.arguments).envs(subject.environment.iter().copied());
    command.env("LD_PRELOAD", &contestant.library).env_remove("MORECORE_CONF");
    command.gid(nix::unistd::getegid().as_raw());
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    // The command, and with it our ends of the pipe for writing, goes before anyone reads.
    Ok((command.spawn()?, reader))
}

/// Starts what puts a load on a server, on the malloc that it has anyway.
fn start_load(script: &String) -> io::Result<Child> {
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn()
}

/// The last line of what was printed: where programs say why they end.
fn last_line(printed: &[u8]) -> String {
    let text = String::from_utf8_lossy(printed);
    text.trim_end().lines().last().unwrap_or("printed nothing").to_string()
}
