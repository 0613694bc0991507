//! Proof that our structs are laid out as the C++ compiler laid out llama.cpp's.
//!
//! Twice: at compile time against the sizes read in the pinned headers, and when a pack is opened against
//! what its shim reports (`tabagent_layout`), which was compiled with those headers.

use super::types::{ContextParams, LlamaBatch, ModelParams, QuantizeParams, ShimMemory};
use std::mem::{offset_of, size_of};

macro_rules! layout {
    ($($type:ident { $($field:ident),* $(,)? })*) => {
        /// Name, size and field offsets of every struct that crosses the border, in the shim's order.
        pub const LAYOUT: &[(&str, u32)] = &[$(
            (stringify!($type), size_of::<$type>() as u32),
            $((concat!(stringify!($type), ".", stringify!($field)), offset_of!($type, $field) as u32),)*
        )*];
    };
}

layout! {
    ModelParams {
        devices, tensor_buft_overrides, n_gpu_layers, split_mode, load_mode, lazy_mode, main_gpu, tensor_split,
        progress_callback, progress_callback_user_data, kv_overrides, vocab_only, check_tensors, use_extra_bufts,
        no_host, no_alloc, load_mtp,
    }
    ContextParams {
        n_ctx, n_batch, n_ubatch, n_seq_max, n_rs_seq, n_outputs_max, n_outputs_max_per_seq, n_threads,
        n_threads_batch, ctx_type, rope_scaling_type, pooling_type, attention_type, flash_attn_type, rope_freq_base,
        rope_freq_scale, yarn_ext_factor, yarn_attn_factor, yarn_beta_fast, yarn_beta_slow, yarn_orig_ctx,
        defrag_thold, cb_eval, cb_eval_user_data, type_k, type_v, abort_callback, abort_callback_data, embeddings,
        offload_kqv, no_perf, op_offload, swa_full, kv_unified, samplers, n_samplers, ctx_other,
    }
    LlamaBatch { n_tokens, token, embd, pos, n_seq_id, seq_id, logits }
    ShimMemory { buffer_type, is_host, model, context, compute }
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<ModelParams>() == 80);
    assert!(offset_of!(ModelParams, tensor_split) == 40);
    assert!(offset_of!(ModelParams, progress_callback) == 48);
    assert!(offset_of!(ModelParams, vocab_only) == 72);
    assert!(offset_of!(ModelParams, load_mtp) == 77);
    assert!(size_of::<ContextParams>() == 160);
    assert!(offset_of!(ContextParams, flash_attn_type) == 52);
    assert!(offset_of!(ContextParams, cb_eval) == 88);
    assert!(offset_of!(ContextParams, type_k) == 104);
    assert!(offset_of!(ContextParams, abort_callback) == 112);
    assert!(offset_of!(ContextParams, embeddings) == 128);
    assert!(offset_of!(ContextParams, samplers) == 136);
    assert!(offset_of!(ContextParams, ctx_other) == 152);
    assert!(size_of::<LlamaBatch>() == 56);
    assert!(size_of::<ShimMemory>() == 64);
    // Not reported by the shim: `quantize` compares the defaults that come back.
    assert!(size_of::<QuantizeParams>() == 64);
    assert!(offset_of!(QuantizeParams, imatrix) == 24);
    assert!(offset_of!(QuantizeParams, max_buf_size) == 56);
};
