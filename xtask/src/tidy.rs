//! Tidy: the rules of STYLE.md and ARCHITECTURE.md that a program can see.
//!
//! It runs as a test of this package as well, so that `cargo test` is the whole truth.

mod dependencies;
mod invariants;
mod modules;
mod shape;
mod words;

use std::path::Path;

use crate::tree::{self, Source};

/// What is not as it should be, one line each: where, and what.
#[derive(Default)]
pub(crate) struct Complaints(Vec<String>);

impl Complaints {
    /// Adds one about a line of a file.
    fn at(&mut self, path: &Path, line: usize, what: impl std::fmt::Display) {
        self.0.push(format!("{}:{line}: {what}", path.display()));
    }

    /// Adds one about something that has no line.
    fn about(&mut self, thing: impl std::fmt::Display, what: impl std::fmt::Display) {
        self.0.push(format!("{thing}: {what}"));
    }
}

/// Looks at the whole tree.
///
/// # Errors
/// - Every complaint, a line each, and their number.
pub(crate) fn run() -> Result<(), String> {
    let sources = tree::sources()?;
    let architecture = tree::read(&tree::root().join("ARCHITECTURE.md"))?;
    let style = tree::read(&tree::root().join("STYLE.md"))?;
    let mut complaints = Complaints::default();
    shape::check(&sources, &mut complaints);
    modules::check(&sources, &mut complaints);
    words::check(&style, &sources, &mut complaints);
    invariants::check(&architecture, &sources, &mut complaints);
    dependencies::check(&architecture, &sources, &mut complaints)?;
    match complaints.0.len() {
        0 => Ok(()),
        count => Err(format!("{}\ntidy: {count} complaints", complaints.0.join("\n"))),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_tree_is_tidy() {
        if let Err(complaints) = super::run() {
            panic!("\n{complaints}");
        }
    }
}
