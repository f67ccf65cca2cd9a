//! The promises of the heap, from outside.

// Clippy knows the tests of this binary, but not that their helpers are tests too.
#![allow(clippy::unwrap_used)]

mod array;
mod exhaustion;
mod model;
mod roll_back;
mod torn;
