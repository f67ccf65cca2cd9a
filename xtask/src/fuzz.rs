//! The fuzzers of `fuzz/`, built by the toolchain that builds all else: what instruments them is
//! LLVM's, and rustc passes it on.
//!
//! ```text
//!   build --> run on the saved corpus; what is new goes to a folder under target/ --> merge: what
//!   reaches code that nothing in the corpus does is added to it
//! ```
//!
//! Promises: the corpus only grows, and a fuzzer that finds something ends with its input in a file
//! and with an error here. Knows nothing of what the fuzzers ask.
//! Source: LLVM, libFuzzer and SanitizerCoverage; cargo-fuzz, which passes the same flags.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{USAGE, finish, tree};

/// What the compiler adds to each branch, so that libFuzzer sees where an input leads.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table";

/// And to each comparison, so that it sees which bytes are looked for.
const COMPARES: &str = "-Cllvm-args=-sanitizer-coverage-trace-compares";

/// With a target that is named, programs that run while building have no coverage.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// An input that takes longer than this hangs: the slowest needs a second on a busy machine, and a
/// machine may stand still for a minute.
const HANG_SECONDS: u32 = 300;

/// A fuzzer, and whether its comparisons are told: a parser compares its input with words. Whoever
/// walks a segment compares millions of times an input, with nothing that could be guessed.
const FUZZERS: [(&str, bool); 4] =
    [("connection", true), ("memcached", true), ("resp", true), ("segment", false)];

/// Runs all fuzzers, or the one that is named, for as long as is asked each: 10 minutes if nothing
/// is.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let (name, rest) = match arguments {
        [name, rest @ ..] if !name.starts_with('-') => (Some(name), rest),
        rest => (None, rest),
    };
    let seconds = (crate::minutes(rest)? * 60.0) as u64;
    let is_asked = |fuzzer: &str| name.is_none_or(|name| name == fuzzer);
    let asked: Vec<_> = FUZZERS.into_iter().filter(|(fuzzer, _)| is_asked(fuzzer)).collect();
    if asked.is_empty() {
        return Err(USAGE.to_string());
    }
    for (fuzzer, has_compares) in asked {
        let built = build(fuzzer, has_compares)?;
        fuzz(fuzzer, &built, seconds)?;
    }
    Ok(())
}

/// Builds a fuzzer, and returns where it is.
fn build(fuzzer: &str, has_compares: bool) -> Result<PathBuf, String> {
    // Other flags are another build of everything: each kind keeps its own.
    let (folder, compares) = if has_compares { ("fuzz", COMPARES) } else { ("fuzz-plain", "") };
    let folder = tree::root().join("target").join(folder);
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(tree::root().join("fuzz"));
    command.env("RUSTFLAGS", format!("{COVERAGE} {compares}")).env("CARGO_TARGET_DIR", &folder);
    finish(command.args(["build", "--release", "--target", TARGET, "--bin", fuzzer]))?;
    Ok(folder.join(TARGET).join("release").join(fuzzer))
}

/// Runs a fuzzer, and keeps what it found in the corpus.
fn fuzz(fuzzer: &str, built: &Path, seconds: u64) -> Result<(), String> {
    let corpus = tree::root().join("fuzz/corpus").join(fuzzer);
    let found = tree::root().join("target/fuzz-found").join(fuzzer);
    std::fs::create_dir_all(&found).map_err(|error| format!("{}: {error}", found.display()))?;
    let mut command = Command::new(built);
    // What ends the fuzzer is left where it runs.
    command.current_dir(&found);
    command.arg(format!("-max_total_time={seconds}")).arg(format!("-timeout={HANG_SECONDS}"));
    finish(command.args(["-verbosity=1", "-print_final_stats=1"]).args([&found, &corpus]))?;
    // How often a branch is taken is no reason to keep an input for good.
    let merge = ["-use_counters=0", "-set_cover_merge=1"];
    finish(Command::new(built).args(merge).args([&corpus, &found]))
}
