//! The commands, one file each: its arguments, and one `run`.

mod bench;
mod create;
mod del;
mod demo;
mod exists;
mod expire;
mod get;
mod incr;
mod keys;
mod lib;
mod ls;
mod map;
mod rm;
mod run;
mod scan;
mod serve;
mod set;
mod share;
mod stat;
mod ttl;
mod verify;

use crate::failure::Failure;
use crate::output::Out;

/// What the program can be asked to do, in the order of its help.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    Run(run::Run),
    Lib(lib::Lib),
    Create(create::Create),
    Ls(ls::Ls),
    Rm(rm::Rm),
    Get(get::Get),
    Set(set::Set),
    Del(del::Del),
    Incr(incr::Incr),
    Ttl(ttl::Ttl),
    Expire(expire::Expire),
    Exists(exists::Exists),
    Keys(keys::Keys),
    Scan(scan::Scan),
    Stat(stat::Stat),
    Map(map::Map),
    Verify(verify::Verify),
    Share(share::Share),
    Serve(serve::Serve),
    Demo(demo::Demo),
    Bench(bench::Bench),
}

impl Command {
    /// Does it, and gives the exit status of a command that did not fail.
    pub(crate) fn run(self, out: &mut Out) -> Result<u8, Failure> {
        let done = match self {
            Command::Run(run) => return run.run(),
            Command::Lib(lib) => lib.run(out),
            Command::Create(create) => create.run(out),
            Command::Ls(ls) => ls.run(out),
            Command::Rm(rm) => rm.run(),
            Command::Get(get) => get.run(out),
            Command::Set(set) => set.run(out),
            Command::Del(del) => del.run(out),
            Command::Incr(incr) => incr.run(out),
            Command::Ttl(ttl) => ttl.run(out),
            Command::Expire(expire) => expire.run(out),
            Command::Exists(exists) => exists.run(out),
            Command::Keys(keys) => keys.run(out),
            Command::Scan(scan) => scan.run(out),
            Command::Stat(stat) => stat.run(out),
            Command::Map(map) => map.run(out),
            Command::Verify(verify) => verify.run(out),
            Command::Share(share) => share.run(out),
            Command::Serve(serve) => serve.run(out),
            Command::Demo(demo) => demo.run(out),
            Command::Bench(bench) => bench.run(out),
        };
        done.map(|()| 0)
    }
}

/// What a full store does, as it is said on a command line.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Evict {
    /// Drop what was not used lately, expired entries first
    Policy,
    /// Refuse to store more
    None,
}

impl From<Evict> for morecore_store::Evict {
    fn from(evict: Evict) -> Self {
        match evict {
            Evict::Policy => morecore_store::Evict::Policy,
            Evict::None => morecore_store::Evict::None,
        }
    }
}
