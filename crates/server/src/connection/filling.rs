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

use crate::fillers::Fillers;

/// The line end behind a value.
const END: &[u8] = b"\r\n";

/// A value on its way.
#[derive(Debug)]
pub(super) struct Filling {
    /// There until it is given back.
    filler: Option<Box<Filler>>,
    fillers: Arc<Fillers>,
    /// The length of the value, and how much of it and of the end behind it has come.
    bytes: usize,
    filled: usize,
    end: [u8; END.len()],
}

impl Filling {
    /// Has `filler`, which was lent for it, begin a value of `bytes` under `key`, if there is room.
    pub(super) fn begin(
        fillers: &Arc<Fillers>,
        mut filler: Box<Filler>,
        key: &[u8],
        bytes: usize,
    ) -> Option<Self> {
        let begun = filler.begin(key, bytes as u64);
        let fillers = Arc::clone(fillers);
        let end = [0; END.len()];
        let filling = Self { filler: Some(filler), fillers, bytes, filled: 0, end };
        // Where there is no room, the plain way finds that out, and says so.
        begun.is_ok().then_some(filling)
    }

    /// Where the next bytes of the value belong.
    pub(super) fn room(&mut self) -> &mut [u8] {
        let Some(filler) = &mut self.filler else { return &mut [] };
        let room = filler.room();
        let from = self.filled.min(room.len());
        &mut room[from..]
    }

    /// Takes note that so many bytes were received into [`Self::room`].
    pub(super) fn fill(&mut self, count: usize) {
        self.filled += count;
    }

    /// Takes what belongs to the command; returns how many bytes.
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        let room = self.room();
        let (value, rest) = bytes.split_at(bytes.len().min(room.len()));
        room[..value.len()].copy_from_slice(value);
        self.filled += value.len();
        if self.filled < self.bytes {
            return value.len();
        }
        let from = self.filled - self.bytes;
        let count = rest.len().min(END.len() - from);
        self.end[from..from + count].copy_from_slice(&rest[..count]);
        self.filled += count;
        value.len() + count
    }

    /// Whether the command is whole.
    pub(super) const fn is_whole(&self) -> bool {
        self.filled == self.bytes + END.len()
    }

    /// Whether the value of a whole command ends as it must.
    pub(super) fn is_right(&self) -> bool {
        self.end == END
    }

    /// How many bytes of the value have come.
    pub(super) fn len(&self) -> usize {
        self.filled.min(self.bytes)
    }

    /// Who fills it in.
    pub(super) fn filler(&mut self) -> Option<&mut Filler> {
        self.filler.as_deref_mut()
    }

    /// The whole command, as a client sends it.
    pub(super) fn into_command(mut self) -> Vec<u8> {
        let mut command = Vec::new();
        if let Some(filler) = &mut self.filler {
            let key = filler.key().to_vec();
            encode_command(&mut command, &[b"SET", &key, filler.room()]);
        }
        command
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        if let Some(filler) = self.filler.take() {
            self.fillers.give_back(filler, self.bytes);
        }
    }
}
