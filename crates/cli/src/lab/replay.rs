//! A trace, replayed on our heap under one fit, and what it cost.
//!
//! Every request goes to the chunk tier, also those that slabs would serve: only there has a fit
//! something to choose. Two replays are made: one for the time, which does nothing else, and one
//! that measures, and proves every invariant at its end.

use std::time::{Duration, Instant};

use morecore_heap::{ArrayHeap, Fit, Offset, Part};

use super::trace::Call;

/// How often the footprint is looked at in a replay: as many points as a picture is wide.
const SAMPLES: usize = 800;

/// What one replay showed.
pub(crate) struct Measured {
    /// Under which fit.
    pub(crate) fit: Fit,
    /// How long all calls took together.
    pub(crate) time: Duration,
    /// The most bytes that the program had asked for at once.
    pub(crate) peak_live_bytes: u64,
    /// The most core that the heap needed.
    pub(crate) peak_footprint_bytes: u64,
    /// The footprint over time.
    pub(crate) samples: Vec<Sample>,
    /// The chunks at the moment of the largest footprint, in the order of their offsets.
    pub(crate) chunks_at_peak: Vec<Stretch>,
}

/// A moment of a replay.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    /// After how many calls.
    pub(crate) calls: usize,
    /// What the program had asked for and not given back.
    pub(crate) live_bytes: u64,
    /// What the heap needed for it.
    pub(crate) footprint_bytes: u64,
}

/// A chunk, or a few neighbours of the same kind.
#[derive(Clone, Copy)]
pub(crate) struct Stretch {
    /// Where it begins.
    pub(crate) at: u64,
    /// How long it is.
    pub(crate) bytes: u64,
    /// Is it free?
    pub(crate) is_free: bool,
}

impl Measured {
    /// The largest footprint by the largest live size: 1 is a heap that wastes nothing.
    pub(crate) fn fragmentation(&self) -> f64 {
        self.peak_footprint_bytes as f64 / self.peak_live_bytes as f64
    }
}

/// Replays `calls` under `fit` in `array`.
///
/// # Errors
/// A sentence: the array is too short for the trace, or an invariant does not hold.
pub(crate) fn replay(calls: &[Call], fit: Fit, array: &mut [u128]) -> Result<Measured, String> {
    let time = timed(calls, fit, array)?;
    let mut player = Player::new(calls, fit, array)?;
    let mut measured = Measured {
        fit,
        time,
        peak_live_bytes: 0,
        peak_footprint_bytes: 0,
        samples: Vec::with_capacity(SAMPLES + 1),
        chunks_at_peak: Vec::new(),
    };
    let step = calls.len().div_ceil(SAMPLES).max(1);
    for (index, call) in calls.iter().enumerate() {
        player.play(*call)?;
        let (live_bytes, footprint_bytes) = (player.live_bytes, player.heap.footprint_bytes());
        measured.peak_live_bytes = measured.peak_live_bytes.max(live_bytes);
        measured.peak_footprint_bytes = measured.peak_footprint_bytes.max(footprint_bytes);
        if index % step == 0 {
            let before = measured.samples.iter().map(|sample| sample.footprint_bytes).max();
            if before.is_none_or(|before| footprint_bytes > before) {
                measured.chunks_at_peak = player.stretches()?;
            }
            measured.samples.push(Sample { calls: index, live_bytes, footprint_bytes });
        }
    }
    player.heap.check().map_err(|broken| format!("fit {}: {broken}", fit.name()))?;
    Ok(measured)
}

/// How long the calls take when nobody looks.
fn timed(calls: &[Call], fit: Fit, array: &mut [u128]) -> Result<Duration, String> {
    let mut player = Player::new(calls, fit, array)?;
    let start = Instant::now();
    for call in calls {
        player.play(*call)?;
    }
    Ok(start.elapsed())
}

/// A heap, and where the trace's payloads are in it.
struct Player<'a> {
    heap: ArrayHeap<'a>,
    fit: Fit,
    /// Offset and size asked for, by the payload's number.
    payloads: Vec<(Offset, u32)>,
    live_bytes: u64,
}

impl<'a> Player<'a> {
    fn new(calls: &[Call], fit: Fit, array: &'a mut [u128]) -> Result<Player<'a>, String> {
        let is_allocation = |call: &&Call| matches!(call, Call::Allocate { .. });
        let count = calls.iter().filter(is_allocation).count();
        let heap = ArrayHeap::new(array, fit).ok_or("the array is too short for a heap")?;
        Ok(Player { heap, fit, payloads: vec![(Offset::NONE, 0); count], live_bytes: 0 })
    }

    /// One call.
    fn play(&mut self, call: Call) -> Result<(), String> {
        match call {
            Call::Allocate { payload, bytes } => {
                let at = self.heap.allocate(bytes.into()).ok_or_else(|| self.full(bytes))?;
                self.payloads[payload as usize] = (at, bytes);
                self.live_bytes += u64::from(bytes);
            }
            Call::Free { payload } => {
                let (at, bytes) = self.payloads[payload as usize];
                self.heap.free(at).map_err(|misuse| format!("{misuse:?}"))?;
                self.live_bytes -= u64::from(bytes);
            }
            Call::Resize { payload, bytes } => {
                let (at, earlier) = self.payloads[payload as usize];
                let moved = self.heap.resize(at, bytes.into());
                let moved = moved.map_err(|misuse| format!("{misuse:?}"))?;
                let at = moved.ok_or_else(|| self.full(bytes))?;
                self.payloads[payload as usize] = (at, bytes);
                self.live_bytes = self.live_bytes - u64::from(earlier) + u64::from(bytes);
            }
        }
        Ok(())
    }

    fn full(&self, bytes: u32) -> String {
        format!("fit {}: no room for {bytes} bytes more", self.fit.name())
    }

    /// The chunks as they lie, up to the top; neighbours of the same kind in one.
    fn stretches(&self) -> Result<Vec<Stretch>, String> {
        let mut stretches: Vec<Stretch> = Vec::new();
        for part in self.heap.walk() {
            let (chunk, is_free) = match part.map_err(|broken| broken.to_string())? {
                Part::Free(chunk) => (chunk, true),
                Part::Used(chunk) | Part::Slab(chunk, ..) => (chunk, false),
                Part::Region(_) | Part::Top(_) => continue,
            };
            match stretches.last_mut().filter(|last| last.is_free == is_free) {
                Some(last) => last.bytes += chunk.bytes,
                None => stretches.push(Stretch { at: chunk.begin.0, bytes: chunk.bytes, is_free }),
            }
        }
        Ok(stretches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::trace::made_up;

    #[test]
    fn every_fit_replays_the_same_trace() {
        let calls = made_up(20_000, 1);
        let mut array = vec![0; 1 << 20];
        for fit in Fit::ALL {
            let measured = replay(&calls, fit, &mut array).unwrap();
            assert!(measured.fragmentation() >= 1.0, "{}", fit.name());
            assert!(!measured.chunks_at_peak.is_empty());
        }
    }

    #[test]
    fn a_short_array_is_told() {
        let calls = made_up(20_000, 1);
        let mut array = vec![0; 4096];
        assert!(replay(&calls, Fit::Bins, &mut array).is_err_and(|says| says.contains("no room")));
        assert!(replay(&calls, Fit::Bins, &mut [0; 2]).is_err_and(|says| says.contains("short")));
    }
}
