//! What reports about stores and servers have in common: how it was measured, and beside whom.
//!
//! Knows nothing of what was measured.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::Peer;
use crate::commands::bench::rounds::Effort;
use crate::commands::bench::usage;
use crate::output::{Color, Out};

/// How a bench was run.
pub(in super::super) struct Frame {
    bench: &'static str,
    rounds: u32,
    /// Of the machine, before the bench began.
    load: f64,
    /// The peers that are installed, with their versions.
    peers: Vec<(Peer, String)>,
    missing: Vec<Peer>,
}

impl Frame {
    /// That of a bench that begins now; of the peers that are `wanted`, some may not be installed.
    pub(in super::super) fn new(
        bench: &'static str,
        effort: Effort,
        wanted: &[Peer],
    ) -> io::Result<Frame> {
        let (mut peers, mut missing) = (Vec::new(), Vec::new());
        for peer in wanted {
            match peer.version() {
                Some(version) => peers.push((*peer, version)),
                None => missing.push(*peer),
            }
        }
        let (rounds, load) = (effort.rounds(), usage::machine_load()?);
        Ok(Frame { bench, rounds, load, peers, missing })
    }

    /// The peers that can be started here.
    pub(in super::super) fn installed(&self) -> Vec<Peer> {
        self.peers.iter().map(|(peer, _)| *peer).collect()
    }

    /// Who is compared, what the numbers are, and whether they are to be trusted; `how` is said of
    /// every peer.
    pub(in super::super) fn print_head(&self, how: &str, out: &mut Out) -> io::Result<()> {
        for (peer, version) in &self.peers {
            writeln!(out, "{} {version}{how}", peer.name())?;
        }
        writeln!(out, "medians of {} rounds; behind ~ the least and the most", self.rounds)?;
        if let Some(sentence) = usage::say_if_busy(self.load) {
            writeln!(out, "{}", out.colored(Color::Red, sentence))?;
        }
        Ok(())
    }

    /// How to get whom nobody was compared with.
    pub(in super::super) fn print_hints(&self, out: &mut Out) -> io::Result<()> {
        for peer in &self.missing {
            writeln!(out, "{}", out.colored(Color::Gray, peer.hint()))?;
        }
        Ok(())
    }

    /// The same for programs, with what else a report has.
    pub(in super::super) fn to_json(&self, report: Value) -> Value {
        let peers = self.peers.iter();
        let peers: Vec<_> = peers
            .map(|(peer, version)| json!({ "name": peer.name(), "version": version }))
            .collect();
        let missing: Vec<_> = self.missing.iter().map(|peer| peer.hint()).collect();
        let mut whole = Map::new();
        whole.insert("bench".to_string(), json!(self.bench));
        whole.insert("rounds".to_string(), json!(self.rounds));
        whole.insert("machine_load".to_string(), json!(self.load));
        whole.insert("peers".to_string(), json!(peers));
        whole.insert("missing".to_string(), json!(missing));
        if let Value::Object(report) = report {
            whole.extend(report);
        }
        Value::Object(whole)
    }
}
