//! What the summary says, and what keeps a sound container from being given to llama.cpp.

mod common;

use common::{ARRAY, F32, I32, STRING, U16, U32, Writer, array, string, strings};

#[test]
fn sums_a_model_up() {
    let summary = Writer::llama().open().unwrap().summary();
    assert_eq!(summary.architecture.as_deref(), Some("llama"));
    assert_eq!(summary.name.as_deref(), Some("Little"));
    assert_eq!(summary.parameters, 128 + 1024 + 32);
    assert_eq!(summary.file_type.as_deref(), Some("Q8_0"));
    assert_eq!(
        (summary.context_length, summary.embedding_length),
        (Some(128), Some(32))
    );
    assert_eq!(
        (
            summary.head_count,
            summary.head_count_kv,
            summary.expert_count
        ),
        (Some(4), Some(2), None)
    );
    assert_eq!(summary.vocab_size, Some(4));
    assert_eq!(summary.chat_template.as_deref(), Some("{{ messages }}"));
    assert_eq!(summary.adapter, None);
    assert!(!summary.ternary && !summary.bitnet);
    let shares: Vec<_> = summary
        .quantization
        .iter()
        .map(|s| (s.tensor_type.name, s.tensors, s.elements, s.bytes))
        .collect();
    assert_eq!(
        shares,
        [
            ("F16", 1, 1024, 2048),
            ("Q8_0", 1, 128, 136),
            ("F32", 1, 32, 128)
        ]
    );
}

#[test]
fn heads_that_differ_by_layer() {
    let heads = array(U32, &[[4, 0, 0, 0], [8, 0, 0, 0]]);
    let writer = Writer::llama().with("llama.attention.head_count", ARRAY, heads);
    assert_eq!(writer.open().unwrap().summary().head_count, Some(8));
    let without = Writer::llama().without("llama.attention.head_count_kv");
    assert_eq!(without.open().unwrap().summary().head_count_kv, Some(4));
}

#[test]
fn recognises_adapters_and_ternary_models() {
    let adapter = Writer::empty()
        .text("general.type", "adapter")
        .text("general.architecture", "llama")
        .text("adapter.type", "lora")
        .entry("adapter.lora.alpha", F32, 16_f32.to_le_bytes())
        .tensor("blk.0.attn_q.weight.lora_a", &[64, 8], 1, 1024)
        .tensor("blk.0.attn_q.weight.lora_b", &[8, 64], 1, 1024);
    let file = adapter.open().unwrap();
    let about = file.summary().adapter.unwrap();
    assert_eq!(
        (about.kind.as_deref(), about.alpha, about.rank),
        (Some("lora"), Some(16.0), Some(8))
    );
    assert!(
        file.check_loadable(false)
            .unwrap_err()
            .to_string()
            .contains("adapter")
    );

    let ternary = Writer::llama()
        .with("general.architecture", STRING, string("bitnet-b1.58"))
        .tensor("blk.0.ffn_up.weight", &[256, 1], 34, 54);
    let summary = ternary.open().unwrap().summary();
    assert!(summary.ternary && summary.bitnet);
}

#[test]
fn refuses_what_llama_cpp_would_abort_on() {
    let with = |key: &str, value: u32| {
        let writer = Writer::llama().without(key);
        writer.u32(key, value).unloadable()
    };
    assert!(with("llama.block_count", 0).contains("layers"));
    assert!(with("llama.block_count", 513).contains("512"));
    assert!(with("llama.embedding_length", 0).contains("embedding_length"));
    assert!(with("llama.context_length", u32::MAX).contains("31 bits"));
    assert!(with("llama.expert_count", 2000).contains("1024"));
    assert!(with("llama.expert_count", 8).contains("expert_used_count"));
    assert!(with("llama.expert_used_count", 8).contains("0 experts"));
    assert!(with("llama.expert_group_count", 1).contains("0 experts"));
    assert!(with("llama.nextn_predict_layers", 2).contains("1 layers"));
    assert!(with("llama.attention.head_count", 0).contains("attention layers"));
    assert!(with("llama.attention.head_count_kv", 3).contains("does not divide"));
    assert!(with("tokenizer.ggml.bos_token_id", 4).contains("4 tokens"));
    let scaling = Writer::llama().text("llama.rope.scaling.type", "magic");
    assert!(scaling.unloadable().contains("no such kind"));
    let layers = Writer::llama().with("llama.block_count", U16, [1, 0]);
    assert!(layers.unloadable().contains("must be u32"));
    for key in [
        "general.architecture",
        "llama.block_count",
        "tokenizer.ggml.model",
        "tokenizer.ggml.tokens",
    ] {
        let missing = Writer::llama().without(key).unloadable();
        assert!(missing.contains("is missing"), "{missing}");
    }
}

#[test]
fn refuses_broken_vocabularies() {
    let tokens =
        |texts: &[&str]| Writer::llama().with("tokenizer.ggml.tokens", ARRAY, strings(texts));
    assert!(
        tokens(&["a", "b", "c", "a"])
            .unloadable()
            .contains("tokens 0 and 3")
    );
    assert!(
        tokens(&["a", "b", "c", "a\0x"])
            .unloadable()
            .contains("tokens 0 and 3")
    );
    assert!(
        tokens(&["[EMPTY_2]", "b", "", "d"])
            .unloadable()
            .contains("tokens 0 and 2")
    );
    tokens(&["a", "", "", "d"])
        .open()
        .unwrap()
        .check_loadable(false)
        .unwrap();
    assert!(tokens(&[]).unloadable().contains("not empty"));
    assert!(
        tokens(&["a", "b", "c", "d", "e"])
            .unloadable()
            .contains("5 tokens")
    );
    let wrong = Writer::llama().with("tokenizer.ggml.token_type", ARRAY, array(U32, &[[0; 4]; 4]));
    assert!(wrong.unloadable().contains("array of i32"));
    let scores = Writer::llama().entry("tokenizer.ggml.scores", ARRAY, array(F32, &[[0; 4]; 3]));
    assert!(scores.unloadable().contains("an array of 3"));
    let scores = Writer::llama().entry("tokenizer.ggml.scores", I32, [0; 4]);
    assert!(scores.unloadable().contains("array of f32"));
}
