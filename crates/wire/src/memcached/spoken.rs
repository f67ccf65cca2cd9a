//! Whether the first line of a connection is memcached's.
//!
//! Promises: `None` only while the line may still become either.
//! Knows nothing of other languages but which names they share with memcached.

use super::words::Words;
use super::{LINE_BYTES_MOST, text, without_end};

/// Whether `first`, the first bytes of a connection, are memcached's, as far as they tell.
pub(crate) fn is_spoken(first: &[u8]) -> Option<bool> {
    // What stands behind as many bytes as a line may have tells nothing, also where it comes at
    // once with them.
    let first = &first[..first.len().min(LINE_BYTES_MOST + 1)];
    // Both end a line, for memcached.
    let end = first.iter().position(|&byte| byte == b'\n' || byte == 0);
    let line = end.map_or(first, |end| without_end(&first[..=end]));
    let is_cut = end.is_none();
    let Some((name, rest)) = Words::new(line).split_first() else {
        return wait(is_cut, line);
    };
    let is_name_cut = is_cut && line.last() != Some(&b' ') && rest.is_empty();
    if is_name_cut {
        return if name.len() > NAME_BYTES_MOST { Some(false) } else { wait(is_cut, line) };
    }
    let form: fn(Words<'_>) -> bool = match name {
        b"get" | b"quit" => return Some(true),
        b"set" | b"append" => text::is_put,
        b"incr" | b"decr" => text::is_increment,
        b"touch" => text::is_touch,
        _ => return Some(NAMES.contains(&name)),
    };
    if is_cut { wait(is_cut, line) } else { Some(form(rest)) }
}

/// Nothing yet, if the line may go on.
fn wait(is_cut: bool, line: &[u8]) -> Option<bool> {
    if is_cut && line.len() <= LINE_BYTES_MOST { None } else { Some(false) }
}

/// Names that only memcached has, those among them that we do not know: it is to say so.
const NAMES: [&[u8]; 24] = [
    b"gets",
    b"gat",
    b"gats",
    b"bget",
    b"add",
    b"replace",
    b"prepend",
    b"cas",
    b"delete",
    b"flush_all",
    b"verbosity",
    b"version",
    b"stats",
    b"mg",
    b"ms",
    b"md",
    b"ma",
    b"me",
    b"mn",
    b"slabs",
    b"lru",
    b"lru_crawler",
    b"cache_memlimit",
    b"extstore",
];

/// The longest of them.
const NAME_BYTES_MOST: usize = "cache_memlimit".len();
