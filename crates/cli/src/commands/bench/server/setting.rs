//! Settings: what is varied, and which combinations are worth a round.
//!
//! ```text
//! around   50 connections, 32 bytes: GET and SET, pipelines 1, 16, 64, both transports
//! besides  1, 1000 and 5000 connections; values of 1 and of 100 KiB
//! ```

use std::fmt;

use morecore_server::Model;
use serde_json::{Value, json};

use crate::commands::bench::language::Operation;
use crate::commands::bench::peers::Transport;

/// The lengths of values: a number or a name, a small document, and a page or a picture.
const VALUE_BYTES: [usize; 3] = [32, 1024, 100 << 10];

/// Commands in one write: clients that wait for each reply, those that gather, and bulk loaders.
const PIPELINES: [usize; 3] = [1, 16, 64];

/// Connections: one client alone, what redis-benchmark has, and many.
const CONNECTIONS: [usize; 4] = [1, 50, 1000, 5000];

/// The most bytes that may be under way to all connections at once: more would only measure how
/// servers swap, and redis-server keeps all of it in memory.
const UNDER_WAY_BYTES_MOST: usize = 256 << 20;

/// One way to load a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) transport: Transport,
    pub(super) operation: Operation,
    pub(super) value_bytes: usize,
    pub(super) connections: usize,
    pub(super) pipeline: usize,
}

/// Which settings are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// One of each kind.
    Quick,
    /// Those that differ in one thing from the usual one.
    Usual,
    /// Every combination.
    Full,
}

/// A part of the settings.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Only {
    /// Only these of our models
    #[arg(long, value_delimiter = ',', value_name = "MODEL,...", value_parser = model_named)]
    models: Vec<Model>,
    /// Only these commands
    #[arg(long, value_enum, value_delimiter = ',', value_name = "COMMAND,...")]
    operations: Vec<Operation>,
    /// Only with so many connections
    #[arg(long, value_delimiter = ',', value_name = "N,...")]
    connections: Vec<usize>,
    /// Only with so many commands in one write
    #[arg(long, value_delimiter = ',', value_name = "N,...")]
    pipelines: Vec<usize>,
    /// Only with values of so many bytes
    #[arg(long, value_delimiter = ',', value_name = "BYTES,...")]
    values: Vec<usize>,
    /// Only over these
    #[arg(long, value_enum, value_delimiter = ',', value_name = "TRANSPORT,...")]
    transports: Vec<Transport>,
}

/// Whether `one` is among `these`; what is not said admits everything.
fn is_among<T: PartialEq>(these: &[T], one: &T) -> bool {
    these.is_empty() || these.contains(one)
}

fn model_named(name: &str) -> Result<Model, String> {
    let names = || Model::ALL.map(Model::name).join(", ");
    let model = Model::ALL.into_iter().find(|model| model.name() == name);
    model.ok_or_else(|| format!("the models are {}", names()))
}

impl Only {
    /// Whether one of our models belongs to the part.
    pub(super) fn has(&self, model: Model) -> bool {
        is_among(&self.models, &model)
    }

    /// Whether a setting belongs to the part.
    pub(super) fn admits(&self, setting: &Setting) -> bool {
        is_among(&self.operations, &setting.operation)
            && is_among(&self.connections, &setting.connections)
            && is_among(&self.pipelines, &setting.pipeline)
            && is_among(&self.values, &setting.value_bytes)
            && is_among(&self.transports, &setting.transport)
    }
}

impl Extent {
    /// The settings over one transport, those with the same values next to each other.
    pub(super) fn settings(self, transport: Transport) -> Vec<Setting> {
        let mut settings = Vec::new();
        for value_bytes in VALUE_BYTES {
            for connections in CONNECTIONS {
                for operation in [Operation::Get, Operation::Set] {
                    let of = |pipeline| Setting {
                        transport,
                        operation,
                        value_bytes,
                        connections,
                        pipeline,
                    };
                    settings.extend(PIPELINES.map(of));
                }
            }
        }
        settings.retain(|setting| self.has(setting));
        settings
    }

    fn has(self, setting: &Setting) -> bool {
        let Setting { transport, operation, value_bytes, connections, pipeline } = *setting;
        if value_bytes * connections * pipeline > UNDER_WAY_BYTES_MOST {
            return false;
        }
        let is_small = value_bytes == VALUE_BYTES[0];
        let is_tcp = transport == Transport::Tcp;
        let is_get = operation == Operation::Get;
        match self {
            Extent::Full => true,
            Extent::Usual if connections == CONNECTIONS[1] => is_small || is_tcp,
            Extent::Usual => is_small && is_get && (is_tcp || pipeline == 1),
            Extent::Quick => is_small && is_get == is_tcp && connections == CONNECTIONS[1],
        }
    }
}

impl Setting {
    /// The same for programs.
    pub(super) fn to_json(self) -> Value {
        json!({
            "transport": self.transport.name(),
            "operation": self.operation.name(),
            "value_bytes": self.value_bytes,
            "connections": self.connections,
            "pipeline": self.pipeline,
        })
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setting { value_bytes, connections, pipeline, .. } = self;
        let (transport, operation) = (self.transport.name(), self.operation.name());
        let plural = if *connections == 1 { "" } else { "s" };
        write!(f, "{transport} {operation} of {value_bytes} B, ")?;
        write!(f, "{connections} connection{plural}, pipeline {pipeline}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(extent: Extent) -> (usize, usize) {
        (extent.settings(Transport::Tcp).len(), extent.settings(Transport::Unix).len())
    }

    #[test]
    fn extents_grow() {
        assert_eq!(count(Extent::Quick), (3, 3));
        assert_eq!(count(Extent::Usual), (25, 9));
        assert_eq!(count(Extent::Full), (58, 58));
    }

    #[test]
    fn a_setting_says_what_it_is() {
        let settings = Extent::Usual.settings(Transport::Unix);
        assert_eq!(settings[0].to_string(), "unix GET of 32 B, 1 connection, pipeline 1");
    }
}
