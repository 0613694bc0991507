//! Text to tokens and back, on the tiny model's byte-level vocabulary.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use common::gguf::{BOS, N_VOCAB, NOTE, TinyLlama};
use tabagent_llama::TokenizeError;

#[test]
fn text_comes_back_byte_for_byte() {
    let model = common::tiny_model("round-trip");
    let long = "The long way home, again and again. ".repeat(20_000);
    for text in [
        "",
        " ",
        "  two  spaces  ",
        "hello",
        " hello",
        "hello hello",
        "zwölf Boxkämpfer 🥊",
        "\0\u{1}\n\t\r",
        &long,
    ] {
        for add_special in [true, false] {
            let tokens = model.tokenize(text, add_special, false).unwrap();
            assert_eq!(tokens.first() == Some(&BOS), add_special, "{text:?}");
            assert_eq!(
                model.detokenize(&tokens).unwrap(),
                text.as_bytes(),
                "{:?}",
                text.chars().take(40).collect::<String>()
            );
        }
    }
}

#[test]
fn control_tokens_are_read_only_when_asked() {
    let model = common::tiny_model("control");
    let parsed = model.tokenize("hello<|note|>hello", false, true).unwrap();
    assert!(parsed.contains(&NOTE));
    assert_eq!(model.detokenize(&parsed).unwrap(), b"hellohello");
    assert_eq!(
        model.detokenize_special(&parsed).unwrap(),
        b"hello<|note|>hello"
    );
    let plain = model.tokenize("hello<|note|>hello", false, false).unwrap();
    assert!(!plain.contains(&NOTE));
    assert_eq!(model.detokenize(&plain).unwrap(), b"hello<|note|>hello");
}

#[test]
fn the_bytes_of_single_tokens() {
    let model = common::tiny_model("pieces");
    let bytes = |token| {
        let mut out = b"before ".to_vec();
        model.token_bytes(token, &mut out);
        out.split_off(7)
    };
    assert_eq!(bytes(3 + 0xC3), [0xC3], "a part of a character");
    assert_eq!(bytes(NOTE - 1), b" hello");
    for nothing in [BOS, NOTE, -1, N_VOCAB as i32, i32::MIN, i32::MAX] {
        assert_eq!(bytes(nothing), b"", "{nothing}");
    }
    let mut out = Vec::new();
    model.token_bytes_special(NOTE, &mut out);
    assert_eq!(out, b"<|note|>");
}

#[test]
fn tokens_outside_the_vocabulary_are_refused() {
    let model = common::tiny_model("outside");
    for token in [-1, N_VOCAB as i32, i32::MAX] {
        let error = model.detokenize(&[BOS, token]).unwrap_err();
        assert_eq!(
            error,
            TokenizeError::OutOfRange {
                token,
                n_vocab: N_VOCAB as usize
            }
        );
    }
}

#[test]
fn a_vocabulary_without_the_token_that_it_adds_does_not_end_the_process() {
    let path = common::scratch("without-bos").join("model.gguf");
    TinyLlama {
        without_bos: true,
        ..TinyLlama::default()
    }
    .write(&path);
    let model = common::load(&path);
    match model.tokenize("hello", true, false) {
        Ok(tokens) => assert!(!tokens.is_empty()),
        Err(error) => assert!(
            matches!(error, TokenizeError::NoSpecialToken { .. }),
            "{error}"
        ),
    }
    assert!(!model.tokenize("hello", false, false).unwrap().is_empty());
}

#[test]
fn facts_of_the_vocabulary() {
    let model = common::tiny_model("facts-of-vocab");
    let vocab = model.vocab();
    assert_eq!(vocab.nl, Some(3 + i32::from(b'\n')));
    assert!(vocab.adds_space_prefix && vocab.add_bos && !vocab.add_eos);
}

#[test]
fn tokenizing_from_many_threads_agrees() {
    let model = common::tiny_model("threads");
    let expected = model
        .tokenize("hello there, hello world", true, false)
        .unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    assert_eq!(
                        model
                            .tokenize("hello there, hello world", true, false)
                            .unwrap(),
                        expected
                    );
                }
            });
        }
    });
}
