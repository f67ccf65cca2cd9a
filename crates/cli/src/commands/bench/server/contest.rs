//! Contestants, and the answer to one setting: what each of them did, round by round.

use std::fs::File;
use std::io::{self, Write};
use std::time::Duration;

use morecore_server::Model;

use super::batch::{Batches, Content};
use super::floor;
use super::load::{Load, Waiting};
use super::setting::Setting;
use crate::commands::bench::language::{Language, Operation};
use crate::commands::bench::peers::{Peer, Server};
use crate::commands::bench::rounds::{Effort, interleave};
use crate::commands::bench::usage::{self, CpuTimes};
use crate::failure::Failure;

/// What the order of keys is made from: the same for everybody, and from run to run.
const SEED: u64 = 1;

/// A load runs this part of a sample's time before anything counts: connections are accepted.
const PRELUDE_PART: u32 = 8;

/// How many connections tell what one of them takes: so many that what the server has left over for
/// the first of them does not count. Where each is a process, which takes far more, fewer will do.
const MEMORY_CONNECTIONS: usize = 500;
const MEMORY_PROCESSES: usize = 50;

/// A server that is measured.
pub(super) struct Contestant<'a> {
    /// Its name in tables.
    pub(super) name: String,
    /// Is it one of our models?
    pub(super) is_ours: bool,
    language: Language,
    /// Does it know no commands, but only how long they are?
    is_floor: bool,
    /// How many connections are made to measure their memory.
    memory_connections: usize,
    waiting: Waiting,
    server: Server<'a>,
}

/// What one load found of one server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Commands answered in a second.
    pub(super) per_s: f64,
    /// The time of processors that the server spent on each, in nanoseconds.
    pub(super) cpu_ns: f64,
    /// How long half of the commands were waited for at most, in microseconds.
    pub(super) p50_us: f64,
    /// The same of 99 in 100.
    pub(super) p99_us: f64,
    /// The same of 999 in 1000.
    pub(super) p999_us: f64,
}

impl Sample {
    /// What a core of the server would answer in a second, if it had nothing else to do.
    pub(super) fn per_core_s(&self) -> f64 {
        1e9 / self.cpu_ns
    }

    /// The share of a core that the server took: well below 1, it was the load that was slow.
    pub(super) fn busy(&self) -> f64 {
        self.per_s * self.cpu_ns / 1e9
    }
}

/// What came of one setting.
pub(super) struct Answer {
    /// The setting.
    pub(super) setting: Setting,
    /// The samples of every contestant that can be measured so.
    pub(super) rows: Vec<Row>,
    /// Who cannot, and why not.
    pub(super) unable: Vec<(String, String)>,
}

/// A contestant and its samples, in the order of the rounds.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) is_ours: bool,
    pub(super) samples: Vec<Sample>,
}

