//! Pictures: `a=96` allocates, `a=96@64` at a multiple of 64, `-a` frees, `a:200` resizes in place.

use std::collections::HashMap;
use std::fmt::Write;
use std::string::String;

use super::*;
use crate::check::check as prove;
use crate::journal::NoJournal;
use crate::layout::UNIT;
use crate::regions::REGION_COST;
use crate::source::Region;
use crate::testing::Array;
use crate::units::{Unit, Units};
use crate::walk::{Part, Walk};

const ARRAY_BYTES: u64 = 4 * UNIT;

/// A chunk tier in an array, with one region whose chunks have `bytes` bytes together.
struct Tier {
    array: Array,
    chunks: Chunks,
    units: Units,
    named: HashMap<String, Offset>,
}

impl Tier {
    fn new(fit: Fit, bytes: u64) -> Self {
        let array = Array::new(ARRAY_BYTES);
        let mut core = array.plain();
        let chunks = Chunks::format(&mut core, Offset(64), fit);
        let units = Units::format(&mut core, Offset(64) + Chunks::BYTES, ARRAY_BYTES);
        units.mark(&mut core, array.rest(0), Unit::CHUNKS);
        let region = Region { begin: Offset(UNIT), bytes: bytes + REGION_COST };
        chunks.add_region(&mut core, region);
        Self { array, chunks, units, named: HashMap::new() }
    }

    /// Plays one step; what is refused changes nothing.
    fn step(&mut self, step: &str) {
        let mut core = self.array.plain();
        if let Some(name) = step.strip_prefix('-') {
            self.chunks.free(&mut core, self.named[name]).unwrap();
        } else if let Some((name, bytes)) = step.split_once(':') {
            let bytes = bytes.parse().unwrap();
            self.chunks.resize_in_place(&mut core, self.named[name], bytes).unwrap();
        } else if let Some((name, wanted)) = step.split_once('=') {
            let (bytes, align) = wanted.split_once('@').unwrap_or((wanted, "16"));
            let (bytes, align) = (bytes.parse().unwrap(), align.parse().unwrap());
            if let Some(payload) = self.chunks.allocate(&mut core, bytes, align) {
                assert!(payload.is_aligned(align), "{step}: {payload}");
                self.named.insert(name.into(), payload);
            }
        }
        prove(&core, self.chunks, self.units, &[]).unwrap();
    }

    fn picture(&self) -> String {
        let mut picture = String::new();
        for part in Walk::new(&self.array.plain(), self.chunks, self.units) {
            match part.unwrap() {
                Part::Used(chunk) => write!(picture, "[used {}]", chunk.bytes).unwrap(),
                Part::Free(chunk) => write!(picture, "[free {}]", chunk.bytes).unwrap(),
                Part::Top(chunk) => write!(picture, "[top {}]", chunk.bytes).unwrap(),
                Part::Region(_) => {}
                Part::Slab(..) => picture.push_str("[slab]"),
            }
        }
        picture
    }
}

fn check_with(fit: Fit, steps: &str, expected: &str) {
    let mut tier = Tier::new(fit, 1024);
    steps.split_whitespace().for_each(|step| tier.step(step));
    assert_eq!(tier.picture(), expected, "{fit:?}: {steps}");
}

fn check(steps: &str, expected: &str) {
    Fit::ALL.into_iter().for_each(|fit| check_with(fit, steps, expected));
}

#[test]
fn free_coalesces_with_both_neighbours() {
    check("a=96 b=96 c=96", "[used 112][used 112][used 112][top 688]");
    check("a=96 b=96 c=96 -a -c", "[free 112][used 112][top 800]");
    check("a=96 b=96 c=96 -a -c -b", "[top 1024]");
    check("a=96 b=96 c=96 d=96 -a -c -b", "[free 336][used 112][top 576]");
}

#[test]
fn a_free_chunk_is_split() {
    check("a=200 b=16 -a c=16", "[used 32][free 192][used 32][top 768]");
}

