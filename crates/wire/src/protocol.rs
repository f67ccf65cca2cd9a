//! Which language a connection speaks.
//!
//! Promises: told once, from the first bytes; a connection does not change its language.

/// A language that clients may speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// RESP, version 2 or 3, and the inline commands of a person at a terminal.
    Resp,
}

impl Protocol {
    /// The language whose first bytes are `first`, or `None` while there is no byte yet.
    ///
    /// An inline command may begin with any byte, so whatever speaks no other language speaks RESP.
    pub fn told_by(first: &[u8]) -> Option<Protocol> {
        (!first.is_empty()).then_some(Protocol::Resp)
    }
}
