//! LCS: the longest common subsequence of two values.
//!
//! ```text
//!          o h m y t e x t       row i, column j: how long the longest is of the first i bytes
//!        0 0 0 0 0 0 0 0 0       of one and the first j of the other. Only two rows are kept,
//!      m 0 0 0 1 1 1 1 1 1       and of each cell two bits: from where it came
//!      y 0 0 0 1 2 2 2 2 2
//! ```
//!
//! Promises: of several that are equally long, the one that Redis finds. A cell costs a quarter of
//! a byte; more cells than Redis would grant are refused in its words.
//! Source: t_string.c of Redis 7.0.15.

use morecore_wire::{Encoder, Lcs, LcsAnswer, Refusal};

use super::Answered;
use crate::desk::Desk;

/// What a cell takes in Redis, where `proto-max-bulk-len` bounds their sum.
const CELL_BYTES: u64 = 4;

/// Bits of a step.
const STEP_BITS: usize = 2;

/// Steps in a byte.
const STEPS: usize = 8 / STEP_BITS;

/// From where a cell came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The other value's byte is left out.
    Column = 0,
    /// One value's byte is left out.
    Row = 1,
    /// Both have the byte.
    Both = 2,
}

/// How long the longest is, and the way to it.
struct Found {
    length: u32,
    steps: Vec<u8>,
    rows: usize,
    columns: usize,
}

/// Bytes that both values have, one behind the other: where they begin, and how many they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch {
    starts: [usize; 2],
    bytes: usize,
}

/// LCS.
pub(super) fn lcs<'a>(asked: Lcs<'a>, desk: &mut Desk, reply: &mut Encoder<'_>) -> Answered<'a> {
    let mut values = [const { Vec::new() }; 2];
    for (key, value) in asked.keys.iter().zip(&mut values) {
        let is_there = desk.store.get(key, value)?.is_some();
        desk.count_look_up(is_there);
    }
    let [one, other] = &values;
    let cells = (one.len() as u64 + 1).saturating_mul(other.len() as u64 + 1);
    if cells.saturating_mul(CELL_BYTES) > desk.shared.options.bulk_bytes_most {
        return Err(Refusal::LcsTooLarge.into());
    }
    let found = Found::of(one, other);
    match asked.answer {
        LcsAnswer::Length => reply.integer(found.length.into()),
        LcsAnswer::Text => {
            let mut text = Vec::with_capacity(found.length as usize);
            for Stretch { starts: [start, _], bytes } in found.stretches().iter().rev() {
                text.extend_from_slice(&one[*start..start + bytes]);
            }
            reply.bulk(&text);
        }
        LcsAnswer::Stretches { bytes_least, has_lengths } => {
            let mut stretches = found.stretches();
            stretches.retain(|stretch| stretch.bytes as u64 >= bytes_least);
            write_stretches(&stretches, found.length, has_lengths, reply);
        }
    }
    Ok(())
}

fn write_stretches(stretches: &[Stretch], length: u32, has_lengths: bool, reply: &mut Encoder<'_>) {
    reply.map(2);
    reply.bulk(b"matches");
    reply.array(stretches.len());
    for Stretch { starts, bytes } in stretches {
        reply.array(2 + usize::from(has_lengths));
        for start in starts {
            reply.array(2);
            reply.integer(*start as i64);
            reply.integer((start + bytes - 1) as i64);
        }
        if has_lengths {
            reply.integer(*bytes as i64);
        }
    }
    reply.bulk(b"len");
    reply.integer(length.into());
}

impl Found {
    fn of(one: &[u8], other: &[u8]) -> Self {
        let (rows, columns) = (one.len(), other.len());
        let mut steps = vec![0_u8; (rows * columns).div_ceil(STEPS)];
        let (mut above, mut row) = (vec![0_u32; columns + 1], vec![0_u32; columns + 1]);
        for (i, byte) in one.iter().enumerate() {
            for (j, other_byte) in other.iter().enumerate() {
                let step = match () {
                    () if byte == other_byte => Step::Both,
                    () if above[j + 1] > row[j] => Step::Row,
                    () => Step::Column,
                };
                row[j + 1] = match step {
                    Step::Both => above[j] + 1,
                    Step::Row => above[j + 1],
                    Step::Column => row[j],
                };
                let cell = i * columns + j;
                steps[cell / STEPS] |= (step as u8) << (cell % STEPS * STEP_BITS);
            }
            std::mem::swap(&mut above, &mut row);
        }
        Self { length: above[columns], steps, rows, columns }
    }

    /// From where the cell of these two bytes came.
    fn step(&self, i: usize, j: usize) -> Step {
        let cell = i * self.columns + j;
        match self.steps[cell / STEPS] >> (cell % STEPS * STEP_BITS) & 3 {
            0 => Step::Column,
            1 => Step::Row,
            _ => Step::Both,
        }
    }

    /// The stretches that it is made of, from the last to the first.
    fn stretches(&self) -> Vec<Stretch> {
        let (mut i, mut j) = (self.rows, self.columns);
        let mut stretches: Vec<Stretch> = Vec::new();
        while i > 0 && j > 0 {
            match self.step(i - 1, j - 1) {
                Step::Row => i -= 1,
                Step::Column => j -= 1,
                Step::Both => {
                    match stretches.last_mut() {
                        Some(last) if last.starts == [i, j] => {
                            *last = Stretch { starts: [i - 1, j - 1], bytes: last.bytes + 1 };
                        }
                        _ => stretches.push(Stretch { starts: [i - 1, j - 1], bytes: 1 }),
                    }
                    (i, j) = (i - 1, j - 1);
                }
            }
        }
        stretches
    }
}
