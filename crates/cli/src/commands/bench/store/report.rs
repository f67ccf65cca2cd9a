//! What was found, as tables for people and as one JSON object for programs.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::setting::Setting;
use crate::commands::bench::peers::{Frame, Peer};
use crate::commands::bench::rounds::{Effort, Spread, geometric_mean};
use crate::output::{Color, Out};
use crate::quantity::show_count;

/// All that a run found.
pub(super) struct Report {
    frame: Frame,
    items: u32,
    /// One for each setting.
    pub(super) answers: Vec<Answer>,
    /// For each length of values, the resident bytes an item of each contestant.
    pub(super) item_bytes: Vec<(usize, Vec<(&'static str, f64)>)>,
    /// For each length of values, how long each contestant took to put an item in at first.
    pub(super) fill_ns: Vec<(usize, Vec<(&'static str, f64)>)>,
    /// For each length of values, what an item costs a process that has just attached and reads
    /// them all.
    pub(super) first_read_ns: Vec<(usize, f64)>,
    /// For each length of values, the longest set while a store of ours grew: without the time in
    /// which it was sent away, and by the clock on the wall.
    pub(super) longest_ns: Vec<(usize, [f64; 2])>,
    /// For each length of values, how long it took to tidy our store after filling.
    pub(super) tidy_ns: Vec<(usize, f64)>,
}

/// What came of one setting: every contestant's samples, ours first.
pub(super) struct Answer {
    pub(super) setting: Setting,
    pub(super) rows: Vec<Row>,
}

/// A contestant, and its operations a second, in the order of the rounds.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) per_s: Vec<f64>,
}

impl Report {
    /// Nothing measured yet; of the peers that are `wanted`, some may not be installed.
    pub(super) fn new(effort: Effort, items: u32, wanted: &[Peer]) -> io::Result<Report> {
        let frame = Frame::new("store", effort, wanted)?;
        Ok(Report {
            frame,
            items,
            answers: Vec::new(),
            item_bytes: Vec::new(),
            fill_ns: Vec::new(),
            first_read_ns: Vec::new(),
            longest_ns: Vec::new(),
            tidy_ns: Vec::new(),
        })
    }

    /// The peers that can be started here.
    pub(super) fn installed(&self) -> Vec<Peer> {
        self.frame.installed()
    }

    /// Tables, one a setting, and what they come to.
    pub(super) fn print(&self, out: &mut Out) -> io::Result<()> {
        writeln!(out, "{} items, keys of 16 bytes", show_count(self.items.into()))?;
        self.frame.print_head(", over a Unix socket", out)?;
        for answer in &self.answers {
            answer.print(out)?;
        }
        for (value_bytes, contestants) in &self.item_bytes {
            let title = format!("resident bytes an item, key and value take {}", 16 + value_bytes);
            writeln!(out, "\n{}", out.colored(Color::Cyan, title))?;
            for (name, bytes) in contestants {
                writeln!(out, "  {name:<12} {bytes:>8.1}")?;
            }
        }
        for (value_bytes, contestants) in &self.fill_ns {
            let title = format!("nanoseconds an item of {value_bytes} B, filling once in order");
            writeln!(out, "\n{}", out.colored(Color::Cyan, title))?;
            for (name, ns) in contestants {
                writeln!(out, "  {name:<12} {ns:>8.0}")?;
            }
        }
        for (value_bytes, ns) in &self.first_read_ns {
            writeln!(out, "\nfirst read of {value_bytes} B after attaching: {ns:.0} ns an item")?;
        }
        for (value_bytes, [own, wall]) in &self.longest_ns {
            let (own, wall) = (own / 1e3, wall / 1e3);
            write!(out, "longest set of a new item of {value_bytes} B: {own:.0} us of its own, ")?;
            writeln!(out, "{wall:.0} us by the clock on the wall")?;
        }
        for (value_bytes, ns) in &self.tidy_ns {
            writeln!(out, "tidied after filling with {value_bytes} B: {:.0} ms", ns / 1e6)?;
        }
        let title = "operations a second, as many times another's";
        writeln!(out, "\n{}", out.colored(Color::Cyan, title))?;
        for (name, ratios) in self.summaries() {
            let of = Spread::of(ratios.iter().copied());
            let mean = geometric_mean(ratios.iter().copied());
            write!(out, "  morecore / {name:<12} {mean:>7.2} geometric mean of ")?;
            writeln!(out, "{} settings, {:.2} to {:.2}", ratios.len(), of.least, of.most)?;
        }
        self.frame.print_hints(out)
    }

    /// For each of the others, our median ratio to it in every setting where both can be.
    fn summaries(&self) -> Vec<(&'static str, Vec<f64>)> {
        let mut summaries: Vec<(&'static str, Vec<f64>)> = Vec::new();
        for answer in &self.answers {
            for row in answer.others() {
                let ratio = answer.ratio_to(row).median;
                match summaries.iter_mut().find(|(name, _)| *name == row.name) {
                    Some((_, ratios)) => ratios.push(ratio),
                    None => summaries.push((row.name, vec![ratio])),
                }
            }
        }
        summaries
    }

    /// Operations a second, one line a setting and contestant.
    pub(super) fn to_csv(&self) -> String {
        let mut text = "value_bytes,distribution,mix,processes,name,per_s,min,max\n".to_string();
        for Answer { setting, rows } in &self.answers {
            let Setting { value_bytes, distribution, mix, processes } = setting;
            let setting =
                format!("{value_bytes},{},{},{processes}", distribution.name(), mix.name());
            for row in rows {
                let Spread { median, least, most } = row.rate();
                let line = format!("{setting},{},{median:.0},{least:.0},{most:.0}\n", row.name);
                text.push_str(&line);
            }
        }
        text
    }

    /// The same for programs, with every number as it is.
    pub(super) fn to_json(&self) -> Value {
        let named = |contestants: &[(&str, f64)]| -> serde_json::Map<_, _> {
            contestants.iter().map(|(name, number)| (name.to_string(), json!(number))).collect()
        };
        let item_bytes = self.item_bytes.iter().map(|(value_bytes, contestants)| {
            let resident = named(contestants);
            json!({ "key_bytes": 16, "value_bytes": value_bytes, "resident": resident })
        });
        let fill_ns = self.fill_ns.iter().map(|(value_bytes, contestants)| {
            json!({ "value_bytes": value_bytes, "ns": named(contestants) })
        });
        let longest_ns = self.longest_ns.iter().map(|(value_bytes, [own, wall])| {
            json!({ "value_bytes": value_bytes, "own": own, "wall": wall })
        });
        let each_ns = |all: &[(usize, f64)]| -> Vec<Value> {
            let one = |(bytes, ns): &(usize, f64)| json!({ "value_bytes": bytes, "ns": ns });
            all.iter().map(one).collect()
        };
        let means: Vec<_> = self
            .summaries()
            .into_iter()
            .map(|(name, ratios)| json!({ "other": name, "ratio": geometric_mean(ratios) }))
            .collect();
        self.frame.to_json(json!({
            "items": self.items,
            "settings": self.answers.iter().map(Answer::to_json).collect::<Vec<_>>(),
            "item_bytes": item_bytes.collect::<Vec<_>>(),
            "fill_ns": fill_ns.collect::<Vec<_>>(),
            "first_read_ns": each_ns(&self.first_read_ns),
            "longest_ns": longest_ns.collect::<Vec<_>>(),
            "tidy_ns": each_ns(&self.tidy_ns),
            "geometric_means": means,
        }))
    }
}

impl Answer {
    /// Everybody but us.
    fn others(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().skip(1)
    }

    /// How many times theirs our operations a second are.
    fn ratio_to(&self, other: &Row) -> Spread {
        Spread::of_ratios(&self.rows[0].per_s, &other.per_s)
    }

    /// One table: a row a contestant.
    fn print(&self, out: &mut Out) -> io::Result<()> {
        writeln!(out, "\n{}", out.colored(Color::Cyan, self.setting))?;
        writeln!(out, "  {:<12} {:>10} {:>22} {:>9}  ours", "", "k/s", "", "ns each")?;
        for (place, row) in self.rows.iter().enumerate() {
            let rate = row.rate();
            let around = format!("~{:.0}..{:.0}", rate.least / 1e3, rate.most / 1e3);
            let each_ns = self.setting.processes as f64 * 1e9 / rate.median;
            write!(out, "  {:<12} {:>10.0} {around:<22}", row.name, rate.median / 1e3)?;
            write!(out, " {each_ns:>9.0}")?;
            if place > 0 {
                let times = self.ratio_to(row);
                let color = if times.median < 1.0 { Color::Red } else { Color::Green };
                let median = out.colored(color, format!("x {:.2}", times.median));
                write!(out, "  {median} ~{:.2}..{:.2}", times.least, times.most)?;
            }
            writeln!(out)?;
        }
        Ok(())
    }

    /// The same, with the spread of every number.
    fn to_json(&self) -> Value {
        let rows = self.rows.iter().enumerate().map(|(place, row)| {
            let mut value = json!({ "name": row.name, "per_s": row.rate().to_json() });
            if place > 0 {
                value["ours_to_it"] = self.ratio_to(row).to_json();
            }
            value
        });
        let mut value = self.setting.to_json();
        value["contestants"] = rows.collect();
        value
    }
}

impl Row {
    fn rate(&self) -> Spread {
        Spread::of(self.per_s.iter().copied())
    }
}