#[test]
fn what_is_too_small_for_a_chunk_is_not_split_off() {
    check("a=48 b=16 -a c=32", "[used 64][used 32][top 928]");
}

#[test]
fn the_top_is_used_last() {
    check("a=96 b=16 -a c=600", "[free 112][used 32][used 624][top 256]");
    check("a=96 b=16 -a c=96", "[used 112][used 32][top 880]");
}

#[test]
fn the_whole_top_can_be_used() {
    check("a=1008", "[used 1024]");
    check("a=1008 -a", "[top 1024]");
    check("a=1009", "[top 1024]");
}

#[test]
fn an_aligned_payload_leaves_what_is_before_it_free() {
    // The region begins on a multiple of 64 KiB, and its first payload 32 bytes behind.
    check("a=16@256", "[free 224][used 32][top 768]");
    check("a=16@32", "[used 32][top 992]");
    check("a=16@64", "[free 32][used 32][top 960]");
}

#[test]
fn an_aligned_payload_finds_a_seat_in_a_hole_of_its_size() {
    check("a=64@128 b=200 -a a=64@128", "[free 96][used 80][used 224][top 624]");
}

#[test]
fn a_resize_takes_from_the_next_chunk_and_gives_to_it() {
    check("a=96 a:200", "[used 224][top 800]");
    check("a=96 b=96 a:200", "[used 112][used 112][top 800]");
    check("a=96 b=96 c=16 -b a:150", "[used 176][free 48][used 32][top 768]");
    check("a=96 b=96 c=16 -b a:200", "[used 224][used 32][top 768]");
    check("a=200 b=16 a:100", "[used 128][free 96][used 32][top 768]");
    check("a=200 b=96 c=16 -b a:100", "[used 128][free 208][used 32][top 656]");
    check("a=200 a:100", "[used 128][top 896]");
    check("a=96 a:1008", "[used 1024]");
    check("a=96 a:1009", "[used 112][top 912]");
}

/// Holes of 112, 64 and 80 bytes, in this order, between used chunks.
const HOLES: &str = "a=96 w=16 b=48 x=16 c=64 y=16 -a -b -c";

#[test]
fn each_fit_chooses_as_it_says() {
    let steps = std::format!("{HOLES} n=40");
    let rest = "[used 32][top 672]";
    let best = std::format!("[free 112][used 32][used 64][used 32][free 80]{rest}");
    check_with(Fit::Best, &steps, &best);
    check_with(Fit::Bins, &steps, &best);
    let first = std::format!("[used 64][free 48][used 32][free 64][used 32][free 80]{rest}");
    check_with(Fit::First, &steps, &first);
    // The last allocation was `y`, at the end: round again.
    check_with(Fit::Next, &steps, &first);
    let twice = std::format!("{HOLES} n=40 m=40");
    let next = std::format!("[used 64][free 48][used 32][used 64][used 32][free 80]{rest}");
    check_with(Fit::Next, &twice, &next);
    // What was freed before the last allocation has to wait for its round.
    let waits = std::format!("{HOLES} n=40 -n m=40");
    check_with(Fit::Next, &waits, &best);
    check_with(Fit::First, &waits, &first);
}

#[test]
fn best_takes_the_smallest_of_a_spaced_bin() {
    // 2048 to 2303 is one bin: the larger chunk is at its head.
    for fit in [Fit::Bins, Fit::Best] {
        let mut tier = Tier::new(fit, 1 << 16);
        for step in "a=2050 w=16 b=2200 x=16 -a -b n=2040".split_whitespace() {
            tier.step(step);
        }
        assert_eq!(tier.named["n"], tier.named["a"], "{fit:?}");
    }
}

