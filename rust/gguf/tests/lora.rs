//! Which adapters are let through to llama.cpp with a model.
#![allow(clippy::unwrap_used)] // In helpers of tests clippy does not see that they are tests.

mod common;

use common::{ARRAY, F32, U32, Writer, array};
use tabagent_gguf::GgufFile;

const UNTYPED: u32 = 0;

fn adapter() -> Writer {
    bare()
        .tensor("blk.0.attn_q.weight.lora_a", &[32, 2], UNTYPED, 256)
        .tensor("blk.0.attn_q.weight.lora_b", &[2, 32], UNTYPED, 256)
}

fn bare() -> Writer {
    Writer::empty()
        .text("general.type", "adapter")
        .text("general.architecture", "llama")
        .text("adapter.type", "lora")
        .entry("adapter.lora.alpha", F32, 4_f32.to_le_bytes())
}

fn pair(name: &str, a: &[u64], b: &[u64]) -> Writer {
    let bytes = |shape: &[u64]| 4 * shape.iter().product::<u64>() as usize;
    bare()
        .tensor(&format!("{name}.lora_a"), a, UNTYPED, bytes(a))
        .tensor(&format!("{name}.lora_b"), b, UNTYPED, bytes(b))
}

fn check(adapter: &Writer, model: &Writer) -> Result<(), String> {
    let (adapter, model) = (adapter.open().unwrap(), model.open().unwrap());
    let models: [&GgufFile; 1] = [&model];
    adapter
        .check_lora(&models)
        .map_err(|error| error.to_string())
}

fn refusal(adapter: &Writer) -> String {
    check(adapter, &Writer::llama()).unwrap_err()
}

#[test]
fn what_fits_is_let_through() {
    assert_eq!(check(&adapter(), &Writer::llama()), Ok(()));
    let with_norm = adapter().tensor("blk.0.attn_norm.weight", &[32], UNTYPED, 128);
    assert_eq!(check(&with_norm, &Writer::llama()), Ok(()));
    let unscaled = adapter().without("adapter.lora.alpha");
    assert_eq!(check(&unscaled, &Writer::llama()), Ok(()));
}

#[test]
fn it_must_be_an_adapter_to_this_architecture() {
    let cases = [
        (
            adapter().without("general.type"),
            "'general.type' is missing",
        ),
        (
            adapter().with("general.type", 8, common::string("model")),
            "it must be 'adapter'",
        ),
        (
            adapter().with("adapter.type", U32, 1_u32.to_le_bytes()),
            "of type u32",
        ),
        (
            adapter().with("adapter.type", 8, common::string("ia3")),
            "it must be 'lora'",
        ),
        (
            adapter().with("general.architecture", 8, common::string("gemma")),
            "it must be 'llama'",
        ),
        (
            adapter().with("adapter.lora.alpha", U32, 4_u32.to_le_bytes()),
            "must be f32",
        ),
        (
            adapter().with("adapter.lora.alpha", F32, f32::NAN.to_le_bytes()),
            "no finite number",
        ),
        (
            adapter().entry(
                "adapter.alora.invocation_tokens",
                ARRAY,
                array(U32, &[[1, 0, 0, 0]]),
            ),
            "in the middle of a text",
        ),
        (bare(), "no updates"),
    ];
    for (writer, expected) in cases {
        let problem = refusal(&writer);
        assert!(problem.contains(expected), "{problem}");
    }
}

#[test]
fn every_tensor_must_fit_and_is_named() {
    let q = "blk.0.attn_q.weight";
    let cases = [
        (
            pair(q, &[16, 2], &[2, 32]),
            "attn_q.weight.lora_a' has the shape [16, 2]",
        ),
        (
            pair(q, &[32, 2], &[2, 16]),
            "attn_q.weight.lora_b' has the shape [2, 16]",
        ),
        (
            pair(q, &[32, 2], &[3, 32]),
            "attn_q.weight.lora_a' has the shape [32, 2]",
        ),
        (
            pair(q, &[32, 2, 2], &[2, 32]),
            "lora_a' has the shape [32, 2, 2]",
        ),
        (
            pair("blk.7.attn_q.weight", &[32, 2], &[2, 32]),
            "that this model does not have",
        ),
        (
            bare().tensor("blk.0.attn_q.weight.lora_b", &[2, 32], UNTYPED, 256),
            "has no counterpart",
        ),
        (
            adapter().tensor("blk.0.attn_q.weight", &[32, 2], UNTYPED, 256),
            "is no part of an update",
        ),
        (
            bare()
                .tensor("blk.0.attn_q.weight.lora_a", &[32, 2], 26, 256)
                .tensor("blk.0.attn_q.weight.lora_b", &[2, 32], UNTYPED, 256),
            "stored as I32",
        ),
    ];
    for (writer, expected) in cases {
        let problem = refusal(&writer);
        assert!(problem.contains(expected), "{problem}");
    }
}

#[test]
fn the_table_of_tokens_has_its_factors_the_other_way_round() {
    let own_output = Writer::llama().tensor("output.weight", &[32, 4], UNTYPED, 512);
    let tokens = "token_embd.weight";
    let fits = pair(tokens, &[2, 4], &[2, 32]);
    assert_eq!(check(&fits, &own_output), Ok(()));
    for (a, b) in [([32, 2], [2, 4]), ([2, 4], [3, 32]), ([3, 4], [2, 32])] {
        let problem = check(&pair(tokens, &a, &b), &own_output).unwrap_err();
        assert!(problem.contains("does not fit"), "{problem}");
    }
    // The output would be multiplied by what was made for looking up.
    let problem = refusal(&fits);
    assert!(problem.contains("the model's output as well"), "{problem}");
}
