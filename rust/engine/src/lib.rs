//! Sequences, scheduler, sampling and events over a [`Backend`] trait; knows no llama.cpp.
//!
//! The engine owns a thread that owns a backend. Requests go in by `submit`, events come out by `drain`, and a
//! descriptor is readable while events wait. What a request's text looks like (whole UTF-8, stop strings) is
//! settled here; where the text goes is not.

mod backend;
mod event;
mod request;
pub mod sampling;
pub mod text;

pub use backend::{
    AbortFlag, Backend, BackendError, BatchEntry, DecodeOutcome, Limits, ModelInfo, Pos, SeqId,
    Token,
};
pub use event::{Event, FinishReason, Timings, TokenInfo, TokenLogprob, Usage};
pub use request::{
    MAX_LOGPROBS, MAX_STOP_BYTES, MAX_STOPS, Request, RequestId, SamplingParams, SubmitError,
};
