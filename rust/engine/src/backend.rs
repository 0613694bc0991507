//! The seam between the engine and what computes logits.
//!
//! [`Backend`] is modelled on llama.cpp's memory and batch rules; `rust/llama` implements it on a real model
//! and the toy of the tests on a function of the tokens. A backend lives on the engine's thread and nowhere else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::adapters::AdapterSet;

/// A token of the model's vocabulary: `0 <= token < n_vocab`.
pub type Token = i32;
/// A position within a sequence, from 0.
pub type Pos = i32;
/// A sequence in the KV cache: `seq < n_seq_max`.
pub type SeqId = u32;

/// What the engine must know of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInfo {
    /// Tokens in the vocabulary, and so the length of a row of logits.
    pub n_vocab: usize,
    /// Context length in tokens that the model was trained for.
    pub n_ctx_train: u32,
    /// Width of the embeddings.
    pub n_embd: usize,
    /// Beginning of a text, where the model has such a token.
    pub bos: Option<Token>,
    /// End of a text, where the model has such a token.
    pub eos: Option<Token>,
    /// Every token that ends a generation (end of text, of turn, of message), in any order.
    pub eog: Vec<Token>,
    /// Whether a part of a sequence can be cut off and the rest be used again.
    /// Only models with full attention over a plain KV cache can.
    pub prefix_reuse: bool,
    /// Whether the positions of cached cells can be moved.
    pub can_shift: bool,
}

/// What the backend's context was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Tokens in the longest single sequence, prompt and completion together.
    pub n_ctx: u32,
    /// Cells of the KV cache, of all sequences together.
    pub kv_cells: u32,
    /// Most entries of one [`Backend::decode`].
    pub n_batch: u32,
    /// Number of sequence ids; ids are below it.
    pub n_seq_max: u32,
    /// Most entries of one [`Backend::decode`] that have `output` set, at least `n_seq_max`. A sequence may have
    /// several of them.
    pub n_outputs_max: u32,
    /// Whether all sequences take their cells from one pool and can share them. Otherwise each has an equal part of
    /// its own.
    pub unified: bool,
}

/// One token of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchEntry {
    /// The token to feed; `0 <= token < n_vocab`.
    pub token: Token,
    /// Its position; a sequence's positions follow each other without a gap.
    pub pos: Pos,
    /// The sequence that it belongs to.
    pub seq: SeqId,
    /// Whether logits are wanted after it.
    pub output: bool,
}

/// How a decode ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeOutcome {
    /// All entries are in the KV cache and their logits can be read.
    Done,
    /// There were no free cells for the batch; the KV cache is as it was before.
    NoRoom,
    /// The [`AbortFlag`] was raised. Some leading entries may have stayed in the cache:
    /// ask [`Backend::seq_max_pos`] of every sequence in the batch.
    Aborted,
}

/// A flag that stops a decode from another thread. Clones share the flag.
///
/// It stops the whole batch: raise it only when everyone in it is cancelled.
#[derive(Debug, Clone, Default)]
pub struct AbortFlag(Arc<AtomicBool>);

impl AbortFlag {
    /// A new flag, not raised.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the running decode to stop as soon as it can.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Takes the request back.
    pub fn clear(&self) {
        self.0.store(false, Ordering::Release);
    }

    /// Whether the decode should stop. Cheap enough to be asked at every node of a graph.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A failure of the backend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BackendError {
    /// What happened, for a person to read.
    pub message: String,
    /// Whether the context is beyond use. When false, the KV cache is as it was before the call.
    pub fatal: bool,
}

impl BackendError {
    /// A failure after which the context can still be used and its KV cache is as it was before the call.
    #[must_use]
    pub fn recoverable(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            fatal: false,
        }
    }

    /// A failure after which nothing more can be computed with this context.
    #[must_use]
    pub fn fatal(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            fatal: true,
        }
    }
}

