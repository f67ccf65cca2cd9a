//! brk, mmap, mremap, madvise.
