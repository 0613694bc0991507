//! top-k, top-p and min-p, and the draw among what they leave.
//!
//! With the tokens sorted best first and `p` their softmax:
//! - top-k keeps the first k (Fan, Lewis and Dauphin, "Hierarchical Neural Story Generation", 2018);
//! - top-p keeps the shortest beginning of what is left whose `p`, renormalised to it, reach `top_p`
//!   (Holtzman et al., "The Curious Case of Neural Text Degeneration", 2019, section 3.1);
//! - min-p keeps `p >= min_p * max(p)`, that is `logit >= max + ln(min_p)` (Nguyen et al., "Turning Up the Heat:
//!   Min-p Sampling", 2024).
//!
//! Each leaves a beginning of the same sorted list, so min-p may be applied early, as long as top-p still counts
//! the probability of what min-p took away. Temperature comes after all three, as in llama.cpp.

use super::candidates::{Candidate, at_least, best, largest};
use super::exp::{exp, sum_of_exp};
use crate::request::SamplingParams;

/// The tokens that may be drawn, in ascending order.
pub(super) fn keep(logits: &[f32], params: &SamplingParams) -> Vec<Candidate> {
    let max = largest(logits);
    let floor = if params.min_p > 0.0 {
        max + params.min_p.ln()
    } else {
        f32::NEG_INFINITY
    };
    let with_top_p = params.top_p < 1.0;
    let top_k = params.top_k as usize;
    let total;
    let mut kept;
    if top_k > 0 && top_k < logits.len() {
        kept = best(logits, top_k);
        kept.sort_unstable_by_key(|candidate| candidate.token);
        total = if with_top_p { mass(&kept, max) } else { 0.0 };
        kept.retain(|candidate| candidate.logit >= floor);
    } else {
        kept = at_least(logits, floor);
        total = if with_top_p {
            sum_of_exp(logits, max)
        } else {
            0.0
        };
    }
    if with_top_p {
        cut_to_mass(&mut kept, max, f64::from(params.top_p) * total);
    }
    kept
}

/// One of the candidates, in proportion to `exp(logit / temperature)`: the first, in the order given, at which the
/// running sum exceeds `uniform` (in `[0, 1)`) of the whole.
pub(super) fn draw(candidates: &[Candidate], temperature: f32, uniform: f64) -> Option<Candidate> {
    let max = candidates
        .iter()
        .map(|candidate| candidate.logit)
        .fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f32> = candidates
        .iter()
        .map(|candidate| exp((candidate.logit - max) / temperature))
        .collect();
    let target = uniform * weights.iter().map(|&weight| f64::from(weight)).sum::<f64>();
    let mut sum = 0.0;
    let mut last = None;
    for (candidate, &weight) in candidates.iter().zip(&weights) {
        sum += f64::from(weight);
        if weight > 0.0 {
            last = Some(*candidate);
            if sum > target {
                break;
            }
        }
    }
    last
}

/// What a candidate's probability is in proportion to.
fn weight(candidate: &Candidate, max: f32) -> f64 {
    f64::from(exp(candidate.logit - max))
}

fn mass(candidates: &[Candidate], max: f32) -> f64 {
    candidates
        .iter()
        .map(|candidate| weight(candidate, max))
        .sum()
}

/// Keeps the shortest beginning (best first) whose weights reach `target`, and at least one candidate.
/// Their order stays as it was.
fn cut_to_mass(candidates: &mut Vec<Candidate>, max: f32, target: f64) {
    let Some((index, sum)) = bin_of_mass(candidates, max, target) else {
        return;
    };
    let mut doubtful: Vec<Candidate> = candidates
        .iter()
        .filter(|candidate| bin(candidate, max) == index)
        .copied()
        .collect();
    if let Some(worst) = last_of_mass(&mut doubtful, max, target - sum) {
        candidates.retain(|candidate| candidate.order(&worst).is_le());
    }
}

/// Bins are 1/32 wide in logits, from the best one downwards; the last one takes all that is far below.
const BINS: usize = 1024;

fn bin(candidate: &Candidate, max: f32) -> usize {
    (((max - candidate.logit) * 32.0) as usize).min(BINS - 1)
}

/// The bin in which the running sum of weights, best first, reaches `target`, and the sum before that bin.
fn bin_of_mass(candidates: &[Candidate], max: f32, target: f64) -> Option<(usize, f64)> {
    let mut bins = [0.0; BINS];
    for candidate in candidates {
        bins[bin(candidate, max)] += weight(candidate, max);
    }
    let mut sum = 0.0;
    for (index, weight) in bins.into_iter().enumerate() {
        if weight > 0.0 && sum + weight >= target {
            return Some((index, sum));
        }
        sum += weight;
    }
    None
}

