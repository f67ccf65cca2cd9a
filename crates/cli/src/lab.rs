//! The lab: a program's calls of an allocator, replayed on our heap under each fit, measured and
//! drawn.
//!
//! ```text
//! trace: allocate, free, resize ... --replay, once a fit--> Measured --picture--> svg
//! ```
//!
//! Knows nothing of stores and servers.

pub(crate) mod picture;
pub(crate) mod replay;
pub(crate) mod trace;
