//! A file descriptor that closes itself.
