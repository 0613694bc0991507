//! A llama.cpp runtime opened safely; implements the engine's Backend.
//!
//! [`Runtime::open`] checks a runtime pack and opens it, [`Model::load`] reads weights, [`Context::new`] makes the
//! KV cache and the compute buffers and is what [`tabagent_engine::Backend`] runs on. The project's `unsafe` code
//! is in this crate. llama.cpp ends the process on a wrong argument, so everything is validated before each call.
//!
//! What it leaves to others: deep validation of model files (`tabagent-gguf`, called first by whoever loads a
//! file that it does not trust), scheduling and sampling (`tabagent-engine`), chat templates.

mod batch;
mod context;
mod embedder;
mod guard;
mod log;
mod mapped_file;
mod model;
mod pooling;
mod quantize;
mod raw_context;
mod runtime;
mod shim_error;
mod sys;
mod vocab;

pub use context::{Context, ContextError, ContextOptions, FlashAttention, Foreseen, KvType};
pub use embedder::{EmbedError, Embedder, EmbedderOptions};
pub use guard::{GGML_VERSION, LLAMA_VERSION, OpenError, SOURCE};
pub use log::{LogLevel, LogSink, set_log_sink};
pub use model::{LoadError, Model, ModelOptions};
pub use pooling::Pooling;
pub use quantize::{QuantizeError, quantize};
pub use raw_context::MemoryUse;
pub use runtime::{GpuBackend, Runtime};
pub use vocab::{SpecialToken, TokenizeError, Vocab};
