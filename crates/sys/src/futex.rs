//! Sleep and wake on a word.
