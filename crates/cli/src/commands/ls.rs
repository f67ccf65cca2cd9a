//! `morecore ls`: the stores of this machine, or those in some files and directories.
//!
//! A segment is known to the system by its key, whether or not anybody has it. A file that nobody
//! has mapped is a file among all others: it is listed only if it, or its directory, is named.
//!
//! Promises: looks only, and says what it knows: nothing is listed that does not begin as a store.

use std::io::Write;
use std::path::{Path, PathBuf};

use morecore_store::{Error, Listed, ListedState, Name, Observer, Store};
use serde_json::{Value, json};

use crate::failure::{Failure, NO_STORE};
use crate::output::{Color, Out, escaped};
use crate::quantity::show_bytes;

mod mapped;

/// Lists the stores of this machine: segments, and files and memory that somebody has mapped
#[derive(clap::Args)]
pub(crate) struct Ls {
    /// One JSON array
    #[arg(long)]
    json: bool,
    /// Only the stores in these files, and directly in these directories, whether or not in use
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
}

/// A store as it is listed.
struct Row {
    /// What `--store` calls it; empty if it has no name that could be told.
    name: String,
    kind: Kind,
    bytes: u64,
    resident: Option<u64>,
    mode: u32,
    attached: u64,
    /// Who has it, as far as this user may look; of segments the system does not tell.
    pids: Vec<u32>,
    state: String,
}

/// Where it is.
enum Kind {
    Segment { id: i32, key: u32 },
    File,
    Memory,
}

impl Ls {
    /// Lists them by kind and name.
    pub(crate) fn run(self, out: &mut Out) -> Result<(), Failure> {
        let mapped = mapped::all();
        let (rows, failure) = if self.paths.is_empty() {
            let mut rows = segments()?;
            rows.extend(mapped.iter().filter_map(in_use));
            (rows, None)
        } else {
            at_paths(&self.paths, &mapped)
        };
        if self.json {
            out.json(&rows.iter().map(as_json).collect::<Vec<_>>())?;
        } else {
            print(&rows, out)?;
        }
        failure.map_or(Ok(()), Err)
    }
}

/// The stores in segments, also those that this user cannot use.
fn segments() -> Result<Vec<Row>, Failure> {
    let resident = resident_of_segments();
    let row = |store: Listed| Row {
        resident: resident.iter().find(|(id, _)| *id == store.id).map(|(_, bytes)| *bytes),
        kind: Kind::Segment { id: store.id, key: store.key },
        bytes: store.bytes,
        mode: store.mode,
        attached: store.attached,
        pids: Vec::new(),
        state: match store.state {
            ListedState::Ready => "ready".to_string(),
            ListedState::Unfinished => "unfinished".to_string(),
            ListedState::Layout { found } => format!("of another layout ({found})"),
            ListedState::Forbidden => "not readable for this user".to_string(),
        },
        name: store.name,
    };
    Ok(Store::list()?.into_iter().map(row).collect())
}

/// The number of each segment and its resident bytes, as the system counts them for everybody.
/// Source: proc_sysvipc_shm(5): the columns `shmid` and `rss`.
fn resident_of_segments() -> Vec<(i32, u64)> {
    let text = std::fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    let column = |name: &str| header.iter().position(|column| *column == name);
    let (Some(id), Some(rss)) = (column("shmid"), column("rss")) else { return Vec::new() };
    let of_line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        Some((fields.get(id)?.parse().ok()?, fields.get(rss)?.parse().ok()?))
    };
    lines.filter_map(of_line).collect()
}

/// What somebody has mapped, if it is a store.
fn in_use(mapped: &mapped::Mapped) -> Option<Row> {
    let observed = match mapped.open() {
        Some(Ok(descriptor)) => Store::observe_fd(descriptor.into()),
        // Only what is surely ours is listed though it cannot be looked at.
        Some(Err(_)) | None if mapped.is_memory() => {
            return Some(row_of(mapped, "not readable for this user".to_string(), None));
        }
        Some(Err(_)) | None => return None,
    };
    state_of(&observed).map(|state| row_of(mapped, state, observed.ok().as_ref()))
}

fn row_of(mapped: &mapped::Mapped, state: String, observer: Option<&Observer>) -> Row {
    let (kind, name) = match mapped.shared_at() {
        _ if !mapped.is_memory() => (Kind::File, format!("file:{}", mapped.path())),
        Some(socket) => (Kind::Memory, format!("unix:{socket}")),
        None => (Kind::Memory, String::new()),
    };
    let state = if mapped.is_removed() && !mapped.is_memory() { "removed".into() } else { state };
    Row {
        name,
        kind,
        bytes: mapped.bytes(),
        resident: observer.and_then(Observer::resident_bytes),
        mode: mapped.mode(),
        attached: mapped.pids().len() as u64,
        pids: mapped.pids().to_vec(),
        state,
    }
}

