//! The crash test: a child is stopped after every single instruction of an operation, and at each
//! stop a survivor goes on from what it left.
//!
//! `cargo test -p morecore-store --test crash` explores every case, with each image that the child
//! leaves handed to one rescuer. `cargo xtask crash` (CRASH=full) also stops and abandons the
//! rescuer after each instruction with which *it* writes to the segment, and hands what is left to
//! a second one.
//!
//! What goes where: `tracer.rs` stops a child; `image.rs` copies a segment; `explore.rs` says what
//! must hold at a stop; `cases.rs` lists the operations, one line each.

#![cfg(target_arch = "x86_64")] // See `tracer.rs`.
#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod cases;
mod explore;
mod image;
mod tracer;
