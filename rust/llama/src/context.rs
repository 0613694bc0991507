//! A context: the KV cache and compute buffers of one engine over a model, and the engine's Backend.
//!
//! llama.cpp's answers become the engine's: 0 is done, 1 no room, 2 aborted. After −2 the cache is put back to
//! what it was; whatever else goes wrong ends the context.

use crate::batch::{Batch, BatchRules};
use crate::model::{LoadError, Model, ModelOptions};
use crate::raw_context::{MemoryUse, RawContext};
use crate::runtime::Runtime;
use crate::sys::{ContextParams, LlamaAdapter, LlamaMemory, THROWN};
use std::ffi::c_void;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};
use tabagent_engine::{
    AbortFlag, AdapterSet, Backend, BackendError, BatchEntry, DecodeOutcome, Limits, ModelInfo,
    Pos, SeqId, Token,
};

/// The type that keys and values are stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KvType {
    F32,
    #[default]
    F16,
    Bf16,
    Q8_0,
    Q5_1,
    Q5_0,
    Q4_1,
    Q4_0,
    Iq4Nl,
}

impl KvType {
    /// All types, each with its name and its number in `enum ggml_type` (ggml.h).
    const TABLE: &[(Self, &str, i32)] = &[
        (Self::F32, "f32", 0),
        (Self::F16, "f16", 1),
        (Self::Bf16, "bf16", 30),
        (Self::Q8_0, "q8_0", 8),
        (Self::Q5_1, "q5_1", 7),
        (Self::Q5_0, "q5_0", 6),
        (Self::Q4_1, "q4_1", 3),
        (Self::Q4_0, "q4_0", 2),
        (Self::Iq4Nl, "iq4_nl", 20),
    ];

    /// The type of a name as llama.cpp writes it (`f16`, `q8_0` …).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::TABLE
            .iter()
            .find(|entry| entry.1 == name)
            .map(|entry| entry.0)
    }

    /// Every name that [`Self::from_name`] knows.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::TABLE.iter().map(|entry| entry.1)
    }

    /// Its name as llama.cpp writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::TABLE
            .iter()
            .find(|entry| entry.0 == self)
            .map_or("", |entry| entry.1)
    }

    fn number(self) -> i32 {
        Self::TABLE
            .iter()
            .find(|entry| entry.0 == self)
            .map_or(1, |entry| entry.2)
    }

    fn quantized(self) -> bool {
        !matches!(self, Self::F32 | Self::F16 | Self::Bf16)
    }
}

/// Whether attention is computed by the fused kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FlashAttention {
    /// Where the backend has one.
    #[default]
    Auto,
    On,
    Off,
}

/// How a context is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextOptions {
    /// Tokens in the longest single sequence; 0 means what the model was trained for.
    pub n_ctx: u32,
    /// Cells of the whole KV cache; 0 means `n_ctx` with one cache for all, `n_ctx × n_seq_max` with one for each.
    pub kv_cells: u32,
    /// Most tokens of one decode.
    pub n_batch: u32,
    /// Most tokens computed at once within a decode.
    pub n_ubatch: u32,
    /// Number of sequence ids, at most 256.
    pub n_seq_max: u32,
    /// Most outputs of one decode; 0 means one a sequence. Room for `n_outputs_max × n_vocab` floats is kept.
    pub n_outputs_max: u32,
    /// The type of keys and values.
    pub kv_type: KvType,
    /// Whether attention is computed by the fused kernel.
    pub flash_attention: FlashAttention,
    /// Threads for decoding; `None` means one a physical core that this process may use, but for one core.
    ///
    /// Decoding waits for memory more than for cores, and ggml's threads spin at every barrier: on two cores a
    /// second thread decodes a 135M Q8_0 model a tenth faster alone, and a quarter slower where the tokens must
    /// also be carried to somebody.
    pub threads: Option<u32>,
    /// Threads for batches of several tokens; `None` means as many as `threads` where that is given, else one a
    /// physical core.
    pub threads_batch: Option<u32>,
    /// One cache for all sequences, in which they can share cells.
    pub kv_unified: bool,
    /// Keep sliding-window layers' whole history, which prefix reuse needs.
    pub swa_full: bool,
}

