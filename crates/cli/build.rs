//! Builds `libmorecore.so` and `morecore-player` before the program that carries them.
//!
//! Cargo cannot yet make one package's shared library a file inside another (artifact dependencies
//! are unstable), so this calls Cargo once more, for `morecore-preload` and `morecore-player`, with
//! a target directory of its own: the outer Cargo holds the lock of the usual one.
//!
//! Promises: `cargo run`, `cargo test` and `cargo install` need no second step, and what is carried
//! is always optimised, also inside a debug build. Nothing is rebuilt unless its sources changed.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What both are made of, relative to the workspace: a change in any of these rebuilds
/// them.
const SOURCES: [&str; 7] = [
    "crates/heap",
    "crates/sys",
    "crates/malloc",
    "crates/preload",
    "crates/player",
    "Cargo.toml",
    "Cargo.lock",
];

/// What the outer Cargo, or a tool around it, says to every compiler that it starts. Lints,
/// coverage and wrappers such as clippy's are meant for the workspace, not for what
/// ships.
const NOT_INHERITED: [&str; 6] = [
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTFLAGS",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_RUSTFLAGS",
];

/// What is carried: the variables in which the program is told the files.
const CARRIED: [(&str, &str); 2] =
    [("MORECORE_LIBRARY", "libmorecore.so"), ("MORECORE_PLAYER", "morecore-player")];

fn main() -> Result<(), Box<dyn Error>> {
    let package = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let workspace = package.join("../..");
    println!("cargo::rerun-if-changed=build.rs");
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", workspace.join(source).display());
    }

    let target_dir = PathBuf::from(variable("OUT_DIR")?).join("carried");
    // What the outer Cargo resolved is on this machine already, so the first try needs no network
    // and changes no lock file. It can fail only where the outer one resolved anew, as `cargo
    // install` without `--locked` does; then the second try may do the same.
    let first = build(&workspace, &target_dir, &["--offline", "--locked"])?;
    if !first.status.success() {
        let second = build(&workspace, &target_dir, &[])?;
        if !second.status.success() {
            let says = String::from_utf8_lossy(&second.stderr);
            return Err(format!("libmorecore.so or morecore-player did not build:\n{says}").into());
        }
    }

    let built = target_dir.join(triple()?.unwrap_or_default()).join("preload");
    for (name, file) in CARRIED {
        let path = built.join(file);
        if !path.is_file() {
            return Err(format!("cargo built no {}", path.display()).into());
        }
        println!("cargo::rustc-env={name}={}", path.display());
    }
    Ok(())
}

/// Runs the inner Cargo and waits for it.
fn build(workspace: &Path, target_dir: &Path, flags: &[&str]) -> Result<Output, Box<dyn Error>> {
    let mut cargo = Command::new(variable("CARGO")?);
    cargo.args(["build", "--profile", "preload", "--quiet"]);
    cargo.args(["--package", "morecore-preload", "--package", "morecore-player"]);
    cargo.arg("--manifest-path").arg(workspace.join("Cargo.toml"));
    cargo.arg("--target-dir").arg(target_dir);
    cargo.args(flags);
    if let Some(triple) = triple()? {
        cargo.arg("--target").arg(triple);
    }
    for name in NOT_INHERITED {
        cargo.env_remove(name);
    }
    // Variables such as CARGO_PROFILE_RELEASE_LTO would give the library another shape.
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PROFILE_") {
            cargo.env_remove(name);
        }
    }
    Ok(cargo.output()?)
}

/// The machine to build for, where it is not the one that builds.
fn triple() -> Result<Option<OsString>, Box<dyn Error>> {
    let (target, host) = (variable("TARGET")?, variable("HOST")?);
    Ok((target != host).then_some(target))
}

/// A variable that Cargo sets for every build script.
fn variable(name: &str) -> Result<OsString, Box<dyn Error>> {
    env::var_os(name).ok_or_else(|| format!("cargo did not set {name}").into())
}
