//! `morecore bench store`: a look-up in shared memory, beside one in a process and over a socket.
//!
//! ```text
//! bench --starts--> workers, each a process:  ours       attached to one store
//!   |                                         hash map   its own, in its own memory: the limit
//!   |                                         redis ...  connected to a server's Unix socket
//!   +--"run" to one worker, or to two at once, in turn--> operations and nanoseconds
//! ```
//!
//! Question: how many reads and writes a second do one and two processes get, and how many bytes
//! does an item take? Rivals: redis-server and memcached if installed; std's `HashMap` as the
//! limit of what one process alone can have.

mod draw;
mod pauses;
mod report;
mod setting;
mod shelf;
mod work;
mod worker;

use std::fs;
use std::path::PathBuf;
use std::process;
use std::time::Duration;

use morecore_store::{Create, Evict, Name, Store as Shared};

use self::report::{Answer, Report, Row};
use self::setting::{Content, Setting, VALUE_BYTES};
use self::shelf::ShelfName;
use self::worker::Worker;
use super::peers::{Host, Peer, Server, Transport};
use super::rounds::{Effort, Progress, interleave};
use super::usage;
use crate::failure::Failure;
use crate::mess::Mess;
use crate::output::Out;

/// Items, unless told: with values of 32 bytes already many times what a core's own caches hold.
const ITEMS: u32 = 1_000_000;

/// With `--quick`.
const QUICK_ITEMS: u32 = 2000;

/// How long a worker works for one sample: a few million look-ups in memory, a few ten thousand
/// over a socket.
const SAMPLE: Duration = Duration::from_millis(200);

/// With `--quick`.
const QUICK_SAMPLE: Duration = Duration::from_millis(10);

/// What an item may take beyond its value before a store or a peer is full; ample for all.
const ROOM_BYTES: u64 = 400;

/// The least that a store and a peer are given, however few the items.
const MEMORY_BYTES_LEAST: u64 = 64 << 20;

/// Measures the store against Redis, memcached and a hash map
#[derive(clap::Args)]
pub(crate) struct Store {
    #[command(flatten)]
    effort: Effort,
    /// How many items there are [default: 1000000]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    items: Option<u32>,
    /// Whom to measure against, a hash map aside [default: all that are installed]
    #[arg(long, value_enum, value_delimiter = ',', num_args = 0.., value_name = "PEER,...")]
    peers: Option<Vec<Peer>>,
    /// Also write what was found to a file, a line for each setting and contestant
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// What this process works on in the bench of another
    #[arg(long, hide = true, value_enum, requires = "at")]
    shelf: Option<ShelfName>,
    /// The store or the socket that it works on
    #[arg(long, hide = true)]
    at: Option<PathBuf>,
    /// The lengths of values [default: 32,200,1024; of 200 only the memory is told]
    #[arg(long, value_delimiter = ',', value_name = "BYTES,...")]
    value_bytes: Vec<usize>,
    /// What its keys are drawn from
    #[arg(long, hide = true, default_value_t = 0)]
    seed: u64,
}

/// One who is measured: its workers, and the server behind them if it needs one.
struct Contestant<'a> {
    name: &'static str,
    /// Two, or one where a second would work on something else.
    workers: Vec<Worker<'a>>,
    /// Resident bytes for each item, after filling and tidying.
    item_bytes: f64,
    /// How long it took to put an item in, when all of them were.
    fill_ns: f64,
    /// How long it took to tidy.
    tidy_ns: f64,
    _server: Option<Server<'a>>,
}

impl Store {
    /// Measures and tells, or works for the bench of another process.
    pub(crate) fn run(self, out: &mut Out) -> Result<(), Failure> {
        if let Some((shelf, at)) = self.shelf.zip(self.at.as_deref()) {
            let value_bytes = self.value_bytes.first().copied().unwrap_or(VALUE_BYTES[0]);
            let content = Content { items: self.items(), value_bytes };
            return work::work(shelf, at, content, self.seed, out);
        }
        let mess = Mess::new()?;
        let host = Host::new(&mess)?;
        let wanted = self.peers.as_deref().unwrap_or(&Peer::ALL);
        let mut report = Report::new(self.effort, self.items(), wanted)?;
        let lengths =
            if self.value_bytes.is_empty() { &VALUE_BYTES[..] } else { &self.value_bytes };
        for &value_bytes in lengths {
            let content = Content { items: self.items(), value_bytes };
            self.measure(content, &mess, &host, &mut report)?;
        }
        drop(mess);
        if let Some(path) = &self.csv {
            fs::write(path, report.to_csv())
                .map_err(|error| Failure::from(error).within(&path.to_string_lossy()))?;
        }
        if self.json { out.json(&report.to_json()) } else { Ok(report.print(out)?) }
    }

