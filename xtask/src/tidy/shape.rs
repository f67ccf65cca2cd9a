//! The shape of a file: how wide, how long, and that it says what it is.

use super::{Complaints, Source};

/// Columns, so that two files stand beside each other on a screen.
const COLUMNS_MOST: usize = 100;

/// Lines of a file without its tests: more is more than one idea.
const FILE_LINES_MOST: usize = 500;

/// Lines of a function: a screen.
const FUNCTION_LINES_MOST: usize = 70;

/// Complains about what is too wide, too long, or does not begin by saying what it is.
pub(crate) fn check(sources: &[Source], complaints: &mut Complaints) {
    for source in sources {
        if !source.text.starts_with("//!") {
            complaints.at(&source.path, 1, "does not open with `//!`");
        }
        for (number, line) in source.lines() {
            let columns = line.chars().count();
            if columns > COLUMNS_MOST {
                let what = format!("{columns} columns, at most {COLUMNS_MOST}");
                complaints.at(&source.path, number, what);
            }
        }
        if !source.is_test() {
            check_lengths(source, complaints);
        }
    }
}

/// The lengths of the file and of each function in it.
fn check_lengths(source: &Source, complaints: &mut Complaints) {
    let count = source.lines_before_tests().count();
    if count > FILE_LINES_MOST {
        complaints.about(
            source.path.display(),
            format!("{count} lines without tests, at most {FILE_LINES_MOST}"),
        );
    }
    // rustfmt closes a function with a brace that stands as far in as the line that began it.
    let mut open: Option<(usize, usize)> = None;
    for (number, line) in source.lines_before_tests() {
        let indent = line.len() - line.trim_start().len();
        if is_function(line.trim_start()) && !line.trim_end().ends_with('}') {
            open = Some((number, indent));
        }
        if let Some((start, _)) = open.filter(|(_, at)| *at == indent && line.trim() == "}") {
            let lines = number - start + 1;
            if lines > FUNCTION_LINES_MOST {
                let what = format!("a function of {lines} lines, at most {FUNCTION_LINES_MOST}");
                complaints.at(&source.path, start, what);
            }
            open = None;
        }
    }
}

/// Does a function begin in this line?
fn is_function(line: &str) -> bool {
    let before = line.split("fn ").next().unwrap_or_default();
    let is_qualifier = |word: &str| {
        word.starts_with("pub") || ["const", "unsafe", "async", "extern", "\"C\""].contains(&word)
    };
    before.len() < line.len()
        && (before.is_empty() || before.ends_with(' '))
        && before.replace("pub(in ", "pub(").split_whitespace().all(is_qualifier)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_told_from_words() {
        for line in ["fn a() {", "pub(crate) const unsafe fn a() {", "pub extern \"C\" fn a() {"] {
            assert!(is_function(line), "{line}");
        }
        for line in ["let f: fn (u8) = g;", "// fn a() {", "const X: fn () = a;", "x.often fn "] {
            assert!(!is_function(line), "{line}");
        }
    }

    #[test]
    fn a_long_function_is_found_where_it_begins() {
        let body = "        work();\n".repeat(FUNCTION_LINES_MOST);
        let text = format!("//! X.\n\nimpl X {{\n    fn long() {{\n{body}    }}\n}}\n");
        let mut complaints = Complaints::default();
        check(&[Source { path: "x.rs".into(), text }], &mut complaints);
        assert_eq!(complaints.0, ["x.rs:4: a function of 72 lines, at most 70"]);
    }
}
