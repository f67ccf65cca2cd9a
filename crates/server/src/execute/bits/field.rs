//! Integers of any width at any bit of a value, as BITFIELD reads and writes them.
//!
//! ```text
//!   u5 at 6:   ......## ###.....      the highest bit first
//! ```
//!
//! Promises: exact on overflow: a sum is made in 128 bits, and then judged.
//! Source: bitops.c of Redis 7.0.15.

use morecore_wire::{Field, FieldChange, Overflow};

use super::{BYTE, mask};

/// Does `change` to `field` in `value`, which reaches as far; returns the answer, `None` where it
/// failed of an overflow.
pub(super) fn apply(field: Field, change: FieldChange, value: &mut [u8]) -> Option<i64> {
    let old = read(field, value);
    match change {
        FieldChange::Get => Some(old),
        FieldChange::Set { value: new, overflow } => {
            // A negative number is a very large one to an unsigned field, as in Redis; but a sum
            // that is negative stays so.
            let wide = if field.is_signed { new.into() } else { new.cast_unsigned().into() };
            write(field, fit(field, wide, overflow)?, value);
            Some(old)
        }
        FieldChange::Increment { by, overflow } => {
            let new = fit(field, i128::from(old) + i128::from(by), overflow)?;
            write(field, new, value);
            Some(new)
        }
    }
}

/// The number in `field` of `value`; behind its end there are zeroes.
pub(super) fn read(field: Field, value: &[u8]) -> i64 {
    let bit = |at: u64| {
        let byte = value.get((at / BYTE) as usize).copied().unwrap_or(0);
        u64::from(byte & mask(at) != 0)
    };
    let bits = field.offset..field.offset + u64::from(field.bits);
    let raw = bits.fold(0, |raw, at| raw << 1 | bit(at));
    extend(field, raw)
}

fn write(field: Field, number: i64, value: &mut [u8]) {
    for (index, at) in (field.offset..field.offset + u64::from(field.bits)).rev().enumerate() {
        let byte = &mut value[(at / BYTE) as usize];
        let is_set = number.cast_unsigned() >> index & 1 == 1;
        *byte = if is_set { *byte | mask(at) } else { *byte & !mask(at) };
    }
}

/// `number` as `field` can hold it; `None` where it cannot and should not.
fn fit(field: Field, number: i128, overflow: Overflow) -> Option<i64> {
    let (least, most) = match (field.is_signed, field.bits) {
        (true, bits) => (-(1_i128 << (bits - 1)), (1_i128 << (bits - 1)) - 1),
        (false, bits) => (0, (1_i128 << bits) - 1),
    };
    let fitting = match overflow {
        _ if (least..=most).contains(&number) => number,
        Overflow::Fail => return None,
        Overflow::Saturate => number.clamp(least, most),
        Overflow::Wrap => return Some(extend(field, number as u64)),
    };
    i64::try_from(fitting).ok()
}

/// The low bits of `raw` as the number that `field` means by them.
const fn extend(field: Field, raw: u64) -> i64 {
    let unused = u64::BITS - field.bits;
    let high = raw << unused;
    if field.is_signed { high.cast_signed() >> unused } else { (high >> unused).cast_signed() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn field(kind: char, bits: u32, offset: u64) -> Field {
        Field { offset, bits, is_signed: kind == 'i' }
    }

    #[test]
    fn what_is_written_is_read_and_nothing_beside_it() {
        for bits in 1..=63 {
            for offset in 0..9 {
                let unsigned = field('u', bits, offset);
                let most = ((1_u64 << bits) - 1).cast_signed();
                let mut value = [0; 10];
                write(unsigned, most, &mut value);
                assert_eq!(read(unsigned, &value), most);
                assert_eq!(read(field('i', bits, offset), &value), -1);
                let set: u32 = value.iter().map(|byte| byte.count_ones()).sum();
                assert_eq!(set, bits);
            }
        }
    }

    fn check(field: Field, number: i128, expected: [Option<i64>; 3]) {
        let ways = [Overflow::Wrap, Overflow::Saturate, Overflow::Fail];
        assert_eq!(ways.map(|way| fit(field, number, way)), expected, "{number} in {field:?}");
    }

    #[test]
    fn an_overflow_wraps_saturates_or_fails() {
        check(field('i', 8, 0), 127, [Some(127); 3]);
        check(field('i', 8, 0), 128, [Some(-128), Some(127), None]);
        check(field('i', 8, 0), -129, [Some(127), Some(-128), None]);
        check(field('u', 8, 0), 256, [Some(0), Some(255), None]);
        check(field('u', 8, 0), -1, [Some(255), Some(0), None]);
        check(field('i', 64, 0), 1 << 63, [Some(i64::MIN), Some(i64::MAX), None]);
        check(field('u', 63, 0), 1 << 63, [Some(0), Some(i64::MAX), None]);
        check(field('i', 1, 0), 1, [Some(-1), Some(0), None]);
    }
}
