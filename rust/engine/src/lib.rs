//! Sequences, scheduler, sampling and events over a [`Backend`] trait; knows no llama.cpp.
//!
//! An [`Engine`] owns a thread that owns a backend. Requests go in by [`Engine::submit`], events come out by [`Engine::drain`], and a
//! descriptor is readable while events wait. What a request's text looks like (whole UTF-8, stop strings) is
//! settled here; where the text goes is not.

mod adapters;
mod backend;
mod engine;
mod event;
pub mod form;
mod inbox;
mod pace;
mod queue;
mod request;
pub mod sampling;
mod scheduler;
mod sequence;
mod signal;
mod speculation;
mod stats;
pub mod text;
#[cfg(any(test, feature = "toy"))]
pub mod toy;

pub use adapters::{AdapterId, AdapterSet};
pub use backend::{
    AbortFlag, Backend, BackendError, BatchEntry, DecodeOutcome, Limits, ModelInfo, Pos, SeqId,
    Token,
};
pub use engine::{Engine, EngineConfig};
pub use event::{Event, FinishReason, Timings, TokenInfo, TokenLogprob, Usage};
pub use request::{
    MAX_LOGPROBS, MAX_STOP_BYTES, MAX_STOPS, Request, RequestId, SamplingParams, SubmitError,
};
pub use speculation::Speculation;
pub use stats::{Stats, Totals};
