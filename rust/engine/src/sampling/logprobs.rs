//! Log-probabilities of the model's own distribution: `log softmax` of the untouched logits.

use super::candidates::{best, largest, token_at};
use super::exp::sum_of_exp;
use crate::backend::Token;
use crate::event::{TokenInfo, TokenLogprob};

/// What a log-probability is at least: stands for "impossible", since JSON has no infinity.
pub const LOGPROB_FLOOR: f32 = -9999.0;

/// Log-probabilities of `token` and of the `count` most likely tokens, best first (ties: lowest token first).
pub(super) fn describe(logits: &[f32], token: Token, count: usize) -> TokenInfo {
    let log_total = log_sum_exp(logits);
    let logprob = |logit: f32| ((f64::from(logit) - log_total) as f32).max(LOGPROB_FLOOR);
    let mut top = best(logits, count);
    top.sort_unstable_by(|a, b| a.order(b));
    let own = token_at(logits, token).map_or(LOGPROB_FLOOR, logprob);
    TokenInfo {
        token,
        logprob: Some(own),
        top: top
            .iter()
            .map(|c| TokenLogprob {
                token: c.token,
                logprob: logprob(c.logit),
            })
            .collect(),
    }
}

/// `ln(sum(exp(logits)))`, shifted by the largest one so that nothing overflows.
fn log_sum_exp(logits: &[f32]) -> f64 {
    let max = largest(logits);
    f64::from(max) + sum_of_exp(logits, max).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn even_odds() {
        let info = describe(&[3.0, 3.0, f32::NEG_INFINITY], 1, 3);
        assert_eq!(info.token, 1);
        let half = 0.5f32.ln();
        assert!((info.logprob.unwrap() - half).abs() < 1e-6);
        assert_eq!(info.top.iter().map(|t| t.token).collect::<Vec<_>>(), [0, 1]);
        assert!((info.top[0].logprob - half).abs() < 1e-6);
    }

    #[test]
    fn the_impossible_has_a_finite_figure() {
        let info = describe(&[0.0, f32::NEG_INFINITY], 1, 0);
        assert_eq!(info.logprob, Some(LOGPROB_FLOOR));
        assert!(info.top.is_empty());
    }

    proptest! {
        #[test]
        fn probabilities_sum_to_one(logits in proptest::collection::vec(-30.0f32..30.0, 1..50)) {
            let info = describe(&logits, 0, logits.len());
            let sum: f64 = info.top.iter().map(|t| f64::from(t.logprob).exp()).sum();
            prop_assert!((sum - 1.0).abs() < 1e-4, "{sum}");
            prop_assert!(info.top.is_sorted_by(|a, b| a.logprob >= b.logprob));
            let own = info.top.iter().find(|t| t.token == 0).unwrap().logprob;
            prop_assert_eq!(info.logprob, Some(own));
        }
    }
}
