//! What a caller asks for, and the reasons for which it is refused before it is queued.

use std::time::{Duration, Instant};

use crate::adapters::AdapterSet;
use crate::backend::{Limits, ModelInfo, Token};
use crate::form::Constraint;

/// Names a request in its events; unique within an engine, counted from 1.
pub type RequestId = u64;

/// Most alternatives that [`Request::logprobs`] may ask for.
pub const MAX_LOGPROBS: u8 = 20;
/// Most stop strings of a request.
pub const MAX_STOPS: usize = 64;
/// Longest stop string in bytes.
pub const MAX_STOP_BYTES: usize = 4096;

/// How the next token is chosen.
///
/// Order: `logit_bias`, penalties, and then the largest logit (`temperature` 0), or `top_k`, `top_p`, `min_p`,
/// `temperature` and a draw. See [`crate::sampling`] for the formulas.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingParams {
    /// Divides the logits before the draw; 0 takes the most likely token.
    pub temperature: f32,
    /// Keeps this many of the most likely tokens; 0 keeps all.
    pub top_k: u32,
    /// Keeps the fewest most likely tokens whose probabilities reach this sum; 1 keeps all.
    pub top_p: f32,
    /// Keeps tokens that are at least this fraction as likely as the most likely one; 0 keeps all.
    pub min_p: f32,
    /// Makes tokens of the window less likely; 1 is none.
    pub repeat_penalty: f32,
    /// The window of all three penalties: this many last tokens of prompt and completion;
    /// 0 switches them off, -1 means all tokens.
    pub repeat_last_n: i32,
    /// Taken from the logit of every token that is in the window.
    pub presence_penalty: f32,
    /// Taken from a token's logit for each time that it is in the window.
    pub frequency_penalty: f32,
    /// Added to logits. Negative infinity bans a token; positive infinity bans all tokens that have none.
    /// Entries for the same token add up.
    pub logit_bias: Vec<(Token, f32)>,
    /// The draw for position p is a function of `seed` and p only.
    pub seed: u64,
}

impl Default for SamplingParams {
    /// The defaults of the wire protocol.
    fn default() -> Self {
        Self {
            temperature: 0.7,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            repeat_penalty: 1.0,
            repeat_last_n: 64,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            seed: 0,
        }
    }
}

/// A prompt to be continued.
#[derive(Debug, Clone)]
pub struct Request {
    /// Tokens of the prompt; at least one, and fewer than the context holds.
    pub prompt: Vec<Token>,
    /// Most tokens to generate. With 0 the request finishes at once, for its length, with no text.
    pub max_tokens: u32,
    /// How tokens are chosen.
    pub sampling: SamplingParams,
    /// Strings that end the text; they are not part of it.
    pub stop: Vec<String>,
    /// Never choose a token that ends the generation.
    pub ignore_eos: bool,
    /// Tokens that the text has written out in this way, such as control tokens, which otherwise leave no text.
    pub spelled: Vec<(Token, String)>,
    /// What the answer must look like, from [`crate::form::Forms`] of the same model.
    pub form: Option<Constraint>,
    /// Report each token's log-probability and this many alternatives (at most [`MAX_LOGPROBS`]).
    pub logprobs: Option<u8>,
    /// Higher ones leave the queue first, and equal ones in the order of their arrival; those that are overtaken
    /// rise. When memory runs out, lower ones give way.
    pub priority: i8,
    /// When the answer is of no use any more: the request ends then, by the end of the step, or at once while it
    /// waits. Of requests of one priority the one with the earliest deadline leaves the queue first.
    pub deadline: Option<Instant>,
    /// The adapters that all of it is computed with. Computed prefixes are shared within one set only, and requests
    /// of different sets are computed in turns.
    pub adapters: AdapterSet,
    /// Whom the prompt belongs to. Computed prefixes are shared within one identity only, but for
    /// [`Self::public_prefix`].
    pub identity: u64,
    /// How many of the prompt's first tokens are no secret (a system prompt that all clients get): they are shared
    /// with every identity.
    pub public_prefix: usize,
    /// Use computed prefixes, and leave this one behind for others.
    pub prefix_cache: bool,
    /// Run alone, in chunks of a fixed size, with an empty KV cache and no computed prefixes, so that the same
    /// machine computes the same sums. Nobody else runs meanwhile.
    pub deterministic: bool,
    /// What happens when the context is full: `None` ends the answer for its length. Otherwise it goes on, with the
    /// first so many tokens (at most half of the context) and the later half of those after them. Only for models with
    /// [`ModelInfo::can_shift`]; others end.
    pub context_shift: Option<usize>,
}

