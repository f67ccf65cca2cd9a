//! `morecore map`: a store's memory, drawn in letters.
//!
//! ```text
//! 0x00000000  FFFFFFFFFFFFFFDGGGGGGPPPPPPP..PPPPPPPPPPPGGGGPPPP...............
//! 0x00100000  ................................................................
//! ```
//!
//! Every letter stands for the same number of bytes and shows what most of them are. What lies
//! behind the last used byte is told in words: a store is mostly that.

use std::io::Write;

use morecore_store::{Census, Piece, PieceKind};
use serde_json::json;

use crate::failure::Failure;
use crate::output::{Color, Out};
use crate::quantity::{show_bytes, show_count};
use crate::target::Target;

/// As many rows as leave a terminal of 24 lines room for the legend.
const ROWS: u64 = 14;

/// A letter stands for at least this: the system's page, the unit in which memory is taken.
const LETTER_BYTES_LEAST: u64 = 4096;

/// Draws the memory of a store
#[derive(clap::Args)]
pub(crate) struct Map {
    #[command(flatten)]
    target: Target,
    /// Letters in a row
    #[arg(long, default_value = "64", value_parser = clap::value_parser!(u16).range(8..=512))]
    width: u16,
    /// The census: every piece of the store, in address order
    #[arg(long)]
    json: bool,
}

impl Map {
    /// Only looks: it attaches read-only, so it is safe beside a busy server.
    pub(crate) fn run(self, out: &mut Out) -> Result<(), Failure> {
        let census = self.target.observe()?.census();
        if self.json { out.json(&as_json(&census)) } else { Ok(draw(&census, self.width, out)?) }
    }
}

/// The name of what a piece is used for, and its letter and colour in the drawing.
fn legend(kind: PieceKind) -> (&'static str, char, Color) {
    match kind {
        PieceKind::Fixed => ("fixed", 'F', Color::Gray),
        PieceKind::Directory => ("directory", 'D', Color::Red),
        PieceKind::Group => ("group", 'G', Color::Cyan),
        PieceKind::Payload => ("payload", 'P', Color::Green),
        PieceKind::Claimed => ("claimed", 'C', Color::Red),
        PieceKind::Leased => ("leased", 'L', Color::Red),
        PieceKind::Free => ("free", '.', Color::Gray),
    }
}

/// All that a piece can be, in the order of the legend.
const KINDS: [PieceKind; 7] = [
    PieceKind::Fixed,
    PieceKind::Directory,
    PieceKind::Group,
    PieceKind::Payload,
    PieceKind::Claimed,
    PieceKind::Leased,
    PieceKind::Free,
];

/// Draws rows of letters, then what each letter means and how much of it there is.
fn draw(census: &Census, width: u16, out: &mut Out) -> std::io::Result<()> {
    let used_end = used_end(census);
    let per_letter = used_end
        .div_ceil(u64::from(width) * ROWS)
        .next_multiple_of(LETTER_BYTES_LEAST)
        .max(LETTER_BYTES_LEAST);
    let letters = letters(&census.pieces, used_end, per_letter);
    for (row, kinds) in letters.chunks(usize::from(width)).enumerate() {
        let at = row as u64 * u64::from(width) * per_letter;
        let mut line = String::new();
        for run in kinds.chunk_by(|one, other| one == other) {
            let (_, letter, color) = legend(run[0]);
            line += &out.colored(color, letter.to_string().repeat(run.len()));
        }
        writeln!(out, "0x{at:010x}  {line}")?;
    }
    let rest = census.memory_bytes.saturating_sub(used_end);
    writeln!(out, "0x{used_end:010x}  free to the end: {}\n", show_bytes(rest))?;
    writeln!(out, "a letter is {}", show_bytes(per_letter))?;
    for kind in KINDS {
        let (count, bytes) = total(&census.pieces, kind);
        let (name, letter, color) = legend(kind);
        let letter = out.colored(color, letter);
        let (count, bytes) = (show_count(count), show_bytes(bytes));
        writeln!(out, "{letter} {name:<10} {count:>12} pieces {bytes:>10}")?;
    }
    Ok(())
}

/// Where the last free stretch begins, if nothing but fixed words come behind it; else the end.
fn used_end(census: &Census) -> u64 {
    let last = census.pieces.iter().rev().find(|piece| piece.kind != PieceKind::Fixed);
    let free = last.filter(|piece| piece.kind == PieceKind::Free);
    free.map_or(census.memory_bytes, |piece| piece.at)
}

/// What most bytes of each stretch of `per_letter` bytes are, from 0 up to `end`.
fn letters(pieces: &[Piece], end: u64, per_letter: u64) -> Vec<PieceKind> {
    let mut letters = Vec::new();
    let mut first = 0;
    for at in (0..end).step_by(usize::try_from(per_letter).unwrap_or(usize::MAX)) {
        let stretch_end = at + per_letter;
        // Pieces stand in address order: those that end before this stretch are done with.
        while pieces.get(first).is_some_and(|piece| piece.at + piece.bytes <= at) {
            first += 1;
        }
        let mut bytes = [0; KINDS.len()];
        for piece in pieces[first..].iter().take_while(|piece| piece.at < stretch_end) {
            let inside = (piece.at + piece.bytes).min(stretch_end) - piece.at.max(at);
            let index = KINDS.iter().position(|kind| *kind == piece.kind).unwrap_or(0);
            bytes[index] += inside;
        }
        let most = (0..KINDS.len()).max_by_key(|index| bytes[*index]).unwrap_or(0);
        letters.push(KINDS[most]);
    }
    letters
}

/// How many pieces are of this kind, and their bytes.
fn total(pieces: &[Piece], kind: PieceKind) -> (u64, u64) {
    pieces
        .iter()
        .filter(|piece| piece.kind == kind)
        .fold((0, 0), |(count, bytes), piece| (count + 1, bytes + piece.bytes))
}

/// The census for programs.
fn as_json(census: &Census) -> serde_json::Value {
    let pieces: Vec<_> = census
        .pieces
        .iter()
        .map(|piece| {
            let (kind, _, _) = legend(piece.kind);
            json!({
                "at": piece.at,
                "bytes": piece.bytes,
                "kind": kind,
                "used_bytes": piece.used_bytes,
            })
        })
        .collect();
    json!({ "memory_bytes": census.memory_bytes, "pieces": pieces })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pieces: &[(PieceKind, u64)], per_letter: u64, expected: &str) {
        let mut at = 0;
        let pieces: Vec<Piece> = pieces
            .iter()
            .map(|&(kind, bytes)| {
                at += bytes;
                Piece { at: at - bytes, bytes, kind, used_bytes: 0 }
            })
            .collect();
        let drawn: String =
            letters(&pieces, at, per_letter).into_iter().map(|kind| legend(kind).1).collect();
        assert_eq!(drawn, expected);
    }

    #[test]
    fn a_letter_shows_what_most_of_its_bytes_are() {
        use PieceKind::{Fixed, Free, Group, Payload};
        check(&[(Fixed, 100), (Payload, 100)], 100, "FP");
        check(&[(Fixed, 260), (Group, 40), (Free, 100)], 100, "FFF.");
        check(&[(Fixed, 10), (Payload, 30), (Free, 20), (Payload, 40)], 100, "P");
        check(&[(Fixed, 1000)], 300, "FFFF");
    }
}
