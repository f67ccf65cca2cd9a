//! What is said to the user: one line for standard error, put together without allocating.
//!
//! Promises: what does not fit is cut off; the line leaves in one write, so that lines of several
//! threads do not mix.

use core::fmt::{Arguments, Write};

use morecore_heap::{Misuse, Wrong};
use morecore_sys::{Errno, environment};

/// The bytes of a line: what we say is short; the longest is a broken invariant with its place.
const LINE_MOST: usize = 512;

/// A line as it grows.
struct Line {
    bytes: [u8; LINE_MOST],
    length: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        // The last byte is kept for the end of the line.
        let count = text.len().min(LINE_MOST - 1 - self.length);
        self.bytes[self.length..self.length + count].copy_from_slice(&text.as_bytes()[..count]);
        self.length += count;
        Ok(())
    }
}

/// The line of a misuse, and the end of the process. A heap that was given nonsense must not go on.
#[cold]
pub(crate) fn abort_for(misuse: &Misuse) -> ! {
    let Misuse { at, begin, bytes, .. } = *misuse;
    let (what, how) = match misuse.wrong {
        Wrong::DoubleFree => ("double free of", ", already free"),
        Wrong::Interior => ("interior free of", ""),
        Wrong::Overrun => ("overrun found at free of", ""),
        _ => ("wild free of", ", which this heap never gave"),
    };
    match misuse.class {
        Some(class) if !begin.is_none() => {
            let number = class.number();
            abort(format_args!("{what} {at}: block {begin} of {bytes} bytes (class {number}){how}"))
        }
        _ if bytes > 0 => abort(format_args!("{what} {at}: payload of {bytes} bytes{how}")),
        _ => abort(format_args!("{what} {at}{how}")),
    }
}

/// What was given back rightly, or the end of the process.
#[inline(always)]
pub(crate) fn rightly<T>(given: Result<T, Misuse>) -> T {
    match given {
        Ok(given) => given,
        Err(misuse) => abort_for(&misuse),
    }
}

/// Writes `morecore: ` and the message to standard error, as one line.
pub fn print(message: Arguments<'_>) {
    let mut line = Line { bytes: [0; LINE_MOST], length: 0 };
    let _ = write!(line, "morecore: {message}");
    line.bytes[line.length] = b'\n';
    environment::write_to_standard_error(&line.bytes[..=line.length]);
}

/// Does `work`, and leaves `errno` as it was: what succeeds in the end must not show what it tried.
pub(crate) fn keeping_errno<T>(work: impl FnOnce() -> T) -> T {
    let errno = Errno::last();
    let result = work();
    errno.set();
    result
}

/// Says why this process cannot go on, and ends it as abort(3) does.
#[cold]
pub fn abort(message: Arguments<'_>) -> ! {
    print(message);
    environment::abort()
}
