//! Shows: how the cost of an operation, and what is resident, change as something grows or passes.
//!
//! ```text
//! scaling     nanoseconds an operation     footprint          MiB resident
//!             morecore   glibc                                live   morecore   glibc
//! 1 thread    31         44                peak               128    131        139
//! 8 threads   33         48                half is freed      64     70         138
//! ```
//!
//! Each cell is a process of its own, which plays one point under one malloc and tells what it saw.

use std::io::Write;
use std::process::{Command, Stdio};

use morecore_player::{Measure, Piece, Point, scaling};
use serde_json::{Value, json};

use crate::carried;
use crate::commands::bench::contestant::Contestant;
use crate::commands::bench::rounds::{Effort, Progress, Spread, interleave};
use crate::failure::Failure;
use crate::output::{Color, Out};

/// What is shown.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(super) enum Show {
    /// The cost of an operation with 1 to 1000 threads, with 10^3 to 10^7 live payloads, and with
    /// 10^3 to 10^8 of 16 bytes
    Scaling,
    /// What is resident as the live payloads rise and fall
    Footprint,
}

/// A row of a show: what it is about, and what each contestant has there.
struct Row {
    name: String,
    /// Bytes that live, where that is told.
    live_bytes: Option<f64>,
    spreads: Vec<Spread>,
}

impl Show {
    fn points(self) -> Vec<Point> {
        match self {
            Show::Scaling => Point::of_scaling(),
            Show::Footprint => vec![Point::Footprint],
        }
    }

    /// Measures and prints.
    pub(super) fn run(
        self,
        contestants: &[Contestant],
        effort: Effort,
        measure: Measure,
        is_json: bool,
        out: &mut Out,
    ) -> Result<(), Failure> {
        let progress = Progress::new();
        let mut rows = Vec::new();
        let free_bytes = available_bytes();
        for point in self.points() {
            let is_most = matches!(point, Point::Tiny(scaling::TINY_MOST));
            if is_most && free_bytes.is_some_and(|bytes| bytes < scaling::TINY_MOST_BYTES) {
                progress.say(format_args!("{} needs more memory than is free", point.name()));
                continue;
            }
            let samples = interleave(contestants, effort, |contestant| {
                progress.say(format_args!("{} on {}", point.name(), contestant.name));
                played(point, contestant, measure)
            })?;
            rows.extend(rows_of(&samples));
        }
        drop(progress);
        if is_json {
            return out.json(&self.to_json(contestants, &rows, effort));
        }
        self.print(contestants, &rows, effort, out)
    }

    /// The unit of its cells, and what a sample is divided by to be in it.
    fn unit(self) -> (&'static str, f64) {
        match self {
            Show::Scaling => ("nanoseconds", 1.0),
            Show::Footprint => ("MiB resident", f64::from(1 << 20)),
        }
    }

    fn print(
        self,
        contestants: &[Contestant],
        rows: &[Row],
        effort: Effort,
        out: &mut Out,
    ) -> Result<(), Failure> {
        let (unit, divisor) = self.unit();
        writeln!(out, "{unit}, medians of {} rounds", effort.rounds())?;
        let has_live = rows.iter().any(|row| row.live_bytes.is_some());
        let live = if has_live { format!("{:>11}", "live") } else { String::new() };
        let names = contestants.iter().map(|contestant| format!("{:>11}", contestant.name));
        let head = format!("{:<22}{live}{}", "", names.collect::<String>());
        writeln!(out, "{}", out.colored(Color::Cyan, head))?;
        for row in rows {
            let live = row.live_bytes.map(|bytes| format!("{:>11.1}", bytes / divisor));
            let cells = row.spreads.iter().map(|cell| format!("{:>11.1}", cell.median / divisor));
            let cells = cells.collect::<String>();
            writeln!(out, "{:<22}{}{cells}", row.name, live.unwrap_or_default())?;
        }
        Ok(())
    }

    fn to_json(self, contestants: &[Contestant], rows: &[Row], effort: Effort) -> Value {
        let row = |row: &Row| {
            let cells = contestants.iter().zip(&row.spreads);
            let cells: serde_json::Map<String, Value> =
                cells.map(|(it, cell)| (it.name.clone(), cell.to_json())).collect();
            json!({ "name": row.name, "live_bytes": row.live_bytes, "results": cells })
        };
        let unit = match self {
            Show::Scaling => "nanoseconds",
            Show::Footprint => "bytes",
        };
        let rows: Vec<Value> = rows.iter().map(row).collect();
        json!({ "rounds": effort.rounds(), "unit": unit, "rows": rows })
    }
}

/// The bytes that programs can still get without anything being written to a disk, if the system
/// tells; proc(5).
fn available_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib << 10)
}

/// What a process told: a name, live bytes if it knows any, and the number that counts.
type Told = Vec<(String, Option<f64>, f64)>;

/// Plays one point on one malloc.
fn played(point: Point, contestant: &Contestant, measure: Measure) -> Result<Told, Failure> {
    let failed = |what: &dyn std::fmt::Display| {
        Failure::new(format!("{} on {}: {what}", point.name(), contestant.name))
    };
    let mut command = Command::new(carried::player()?);
    command.args(Piece::Point.arguments(point.name(), measure));
    command.env("LD_PRELOAD", &contestant.library).env_remove("MORECORE_CONF");
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output()?;
    if !output.status.success() {
        return Err(failed(&output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let line = |line: &str| {
        let mut words = line.split(':');
        let (name, live) = (words.next()?.to_string(), words.next()?.parse().ok());
        Some((name, live, words.next()?.parse().ok()?))
    };
    let told: Option<Told> = text.lines().map(line).collect();
    told.filter(|told| !told.is_empty()).ok_or_else(|| failed(&format_args!("told `{text}`")))
}

/// One row a name, from the samples of all contestants.
fn rows_of(samples: &[Vec<Told>]) -> Vec<Row> {
    let names = samples.first().and_then(|samples| samples.first()).into_iter().flatten();
    let row = |(index, (name, live_bytes, _)): (usize, &(String, Option<f64>, f64))| {
        let value = |told: &Told| told.get(index).map_or(f64::NAN, |(_, _, value)| *value);
        let spreads = samples.iter().map(|samples| Spread::of(samples.iter().map(value)));
        Row { name: name.clone(), live_bytes: *live_bytes, spreads: spreads.collect() }
    };
    names.enumerate().map(row).collect()
}