#[test]
fn a_misuse_is_named_and_changes_nothing() {
    let mut tier = Tier::new(Fit::Bins, 1024);
    "a=96 b=96 c=96 d=96 -a -c".split_whitespace().for_each(|step| tier.step(step));
    let mut core = tier.array.plain();
    let before = tier.array.image();
    let mut refuse = |payload: Offset, wrong: Wrong| {
        let misuse = tier.chunks.free(&mut core, payload).unwrap_err();
        assert_eq!((misuse.wrong, misuse.at), (wrong, payload));
        let resize = tier.chunks.resize_in_place(&mut core, payload, 8);
        assert_eq!(resize.unwrap_err(), misuse);
    };
    refuse(tier.named["a"], Wrong::DoubleFree);
    refuse(tier.named["c"], Wrong::DoubleFree);
    refuse(tier.named["b"] + 8, Wrong::NotABlock);
    refuse(Offset(16), Wrong::Foreign);
    refuse(Offset(ARRAY_BYTES), Wrong::Foreign);
    assert_eq!(tier.array.image(), before);
}

#[test]
fn a_second_free_is_seen_also_after_coalescing() {
    for order in ["-a -b -c", "-c -b -a", "-a -c -b", "-b -a -c"] {
        let mut tier = Tier::new(Fit::Bins, 1024);
        "a=96 b=96 c=96 d=96".split_whitespace().for_each(|step| tier.step(step));
        order.split_whitespace().for_each(|step| tier.step(step));
        for name in ["a", "b", "c"] {
            let freed = tier.chunks.free(&mut tier.array.plain(), tier.named[name]);
            assert_eq!(freed.unwrap_err().wrong, Wrong::DoubleFree, "{order}, again {name}");
        }
    }
}

#[test]
fn a_write_past_the_end_is_seen_at_free() {
    let mut tier = Tier::new(Fit::Bins, 1024);
    tier.step("a=96");
    let mut core = tier.array.plain();
    core.write(tier.named["a"] + 96, 0x4141_4141_4141_4141);
    let misuse = tier.chunks.free(&mut core, tier.named["a"]).unwrap_err();
    assert_eq!((misuse.wrong, misuse.bytes), (Wrong::Overrun, 96));
}

/// Whoever writes into a payload after its free writes into links, which must not be followed.
fn write_into_links(link: u64, value: u64) {
    let mut tier = Tier::new(Fit::Bins, 2048);
    ["a=96", "b=96", "c=96", "d=96", "-a", "-c"].into_iter().for_each(|step| tier.step(step));
    let mut core = tier.array.plain();
    core.write(tier.named["c"].word(link), value);
    let _ = tier.chunks.allocate(&mut core, 96, 16);
}

#[test]
#[should_panic(expected = "invariant `doubly` broken")]
fn a_link_that_leads_out_of_the_core_is_not_followed() {
    write_into_links(0, 0x4141_4141_4141_4141);
}

#[test]
#[should_panic(expected = "invariant `doubly` broken")]
fn a_link_back_that_leads_out_of_the_core_is_not_followed() {
    write_into_links(1, 0x0041_4141_4141_4148);
}

#[test]
#[should_panic(expected = "invariant `doubly` broken")]
fn a_link_to_where_no_chunk_begins_is_not_followed() {
    write_into_links(0, UNIT + 2);
}

#[test]
fn a_region_that_borders_on_another_extends_it() {
    let mut tier = Tier::new(Fit::Bins, 1024);
    tier.step("a=1008");
    let mut core = tier.array.plain();
    let end = tier.chunks.regions(&core).next().unwrap().end();
    tier.chunks.add_region(&mut core, Region { begin: end, bytes: 512 });
    assert_eq!(tier.picture(), "[used 1024][top 512]");
    tier.step("b=480");
    tier.step("-a");
    tier.step("-b");
    assert_eq!(tier.picture(), "[top 1536]");
}