impl Request {
    /// A request for up to `max_tokens` tokens after `prompt`, everything else at its default.
    #[must_use]
    pub fn new(prompt: Vec<Token>, max_tokens: u32) -> Self {
        Self {
            prompt,
            max_tokens,
            sampling: SamplingParams::default(),
            stop: Vec::new(),
            ignore_eos: false,
            spelled: Vec::new(),
            form: None,
            logprobs: None,
            priority: 0,
            deadline: None,
            adapters: AdapterSet::default(),
            identity: 0,
            public_prefix: 0,
            prefix_cache: true,
            deterministic: false,
            context_shift: None,
        }
    }

    /// Checks everything that can be checked before the request runs.
    ///
    /// # Errors
    /// The first thing found wrong.
    pub fn validate(&self, model: &ModelInfo, limits: &Limits) -> Result<(), SubmitError> {
        self.validate_prompt(model, limits)?;
        self.validate_stops()?;
        if self.logprobs.is_some_and(|n| n > MAX_LOGPROBS) {
            return Err(invalid("logprobs", format!("is more than {MAX_LOGPROBS}")));
        }
        if self.deterministic && self.context_shift.is_some() {
            return Err(invalid(
                "context_shift",
                "is not possible with deterministic, whose sums must not depend on what was dropped",
            ));
        }
        if self.ignore_eos && self.form.is_some() {
            return Err(invalid(
                "ignore_eos",
                "is not possible with a form, which says where the answer ends",
            ));
        }
        self.sampling.validate(model)
    }

    fn validate_prompt(&self, model: &ModelInfo, limits: &Limits) -> Result<(), SubmitError> {
        let limit = longest_prompt(limits);
        if self.prompt.is_empty() {
            return Err(SubmitError::EmptyPrompt);
        }
        if self.prompt.len() > limit {
            return Err(SubmitError::PromptTooLong {
                tokens: self.prompt.len(),
                limit,
            });
        }
        match self
            .prompt
            .iter()
            .position(|&token| !is_in_vocabulary(token, model))
        {
            Some(index) => Err(SubmitError::InvalidToken {
                index,
                token: self.prompt[index],
                n_vocab: model.n_vocab,
            }),
            None => Ok(()),
        }
    }

    fn validate_stops(&self) -> Result<(), SubmitError> {
        if self.stop.len() > MAX_STOPS {
            return Err(invalid(
                "stop",
                format!("holds more than {MAX_STOPS} strings"),
            ));
        }
        if self.stop.iter().any(String::is_empty) {
            return Err(invalid("stop", "holds an empty string"));
        }
        if self.stop.iter().any(|stop| stop.len() > MAX_STOP_BYTES) {
            return Err(invalid(
                "stop",
                format!("holds a string of more than {MAX_STOP_BYTES} bytes"),
            ));
        }
        Ok(())
    }
}

