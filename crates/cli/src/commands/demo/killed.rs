//! Step 3: a writer that is killed again and again, and the store proven whole each time.
//!
//! ```text
//! writer:  step n --> done = n + 1 --> step n + 1 --> done = n + 2 --> ...        SIGKILL
//! we:      verify; then the store must hold the state after `done` steps, or after one more
//! ```
//!
//! The steps are made from a seed, so that both processes know them all. `done` is raised only when
//! a step is acknowledged: a step that `done` counts and that is not there would be lost, and
//! anything in between would be half of one.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use morecore_store::{Create, Evict, Name, Set, Store};
use nix::sys::signal::Signal;

use super::Stage;
use crate::failure::Failure;
use crate::quantity::show_count;

/// The store: several times what all keys take with their longest values, 64 times 100 KB.
const MEMORY_BYTES: u64 = 32 << 20;

/// How often the writer is killed; some seconds of it.
const KILLS: u32 = 400;

/// How long a writer writes before it is killed, at most: a few thousand steps.
const WRITES_MOST: Duration = Duration::from_micros(3000);

/// A writer that has not done a step by then never will, on whatever machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Keys that the steps are about: few, so that every kind of step meets every state of a key.
const KEYS: u32 = 64;

/// How many steps were acknowledged.
const DONE: &[u8] = b"done";
/// The number that some steps add one to.
const COUNT: &[u8] = b"count";

/// What a writer does in one step.
enum Step {
    Set { key: u32, value: Vec<u8> },
    Delete { key: u32 },
    Increment,
}

impl Step {
    /// The step with this number.
    fn number(number: u64, seed: u64) -> Step {
        let mut rng = Rng::with_seed(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let key = rng.u32(..KEYS);
        match rng.u32(..10) {
            0 => Step::Increment,
            1 | 2 => Step::Delete { key },
            kind => {
                // Inside a bucket, in a block, in a chunk.
                let most = [32, 1000, 100_000][kind as usize % 3];
                let mut value = vec![0; rng.usize(..=most)];
                rng.fill(&mut value);
                Step::Set { key, value }
            }
        }
    }
}

/// What must be in the store.
#[derive(Clone, Default, PartialEq)]
struct State {
    values: BTreeMap<u32, Vec<u8>>,
    count: u64,
}

impl State {
    fn after(mut self, step: Step) -> State {
        match step {
            Step::Set { key, value } => drop(self.values.insert(key, value)),
            Step::Delete { key } => drop(self.values.remove(&key)),
            Step::Increment => self.count += 1,
        }
        self
    }

    /// What is in the store.
    fn found(store: &mut Store) -> Result<State, Failure> {
        let mut state = State { values: BTreeMap::new(), count: number(store, COUNT)? };
        for key in 0..KEYS {
            let mut value = Vec::new();
            if store.get(&name(key), &mut value)?.is_some() {
                state.values.insert(key, value);
            }
        }
        Ok(state)
    }
}

/// Kills writers, and proves the store after each.
pub(super) fn play(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let mut rng = Rng::with_seed(stage.seed);
    // A fresh one: what step 2 left there, if it got so far, would only make each proof longer.
    let _ = Store::remove(&stage.store);
    let how = Create { memory_bytes: MEMORY_BYTES, mode: 0o600, evict: Evict::None };
    let mut store = Store::create(&stage.store, &how)?;
    let (mut done, mut expected, mut extra) = (0, State::default(), 0);
    let start = Instant::now();
    let kills = KILLS / stage.part;
    for kill in 0..kills {
        run_and_kill(stage, &mut store, done, WRITES_MOST.mul_f64(rng.f64()))?;
        prove_whole(&mut store).map_err(|failure| failure.within(&format!("kill {kill}")))?;
        let acknowledged = number(&mut store, DONE)?;
        for step in done..acknowledged {
            expected = expected.after(Step::number(step, stage.seed));
        }
        done = acknowledged;
        let found = State::found(&mut store)?;
        if found != expected {
            // Killed between a step and its acknowledgement: then it must be there whole.
            expected = expected.after(Step::number(done, stage.seed));
            if found != expected {
                return Err(Failure::new(format!(
                    "kill {kill}: the store is neither as after {done} steps nor as after one more"
                )));
            }
            done += 1;
            extra += 1;
            store.set(DONE, done.to_string().as_bytes(), &Set::default())?;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let recoveries = store.stat().recoveries;
    stage.say(format_args!(
        "{kills} writers killed with SIGKILL, {} steps acknowledged, in {seconds:.1} s",
        show_count(done)
    ))?;
    stage.say(format_args!(
        "after each: whole, every acknowledged step there, nothing half; {recoveries} died inside \
         a change, {extra} between a step and its acknowledgement"
    ))
}

/// Starts a writer at step `from`, lets it write, and kills it.
fn run_and_kill(
    stage: &Stage<'_>,
    store: &mut Store,
    from: u64,
    writes: Duration,
) -> Result<(), Failure> {
    let (step, seed) = (from.to_string(), stage.seed.to_string());
    let mut command =
        stage.ourselves(&["demo", "--as", "writer", "--from", &step, "--seed", &seed]);
    let mut writer = stage.mess.adopt(command.stdout(Stdio::null()).spawn()?);
    let start = Instant::now();
    while number(store, DONE)? == from {
        if let Some(status) = writer.child().try_wait()? {
            return Err(Failure::new(format!("the writer ended by itself: {status}")));
        }
        if start.elapsed() > PATIENCE {
            return Err(Failure::new(format!("the writer did nothing for {PATIENCE:?}")));
        }
        thread::yield_now();
    }
    thread::sleep(writes);
    writer.signal(Signal::SIGKILL)?;
    writer.child().wait()?;
    Ok(())
}

/// The role of the writer: step after step, for ever.
pub(super) fn write(store: &Name, from: u64, seed: u64) -> Result<(), Failure> {
    let mut store = Store::attach(store)?;
    for number in from.. {
        match Step::number(number, seed) {
            Step::Set { key, value } => {
                store.set(&name(key), &value, &Set::default())?;
            }
            Step::Delete { key } => {
                store.delete(&name(key))?;
            }
            Step::Increment => {
                store.increment(COUNT, 1)?;
            }
        }
        store.set(DONE, (number + 1).to_string().as_bytes(), &Set::default())?;
    }
    Ok(())
}

/// Every invariant of the store.
fn prove_whole(store: &mut Store) -> Result<(), Failure> {
    match store.verify() {
        Ok(_) => Ok(()),
        Err(list) => {
            let all: Vec<String> = list.iter().map(ToString::to_string).collect();
            Err(Failure::new(format!("the store is broken: {}", all.join("; "))))
        }
    }
}

/// The number under a key; 0 if there is none.
fn number(store: &mut Store, key: &[u8]) -> Result<u64, Failure> {
    let mut value = Vec::new();
    store.get(key, &mut value)?;
    let text = String::from_utf8_lossy(&value);
    match text.parse() {
        Ok(number) => Ok(number),
        Err(_) if value.is_empty() => Ok(0),
        Err(_) => Err(Failure::new(format!("`{text}` is no number"))),
    }
}

fn name(key: u32) -> Vec<u8> {
    format!("step-key-{key:02}").into_bytes()
}
