//! What CONTRACT says of the program `morecore`, tried on the program itself.

mod bad_input;
mod demo;
mod preload;
mod run;
mod serve;
mod stores;
mod support;