impl SamplingParams {
    fn validate(&self, model: &ModelInfo) -> Result<(), SubmitError> {
        let unit = 0.0..=1.0;
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return Err(invalid("temperature", "is not a number of 0 or more"));
        }
        if !unit.contains(&self.top_p) {
            return Err(invalid("top_p", "is not between 0 and 1"));
        }
        if !unit.contains(&self.min_p) {
            return Err(invalid("min_p", "is not between 0 and 1"));
        }
        if !(self.repeat_penalty.is_normal() && self.repeat_penalty > 0.0) {
            return Err(invalid("repeat_penalty", "is not a number above 0"));
        }
        if self.repeat_last_n < -1 {
            return Err(invalid("repeat_last_n", "is below -1"));
        }
        if !self.presence_penalty.is_finite() {
            return Err(invalid("presence_penalty", "is not finite"));
        }
        if !self.frequency_penalty.is_finite() {
            return Err(invalid("frequency_penalty", "is not finite"));
        }
        if let Some((token, _)) = self
            .logit_bias
            .iter()
            .find(|(token, _)| !is_in_vocabulary(*token, model))
        {
            return Err(invalid(
                "logit_bias",
                format!("names token {token}, which the model does not have"),
            ));
        }
        if let Some((token, _)) = self.logit_bias.iter().find(|(_, bias)| bias.is_nan()) {
            return Err(invalid(
                "logit_bias",
                format!("for token {token} is not a number"),
            ));
        }
        Ok(())
    }
}

/// Tokens in the longest prompt that leaves room for one token of an answer.
pub(crate) fn longest_prompt(limits: &Limits) -> usize {
    longest_sequence(limits).saturating_sub(1)
}

/// Tokens in the longest sequence, prompt and completion together.
pub(crate) fn longest_sequence(limits: &Limits) -> usize {
    let cells = if limits.unified {
        limits.kv_cells
    } else {
        limits.kv_cells / limits.n_seq_max.max(1)
    };
    limits.n_ctx.min(cells) as usize
}

fn is_in_vocabulary(token: Token, model: &ModelInfo) -> bool {
    usize::try_from(token).is_ok_and(|index| index < model.n_vocab)
}

fn invalid(name: &'static str, problem: impl Into<String>) -> SubmitError {
    SubmitError::InvalidParameter {
        name,
        problem: problem.into(),
    }
}

