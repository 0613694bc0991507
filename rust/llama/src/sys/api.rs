//! The functions of a loaded pack, each looked up once by name.

use super::types::*;
use std::ffi::{c_char, c_void};

/// Declares [`Api`] and its loader from one list, so that no symbol can be declared and not looked up.
macro_rules! api {
    ($($library:ident: { $($name:ident: fn($($argument:ty),*) $(-> $result:ty)?;)* })*) => {
        /// Function pointers into the pack's libraries. They stay valid for good: a pack is never unloaded.
        pub struct Api {
            $($(pub $name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*)*
        }

        impl Api {
            /// Looks every function up, or answers the name of the first that is missing.
            ///
            /// # Safety
            /// The libraries must be those of a pack that the guard let in, and must never be unloaded.
            pub unsafe fn load($($library: &libloading::Library),*) -> Result<Self, &'static str> {
                Ok(Self {
                    $($($name: {
                        // SAFETY: the type is that of the pinned header; the caller vouches for the library.
                        let symbol = unsafe { $library.get(concat!(stringify!($name), "\0").as_bytes()) };
                        *symbol.map_err(|_| stringify!($name))?
                    },)*)*
                })
            }
        }
    };
}

api! {
    ggml_base: {
        ggml_version: fn() -> *const c_char;
        ggml_set_abort_callback: fn(Option<AssertionCallback>) -> Option<AssertionCallback>;
    }
    ggml: {
        ggml_backend_load: fn(*const c_char) -> *mut GgmlBackendReg;
    }
    llama: {
        llama_version: fn() -> *const c_char;
        llama_log_set: fn(Option<LogCallback>, *mut c_void);
        llama_backend_init: fn();
        llama_model_default_params: fn() -> ModelParams;
        llama_context_default_params: fn() -> ContextParams;
        llama_supports_gpu_offload: fn() -> bool;
        llama_model_quantize_default_params: fn() -> QuantizeParams;
        llama_model_quantize: fn(*const c_char, *const c_char, *const QuantizeParams) -> u32;

        llama_adapter_lora_init: fn(*mut LlamaModel, *const c_char) -> *mut LlamaAdapter;
        llama_set_adapters_lora: fn(*mut LlamaContext, *mut *mut LlamaAdapter, usize, *mut f32) -> i32;

        llama_model_free: fn(*mut LlamaModel);
        llama_model_get_vocab: fn(*const LlamaModel) -> *const LlamaVocab;
        llama_model_n_ctx_train: fn(*const LlamaModel) -> i32;
        llama_model_n_embd: fn(*const LlamaModel) -> i32;
        llama_model_n_embd_out: fn(*const LlamaModel) -> i32;
        llama_model_n_layer: fn(*const LlamaModel) -> i32;
        llama_model_n_head: fn(*const LlamaModel) -> i32;
        llama_model_n_swa: fn(*const LlamaModel) -> i32;
        llama_model_n_params: fn(*const LlamaModel) -> u64;
        llama_model_size: fn(*const LlamaModel) -> u64;
        llama_model_desc: fn(*const LlamaModel, *mut c_char, usize) -> i32;
        llama_model_meta_count: fn(*const LlamaModel) -> i32;
        llama_model_meta_val_str: fn(*const LlamaModel, *const c_char, *mut c_char, usize) -> i32;
        llama_model_meta_key_by_index: fn(*const LlamaModel, i32, *mut c_char, usize) -> i32;
        llama_model_meta_val_str_by_index: fn(*const LlamaModel, i32, *mut c_char, usize) -> i32;
        llama_model_chat_template: fn(*const LlamaModel, *const c_char) -> *const c_char;
        llama_model_has_encoder: fn(*const LlamaModel) -> bool;
        llama_model_has_decoder: fn(*const LlamaModel) -> bool;
        llama_model_is_recurrent: fn(*const LlamaModel) -> bool;
        llama_model_is_hybrid: fn(*const LlamaModel) -> bool;
        llama_model_is_diffusion: fn(*const LlamaModel) -> bool;

        llama_vocab_n_tokens: fn(*const LlamaVocab) -> i32;
        llama_vocab_type: fn(*const LlamaVocab) -> i32;
        llama_vocab_bos: fn(*const LlamaVocab) -> i32;
        llama_vocab_eos: fn(*const LlamaVocab) -> i32;
        llama_vocab_sep: fn(*const LlamaVocab) -> i32;
        llama_vocab_nl: fn(*const LlamaVocab) -> i32;
        llama_vocab_get_add_bos: fn(*const LlamaVocab) -> bool;
        llama_vocab_get_add_eos: fn(*const LlamaVocab) -> bool;
        llama_vocab_get_add_sep: fn(*const LlamaVocab) -> bool;
        llama_vocab_is_eog: fn(*const LlamaVocab, i32) -> bool;
        llama_vocab_get_attr: fn(*const LlamaVocab, i32) -> i32;

        llama_free: fn(*mut LlamaContext);
        llama_n_ctx: fn(*const LlamaContext) -> u32;
        llama_n_ctx_seq: fn(*const LlamaContext) -> u32;
        llama_n_batch: fn(*const LlamaContext) -> u32;
        llama_get_memory: fn(*const LlamaContext) -> *mut LlamaMemory;
        llama_synchronize: fn(*mut LlamaContext);
        llama_set_n_threads: fn(*mut LlamaContext, i32, i32);
        llama_get_logits_ith: fn(*mut LlamaContext, i32) -> *mut f32;
        llama_get_embeddings_ith: fn(*mut LlamaContext, i32) -> *mut f32;
        llama_get_embeddings_seq: fn(*mut LlamaContext, i32) -> *mut f32;
        llama_memory_clear: fn(*mut LlamaMemory, bool);
        llama_memory_seq_rm: fn(*mut LlamaMemory, i32, i32, i32) -> bool;
        llama_memory_seq_cp: fn(*mut LlamaMemory, i32, i32, i32, i32);
        llama_memory_seq_pos_max: fn(*mut LlamaMemory, i32) -> i32;
        llama_memory_seq_pos_min: fn(*mut LlamaMemory, i32) -> i32;
        llama_memory_seq_add: fn(*mut LlamaMemory, i32, i32, i32, i32);
        llama_memory_can_shift: fn(*mut LlamaMemory) -> bool;
        llama_state_seq_get_size: fn(*mut LlamaContext, i32) -> usize;
        llama_state_seq_get_data: fn(*mut LlamaContext, *mut u8, usize, i32) -> usize;
        llama_state_seq_set_data: fn(*mut LlamaContext, *const u8, usize, i32) -> usize;
    }
    shim: {
        tabagent_shim_version: fn() -> i32;
        tabagent_layout: fn(*mut u32, usize) -> usize;
        tabagent_model_load: fn(*const c_char, *const ModelParams, *mut ShimError) -> *mut LlamaModel;
        tabagent_context_new: fn(*mut LlamaModel, *const ContextParams, *mut ShimError) -> *mut LlamaContext;
        tabagent_decode: fn(*mut LlamaContext, *const LlamaBatch, *mut ShimError) -> i32;
        tabagent_tokenize: fn(*const LlamaVocab, *const c_char, i32, *mut i32, i32, u8, u8, *mut u8, *mut ShimError) -> i32;
        tabagent_token_to_piece: fn(*const LlamaVocab, i32, *mut c_char, i32, u8, *mut u8, *mut ShimError) -> i32;
        tabagent_memory_breakdown: fn(*const LlamaContext, *mut ShimMemory, usize, *mut ShimError) -> usize;
    }
}
