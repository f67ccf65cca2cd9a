//! Step 4: a trace replayed on our heap under four fits, and the pictures of it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use morecore_heap::Fit;
use nix::unistd::geteuid;

use super::Stage;
use crate::carried::make_private;
use crate::failure::Failure;
use crate::lab::picture;
use crate::lab::replay::{Measured, replay};
use crate::lab::trace::made_up;
use crate::quantity::{show_bytes, show_count};

/// Calls of the trace: a second or two for all fits.
const CALLS: u32 = 240_000;

/// The array in which the heaps are, in granules: several times what the trace needs at once.
const ARRAY_GRANULES: usize = (96 << 20) / size_of::<u128>();

/// Replays, prints a table, and writes the pictures to `directory`.
pub(super) fn play(stage: &mut Stage<'_>, directory: Option<&Path>) -> Result<(), Failure> {
    let calls = made_up(CALLS / stage.part, stage.seed);
    let mut array = vec![0; ARRAY_GRANULES];
    let mut replays = Vec::new();
    for fit in Fit::ALL {
        replays.push(replay(&calls, fit, &mut array).map_err(Failure::new)?);
    }
    stage.say(format_args!("{} calls, made up from the seed", show_count(calls.len() as u64)))?;
    stage.say(format_args!(
        "{:<6} {:>8} {:>10} {:>14} {:>14}",
        "fit", "ns/call", "peak live", "peak footprint", "fragmentation"
    ))?;
    for replay in &replays {
        stage.say(format_args!(
            "{:<6} {:>8} {:>10} {:>14} {:>14.3}",
            replay.fit.name(),
            replay.time.as_nanos() / calls.len() as u128,
            show_bytes(replay.peak_live_bytes),
            show_bytes(replay.peak_footprint_bytes),
            replay.fragmentation()
        ))?;
    }
    let usual = std::env::temp_dir().join(format!("morecore-demo-{}", geteuid()));
    let directory = directory.unwrap_or(&usual);
    match directory == usual {
        true => make_private(directory)?,
        false => fs::create_dir_all(directory)?,
    }
    for path in draw(&replays, stage.seed, directory)? {
        stage.say(format_args!("picture: {path}"))?;
    }
    Ok(())
}

/// Writes two pictures and a page with both, and gives their paths.
fn draw(replays: &[Measured], seed: u64, directory: &Path) -> Result<Vec<String>, Failure> {
    let footprint = picture::footprint(replays).map_err(Failure::new)?;
    let memory = picture::memory(replays).map_err(Failure::new)?;
    let page = page(replays, seed, &footprint, &memory);
    let files = [("footprint.svg", &footprint), ("memory.svg", &memory), ("fits.html", &page)];
    let mut paths = Vec::new();
    for (name, contents) in files {
        let path = directory.join(name);
        fs::write(&path, contents)
            .map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
        paths.push(path.display().to_string());
    }
    Ok(paths)
}

/// Both pictures and the table, in one file that needs no other.
fn page(replays: &[Measured], seed: u64, footprint: &str, memory: &str) -> String {
    let mut rows = String::new();
    for replay in replays {
        // Writing to a string cannot fail.
        let _ = write!(
            rows,
            "<tr><td>{}<td>{:.1}<td>{}<td>{}<td>{:.3}",
            replay.fit.name(),
            replay.time.as_secs_f64() * 1000.0,
            show_bytes(replay.peak_live_bytes),
            show_bytes(replay.peak_footprint_bytes),
            replay.fragmentation()
        );
    }
    format!(
        "<!doctype html><meta charset=utf-8><title>morecore: one trace under four fits</title>\
         <style>body{{font:16px sans-serif;max-width:60em;margin:2em auto}}\
         td,th{{padding:.2em 1em;text-align:right}}</style>\
         <h1>One trace under four fits</h1><p>Made up from seed {seed}; every request goes to the \
         chunk tier.<table><tr><th>fit<th>ms<th>peak live<th>peak footprint<th>fragmentation\
         {rows}</table>{footprint}{memory}\n"
    )
}
