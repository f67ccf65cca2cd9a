//! The promises of the heap, from outside.

mod array;
mod exhaustion;
mod model;
mod roll_back;
mod torn;
