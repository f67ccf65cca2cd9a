//! `morecore stat`: what a store says of itself.

use std::io::Write;

use morecore_store::{Evict, Name, Stat as Facts};
use serde_json::json;

use crate::failure::Failure;
use crate::output::{Color, Out};
use crate::quantity::{show_bytes, show_count};
use crate::target::Target;

/// Prints entries, bytes, participants, evictions and recoveries
#[derive(clap::Args)]
pub(crate) struct Stat {
    #[command(flatten)]
    target: Target,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Stat {
    /// Only looks: safe beside a busy server.
    pub(crate) fn run(self, out: &mut Out) -> Result<(), Failure> {
        let observer = self.target.observe()?;
        // Before the rest is looked at: a page that is looked at is there from then on.
        let resident = observer.resident_bytes();
        let facts = observer.stat();
        if self.json {
            out.json(&as_json(&facts, self.target.name(), resident))
        } else {
            Ok(print(&facts, self.target.name(), resident, out)?)
        }
    }
}

/// One fact a line, and then the participants.
fn print(facts: &Facts, name: &Name, resident: Option<u64>, out: &mut Out) -> std::io::Result<()> {
    let memory = format!(
        "{} of {} used, largest free stretch {}",
        show_bytes(facts.used_bytes),
        show_bytes(facts.memory_bytes),
        show_bytes(facts.largest_free_bytes)
    );
    let when_full = match facts.evict {
        Evict::Policy => "evicts",
        Evict::None => "refuses",
    };
    let participants =
        format!("{} of at most {}", facts.participants.len(), facts.participants_most);
    let lines = [
        ("store", name.to_string()),
        ("entries", show_count(facts.entries)),
        ("keys and values", show_bytes(facts.content_bytes)),
        ("memory", memory),
        ("resident", resident.map_or("the system does not tell".to_string(), show_bytes)),
        ("shards", show_count(facts.shards.into())),
        ("when full", when_full.to_string()),
        ("evicted", show_count(facts.evictions)),
        ("expired", show_count(facts.expired)),
        ("recoveries", show_count(facts.recoveries)),
        ("long waits", show_count(facts.long_waits)),
        ("participants", participants),
    ];
    for (name, value) in lines {
        let name = out.colored(Color::Gray, format!("{name:<16}"));
        writeln!(out, "{name} {value}")?;
    }
    for participant in &facts.participants {
        let state = if participant.is_alive { "alive" } else { "dead, not recovered yet" };
        writeln!(out, "{:<16} slot {}, pid {}, {state}", "", participant.slot, participant.pid)?;
    }
    Ok(())
}

/// The same for programs, with every number as it is.
fn as_json(facts: &Facts, name: &Name, resident: Option<u64>) -> serde_json::Value {
    let participants: Vec<_> = facts
        .participants
        .iter()
        .map(|participant| {
            json!({
                "slot": participant.slot,
                "pid": participant.pid,
                "since_ms": participant.since_ms,
                "is_alive": participant.is_alive,
            })
        })
        .collect();
    json!({
        "name": name.as_str(),
        "entries": facts.entries,
        "content_bytes": facts.content_bytes,
        "memory_bytes": facts.memory_bytes,
        "resident_bytes": resident,
        "used_bytes": facts.used_bytes,
        "free_bytes": facts.free_bytes,
        "largest_free_bytes": facts.largest_free_bytes,
        "evict": if matches!(facts.evict, Evict::Policy) { "policy" } else { "none" },
        "evictions": facts.evictions,
        "expired": facts.expired,
        "recoveries": facts.recoveries,
        "long_waits": facts.long_waits,
        "created_ms": facts.created_ms,
        "shards": facts.shards,
        "participants_most": facts.participants_most,
        "participants": participants,
    })
}
