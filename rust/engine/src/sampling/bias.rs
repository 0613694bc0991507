//! `logit_bias`: added to logits; infinities ban tokens or leave no others.

use std::collections::BTreeMap;

use crate::backend::Token;

/// Biases, sorted by what they do.
#[derive(Debug, Default)]
pub(super) struct Bias {
    added: Vec<(Token, f32)>,
    banned: Vec<Token>,
    /// When there are any, all other tokens are banned.
    only: Vec<Token>,
}

impl Bias {
    /// `bias` as a request gives it (entries for one token add up; of both infinities the ban wins), and tokens
    /// that are banned besides.
    pub(super) fn new(bias: &[(Token, f32)], banned: &[Token]) -> Self {
        let mut sums = BTreeMap::new();
        for &(token, bias) in bias {
            *sums.entry(token).or_insert(0.0f32) += bias;
        }
        let mut result = Self {
            banned: banned.to_vec(),
            ..Self::default()
        };
        for (token, bias) in sums {
            if bias.is_finite() {
                result.added.push((token, bias));
            } else if bias == f32::INFINITY {
                result.only.push(token);
            } else {
                result.banned.push(token);
            }
        }
        result
    }

    /// Whether it changes nothing.
    pub(super) fn is_none(&self) -> bool {
        self.added.is_empty() && self.banned.is_empty() && self.only.is_empty()
    }

    /// Changes the logits in place.
    pub(super) fn apply(&self, logits: &mut [f32]) {
        if !self.only.is_empty() {
            let kept: Vec<f32> = self
                .only
                .iter()
                .filter_map(|&token| at(logits, token).copied())
                .collect();
            logits.fill(f32::NEG_INFINITY);
            for (&token, logit) in self.only.iter().zip(kept) {
                set(logits, token, |_| logit);
            }
        }
        for &(token, bias) in &self.added {
            set(logits, token, |logit| logit + bias);
        }
        for &token in &self.banned {
            set(logits, token, |_| f32::NEG_INFINITY);
        }
    }
}

fn at(logits: &mut [f32], token: Token) -> Option<&mut f32> {
    usize::try_from(token)
        .ok()
        .and_then(|index| logits.get_mut(index))
}

fn set(logits: &mut [f32], token: Token, change: impl FnOnce(f32) -> f32) {
    if let Some(logit) = at(logits, token) {
        *logit = change(*logit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: f32 = f32::NEG_INFINITY;

    fn biased(bias: &[(Token, f32)], banned: &[Token]) -> [f32; 4] {
        let mut logits = [1.0, 2.0, 3.0, 4.0];
        Bias::new(bias, banned).apply(&mut logits);
        logits
    }

    #[test]
    fn finite_biases_add_up() {
        assert_eq!(
            biased(&[(0, 1.0), (2, -5.0), (0, 2.0)], &[]),
            [4.0, 2.0, -2.0, 4.0]
        );
    }

    #[test]
    fn infinities_ban_or_leave_no_others() {
        assert_eq!(biased(&[(3, NONE)], &[]), [1.0, 2.0, 3.0, NONE]);
        assert_eq!(
            biased(&[(0, f32::INFINITY), (2, f32::INFINITY), (1, 50.0)], &[]),
            [1.0, NONE, 3.0, NONE]
        );
        assert_eq!(
            biased(&[(0, f32::INFINITY), (0, NONE), (1, f32::INFINITY)], &[]),
            [NONE, 2.0, NONE, NONE]
        );
    }

    #[test]
    fn a_ban_stands_against_any_bias() {
        assert_eq!(
            biased(&[(1, 50.0), (2, f32::INFINITY)], &[1, 2]),
            [NONE, NONE, NONE, NONE].map(|_| NONE)
        );
        assert_eq!(biased(&[], &[]), [1.0, 2.0, 3.0, 4.0]);
        assert!(Bias::new(&[], &[]).is_none());
    }
}
