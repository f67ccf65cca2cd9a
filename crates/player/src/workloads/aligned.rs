//! Aligned payloads: of a cache line, and of a page.
//!
//! Asks: what does an alignment beyond 16 bytes cost, in time and in room?

use std::hint::black_box;

use super::Measure;

/// Payloads in all.
const COUNT: usize = 1_500_000;

/// Cache lines that live at a time.
const LINES: usize = 50_000;

/// Pages that live at a time.
const PAGES: usize = 2_000;

/// Of so many payloads one is a page.
const A_PAGE_IN: usize = 16;

/// A cache line of an x86-64.
#[repr(align(64))]
struct Line([u8; 64]);

/// A page, as large as its alignment, of which only the first byte is written.
#[repr(align(4096))]
struct Page(u8);

pub(super) fn play(measure: Measure) -> u64 {
    let mut rng = measure.rng(0);
    let mut lines: Vec<Option<Box<Line>>> = (0..LINES).map(|_| None).collect();
    let mut pages: Vec<Option<Box<Page>>> = (0..PAGES).map(|_| None).collect();
    let mut sum = 0;
    for turn in 0..measure.share(COUNT) {
        if turn % A_PAGE_IN == 0 {
            let page = black_box(Box::new(Page(turn as u8)));
            let old = pages[rng.usize(..PAGES)].replace(page);
            sum += old.map_or(0, |page| u64::from(page.0));
        } else {
            let line = black_box(Box::new(Line([turn as u8; 64])));
            let old = lines[rng.usize(..LINES)].replace(line);
            sum += old.map_or(0, |line| u64::from(line.0[63]));
        }
    }
    sum
}
