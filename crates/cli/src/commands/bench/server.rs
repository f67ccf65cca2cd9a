//! `morecore bench server`: our models beside each other, and beside servers that others wrote.
//!
//! ```text
//! core 0: the servers, all started, one of them asked        core 1: the load
//! for each setting, for each round:  epoll thread ... redis memcached, in turn
//! ```
//!
//! Question: how many commands does a core of the server answer in a second, what does each cost
//! it, and how long does a client wait? Rivals: redis-server and memcached, if installed; and the
//! floor, a server that only reads and writes.

mod batch;
mod contest;
mod csv;
mod floor;
mod histogram;
mod load;
mod picture;
mod report;
mod setting;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use morecore_server::Model;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use self::contest::{Answer, Contestant};
pub(super) use self::floor::Floor;
use self::load::Waiting;
use self::report::Report;
use self::setting::{Extent, Only, Setting};
use super::cores::{self, Cores};
use super::peers::{Host, Peer, Transport};
use super::rounds::{Effort, Progress};
use crate::failure::Failure;
use crate::mess::Mess;
use crate::output::Out;

/// Keys that are set before anything is measured: with their values more than a core's own caches
/// hold, so that a server has to find each one.
const KEYS: u32 = 100_000;

/// With `--quick`, where nothing is to be learned of memory.
const QUICK_KEYS: u32 = 1000;

/// How long a load runs for one sample: thousands of batches even where each takes long.
const SAMPLE: Duration = Duration::from_millis(400);

/// With `--quick`.
const QUICK_SAMPLE: Duration = Duration::from_millis(20);

/// All keys with values of 1 KiB, twice over.
const MEMORY_BYTES: u64 = 512 << 20;

