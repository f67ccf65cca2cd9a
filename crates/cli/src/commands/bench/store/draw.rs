//! Which keys are asked for: drawn before any clock runs, from all alike or some far more often.
//!
//! ```text
//! rank drawn --times a prime, modulo the items--> number --digits--> key, 16 bytes
//! ```
//!
//! Promises: the same seed draws the same keys; the frequent ones lie scattered among the others.
//! Source: J. Gray et al., "Quickly Generating Billion-Record Synthetic Databases", SIGMOD 1994,
//! as YCSB draws its keys.

use fastrand::Rng;

/// The length of every key.
pub(crate) const KEY_BYTES: usize = 16;

/// A key.
pub(crate) type Key = [u8; KEY_BYTES];

/// The exponent of YCSB's Zipf: the most frequent of a million keys is asked for 6 times in 100.
const ZIPF_EXPONENT: f64 = 0.99;

/// Scatters ranks over numbers: a prime, so that no two ranks meet unless it divides the items.
const SCATTER: u64 = 2_654_435_761;

/// How keys are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Distribution {
    /// Each as often as another.
    Uniform,
    /// The n-th most frequent as often as 1/n^0.99.
    Zipf,
}

impl Distribution {
    /// All there are.
    pub(crate) const ALL: [Distribution; 2] = [Distribution::Uniform, Distribution::Zipf];

    /// Its name in tables and commands.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Distribution::Uniform => "uniform",
            Distribution::Zipf => "zipf",
        }
    }

    /// Draws `count` keys out of those of `items` items.
    pub(crate) fn draw(self, items: u32, count: usize, seed: u64) -> Vec<Key> {
        let mut rng = Rng::with_seed(seed);
        match self {
            Distribution::Uniform => (0..count).map(|_| key(rng.u32(..items))).collect(),
            Distribution::Zipf => {
                let zipf = Zipf::new(items);
                (0..count).map(|_| key(scattered(zipf.rank(rng.f64()), items))).collect()
            }
        }
    }
}

/// The key of the item with this number: sixteen digits.
pub(crate) fn key(number: u32) -> Key {
    let mut key = [b'0'; KEY_BYTES];
    let (mut rest, mut at) = (number, KEY_BYTES);
    while rest > 0 {
        at -= 1;
        key[at] += (rest % 10) as u8;
        rest /= 10;
    }
    key
}

fn scattered(rank: u32, items: u32) -> u32 {
    (u64::from(rank) * SCATTER % u64::from(items)) as u32
}

/// What Gray's method needs to know of a number of items.
struct Zipf {
    items: f64,
    zeta: f64,
    alpha: f64,
    eta: f64,
}

impl Zipf {
    fn new(items: u32) -> Zipf {
        let zeta = |count: u32| (1..=count).map(|n| f64::from(n).powf(-ZIPF_EXPONENT)).sum::<f64>();
        let all = zeta(items);
        let count = f64::from(items);
        let head = 1.0 - (2.0 / count).powf(1.0 - ZIPF_EXPONENT);
        let eta = head / (1.0 - zeta(2.min(items)) / all);
        Zipf { items: count, zeta: all, alpha: 1.0 / (1.0 - ZIPF_EXPONENT), eta }
    }

    /// The rank, from 0, that `chance` between 0 and 1 falls on.
    fn rank(&self, chance: f64) -> u32 {
        let share = chance * self.zeta;
        if share < 1.0 {
            return 0;
        }
        if share < 1.0 + 0.5f64.powf(ZIPF_EXPONENT) {
            return 1.min(self.items as u32 - 1);
        }
        let rank = self.items * (self.eta * chance - self.eta + 1.0).powf(self.alpha);
        (rank as u32).min(self.items as u32 - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_numbers_of_sixteen_digits() {
        assert_eq!(&key(0), b"0000000000000000");
        assert_eq!(&key(1_234_567), b"0000000001234567");
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        for distribution in Distribution::ALL {
            let draw = |seed| distribution.draw(1000, 100, seed);
            assert_eq!(draw(1), draw(1));
            assert_ne!(draw(1), draw(2));
        }
    }

    #[test]
    fn zipf_prefers_a_few() {
        let drawn = Distribution::Zipf.draw(1000, 100_000, 1);
        let first = drawn.iter().filter(|drawn| **drawn == key(0)).count();
        // 1 / (the sum of 1/n^0.99 over 1000) is 0.130.
        assert!((12_500..13_500).contains(&first), "{first}");
        let second = drawn.iter().filter(|drawn| **drawn == key(scattered(1, 1000))).count();
        assert!((6200..6900).contains(&second), "{second}");
        assert_eq!(Distribution::Zipf.draw(1, 3, 1), [key(0); 3]);
    }
}