impl Default for ContextOptions {
    fn default() -> Self {
        Self {
            n_ctx: 0,
            kv_cells: 0,
            n_batch: 512,
            n_ubatch: 512,
            n_seq_max: 1,
            n_outputs_max: 0,
            kv_type: KvType::default(),
            flash_attention: FlashAttention::default(),
            threads: None,
            threads_batch: None,
            kv_unified: true,
            swa_full: true,
        }
    }
}

/// Why a context is not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContextError {
    /// The model was loaded without weights.
    #[error("the model was loaded with vocab_only: there is nothing to compute with")]
    VocabOnly,
    /// The model is of a kind that does not generate text token by token.
    #[error("this model cannot generate text: {what}")]
    NotGenerative { what: &'static str },
    /// An option is out of its range.
    #[error("{option} = {value}: {allowed}")]
    Invalid {
        option: &'static str,
        value: u64,
        allowed: String,
    },
    /// Two options, or an option and the model, do not go together.
    #[error("{0}")]
    Incompatible(String),
    /// The cache and buffers would not fit into this machine's memory.
    #[error(
        "a context of {n_ctx} tokens needs {needed_bytes} bytes, and {available_bytes} are available"
    )]
    TooLarge {
        n_ctx: u32,
        needed_bytes: u64,
        available_bytes: u64,
    },
    /// There was not enough memory.
    #[error("not enough memory for the context: {reason}")]
    OutOfMemory { reason: String },
    /// llama.cpp refused.
    #[error("llama.cpp cannot make this context: {reason}")]
    Refused { reason: String },
}

/// Most tokens of a context: far beyond any model, and small enough for llama.cpp's 32-bit arithmetic.
const MAX_CTX: u32 = 1 << 24;
/// Most tokens of a batch, for the same reason.
const MAX_BATCH: u32 = 1 << 16;
/// `LLAMA_MAX_SEQ` (llama-cparams.h).
const MAX_SEQ: u32 = 256;
/// `GGML_MAX_N_THREADS` (ggml.h).
pub(crate) const MAX_THREADS: u32 = 512;

/// A context over a model. It belongs to one thread at a time.
pub struct Context {
    raw: RawContext,
    info: ModelInfo,
    rules: BatchRules,
    kv_unified: bool,
    batch: Batch,
    /// Where the last decode's logits are, by index in its batch.
    logits: Vec<Option<NonNull<f32>>>,
    /// What llama.cpp's abort callback reads; boxed, because llama.cpp keeps its address.
    abort: Box<AtomicPtr<AbortFlag>>,
    /// Set while keys of shifted cells are not turned yet. The next decode turns them first, and one that is aborted
    /// meanwhile would leave some to be turned twice.
    shift_pending: bool,
    /// Set once the context cannot be used any more.
    broken: Option<String>,
}

// SAFETY: the logits' addresses lead into the context, which it has to itself.
unsafe impl Send for Context {}

impl Context {
    /// Makes a context.
    ///
    /// # Errors
    /// A [`ContextError`] for each reason.
    pub fn new(model: &Arc<Model>, options: &ContextOptions) -> Result<Self, ContextError> {
        let plan = Plan::new(model, options)?;
        plan.check_memory(model, options)?;
        Self::create(model, &plan)
    }

    /// What loading this model and making this context would take, without doing either (only the file's header
    /// is read).
    ///
    /// # Errors
    /// The outer error is the model's, the inner one the context's.
    pub fn predict_memory(
        runtime: &Arc<Runtime>,
        path: &Path,
        model: &ModelOptions,
        context: &ContextOptions,
    ) -> Result<Result<Foreseen, ContextError>, LoadError> {
        let shapes = Model::load_shapes(runtime, path, model)?;
        Ok(predict(&shapes, context))
    }

