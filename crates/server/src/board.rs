//! Where the processes of one server see one another's clients: rows of words that all of them map.
//!
//! ```text
//!   ids, buffered      a word each of every row, side by side, because they are summed
//!   a row              since, descriptor, active, pending, unsent, flags, queued, ... | texts
//! ```
//!
//! Promises: a row is written by its client's process alone, and freed by the parent, so it is free
//! again whoever is killed. A text longer than its room is shown cut; one that changes while it is
//! read may be shown half.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use morecore_sys::Failed;
use morecore_sys::process::SharedWords;

use crate::clients::{About, Names, Origin, Queued};
use crate::exchange::Standing;

/// Words of numbers in a row.
const NUMBERS: usize = 11;

/// Words of each text: two addresses (a path of 107 bytes and `:0` fit), the name, the library's
/// name and version, the command.
const TEXTS: [usize; 6] = [14, 14, 8, 4, 4, 4];

/// Words in a row, without its id and its bytes of buffers: 59, and an even number of lines.
const ROW: usize = 64;

/// The rows.
#[derive(Debug)]
pub(crate) struct Board {
    words: SharedWords,
    rows: usize,
}

impl Board {
    /// Makes `rows` rows, all free.
    pub(crate) fn new(rows: usize) -> Result<Self, Failed> {
        Ok(Self { words: SharedWords::new(rows.max(1) * (2 + ROW))?, rows })
    }

    /// Takes a free row for a client.
    pub(crate) fn enter(&self, id: u64, origin: &Origin, about: &About) -> Option<usize> {
        let row = self.ids().iter().position(|taken| taken.load(Relaxed) == 0)?;
        let words = self.row(row);
        words[0].store(origin.since_ms, Relaxed);
        words[1].store(origin.descriptor as u64, Relaxed);
        self.buffered(row).store(0, Relaxed);
        self.write_text(row, 0, origin.remote.as_bytes());
        self.write_text(row, 1, origin.local.as_bytes());
        self.show(row, about);
        self.ids()[row].store(id, Relaxed);
        Some(row)
    }

    /// Frees a row, if it still is that client's.
    pub(crate) fn leave(&self, row: usize, id: u64) {
        // It fails where the client's process did it already.
        let _done = self.ids()[row].compare_exchange(id, 0, Relaxed, Relaxed);
    }

    /// Shows how a client is.
    pub(crate) fn show(&self, row: usize, about: &About) {
        let words = self.row(row);
        words[2].store(about.active_ms, Relaxed);
        words[3].store(about.pending_bytes as u64, Relaxed);
        words[4].store(about.unsent_bytes as u64, Relaxed);
        let flags = u64::from(about.is_no_evict) | u64::from(about.is_no_touch) << 1;
        let Standing { is_monitor, is_tracking, is_waiting, is_told, .. } = about.standing;
        let flags = flags | u64::from(is_monitor) << 2;
        let flags = flags | u64::from(is_tracking) << 3 | u64::from(is_waiting) << 4;
        let flags = flags | u64::from(is_told) << 5 | u64::from(about.is_watching) << 6;
        words[5].store(flags | u64::from(about.version) << 8, Relaxed);
        let queued = about.queued.as_deref();
        words[6].store(queued.map_or(0, |queued| u64::from(queued.count) + 1), Relaxed);
        words[10].store(queued.map_or(0, |queued| queued.bytes as u64), Relaxed);
        let [named, matching, sharded] = about.standing.listening.map(u64::from);
        words[7].store(named | matching << 32, Relaxed);
        words[8].store(sharded, Relaxed);
        words[9].store(about.redirect as u64, Relaxed);
        let names = about.names();
        let texts = [&names.name, &names.library_name, &names.library_version];
        for (index, text) in texts.into_iter().enumerate() {
            self.write_text(row, 2 + index, text);
        }
        self.write_text(row, 5, about.command.as_bytes());
    }

    /// Counts a client's buffers as so many bytes.
    pub(crate) fn count_buffers(&self, row: usize, bytes: u64) {
        self.buffered(row).store(bytes, Relaxed);
    }

    /// Returns how many bytes are in the large buffers of all clients.
    pub(crate) fn buffered_bytes(&self) -> u64 {
        self.taken().map(|(row, _)| self.buffered(row).load(Relaxed)).sum()
    }

    /// Whether a client has a row.
    pub(crate) fn has(&self, id: u64) -> bool {
        self.taken().any(|(_, taken)| taken == id)
    }

    /// Whether a row still is that client's, and shows it watching keys.
    pub(crate) fn is_watching(&self, row: usize, id: u64) -> bool {
        self.ids()[row].load(Relaxed) == id && self.row(row)[5].load(Relaxed) & 64 != 0
    }

