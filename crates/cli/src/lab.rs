//! The lab: a program's calls of an allocator, replayed on our heap under each fit, measured and
//! drawn.
//!
//! ```text
//! trace: allocate, free, resize ... --replay, once a fit--> Measured --picture--> svg
//! ```
//!
//! Beside them, workloads that call whatever malloc they run on, for the benches.
//!
//! Knows nothing of stores and servers.

pub(crate) mod footprint;
pub(crate) mod picture;
pub(crate) mod recorded;
pub(crate) mod replay;
pub(crate) mod scaling;
pub(crate) mod trace;
pub(crate) mod workloads;
