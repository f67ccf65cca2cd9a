//! What was found, as tables for people and as one JSON object for programs.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::contest::{Answer, Row, Sample};
use crate::commands::bench::cores::Cores;
use crate::commands::bench::peers::{Frame, Peer, Transport};
use crate::commands::bench::rounds::{Effort, Spread, geometric_mean};
use crate::output::{Color, Out};

/// All that a run found.
pub(super) struct Report {
    frame: Frame,
    cores: Option<Cores>,
    /// How long our servers poll before they sleep, in microseconds, if they do.
    pub(super) busy_poll_us: Option<u32>,
    /// Whether the load never sleeps.
    pub(super) is_spinning: bool,
    /// One for each setting.
    pub(super) answers: Vec<Answer>,
    /// The private bytes that a server takes for a connection.
    pub(super) memory: Vec<(Transport, String, f64)>,
}

/// How one of our models compares with a peer: the geometric mean of the medians, and the extremes.
struct Summary<'a> {
    ours: &'a str,
    theirs: &'a str,
    ratios: Vec<f64>,
}

impl Report {
    /// Nothing measured yet; of the peers that are `wanted`, some may not be installed.
    pub(super) fn new(effort: Effort, cores: Option<Cores>, wanted: &[Peer]) -> io::Result<Report> {
        let frame = Frame::new("server", effort, wanted)?;
        Ok(Report {
            frame,
            cores,
            busy_poll_us: None,
            is_spinning: false,
            answers: Vec::new(),
            memory: Vec::new(),
        })
    }

    /// The peers that can be started here.
    pub(super) fn installed(&self) -> Vec<Peer> {
        self.frame.installed()
    }

    /// Tables, one a setting, and what they come to.
    pub(super) fn print(&self, out: &mut Out) -> io::Result<()> {
        match self.cores {
            Some(Cores { server, load }) => {
                writeln!(out, "servers on core {server}, the load on core {load}")?;
            }
            None => writeln!(out, "servers and load share one core: there is no other")?,
        }
        if let Some(us) = self.busy_poll_us {
            writeln!(out, "our servers poll for {us} us before they sleep")?;
        }
        if self.is_spinning {
            writeln!(out, "the load never sleeps")?;
        }
        self.frame.print_head("", out)?;
        for answer in &self.answers {
            print_answer(answer, out)?;
        }
        self.print_memory(out)?;
        self.print_summaries(out)?;
        self.frame.print_hints(out)
    }

    fn print_memory(&self, out: &mut Out) -> io::Result<()> {
        let title = "private memory a connection, bytes";
        writeln!(out, "\n{}", out.colored(Color::Cyan, title))?;
        for (transport, name, bytes) in &self.memory {
            writeln!(out, "  {:<5} {name:<18} {bytes:>9.0}", transport.name())?;
        }
        Ok(())
    }

    fn print_summaries(&self, out: &mut Out) -> io::Result<()> {
        let summaries = self.summaries();
        if summaries.is_empty() {
            return Ok(());
        }
        let title = "commands a second, as many times the peer's";
        writeln!(out, "\n{}", out.colored(Color::Cyan, title))?;
        for Summary { ours, theirs, ratios } in summaries {
            let of = Spread::of(ratios.iter().copied());
            let mean = geometric_mean(ratios.iter().copied());
            write!(out, "  {ours:<18} / {theirs:<10} {mean:>6.2} geometric mean of ")?;
            writeln!(out, "{} settings, {:.2} to {:.2}", ratios.len(), of.least, of.most)?;
        }
        Ok(())
    }

    /// Each of our models against each peer, over the settings where both could be measured.
    fn summaries(&self) -> Vec<Summary<'_>> {
        let mut summaries: Vec<Summary<'_>> = Vec::new();
        for answer in &self.answers {
            for ours in answer.rows.iter().filter(|row| row.is_ours) {
                for theirs in answer.rows.iter().filter(|row| !row.is_ours) {
                    let ratio = ratio(ours, theirs).median;
                    let (ours, theirs) = (ours.name.as_str(), theirs.name.as_str());
                    let is_same = |one: &&mut Summary<'_>| (one.ours, one.theirs) == (ours, theirs);
                    match summaries.iter_mut().find(is_same) {
                        Some(summary) => summary.ratios.push(ratio),
                        None => summaries.push(Summary { ours, theirs, ratios: vec![ratio] }),
                    }
                }
            }
        }
        summaries
    }

    /// The same for programs, with every number as it is.
    pub(super) fn to_json(&self) -> Value {
        let memory = self.memory.iter();
        let memory: Vec<_> = memory
            .map(|(transport, name, bytes)| {
                json!({ "transport": transport.name(), "name": name, "bytes": bytes })
            })
            .collect();
        let means: Vec<_> = self
            .summaries()
            .into_iter()
            .map(|Summary { ours, theirs, ratios }| {
                json!({ "ours": ours, "peer": theirs, "ratio": geometric_mean(ratios) })
            })
            .collect();
        self.frame.to_json(json!({
            "pinned": self.cores.is_some(),
            "busy_poll_us": self.busy_poll_us,
            "load_spins": self.is_spinning,
            "settings": self.answers.iter().map(answer_as_json).collect::<Vec<_>>(),
            "connection_bytes": memory,
            "geometric_means": means,
        }))
    }
}

