//! A long value that is received where it will stand in the store.
//!
//! ```text
//!   *3 $3 SET $1 k $102400 | 102400 bytes of the value | \r\n
//!   input --language--> begun: room in the store | filled ... | end --> sealed under its key
//! ```
//!
//! Promises: nobody sees the value before the command is whole; whatever ends the talk before that
//! leaves nothing. Where more is to be done than to set a value (somebody watches commands, or a
//! pause began), the command is made of it as a client would have sent it.
//! Knows nothing of commands but that one.

use std::sync::Arc;

use morecore_store::Filler;
use morecore_wire::encode_command;

use crate::fillers::{END, Fillers, Job};

/// A value on its way: two words, for every connection has room for one.
#[derive(Debug)]
pub(super) struct Filling {
    /// There until it is given back.
    job: Option<Box<Job>>,
    fillers: Arc<Fillers>,
}

impl Filling {
    /// Begins the value under `key` that `job` was lent for, if there is room.
    pub(super) fn begin(fillers: &Arc<Fillers>, mut job: Box<Job>, key: &[u8]) -> Option<Self> {
        let begun = job.filler.begin(key, job.bytes as u64);
        let filling = Self { job: Some(job), fillers: Arc::clone(fillers) };
        // Where there is no room, the plain way finds that out, and says so.
        begun.is_ok().then_some(filling)
    }

    /// Where the next bytes of the value belong.
    pub(super) fn room(&mut self) -> &mut [u8] {
        self.job.as_mut().map_or(&mut [], |job| job.room())
    }

    /// Takes note that so many bytes were received into [`Self::room`].
    pub(super) fn fill(&mut self, count: usize) {
        if let Some(job) = &mut self.job {
            job.filled += count;
        }
    }

    /// Takes what belongs to the command; returns how many bytes.
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        let Some(job) = &mut self.job else { return 0 };
        let room = job.room();
        let (value, rest) = bytes.split_at(bytes.len().min(room.len()));
        room[..value.len()].copy_from_slice(value);
        job.filled += value.len();
        if job.filled < job.bytes {
            return value.len();
        }
        let from = job.filled - job.bytes;
        let count = rest.len().min(END.len() - from);
        job.end[from..from + count].copy_from_slice(&rest[..count]);
        job.filled += count;
        value.len() + count
    }

    /// Whether the command is whole.
    pub(super) fn is_whole(&self) -> bool {
        self.job.as_ref().is_some_and(|job| job.filled == job.bytes + END.len())
    }

    /// Whether the value of a whole command ends as it must.
    pub(super) fn is_right(&self) -> bool {
        self.job.as_ref().is_some_and(|job| job.end == END)
    }

    /// How many bytes of the value have come.
    pub(super) fn len(&self) -> usize {
        self.job.as_ref().map_or(0, |job| job.filled.min(job.bytes))
    }

    /// Who fills it in.
    pub(super) fn filler(&mut self) -> Option<&mut Filler> {
        self.job.as_mut().map(|job| &mut job.filler)
    }

    /// The whole command, as a client sends it.
    pub(super) fn into_command(mut self) -> Vec<u8> {
        let mut command = Vec::new();
        if let Some(filler) = self.filler() {
            let key = filler.key().to_vec();
            encode_command(&mut command, &[b"SET", &key, filler.room()]);
        }
        command
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        if let Some(job) = self.job.take() {
            self.fillers.give_back(job);
        }
    }
}