    fn items(&self) -> u32 {
        self.items.unwrap_or(if self.effort.quick { QUICK_ITEMS } else { ITEMS })
    }

    /// Measures all settings with values of one length.
    fn measure(
        &self,
        content: Content,
        mess: &Mess,
        host: &Host<'_>,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let progress = Progress::new();
        progress.say(format_args!("filling with values of {} bytes", content.value_bytes));
        let (ours, first_read_ns) = ours(content, mess)?;
        ours.workers[0].tell("grow")?;
        report.longest_ns.push((content.value_bytes, ours.workers[0].hear_numbers()?));
        report.first_read_ns.push((content.value_bytes, first_read_ns));
        report.tidy_ns.push((content.value_bytes, ours.tidy_ns));
        let mut contestants = vec![ours, map(content, mess)?];
        for peer in report.installed() {
            contestants.push(theirs(peer, content, mess, host)?);
        }
        let item_bytes = contestants.iter().map(|one| (one.name, one.item_bytes));
        report.item_bytes.push((content.value_bytes, item_bytes.collect()));
        let fill_ns = contestants.iter().map(|one| (one.name, one.fill_ns));
        let boxed = ("boxed map", boxed_fill_ns(content, mess)?);
        report.fill_ns.push((content.value_bytes, fill_ns.chain([boxed]).collect()));
        let sample = if self.effort.quick { QUICK_SAMPLE } else { SAMPLE };
        for setting in Setting::all(content.value_bytes) {
            progress.say(setting);
            let can = |one: &&Contestant<'_>| one.workers.len() >= setting.processes;
            let able: Vec<_> = contestants.iter().filter(can).collect();
            let samples = interleave(&able, self.effort, |one| one.measure(setting, sample))?;
            let rows = able.iter().zip(samples);
            let rows = rows.map(|(one, per_s)| Row { name: one.name, per_s }).collect();
            report.answers.push(Answer { setting, rows });
        }
        // Now, not in the end: the next values need the room.
        drop(contestants);
        Ok(Shared::remove(&store_name(content)?)?)
    }
}

impl<'a> Contestant<'a> {
    /// One with nothing measured yet.
    fn new(name: &'static str, workers: Vec<Worker<'a>>, server: Option<Server<'a>>) -> Self {
        Contestant { name, workers, item_bytes: 0.0, fill_ns: 0.0, tidy_ns: 0.0, _server: server }
    }

    /// Operations a second of as many processes as the setting wants.
    fn measure(&self, setting: Setting, sample: Duration) -> Result<f64, Failure> {
        let workers = &self.workers[..setting.processes];
        let run = setting.command(sample);
        workers.iter().try_for_each(|worker| worker.tell(&run))?;
        let mut per_s = 0.0;
        for worker in workers {
            per_s += worker.hear_rate().map_err(|failure| failure.within(self.name))?;
        }
        Ok(per_s)
    }

    /// Has the first worker put everything in, and tidy; `resident` says how much memory is in use.
    fn filled(
        mut self,
        content: Content,
        resident: impl Fn(&Self) -> Result<u64, Failure>,
    ) -> Result<Self, Failure> {
        let before = resident(&self)?;
        self.workers[0].tell("fill")?;
        let per_s = self.workers[0].hear_rate().map_err(|failure| failure.within(self.name))?;
        self.fill_ns = 1e9 / per_s;
        self.workers[0].tell("tidy")?;
        self.tidy_ns =
            self.workers[0].hear_number().map_err(|failure| failure.within(self.name))?;
        let after = resident(&self)?;
        self.item_bytes = (after as f64 - before as f64) / f64::from(content.items);
        Ok(self)
    }
}

