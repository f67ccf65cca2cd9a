//! Batches: what a connection sends in one write, made before any clock runs, and the exact bytes
//! that must come back.
//!
//! ```text
//! sent      GET k1 | GET k2 | ... | GET kn      as many commands as the pipeline is long
//! expected  $32 vvvv | $32 vvvv | ...           compared whole: a wrong reply ends the bench
//! ```
//!
//! Promises: the same seed gives the same batches to every contestant. Making them costs the load
//! nothing while it runs. Long ones also stand in a file in memory, from which a socket is given
//! pages where it would copy bytes: a load that copies 100 KiB for each command has as much to do
//! as the server, and then it is the load that is measured.
//! Knows nothing of sockets.
//! Source: memfd_create(2), sendfile(2).

use std::fs::File;
use std::io::{self, Write};
use std::ops::Deref;

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::commands::bench::language::{Language, Operation};
use fastrand::Rng;

/// Commands of so many bytes are sent from a file: to pass on pages costs some microseconds, as
/// much as to copy so much.
const FILED_BYTES_LEAST: u64 = 32 << 10;

/// What all batches of a load may take, sent and expected together: half of a usual last cache, so
/// that sending them does not wait for memory.
const BATCHES_BYTES: usize = 16 << 20;

/// The most bytes of all values together: what has more is not measured better, but takes long.
const VALUES_BYTES_MOST: usize = 128 << 20;

/// The bytes around a value in a command and its reply, about.
const AROUND_BYTES: usize = 128;

/// More commands than this make no difference: most keys are asked for by then.
const COMMANDS_MOST: usize = 1 << 16;

/// How many commands are set in one batch while filling: few writes, and no socket's buffer full.
const FILL_PIPELINE: u32 = 64;

/// A write, and the replies to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    /// The commands.
    pub(super) sent: Vec<u8>,
    /// All that is answered to them.
    pub(super) expected: Vec<u8>,
    /// How many commands they are.
    pub(super) commands: u64,
}

/// The batches of a load.
pub(super) struct Batches {
    each: Vec<Batch>,
    /// Long ones, one behind the other, and where each begins.
    file: Option<(File, Vec<u64>)>,
}

impl Batches {
    /// Takes them, and puts them in a file if they are long.
    pub(super) fn new(each: Vec<Batch>) -> io::Result<Batches> {
        let is_long = |batch: &Batch| batch.sent.len() as u64 >= batch.commands * FILED_BYTES_LEAST;
        let file = if each.iter().all(is_long) { Some(filed(&each)?) } else { None };
        Ok(Batches { each, file })
    }

    /// The file in which the batch of this index stands, and where.
    pub(super) fn filed(&self, index: usize) -> Option<(&File, u64)> {
        self.file.as_ref().map(|(file, starts)| (file, starts[index]))
    }
}

impl Deref for Batches {
    type Target = [Batch];

    fn deref(&self) -> &[Batch] {
        &self.each
    }
}

/// What is sent of all batches, in a file in memory, and where each begins.
fn filed(each: &[Batch]) -> io::Result<(File, Vec<u64>)> {
    let mut file = File::from(memfd_create(c"batches", MFdFlags::MFD_CLOEXEC)?);
    let (mut starts, mut at) = (Vec::with_capacity(each.len()), 0);
    for batch in each {
        file.write_all(&batch.sent)?;
        starts.push(at);
        at += batch.sent.len() as u64;
    }
    Ok((file, starts))
}

/// What the keys of a bench are, and their values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Content {
    /// How many keys there are.
    pub(super) keys: u32,
    /// The length of every value.
    pub(super) value_bytes: usize,
}

impl Content {
    /// `keys` keys with values of so many bytes, or fewer keys where the values are long.
    pub(super) fn new(keys: u32, value_bytes: usize) -> Content {
        let most = u32::try_from(VALUES_BYTES_MOST / value_bytes.max(1)).unwrap_or(u32::MAX);
        Content { keys: keys.min(most), value_bytes }
    }

    /// Batches that ask for keys at random, as `seed` has them.
    pub(super) fn batches(
        self,
        language: Language,
        operation: Operation,
        pipeline: usize,
        seed: u64,
    ) -> Vec<Batch> {
        let mut rng = Rng::with_seed(seed);
        let each_bytes = self.value_bytes + AROUND_BYTES;
        let commands = (BATCHES_BYTES / each_bytes).clamp(pipeline, COMMANDS_MOST);
        let value = self.value();
        let batch = |_| {
            let numbers = (0..pipeline).map(|_| rng.u32(..self.keys));
            made_of(language, operation, numbers, &value)
        };
        (0..commands / pipeline).map(batch).collect()
    }

    /// One command and its reply: all others are as long.
    pub(super) fn one(self, language: Language, operation: Operation) -> Batch {
        made_of(language, operation, std::iter::once(0), &self.value())
    }

    /// Batches that set every key once.
    pub(super) fn fill(self, language: Language) -> Vec<Batch> {
        let value = self.value();
        let batch = |first| {
            let numbers = first..self.keys.min(first + FILL_PIPELINE);
            made_of(language, Operation::Set, numbers, &value)
        };
        (0..self.keys).step_by(FILL_PIPELINE as usize).map(batch).collect()
    }

    /// The value of every key: letters that no protocol could take for its own.
    fn value(self) -> Vec<u8> {
        b"0123456789abcdef".iter().copied().cycle().take(self.value_bytes).collect()
    }
}

/// One batch, for the keys of `numbers`.
fn made_of(
    language: Language,
    operation: Operation,
    numbers: impl Iterator<Item = u32>,
    value: &[u8],
) -> Batch {
    let mut batch = Batch::default();
    for number in numbers {
        let key = format!("key:{number:012}");
        let entry = (key.as_bytes(), value);
        language.add(operation, entry, &mut batch.sent, &mut batch.expected);
        batch.commands += 1;
    }
    batch
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn a_seed_is_a_load() {
        let content = Content { keys: 1000, value_bytes: 32 };
        let load = |seed| content.batches(Language::Resp, Operation::Get, 16, seed);
        assert_eq!(load(1), load(1));
        assert_ne!(load(1), load(2));
        assert!(load(1).iter().all(|batch| batch.commands == 16));
    }

    #[test]
    fn long_batches_stand_in_a_file_one_behind_the_other() {
        let content = |value_bytes| Content { keys: 10, value_bytes };
        let batches = |value_bytes, operation| {
            let each = content(value_bytes).batches(Language::Resp, operation, 2, 1);
            Batches::new(each[..3].to_vec()).unwrap()
        };
        assert!(batches(32, Operation::Set).filed(0).is_none());
        assert!(batches(100 << 10, Operation::Get).filed(0).is_none());
        let long = batches(100 << 10, Operation::Set);
        for (index, batch) in long.iter().enumerate() {
            let (file, at) = long.filed(index).unwrap();
            let mut found = vec![0; batch.sent.len()];
            file.read_exact_at(&mut found, at).unwrap();
            assert!(found == batch.sent, "batch {index}");
        }
    }

    #[test]
    fn filling_sets_every_key_once() {
        let content = Content { keys: 1000, value_bytes: 2 };
        let filled = content.fill(Language::Resp);
        assert_eq!(filled.iter().map(|batch| batch.commands).sum::<u64>(), 1000);
    }
}
