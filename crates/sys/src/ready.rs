//! Which descriptors are ready: epoll and select for many, poll for a few, and what wakes who
//! waits on them.
//!
//! Promises: what is told is a hint; every read and write that follows may still say `EAGAIN`.
//! Knows nothing of what the descriptors stand for.
//! Source: epoll(7), select(2), poll(2), eventfd(2), signalfd(2).

mod epoll;
mod poll;
mod select;
mod signals;
mod waker;

pub use epoll::{Epoll, Event, Events, Interest};
pub use poll::{Polled, poll};
pub use select::Select;
pub use signals::{Signal, Signals};
pub use waker::Waker;
