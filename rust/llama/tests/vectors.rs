//! Tokenization agrees with llama.cpp's own test vectors, for every vocabulary that comes with its sources, and gives
//! back the bytes that went in.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tabagent_engine::Token;
use tabagent_llama::{Model, ModelOptions};

/// Between two texts of an `.inp` file (tests/test-tokenizer-0.cpp).
const SEPARATOR: &str = "\n__ggml_vocab_test__\n";

/// Vocabularies that cannot give the bytes back: WordPiece drops spaces and letter case.
const LOSSY: [&str; 1] = ["bert-bge"];

/// Name, model file, texts and their tokens.
struct Vectors {
    name: String,
    model: Arc<Model>,
    texts: Vec<(String, Vec<Token>)>,
}

fn vectors() -> Vec<Vectors> {
    let models = common::llama_source().join("models");
    let mut inputs: Vec<PathBuf> = fs::read_dir(&models)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    inputs.retain(|path| path.to_string_lossy().ends_with(".gguf.inp"));
    inputs.sort();
    assert!(
        inputs.len() >= 14,
        "only {} vectors in {}",
        inputs.len(),
        models.display()
    );
    inputs.iter().map(|path| read(path)).collect()
}

fn read(input: &Path) -> Vectors {
    let gguf = input.with_extension("");
    let options = ModelOptions {
        vocab_only: true,
        ..ModelOptions::default()
    };
    let text = fs::read_to_string(input).unwrap();
    let expected = fs::read_to_string(input.with_extension("out")).unwrap();
    let ids = |line: &str| {
        line.split_whitespace()
            .map(|id| id.parse().unwrap())
            .collect()
    };
    let texts: Vec<_> = text
        .split(SEPARATOR)
        .map(str::to_owned)
        .zip(expected.lines().map(ids))
        .collect();
    assert!(texts.len() > 40);
    Vectors {
        name: gguf
            .file_stem()
            .unwrap()
            .to_string_lossy()
            .replace("ggml-vocab-", ""),
        model: Model::load(&common::runtime(), &gguf, &options, |_| true).unwrap(),
        texts,
    }
}

#[test]
fn every_vocabulary_agrees_and_gives_the_bytes_back() {
    for Vectors { name, model, texts } in vectors() {
        for (text, expected) in &texts {
            let tokens = model.tokenize(text, false, false).unwrap();
            assert_eq!(&tokens, expected, "{name}: {text:?}");
            if LOSSY.contains(&name.as_str()) {
                continue;
            }
            for add_special in [false, true] {
                let tokens = model.tokenize(text, add_special, false).unwrap();
                let bytes = model.detokenize(&tokens).unwrap();
                assert_eq!(String::from_utf8_lossy(&bytes), *text, "{name}: {tokens:?}");
            }
        }
    }
}
