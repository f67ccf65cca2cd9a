//! What a bench of mallocs tells: for people, for programs, and sample by sample.
//!
//! ```text
//! processor time      morecore          glibc             jemalloc
//! churn-1             412 ms            0.87 0.85..0.91   0.93 0.90..0.99
//!                     our median        ours by theirs: median, least..most of the rounds
//! ```

use std::fmt::Write as _;
use std::io::Write;

use morecore_player::Measure;
use serde_json::{Map, Value, json};

use super::Outcome;
use super::process::Used;
use super::subject::Subject;
use crate::commands::bench::contestant::{Contestant, Missing};
use crate::commands::bench::rounds::{Effort, Spread, geometric_mean};
use crate::failure::Failure;
use crate::output::{Color, Out};
use crate::quantity::show_bytes;

/// Of one workload, so many times the best peer is worth a line of its own: the limit that we set
/// ourselves for any workload.
const MUCH_WORSE: f64 = 1.3;

/// Whose numbers are 1 in the last table: the first of these that was measured.
const UNITS: [&str; 3] = ["mimalloc3", "mimalloc", "glibc"];

/// What is compared.
#[derive(Clone, Copy, PartialEq)]
enum Quantity {
    Processor,
    Elapsed,
    Peak,
}

impl Quantity {
    const ALL: [Quantity; 3] = [Quantity::Processor, Quantity::Elapsed, Quantity::Peak];

    fn of(self, used: &Used) -> f64 {
        match self {
            Quantity::Processor => used.processor,
            Quantity::Elapsed => used.elapsed,
            Quantity::Peak => used.peak,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Quantity::Processor => "processor time",
            Quantity::Elapsed => "elapsed time",
            Quantity::Peak => "peak memory",
        }
    }

    /// Its name in JSON, with its unit.
    fn key(self) -> &'static str {
        match self {
            Quantity::Processor => "processor_seconds",
            Quantity::Elapsed => "elapsed_seconds",
            Quantity::Peak => "peak_bytes",
        }
    }

    fn show(self, value: f64) -> String {
        match self {
            Quantity::Peak => show_bytes(value as u64),
            Quantity::Processor | Quantity::Elapsed => format!("{:.0} ms", value * 1000.0),
        }
    }
}

/// Everything that was measured. The first contestant is ours.
pub(super) struct Report {
    contestants: Vec<Contestant>,
    outcomes: Vec<Outcome>,
    missing: Vec<Missing>,
    effort: Effort,
    measure: Measure,
}

impl Outcome {
    /// One contestant's samples of one quantity, if it did not fail.
    fn values(&self, index: usize, quantity: Quantity) -> Option<Vec<f64>> {
        let samples = self.samples[index].as_ref().ok()?;
        Some(samples.iter().map(|used| quantity.of(used)).collect())
    }

    /// How many times the one's numbers the other's are.
    fn ratio(&self, index: usize, unit: usize, quantity: Quantity) -> Option<Spread> {
        Some(Spread::of_ratios(&self.values(index, quantity)?, &self.values(unit, quantity)?))
    }
}

impl Report {
    pub(super) fn new(
        contestants: Vec<Contestant>,
        outcomes: Vec<Outcome>,
        missing: Vec<Missing>,
        effort: Effort,
        measure: Measure,
    ) -> Report {
        Report { contestants, outcomes, missing, effort, measure }
    }

    /// For people: a table a quantity, the means, what is much worse than elsewhere, what failed,
    /// and what was not there.
    pub(super) fn print(&self, out: &mut Out) -> Result<(), Failure> {
        let (count, rounds, seed) = (self.outcomes.len(), self.effort.rounds(), self.measure.seed);
        writeln!(
            out,
            "{count} workloads and programs, {rounds} rounds, seed {seed}; peers' columns: \
            ours by theirs, median and least..most\n"
        )?;
        for quantity in Quantity::ALL {
            self.print_quantity(quantity, out)?;
        }
        self.print_means(out)?;
        self.print_losses(out)?;
        for (subject, contestant, reason) in self.failures() {
            let failed = out.colored(Color::Red, "failed");
            writeln!(out, "{failed}: {subject} on {contestant}: {reason}")?;
        }
        print_missing(&self.missing, out)
    }

