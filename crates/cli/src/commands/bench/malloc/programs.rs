//! Programs that many machines have, each with half a second of its usual work.
//!
//! In arguments and scripts, `{dir}` stands for the directory of the inputs and `{count}` for how
//! much is done.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fastrand::Rng;
use morecore_player::Measure;

use super::subject::Subject;
use crate::failure::Failure;

/// A program and what it is to do.
pub(super) struct Program {
    pub(super) name: &'static str,
    about: &'static str,
    /// What it is called in PATH.
    pub(super) command: &'static str,
    /// Other programs that must be there.
    pub(super) helpers: &'static [&'static str],
    /// Debian's package.
    pub(super) package: &'static str,
    arguments: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
    /// How much is done.
    count: usize,
    load: Option<&'static str>,
}

/// JSON there and back, a dictionary of strings, a sort: objects by the hundred thousand.
const PYTHON: &str = "import json, hashlib
d = [{'n': i, 's': 'x' * (i % 97), 'l': list(range(i % 13))} for i in range({count})]
t = json.dumps(d)
assert json.loads(t) == d
words = {}
for i in range({count} * 3): words.setdefault('word%d' % (i * 7919 % 50021), []).append(str(i))
t += ';'.join(w + ','.join(words[w]) for w in sorted(words))
print(hashlib.sha256(t.encode()).hexdigest())";

const PERL: &str = "my (%h, $n);
for my $i (0 .. {count}) { push @{$h{'word' . ($i * 7919 % 50021)}}, \"v$i\" }
for my $k (sort keys %h) { my $t = join ',', @{$h{$k}}; $t =~ s/(\\d+)/<$1>/g; $n += length $t }
print \"$n\\n\";";

const LUA: &str = "local t, n = {}, 0
for i = 1, {count} do
  local k = 'word' .. (i * 7919 % 50021)
  t[k] = t[k] or {}
  table.insert(t[k], { i, tostring(i) })
end
for k, v in pairs(t) do for _, p in ipairs(v) do n = n + #p[2] + p[1] % 7 end end
print(n)";

const SQL: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY, word TEXT, number INTEGER);
WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < {count})
INSERT INTO t SELECT i, 'word' || (i * 7919 % 50021), i * 31 % 1009 FROM c;
CREATE INDEX by_word ON t (word, number);
SELECT count(*), sum(number) FROM (SELECT word, max(number) AS number FROM t GROUP BY word);
SELECT sum(length(joined)) FROM (SELECT group_concat(word) AS joined FROM t GROUP BY number);";

/// What clients do to a server of 16 MiB and more: fill it, change sizes, look up, delete.
const REDIS_LOAD: &str = "S={dir}/redis.sock
for i in $(seq 500); do redis-cli -s $S ping && break; sleep 0.01; done
B=\"redis-benchmark -s $S -P 16 -r 60000 -n {count} -q\"
$B -d 200 -t set,get,lpush,sadd,hset && $B -d 700 -t set,get,incr
redis-cli -s $S shutdown nosave; exit 0";