impl<'a> Contestant<'a> {
    /// Our server under `model`.
    pub(super) fn ours(model: Model, server: Server<'a>) -> Contestant<'a> {
        let memory_connections = match model {
            Model::Process => MEMORY_PROCESSES,
            Model::Epoll | Model::Select | Model::Thread | Model::Uring => MEMORY_CONNECTIONS,
        };
        let contestant = Contestant::new(format!("morecore {model}"), Language::Resp, server);
        Contestant { is_ours: true, memory_connections, ..contestant }
    }

    /// Another's server.
    pub(super) fn theirs(peer: Peer, server: Server<'a>) -> Contestant<'a> {
        Contestant::new(peer.name().to_string(), peer.language(), server)
    }

    /// The floor.
    pub(super) fn floor(server: Server<'a>) -> Contestant<'a> {
        let contestant = Contestant::new("floor".to_string(), Language::Resp, server);
        Contestant { is_floor: true, ..contestant }
    }

    fn new(name: String, language: Language, server: Server<'a>) -> Contestant<'a> {
        Contestant {
            name,
            is_ours: false,
            language,
            is_floor: false,
            memory_connections: MEMORY_CONNECTIONS,
            waiting: Waiting::Sleeping,
            server,
        }
    }

    /// The same, under a load that waits so.
    pub(super) fn under(self, waiting: Waiting) -> Contestant<'a> {
        Contestant { waiting, ..self }
    }

    /// Sets every key to a value of the setting's length.
    pub(super) fn fill(&self, setting: Setting, keys: u32) -> Result<(), Failure> {
        if self.is_floor {
            return Ok(());
        }
        let each = setting.content(keys).fill(self.language);
        let mut load = self.open(setting, keys, 1)?;
        let sent = Batches::new(each).and_then(|batches| load.send_once(&batches));
        sent.map_err(|error| self.failed(error))
    }

    /// The private memory that the server takes for a connection which has asked for something.
    pub(super) fn connection_bytes(&self, setting: Setting, keys: u32) -> Result<f64, Failure> {
        let before = usage::private_bytes(self.server.pid)?;
        let setting = Setting { operation: Operation::Get, pipeline: 1, ..setting };
        let batches = self.batches(setting, keys)?;
        let mut load = self.open(setting, keys, self.memory_connections)?;
        load.run(&batches, Duration::ZERO).map_err(|error| self.failed(error))?;
        let after = usage::private_bytes(self.server.pid)?;
        Ok((after as f64 - before as f64) / self.memory_connections as f64)
    }

    /// One batch over each connection: a model may have a limit below what the setting wants.
    fn try_once(&self, setting: Setting, keys: u32) -> io::Result<()> {
        let batches = self.batches(setting, keys)?;
        let mut load = self.connect(setting, keys, setting.connections)?;
        load.run(&batches, Duration::ZERO).map(drop)
    }

    /// Loads the server for `time`, on connections of its own.
    fn measure(&self, setting: Setting, keys: u32, time: Duration) -> Result<Sample, Failure> {
        let batches = self.batches(setting, keys)?;
        let mut load = self.open(setting, keys, setting.connections)?;
        load.run(&batches, time / PRELUDE_PART).map_err(|error| self.failed(error))?;
        let before = CpuTimes::of(self.server.pid)?;
        let measured = load.run(&batches, time).map_err(|error| self.failed(error))?;
        let spent = CpuTimes::of(self.server.pid)?.since(&before);
        let us = |share| measured.times.quantile_ns(share) as f64 / 1000.0;
        Ok(Sample {
            per_s: measured.answered as f64 / measured.elapsed.as_secs_f64(),
            cpu_ns: spent.as_nanos() as f64 / measured.all as f64,
            p50_us: us(0.5),
            p99_us: us(0.99),
            p999_us: us(0.999),
        })
    }

    fn batches(&self, setting: Setting, keys: u32) -> io::Result<Batches> {
        let Setting { operation, pipeline, .. } = setting;
        Batches::new(setting.content(keys).batches(self.language, operation, pipeline, SEED))
    }

    fn open(&self, setting: Setting, keys: u32, connections: usize) -> Result<Load, Failure> {
        self.connect(setting, keys, connections).map_err(|error| self.failed(error))
    }

    fn connect(&self, setting: Setting, keys: u32, connections: usize) -> io::Result<Load> {
        let one = setting.content(keys).one(self.language, setting.operation);
        let beginning = floor::beginning(&one);
        Load::open(connections, self.waiting, || {
            let mut socket = File::from(self.server.place.connect()?);
            if self.is_floor {
                socket.write_all(&beginning)?;
            }
            Ok(socket.into())
        })
    }

    fn failed(&self, error: io::Error) -> Failure {
        Failure::new(error).within(&self.name)
    }
}

impl Answer {
    /// Measures every contestant, in turn; `say` is told which it is.
    pub(super) fn find(
        setting: Setting,
        contestants: &[Contestant<'_>],
        effort: Effort,
        (keys, time): (u32, Duration),
        say: impl Fn(&str),
    ) -> Result<Answer, Failure> {
        let (mut able, mut unable) = (Vec::new(), Vec::new());
        for contestant in contestants {
            match contestant.try_once(setting, keys) {
                Ok(()) => able.push(contestant),
                Err(error) => unable.push((contestant.name.clone(), error.to_string())),
            }
        }
        let samples = interleave(&able, effort, |one| {
            say(&one.name);
            one.measure(setting, keys, time)
        })?;
        let rows = able.into_iter().zip(samples).map(|(contestant, samples)| Row {
            name: contestant.name.clone(),
            is_ours: contestant.is_ours,
            samples,
        });
        Ok(Answer { setting, rows: rows.collect(), unable })
    }
}

impl Answer {
    /// What a contestant did, if it could.
    pub(super) fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }
}

impl Row {
    /// One number of every sample.
    pub(super) fn each(&self, number: impl Fn(&Sample) -> f64) -> Vec<f64> {
        self.samples.iter().map(number).collect()
    }
}

impl Setting {
    fn content(self, keys: u32) -> Content {
        Content::new(keys, self.value_bytes)
    }
}