    fn create(model: &Arc<Model>, plan: &Plan) -> Result<Self, ContextError> {
        let api = model.runtime().api();
        let abort = Box::new(AtomicPtr::new(std::ptr::null_mut()));
        // SAFETY: takes nothing; the layout was proved when the runtime was opened.
        let mut params = unsafe { (api.llama_context_default_params)() };
        plan.write(&mut params);
        params.abort_callback = Some(should_abort);
        params.abort_callback_data = std::ptr::from_ref::<AtomicPtr<AbortFlag>>(&abort)
            .cast_mut()
            .cast::<c_void>();
        // The abort cell lives in a box as long as the context.
        let raw = RawContext::new(model, &params)?;
        Self::own(raw, abort, plan)
    }

    fn own(
        raw: RawContext,
        abort: Box<AtomicPtr<AbortFlag>>,
        plan: &Plan,
    ) -> Result<Self, ContextError> {
        let model = Arc::clone(raw.model());
        let api = model.runtime().api();
        if !raw.has_memory() {
            return Err(ContextError::NotGenerative {
                what: "it keeps no KV cache",
            });
        }
        // SAFETY: the context was just made and these only read it.
        let (cells, longest, n_batch) = unsafe {
            (
                (api.llama_n_ctx)(raw.as_ptr()),
                (api.llama_n_ctx_seq)(raw.as_ptr()),
                (api.llama_n_batch)(raw.as_ptr()),
            )
        };
        let limits = Limits {
            n_ctx: plan.n_ctx.min(longest),
            kv_cells: cells,
            n_batch,
            n_seq_max: plan.n_seq_max,
            n_outputs_max: plan.n_outputs_max,
            unified: plan.kv_unified,
        };
        let mut info = model.info().clone();
        // SAFETY: the memory is the context's.
        info.can_shift = unsafe { (api.llama_memory_can_shift)(raw.memory()) };
        info.prefix_reuse = plan.prefix_reuse;
        Ok(Self {
            raw,
            info,
            rules: BatchRules {
                limits,
                n_vocab: model.info().n_vocab,
            },
            kv_unified: plan.kv_unified,
            batch: Batch::new(n_batch as usize),
            logits: Vec::with_capacity(n_batch as usize),
            abort,
            shift_pending: false,
            broken: None,
        })
    }

    /// The model.
    #[must_use]
    pub fn shared_model(&self) -> &Arc<Model> {
        self.raw.model()
    }

    /// What the model and this context hold now.
    #[must_use]
    pub fn memory_use(&self) -> Vec<MemoryUse> {
        self.raw.memory_use()
    }

    fn memory(&self) -> *mut LlamaMemory {
        self.raw.memory()
    }

    fn next_position(&self, seq: SeqId) -> Pos {
        self.seq_max_pos(seq).map_or(0, |pos| pos.saturating_add(1))
    }

    /// One call of `llama_decode`, without judging its answer.
    fn run(&mut self, entries: &[BatchEntry], abort: &AbortFlag) -> (i32, String) {
        let batch = self.batch.fill(entries);
        if !self.shift_pending {
            self.abort
                .store(std::ptr::from_ref(abort).cast_mut(), Ordering::Release);
        }
        // The batch was checked; its arrays and the flag live until the call returns.
        let answer = self.raw.decode(&batch);
        self.abort.store(std::ptr::null_mut(), Ordering::Release);
        self.shift_pending &= !matches!(answer.0, 0 | 1);
        answer
    }

    /// Notes where the logits of a finished decode are.
    fn note_logits(&mut self, entries: &[BatchEntry]) {
        let api = self.raw.api();
        let context = self.raw.as_ptr();
        let row = |(index, entry): (usize, &BatchEntry)| {
            if !entry.output {
                return None;
            }
            // SAFETY: the index is in the batch just decoded.
            NonNull::new(unsafe { (api.llama_get_logits_ith)(context, i32::try_from(index).ok()?) })
        };
        self.logits.extend(entries.iter().enumerate().map(row));
    }

    /// Removes what a failed decode left of its batch, so that the cache is as it was before. Answers whether it is.
    fn roll_back(&mut self, entries: &[BatchEntry]) -> bool {
        let mut starts: Vec<(SeqId, Pos)> = Vec::new();
        for entry in entries {
            if !starts.iter().any(|(seq, _)| *seq == entry.seq) {
                starts.push((entry.seq, entry.pos));
            }
        }
        starts.into_iter().all(|(seq, start)| {
            self.next_position(seq) <= start || self.seq_remove(seq, start, None)
        })
    }

