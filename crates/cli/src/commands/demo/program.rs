//! Step 1: threads that allocate, fill, check and free, on the system's malloc and on ours.
//!
//! The program is this one itself, so nothing need be installed; a Python is shown too where there
//! is one.

use std::fs;
use std::io::Write;
use std::process::{Command, Output};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use fastrand::Rng;

use super::Stage;
use crate::failure::Failure;
use crate::output::Out;
use crate::quantity::show_count;

/// Threads that allocate: more than most machines need to show contention.
const THREADS: u64 = 4;

/// Payloads that each thread makes, for about a second of work.
const PAYLOADS: u32 = 2_000_000;

/// Payloads that a thread keeps at a time.
const LIVE: usize = 4096;

/// One payload in so many is freed by another thread.
const FOREIGN: u32 = 8;

/// What the program writes when it is asked what its malloc is.
const OURS: &str = "libmorecore";

/// A little work for a Python: many small objects, and a text of them.
const PYTHON: &str = "import json,hashlib; \
    d=[{'n':i,'s':'x'*(i%97),'l':list(range(i%13))} for i in range(60000)]; \
    t=json.dumps(d); assert json.loads(t)==d; print(hashlib.sha256(t.encode()).hexdigest())";

/// Runs the program on both, and compares.
pub(super) fn play(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let seed = stage.seed.to_string();
    let mut role = vec!["demo", "--as", "churn", "--seed", &seed];
    if stage.part > 1 {
        role.push("--brief");
    }
    let theirs = Facts::of(&stage.ourselves(&role).output()?)?;
    let ours = {
        let program = stage.program.clone();
        let mut arguments = vec!["run".into(), "--".into(), program.into_os_string()];
        arguments.extend(role.iter().map(std::ffi::OsString::from));
        Facts::of(&stage.ourselves(&arguments).output()?)?
    };
    if ours.malloc != OURS {
        return Err(Failure::new("the program did not run on our malloc"));
    }
    if ours.sum != theirs.sum {
        let (ours, theirs) = (ours.sum, theirs.sum);
        return Err(Failure::new(format!("contents differ: {ours} on ours, {theirs} on theirs")));
    }
    stage.say(format_args!(
        "{THREADS} threads, {} payloads, every byte checked: the same sum on both",
        show_count(THREADS * u64::from(PAYLOADS / stage.part))
    ))?;
    stage.say(format_args!("system's malloc {} ms, ours {} ms", theirs.ms, ours.ms))?;
    play_python(stage)
}

/// The same with a Python, if there is one.
fn play_python(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let start = Instant::now();
    let Ok(theirs) = Command::new("python3").args(["-c", PYTHON]).output() else {
        return stage.say("(no python3 here to run as well)");
    };
    if !theirs.status.success() {
        return stage.say("(python3 does not work here, so it is not run)");
    }
    let their_ms = start.elapsed().as_millis();
    let start = Instant::now();
    let arguments = ["run", "--", "python3", "-c", PYTHON];
    let ours = Command::new(&stage.program).args(arguments).output()?;
    let our_ms = start.elapsed().as_millis();
    if ours.stdout != theirs.stdout || !ours.status.success() {
        return Err(Failure::new(format!("python3 ended with {} on our malloc", ours.status)));
    }
    stage.say(format_args!(
        "python3, 60 000 objects through json: the same output ({their_ms} ms, ours {our_ms} ms)"
    ))
}

/// What the program told of itself.
struct Facts {
    malloc: String,
    sum: String,
    ms: String,
}

impl Facts {
    /// Reads `MALLOC SUM MS`.
    fn of(output: &Output) -> Result<Facts, Failure> {
        let text = String::from_utf8_lossy(&output.stdout);
        let mut words = text.split_whitespace().map(str::to_string);
        match (words.next(), words.next(), words.next()) {
            (Some(malloc), Some(sum), Some(ms)) if output.status.success() => {
                Ok(Facts { malloc, sum, ms })
            }
            _ => {
                let says = String::from_utf8_lossy(&output.stderr);
                Err(Failure::new(format!("the program ended with {}: {says}", output.status)))
            }
        }
    }
}

/// The role of the program: allocates in threads, and prints `MALLOC SUM MS`.
pub(super) fn churn(seed: u64, part: u32, out: &mut Out) -> Result<(), Failure> {
    let start = Instant::now();
    // A ring: each thread frees some of what the one before it made.
    let (senders, mut receivers): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| channel()).unzip();
    receivers.rotate_left(1);
    let threads: Vec<_> = senders
        .into_iter()
        .zip(receivers)
        .enumerate()
        .map(|(index, (to, from))| {
            let seed = seed.wrapping_add(index as u64);
            thread::spawn(move || churn_one(seed, PAYLOADS / part, &to, &from))
        })
        .collect();
    let mut sum = 0_u64;
    for thread in threads {
        let part = thread.join().map_err(|_| Failure::new("a thread found wrong contents"))?;
        sum = sum.wrapping_add(part);
    }
    let maps = fs::read_to_string("/proc/self/maps")?;
    let malloc = if maps.contains(OURS) { OURS } else { "system" };
    Ok(writeln!(out, "{malloc} {sum:016x} {}", start.elapsed().as_millis())?)
}

/// One thread: each payload is full of one byte, which must still be there when it is freed.
fn churn_one(seed: u64, payloads: u32, to: &Sender<Vec<u8>>, from: &Receiver<Vec<u8>>) -> u64 {
    let mut rng = Rng::with_seed(seed);
    let mut live: Vec<Vec<u8>> = vec![Vec::new(); LIVE];
    let mut sum = 0_u64;
    for _ in 0..payloads {
        // Sizes as programs have them: mostly small, each doubling half as likely.
        let most = 32 << rng.u64(..).trailing_zeros().min(10);
        let fill = rng.u8(..);
        let payload = vec![fill; rng.usize(1..=most)];
        let earlier = std::mem::replace(&mut live[rng.usize(..LIVE)], payload);
        sum = sum.wrapping_mul(31).wrapping_add(checked(&earlier));
        if rng.u32(..FOREIGN) == 0 {
            // The other thread may have ended; then we free it ourselves.
            let _ = to.send(earlier);
        }
        while let Ok(foreign) = from.try_recv() {
            checked(&foreign);
        }
    }
    live.iter().fold(sum, |sum, payload| sum.wrapping_mul(31).wrapping_add(checked(payload)))
}

/// What a payload is full of, times its length.
fn checked(payload: &[u8]) -> u64 {
    let Some(first) = payload.first() else { return 0 };
    assert!(payload.iter().all(|byte| byte == first), "a payload has changed");
    u64::from(*first) * payload.len() as u64
}
