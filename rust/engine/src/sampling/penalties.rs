//! Penalties on tokens that were there before.
//!
//! For a token that is in the window `count` times, as llama.cpp has it (`llama_sampler_penalties_apply`):
//! - repetition (Keskar et al., "CTRL", 2019, section 4.1, with the sign minded): a logit above 0 is divided by
//!   `repeat_penalty`, any other is multiplied by it;
//! - then presence and frequency (the OpenAI API): `logit -= count * frequency_penalty + presence_penalty`.

use std::collections::{HashMap, VecDeque};

use crate::backend::Token;
use crate::request::SamplingParams;

/// The tokens of the window and how often each is in it.
#[derive(Debug)]
pub(super) struct Penalties {
    repeat: f32,
    presence: f32,
    frequency: f32,
    /// Length of the window; `None` is without end.
    window: Option<usize>,
    recent: VecDeque<Token>,
    counts: HashMap<Token, u32>,
}

impl Penalties {
    /// `None` when the parameters ask for no penalty at all.
    pub(super) fn new(params: &SamplingParams) -> Option<Self> {
        let neutral = params.repeat_penalty == 1.0
            && params.presence_penalty == 0.0
            && params.frequency_penalty == 0.0;
        if neutral || params.repeat_last_n == 0 {
            return None;
        }
        Some(Self {
            repeat: params.repeat_penalty,
            presence: params.presence_penalty,
            frequency: params.frequency_penalty,
            window: usize::try_from(params.repeat_last_n).ok(),
            recent: VecDeque::new(),
            counts: HashMap::new(),
        })
    }

    /// Takes the next token of prompt or completion into the window.
    pub(super) fn observe(&mut self, token: Token) {
        *self.counts.entry(token).or_insert(0) += 1;
        let Some(window) = self.window else { return };
        self.recent.push_back(token);
        if self.recent.len() <= window {
            return;
        }
        if let Some(oldest) = self.recent.pop_front()
            && let Some(count) = self.counts.get_mut(&oldest)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&oldest);
            }
        }
    }

    /// Applies the penalties to the logits of all tokens in the window.
    pub(super) fn apply(&self, logits: &mut [f32]) {
        for (&token, &count) in &self.counts {
            let Some(logit) = usize::try_from(token)
                .ok()
                .and_then(|index| logits.get_mut(index))
            else {
                continue;
            };
            *logit = if *logit > 0.0 {
                *logit / self.repeat
            } else {
                *logit * self.repeat
            };
            *logit -= count as f32 * self.frequency + self.presence;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn params(repeat: f32, presence: f32, frequency: f32, last_n: i32) -> SamplingParams {
        SamplingParams {
            repeat_penalty: repeat,
            presence_penalty: presence,
            frequency_penalty: frequency,
            repeat_last_n: last_n,
            ..SamplingParams::default()
        }
    }

    #[test]
    fn neutral_penalties_are_none() {
        assert!(Penalties::new(&params(1.0, 0.0, 0.0, 64)).is_none());
        assert!(Penalties::new(&params(2.0, 1.0, 1.0, 0)).is_none());
        assert!(Penalties::new(&params(1.0, 0.0, -0.5, 64)).is_some());
    }

    #[test]
    fn worked_example() {
        let mut penalties = Penalties::new(&params(2.0, 0.5, 0.25, 64)).unwrap();
        for token in [0, 1, 1] {
            penalties.observe(token);
        }
        let mut logits = [4.0, -3.0, 7.0];
        penalties.apply(&mut logits);
        assert_eq!(logits, [4.0 / 2.0 - 0.75, -3.0 * 2.0 - 1.0, 7.0]);
    }

    #[test]
    fn banned_tokens_stay_banned() {
        let mut penalties = Penalties::new(&params(0.5, -1.0, 0.0, -1)).unwrap();
        penalties.observe(0);
        let mut logits = [f32::NEG_INFINITY];
        penalties.apply(&mut logits);
        assert_eq!(logits, [f32::NEG_INFINITY]);
    }

    proptest! {
        #[test]
        fn the_window_holds_the_last_tokens(
            tokens in proptest::collection::vec(0i32..6, 0..40),
            last_n in prop_oneof![Just(-1), 1..10],
        ) {
            let mut penalties = Penalties::new(&params(1.0, 0.0, 1.0, last_n)).unwrap();
            tokens.iter().for_each(|&token| penalties.observe(token));
            let window = usize::try_from(last_n).unwrap_or(usize::MAX);
            let recent = &tokens[tokens.len().saturating_sub(window)..];
            let mut logits = [0.0; 6];
            penalties.apply(&mut logits);
            for (token, logit) in (0..).zip(logits) {
                let count = recent.iter().filter(|&&recent| recent == token).count();
                prop_assert_eq!(logit, 0.0 - count as f32);
            }
        }
    }
}