/// Measures the server against redis-server and memcached, with commands over TCP and Unix sockets
#[derive(clap::Args)]
pub(crate) struct Server {
    #[command(flatten)]
    effort: Effort,
    /// Every combination of transport, command, length, connections and pipeline
    #[arg(long, conflicts_with = "quick")]
    full: bool,
    #[command(flatten)]
    only: Only,
    /// Have our servers look for more work before they sleep, as `serve --busy-poll`
    #[arg(long = "busy-poll", value_name = "MICROSECONDS", num_args = 0..=1)]
    #[arg(default_missing_value = "1000", require_equals = true)]
    busy_poll_us: Option<u32>,
    /// Have the load ask again and again, where clients mostly sleep until they are answered
    #[arg(long)]
    spin: bool,
    /// How long each sample is [default: 400]; the shorter, the fewer of them a pause of the
    /// machine meets
    #[arg(long = "sample", value_name = "MILLISECONDS", conflicts_with = "quick")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    sample_ms: Option<u32>,
    /// Whom to measure against [default: all that are installed]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PEER,...")]
    peers: Option<Vec<Peer>>,
    /// A picture of it, as SVG
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// Measure nothing: draw what earlier runs have written with --csv
    #[arg(long, value_delimiter = ',', value_name = "FILE,...", requires = "picture")]
    draw: Vec<PathBuf>,
    /// Also write what was found to a file, a line for each setting and contestant
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Server {
    /// Measures, and tells.
    pub(crate) fn run(self, out: &mut Out) -> Result<(), Failure> {
        if !self.draw.is_empty() {
            return self.draw_again();
        }
        admit_descriptors()?;
        let mess = Mess::new()?;
        let host = Host::new(&mess)?;
        let cores = Cores::find()?;
        let wanted = self.peers.as_deref().unwrap_or(&Peer::ALL);
        let mut report = Report::new(self.effort, cores, wanted)?;
        (report.busy_poll_us, report.is_spinning) = (self.busy_poll_us, self.spin);
        for transport in [Transport::Tcp, Transport::Unix] {
            let settings = self.settings(transport);
            if !settings.is_empty() {
                let contestants = self.start(&host, transport, &report.installed(), cores)?;
                self.measure(&settings, &contestants, &mut report)?;
            }
        }
        drop(mess);
        self.draw(&report.answers)?;
        if let Some(path) = &self.csv {
            fs::write(path, csv::write(&report.answers))
                .map_err(|error| Failure::from(error).within(&path.to_string_lossy()))?;
        }
        if self.json { out.json(&report.to_json()) } else { Ok(report.print(out)?) }
    }

    /// Draws what earlier runs have found.
    fn draw_again(&self) -> Result<(), Failure> {
        let mut text = String::new();
        for path in &self.draw {
            let read = fs::read_to_string(path);
            text += &read.map_err(|e| Failure::from(e).within(&path.to_string_lossy()))?;
        }
        self.draw(&csv::read(&text)?)
    }

    /// Draws the picture, if one is wanted.
    fn draw(&self, answers: &[Answer]) -> Result<(), Failure> {
        let Some(path) = &self.picture else { return Ok(()) };
        let svg = picture::draw(answers).map_err(Failure::new)?;
        fs::write(path, svg).map_err(|e| Failure::from(e).within(&path.to_string_lossy()))
    }

    /// What is measured over a transport.
    fn settings(&self, transport: Transport) -> Vec<Setting> {
        let extent = match (self.effort.quick, self.full) {
            (true, _) => Extent::Quick,
            (false, true) => Extent::Full,
            (false, false) => Extent::Usual,
        };
        let mut settings = extent.settings(transport);
        settings.retain(|setting| self.only.admits(setting));
        settings
    }

    /// Measures all settings of one transport.
    fn measure(
        &self,
        settings: &[Setting],
        contestants: &[Contestant<'_>],
        report: &mut Report,
    ) -> Result<(), Failure> {
        let usual = if self.effort.quick { QUICK_SAMPLE } else { SAMPLE };
        let sample = self.sample_ms.map_or(usual, |ms| Duration::from_millis(ms.into()));
        let keys = if self.effort.quick { QUICK_KEYS } else { KEYS };
        let progress = Progress::new();
        for (index, setting) in settings.iter().enumerate() {
            let say = |who: &str| {
                progress.say(format_args!("{} of {}: {setting}: {who}", index + 1, settings.len()));
            };
            say("filling");
            let is_new = index == 0 || settings[index - 1].value_bytes != setting.value_bytes;
            if is_new {
                contestants.iter().try_for_each(|contestant| contestant.fill(*setting, keys))?;
            }
            if index == 0 {
                for contestant in contestants {
                    let bytes = contestant.connection_bytes(*setting, keys)?;
                    report.memory.push((setting.transport, contestant.name.clone(), bytes));
                }
            }
            let answer = Answer::find(*setting, contestants, self.effort, (keys, sample), say)?;
            report.answers.push(answer);
        }
        Ok(())
    }

    /// Starts everybody on the core of the servers, and leaves this thread on that of the load.
    fn start<'a>(
        &self,
        host: &Host<'a>,
        transport: Transport,
        peers: &[Peer],
        cores: Option<Cores>,
    ) -> Result<Vec<Contestant<'a>>, Failure> {
        if let Some(cores) = cores {
            cores::pin(cores.server)?;
        }
        let mut contestants = Vec::new();
        for model in Model::ALL.into_iter().filter(|model| self.only.has(*model)) {
            let server = host.start_ours(model, transport, MEMORY_BYTES, self.busy_poll_us)?;
            contestants.push(Contestant::ours(model, server));
        }
        contestants.push(Contestant::floor(host.start_floor(transport)?));
        for peer in peers {
            let server = host.start(*peer, transport, MEMORY_BYTES)?;
            contestants.push(Contestant::theirs(*peer, server));
        }
        if let Some(cores) = cores {
            cores::pin(cores.load)?;
        }
        let waiting = if self.spin { Waiting::Asking } else { Waiting::Sleeping };
        Ok(contestants.into_iter().map(|contestant| contestant.under(waiting)).collect())
    }
}

/// Thousands of connections take more descriptors than a shell usually allows at first.
fn admit_descriptors() -> Result<(), Failure> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).map_err(std::io::Error::from)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, most, most).map_err(std::io::Error::from)?)
}
