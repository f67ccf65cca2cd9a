//! Footprint: how much memory a program keeps as what it uses rises and falls.
//!
//! ```text
//!   MiB    peak            peak again
//!          /\ half          /\
//!         /  \__           /  \
//!   _____/      \_none____/    \_none     small work between: it must not need more than it is
//! ```
//!
//! Promises: what lives at each moment is the same on every malloc.
//! Knows nothing of who competes.
//! Source: proc(5), `/proc/self/statm`.

use std::fs;
use std::hint::black_box;
use std::io;

use fastrand::Rng;

use crate::workloads::{Measure, PAGE, payload, small};

/// The bytes that live at the peak, of small and of larger payloads each.
const PEAK_BYTES: usize = 64 << 20;

/// The larger ones: 2 to 256 KiB, every page of them used.
const LARGER: std::ops::Range<u32> = 11..18;

/// Small payloads that are freed and asked for between: work that goes on.
const WORK: usize = 2_000_000;

/// What is alive, and what is resident for it, at a moment.
pub(crate) struct Moment {
    /// Which.
    pub(crate) name: &'static str,
    /// Bytes that were asked for and not freed.
    pub(crate) live_bytes: u64,
    /// Bytes of memory that the process has.
    pub(crate) resident_bytes: u64,
}

/// Rises and falls, and tells of each moment.
///
/// # Errors
/// - The system does not say how much is resident.
pub(crate) fn play(measure: Measure) -> io::Result<Vec<Moment>> {
    let mut program = Program { rng: measure.rng(0), measure, live: Vec::new() };
    let mut moments = Vec::with_capacity(16);
    let mut look = |program: &Program, name| -> io::Result<()> {
        let live_bytes = program.live.iter().map(|payload| payload.capacity() as u64).sum();
        moments.push(Moment { name, live_bytes, resident_bytes: resident_bytes()? });
        Ok(())
    };
    look(&program, "begin")?;
    program.rise();
    look(&program, "peak")?;
    program.fall(2);
    look(&program, "half is freed")?;
    program.work();
    look(&program, "after small work")?;
    program.fall(1);
    look(&program, "all is freed")?;
    program.work();
    look(&program, "after more small work")?;
    program.rise();
    look(&program, "peak again")?;
    program.fall(1);
    program.work();
    look(&program, "freed again, and work")?;
    Ok(moments)
}

struct Program {
    rng: Rng,
    measure: Measure,
    live: Vec<Vec<u8>>,
}

impl Program {
    /// Asks for as much as lives at the peak, small and larger mixed.
    fn rise(&mut self) {
        let (mut small_bytes, mut larger_bytes) = (0, 0);
        let most = self.measure.share(PEAK_BYTES);
        while small_bytes < most || larger_bytes < most {
            let bytes = if small_bytes <= larger_bytes {
                let bytes = small(&mut self.rng);
                small_bytes += bytes;
                bytes
            } else {
                let least = 1usize << self.rng.u32(LARGER.start..LARGER.end);
                let bytes = self.rng.usize(least..2 * least);
                larger_bytes += bytes;
                bytes
            };
            let mut payload = payload(bytes, 1);
            payload.spare_capacity_mut().chunks_mut(PAGE).for_each(|page| {
                page[0].write(1);
            });
            self.live.push(black_box(payload));
        }
        self.rng.shuffle(&mut self.live);
    }

    /// Frees one in so many, in no order.
    fn fall(&mut self, one_in: usize) {
        let kept = self.live.len() - self.live.len() / one_in;
        self.live.truncate(kept);
        self.live.shrink_to_fit();
    }

    /// Goes on with little.
    fn work(&mut self) {
        let mut few: Vec<Vec<u8>> = (0..1000).map(|_| payload(16, 1)).collect();
        for _ in 0..self.measure.share(WORK) {
            let place = self.rng.usize(..few.len());
            few[place] = payload(small(&mut self.rng), 1);
        }
        black_box(few);
    }
}

/// The bytes of memory that this process has.
fn resident_bytes() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/self/statm")?;
    let pages = text.split(' ').nth(1).and_then(|word| word.parse::<u64>().ok());
    let pages = pages.ok_or_else(|| io::Error::other(format!("statm says `{text}`")))?;
    Ok(pages * PAGE as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lives_rises_and_falls() {
        let moments = play(Measure { seed: 1, part: 100 }).unwrap();
        let live: Vec<_> = moments.iter().map(|moment| moment.live_bytes).collect();
        assert!(live[0] == 0 && live[1] > live[2] && live[4] == 0 && live[6] > live[7], "{live:?}");
        assert!(moments.iter().all(|moment| moment.resident_bytes > 0));
    }
}
