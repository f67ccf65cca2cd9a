//! malloc.
#![no_std]
