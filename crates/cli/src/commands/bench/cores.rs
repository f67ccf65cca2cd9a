//! Cores: the server on one, the load on another, so that neither takes the other's time.
//!
//! Promises: what is started while a thread is pinned is pinned as well.
//! Source: sched_setaffinity(2).

use std::io;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// This thread, by the name that the call has for it.
const THIS_THREAD: Pid = Pid::from_raw(0);

/// The two cores of a bench; `None` where this process may use one only.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cores {
    /// Where the servers run.
    pub(super) server: usize,
    /// Where the load runs.
    pub(super) load: usize,
}

impl Cores {
    /// The first two cores that this process may use.
    pub(super) fn find() -> io::Result<Option<Cores>> {
        let allowed = sched_getaffinity(THIS_THREAD)?;
        let mut cores = (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false));
        let (first, second) = (cores.next(), cores.next());
        Ok(first.zip(second).map(|(server, load)| Cores { server, load }))
    }
}

/// Keeps this thread, and whatever it starts from now on, to one core.
pub(super) fn pin(core: usize) -> io::Result<()> {
    let mut only = CpuSet::new();
    only.set(core)?;
    Ok(sched_setaffinity(THIS_THREAD, &only)?)
}
