//! What the server promises, each promise under every model.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod crowd;
mod differential;
mod house;
mod killed;
mod large;
mod limits;
mod memcached;
mod processes;
mod proxies;
mod pubsub;
mod redis;
mod redis_crate;
mod refused;
mod stopping;
mod talk;
mod tracking;
mod transactions;
mod transcripts;
mod unbroken;
