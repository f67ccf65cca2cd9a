//! `morecore serve`: a store, reachable over TCP and Unix sockets.

mod config;
mod flags;

use std::io::Write;
use std::process;

use morecore_server::Listening;
use morecore_store::{Create, Error, Name, Store};

use crate::commands::serve::flags::Flags;
use crate::failure::Failure;
use crate::output::Out;
use crate::quantity::show_bytes;
use crate::target::Target;

/// The size of a store that nobody gave a size, as `create` has it.
const MEMORY_BYTES: u64 = 1 << 30;

/// Serves a store over TCP, to clients of Redis and memcached
#[derive(clap::Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    flags: Flags,
}

impl Serve {
    /// Serves until SIGTERM or SIGINT; the store stays.
    pub(crate) fn run(self, out: &mut Out) -> Result<(), Failure> {
        let flags = self.flags.with_config()?;
        let name = self.target.name();
        // The doors come first: where they cannot be opened, no store is made and left behind.
        let doors = Listening::open(flags.options()).map_err(Failure::new)?;
        let store = attach_or_create(name, &flags)?;
        let mut server = doors.before(store).map_err(Failure::new)?;
        server.stop_on_signals().map_err(Failure::new)?;
        let port = server.port().map_or("off".to_string(), |port| port.to_string());
        let (model, pid) = (server.model(), process::id());
        writeln!(out, "ready port={port} admin=off store={name} model={model} pid={pid}")?;
        out.flush()?;
        server.run().map_err(Failure::new)
    }
}

/// Joins the store, or makes it if it is not there.
fn attach_or_create(name: &Name, flags: &Flags) -> Result<Store, Failure> {
    match Store::attach(name) {
        Ok(store) => {
            tell_if_other_size(&store, name, flags);
            Ok(store)
        }
        Err(Error::NoSuchStore { .. }) => {
            let how = Create {
                memory_bytes: flags.memory_bytes().unwrap_or(MEMORY_BYTES),
                evict: flags.evict(),
                ..Create::default()
            };
            match Store::create(name, &how) {
                // Another made it since we looked.
                Err(Error::Exists { .. }) => Ok(Store::attach(name)?),
                made => Ok(made?),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// A store keeps the size that it was made with; who asks for another one should know.
fn tell_if_other_size(store: &Store, name: &Name, flags: &Flags) {
    let found = store.memory_bytes();
    if let Some(wanted) = flags.memory_bytes().filter(|wanted| *wanted != found) {
        let (found, wanted) = (show_bytes(found), show_bytes(wanted));
        eprintln!("morecore: store {name} exists with {found}; it keeps that, not {wanted}");
    }
}
