//! Every invariant of ARCHITECTURE.md is guarded by a test that exists.
//!
//! The section `## Invariants` is a numbered list; each point ends with `Guarded by` and the names
//! of tests in backquotes.

use super::{Complaints, Source};

/// Begins the list of tests in a point.
const GUARDED: &str = "Guarded by";

/// Complains about points without a guard, and guards that are not there.
pub(crate) fn check(architecture: &str, sources: &[Source], complaints: &mut Complaints) {
    let points = points(architecture);
    if points.is_empty() {
        complaints.about("ARCHITECTURE.md", "has no list under `## Invariants`");
    }
    for point in points {
        let title: String = point.chars().take(60).collect();
        let Some((_, guards)) = point.split_once(GUARDED) else {
            complaints.about("ARCHITECTURE.md", format!("no `{GUARDED}` in `{title}...`"));
            continue;
        };
        let names: Vec<&str> = guards.split('`').skip(1).step_by(2).collect();
        if names.is_empty() {
            complaints.about("ARCHITECTURE.md", format!("no test named in `{title}...`"));
        }
        for name in names {
            let function = format!("fn {}(", name.rsplit("::").next().unwrap_or(name));
            if !sources.iter().any(|source| source.text.contains(&function)) {
                complaints.about("ARCHITECTURE.md", format!("there is no test `{name}`"));
            }
        }
    }
}

/// The points of the numbered list, each in one line.
fn points(architecture: &str) -> Vec<String> {
    let section = architecture.split("\n## Invariants").nth(1).unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut points: Vec<String> = Vec::new();
    for line in section.lines() {
        let number = line.split(". ").next().unwrap_or_default();
        if !number.is_empty() && number.chars().all(|letter| letter.is_ascii_digit()) {
            points.push(line.to_string());
        } else if let Some(point) = points.last_mut().filter(|_| line.starts_with(' ')) {
            point.push(' ');
            point.push_str(line.trim());
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_that_is_not_there_is_missed() {
        let text = "# A\n\n## Invariants\n\n\
                    1. This holds.\n   Guarded by `it_holds`.\n\
                    2. That too. Guarded by `that_too`,\n   `it_holds`.\n\
                    3. Who knows.\n\n## Next\n";
        let source = Source { path: "a.rs".into(), text: "fn it_holds() {}".to_string() };
        let mut complaints = Complaints::default();
        check(text, &[source], &mut complaints);
        assert_eq!(
            complaints.0,
            [
                "ARCHITECTURE.md: there is no test `that_too`",
                "ARCHITECTURE.md: no `Guarded by` in `3. Who knows....`"
            ]
        );
    }
}
