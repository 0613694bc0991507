//! `exp` for whole vocabularies: written so that compilers turn it into vector instructions, which calls of the
//! system's `expf` keep them from.

use multiversion::multiversion;

/// Weights below this power of e are nothing.
const LOWEST: f32 = -87.0;
/// Adding it to a float of up to 22 bits rounds that to an integer, which then stands in the low bits.
const ROUND: f32 = 12_582_912.0;
/// The natural logarithm of 2 in two parts, the first of so few bits that its small multiples are exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// `e^x` for `x <= 0`, within 3e-7 of its value; 0 below -87.
///
/// With `n = round(x / ln 2)` and `r = x - n ln 2`, it is `2^n e^r`; `e^r` by its Taylor series up to `r^7 / 7!`,
/// whose error is below 1e-8 since `|r| <= ln(2) / 2`.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let clamped = if x > LOWEST { x } else { LOWEST };
    let rounded = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = clamped - n * LN_2_HIGH - n * LN_2_LOW;
    let series = 1.0 / 720.0 + r * (1.0 / 5040.0);
    let series = 1.0 / 24.0 + r * (1.0 / 120.0 + r * series);
    let series = 0.5 + r * (1.0 / 6.0 + r * series);
    let series = 1.0 + r * (1.0 + r * series);
    let power = f32::from_bits(rounded.to_bits().wrapping_add(127) << 23);
    if x < LOWEST { 0.0 } else { series * power }
}

/// The sum of `exp(logit - max)`.
#[multiversion(targets("x86_64+avx2"))]
pub(super) fn sum_of_exp(logits: &[f32], max: f32) -> f64 {
    const LANES: usize = 16;
    let mut lanes = [0.0f64; LANES];
    let chunks = logits.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &logit) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(exp(logit - max));
        }
    }
    lanes.iter().sum::<f64>()
        + rest
            .iter()
            .map(|&logit| f64::from(exp(logit - max)))
            .sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_close(x: f32) -> bool {
        let exact = f64::from(x).exp();
        (f64::from(exp(x)) - exact).abs() <= 3e-7 * exact
    }

    #[test]
    fn close_everywhere() {
        assert!((0..87_000).map(|step| step as f32 * -1e-3).all(is_close));
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-0.0), 1.0);
    }

    #[test]
    fn nothing_at_the_far_end() {
        for x in [-87.1, -104.0, f32::MIN, f32::NEG_INFINITY] {
            assert_eq!(exp(x), 0.0);
        }
    }

    proptest! {
        #[test]
        fn close_anywhere(x in -87.0f32..0.0) {
            prop_assert!(is_close(x));
        }

        #[test]
        fn never_falls(a in -90.0f32..0.0, b in -90.0f32..0.0) {
            // Within its error: that is all that the order of weights needs.
            prop_assert!(exp(a.min(b)) <= exp(a.max(b)) * (1.0 + 6e-7));
        }

        #[test]
        fn sums_add_up(logits in proptest::collection::vec(-20.0f32..0.0, 0..100)) {
            let exact: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
            prop_assert!((sum_of_exp(&logits, 0.0) - exact).abs() <= 3e-7 * exact);
        }
    }
}
