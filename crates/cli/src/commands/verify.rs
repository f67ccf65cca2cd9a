//! `morecore verify`: proves that a store is whole.

use std::io::Write;

use morecore_store::{Broken, Name, Salvaged, Store, Verified};
use serde_json::json;

use crate::failure::Failure;
use crate::output::{Color, Out};
use crate::quantity::{show_bytes, show_count};
use crate::target::Target;

/// Proves every invariant of a store, and that every byte is accounted for
#[derive(clap::Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    target: Target,
    /// Take what is whole in a file that was in use when the machine stopped over into a new store
    #[arg(long, value_name = "NEW")]
    salvage: Option<Name>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Verify {
    /// Says what was proven; or all that is wrong, and then the exit status is 1.
    pub(crate) fn run(self, out: &mut Out) -> Result<(), Failure> {
        if let Some(into) = &self.salvage {
            let salvaged = Store::salvage(self.target.name(), into)?;
            if self.json {
                return out.json(&as_json_salvaged(&salvaged));
            }
            return Ok(print_salvaged(&salvaged, into, out)?);
        }
        // Attached, not observed, where that is allowed: under all holds nothing changes meanwhile,
        // and what the dead left is rolled back first.
        let outcome = match self.target.attach() {
            Ok(mut store) => store.verify(),
            // What cannot be looked at either says best what it is.
            Err(_) => self.target.observe()?.verify(),
        };
        match &outcome {
            Ok(proven) if self.json => out.json(&as_json(proven))?,
            Ok(proven) => print(proven, out)?,
            Err(list) if self.json => out.json(&as_json_broken(list))?,
            Err(list) => {
                for broken in list {
                    let wrong = out.colored(Color::Red, "broken");
                    writeln!(out, "{wrong}: {broken}")?;
                }
            }
        }
        outcome.map(drop).map_err(|_| Failure::silent(1))
    }
}

/// What was kept of a torn file.
fn print_salvaged(salvaged: &Salvaged, into: &Name, out: &mut Out) -> std::io::Result<()> {
    writeln!(
        out,
        "kept {} of {} entries in {into}, {}; {} were not whole, {} had expired",
        show_count(salvaged.kept),
        show_count(salvaged.counted),
        show_bytes(salvaged.bytes),
        show_count(salvaged.lost),
        show_count(salvaged.expired)
    )
}

/// The same for programs.
fn as_json_salvaged(salvaged: &Salvaged) -> serde_json::Value {
    json!({
        "counted": salvaged.counted,
        "kept": salvaged.kept,
        "bytes": salvaged.bytes,
        "lost": salvaged.lost,
        "expired": salvaged.expired,
    })
}

/// What a whole store was proven to be.
fn print(proven: &Verified, out: &mut Out) -> std::io::Result<()> {
    let whole = out.colored(Color::Green, "whole");
    writeln!(
        out,
        "{whole}: {} entries in {} groups, {} payloads, {} chunks; {} accounted for",
        show_count(proven.entries),
        show_count(proven.groups),
        show_count(proven.payloads),
        show_count(proven.chunks),
        show_bytes(proven.bytes)
    )
}

/// The same for programs.
fn as_json(proven: &Verified) -> serde_json::Value {
    json!({
        "is_whole": true,
        "entries": proven.entries,
        "buckets": proven.buckets,
        "groups": proven.groups,
        "chunks": proven.chunks,
        "payloads": proven.payloads,
        "claimed": proven.claimed,
        "pending": proven.pending,
        "bytes": proven.bytes,
    })
}

/// What is wrong, for programs.
fn as_json_broken(list: &[Broken]) -> serde_json::Value {
    let broken: Vec<_> = list
        .iter()
        .map(
            |broken| json!({ "invariant": broken.invariant, "at": broken.at, "what": broken.what }),
        )
        .collect();
    json!({ "is_whole": false, "broken": broken })
}
