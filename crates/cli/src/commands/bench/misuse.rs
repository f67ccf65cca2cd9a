//! `morecore bench misuse`: which malloc notices which misuse.
//!
//! ```text
//! misuse.c --cc--> a program --a process a misuse and malloc--> caught, crashed, unseen, hung
//! ```
//!
//! Caught is what the malloc ends, or tells of on standard error; a crash is the processor's doing,
//! and comes when and where it likes.
//!
//! Source: the idea, a set of small misuses played one by one, of the tests of hardened_malloc.

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::sys::signal::Signal;
use serde_json::{Map, Value, json};

use super::contestant::{self, Contestant};
use super::rounds::Progress;
use crate::carried;
use crate::failure::Failure;
use crate::mess::Mess;
use crate::output::{Color, Out};

/// The misuses, as a program in C.
const SOURCE: &str = include_str!("misuse/misuse.c");

/// What a misuse ends with that does not exist here: a function is missing, say.
const ABSENT: i32 = 3;

/// Which malloc notices which misuse
#[derive(clap::Args)]
pub(crate) struct Misuse {
    /// Play on these only: names, or paths of libraries to preload
    #[arg(long, value_delimiter = ',', value_name = "PEER,...")]
    peers: Vec<String>,
    /// Tell of each misuse, not of their groups only
    #[arg(long)]
    each: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// What became of a misuse.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Caught,
    Crashed,
    Unseen,
    Hung,
    Absent,
}

impl Fate {
    fn of(output: &Output) -> Fate {
        let signal = output.status.signal().and_then(|number| Signal::try_from(number).ok());
        match (signal, output.status.code()) {
            (Some(Signal::SIGALRM), _) => Fate::Hung,
            (Some(Signal::SIGSEGV | Signal::SIGBUS), _) if output.stderr.is_empty() => {
                Fate::Crashed
            }
            (_, Some(ABSENT)) => Fate::Absent,
            (_, Some(0)) if output.stderr.is_empty() => Fate::Unseen,
            _ => Fate::Caught,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Fate::Caught => "caught",
            Fate::Crashed => "crashed",
            Fate::Unseen => "unseen",
            Fate::Hung => "hung",
            Fate::Absent => "absent",
        }
    }
}

/// A misuse, and what became of it on each player's malloc.
struct Row {
    group: String,
    name: String,
    fates: Vec<Fate>,
}

/// A malloc, and how it is asked to behave.
struct Player {
    name: String,
    contestant: Contestant,
    conf: &'static str,
}

impl Misuse {
    /// Plays every misuse on every malloc.
    pub(crate) fn run(self, out: &mut Out) -> Result<(), Failure> {
        let players = players(&self.peers)?;
        let mess = Mess::new()?;
        let directory =
            std::env::temp_dir().join(format!("morecore-misuse-{}", std::process::id()));
        mess.add_directory(directory.clone());
        carried::make_private(&directory)?;
        let program = compile(&directory)?;
        let mut rows = list(&program)?;
        let progress = Progress::new();
        for (index, row) in rows.iter_mut().enumerate() {
            progress.say(format_args!("{}: {}", row.group, row.name));
            for player in &players {
                row.fates.push(Fate::of(&player.play(&program, index + 1)?));
            }
        }
        drop(progress);
        if self.json {
            out.json(&to_json(&players, &rows))
        } else {
            self.print(&players, &rows, out)
        }
    }

    fn print(&self, players: &[Player], rows: &[Row], out: &mut Out) -> Result<(), Failure> {
        let names = players.iter().map(|player| format!(" {:>10}", player.name));
        let head = format!("{:<18} {:>5}{}", "caught (crashed)", "all", names.collect::<String>());
        writeln!(out, "{}", out.colored(Color::Cyan, head))?;
        let mut groups: Vec<&str> = rows.iter().map(|row| row.group.as_str()).collect();
        groups.dedup();
        for group in groups {
            let of_group: Vec<&Row> = rows.iter().filter(|row| row.group == group).collect();
            print_sum(group, &of_group, players.len(), out)?;
        }
        print_sum("all", &rows.iter().collect::<Vec<_>>(), players.len(), out)?;
        if self.each {
            for Row { group, name, fates } in rows {
                let fates: String =
                    fates.iter().map(|fate| format!(" {:>10}", fate.name())).collect();
                writeln!(out, "{:<50}{fates}", format!("{group}: {name}"))?;
            }
        }
        Ok(())
    }
}

/// How many of these each malloc caught, and, if any, on how many the process crashed.
fn print_sum(name: &str, rows: &[&Row], players: usize, out: &mut Out) -> Result<(), Failure> {
    write!(out, "{name:<18} {:>5}", rows.len())?;
    for player in 0..players {
        let count = |wanted| rows.iter().filter(|row| row.fates[player] == wanted).count();
        let (caught, crashed) = (count(Fate::Caught), count(Fate::Crashed));
        let cell = if crashed == 0 { format!("{caught}") } else { format!("{caught} ({crashed})") };
        write!(out, " {cell:>10}")?;
    }
    Ok(writeln!(out)?)
}

fn to_json(players: &[Player], rows: &[Row]) -> Value {
    let row = |row: &Row| {
        let fates = players.iter().zip(&row.fates);
        let fates: Map<String, Value> =
            fates.map(|(player, fate)| (player.name.clone(), fate.name().into())).collect();
        json!({ "group": row.group, "name": row.name, "fates": fates })
    };
    json!({ "misuses": rows.iter().map(row).collect::<Vec<_>>() })
}

/// Ours as it is and hardened, and the peers.
fn players(peers: &[String]) -> Result<Vec<Player>, Failure> {
    let (contestants, _) = contestant::all(peers)?;
    let mut players: Vec<Player> = contestants
        .into_iter()
        .map(|contestant| Player { name: contestant.name.clone(), contestant, conf: "" })
        .collect();
    let ours = Contestant { name: "hardened".into(), library: carried::library()?.into() };
    players.insert(1, Player { name: ours.name.clone(), contestant: ours, conf: "harden:on" });
    Ok(players)
}

impl Player {
    fn play(&self, program: &Path, number: usize) -> Result<Output, Failure> {
        let mut command = Command::new(program);
        command.arg(number.to_string()).stdin(Stdio::null());
        command.env("LD_PRELOAD", &self.contestant.library).env("MORECORE_CONF", self.conf);
        Ok(command.output()?)
    }
}

/// Compiles the misuses, so that no compiler reasons about what it knows of malloc.
fn compile(directory: &Path) -> Result<PathBuf, Failure> {
    let (source, program) = (directory.join("misuse.c"), directory.join("misuse"));
    fs::write(&source, SOURCE)?;
    let mut compiler = Command::new("cc");
    compiler.args(["-O1", "-w", "-fno-builtin", "-pthread", "-o"]).arg(&program).arg(&source);
    let output = compiler.output().map_err(|error| Failure::from(error).within("cc"))?;
    if !output.status.success() {
        let says = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::new(format!("cc: {}: {}", output.status, says.trim())));
    }
    Ok(program)
}

/// The misuses that there are.
fn list(program: &Path) -> Result<Vec<Row>, Failure> {
    let output = Command::new(program).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let row = |line: &str| {
        let (group, name) = line.split_once('\t')?;
        Some(Row { group: group.to_string(), name: name.to_string(), fates: Vec::new() })
    };
    Ok(text.lines().filter_map(row).collect())
}
