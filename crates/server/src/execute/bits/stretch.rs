//! A stretch of bits within a value: to count in, and to find in.
//!
//! ```text
//!   ......## ######## ####....
//!         |              |
//!       first           last
//! ```
//!
//! Source: bitops.c of Redis 7.0.15 for how a range is cut.

use morecore_wire::BitRange;

use super::BYTE;

/// The bits from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    first: u64,
    pub(super) last: u64,
}

impl Stretch {
    /// What `range` is of a value of `bytes`; without one all of it. `None` where it is empty.
    pub(super) fn of(range: Option<BitRange>, bytes: usize) -> Option<Self> {
        let whole = BitRange { start: 0, end: None, is_in_bits: false };
        let BitRange { start, end, is_in_bits } = range.unwrap_or(whole);
        let end = end.unwrap_or(-1);
        let unit = if is_in_bits { 1 } else { BYTE };
        let count = bytes as i64 * (BYTE / unit).cast_signed();
        let from_front = |at: i64| if at < 0 { at.saturating_add(count).max(0) } else { at };
        let (start, end) = (from_front(start), from_front(end).min(count - 1));
        (start <= end).then(|| {
            let (start, end) = (start.cast_unsigned(), end.cast_unsigned());
            Self { first: start * unit, last: end * unit + unit - 1 }
        })
    }

    /// How many of its bits are set in `value`.
    pub(super) fn count(self, value: &[u8]) -> u64 {
        let [first, last] = self.ends();
        let inner = &value[first..=last];
        let all: u64 = ones(inner);
        all - u64::from((value[first] & !self.first_mask()).count_ones())
            - u64::from((value[last] & !self.last_mask()).count_ones())
    }

    /// Where the first of its bits in `value` is that is set, or not set.
    pub(super) fn find(self, value: &[u8], is_set: bool) -> Option<u64> {
        let [first, last] = self.ends();
        let other = if is_set { 0 } else { u8::MAX };
        let wanted = |at: usize| {
            let edges = [(first, self.first_mask()), (last, self.last_mask())];
            let masks = edges.iter().filter(|(edge, _)| *edge == at);
            masks.fold(value[at] ^ other, |bits, (_, mask)| bits & mask)
        };
        // Between the edges whole bytes count, and a search for another byte is a fast one.
        let inner = value.get(first + 1..last).unwrap_or(&[]);
        let within = inner.iter().position(|byte| *byte != other).map(|at| first + 1 + at);
        let found = [Some(first), within, Some(last)];
        let at = found.into_iter().flatten().find(|at| wanted(*at) != 0)?;
        Some(at as u64 * BYTE + u64::from(wanted(at).leading_zeros()))
    }

    /// The bytes that it begins and ends in.
    const fn ends(self) -> [usize; 2] {
        [(self.first / BYTE) as usize, (self.last / BYTE) as usize]
    }

    /// Its bits within the byte that it begins in.
    const fn first_mask(self) -> u8 {
        u8::MAX >> (self.first % BYTE)
    }

    /// Its bits within the byte that it ends in.
    const fn last_mask(self) -> u8 {
        u8::MAX << (BYTE - 1 - self.last % BYTE)
    }
}

/// How many bits are set; eight bytes at a time.
fn ones(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let of_words: u64 =
        words.iter().map(|word| u64::from(u64::from_ne_bytes(*word).count_ones())).sum();
    of_words + rest.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every stretch of a value, against a walk bit by bit.
    #[test]
    fn any_stretch_is_counted_and_searched_as_bit_by_bit() {
        for value in [&b"\x00\xff\x0f"[..], b"\x80", b"\xff\xff\xff\xff", b"\x00\x01\x80\x00"] {
            let bits = value.len() as u64 * BYTE;
            let is_set = |at: u64| value[(at / BYTE) as usize] & (0x80 >> (at % BYTE)) != 0;
            for first in 0..bits {
                for last in first..bits {
                    let stretch = Stretch { first, last };
                    let count = (first..=last).filter(|at| is_set(*at)).count() as u64;
                    assert_eq!(stretch.count(value), count, "{stretch:?} of {value:?}");
                    for wanted in [false, true] {
                        let found = (first..=last).find(|at| is_set(*at) == wanted);
                        assert_eq!(stretch.find(value, wanted), found, "{stretch:?} of {value:?}");
                    }
                }
            }
        }
    }

    fn check(start: i64, end: Option<i64>, is_in_bits: bool, expected: Option<(u64, u64)>) {
        let found = Stretch::of(Some(BitRange { start, end, is_in_bits }), 3);
        let expected = expected.map(|(first, last)| Stretch { first, last });
        assert_eq!(found, expected, "{start} to {end:?}");
    }

    #[test]
    fn ranges_are_cut_as_redis_cuts_them() {
        check(0, None, false, Some((0, 23)));
        check(1, Some(1), false, Some((8, 15)));
        check(-1, Some(-1), false, Some((16, 23)));
        check(-1, Some(-1), true, Some((23, 23)));
        check(5, Some(100), true, Some((5, 23)));
        check(-100, Some(-100), false, Some((0, 7)));
        check(2, Some(1), false, None);
        check(-1, Some(-2), false, None);
        check(-1, Some(-100), false, None);
        check(-3, Some(-100), false, Some((0, 7)));
        check(3, Some(9), false, None);
        check(i64::MIN, Some(i64::MAX), true, Some((0, 23)));
        assert_eq!(Stretch::of(None, 0), None);
    }
}