fn store_name(content: Content) -> Result<Name, Failure> {
    Ok(format!("bench-{}-{}", process::id(), content.value_bytes).parse()?)
}

/// Our store, and two processes attached to it; and the nanoseconds for each item that the second
/// took to read them all for the first time.
fn ours<'a>(content: Content, mess: &'a Mess) -> Result<(Contestant<'a>, f64), Failure> {
    let name = store_name(content)?;
    mess.add_store(&name);
    let memory_bytes = memory_bytes(content);
    drop(Shared::create(&name, &Create { memory_bytes, mode: 0o600, evict: Evict::None })?);
    let worker = |seed| Worker::start(mess, (ShelfName::Ours, name.as_str()), content, seed);
    let workers = vec![worker(1)?, worker(2)?];
    let contestant =
        Contestant::new("morecore", workers, None).filled(content, |_| resident_bytes_of(&name))?;
    // The system maps each page for a process when that process first touches it: before this, the
    // second worker would measure that. What it costs is told for itself.
    contestant.workers[1].tell("read")?;
    let first_read_ns = 1e9 / contestant.workers[1].hear_rate()?;
    Ok((contestant, first_read_ns))
}

/// A hash map, which has no second process.
fn map(content: Content, mess: &Mess) -> Result<Contestant<'_>, Failure> {
    let workers = vec![Worker::start(mess, (ShelfName::Map, "nowhere"), content, 1)?];
    Contestant::new("hash map", workers, None)
        .filled(content, |one| Ok(usage::private_bytes(one.workers[0].pid())?))
}

/// The nanoseconds for each item that are put into a map which has memory of its own for every key
/// and every value, as a store has.
fn boxed_fill_ns(content: Content, mess: &Mess) -> Result<f64, Failure> {
    let worker = Worker::start(mess, (ShelfName::Boxed, "nowhere"), content, 1)?;
    worker.tell("fill")?;
    Ok(1e9 / worker.hear_rate()?)
}

/// A peer, and two clients of it.
fn theirs<'a>(
    peer: Peer,
    content: Content,
    mess: &'a Mess,
    host: &Host<'a>,
) -> Result<Contestant<'a>, Failure> {
    let server = host.start(peer, Transport::Unix, memory_bytes(content))?;
    let pid = server.pid;
    let (shelf, place) = (ShelfName::of(peer), server.place.to_string());
    let worker = |seed| Worker::start(mess, (shelf, &place), content, seed);
    let workers = vec![worker(1)?, worker(2)?];
    let contestant = Contestant::new(peer.name(), workers, Some(server));
    contestant.filled(content, |_| Ok(usage::private_bytes(pid)?))
}

/// What a store or a peer may take.
fn memory_bytes(content: Content) -> u64 {
    let each = content.value_bytes as u64 + ROOM_BYTES;
    (u64::from(content.items) * each).max(MEMORY_BYTES_LEAST)
}

/// The bytes of a store's segment that stand in memory.
///
/// Source: proc(5) on `/proc/sysvipc/shm`, whose first line names the columns.
fn resident_bytes_of(name: &Name) -> Result<u64, Failure> {
    let listed = Shared::list()?.into_iter().find(|listed| listed.name == name.as_str());
    let id = listed.ok_or_else(|| Failure::new(format!("no segment of store {name}")))?.id;
    let table = fs::read_to_string("/proc/sysvipc/shm")?;
    Ok(resident_in(&table, id).unwrap_or(0))
}

fn resident_in(table: &str, id: i32) -> Option<u64> {
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let head = lines.next()?;
    let column = |name| head.iter().position(|word| *word == name);
    let (ids, resident) = (column("shmid")?, column("rss")?);
    let id = id.to_string();
    lines.find(|line| line.get(ids) == Some(&id.as_str()))?.get(resident)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::resident_in;

    #[test]
    fn a_segment_is_found_by_its_number() {
        let table = "  key shmid perms size rss swap\n 1 5 600 9 70 0\n 2 15 600 9 80 0\n";
        assert_eq!(resident_in(table, 15), Some(80));
        assert_eq!(resident_in(table, 1), None);
    }
}
