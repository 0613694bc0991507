//! What an engine tells about its requests.
//!
//! A request's events come in this order: `Started`, any number of `Piece`, and one `Finished` or `Failed`,
//! which is always the last. A request that is cancelled in the queue, or whose deadline passes there, has no
//! `Started`.

use crate::backend::Token;
use crate::request::RequestId;

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended it, or a stop string came up.
    Stop,
    /// `max_tokens` were generated or the context is full.
    Length,
    /// The caller cancelled it, or the engine was shut down.
    Cancelled,
    /// Its deadline passed.
    Timeout,
}

/// A token and how likely the model held it to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenLogprob {
    /// The token.
    pub token: Token,
    /// Natural logarithm of its probability in the model's own distribution, before any bias, penalty or
    /// temperature. Never below [`crate::sampling::LOGPROB_FLOOR`].
    pub logprob: f32,
}

/// A generated token.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenInfo {
    /// The token.
    pub token: Token,
    /// As [`TokenLogprob::logprob`]; present when the request asked for log-probabilities.
    pub logprob: Option<f32>,
    /// The most likely tokens, best first; as many as the request asked for.
    pub top: Vec<TokenLogprob>,
}

/// Token counts of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens generated and delivered in pieces; the token that ends a generation is not among them.
    pub completion_tokens: usize,
    /// Tokens of the prompt that had been computed before.
    pub cached_tokens: usize,
}

/// How long things took. A figure that there was no occasion to measure is 0.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Timings {
    /// Milliseconds from submission to the start of the work.
    pub queue_ms: f64,
    /// Milliseconds from submission to the first token.
    pub first_token_ms: f64,
    /// Prompt tokens computed a second, those found in the cache not counted.
    pub prefill_tokens_per_s: f64,
    /// Tokens generated a second after the first one.
    pub decode_tokens_per_s: f64,
}

/// News of one request.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The request has left the queue.
    Started {
        /// Which request.
        id: RequestId,
        /// Tokens of its prompt.
        prompt_tokens: usize,
        /// Those of them that need no computing.
        cached_tokens: usize,
        /// Milliseconds that it waited.
        queue_ms: f64,
    },
    /// Some text.
    Piece {
        /// Which request.
        id: RequestId,
        /// Whole characters; never a part of a stop string that comes up. Joined, the pieces are the answer.
        /// Empty only where tokens without text are left over at the end.
        text: String,
        /// The tokens generated since the last piece. After them, exactly the text up to here is settled.
        tokens: Vec<TokenInfo>,
    },
    /// The end of a request that went well.
    Finished {
        /// Which request.
        id: RequestId,
        /// Why it ended.
        reason: FinishReason,
        /// Token counts.
        usage: Usage,
        /// How long things took.
        timings: Timings,
        /// The seed that was used.
        seed: u64,
    },
    /// The end of a request that did not.
    Failed {
        /// Which request.
        id: RequestId,
        /// What happened, for a person to read.
        error: String,
    },
}

impl Event {
    /// The request that it is about.
    #[must_use]
    pub fn id(&self) -> RequestId {
        match self {
            Self::Started { id, .. }
            | Self::Piece { id, .. }
            | Self::Finished { id, .. }
            | Self::Failed { id, .. } => *id,
        }
    }

    /// Whether it is the last one of its request.
    #[must_use]
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Finished { .. } | Self::Failed { .. })
    }
}
