//! The password that clients have to tell, which may change while the server runs.
//!
//! ```text
//!   begun | told | slots   length | text             SLOTS of them; password n is in n mod SLOTS
//!
//!   CONFIG SET: begun + 1 = n --> write slot n --> told = n
//! ```
//!
//! Promises: processes of one server see each other's changes. Who reads waits for nobody: one who
//! dies while it writes leaves the password as it was.
//! Knows nothing of clients.

use std::hint::black_box;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::fence;

use morecore_sys::Failed;
use morecore_sys::process::SharedWords;

/// Bytes of a password at most, where it is set while the server runs. Redis has no such bound,
/// and no reason to go so far.
pub(crate) const BYTES_MOST: usize = 512;

/// Passwords that are written at once, at most, with one that is read beside them.
const SLOTS: u64 = 8;

/// Words of a slot.
const SLOT_WORDS: usize = 1 + BYTES_MOST / size_of::<u64>();

/// Words before the first slot.
const HEAD_WORDS: usize = 2;

/// The password.
#[derive(Debug)]
pub(crate) struct Password {
    /// What it is until it is changed.
    first: Option<Vec<u8>>,
    words: SharedWords,
}

impl Password {
    pub(crate) fn new(first: Option<Vec<u8>>) -> Result<Self, Failed> {
        let words = SharedWords::new(HEAD_WORDS + SLOTS as usize * SLOT_WORDS)?;
        Ok(Self { first, words })
    }

    /// What a client must tell; `None`: nothing.
    pub(crate) fn now(&self) -> Option<Vec<u8>> {
        loop {
            // Pairs with the Release of `set`: who sees the number sees the text.
            let number = self.words[1].load(Acquire);
            if number == 0 {
                return self.first.clone();
            }
            let text = self.read(number);
            // Pairs with the fence in `set`: had any of these words been a later one's, its number
            // would show.
            fence(Acquire);
            if self.words[0].load(Relaxed) < number + SLOTS {
                return (!text.is_empty()).then_some(text);
            }
        }
    }

    /// Whether a client must tell it.
    pub(crate) fn is_wanted(&self) -> bool {
        self.now().is_some()
    }

    /// Whether a client has told the right one, or none is wanted.
    pub(crate) fn is(&self, told: &[u8]) -> bool {
        self.now().is_none_or(|wanted| is_same(&wanted, told))
    }

    /// Changes it, to at most [`BYTES_MOST`] bytes; an empty one is none.
    pub(crate) fn set(&self, text: &[u8]) {
        let text = &text[..text.len().min(BYTES_MOST)];
        let number = self.words[0].fetch_add(1, AcqRel) + 1;
        fence(Release);
        let slot = self.slot(number);
        slot[0].store(text.len() as u64, Relaxed);
        for (word, bytes) in slot[1..].iter().zip(text.chunks(size_of::<u64>())) {
            let mut whole = [0; size_of::<u64>()];
            whole[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_le_bytes(whole), Relaxed);
        }
        // Of two that are set at once the later one counts.
        self.words[1].fetch_max(number, Release);
    }

    fn read(&self, number: u64) -> Vec<u8> {
        let slot = self.slot(number);
        let bytes = (slot[0].load(Relaxed) as usize).min(BYTES_MOST);
        let words = slot[1..].iter().take(bytes.div_ceil(size_of::<u64>()));
        let mut text: Vec<u8> = words.flat_map(|word| word.load(Relaxed).to_le_bytes()).collect();
        text.truncate(bytes);
        text
    }

    fn slot(&self, number: u64) -> &[std::sync::atomic::AtomicU64] {
        let at = HEAD_WORDS + (number % SLOTS) as usize * SLOT_WORDS;
        &self.words[at..at + SLOT_WORDS]
    }
}

/// Compares two passwords in a time that tells nothing of where they differ.
fn is_same(wanted: &[u8], told: &[u8]) -> bool {
    let differing = wanted.iter().zip(told).fold(0, |all, (a, b)| black_box(all | (a ^ b)));
    differing == 0 && wanted.len() == told.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_it_was_set_to_last() {
        let password = Password::new(Some(b"first".to_vec())).unwrap();
        assert!(password.is(b"first") && !password.is(b"firs") && !password.is(b"first!"));
        let long = [b'x'; BYTES_MOST];
        for round in 0..2 * SLOTS {
            password.set(format!("number {round}").as_bytes());
            assert_eq!(password.now(), Some(format!("number {round}").into_bytes()));
        }
        password.set(&long);
        assert!(password.is(&long) && !password.is(&long[1..]));
        password.set(b"");
        assert!(!password.is_wanted() && password.is(b"anything"));
    }

    #[test]
    fn who_reads_sees_one_of_them_whole() {
        let password = Password::new(None).unwrap();
        std::thread::scope(|scope| {
            for letter in [b'a', b'b'] {
                let password = &password;
                scope.spawn(move || {
                    (0..2000).for_each(|round| password.set(&vec![letter; 1 + round % BYTES_MOST]));
                });
            }
            for _ in 0..2000 {
                let text = password.now().unwrap_or_default();
                assert!(text.windows(2).all(|two| two[0] == two[1]), "{text:?}");
            }
        });
    }
}