    fn break_with(&mut self, message: String) -> BackendError {
        self.broken = Some(message.clone());
        BackendError::fatal(message)
    }
}

impl Backend for Context {
    fn model(&self) -> &ModelInfo {
        &self.info
    }

    fn limits(&self) -> Limits {
        self.rules.limits
    }

    fn token_bytes(&self, token: Token, out: &mut Vec<u8>) {
        self.raw.model().token_bytes(token, out);
    }

    fn use_adapters(&mut self, adapters: &AdapterSet) -> Result<(), BackendError> {
        let found = adapters.as_slice().iter().map(|&(id, scale)| {
            let adapter = self.raw.model().adapter(id).ok_or_else(|| {
                BackendError::recoverable(format!("the model has no adapter {id}"))
            })?;
            Ok((adapter, scale))
        });
        let found: Vec<(NonNull<LlamaAdapter>, f32)> =
            found.collect::<Result<_, BackendError>>()?;
        self.raw.set_adapters(&found);
        Ok(())
    }

    fn decode(
        &mut self,
        batch: &[BatchEntry],
        abort: &AbortFlag,
    ) -> Result<DecodeOutcome, BackendError> {
        self.logits.clear();
        if let Some(message) = &self.broken {
            return Err(BackendError::fatal(format!(
                "the context failed before: {message}"
            )));
        }
        self.rules.check(batch, |seq| self.next_position(seq))?;
        if abort.is_raised() {
            return Ok(DecodeOutcome::Aborted);
        }
        match self.run(batch, abort) {
            (0, _) => {
                self.note_logits(batch);
                Ok(DecodeOutcome::Done)
            }
            (1, _) => Ok(DecodeOutcome::NoRoom),
            (2, _) => Ok(DecodeOutcome::Aborted),
            (-1, reason) => Err(BackendError::recoverable(format!(
                "llama.cpp refused the batch: {reason}"
            ))),
            (-2, reason) if self.roll_back(batch) => Err(BackendError::recoverable(format!(
                "llama.cpp found no memory for the batch: {reason}"
            ))),
            (THROWN, reason) => {
                Err(self.break_with(format!("llama.cpp threw while decoding: {reason}")))
            }
            (code, reason) => Err(self.break_with(format!(
                "llama.cpp failed to decode (code {code}): {reason}"
            ))),
        }
    }

    fn logits(&self, batch_index: usize) -> Result<&[f32], BackendError> {
        let Some(Some(row)) = self.logits.get(batch_index) else {
            return Err(BackendError::recoverable(format!(
                "entry {batch_index} of the last decode has no logits"
            )));
        };
        // SAFETY: llama.cpp wrote a row of n_vocab floats there, and keeps it until the next decode, which needs
        // `&mut self`.
        Ok(unsafe { std::slice::from_raw_parts(row.as_ptr(), self.info.n_vocab) })
    }

    fn seq_remove(&mut self, seq: SeqId, from: Pos, to: Option<Pos>) -> bool {
        if seq >= self.rules.limits.n_seq_max {
            return false;
        }
        let from = from.max(0);
        if to.is_some_and(|to| to <= from) {
            return true;
        }
        let api = self.raw.api();
        // SAFETY: the memory is this context's, the id is below n_seq_max, and a negative end means none.
        unsafe {
            (api.llama_memory_seq_rm)(self.memory(), seq.cast_signed(), from, to.unwrap_or(-1))
        }
    }

    /// llama.cpp puts new tokens into cells that another sequence's window has left behind, even where the whole history
    /// has room.
    fn seq_keeps(&self, seq: SeqId, length: Pos) -> bool {
        let window = Pos::try_from(self.raw.model().window()).unwrap_or(Pos::MAX);
        if window == 0 {
            return true;
        }
        if seq >= self.rules.limits.n_seq_max {
            return false;
        }
        let api = self.raw.api();
        // SAFETY: the memory is this context's, the id is below n_seq_max, and the call only reads.
        let first = unsafe { (api.llama_memory_seq_pos_min)(self.memory(), seq.cast_signed()) };
        (0..=(length - window + 1).max(0)).contains(&first)
    }

