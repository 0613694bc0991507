//! top-k, top-p and min-p: which tokens may be drawn.
//!
//! With the tokens sorted best first and `p` their softmax:
//! - top-k keeps the first k (Fan, Lewis and Dauphin, "Hierarchical Neural Story Generation", 2018);
//! - top-p keeps the shortest beginning of what is left whose `p`, renormalised to it, reach `top_p`
//!   (Holtzman et al., "The Curious Case of Neural Text Degeneration", 2019, section 3.1);
//! - min-p keeps `p >= min_p * max(p)`, that is `logit >= max + ln(min_p)` (Nguyen et al., "Turning Up the Heat:
//!   Min-p Sampling", 2024).
//!
//! Each leaves a beginning of the same sorted list, which the worst token in it tells: its [`Border`]. So nothing is
//! sorted or copied but the few tokens around the border of top-p. Temperature comes after all three, as in llama.cpp.

use multiversion::multiversion;

use super::candidates::{Candidate, LANES, best};
use super::exp::exp;
use crate::backend::Token;
use crate::request::SamplingParams;

/// Where a beginning of the sorted list ends: of tokens with this logit, those up to `last` belong to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Border {
    logit: f32,
    last: usize,
}

impl Border {
    /// Keeps all of `count` tokens that are possible and have at least this logit.
    fn at_least(floor: f32, count: usize) -> Self {
        Self {
            logit: floor.max(f32::MIN),
            last: count.saturating_sub(1),
        }
    }

    /// The one that keeps fewer.
    fn narrower(self, other: Self) -> Self {
        let narrower =
            other.logit > self.logit || (other.logit == self.logit && other.last < self.last);
        if narrower { other } else { self }
    }

    /// The logits in two parts, each with the index of its first and the least logit that is kept there.
    pub(super) fn parts(self, logits: &[f32]) -> [(usize, &[f32], f32); 2] {
        let split = logits.len().min(self.last + 1);
        let (upto, after) = logits.split_at(split);
        [(0, upto, self.logit), (split, after, self.logit.next_up())]
    }
}

/// The best `top_k` tokens in ascending order with their logits, where `top_k` leaves any out.
pub(super) fn best_of(logits: &[f32], top_k: usize) -> Option<(Vec<Token>, Vec<f32>)> {
    if top_k == 0 || top_k >= logits.len() {
        return None;
    }
    let mut kept = best(logits, top_k);
    kept.sort_unstable_by_key(|candidate| candidate.token);
    let pairs = kept.into_iter().map(|kept| (kept.token, kept.logit));
    Some(pairs.unzip())
}

/// What top-p and min-p leave of these logits, of which `max` is the largest.
pub(super) fn border(logits: &[f32], max: f32, params: &SamplingParams) -> Border {
    let floor = if params.min_p > 0.0 {
        max + params.min_p.ln()
    } else {
        f32::MIN
    };
    let border = Border::at_least(floor, logits.len());
    if params.top_p < 1.0 {
        let reached = border_of_mass(logits, max, f64::from(params.top_p));
        reached.map_or(border, |reached| border.narrower(reached))
    } else {
        border
    }
}

/// Where the running sum of weights, best first, reaches a part of the whole; nowhere if rounding keeps it from that.
fn border_of_mass(logits: &[f32], max: f32, part: f64) -> Option<Border> {
    let bins = weights_by_bin(logits, max);
    let target = part * bins.iter().sum::<f64>();
    let mut sum = 0.0;
    let bin = bins.iter().position(|&weight| {
        sum += weight;
        weight > 0.0 && sum >= target
    })?;
    let before = sum - bins[bin];
    let mut doubtful = members(logits, max, bin);
    let worst = last_of_mass(&mut doubtful, max, target - before)?;
    Some(Border {
        logit: worst.logit,
        last: usize::try_from(worst.token).ok()?,
    })
}

/// Bins are 1/256 wide in logits, from the best one downwards; the last one takes all that is far below.
const BINS: usize = 4096;
const BINS_A_LOGIT: f32 = 256.0;
/// Adding it to a float below it rounds that to an integer, which then stands in the low bits.
const ROUND: f32 = 8_388_608.0;

/// The bin of a logit that is so much below the largest. Written to become vector instructions.
#[inline(always)]
fn bin_of(below: f32) -> u32 {
    const LAST: f32 = (BINS - 1) as f32;
    let steps = below * BINS_A_LOGIT;
    let steps = if steps < LAST { steps } else { LAST };
    (steps + ROUND).to_bits() & (BINS as u32 - 1)
}

/// The sum of `exp(logit - max)` by bin.
#[multiversion(targets("x86_64+avx2"))]
fn weights_by_bin(logits: &[f32], max: f32) -> [f64; BINS] {
    let mut sums = [0.0; BINS];
    let chunks = logits.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        let (mut bins, mut weights) = ([0; LANES], [0.0; LANES]);
        for ((bin, weight), &logit) in bins.iter_mut().zip(&mut weights).zip(chunk) {
            *bin = bin_of(max - logit);
            *weight = f64::from(exp(logit - max));
        }
        for (bin, weight) in bins.into_iter().zip(weights) {
            sums[bin as usize] += weight;
        }
    }
    for &logit in rest {
        sums[bin_of(max - logit) as usize] += f64::from(exp(logit - max));
    }
    sums
}

/// The possible tokens of a bin.
#[multiversion(targets("x86_64+avx2"))]
fn members(logits: &[f32], max: f32, bin: usize) -> Vec<Candidate> {
    let is_in = |logit: f32| bin_of(max - logit) as usize == bin;
    let mut members = Vec::new();
    for (block, chunk) in logits.chunks(LANES).enumerate() {
        if chunk.iter().fold(false, |any, &logit| any | is_in(logit)) {
            let lanes = chunk.iter().enumerate();
            let found = lanes.filter(|&(_, &logit)| is_in(logit) && logit > f32::NEG_INFINITY);
            members.extend(found.map(|(lane, &logit)| Candidate::at(block * LANES + lane, logit)));
        }
    }
    members
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
    use super::super::candidates::largest;
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

    /// Every token that may be drawn.
    fn keep(logits: &[f32], params: &SamplingParams) -> Vec<i32> {
        let (tokens, logits) = best_of(logits, params.top_k as usize)
            .unwrap_or_else(|| ((0..).take(logits.len()).collect(), logits.to_vec()));
        let border = border(&logits, largest(&logits), params);
        let kept = border.parts(&logits).map(|(first, part, floor)| {
            let kept = (first..).zip(part).filter(|&(_, &logit)| logit >= floor);
            kept.map(|(index, _)| tokens[index]).collect::<Vec<_>>()
        });
        kept.concat()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn keeps_what_the_definitions_keep(logits in logits(), params in params()) {
            prop_assert_eq!(keep(&logits, &params), reference(&logits, &params));
        }

        #[test]
        fn bins_never_rise_with_the_logit(a in 0.0f32..40.0, b in 0.0f32..40.0) {
            prop_assert!(bin_of(a.min(b)) <= bin_of(a.max(b)));
            prop_assert!((bin_of(a) as usize) < BINS);
        }
    }

    #[test]
    fn the_impossible_is_in_the_last_bin() {
        assert_eq!(bin_of(f32::INFINITY) as usize, BINS - 1);
        assert_eq!(bin_of(f32::MAX) as usize, BINS - 1);
        assert_eq!(bin_of(0.0), 0);
    }
}
