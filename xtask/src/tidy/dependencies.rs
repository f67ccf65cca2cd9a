//! Who may name whom: ARCHITECTURE.md's table held against the manifests, and every licence against
//! a list.
//!
//! Source: the Cargo book, "cargo metadata"; SPDX licence expressions.

use std::process::Command;

use serde_json::Value;

use super::{Complaints, Source};
use crate::tree;

/// Licences under which others' code may become part of a program under MIT or Apache-2.0 without
/// another duty than to name them.
const LICENCES: [&str; 10] = [
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "Unlicense",
];

/// What every package of ours but the chores is named with.
const PREFIX: &str = "morecore-";

/// A row of the table: a crate, what it may depend on, and whether it may be unsafe.
struct Row {
    name: String,
    allowed: Vec<String>,
    is_safe: bool,
}

/// Complains about dependencies that the table does not allow, `unsafe` that is not forbidden where
/// it must be, and licences that are not on the list.
///
/// # Errors
/// - `cargo metadata` does not run, or says what no Cargo says.
pub(crate) fn check(
    architecture: &str,
    sources: &[Source],
    complaints: &mut Complaints,
) -> Result<(), String> {
    let rows = rows(architecture);
    let metadata = metadata()?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata has no packages")?;
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        if !package["source"].is_null() {
            let licence = package["license"].as_str().unwrap_or("no licence");
            if !is_licence_fine(licence) {
                complaints.about(name, format!("licence `{licence}` is not on the list"));
            }
        } else if let Some(short) = name.strip_prefix(PREFIX) {
            match rows.iter().find(|row| row.name == short) {
                Some(row) => check_package(row, package, complaints),
                None => complaints.about("ARCHITECTURE.md", format!("no row for `{short}`")),
            }
        }
    }
    for row in rows.iter().filter(|row| row.is_safe) {
        check_safe(row, sources, complaints);
    }
    Ok(())
}

/// What a package depends on, development aside, must stand in its row.
fn check_package(row: &Row, package: &Value, complaints: &mut Complaints) {
    for dependency in package["dependencies"].as_array().into_iter().flatten() {
        let name = dependency["name"].as_str().unwrap_or_default();
        let short = name.strip_prefix(PREFIX).unwrap_or(name);
        if dependency["kind"] != "dev" && !row.allowed.iter().any(|allowed| allowed == short) {
            complaints.about(&row.name, format!("may not depend on `{short}`"));
        }
    }
}

/// A crate that the table calls safe must make the compiler say so.
fn check_safe(row: &Row, sources: &[Source], complaints: &mut Complaints) {
    let roots = ["lib.rs", "main.rs"].map(|file| format!("crates/{}/src/{file}", row.name));
    for source in
        sources.iter().filter(|source| roots.iter().any(|root| source.path.ends_with(root)))
    {
        if !source.text.contains("#![forbid(unsafe_code)]") {
            complaints.at(&source.path, 1, "no `#![forbid(unsafe_code)]`");
        }
    }
}

/// The rows of the table whose head begins with `| Crate |`.
fn rows(architecture: &str) -> Vec<Row> {
    architecture
        .lines()
        .skip_while(|line| !line.starts_with("| Crate |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .filter_map(|line| {
            let mut cells = line.split('|').skip(1).map(str::trim);
            let name = cells.next()?.to_string();
            let allowed = cells.next()?;
            let is_safe = cells.next()? == "forbidden";
            let allowed = allowed.split(", ").filter(|word| *word != "nothing");
            Some(Row { name, allowed: allowed.map(str::to_string).collect(), is_safe })
        })
        .collect()
}

/// Is there a way through the expression that needs only licences of the list? Expressions in the
/// wild are alternatives, at most joined by AND, so parentheses need no stack.
fn is_licence_fine(expression: &str) -> bool {
    let plain = expression.replace(['(', ')'], "").replace('/', " OR ");
    plain
        .split(" AND ")
        .all(|part| part.split(" OR ").any(|licence| LICENCES.contains(&licence.trim())))
}

/// All packages that the lock file names, as Cargo tells them.
fn metadata() -> Result<Value, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--quiet"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .arg("--manifest-path")
        .arg(tree::root().join("Cargo.toml"))
        .output()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr)));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_need_one_way_through() {
        assert!(is_licence_fine("MIT"));
        assert!(is_licence_fine("MIT OR GPL-3.0"));
        assert!(is_licence_fine("MIT/Apache-2.0"));
        assert!(is_licence_fine("(MIT OR Apache-2.0) AND Unicode-3.0"));
        assert!(!is_licence_fine("MIT AND GPL-3.0"));
        assert!(!is_licence_fine("no licence"));
    }

    #[test]
    fn rows_are_read() {
        let rows = rows(
            "x\n| Crate | May depend on | Unsafe |\n| --- | --- | --- |\n\
                         | sys | libc, io-uring | yes |\n| wire | nothing | forbidden |\n\nend",
        );
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].allowed, ["libc", "io-uring"]);
        assert!(rows[1].is_safe && rows[1].allowed.is_empty());
    }
}