    fn seq_copy(&mut self, src: SeqId, dst: SeqId, from: Pos, to: Option<Pos>) {
        let known = |seq| seq < self.rules.limits.n_seq_max;
        let from = from.max(0);
        if src == dst || !known(src) || !known(dst) || to.is_some_and(|to| to <= from) {
            return;
        }
        let api = self.raw.api();
        // Sequences with a cache each can be copied as a whole only, so the rest is cut off again.
        let (first, end) = if self.kv_unified {
            (from, to.unwrap_or(-1))
        } else {
            (-1, -1)
        };
        // SAFETY: the memory is this context's and both ids are below n_seq_max.
        unsafe {
            (api.llama_memory_seq_cp)(
                self.memory(),
                src.cast_signed(),
                dst.cast_signed(),
                first,
                end,
            )
        };
        if !self.kv_unified {
            if let Some(to) = to {
                self.seq_remove(dst, to, None);
            }
            self.seq_remove(dst, 0, Some(from));
        }
    }

    fn seq_drop(&mut self, seq: SeqId, from: Pos, to: Pos) -> bool {
        // A context that cannot shift ends the process at the next decode.
        let possible = self.info.can_shift && 0 <= from && from <= to;
        if !possible || !self.seq_remove(seq, from, Some(to)) {
            return false;
        }
        let api = self.raw.api();
        // SAFETY: the memory is this context's, can shift, and knew the id a moment ago.
        unsafe { (api.llama_memory_seq_add)(self.memory(), seq.cast_signed(), to, -1, from - to) };
        self.shift_pending = true;
        true
    }

    fn seq_bytes(&mut self, seq: SeqId) -> Option<usize> {
        if seq >= self.rules.limits.n_seq_max || !self.raw.model().saves_sequences() {
            return None;
        }
        let (api, context, seq) = (self.raw.api(), self.raw.as_ptr(), seq.cast_signed());
        // SAFETY: the context is ours alone and the id below n_seq_max; this only counts, and answers 0 on failure.
        let bytes = unsafe { (api.llama_state_seq_get_size)(context, seq) };
        (bytes > 0).then_some(bytes)
    }

    fn seq_save(&mut self, seq: SeqId, bytes: usize) -> Option<Vec<u8>> {
        if seq >= self.rules.limits.n_seq_max {
            return None;
        }
        let (api, context, seq) = (self.raw.api(), self.raw.as_ptr(), seq.cast_signed());
        let mut state = vec![0; bytes];
        // SAFETY: the context is ours alone and the id below n_seq_max; at most `bytes` bytes are written.
        let written = unsafe {
            (api.llama_state_seq_get_data)(context, state.as_mut_ptr(), state.len(), seq)
        };
        (written == bytes).then_some(state)
    }

    fn seq_restore(&mut self, seq: SeqId, state: &[u8]) -> bool {
        if seq >= self.rules.limits.n_seq_max {
            return false;
        }
        let (api, context, id) = (self.raw.api(), self.raw.as_ptr(), seq.cast_signed());
        // SAFETY: the context is ours alone, the id below n_seq_max, and the bytes are those that this context wrote.
        let read =
            unsafe { (api.llama_state_seq_set_data)(context, state.as_ptr(), state.len(), id) };
        if read == 0 {
            self.seq_remove(seq, 0, None);
        }
        read > 0
    }

    fn seq_max_pos(&self, seq: SeqId) -> Option<Pos> {
        if seq >= self.rules.limits.n_seq_max {
            return None;
        }
        let api = self.raw.api();
        // SAFETY: the memory is this context's, the id is below n_seq_max, and the call only reads.
        let last = unsafe { (api.llama_memory_seq_pos_max)(self.memory(), seq.cast_signed()) };
        (last >= 0).then_some(last)
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Context")
            .field("model", self.raw.model())
            .field("limits", &self.rules.limits)
            .finish_non_exhaustive()
    }
}

