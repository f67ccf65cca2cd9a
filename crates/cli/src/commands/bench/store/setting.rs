//! Settings: what is varied in a bench of stores.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::draw::Distribution;

/// The lengths of values, unless told: one that fits a line of the cache with its key, a record,
/// and a small document.
pub(super) const VALUE_BYTES: [usize; 3] = [32, RECORD_BYTES, 1024];

/// Of a record only the memory is told: its reads lie between those of the other two.
const RECORD_BYTES: usize = 200;

/// Keys in a call that reads many: as many as a page shows, and as goals are told for.
pub(super) const BATCH: usize = 16;

/// What there is to look up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content {
    /// How many items.
    pub(super) items: u32,
    /// The length of every value.
    pub(super) value_bytes: usize,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mix {
    /// Reads alone.
    Read,
    /// Reads alone, [`BATCH`] keys in a call.
    Batch,
    /// One set, of an item that is there, after nine reads.
    Mixed,
    /// Sets alone, of items that are there.
    Set,
    /// The same, [`BATCH`] keys in a call.
    SetBatch,
}

impl Mix {
    const ALL: [Mix; 5] = [Mix::Read, Mix::Batch, Mix::Mixed, Mix::Set, Mix::SetBatch];

    /// Its name in tables and commands.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Mix::Read => "read",
            Mix::Batch => "read-16",
            Mix::Mixed => "90/10",
            Mix::Set => "set",
            Mix::SetBatch => "set-16",
        }
    }

    /// The mix of this name.
    pub(super) fn named(name: &str) -> Option<Mix> {
        Mix::ALL.into_iter().find(|mix| mix.name() == name)
    }
}

/// One way to use a store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    pub(super) value_bytes: usize,
    pub(super) distribution: Distribution,
    pub(super) mix: Mix,
    pub(super) processes: usize,
}

impl Setting {
    /// All of them, those with the same keys next to each other.
    pub(super) fn all(value_bytes: usize) -> Vec<Setting> {
        let mut settings = Vec::new();
        if value_bytes == RECORD_BYTES {
            return settings;
        }
        for distribution in Distribution::ALL {
            for mix in Mix::ALL {
                let of = |processes| Setting { value_bytes, distribution, mix, processes };
                settings.extend([1, 2].map(of));
            }
        }
        settings
    }

    /// What a worker is told.
    pub(super) fn command(self, time: Duration) -> String {
        format!("run {} {} {}", self.distribution.name(), self.mix.name(), time.as_millis())
    }

    /// The same for programs.
    pub(super) fn to_json(self) -> Value {
        json!({
            "value_bytes": self.value_bytes,
            "distribution": self.distribution.name(),
            "mix": self.mix.name(),
            "processes": self.processes,
        })
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setting { value_bytes, distribution, mix, processes } = self;
        let plural = if *processes == 1 { "" } else { "es" };
        let (distribution, mix) = (distribution.name(), mix.name());
        write!(f, "{mix} of {value_bytes} B, {distribution}, {processes} process{plural}")
    }
}
