//! The hash of a key: 64 bits, seeded, by multiply and fold.
//!
//! Promises: with a seed that an attacker does not know, keys cannot be chosen to collide in bulk;
//! every bit of the result depends on every bit of the key.
//!
//! Source: Wang Yi, wyhash (github.com/wangyi-fudan/wyhash), whose constants and mixing it uses.

const SECRET: [u64; 4] =
    [0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db, 0x8ebc_6af0_9c88_c6e3, 0x5899_65cc_7537_4cc3];

/// Returns the hash of `key`.
#[inline]
pub(crate) fn hash(seed: u64, key: &[u8]) -> u64 {
    let seed = seed ^ SECRET[0];
    match (key.first_chunk(), key.last_chunk()) {
        (Some(first), Some(last)) if key.len() <= 16 => {
            finish(key.len(), u64::from_le_bytes(*first), u64::from_le_bytes(*last), seed)
        }
        _ => hash_other(key, seed),
    }
}

/// The hash of a key of 8 to 16 bytes, of which these are the first and the last eight.
#[inline]
pub(crate) fn hash_of_ends(seed: u64, count: usize, first: u64, last: u64) -> u64 {
    finish(count, first, last, seed ^ SECRET[0])
}

/// Keys of unusual lengths: apart, so that the usual ones stay short wherever they are inlined.
#[inline(never)]
fn hash_other(key: &[u8], seed: u64) -> u64 {
    let (a, b, seed) = if key.len() < 8 { short(key, seed) } else { long(key, seed) };
    finish(key.len(), a, b, seed)
}

#[inline]
fn finish(count: usize, a: u64, b: u64, seed: u64) -> u64 {
    fold(SECRET[1] ^ count as u64, fold(a ^ SECRET[1], b ^ seed))
}

/// Keys below 8 bytes.
fn short(key: &[u8], seed: u64) -> (u64, u64, u64) {
    match (key.first_chunk(), key.last_chunk()) {
        (Some(first), Some(last)) => {
            (u32::from_le_bytes(*first).into(), u32::from_le_bytes(*last).into(), seed)
        }
        _ => (key.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)), 0, seed),
    }
}

/// Keys over 16 bytes: 16 at a time, and the last 16 whatever they overlap.
fn long(key: &[u8], mut seed: u64) -> (u64, u64, u64) {
    let mut rest = key;
    while rest.len() > 16 {
        seed = fold(read8(rest) ^ SECRET[2], read8(&rest[8..]) ^ seed);
        rest = &rest[16..];
    }
    let tail = &key[key.len() - 16..];
    (read8(tail), read8(&tail[8..]), seed)
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

fn read8(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes were asked for"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_of_the_key_moves_about_half_of_the_hash() {
        for length in 1..80 {
            let mut key: Vec<u8> = (0..length as u8).map(|i| i.wrapping_mul(37)).collect();
            let before = hash(7, &key);
            for bit in 0..length * 8 {
                key[bit / 8] ^= 1 << (bit % 8);
                let moved = (hash(7, &key) ^ before).count_ones();
                assert!((8..56).contains(&moved), "length {length}, bit {bit}: {moved}");
                key[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }

    #[test]
    fn numbers_as_keys_fill_shards_evenly() {
        let mut counts = [0u32; 64];
        for number in 0..64_000u32 {
            counts[(hash(3, format!("key:{number}").as_bytes()) >> 58) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }
}
