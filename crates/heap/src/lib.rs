//! heap.
#![no_std]
