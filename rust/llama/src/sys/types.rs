//! Types of the pinned llama.h and of the shim. C enums are `i32`: a value that we do not know is then no
//! undefined behaviour.

use std::ffi::{c_char, c_void};
use std::marker::{PhantomData, PhantomPinned};

/// An opaque C type: neither sized, nor movable, nor shared between threads by accident.
macro_rules! opaque {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[repr(C)]
        pub struct $name {
            _data: [u8; 0],
            _marker: PhantomData<(*mut u8, PhantomPinned)>,
        }
    )*};
}

opaque! {
    /// `struct llama_model`: weights and hyperparameters.
    LlamaModel;
    /// `struct llama_vocab`: owned by its model.
    LlamaVocab;
    /// `struct llama_context`: KV cache and compute buffers.
    LlamaContext;
    /// `struct llama_memory_i`: owned by its context.
    LlamaMemory;
    /// `struct llama_adapter_lora`: owned by its model.
    LlamaAdapter;
    /// `struct ggml_backend_reg`: a registered backend; never unloaded.
    GgmlBackendReg;
}

/// `llama_progress_callback`: false stops the load.
pub type ProgressCallback = unsafe extern "C" fn(f32, *mut c_void) -> bool;
/// `ggml_abort_callback`: true stops the computation.
pub type AbortCallback = unsafe extern "C" fn(*mut c_void) -> bool;
/// `ggml_log_callback`: level, text, user data.
pub type LogCallback = unsafe extern "C" fn(i32, *const c_char, *mut c_void);
/// `ggml_abort_callback_t`: a failed assertion's text, just before the process ends.
pub type AssertionCallback = unsafe extern "C" fn(*const c_char);

/// `enum llama_load_mode`: mapped into memory unless a device reads better.
pub const LOAD_MODE_AUTO: i32 = -1;
/// Neither mapped nor locked.
pub const LOAD_MODE_NONE: i32 = 0;
/// Read into memory that may not be swapped.
pub const LOAD_MODE_MLOCK: i32 = 2;
/// Mapped, and locked.
pub const LOAD_MODE_MMAP_MLOCK: i32 = 3;

/// `struct llama_model_params`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ModelParams {
    pub devices: *mut *mut c_void,
    pub tensor_buft_overrides: *const c_void,
    pub n_gpu_layers: i32,
    pub split_mode: i32,
    pub load_mode: i32,
    pub lazy_mode: i32,
    pub main_gpu: i32,
    pub tensor_split: *const f32,
    pub progress_callback: Option<ProgressCallback>,
    pub progress_callback_user_data: *mut c_void,
    pub kv_overrides: *const c_void,
    pub vocab_only: bool,
    pub check_tensors: bool,
    pub use_extra_bufts: bool,
    pub no_host: bool,
    pub no_alloc: bool,
    pub load_mtp: bool,
}

/// `struct llama_context_params`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ContextParams {
    pub n_ctx: u32,
    pub n_batch: u32,
    pub n_ubatch: u32,
    pub n_seq_max: u32,
    pub n_rs_seq: u32,
    pub n_outputs_max: u32,
    pub n_outputs_max_per_seq: u32,
    pub n_threads: i32,
    pub n_threads_batch: i32,
    pub ctx_type: i32,
    pub rope_scaling_type: i32,
    pub pooling_type: i32,
    pub attention_type: i32,
    pub flash_attn_type: i32,
    pub rope_freq_base: f32,
    pub rope_freq_scale: f32,
    pub yarn_ext_factor: f32,
    pub yarn_attn_factor: f32,
    pub yarn_beta_fast: f32,
    pub yarn_beta_slow: f32,
    pub yarn_orig_ctx: u32,
    pub defrag_thold: f32,
    pub cb_eval: *mut c_void,
    pub cb_eval_user_data: *mut c_void,
    pub type_k: i32,
    pub type_v: i32,
    pub abort_callback: Option<AbortCallback>,
    pub abort_callback_data: *mut c_void,
    pub embeddings: bool,
    pub offload_kqv: bool,
    pub no_perf: bool,
    pub op_offload: bool,
    pub swa_full: bool,
    pub kv_unified: bool,
    pub samplers: *mut c_void,
    pub n_samplers: usize,
    pub ctx_other: *mut LlamaContext,
}

/// `struct llama_model_quantize_params`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct QuantizeParams {
    pub nthread: i32,
    pub ftype: i32,
    pub output_tensor_type: i32,
    pub token_embedding_type: i32,
    pub allow_requantize: bool,
    pub quantize_output_tensor: bool,
    pub only_copy: bool,
    pub pure: bool,
    pub keep_split: bool,
    pub dry_run: bool,
    pub imatrix: *const c_void,
    pub kv_overrides: *const c_void,
    pub tt_overrides: *const c_void,
    pub prune_layers: *const c_void,
    pub max_buf_size: usize,
}

/// `struct llama_batch`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LlamaBatch {
    pub n_tokens: i32,
    pub token: *mut i32,
    pub embd: *mut f32,
    pub pos: *mut i32,
    pub n_seq_id: *mut i32,
    pub seq_id: *mut *mut i32,
    pub logits: *mut i8,
}

/// `struct tabagent_error` of the shim.
#[repr(C)]
pub struct ShimError {
    pub text: *mut c_char,
    pub capacity: usize,
}

/// `struct tabagent_memory` of the shim.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ShimMemory {
    pub buffer_type: [c_char; 32],
    pub is_host: u8,
    pub model: u64,
    pub context: u64,
    pub compute: u64,
}

/// `TABAGENT_THROWN` of the shim: `llama_decode` threw.
pub const THROWN: i32 = i32::MIN;
/// `TABAGENT_SHIM_VERSION`.
pub const SHIM_VERSION: i32 = 1;
