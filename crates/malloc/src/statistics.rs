//! What the heap of this process consists of, for who asks: `mallinfo2`, `malloc_stats`,
//! `malloc_info`, and the end of a program with `MORECORE_SHOW_STATS=1`.
//!
//! Promises: allocates nothing. It walks the heap under the arena's lock; the masks of threads that
//! run meanwhile may change while they are counted, so their blocks are counted about, not exactly.
//! Knows nothing of who reads it.

use core::fmt::{Result, Write};

use morecore_heap::{Census, Class, Tally};

use crate::arena;

/// The state of the heap at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Statistics {
    /// Regions, chunks and slabs.
    pub(crate) census: Census,
    /// The mappings that are used.
    pub(crate) mappings: Tally,
    /// Bytes of mappings that are free and kept warm.
    pub(crate) kept_bytes: u64,
    /// Records of threads, idle or not.
    pub(crate) threads: u64,
}

impl Statistics {
    /// Walks the heap.
    pub(crate) fn take() -> Self {
        let arena = arena::hold();
        let (count, bytes) = arena.mappings.used();
        Self {
            census: arena.census(),
            mappings: Tally { count, bytes },
            kept_bytes: arena.mappings.kept_bytes(),
            threads: arena.threads(),
        }
    }

    /// Bytes in use, in every tier.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.census.used_bytes() + self.mappings.bytes
    }

    /// Bytes of core, in every tier, used or not.
    pub(crate) fn core_bytes(&self) -> u64 {
        self.census.regions.bytes + self.mappings.bytes + self.kept_bytes
    }

    /// Writes all of it for people, some lines.
    pub(crate) fn write_lines(&self, out: &mut impl Write) -> Result {
        let Self { census, mappings, .. } = self;
        writeln!(out, "morecore: {} bytes used of {}", self.used_bytes(), self.core_bytes())?;
        writeln!(
            out,
            "  regions   {:>8}  {:>14} bytes",
            census.regions.count, census.regions.bytes
        )?;
        writeln!(out, "  chunks    {:>8}  {:>14} bytes", census.used.count, census.used.bytes)?;
        writeln!(out, "  slabs     {:>8}  {:>14} bytes", census.slabs.count, census.slabs.bytes)?;
        writeln!(out, "  free      {:>8}  {:>14} bytes", census.free.count, census.free.bytes)?;
        writeln!(out, "  mappings  {:>8}  {:>14} bytes", mappings.count, mappings.bytes)?;
        writeln!(out, "  kept warm {:>8}  {:>14} bytes", "", self.kept_bytes)?;
        writeln!(out, "  threads   {:>8}", self.threads)?;
        for class in Class::all().filter(|class| census.classes[class.index()].blocks > 0) {
            let tally = census.classes[class.index()];
            let (bytes, slabs) = (class.shape().bytes, tally.slabs.count);
            let (used, all) = (tally.blocks - tally.free_blocks, tally.blocks);
            writeln!(out, "  class of {bytes:>5} bytes: {used} of {all} blocks in {slabs} slabs")?;
        }
        Ok(())
    }

    /// Writes all of it as `malloc_info` of glibc does, for who parses that.
    pub(crate) fn write_xml(&self, out: &mut impl Write) -> Result {
        let Self { census, mappings, .. } = self;
        write!(out, "<malloc version=\"1\">\n<heap nr=\"0\">\n<sizes>\n")?;
        for class in Class::all().filter(|class| census.classes[class.index()].free_blocks > 0) {
            let (bytes, count) = (class.shape().bytes, census.classes[class.index()].free_blocks);
            let total = count * u64::from(bytes);
            writeln!(
                out,
                "<size from=\"{bytes}\" to=\"{bytes}\" total=\"{total}\" count=\"{count}\"/>"
            )?;
        }
        let (free, regions) = (census.free, census.regions.bytes);
        let (large, core) = (mappings.bytes, self.core_bytes());
        write!(
            out,
            "</sizes>\n<total type=\"rest\" count=\"{}\" size=\"{}\"/>\n\
             <system type=\"current\" size=\"{regions}\"/>\n\
             <aspace type=\"total\" size=\"{regions}\"/>\n</heap>\n\
             <total type=\"mmap\" count=\"{}\" size=\"{large}\"/>\n\
             <system type=\"current\" size=\"{core}\"/>\n</malloc>\n",
            free.count, free.bytes, mappings.count,
        )
    }
}