/// All programs.
pub(super) const PROGRAMS: [Program; 11] = [
    Program {
        name: "python3",
        about: "JSON, dictionaries, a sort; on Python's own allocator for small objects",
        arguments: &["-c", PYTHON],
        count: 50_000,
        ..DEFAULT
    },
    Program {
        name: "python3-malloc",
        about: "the same with PYTHONMALLOC=malloc",
        arguments: &["-c", PYTHON],
        environment: &[("PYTHONMALLOC", "malloc")],
        count: 50_000,
        ..DEFAULT
    },
    Program {
        name: "perl",
        about: "a hash of arrays, a sort, substitutions",
        command: "perl",
        package: "perl",
        // The same order of hashes in every run.
        environment: &[("PERL_HASH_SEED", "0")],
        arguments: &["-e", PERL],
        count: 350_000,
        ..DEFAULT
    },
    Program {
        name: "lua",
        about: "a table of tables of strings",
        command: "lua",
        package: "lua5.4",
        arguments: &["-e", LUA],
        count: 250_000,
        ..DEFAULT
    },
    Program {
        name: "sqlite3",
        about: "a table in memory, an index, two groupings",
        command: "sqlite3",
        package: "sqlite3",
        arguments: &[":memory:", SQL],
        count: 250_000,
        ..DEFAULT
    },
    Program {
        name: "gcc",
        about: "compiles 600 functions with -O1",
        command: "gcc",
        package: "gcc",
        arguments: &["-O1", "-c", "{dir}/large.c", "-o", "/dev/null"],
        ..DEFAULT
    },
    Program {
        name: "clang",
        about: "the same, compiled by a C++ program",
        command: "clang",
        package: "clang",
        arguments: &["-O1", "-c", "{dir}/large.c", "-o", "/dev/null"],
        ..DEFAULT
    },
    Program {
        name: "rustfmt",
        about: "a Rust program, which lays out 3000 functions",
        command: "rustfmt",
        package: "rustfmt",
        arguments: &["--emit", "stdout", "--edition", "2024", "{dir}/large.rs"],
        ..DEFAULT
    },
    Program {
        name: "sort",
        about: "sorts a text",
        command: "sort",
        package: "coreutils",
        environment: &[("LC_ALL", "C")],
        arguments: &["{dir}/lines", "-o", "/dev/null"],
        ..DEFAULT
    },
    Program {
        name: "git",
        about: "repacks a repository of 1500 commits anew",
        command: "git",
        package: "git",
        arguments: &["-C", "{dir}/repo", "repack", "-adfq", "--window=20"],
        ..DEFAULT
    },
    Program {
        name: "redis-server",
        about: "filled, changed and asked by redis-benchmark; the server alone is measured",
        command: "redis-server",
        helpers: &["redis-cli", "redis-benchmark"],
        package: "redis-server redis-tools",
        arguments: &[
            "--port",
            "0",
            "--unixsocket",
            "{dir}/redis.sock",
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            "{dir}",
            "--logfile",
            "/dev/null",
        ],
        count: 60_000,
        load: Some(REDIS_LOAD),
        ..DEFAULT
    },
];

/// What a row need not say.
const DEFAULT: Program = Program {
    name: "",
    about: "",
    command: "python3",
    helpers: &[],
    package: "python3",
    arguments: &[],
    environment: &[],
    count: 0,
    load: None,
};

impl Program {
    /// This program in the file `path`, with its work.
    pub(super) fn subject(&self, path: PathBuf, measure: Measure, directory: &Path) -> Subject {
        let count = (self.count / measure.part as usize).max(1).to_string();
        let directory = directory.to_string_lossy();
        let fill = |text: &str| text.replace("{dir}", &directory).replace("{count}", &count);
        Subject {
            name: self.name,
            about: self.about,
            is_program: true,
            program: path,
            arguments: self.arguments.iter().map(|text| OsString::from(fill(text))).collect(),
            environment: self.environment.to_vec(),
            load: self.load.map(fill),
        }
    }
}

/// The program behind a wrapper: a `python3` may be a script that looks for one, and a `rustfmt`
/// one of rustup's.
pub(super) fn behind(program: &Program, path: PathBuf) -> PathBuf {
    let (mut asked, rest) = match program.command {
        "python3" => (Command::new(&path), ""),
        "rustfmt" => (Command::new("rustc"), "bin/rustfmt"),
        _ => return path,
    };
    match program.command {
        "python3" => asked.args(["-c", "import sys; print(sys.executable)"]),
        _ => asked.args(["--print", "sysroot"]),
    };
    match asked.output().map(|output| String::from_utf8(output.stdout)) {
        Ok(Ok(told)) if !told.trim().is_empty() => {
            let told = PathBuf::from(told.trim());
            if rest.is_empty() { told } else { told.join(rest) }
        }
        _ => path,
    }
}