/// Why a request was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The prompt has no tokens.
    #[error("the prompt is empty")]
    EmptyPrompt,
    /// The prompt leaves no room in the context for an answer.
    #[error("the prompt has {tokens} tokens; the context takes {limit} and one of an answer")]
    PromptTooLong {
        /// Tokens in the prompt.
        tokens: usize,
        /// Most tokens that a prompt may have.
        limit: usize,
    },
    /// The prompt holds something that is no token of this model.
    #[error("token {token} at index {index} of the prompt is not in the vocabulary of {n_vocab}")]
    InvalidToken {
        /// Where it stands in the prompt.
        index: usize,
        /// What stands there.
        token: Token,
        /// Tokens in the vocabulary.
        n_vocab: usize,
    },
    /// A parameter is out of its range.
    #[error("{name} {problem}")]
    InvalidParameter {
        /// Its name, as in [`Request`] or [`SamplingParams`].
        name: &'static str,
        /// What is wrong with it, to be read after its name.
        problem: String,
    },
    /// The queue is full.
    #[error("the queue is full ({queue_depth} requests wait)")]
    Overloaded {
        /// Requests that wait.
        queue_depth: usize,
        /// After how long the next of them leaves the queue, as far as measured.
        retry_after: Duration,
    },
    /// The backend failed for good, or the engine's thread did; the model must be loaded again.
    #[error("the engine cannot be used any more: {reason}")]
    Unusable {
        /// What happened.
        reason: String,
    },
    /// The engine was shut down.
    #[error("the engine was shut down")]
    ShutDown,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> ModelInfo {
        ModelInfo {
            n_vocab: 10,
            n_ctx_train: 8,
            n_embd: 1,
            bos: None,
            eos: None,
            eog: vec![],
            prefix_reuse: true,
            can_shift: true,
        }
    }

    const LIMITS: Limits = Limits {
        n_ctx: 8,
        kv_cells: 16,
        n_batch: 4,
        n_seq_max: 1,
        n_outputs_max: 1,
        unified: true,
    };

    fn refusal(change: impl FnOnce(&mut Request)) -> SubmitError {
        let mut request = Request::new(vec![1, 2], 4);
        change(&mut request);
        request.validate(&model(), &LIMITS).unwrap_err()
    }

    fn refused_name(change: impl FnOnce(&mut Request)) -> &'static str {
        match refusal(change) {
            SubmitError::InvalidParameter { name, .. } => name,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn defaults_are_accepted() {
        assert_eq!(
            Request::new(vec![0, 9], 4).validate(&model(), &LIMITS),
            Ok(())
        );
    }

    #[test]
    fn prompts_are_checked() {
        assert_eq!(refusal(|r| r.prompt.clear()), SubmitError::EmptyPrompt);
        assert_eq!(
            refusal(|r| r.prompt = vec![0; 8]),
            SubmitError::PromptTooLong {
                tokens: 8,
                limit: 7
            }
        );
        assert_eq!(
            refusal(|r| r.prompt = vec![0, 10]),
            SubmitError::InvalidToken {
                index: 1,
                token: 10,
                n_vocab: 10
            }
        );
        assert_eq!(
            refusal(|r| r.prompt[0] = -1),
            SubmitError::InvalidToken {
                index: 0,
                token: -1,
                n_vocab: 10
            }
        );
    }

    #[test]
    fn the_cells_bound_a_prompt_too() {
        let limits = Limits {
            kv_cells: 3,
            ..LIMITS
        };
        let request = Request::new(vec![0; 3], 4);
        assert_eq!(
            request.validate(&model(), &limits),
            Err(SubmitError::PromptTooLong {
                tokens: 3,
                limit: 2
            })
        );
    }

    #[test]
    fn every_parameter_is_checked_by_name() {
        for bad in [f32::NAN, f32::INFINITY, -0.1] {
            assert_eq!(
                refused_name(|r| r.sampling.temperature = bad),
                "temperature"
            );
        }
        for bad in [f32::NAN, -0.1, 1.1] {
            assert_eq!(refused_name(|r| r.sampling.top_p = bad), "top_p");
            assert_eq!(refused_name(|r| r.sampling.min_p = bad), "min_p");
        }
        for bad in [f32::NAN, f32::INFINITY, 0.0, -1.0] {
            assert_eq!(
                refused_name(|r| r.sampling.repeat_penalty = bad),
                "repeat_penalty"
            );
        }
        assert_eq!(
            refused_name(|r| r.sampling.repeat_last_n = -2),
            "repeat_last_n"
        );
        assert_eq!(
            refused_name(|r| r.sampling.presence_penalty = f32::NAN),
            "presence_penalty"
        );
        assert_eq!(
            refused_name(|r| r.sampling.frequency_penalty = f32::INFINITY),
            "frequency_penalty"
        );
        assert_eq!(
            refused_name(|r| r.sampling.logit_bias = vec![(10, 0.0)]),
            "logit_bias"
        );
        assert_eq!(
            refused_name(|r| r.sampling.logit_bias = vec![(1, f32::NAN)]),
            "logit_bias"
        );
        let shifted = |r: &mut Request| {
            r.deterministic = true;
            r.context_shift = Some(1);
        };
        assert_eq!(refused_name(shifted), "context_shift");
        assert_eq!(refused_name(|r| r.logprobs = Some(21)), "logprobs");
        assert_eq!(refused_name(|r| r.stop = vec![String::new()]), "stop");
        assert_eq!(refused_name(|r| r.stop = vec!["x".into(); 65]), "stop");
        assert_eq!(refused_name(|r| r.stop = vec!["x".repeat(4097)]), "stop");
    }
}