    fn print_quantity(&self, quantity: Quantity, out: &mut Out) -> Result<(), Failure> {
        let mut head = format!("{:<15}", quantity.title());
        for contestant in &self.contestants {
            // Writing into a string cannot fail.
            let _ = write!(head, " {:<16}", contestant.name);
        }
        let head = out.colored(Color::Cyan, head.trim_end());
        writeln!(out, "{head}")?;
        for outcome in &self.outcomes {
            let ours = outcome.values(0, quantity).map(|values| Spread::of(values).median);
            let ours = ours.map_or("failed".to_string(), |ours| quantity.show(ours));
            let mut row = format!("{:<15} {ours:<16}", outcome.subject.name);
            for peer in 1..self.contestants.len() {
                row += " ";
                row += &self.cell(outcome.ratio(0, peer, quantity), out);
            }
            writeln!(out, "{}", row.trim_end())?;
        }
        let mut row = format!("{:<15} {:<16}", "geometric mean", "");
        for peer in 1..self.contestants.len() {
            let _ = write!(row, " {:<16}", show_mean(self.mean(0, peer, quantity, |_| true)));
        }
        Ok(writeln!(out, "{}\n", row.trim_end())?)
    }

    /// A ratio and its spread; in colour where all rounds agree on who needs less.
    fn cell(&self, ratio: Option<Spread>, out: &Out) -> String {
        let Some(Spread { median, least, most }) = ratio else {
            return format!("{:<16}", "-");
        };
        let text = format!("{:<16}", format!("{median:.2} {least:.2}..{most:.2}"));
        if most < 1.0 {
            out.colored(Color::Green, text)
        } else if least > 1.0 {
            out.colored(Color::Red, text)
        } else {
            text
        }
    }

    /// How all contestants stand to one of them, over all, over our workloads, and over programs.
    fn print_means(&self, out: &mut Out) -> Result<(), Failure> {
        let unit = self.unit();
        let name = &self.contestants[unit].name;
        let head = format!("geometric means, {name} = 1: all, workloads, programs");
        writeln!(out, "{}", out.colored(Color::Cyan, head))?;
        let titles = Quantity::ALL.map(|quantity| format!("{:<19}", quantity.title())).join(" ");
        writeln!(out, "{:<15} {}", "", titles.trim_end())?;
        for (index, contestant) in self.contestants.iter().enumerate() {
            let means = Quantity::ALL.map(|quantity| {
                let [all, workloads, programs] = self.means(index, unit, quantity).map(show_mean);
                format!("{all:<6}{workloads:<6}{programs:<7}")
            });
            writeln!(out, "{:<15} {}", contestant.name, means.join(" ").trim_end())?;
        }
        Ok(writeln!(out)?)
    }

    /// Where we need much more than the best peer.
    fn print_losses(&self, out: &mut Out) -> Result<(), Failure> {
        for outcome in &self.outcomes {
            for quantity in Quantity::ALL {
                let Some((peer, ratio)) = self.worst(outcome, quantity) else { continue };
                if ratio.median > MUCH_WORSE {
                    let Spread { median, least, most } = ratio;
                    let (subject, title) = (outcome.subject.name, quantity.title());
                    let peer = &self.contestants[peer].name;
                    let lost = out.colored(Color::Red, "lost");
                    writeln!(
                        out,
                        "{lost}: {subject}: {median:.2} ({least:.2}..{most:.2}) times the {title} \
                         of {peer}"
                    )?;
                }
            }
        }
        Ok(())
    }

    /// The peer beside which we look worst, and our ratio to it.
    fn worst(&self, outcome: &Outcome, quantity: Quantity) -> Option<(usize, Spread)> {
        (1..self.contestants.len())
            .filter_map(|peer| Some((peer, outcome.ratio(0, peer, quantity)?)))
            .max_by(|(_, one), (_, other)| one.median.total_cmp(&other.median))
    }

    /// Which contestant's numbers are 1.
    fn unit(&self) -> usize {
        let find = |name| self.contestants.iter().position(|contestant| contestant.name == name);
        UNITS.into_iter().find_map(find).unwrap_or(self.contestants.len().min(2) - 1)
    }

    /// Means over all subjects, over our workloads, and over programs.
    fn means(&self, index: usize, unit: usize, quantity: Quantity) -> [f64; 3] {
        [
            self.mean(index, unit, quantity, |_| true),
            self.mean(index, unit, quantity, |subject| !subject.is_program),
            self.mean(index, unit, quantity, |subject| subject.is_program),
        ]
    }