/// llama.cpp's abort callback, called at every node of a graph by one of its threads.
///
/// # Safety
/// `cell` must point to a live `AtomicPtr<AbortFlag>` that holds null or a flag which outlives the decode.
unsafe extern "C" fn should_abort(cell: *mut c_void) -> bool {
    // SAFETY: the caller's promise: the cell is boxed in the context, the flag is borrowed for the decode.
    unsafe {
        let flag = (*cell.cast::<AtomicPtr<AbortFlag>>()).load(Ordering::Acquire);
        flag.as_ref().is_some_and(AbortFlag::is_raised)
    }
}

/// What is known of a context before it is made.
#[derive(Debug, Clone)]
pub struct Foreseen {
    /// What it would hold, by kind of memory.
    pub memory: Vec<MemoryUse>,
    /// Whether sequences can go on when their context is full.
    pub shifts: bool,
    /// Whether sequences can be kept in main memory ([`Backend::seq_save`]).
    pub saves_sequences: bool,
}

/// What llama.cpp is asked for: the options, checked and made definite.
struct Plan {
    n_ctx: u32,
    cells: u32,
    n_batch: u32,
    n_ubatch: u32,
    n_seq_max: u32,
    n_outputs_max: u32,
    kv_type: KvType,
    flash_attention: FlashAttention,
    threads: u32,
    threads_batch: u32,
    kv_unified: bool,
    swa_full: bool,
    prefix_reuse: bool,
}

impl Plan {
    fn new(model: &Model, options: &ContextOptions) -> Result<Self, ContextError> {
        check_kind(model)?;
        check_kv_type(model, options)?;
        let n_ctx = if options.n_ctx == 0 {
            model.info().n_ctx_train
        } else {
            options.n_ctx
        };
        let n_ctx = in_range("n_ctx", n_ctx, 1, MAX_CTX)?;
        let n_seq_max = in_range("n_seq_max", options.n_seq_max, 1, MAX_SEQ)?;
        let default_cells = if options.kv_unified {
            n_ctx
        } else {
            n_ctx.saturating_mul(n_seq_max)
        };
        let cells = if options.kv_cells == 0 {
            default_cells
        } else {
            options.kv_cells
        };
        let cells = in_range("kv_cells", cells, 1, MAX_CTX)?;
        let n_batch = in_range("n_batch", options.n_batch, 1, MAX_BATCH)?;
        let n_outputs_max = if options.n_outputs_max == 0 {
            n_seq_max
        } else {
            options.n_outputs_max
        };
        let cores = usable_cores();
        let threads = options.threads.unwrap_or((cores - 1).max(1));
        let threads_batch = options.threads_batch.or(options.threads).unwrap_or(cores);
        Ok(Self {
            n_ctx,
            cells,
            n_batch,
            n_ubatch: in_range("n_ubatch", options.n_ubatch, 1, MAX_BATCH)?.min(n_batch),
            n_seq_max,
            // llama.cpp ends the process when there are fewer outputs than sequences.
            n_outputs_max: in_range("n_outputs_max", n_outputs_max, n_seq_max, MAX_BATCH)?,
            kv_type: options.kv_type,
            flash_attention: options.flash_attention,
            threads: in_range("threads", threads, 1, MAX_THREADS)?,
            threads_batch: in_range("threads_batch", threads_batch, 1, MAX_THREADS)?,
            kv_unified: options.kv_unified,
            swa_full: options.swa_full,
            prefix_reuse: model.info().prefix_reuse || (model.cuttable() && options.swa_full),
        })
    }

    fn write(&self, params: &mut ContextParams) {
        params.n_ctx = self.cells;
        params.n_batch = self.n_batch;
        params.n_ubatch = self.n_ubatch;
        params.n_seq_max = self.n_seq_max;
        params.n_outputs_max = self.n_outputs_max;
        params.n_outputs_max_per_seq = 0;
        params.n_threads = self.threads.cast_signed();
        params.n_threads_batch = self.threads_batch.cast_signed();
        params.flash_attn_type = match self.flash_attention {
            FlashAttention::Auto => -1,
            FlashAttention::Off => 0,
            FlashAttention::On => 1,
        };
        params.type_k = self.kv_type.number();
        params.type_v = self.kv_type.number();
        params.kv_unified = self.kv_unified;
        params.swa_full = self.swa_full;
    }

