//! `morecore bench`: ours beside whatever peers this machine has, in one run.
//!
//! ```text
//! contestants: ours, and each peer that is installed  --rounds.rs-->  samples
//!     samples --> medians with their spread, ratios pair by pair, geometric means
//! ```
//!
//! Promises: what is lost is told as plainly as what is won, and how to install the peers that are
//! missing.

mod contestant;
mod cores;
mod language;
mod malloc;
mod misuse;
mod peers;
mod rounds;
mod server;
mod store;
mod usage;

use crate::failure::Failure;
use crate::output::Out;

/// Measures against the peers that are installed
#[derive(clap::Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    face: Face,
}

/// What is measured.
#[derive(clap::Subcommand)]
enum Face {
    Malloc(malloc::Malloc),
    Misuse(misuse::Misuse),
    Store(store::Store),
    Server(server::Server),
    #[command(hide = true)]
    Floor(server::Floor),
}

impl Bench {
    /// Measures one face.
    pub(crate) fn run(self, out: &mut Out) -> Result<(), Failure> {
        match self.face {
            Face::Malloc(malloc) => malloc.run(out),
            Face::Misuse(misuse) => misuse.run(out),
            Face::Store(store) => store.run(out),
            Face::Server(server) => server.run(out),
            Face::Floor(floor) => floor.run(out),
        }
    }
}