/// Writes what the programs among `subjects` read, piece by piece: what this process has resident
/// counts as the least peak of all that it starts.
pub(super) fn write_inputs(
    subjects: &[Subject],
    measure: Measure,
    directory: &Path,
) -> Result<(), Failure> {
    let mut rng = Rng::with_seed(measure.seed);
    let share = |count: usize| (count / measure.part as usize).max(1);
    let create = |name: &str| File::create(directory.join(name)).map(BufWriter::new);
    for subject in subjects.iter().filter(|subject| subject.is_program) {
        match subject.name {
            "gcc" | "clang" => write_source(share(300), create("large.c")?)?,
            "rustfmt" => write_rust(share(3000), create("large.rs")?)?,
            "sort" => write_text(&mut rng, share(500_000), create("lines")?)?,
            "git" => {
                write_history(&mut rng, share(1500), create("history")?)?;
                make_repository(&directory.join("repo"), &directory.join("history"))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// A C file of so many pairs of functions, no two alike.
fn write_source(functions: usize, mut file: impl Write) -> io::Result<()> {
    writeln!(file, "typedef struct {{ int a, b; double c[4]; }} record;")?;
    for number in 0..functions {
        write!(
            file,
            "static int helper{number}(record *r, int n) {{\n\
             int sum = {number};\n\
             for (int i = 0; i < n; i++) {{\n\
             switch ((r->a + i) % 5) {{ case 0: sum += r->b * i; break; case 1: sum ^= {number};\n\
             break; case 2: r->c[i & 3] += sum * 0.5; break; default: sum -= i; }}\n\
             if (sum > {number}000) sum = (int)(r->c[0] + r->c[1] * {number});\n\
             }}\nreturn sum;\n}}\n\
             int function{number}(record *r, int n) {{\n\
             return helper{number}(r, n) + helper{number}(r + 1, n / 2) * n;\n}}\n"
        )?;
    }
    file.flush()
}

/// A Rust file of so many functions, each on one line that has to be broken.
fn write_rust(functions: usize, mut file: impl Write) -> io::Result<()> {
    for number in 0..functions {
        writeln!(
            file,
            "pub fn function{number}(first:&[u32],second:Option<usize>)->Result<Vec<u32>,String>{{\
             let sum:u32=first.iter().filter(|item|**item>{number})\
             .map(|item|item*{number}).sum();\
             match second {{Some(count) if count>{number}=>Ok(vec![sum;count]),\
             Some(_)=>Err(format!(\
             \"{{sum}} of {number}\")),None=>{{\
             if sum>1{{Ok(Vec::new())}}else{{Err(String::new())}}}}}}}}"
        )?;
    }
    file.flush()
}

/// Lines of a few words, in no order.
fn write_text(rng: &mut Rng, lines: usize, mut file: impl Write) -> io::Result<()> {
    for _ in 0..lines {
        writeln!(file, "{}", line(rng))?;
    }
    file.flush()
}

fn line(rng: &mut Rng) -> String {
    let (word, number) = (rng.u32(..50_000), rng.u32(..));
    format!("word{word} {number:x} and some more of line {}", rng.u32(..1000))
}

/// A history for `git fast-import`: each commit changes a line of one of 40 files.
fn write_history(rng: &mut Rng, commits: usize, mut file: impl Write) -> io::Result<()> {
    let mut files: Vec<Vec<String>> =
        (0..40).map(|_| (0..120).map(|_| line(rng)).collect()).collect();
    for commit in 0..commits {
        let index = commit % files.len();
        let changed = rng.usize(..files[index].len());
        files[index][changed] = format!("changed by commit {commit}");
        let contents = files[index].join("\n");
        let (length, time) = (contents.len(), 1_700_000_000 + commit);
        write!(
            file,
            "commit refs/heads/main\ncommitter A <a@example.org> {time} +0000\ndata 1\nx\n\
             M 100644 inline file{index}\ndata {length}\n{contents}\n"
        )?;
    }
    file.flush()
}

/// A bare repository with that history.
fn make_repository(path: &Path, history: &Path) -> Result<(), Failure> {
    let history = File::open(history)?;
    run_git(Command::new("git").args(["init", "-q", "--bare"]).arg(path))?;
    run_git(Command::new("git").arg("-C").arg(path).args(["fast-import", "--quiet"]).stdin(history))
}

fn run_git(command: &mut Command) -> Result<(), Failure> {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(Failure::new(format!("git: {status}"))) }
}