    /// Returns how many rows are taken.
    pub(crate) fn count(&self) -> usize {
        self.taken().count()
    }

    /// Calls `each` with every client, in the order in which they came.
    pub(crate) fn each(&self, mut each: impl FnMut(u64, &Origin, &About)) {
        let mut taken: Vec<_> = self.taken().collect();
        taken.sort_unstable_by_key(|&(_, id)| id);
        for (row, id) in taken {
            let number = |index: usize| self.row(row)[index].load(Relaxed);
            let text = |index| String::from_utf8_lossy(&self.read_text(row, index)).into_owned();
            let origin = Origin {
                remote: text(0).into(),
                local: text(1).into(),
                descriptor: number(1) as i32,
                since_ms: number(0),
            };
            let names = Names {
                name: self.read_text(row, 2),
                library_name: self.read_text(row, 3),
                library_version: self.read_text(row, 4),
            };
            let about = About {
                told: Some(Box::new(names)),
                version: (number(5) >> 8) as u8,
                command: text(5).into(),
                active_ms: number(2),
                pending_bytes: number(3) as usize,
                unsent_bytes: number(4) as usize,
                is_no_evict: number(5) & 1 != 0,
                is_no_touch: number(5) & 2 != 0,
                is_watching: number(5) & 64 != 0,
                queued: number(6).checked_sub(1).map(|count| {
                    Box::new(Queued { count: count as u32, bytes: number(10) as usize })
                }),
                standing: Standing {
                    listening: [number(7) as u32, (number(7) >> 32) as u32, number(8) as u32],
                    is_monitor: number(5) & 4 != 0,
                    is_tracking: number(5) & 8 != 0,
                    is_waiting: number(5) & 16 != 0,
                    is_told: number(5) & 32 != 0,
                },
                redirect: number(9) as i64,
            };
            each(id, &origin, &about);
        }
    }

    fn taken(&self) -> impl Iterator<Item = (usize, u64)> {
        let ids = self.ids().iter().map(|id| id.load(Relaxed)).enumerate();
        ids.filter(|&(_, id)| id != 0)
    }

    fn ids(&self) -> &[AtomicU64] {
        &self.words[..self.rows]
    }

    fn buffered(&self, row: usize) -> &AtomicU64 {
        &self.words[self.rows + row]
    }

    fn row(&self, row: usize) -> &[AtomicU64] {
        let from = 2 * self.rows + row * ROW;
        &self.words[from..from + ROW]
    }

    fn text(&self, row: usize, index: usize) -> &[AtomicU64] {
        let from = NUMBERS + TEXTS[..index].iter().sum::<usize>();
        &self.row(row)[from..from + TEXTS[index]]
    }

    fn write_text(&self, row: usize, index: usize, text: &[u8]) {
        let mut pieces = text.chunks(size_of::<u64>());
        for word in self.text(row, index) {
            let mut bytes = [0; size_of::<u64>()];
            let piece = pieces.next().unwrap_or_default();
            bytes[..piece.len()].copy_from_slice(piece);
            let new = u64::from_ne_bytes(bytes);
            // Most often nothing has changed, and then nobody's copy of the line is taken away.
            if word.load(Relaxed) != new {
                word.store(new, Relaxed);
            }
        }
    }

    /// Reads a text up to its first zero: no name, address or command has one.
    fn read_text(&self, row: usize, index: usize) -> Vec<u8> {
        let words = self.text(row, index).iter();
        let mut text: Vec<u8> = words.flat_map(|word| word.load(Relaxed).to_ne_bytes()).collect();
        let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
        text.truncate(end);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_was_shown_until_it_is_left() {
        let board = Board::new(2).unwrap();
        let origin = Origin {
            remote: "127.0.0.1:40000".into(),
            local: "127.0.0.1:6379".into(),
            descriptor: 9,
            since_ms: 5,
        };
        let mut about = About::new(5);
        let (one, two) = (board.enter(1, &origin, &about), board.enter(2, &origin, &about));
        assert_eq!((one, two, board.enter(3, &origin, &about)), (Some(0), Some(1), None));
        about.names_mut().name = b"a name".to_vec();
        about.command = "get".into();
        board.show(1, &about);
        board.count_buffers(1, 1 << 20);
        board.leave(0, 1);
        assert_eq!((board.count(), board.buffered_bytes()), (1, 1 << 20));
        board.each(|id, origin, about| {
            assert_eq!((id, &*origin.remote, origin.descriptor), (2, "127.0.0.1:40000", 9));
            assert_eq!((&about.names().name[..], about.command.as_ref()), (&b"a name"[..], "get"));
        });
        board.leave(1, 1);
        assert_eq!(board.count(), 1);
    }
}