/// The candidate at which the running sum of weights, best first, reaches `target`; or else the worst one.
///
/// Splits the interval that holds the answer, so that no more than the last few are sorted.
fn last_of_mass(candidates: &mut [Candidate], max: f32, target: f64) -> Option<Candidate> {
    const FEW: usize = 64;
    let (mut start, mut end) = (0, candidates.len());
    let mut sum = 0.0;
    while end - start > FEW {
        let middle = start + (end - start) / 2;
        candidates[start..end].select_nth_unstable_by(middle - start, Candidate::order);
        let part = mass(&candidates[start..middle], max);
        if sum + part >= target {
            end = middle;
        } else {
            sum += part;
            start = middle;
        }
    }
    let few = &mut candidates[start..end];
    few.sort_unstable_by(Candidate::order);
    let reached = few.iter().find(|candidate| {
        sum += weight(candidate, max);
        sum >= target
    });
    reached.or(few.last()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definitions, one after the other, on a sorted list.
    fn reference(logits: &[f32], params: &SamplingParams) -> Vec<i32> {
        let mut all: Vec<(i32, f32)> = (0..).zip(logits.iter().copied()).collect();
        all.retain(|(_, logit)| *logit > f32::NEG_INFINITY);
        all.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap().then(a.0.cmp(&b.0)));
        let max = all[0].1;
        if params.top_k > 0 {
            all.truncate(params.top_k as usize);
        }
        if params.top_p < 1.0 {
            let total: f64 = all
                .iter()
                .map(|(_, logit)| f64::from(exp(logit - max)))
                .sum();
            let mut sum = 0.0;
            let mut kept = 0;
            for (_, logit) in &all {
                sum += f64::from(exp(logit - max));
                kept += 1;
                if sum >= f64::from(params.top_p) * total {
                    break;
                }
            }
            all.truncate(kept);
        }
        if params.min_p > 0.0 {
            all.retain(|(_, logit)| *logit >= max + params.min_p.ln());
        }
        let mut tokens: Vec<i32> = all.iter().map(|(token, _)| *token).collect();
        tokens.sort_unstable();
        tokens
    }

    fn logits() -> impl Strategy<Value = Vec<f32>> {
        let logit = prop_oneof![4 => (-8i8..8).prop_map(f32::from), 1 => Just(f32::NEG_INFINITY), 4 => -9.0f32..9.0];
        (proptest::collection::vec(logit, 0..1500), -9.0f32..9.0).prop_map(
            |(mut logits, possible)| {
                logits.push(possible);
                logits
            },
        )
    }

    fn params() -> impl Strategy<Value = SamplingParams> {
        let top_k = prop_oneof![Just(0u32), 1u32..60, Just(5000)];
        let top_p = prop_oneof![Just(1.0f32), Just(0.0), Just(0.5), 0.0f32..1.0];
        let min_p = prop_oneof![Just(0.0f32), Just(1.0), 0.0f32..0.3];
        (top_k, top_p, min_p).prop_map(|(top_k, top_p, min_p)| SamplingParams {
            top_k,
            top_p,
            min_p,
            ..SamplingParams::default()
        })
    }

    fn candidates(logits: &[f32]) -> Vec<Candidate> {
        (0..)
            .zip(logits)
            .map(|(token, &logit)| Candidate { token, logit })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn keeps_what_the_definitions_keep(logits in logits(), params in params()) {
            let kept: Vec<i32> = keep(&logits, &params).iter().map(|candidate| candidate.token).collect();
            prop_assert_eq!(kept, reference(&logits, &params));
        }

        #[test]
        fn something_is_always_drawn(logits in logits(), temperature in prop_oneof![1e-40f32..1e-3, 0.1f32..5.0, Just(f32::MAX)], uniform in 0.0f64..1.0) {
            let drawn = draw(&candidates(&logits), temperature, uniform);
            prop_assert!(drawn.is_some_and(|candidate| candidate.logit > f32::NEG_INFINITY));
        }
    }

    #[test]
    fn draws_follow_the_probabilities() {
        // At temperature 2, weights 1, 2, 4 and 8 out of 15.
        let step = 2.0 * 2.0f32.ln();
        let candidates = candidates(&[0.0, step, 2.0 * step, 3.0 * step]);
        let drawn = |uniform: f64| draw(&candidates, 2.0, uniform).unwrap().token;
        for (uniform, token) in [
            (0.0, 0),
            (0.9 / 15.0, 0),
            (1.1 / 15.0, 1),
            (2.9 / 15.0, 1),
            (3.1 / 15.0, 2),
            (6.9 / 15.0, 2),
            (7.1 / 15.0, 3),
            (0.999_999, 3),
        ] {
            assert_eq!(drawn(uniform), token, "{uniform}");
        }
    }

    #[test]
    fn a_tiny_temperature_takes_the_best() {
        let candidates = candidates(&[1.0, 1.000_001, -5.0]);
        assert_eq!(
            draw(&candidates, f32::MIN_POSITIVE, 0.999).unwrap().token,
            1
        );
    }

    #[test]
    fn nothing_is_drawn_from_nothing() {
        assert_eq!(draw(&[], 1.0, 0.5), None);
    }
}
