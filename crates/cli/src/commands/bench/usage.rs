//! What a server uses, as the system counts it: time of processors, and memory of its own.
//!
//! Promises: children of a server count as the server, as under the model `process`.
//! Source: Documentation/scheduler/sched-stats.rst of Linux; proc_pid_stat(5), proc_pid_smaps(5),
//! proc_pid_task(5), proc_loadavg(5), sysconf(3) on clock ticks.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The kernel shows times in hundredths of a second, on every machine that Linux runs on
/// (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// A machine where half a core is taken disturbs what is measured on the others.
const LOAD_MOST: f64 = 0.5;

/// The time that processors have spent for a process and for each of its children, in the kernel
/// and outside.
#[derive(Debug)]
pub(super) struct CpuTimes(BTreeMap<u32, Duration>);

impl CpuTimes {
    /// Those of `pid`.
    ///
    /// # Errors
    /// - There is no such process.
    pub(super) fn of(pid: u32) -> io::Result<CpuTimes> {
        let time = |pid| Some((pid, time_of_threads(pid).or_else(|| time_in_ticks(pid))?));
        // A child may leave at any time.
        let times: BTreeMap<_, _> = family(pid)?.into_iter().filter_map(time).collect();
        match times.is_empty() {
            true => Err(ErrorKind::NotFound.into()),
            false => Ok(CpuTimes(times)),
        }
    }

    /// What was spent since `before`, by those who are still here. A child that served others and
    /// has left between the two counts for nothing: neither what it did, nor what it had done.
    pub(super) fn since(&self, before: &CpuTimes) -> Duration {
        let spent = |(pid, time): (&u32, &Duration)| {
            time.saturating_sub(before.0.get(pid).copied().unwrap_or_default())
        };
        self.0.iter().map(spent).sum()
    }
}

/// To the nanosecond, thread by thread; not every kernel counts so.
fn time_of_threads(pid: u32) -> Option<Duration> {
    let mut ns = 0;
    for task in fs::read_dir(proc_of(pid).join("task")).ok()? {
        let counted = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        ns += counted.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    Some(Duration::from_nanos(ns))
}

/// In whole ticks, which every kernel has.
fn time_in_ticks(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(proc_of(pid).join("stat")).ok()?;
    Some(TICK * ticks_in(&stat)?)
}

/// The bytes of memory that `pid` and its children have for themselves: neither files nor shared
/// segments, and what several of them share counts once.
///
/// # Errors
/// - There is no such process.
pub(super) fn private_bytes(pid: u32) -> io::Result<u64> {
    sum_of_rollup(pid, "Pss_Anon:")
}

/// How many threads wanted to run in the last minute, on average: on a quiet machine none did.
///
/// # Errors
/// - What the system says of a `/proc` that is not there.
pub(super) fn machine_load() -> io::Result<f64> {
    let text = fs::read_to_string("/proc/loadavg")?;
    let first = text.split_whitespace().next().and_then(|word| word.parse().ok());
    first.ok_or_else(|| io::Error::other(format!("/proc/loadavg says `{}`", text.trim_end())))
}

/// A sentence about a machine that has other things to do, or nothing.
pub(super) fn say_if_busy(load: f64) -> Option<String> {
    (load > LOAD_MOST).then(|| {
        format!("this machine is busy with other things (load {load:.1}): expect wide spreads")
    })
}

fn sum_of_rollup(pid: u32, name: &str) -> io::Result<u64> {
    let mut bytes = 0;
    for pid in family(pid)? {
        if let Ok(rollup) = fs::read_to_string(proc_of(pid).join("smaps_rollup")) {
            bytes += bytes_in(&rollup, name).unwrap_or(0);
        }
    }
    Ok(bytes)
}

/// A process and its children; those have none here. (A file of `/proc` lists a thread's children
/// too, but leaves some out while others end.)
fn family(pid: u32) -> io::Result<Vec<u32>> {
    let mut family = vec![pid];
    for entry in fs::read_dir("/proc")? {
        let number = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        let parent =
            |number: &u32| parent_in(&fs::read_to_string(proc_of(*number).join("stat")).ok()?);
        family.extend(number.filter(|number| parent(number) == Some(pid)));
    }
    Ok(family)
}

/// The parent in a `stat` file: field 4, behind the state.
fn parent_in(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// User and system time in a `stat` file: fields 14 and 15, counted from the last `)`, which ends
/// the second.
fn ticks_in(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// The bytes in the line of `name`, which are counted in KiB.
fn bytes_in(rollup: &str, name: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib << 10)
}

fn proc_of(pid: u32) -> PathBuf {
    Path::new("/proc").join(pid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_bytes_are_found_in_their_files() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 30 12 0 0 20 0 1 0 99";
        assert_eq!((ticks_in(stat), parent_in(stat)), (Some(42), Some(1)));
        let rollup = "Rss:  9 kB\nPss_Anon:     3 kB\n";
        assert_eq!(bytes_in(rollup, "Pss_Anon:"), Some(3 << 10));
        assert_eq!(bytes_in(rollup, "Swap:"), None);
    }

    #[test]
    fn a_child_that_has_left_takes_nothing_away() {
        let times = |times: &[(u32, u64)]| {
            CpuTimes(times.iter().map(|&(pid, s)| (pid, Duration::from_secs(s))).collect())
        };
        let before = times(&[(1, 10), (2, 500)]);
        assert_eq!(times(&[(1, 11), (3, 7)]).since(&before), Duration::from_secs(8));
    }

    #[test]
    fn a_child_is_of_the_family() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let found = family(std::process::id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.contains(&child.id()) && found.contains(&std::process::id()));
    }

    #[test]
    fn a_busy_machine_is_told() {
        assert!(machine_load().unwrap() >= 0.0);
        assert_eq!(say_if_busy(0.1), None);
        assert!(say_if_busy(3.0).unwrap().contains("3.0"));
    }

    #[test]
    fn we_use_memory_and_nobody_uses_none() {
        assert!(private_bytes(std::process::id()).unwrap() > 0);
        let before = CpuTimes::of(std::process::id()).unwrap();
        while CpuTimes::of(std::process::id()).unwrap().since(&before).is_zero() {}
        assert!(CpuTimes::of(u32::MAX).is_err());
    }
}
