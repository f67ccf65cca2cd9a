//! One word for one thing: names that STYLE.md's first table keeps for elsewhere.
//!
//! The table is read from STYLE.md itself. Only names that are declared are looked at (functions,
//! types, modules, constants), word by word.

use std::collections::BTreeSet;

use super::{Complaints, Source};

/// Words of the table's right column that have a second meaning, which is the one used where they
/// stand: of the language and its library, of the system's calls, or of a protocol.
const ALSO_FINE: [&str; 38] = [
    "alloc", "dealloc", // the verbs of `GlobalAlloc`
    "block", "chunk", "page", "region", "segment", "map", "item", "unique", // of other rows
    "mem", "open", "cache", "header", "user", "client", "peer", "link", "pointer", "borrow",
    "guard", "request", "response", "run", "slot", "mode", "scan", "verify", "size", "class",
    "free", "list", "stats", "dump", // of Redis, coreutils, C and Linux
    "arena", "hook",    // glibc's own names
    "huge",    // the kernel's huge pages
    "session", // of a store: a participant and the transactions that it makes
];

/// What stands before a name that is declared.
const DECLARATIONS: [&str; 8] = ["fn", "struct", "enum", "trait", "type", "mod", "const", "static"];

/// Complains about declared names with a word that means something else here.
pub(crate) fn check(style: &str, sources: &[Source], complaints: &mut Complaints) {
    let banned = banned(style);
    for source in sources {
        for (number, line) in source.lines_before_tests() {
            let Some(name) = declared(line) else { continue };
            for word in words(name).into_iter().filter(|word| banned.contains(word)) {
                let what = format!("`{name}`: STYLE.md has another word for `{word}`");
                complaints.at(&source.path, number, what);
            }
        }
    }
}

/// The right column of the first table, less what is fine.
fn banned(style: &str) -> BTreeSet<String> {
    style
        .lines()
        .filter(|line| line.starts_with("| ") && line.split('|').count() == 5)
        .filter_map(|line| line.split('|').nth(3))
        .flat_map(|column| column.split(','))
        .map(|word| word.trim().to_ascii_lowercase())
        .filter(|word| word.chars().all(char::is_alphabetic) && !word.is_empty())
        .filter(|word| word != "elsewhere" && !ALSO_FINE.contains(&word.as_str()))
        .collect()
}

/// The name that a line declares, if it declares one.
fn declared(line: &str) -> Option<&str> {
    let line = line.trim_start();
    if line.starts_with("//") {
        return None;
    }
    let mut words = line.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    words.find(|word| DECLARATIONS.contains(word))?;
    words.find(|word| !word.is_empty() && !["fn", "unsafe", "mut"].contains(word))
}

/// `take_tcache` and `TakeTcache` are both `take` and `tcache`.
fn words(name: &str) -> Vec<String> {
    let mut words = Vec::new();
    for part in name.split('_') {
        let mut word = String::new();
        let mut was_lower = false;
        for letter in part.chars() {
            if letter.is_uppercase() && was_lower {
                words.push(std::mem::take(&mut word));
            }
            was_lower = letter.is_lowercase();
            word.extend(letter.to_lowercase());
        }
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fall_into_words() {
        assert_eq!(words("take_over"), ["take", "over"]);
        assert_eq!(words("TcacheBin"), ["tcache", "bin"]);
        assert_eq!(words("READ_BYTES"), ["read", "bytes"]);
    }

    #[test]
    fn only_declarations_count() {
        assert_eq!(declared("    pub(crate) unsafe fn take(x: u8) {"), Some("take"));
        assert_eq!(declared("pub const fn five() -> u8 {"), Some("five"));
        assert_eq!(declared("pub struct Tcache;"), Some("Tcache"));
        assert_eq!(declared("    let span = 5;"), None);
        assert_eq!(declared("/// fn of a span"), None);
    }

    #[test]
    fn the_table_is_found() {
        let style = "| Word | Meaning | Elsewhere |\n| --- | --- | --- |\n\
                     | core, source | memory got | backend, hook |\n";
        assert_eq!(banned(style), BTreeSet::from(["backend".to_string()]));
    }
}
