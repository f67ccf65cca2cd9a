//! What `morecore-malloc` promises, tested from outside. The tests themselves run on it.
#![allow(clippy::unwrap_used, reason = "a test that can not go on fails")]

mod c;
mod collections;
mod forks;
mod limits;
mod memory;
mod misuse;
mod threads;
mod zeros;

/// Every collection, string and thread of these tests lives on the heap that they test.
#[global_allocator]
static HEAP: morecore_malloc::Morecore = morecore_malloc::Morecore;

/// A generator of random numbers whose seed is printed, and taken back from `SEED`.
fn random() -> fastrand::Rng {
    let seed = std::env::var("SEED").map_or_else(|_| fastrand::u64(..), |s| s.parse().unwrap());
    println!("SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

/// Runs `work` in a child of its own, so that no other test disturbs it (or is disturbed): the test
/// called `name` is run again, alone, and then does `work` itself.
fn alone(name: &str, work: impl FnOnce()) {
    alone_with(name, "", work);
}

/// As [`alone`], in a child whose heap is as `conf` (of `MORECORE_CONF`) has it.
fn alone_with(name: &str, conf: &str, work: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some() {
        return work();
    }
    // By this name it is found also if it was built anew meanwhile, and its file is another.
    let mut child = std::process::Command::new("/proc/self/exe");
    child.args(["--exact", name, "--nocapture", "--test-threads=1"]);
    let output = child.env(ALONE, "1").env("MORECORE_CONF", conf).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {}: {told}", output.status);
}

/// The variable that says to a child that it is one.
const ALONE: &str = "MORECORE_TEST_ALONE";

/// Returns the bytes of memory that this process has now. A system of many processors sums up what
/// each of them counts only now and then, so `statm` may be some MB late; `smaps_rollup` counts.
fn resident_bytes() -> usize {
    if let Ok(rollup) = std::fs::read_to_string("/proc/self/smaps_rollup") {
        let resident = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
        return resident.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10;
    }
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
