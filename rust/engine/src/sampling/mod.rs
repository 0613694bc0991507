//! Choosing the next token from a row of logits.
//!
//! The order is llama.cpp's: logit bias, penalties, then either the largest logit (temperature 0; between equal
//! ones the lowest token) or top-k, top-p, min-p, temperature and a draw. Formulas and their sources stand in the
//! submodules. A sampler has no state but the window of its penalties, which the tokens so far determine.

mod bias;
mod candidates;
mod draw;
mod exp;
mod logprobs;
mod penalties;
mod rng;
mod truncation;

pub use logprobs::LOGPROB_FLOOR;
pub use rng::{random_seed, uniform};

use crate::backend::Token;
use crate::event::TokenInfo;
use crate::form::{Constraint, FollowError};
use crate::request::SamplingParams;
use bias::Bias;
use penalties::Penalties;

/// Why no token could be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SampleError {
    /// The model computed NaN or positive infinity.
    #[error(
        "the model's logits are not numbers (NaN or infinite): the model or its computation is broken"
    )]
    NotANumber,
    /// Biases and penalties brought a logit to positive infinity or NaN.
    #[error("logit_bias and penalties are too large: a logit is no longer a finite number")]
    Overflow,
    /// There is no token that is not banned.
    #[error(
        "logit_bias, or it together with response_format, leaves no token that could be chosen"
    )]
    NothingLeft,
    /// The answer's form cannot be followed any further.
    #[error(transparent)]
    Form(#[from] FollowError),
}

/// Chooses the tokens of one sequence.
#[derive(Debug)]
pub struct Sampler {
    params: SamplingParams,
    bias: Bias,
    penalties: Option<Penalties>,
    /// Which tokens the answer's form allows.
    form: Option<Constraint>,
    logprobs: Option<u8>,
    /// The logits after bias and penalties; empty while there are none.
    adjusted: Vec<f32>,
}

impl Sampler {
    /// A sampler that never chooses a token of `banned` and reports as many alternatives as `logprobs` asks for.
    #[must_use]
    pub fn new(params: SamplingParams, banned: &[Token], logprobs: Option<u8>) -> Self {
        let bias = Bias::new(&params.logit_bias, banned);
        let penalties = Penalties::new(&params);
        Self {
            params,
            bias,
            penalties,
            form: None,
            logprobs,
            adjusted: Vec::new(),
        }
    }

    /// The same sampler for an answer of a form.
    #[must_use]
    pub fn with_form(self, form: Option<Constraint>) -> Self {
        Self { form, ..self }
    }

    /// Whether log-probabilities were asked for.
    pub(crate) fn reports_logprobs(&self) -> bool {
        self.logprobs.is_some()
    }

    /// The form that the answer is of.
    pub(crate) fn form(&mut self) -> Option<&mut Constraint> {
        self.form.as_mut()
    }

    /// Takes note of the next token of the completion.
    pub fn chosen(&mut self, token: Token) {
        self.observe(token);
        if let Some(form) = &mut self.form {
            form.observe(token);
        }
    }

    /// Takes note of the next token of the prompt; see [`Self::chosen`] for those of the completion.
    pub fn observe(&mut self, token: Token) {
        if let Some(penalties) = &mut self.penalties {
            penalties.observe(token);
        }
    }

    /// Chooses the token that stands at `position` of the sequence from the logits after those before it.
    ///
    /// # Errors
    /// When the logits allow no choice; see [`SampleError`].
    pub fn sample(&mut self, logits: &[f32], position: u64) -> Result<TokenInfo, SampleError> {
        if !candidates::are_usable(logits) {
            return Err(SampleError::NotANumber);
        }
        let token = if self.bias.is_none() && self.penalties.is_none() && self.form.is_none() {
            choose(logits, &self.params, position)?
        } else {
            self.adjusted.clear();
            self.adjusted.extend_from_slice(logits);
            self.bias.apply(&mut self.adjusted);
            if let Some(penalties) = &self.penalties {
                penalties.apply(&mut self.adjusted);
            }
            if !candidates::are_usable(&self.adjusted) {
                return Err(SampleError::Overflow);
            }
            if let Some(form) = &mut self.form {
                form.apply(&mut self.adjusted)?;
            }
            choose(&self.adjusted, &self.params, position)?
        };
        Ok(match self.logprobs {
            Some(count) => logprobs::describe(logits, token, usize::from(count)),
            None => TokenInfo {
                token,
                logprob: None,
                top: Vec::new(),
            },
        })
    }
}

fn choose(logits: &[f32], params: &SamplingParams, position: u64) -> Result<Token, SampleError> {
    let chosen = if params.temperature == 0.0 {
        candidates::argmax(logits).map(|candidate| candidate.token)
    } else {
        draw(logits, params, uniform(params.seed, position))
    };
    chosen.ok_or(SampleError::NothingLeft)
}

