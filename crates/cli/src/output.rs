//! Where the answer of a command goes: standard output, as text for people or as JSON for programs.
//!
//! Promises: colour only where a terminal shows it and NO_COLOR does not forbid it; what is written
//! reaches standard output in few, large pieces.
//!
//! Source: <https://no-color.org>

use std::env;
use std::fmt;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use serde::Serialize;

use crate::failure::Failure;

/// Standard output, and what is known about who reads it.
pub(crate) struct Out {
    writer: BufWriter<StdoutLock<'static>>,
    is_terminal: bool,
    has_color: bool,
}

/// The colours that we use; eight that every terminal has.
#[derive(Clone, Copy)]
pub(crate) enum Color {
    /// What is well.
    Green,
    /// What is wrong.
    Red,
    /// Names and numbers that matter.
    Cyan,
    /// What one may skip.
    Gray,
}

impl Out {
    /// Standard output of this process.
    pub(crate) fn standard() -> Out {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        let forbidden = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let has_color = is_terminal && !forbidden;
        Out { writer: BufWriter::new(stdout.lock()), is_terminal, has_color }
    }

    /// Does a person read along?
    pub(crate) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// One JSON value on a line of its own.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.writer, value)?;
        Ok(self.writer.write_all(b"\n")?)
    }

    /// Bytes that may be anything, in a line of their own: as they are into a pipe, and without
    /// anything that could steer the terminal onto one.
    pub(crate) fn line(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.is_terminal {
            writeln!(self.writer, "{}", escaped(bytes))
        } else {
            self.writer.write_all(bytes)?;
            self.writer.write_all(b"\n")
        }
    }

    /// `text`, coloured where that is wanted.
    pub(crate) fn colored(&self, color: Color, text: impl fmt::Display) -> String {
        if !self.has_color {
            return text.to_string();
        }
        let code = match color {
            Color::Green => 32,
            Color::Red => 31,
            Color::Cyan => 36,
            Color::Gray => 90,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Bytes as text: what is valid UTF-8 and printable as it is, the rest as `\xNN`.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for piece in bytes.utf8_chunks() {
        for letter in piece.valid().chars() {
            if letter.is_control() || letter == '\\' {
                text.extend(letter.escape_default());
            } else {
                text.push(letter);
            }
        }
        for byte in piece.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn text_stays_and_the_rest_is_escaped() {
        assert_eq!(escaped(b"plain"), "plain");
        assert_eq!(escaped("größe".as_bytes()), "größe");
        assert_eq!(escaped(b"a\nb\x1b[31m"), "a\\nb\\u{1b}[31m");
        assert_eq!(escaped(b"\xff\x00"), "\\xff\\u{0}");
    }
}
