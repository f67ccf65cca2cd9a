//! What the heap of this process consists of, for who asks: `mallinfo2`, `malloc_stats`,
//! `malloc_info`, and the end of a program with `MORECORE_SHOW_STATS=1`.
//!
//! Promises: allocates nothing. It walks the heap under the arena's lock, and counts as used what
//! was handed out and freed by nobody: not what waits in a magazine, nor what another thread than
//! its owner freed; but chunks that wait in a magazine. The blocks of threads that run meanwhile
//! are counted about, not exactly.
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

#[cfg(test)]
mod tests {
    use std::string::String;
    use std::vec::Vec;

    use super::*;
    use crate::c::{self, Mallinfo2};

    /// The numbers in the first line of `text` that begins with `begin`, after that.
    fn numbers(text: &str, begin: &str) -> Vec<u64> {
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix(begin));
        let line = line.unwrap_or_else(|| panic!("no line begins with {begin}: {text}"));
        let words = line.split(|letter: char| !letter.is_ascii_digit());
        words.filter_map(|word| word.parse().ok()).collect()
    }

    /// What is told in three ways is one truth.
    fn check(statistics: &Statistics) {
        let (mut lines, mut xml) = (String::new(), String::new());
        statistics.write_lines(&mut lines).expect("a string takes all");
        statistics.write_xml(&mut xml).expect("a string takes all");
        let Mallinfo2 { arena, ordblks, hblks, hblkhd, uordblks, fordblks, keepcost, .. } =
            c::numbers_of(statistics);
        let [arena, free_count, count, mapped, used, free, top] =
            [arena, ordblks, hblks, hblkhd, uordblks, fordblks, keepcost].map(|it| it as u64);
        assert!(statistics.census.is_whole() && used + free == arena && top <= free);
        let core = arena + mapped + statistics.kept_bytes;
        assert_eq!(numbers(&lines, "morecore:"), [used + mapped, core]);
        assert_eq!(numbers(&lines, "regions")[1], arena);
        assert_eq!(numbers(&lines, "mappings"), [count, mapped]);
        assert_eq!(numbers(&lines, "free")[0], free_count);
        assert_eq!(numbers(&xml, "<total type=\"rest\""), numbers(&lines, "free"));
        assert_eq!(numbers(&xml, "<total type=\"mmap\""), [count, mapped]);
        assert_eq!(numbers(&xml, "<system type=\"current\""), [arena]);
        let end = xml.rfind("<system").expect("it is there twice");
        assert_eq!(numbers(&xml[end..], "<system type=\"current\""), [core]);
        for line in xml.lines().filter(|line| line.starts_with("<size ")) {
            let [bytes, _, total, blocks] = numbers(line, "<size")[..] else {
                panic!("four numbers are wanted: {line}")
            };
            assert_eq!(bytes * blocks, total);
            let told = numbers(&lines, &std::format!("class of {bytes:>5} bytes:"));
            assert_eq!(told[0] + blocks, told[1], "{line}");
        }
    }

    /// The variable that says to a child that it is one.
    const ALONE: &str = "MORECORE_TEST_ALONE";

    /// Is this a child in which the test called `name` is alone, so that no other changes the heap?
    /// If not, that is played in one.
    fn is_alone(name: &str) -> bool {
        if std::env::var_os(ALONE).is_some() {
            return true;
        }
        // By this name it is found also if it was built anew meanwhile.
        let mut child = std::process::Command::new("/proc/self/exe");
        child.args([name, "--nocapture"]).env(ALONE, "1");
        let output = child.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {told}", output.status);
        false
    }

    fn free(payload: usize) {
        // SAFETY: the callers were given it, and use it no more.
        unsafe { c::free(core::ptr::with_exposed_provenance_mut(payload)) };
    }

    #[test]
    fn what_others_freed_is_free_before_its_owner_knows() {
        if !is_alone("before_its_owner_knows") {
            return;
        }
        let used = || {
            let class = Class::of(40).expect("it is small");
            let tally = Statistics::take().census.classes[class.index()];
            tally.blocks - tally.free_blocks
        };
        let payloads: Vec<_> = (0..1000).map(|_| c::malloc(40).expose_provenance()).collect();
        let own: Vec<_> = (0..100).map(|_| c::malloc(40).expose_provenance()).collect();
        let full = used();
        std::thread::spawn(move || payloads.into_iter().for_each(free)).join().unwrap();
        assert_eq!(used(), full - 1000);
        own.into_iter().for_each(free);
        assert_eq!(used(), full - 1100, "nor is what waits in a magazine used");
    }

    #[test]
    fn what_is_told_in_three_ways_agrees_with_the_census() {
        if !is_alone("agrees_with_the_census") {
            return;
        }
        check(&Statistics::take());
        let payloads: Vec<_> = [40, 500, 9_000, 100_000, 600_000, 40 << 20]
            .iter()
            .flat_map(|bytes| (0..50).map(move |_| c::malloc(*bytes).expose_provenance()))
            .collect();
        let full = Statistics::take();
        check(&full);
        assert!(full.used_bytes() >= 50 * (40 << 20));
        payloads.into_iter().for_each(free);
        check(&Statistics::take());
    }
}
