//! The few tokens that are worth looking at, found in one pass over a large vocabulary.
//!
//! "Better" means a larger logit and, between equal ones, the lower token. Nothing here sorts the vocabulary.

use std::cmp::Ordering;

use crate::backend::Token;

/// A token and its logit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    pub(super) token: Token,
    pub(super) logit: f32,
}

impl Candidate {
    pub(super) fn at(index: usize, logit: f32) -> Self {
        // Vocabularies are indexed by Token, so an index always fits one.
        Self {
            token: Token::try_from(index).unwrap_or(Token::MAX),
            logit,
        }
    }

    /// Best first. Logits are never NaN here, and the two zeros are equal.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        other
            .logit
            .partial_cmp(&self.logit)
            .unwrap_or(Ordering::Equal)
            .then(self.token.cmp(&other.token))
    }
}

/// The width of a comparison that compilers turn into a few vector instructions.
pub(super) const LANES: usize = 16;

/// The largest logit; negative infinity when there is none.
pub(super) fn largest(logits: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = logits.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &logit) in lanes.iter_mut().zip(chunk) {
            *lane = if logit > *lane { logit } else { *lane };
        }
    }
    lanes.iter().chain(rest).copied().fold(
        f32::NEG_INFINITY,
        |max, logit| if logit > max { logit } else { max },
    )
}

/// Whether all logits are numbers below positive infinity.
pub(super) fn are_usable(logits: &[f32]) -> bool {
    // Comparisons with NaN are false; `fold` without an early way out is what gets vectorised.
    logits
        .iter()
        .fold(true, |usable, &logit| usable & (logit < f32::INFINITY))
}

/// The logit of a token.
pub(super) fn token_at(logits: &[f32], token: Token) -> Option<f32> {
    usize::try_from(token)
        .ok()
        .and_then(|index| logits.get(index))
        .copied()
}

/// The best token: the lowest of those with the largest logit.
pub(super) fn argmax(logits: &[f32]) -> Option<Candidate> {
    let max = largest(logits);
    let has_max = |chunk: &[f32]| chunk.iter().fold(false, |any, &logit| any | (logit == max));
    let block = logits.chunks(LANES).position(has_max)? * LANES;
    let lane = logits[block..].iter().position(|&logit| logit == max)?;
    (max > f32::NEG_INFINITY).then(|| Candidate::at(block + lane, max))
}

/// The `count` best tokens that are possible at all, in no order.
pub(super) fn best(logits: &[f32], count: usize) -> Vec<Candidate> {
    if count == 0 {
        return Vec::new();
    }
    // A logit must beat the worst of the best to be looked at. Tokens come in ascending order, so an equal one
    // would lose the tie. The buffer is cut back when it is full, at a cost that its filling pays for.
    let capacity = count.saturating_mul(2).max(count.saturating_add(64));
    let mut kept: Vec<Candidate> = Vec::with_capacity(capacity.min(logits.len()));
    let mut threshold = f32::NEG_INFINITY;
    for (block, chunk) in logits.chunks(LANES).enumerate() {
        if !chunk
            .iter()
            .fold(false, |any, &logit| any | (logit > threshold))
        {
            continue;
        }
        for (lane, &logit) in chunk.iter().enumerate() {
            if logit > threshold {
                kept.push(Candidate::at(block * LANES + lane, logit));
            }
        }
        if kept.len() + LANES > capacity {
            threshold = cut_to(&mut kept, count).unwrap_or(threshold);
        }
    }
    cut_to(&mut kept, count);
    kept
}

/// Keeps the `count` best; the worst logit among them, if that many are there.
fn cut_to(candidates: &mut Vec<Candidate>, count: usize) -> Option<f32> {
    if candidates.len() < count {
        return None;
    }
    if candidates.len() > count {
        candidates.select_nth_unstable_by(count - 1, Candidate::order);
        candidates.truncate(count);
    }
    candidates
        .iter()
        .map(|candidate| candidate.logit)
        .min_by(f32::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sorted(logits: &[f32]) -> Vec<Candidate> {
        let mut all: Vec<Candidate> = logits
            .iter()
            .enumerate()
            .map(|(index, &logit)| Candidate::at(index, logit))
            .collect();
        all.retain(|candidate| candidate.logit > f32::NEG_INFINITY);
        all.sort_by(Candidate::order);
        all
    }

    /// Many ties, and some tokens that are impossible.
    fn logits() -> impl Strategy<Value = Vec<f32>> {
        let logit = prop_oneof![8 => (-8i8..8).prop_map(f32::from), 1 => Just(f32::NEG_INFINITY), 4 => -9.0f32..9.0];
        proptest::collection::vec(logit, 0..600)
    }

    proptest! {
        #[test]
        fn best_is_what_sorting_finds(logits in logits(), count in 0usize..80) {
            let mut found = best(&logits, count);
            found.sort_by(Candidate::order);
            let mut expected = sorted(&logits);
            expected.truncate(count);
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn argmax_is_the_first_of_the_sorted(logits in logits()) {
            prop_assert_eq!(argmax(&logits), sorted(&logits).first().copied());
            prop_assert_eq!(largest(&logits), logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        }

        #[test]
        fn one_bad_logit_is_seen(mut logits in logits(), at in any::<prop::sample::Index>(), nan in any::<bool>()) {
            prop_assert!(are_usable(&logits));
            logits.push(0.0);
            let index = at.index(logits.len());
            logits[index] = if nan { f32::NAN } else { f32::INFINITY };
            prop_assert!(!are_usable(&logits));
        }
    }
}
