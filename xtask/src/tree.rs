//! The tree of the project: where it is, and its source files as text.

use std::fs;
use std::path::{Path, PathBuf};

/// The workspace's directory: the one above this package.
pub(crate) fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// One Rust source file.
pub(crate) struct Source {
    /// Where it is, from the workspace's directory.
    pub(crate) path: PathBuf,
    /// What stands in it.
    pub(crate) text: String,
}

impl Source {
    /// Does it hold nothing but tests? Those may be long.
    pub(crate) fn is_test(&self) -> bool {
        let is_test_dir = |part: &str| part == "tests" || part == "benches" || part == "fuzz";
        let mut parts = self.path.iter().filter_map(|part| part.to_str());
        parts.any(is_test_dir) || self.path.ends_with("tests.rs")
    }

    /// Its lines, with their numbers from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// Its lines up to the tests at its end.
    pub(crate) fn lines_before_tests(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self
            .text
            .find("#[cfg(test)]\nmod tests {")
            .map_or(usize::MAX, |at| self.text[..at].lines().count());
        self.lines().take(end)
    }
}

/// Every Rust source file of the workspace, in the order of their paths.
pub(crate) fn sources() -> Result<Vec<Source>, String> {
    let mut found = Vec::new();
    for directory in ["crates", "xtask"] {
        collect(&root().join(directory), &mut found)?;
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

/// Adds the sources below `directory`.
fn collect(directory: &Path, found: &mut Vec<Source>) -> Result<(), String> {
    let told = |error| format!("{}: {error}", directory.display());
    for entry in fs::read_dir(directory).map_err(told)? {
        let path = entry.map_err(told)?.path();
        if path.is_dir() {
            if !path.ends_with("target") {
                collect(&path, found)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = read(&path)?;
            let path = path.strip_prefix(root()).unwrap_or(&path).to_path_buf();
            found.push(Source { path, text });
        }
    }
    Ok(())
}

/// A file as text, or a sentence that names it.
pub(crate) fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}