/// One of the tokens that top-k, top-p and min-p leave.
fn draw(logits: &[f32], params: &SamplingParams, uniform: f64) -> Option<Token> {
    let best = truncation::best_of(logits, params.top_k as usize);
    let left = best.as_ref().map_or(logits, |(_, logits)| logits);
    let max = candidates::largest(left);
    let border = truncation::border(left, max, params);
    let index = draw::draw(left, max, border, params.temperature, uniform)?;
    match &best {
        Some((tokens, _)) => tokens.get(index).copied(),
        None => Token::try_from(index).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn greedy() -> SamplingParams {
        SamplingParams {
            temperature: 0.0,
            ..SamplingParams::default()
        }
    }

    fn sample(
        params: SamplingParams,
        banned: &[Token],
        logits: &[f32],
    ) -> Result<Token, SampleError> {
        Sampler::new(params, banned, None)
            .sample(logits, 0)
            .map(|info| info.token)
    }

    #[test]
    fn greedy_takes_the_lowest_of_the_largest() {
        assert_eq!(sample(greedy(), &[], &[0.0, 2.0, 1.0, 2.0]), Ok(1));
        assert_eq!(sample(greedy(), &[1], &[0.0, 2.0, 1.0, 2.0]), Ok(3));
        assert_eq!(sample(greedy(), &[], &[-0.0, 0.0]), Ok(0));
    }

    #[test]
    fn bad_logits_are_errors_whatever_the_parameters() {
        for params in [greedy(), SamplingParams::default()] {
            for bad in [f32::NAN, f32::INFINITY] {
                assert_eq!(
                    sample(params.clone(), &[], &[0.0, bad]),
                    Err(SampleError::NotANumber)
                );
            }
            assert_eq!(
                sample(params.clone(), &[], &[]),
                Err(SampleError::NothingLeft)
            );
            assert_eq!(
                sample(params.clone(), &[], &[f32::NEG_INFINITY]),
                Err(SampleError::NothingLeft)
            );
            assert_eq!(
                sample(params.clone(), &[0, 1], &[1.0, 2.0]),
                Err(SampleError::NothingLeft)
            );
            let biased = SamplingParams {
                logit_bias: vec![(0, f32::MAX)],
                ..params
            };
            assert_eq!(
                sample(biased, &[], &[f32::MAX, 0.0]),
                Err(SampleError::Overflow)
            );
        }
    }

    #[test]
    fn penalties_follow_what_was_observed() {
        let params = SamplingParams {
            repeat_penalty: 4.0,
            repeat_last_n: 1,
            ..greedy()
        };
        let mut sampler = Sampler::new(params, &[], None);
        let logits = [3.0, 2.0];
        let mut chosen = Vec::new();
        for position in 0..4 {
            let token = sampler.sample(&logits, position).unwrap().token;
            sampler.observe(token);
            chosen.push(token);
        }
        assert_eq!(chosen, [0, 1, 0, 1]);
    }

    #[test]
    fn log_probabilities_are_those_before_bias() {
        let params = SamplingParams {
            logit_bias: vec![(1, f32::INFINITY)],
            ..greedy()
        };
        let info = Sampler::new(params, &[], Some(1))
            .sample(&[1.0, 1.0], 0)
            .unwrap();
        assert_eq!(info.token, 1);
        assert!((info.logprob.unwrap() - 0.5f32.ln()).abs() < 1e-6);
        assert_eq!(info.top[0].token, 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Draws replay from seed and position alone, whatever came before.
        #[test]
        fn a_resumed_stream_needs_no_state(
            rows in proptest::collection::vec(proptest::collection::vec(-4.0f32..4.0, 20), 1..12),
            seed in any::<u64>(),
            from in any::<prop::sample::Index>(),
        ) {
            let params = SamplingParams { seed, temperature: 1.5, repeat_penalty: 1.2, ..SamplingParams::default() };
            let run = |sampler: &mut Sampler, from: usize| -> Vec<Token> {
                (from..rows.len()).map(|position| {
                    let token = sampler.sample(&rows[position], position as u64).unwrap().token;
                    sampler.observe(token);
                    token
                }).collect()
            };
            let whole = run(&mut Sampler::new(params.clone(), &[], None), 0);
            let from = from.index(rows.len());
            let mut resumed = Sampler::new(params, &[], None);
            whole[..from].iter().for_each(|&token| resumed.observe(token));
            prop_assert_eq!(&run(&mut resumed, from), &whole[from..]);
        }

        /// Over many positions, frequencies follow the softmax (total variation within what 4,000 draws allow).
        #[test]
        fn frequencies_follow_the_distribution(logits in proptest::collection::vec(-2.0f32..2.0, 2..6), seed in any::<u64>()) {
            const DRAWS: u32 = 4000;
            let params = SamplingParams { seed, temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, ..SamplingParams::default() };
            let mut sampler = Sampler::new(params, &[], None);
            let mut counts = vec![0.0f64; logits.len()];
            for position in 0..DRAWS {
                let token = sampler.sample(&logits, u64::from(position)).unwrap().token;
                counts[token as usize] += 1.0;
            }
            let total: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
            let distance: f64 = logits.iter().zip(&counts).map(|(logit, count)| {
                (f64::from(*logit).exp() / total - count / f64::from(DRAWS)).abs()
            }).sum::<f64>() / 2.0;
            prop_assert!(distance < 0.06, "{distance}");
        }
    }
}
