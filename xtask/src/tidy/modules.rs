//! Dead files: a source that no other names with `mod` is compiled by nobody.

use std::path::{Path, PathBuf};

use super::{Complaints, Source};

/// Complains about sources that nothing reaches.
pub(crate) fn check(sources: &[Source], complaints: &mut Complaints) {
    for source in sources.iter().filter(|source| !is_root(&source.path)) {
        let (name, parents) = parents(&source.path);
        let declaration = format!("mod {name};");
        let is_named = sources
            .iter()
            .filter(|other| parents.contains(&other.path))
            .any(|parent| parent.text.contains(&declaration));
        if !is_named {
            let what = format!("dead: no `{declaration}` where it would be looked for");
            complaints.about(source.path.display(), what);
        }
    }
}

/// Does Cargo itself begin here?
fn is_root(path: &Path) -> bool {
    let is_named = |name: &str| path.ends_with(name);
    let folder = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    ["src/main.rs", "src/lib.rs", "build.rs", "main.rs"].into_iter().any(is_named)
        || folder.is_some_and(|name| ["tests", "examples", "benches", "bin"].contains(&name))
}

/// The module's name, and the files that could name it.
fn parents(path: &Path) -> (String, Vec<PathBuf>) {
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut folder = path.parent().unwrap_or(path).to_path_buf();
    let mut name = stem(path);
    if name == "mod" {
        name = stem(&folder);
        folder.pop();
    }
    let files = ["lib.rs", "main.rs", "mod.rs"].map(|file| folder.join(file));
    (name, files.into_iter().chain([folder.with_extension("rs")]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_dead(files: &[(&str, &str)], expected: usize) {
        let sources: Vec<Source> = files
            .iter()
            .map(|(path, text)| Source { path: path.into(), text: (*text).to_string() })
            .collect();
        let mut complaints = Complaints::default();
        check(&sources, &mut complaints);
        assert_eq!(complaints.0.len(), expected, "{:?}", complaints.0);
    }

    #[test]
    fn what_nobody_names_is_dead() {
        check_dead(&[("c/src/lib.rs", "mod a;"), ("c/src/a.rs", "")], 0);
        check_dead(&[("c/src/lib.rs", ""), ("c/src/a.rs", "")], 1);
        check_dead(
            &[("c/src/a.rs", "mod b;"), ("c/src/a/b.rs", ""), ("c/src/lib.rs", "mod a;")],
            0,
        );
        check_dead(
            &[("c/src/main.rs", "mod a;"), ("c/src/a/mod.rs", "mod b;"), ("c/src/a/b.rs", "")],
            0,
        );
        check_dead(&[("c/tests/it/main.rs", "mod a;"), ("c/tests/it/a.rs", "")], 0);
    }
}