/// How many times theirs our commands a second are.
fn ratio(ours: &Row, theirs: &Row) -> Spread {
    let per_s = |sample: &Sample| sample.per_s;
    Spread::of_ratios(&ours.each(per_s), &theirs.each(per_s))
}

/// One table: a row a contestant.
fn print_answer(answer: &Answer, out: &mut Out) -> io::Result<()> {
    let peers: Vec<&Row> = answer.rows.iter().filter(|row| !row.is_ours).collect();
    writeln!(out, "\n{}", out.colored(Color::Cyan, answer.setting))?;
    write!(out, "  {:<18} {:>8} {:<13} {:>7} {:>5}", "", "k/s", "", "cpu ns", "busy")?;
    write!(out, " {:>8}", "k/s core")?;
    write!(out, " {:>8} {:>8} {:>8}", "p50 us", "p99 us", "p99.9 us")?;
    for peer in &peers {
        write!(out, "  {:<18}", format!("x {}", peer.name))?;
    }
    writeln!(out)?;
    for row in &answer.rows {
        let of = |number: fn(&Sample) -> f64| Spread::of(row.each(number));
        let rate = of(|sample| sample.per_s / 1000.0);
        let around = format!("~{:.0}..{:.0}", rate.least, rate.most);
        write!(out, "  {:<18} {:>8.0} {around:<13}", row.name, rate.median)?;
        write!(out, " {:>7.0}", of(|sample| sample.cpu_ns).median)?;
        write!(out, " {:>4.0}%", of(|sample| sample.busy() * 100.0).median)?;
        write!(out, " {:>8.0}", of(|sample| sample.per_core_s() / 1000.0).median)?;
        write!(out, " {:>8.1}", of(|sample| sample.p50_us).median)?;
        write!(out, " {:>8.1}", of(|sample| sample.p99_us).median)?;
        write!(out, " {:>8.1}", of(|sample| sample.p999_us).median)?;
        for peer in peers.iter().filter(|_| row.is_ours) {
            let times = ratio(row, peer);
            let around = format!("~{:.2}..{:.2}", times.least, times.most);
            let color = if times.median < 1.0 { Color::Red } else { Color::Green };
            let median = out.colored(color, format!("{:.2}", times.median));
            write!(out, "  {median} {around:<13}")?;
        }
        writeln!(out)?;
    }
    for (name, reason) in &answer.unable {
        let line = format!("  {name:<18} cannot: {reason}");
        writeln!(out, "{}", out.colored(Color::Gray, line))?;
    }
    Ok(())
}

/// One setting, with the spread of every number.
fn answer_as_json(answer: &Answer) -> Value {
    let peers: Vec<&Row> = answer.rows.iter().filter(|row| !row.is_ours).collect();
    let row_as_json = |row: &Row| {
        let of = |number: fn(&Sample) -> f64| Spread::of(row.each(number)).to_json();
        let mut value = json!({
            "name": row.name,
            "per_s": of(|sample| sample.per_s),
            "cpu_ns": of(|sample| sample.cpu_ns),
            "per_core_s": of(|sample| sample.per_core_s()),
            "p50_us": of(|sample| sample.p50_us),
            "p99_us": of(|sample| sample.p99_us),
            "p999_us": of(|sample| sample.p999_us),
        });
        if row.is_ours {
            let ratio_to = |peer: &&Row| (peer.name.clone(), ratio(row, peer).to_json());
            let ratios: serde_json::Map<_, _> = peers.iter().map(ratio_to).collect();
            value["ratios"] = Value::Object(ratios);
        }
        value
    };
    let mut value = answer.setting.to_json();
    value["contestants"] = answer.rows.iter().map(row_as_json).collect();
    let unable = answer.unable.iter();
    value["unable"] = unable.map(|(name, why)| json!({ "name": name, "reason": why })).collect();
    value
}