    /// Linux hands out memory that it does not have and kills whoever uses it, so a context that looks large is
    /// predicted exactly before it is made.
    fn check_memory(
        &self,
        model: &Arc<Model>,
        options: &ContextOptions,
    ) -> Result<(), ContextError> {
        let Some(available) = available_memory() else {
            return Ok(());
        };
        if self.rough_bytes(model) < available / 4 {
            return Ok(());
        }
        let Ok(shapes) = Model::load_shapes(model.runtime(), model.path(), model.options()) else {
            return Ok(()); // the file is gone or changed; the model in memory still works
        };
        let needed: u64 = predict(&shapes, options)?
            .memory
            .iter()
            .filter(|part| part.is_host)
            .map(|part| part.context + part.compute)
            .sum();
        if needed > available {
            return Err(ContextError::TooLarge {
                n_ctx: self.n_ctx,
                needed_bytes: needed,
                available_bytes: available,
            });
        }
        Ok(())
    }

    /// More than the cache and the outputs of any usual model: keys and values as wide as the embedding in all layers.
    fn rough_bytes(&self, model: &Model) -> u64 {
        let width = model.info().n_embd as u64;
        let kv = u64::from(self.cells) * width * 2 * 4 * u64::from(model.n_layer());
        let outputs =
            u64::from(self.n_outputs_max.max(self.n_ubatch)) * model.info().n_vocab as u64 * 4;
        kv.saturating_add(outputs)
    }
}

fn predict(shapes: &Arc<Model>, options: &ContextOptions) -> Result<Foreseen, ContextError> {
    let plan = Plan::new(shapes, options)?;
    let context = Context::create(shapes, &plan)?;
    let mut memory = context.memory_use();
    memory.push(MemoryUse::of_outputs(shapes, plan.n_outputs_max as usize));
    Ok(Foreseen {
        memory,
        shifts: context.info.can_shift && context.info.prefix_reuse,
        saves_sequences: shapes.saves_sequences(),
    })
}

fn in_range(option: &'static str, value: u32, least: u32, most: u32) -> Result<u32, ContextError> {
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(ContextError::Invalid {
        option,
        value: value.into(),
        allowed: format!("must be from {least} to {most}"),
    })
}

fn check_kind(model: &Model) -> Result<(), ContextError> {
    if model.options().vocab_only {
        return Err(ContextError::VocabOnly);
    }
    let not = |what| Err(ContextError::NotGenerative { what });
    let api = model.runtime().api();
    // SAFETY: these only read the model.
    let (encoder, decoder, diffusion) = unsafe {
        let raw = model.raw();
        (
            (api.llama_model_has_encoder)(raw),
            (api.llama_model_has_decoder)(raw),
            (api.llama_model_is_diffusion)(raw),
        )
    };
    match (encoder, decoder, diffusion) {
        (_, false, _) => not("it has no decoder"),
        (true, ..) => not("it needs an encoder's input"),
        (.., true) => not("it fills in whole texts at once"),
        _ => Ok(()),
    }
}

/// Quantized keys are stored in blocks of 32, which must divide a head; quantized values need flash attention.
fn check_kv_type(model: &Model, options: &ContextOptions) -> Result<(), ContextError> {
    if !options.kv_type.quantized() {
        return Ok(());
    }
    if options.flash_attention == FlashAttention::Off {
        return Err(ContextError::Incompatible(format!(
            "kv_type {} needs flash attention, which is off",
            options.kv_type.name()
        )));
    }
    match model.head_width() {
        Some(width) if width % 32 != 0 => Err(ContextError::Incompatible(format!(
            "kv_type {} needs heads of a multiple of 32 values; this model's have {width}",
            options.kv_type.name()
        ))),
        _ => Ok(()),
    }
}

/// Threads beyond what the hardware crate suggests make llama.cpp slower.
fn usable_cores() -> u32 {
    tabagent_hardware::cpu::detect()
        .suggested_threads()
        .clamp(1, MAX_THREADS)
}

/// Bytes of main memory that this process can still take, where the system tells.
pub(crate) fn available_memory() -> Option<u64> {
    let bytes = tabagent_hardware::memory::detect().usable_bytes;
    (bytes > 0).then_some(bytes)
}