/// A model with a KV cache that computes logits for batches.
///
/// The engine moves it onto its own thread and keeps these promises: a batch has between 1 and `n_batch`
/// entries; tokens are within the vocabulary; sequence ids are below `n_seq_max`; the entries of one sequence
/// come in order, and the first of them follows [`Backend::seq_max_pos`] (or is 0 for an empty sequence); at most
/// `n_outputs_max` entries have an output.
pub trait Backend: Send {
    /// Facts of the model; they never change.
    fn model(&self) -> &ModelInfo;

    /// What this context was made for; it never changes.
    fn limits(&self) -> Limits;

    /// Appends the bytes that a token stands for to `out`. They may be a part of a UTF-8 character.
    /// Control tokens and tokens outside the vocabulary append nothing.
    fn token_bytes(&self, token: Token, out: &mut Vec<u8>);

    /// Computes what follows with these adapters, in place of those before; at first there are none. What the KV
    /// cache holds stays as it was computed: the engine feeds a sequence with one set of adapters only, and shares
    /// cells between equal sets only. Called before a decode whose set is not that of the decode before it.
    ///
    /// # Errors
    /// When the backend has no such adapter; its adapters may then be any.
    fn use_adapters(&mut self, adapters: &AdapterSet) -> Result<(), BackendError> {
        match adapters.is_empty() {
            true => Ok(()),
            false => Err(BackendError::recoverable("this model has no adapters")),
        }
    }

    /// Computes a batch and adds it to the KV cache.
    ///
    /// # Errors
    /// A [`BackendError`]; when it is not fatal, the KV cache is unchanged.
    fn decode(
        &mut self,
        batch: &[BatchEntry],
        abort: &AbortFlag,
    ) -> Result<DecodeOutcome, BackendError>;

    /// Logits (`n_vocab` of them) after entry `batch_index` of the last decode, which had `output` set.
    ///
    /// # Errors
    /// When that entry has no logits.
    fn logits(&self, batch_index: usize) -> Result<&[f32], BackendError>;

    /// Removes positions `from..to` of a sequence (`None`: to its end). Answers false, and removes nothing,
    /// where this model's memory cannot cut a part; removing a whole sequence (`from` 0, `to` `None`) never fails.
    fn seq_remove(&mut self, seq: SeqId, from: Pos, to: Option<Pos>) -> bool;

    /// Whether the first `length` tokens of a sequence can be gone on from once the rest is cut off. A memory that keeps
    /// everything of a sequence always says so; sliding windows may have lost what this shorter one sees.
    fn seq_keeps(&self, _seq: SeqId, _length: Pos) -> bool {
        true
    }

    /// Lets `dst`, which is empty, share positions `from..to` of `src` (`None`: to its end), at no cost in cells.
    /// Called only where the KV cache is [`Limits::unified`] and the model has [`ModelInfo::prefix_reuse`].
    fn seq_copy(&mut self, src: SeqId, dst: SeqId, from: Pos, to: Option<Pos>);

    /// Removes positions `from..to` of a sequence and moves what comes after to close the gap. Cells from `to` on are the
    /// sequence's alone. Called only with [`ModelInfo::can_shift`]. Answers false, and changes nothing, where it cannot.
    fn seq_drop(&mut self, _seq: SeqId, _from: Pos, _to: Pos) -> bool {
        false
    }

    /// Bytes of a sequence's keys and values as [`Self::seq_save`] writes them; `None` where this backend cannot save
    /// them.
    fn seq_bytes(&mut self, _seq: SeqId) -> Option<usize> {
        None
    }

    /// The keys and values of a sequence, as [`Self::seq_restore`] reads them: `bytes` of them, which
    /// [`Self::seq_bytes`] told. `None` where that fails.
    fn seq_save(&mut self, _seq: SeqId, _bytes: usize) -> Option<Vec<u8>> {
        None
    }

    /// Puts what was saved into `seq`, which is empty, in cells of its own. Answers false, and leaves it empty, when
    /// there is no room.
    fn seq_restore(&mut self, _seq: SeqId, _state: &[u8]) -> bool {
        false
    }

    /// The last position of a sequence in the KV cache, or `None` when it is empty.
    fn seq_max_pos(&self, seq: SeqId) -> Option<Pos>;
}