/// How a store is, in words; `None` if no store begins there.
fn state_of(observed: &Result<Observer, Error>) -> Option<String> {
    match observed {
        Ok(_) => Some("ready".to_string()),
        Err(Error::Damaged { what: NO_STORE, .. } | Error::TooSmall { .. }) => None,
        Err(Error::Layout { found, .. }) => Some(format!("of another layout ({found})")),
        Err(Error::Unclean) => Some("unclean: `verify --salvage` keeps what is whole".to_string()),
        Err(error) => Some(error.to_string()),
    }
}

/// The stores in files that were named, and in directories; and the first that was named in vain.
fn at_paths(paths: &[PathBuf], mapped: &[mapped::Mapped]) -> (Vec<Row>, Option<Failure>) {
    let (mut rows, mut failure) = (Vec::new(), None);
    for path in paths {
        let found = match std::fs::read_dir(path) {
            Ok(entries) => {
                let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
                files.sort();
                files.retain(|file| file.is_file());
                rows.extend(files.iter().filter_map(|file| at_path(file, mapped).ok().flatten()));
                continue;
            }
            Err(_) => at_path(path, mapped),
        };
        let shown = path.display().to_string();
        match found {
            Ok(Some(row)) => rows.push(row),
            Ok(None) => failure = Some(Failure::new(format!("{shown}: no store is in it"))),
            Err(error) => failure = Some(error.within(&shown)),
        }
    }
    (rows, failure)
}

fn at_path(path: &Path, mapped: &[mapped::Mapped]) -> Result<Option<Row>, Failure> {
    let told = std::fs::metadata(path)?;
    if !told.is_file() {
        return Ok(None);
    }
    let full = std::fs::canonicalize(path)?;
    let shown = full.display().to_string();
    if let Some(mapped) = mapped.iter().find(|one| one.path() == shown && !one.is_removed()) {
        return Ok(in_use(mapped));
    }
    let Ok(name) = Name::new(&format!("file:{shown}")) else { return Ok(None) };
    let observed = Store::observe(&name);
    let row = |state| Row {
        name: name.to_string(),
        kind: Kind::File,
        bytes: told.len(),
        resident: observed.as_ref().ok().and_then(Observer::resident_bytes),
        mode: mapped::mode_of(&told),
        attached: 0,
        pids: Vec::new(),
        state,
    };
    if let Err(Error::System { .. }) = &observed {
        return Err(observed.err().map_or_else(|| Failure::silent(1), Failure::from));
    }
    Ok(state_of(&observed).map(row))
}

/// A line each, under a heading.
fn print(rows: &[Row], out: &mut Out) -> std::io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "{:<24} {:>10} {:>10} {:>10} {:>4} {:>8}  STATE",
        "NAME", "KEY", "MEMORY", "RESIDENT", "MODE", "ATTACHED"
    )?;
    for row in rows {
        let shown = if row.name.is_empty() { "-".into() } else { escaped(row.name.as_bytes()) };
        let name = out.colored(Color::Cyan, format!("{shown:<24}"));
        let key = match row.kind {
            Kind::Segment { key, .. } => format!("0x{key:08x}"),
            Kind::File => "file".to_string(),
            Kind::Memory => "memory".to_string(),
        };
        let (bytes, mode, attached) = (show_bytes(row.bytes), row.mode, row.attached);
        let resident = row.resident.map_or("-".to_string(), show_bytes);
        let state = &row.state;
        writeln!(
            out,
            "{name} {key:>10} {bytes:>10} {resident:>10} {mode:04o} {attached:>8}  {state}"
        )?;
    }
    Ok(())
}

/// A store as a JSON object.
fn as_json(row: &Row) -> Value {
    let mut object = json!({
        "name": row.name,
        "kind": match row.kind {
            Kind::Segment { .. } => "segment",
            Kind::File => "file",
            Kind::Memory => "memory",
        },
        "memory_bytes": row.bytes,
        "resident_bytes": row.resident,
        "mode": format!("{:04o}", row.mode),
        "attached": row.attached,
        "state": row.state,
    });
    match row.kind {
        Kind::Segment { id, key } => {
            object["id"] = id.into();
            object["key"] = format!("0x{key:08x}").into();
        }
        Kind::File | Kind::Memory => object["pids"] = row.pids.clone().into(),
    }
    object
}
