//! Randomness without state: a draw is a function of a seed and a position.
//!
//! Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
//! A stream that is taken up again draws the same numbers, since there is nothing to restore.

use std::hash::{BuildHasher, RandomState};

const ROUNDS: usize = 10;
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// A number in `[0, 1)` with 53 random bits, for the token at `position` of a sequence.
#[must_use]
pub fn uniform(seed: u64, position: u64) -> f64 {
    let words = philox(
        [low(position), high(position), 0, 0],
        [low(seed), high(seed)],
    );
    let bits = (u64::from(words[1]) << 32 | u64::from(words[0])) >> 11;
    bits as f64 / (1u64 << 53) as f64
}

/// A seed for a caller that names none: below 2^53, so that it survives JSON.
#[must_use]
pub fn random_seed() -> u64 {
    RandomState::new().hash_one(0u8) >> 11
}

fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..ROUNDS {
        let first = u64::from(MULTIPLIERS[0]) * u64::from(counter[0]);
        let second = u64::from(MULTIPLIERS[1]) * u64::from(counter[2]);
        counter = [
            high(second) ^ counter[1] ^ key[0],
            low(second),
            high(first) ^ counter[3] ^ key[1],
            low(first),
        ];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

fn low(value: u64) -> u32 {
    (value & u64::from(u32::MAX)) as u32
}

fn high(value: u64) -> u32 {
    (value >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers that come with the authors' Random123 library.
    #[test]
    fn known_answers() {
        assert_eq!(
            philox([0; 4], [0; 2]),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox(
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn draws_are_spread_evenly() {
        let mut buckets = [0u32; 10];
        for position in 0..100_000 {
            let draw = uniform(7, position);
            assert!((0.0..1.0).contains(&draw));
            buckets[(draw * 10.0) as usize] += 1;
        }
        // The deviation of a bucket is 95; this is five of them.
        assert!(
            buckets.iter().all(|&count| count.abs_diff(10_000) < 475),
            "{buckets:?}"
        );
    }

    #[test]
    fn seed_and_position_both_matter() {
        assert_ne!(uniform(1, 2).to_bits(), uniform(2, 1).to_bits());
        assert_ne!(uniform(1, 2).to_bits(), uniform(1, 3).to_bits());
        assert_ne!(uniform(1, 2).to_bits(), uniform(1 | 1 << 40, 2).to_bits());
    }

    #[test]
    fn random_seeds_differ_and_fit_into_json() {
        let seeds = [random_seed(), random_seed(), random_seed()];
        assert!(seeds.iter().all(|&seed| seed < 1 << 53));
        assert!(seeds[0] != seeds[1] && seeds[1] != seeds[2]);
    }
}
