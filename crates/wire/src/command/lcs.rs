//! LCS: its row and its reader.
//!
//! Source: t_string.c of Redis 7.0.15.

use super::Command;
use super::catalogue::{Group, READ_ONLY, Read, Row};
use super::option::{Options, is_word};
use crate::arguments::Arguments;
use crate::number::parse_integer;
use crate::refusal::Refusal;

/// The row of LCS.
pub(super) const ROWS: &[Row] = &[Row::new(Group::String, "lcs", -3, lcs)
    .about("7.0.0", "Finds the longest common subsequence of the values of two keys.")
    .flags(READ_ONLY)
    .keys(1, 2, 1)];

/// LCS with its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lcs<'a> {
    /// The two keys.
    pub keys: [&'a [u8]; 2],
    /// What is answered.
    pub answer: LcsAnswer,
}

/// What LCS answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LcsAnswer {
    /// The subsequence.
    Text,
    /// LEN: its length.
    Length,
    /// IDX: where it stands in both values, stretch by stretch from the last on, and its length.
    Stretches {
        /// MINMATCHLEN: only stretches of as many bytes.
        bytes_least: u64,
        /// WITHMATCHLEN: each with its length.
        has_lengths: bool,
    },
}

fn lcs<'a>(arguments: Arguments<'a>) -> Read<'a> {
    let (mut is_length, mut is_stretches) = (false, false);
    let (mut bytes_least, mut has_lengths) = (0, false);
    let mut options = Options::behind(3, arguments);
    while let Some(word) = options.next() {
        if is_word(word, "idx") {
            is_stretches = true;
        } else if is_word(word, "len") {
            is_length = true;
        } else if is_word(word, "withmatchlen") {
            has_lengths = true;
        } else if is_word(word, "minmatchlen") {
            let bytes = parse_integer(options.value()?).ok_or(Refusal::NotAnInteger)?;
            bytes_least = u64::try_from(bytes).unwrap_or(0);
        } else {
            return Err(Refusal::Syntax);
        }
    }
    let answer = match (is_length, is_stretches) {
        (true, true) => return Err(Refusal::LcsLengthAndStretches),
        (true, false) => LcsAnswer::Length,
        (false, true) => LcsAnswer::Stretches { bytes_least, has_lengths },
        (false, false) => LcsAnswer::Text,
    };
    Ok(Command::Lcs(Lcs { keys: [arguments.at(1), arguments.at(2)], answer }))
}