#[test]
fn regions_apart_stay_apart_and_the_last_one_has_the_top() {
    let tier = Tier::new(Fit::Bins, 1024);
    let mut core = tier.array.plain();
    let far = Region { begin: Offset(2 * UNIT), bytes: 512 + REGION_COST };
    tier.chunks.add_region(&mut core, far);
    assert_eq!(tier.picture(), "[free 1024][top 512]");
    let low = Region { begin: Offset(UNIT / 2), bytes: 256 + REGION_COST };
    tier.chunks.add_region(&mut core, low);
    assert_eq!(tier.picture(), "[top 256][free 1024][free 512]");
    // The first one grows again, so it has the top again.
    let end = Offset(UNIT + 1024 + REGION_COST);
    tier.chunks.add_region(&mut core, Region { begin: end, bytes: 64 });
    assert_eq!(tier.picture(), "[free 256][top 1088][free 512]");
    prove(&core, tier.chunks, tier.units, &[]).unwrap();
}

#[test]
fn an_unused_region_can_be_dropped() {
    let tier = Tier::new(Fit::Bins, 1024);
    let mut core = tier.array.plain();
    let far = Region { begin: Offset(2 * UNIT), bytes: 512 + REGION_COST };
    tier.chunks.add_region(&mut core, far);
    let payload = tier.chunks.allocate(&mut core, 1008, 16).unwrap();
    assert_eq!(tier.chunks.unused_region(&core, tier.chunks.top(&core).unwrap()), Some(far));
    tier.chunks.drop_region(&mut core, far);
    assert_eq!(tier.picture(), "[used 1024]");
    let chunk = tier.chunks.free(&mut core, payload).unwrap();
    assert_eq!(tier.picture(), "[free 1024]");
    let whole = tier.chunks.unused_region(&core, chunk).unwrap();
    tier.chunks.drop_region(&mut core, whole);
    assert_eq!(tier.picture(), "");
    assert_eq!(tier.chunks.core_bytes(&core), 0);
    prove(&core, tier.chunks, tier.units, &[]).unwrap();
    tier.chunks.add_region(&mut core, whole);
    assert_eq!(tier.picture(), "[top 1024]");
}

#[test]
fn the_end_of_the_top_can_be_cut_off() {
    let mut tier = Tier::new(Fit::Bins, 3 * 4096 - REGION_COST);
    tier.step("a=96");
    let mut core = tier.array.plain();
    let spare = tier.chunks.spare_top(&core, 0, 4096).unwrap();
    assert_eq!(spare, Region { begin: Offset(UNIT + 4096), bytes: 2 * 4096 });
    assert_eq!(tier.chunks.spare_top(&core, 2 * 4096, 4096), None);
    tier.chunks.cut_top(&mut core, spare);
    assert_eq!(tier.picture(), "[used 112][top 3952]");
    prove(&core, tier.chunks, tier.units, &[]).unwrap();
    tier.chunks.add_region(&mut core, spare);
    assert_eq!(tier.picture(), "[used 112][top 12144]");
}

#[test]
fn free_pages_hold_no_tags_and_links() {
    let chunk = Chunk { begin: Offset(4096 - 8), bytes: 3 * 4096 };
    assert_eq!(Chunks::free_pages(chunk, 4096), Some(Region { begin: Offset(8192), bytes: 4096 }));
    let small = Chunk { begin: Offset(4096 - 8), bytes: 4096 };
    assert_eq!(Chunks::free_pages(small, 4096), None);
}

#[test]
fn what_is_beyond_all_bounds_is_refused() {
    let tier = Tier::new(Fit::Bins, 1024);
    let mut core: Core<NoJournal> = tier.array.plain();
    for bytes in [u64::MAX, u64::MAX - 15, 1 << 63, crate::layout::REQUEST_MOST] {
        assert_eq!(tier.chunks.allocate(&mut core, bytes, 16), None);
        assert_eq!(tier.chunks.allocate(&mut core, bytes, 4096), None);
    }
    assert_eq!(tier.chunks.allocate(&mut core, 16, 1 << 62), None);
}
