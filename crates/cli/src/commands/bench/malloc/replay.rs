//! The replay: a recorded program's calls, taken out of their archive before anything is measured.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::Path;

use morecore_player::recorded;
use zip::ZipArchive;

use super::subject::Subject;
use crate::failure::Failure;

/// What the subject is called, and what it is.
pub(super) const NAME: &str = "replay";
pub(super) const ABOUT: &str = "the recorded calls of a phone's user interface";

/// The file of the calls, among the inputs.
pub(super) const CALLS: &str = "calls";

/// Where the recording is, unless told: beside the tree, among what several trees share.
pub(super) const RECORDING: &str = "../shared/traces/systemui.zip";

/// Writes the calls of `recording` into `directory`, if they are among `subjects`.
pub(super) fn write_calls(
    subjects: &[Subject],
    recording: &Path,
    directory: &Path,
) -> Result<(), Failure> {
    if !subjects.iter().any(|subject| subject.name == NAME) {
        return Ok(());
    }
    let within = |failure: Failure| failure.within(&recording.display().to_string());
    let mut archive = ZipArchive::new(BufReader::new(File::open(recording)?))
        .map_err(|error| within(Failure::new(error)))?;
    let text = (0..archive.len()).find(|index| {
        let name = archive.name_for_index(*index).and_then(Result::ok).unwrap_or_default();
        Path::new(&*name).extension() == Some(OsStr::new("txt"))
    });
    let text = text.ok_or_else(|| within(Failure::new("no text in it")))?;
    let text = archive.by_index(text).map_err(|error| within(Failure::new(error)))?;
    let file = BufWriter::new(File::create(directory.join(CALLS))?);
    recorded::write(BufReader::new(text), file).map_err(|error| within(error.into()))
}