    /// The geometric mean of median ratios over the subjects that are `wanted` and did not fail on
    /// any contestant, so that all means are over the same ones.
    fn mean(
        &self,
        index: usize,
        unit: usize,
        quantity: Quantity,
        wanted: impl Fn(&Subject) -> bool,
    ) -> f64 {
        let whole = |outcome: &&Outcome| outcome.samples.iter().all(Result::is_ok);
        let outcomes = self.outcomes.iter().filter(whole).filter(|found| wanted(&found.subject));
        let ratios = outcomes.filter_map(|outcome| outcome.ratio(index, unit, quantity));
        geometric_mean(ratios.map(|ratio| ratio.median))
    }

    /// Which subject failed on which contestant, and why.
    fn failures(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.outcomes.iter().flat_map(|outcome| {
            self.contestants.iter().zip(&outcome.samples).filter_map(|(contestant, samples)| {
                let reason = samples.as_ref().err()?;
                Some((outcome.subject.name, contestant.name.as_str(), reason.as_str()))
            })
        })
    }

    /// For programs: all medians and spreads, all ratios of ours, the means.
    pub(super) fn to_json(&self) -> Value {
        let unit = self.unit();
        let mut means = Map::new();
        for (index, contestant) in self.contestants.iter().enumerate() {
            let mut row = Map::new();
            for quantity in Quantity::ALL {
                let [all, workloads, programs] = self.means(index, unit, quantity);
                let row_of = json!({ "all": all, "workloads": workloads, "programs": programs });
                row.insert(quantity.key().to_string(), row_of);
            }
            means.insert(contestant.name.clone(), row.into());
        }
        let missing = self.missing.iter();
        let missing: Vec<_> =
            missing.map(|it| json!({ "name": it.name, "remedy": it.remedy })).collect();
        let contestants = self.contestants.iter();
        let contestants: Vec<_> = contestants
            .map(|it| json!({ "name": it.name, "library": it.library.to_string_lossy() }))
            .collect();
        json!({
            "rounds": self.effort.rounds(),
            "seed": self.measure.seed,
            "contestants": contestants,
            "subjects": self.outcomes.iter().map(|it| self.subject_json(it)).collect::<Vec<_>>(),
            "unit": self.contestants[unit].name,
            "geometric_means": means,
            "missing": missing,
        })
    }

    fn subject_json(&self, outcome: &Outcome) -> Value {
        let mut results = Map::new();
        for (index, contestant) in self.contestants.iter().enumerate() {
            let mut row = Map::new();
            if let Err(reason) = &outcome.samples[index] {
                row.insert("failed".to_string(), reason.as_str().into());
            }
            for quantity in Quantity::ALL {
                let Some(values) = outcome.values(index, quantity) else { continue };
                row.insert(quantity.key().to_string(), Spread::of(values).to_json());
                if let Some(ratio) = outcome.ratio(0, index, quantity).filter(|_| index > 0) {
                    let key = quantity.key().split('_').next().unwrap_or_default();
                    row.insert(format!("ours_by_theirs_{key}"), ratio.to_json());
                }
            }
            results.insert(contestant.name.clone(), row.into());
        }
        let Subject { name, about, is_program, .. } = &outcome.subject;
        json!({ "name": name, "about": about, "is_program": is_program, "results": results })
    }
}

/// A mean for people; that of nothing is a dash.
fn show_mean(mean: f64) -> String {
    if mean.is_nan() { "-".to_string() } else { format!("{mean:.3}") }
}

/// Every sample on a line of its own, for those who want to reckon themselves.
pub(super) fn write_csv(
    contestants: &[Contestant],
    outcomes: &[Outcome],
    file: &mut impl Write,
) -> Result<(), Failure> {
    writeln!(file, "subject,contestant,round,processor_seconds,elapsed_seconds,peak_bytes")?;
    for outcome in outcomes {
        for (contestant, samples) in contestants.iter().zip(&outcome.samples) {
            for (round, used) in samples.iter().flatten().enumerate() {
                let Used { processor, elapsed, peak } = used;
                let (subject, name) = (outcome.subject.name, &contestant.name);
                writeln!(file, "{subject},{name},{round},{processor:.6},{elapsed:.6},{peak}")?;
            }
        }
    }
    Ok(())
}

/// What can be measured here, and what cannot.
pub(super) fn list(
    subjects: &[Subject],
    missing: &[Missing],
    out: &mut Out,
) -> Result<(), Failure> {
    for subject in subjects {
        let name = out.colored(Color::Cyan, format!("{:<15}", subject.name));
        writeln!(out, "{name} {}", subject.about)?;
    }
    print_missing(missing, out)
}

fn print_missing(missing: &[Missing], out: &mut Out) -> Result<(), Failure> {
    for Missing { name, remedy } in missing {
        writeln!(out, "not measured: {name}: {remedy}")?;
    }
    Ok(())
}
