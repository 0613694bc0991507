//! Loading models: progress, cancellation, and files that are none.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use common::gguf::TinyLlama;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tabagent_llama::{
    Context, ContextError, ContextOptions, LoadError, LogLevel, Model, ModelOptions, set_log_sink,
};

fn written(name: &str, bytes: &[u8]) -> PathBuf {
    let path = common::scratch(name).join("model.gguf");
    fs::write(&path, bytes).unwrap();
    path
}

fn refusal(path: &Path) -> LoadError {
    Model::load(&common::runtime(), path, &ModelOptions::default(), |_| true).unwrap_err()
}

#[test]
fn progress_rises_to_one() {
    let path = written("progress", &TinyLlama::default().bytes());
    for mmap in [true, false] {
        let mut seen = Vec::new();
        let options = ModelOptions {
            mmap,
            ..ModelOptions::default()
        };
        Model::load(&common::runtime(), &path, &options, |fraction| {
            seen.push(fraction);
            true
        })
        .unwrap();
        assert!(seen.is_sorted(), "{seen:?}");
        assert_eq!(seen.last(), Some(&1.0));
    }
}

#[test]
fn progress_can_cancel() {
    let path = written("cancel", &TinyLlama::default().bytes());
    for mmap in [true, false] {
        let options = ModelOptions {
            mmap,
            ..ModelOptions::default()
        };
        let error = Model::load(&common::runtime(), &path, &options, |_| false).unwrap_err();
        assert!(matches!(error, LoadError::Cancelled { .. }), "{error}");
    }
}

#[test]
fn a_panic_in_progress_cancels() {
    let path = written("panic", &TinyLlama::default().bytes());
    let error = Model::load(&common::runtime(), &path, &ModelOptions::default(), |_| {
        panic!("on purpose")
    })
    .unwrap_err();
    assert!(matches!(error, LoadError::Cancelled { .. }), "{error}");
}

#[test]
fn files_that_are_no_model() {
    let directory = common::scratch("no-model");
    assert!(matches!(
        refusal(&directory.join("absent.gguf")),
        LoadError::NotFound { .. }
    ));
    assert!(matches!(refusal(&directory), LoadError::NotAFile { .. }));
    assert!(matches!(
        refusal(Path::new("a\0b")),
        LoadError::BadPath { .. }
    ));
    assert!(matches!(
        refusal(&written("text", b"Dear model, please load.")),
        LoadError::NotGguf { .. }
    ));
    assert!(matches!(
        refusal(&written("empty", b"")),
        LoadError::NotGguf { .. }
    ));
    assert!(matches!(
        refusal(&written("magic-only", b"GGUF")),
        LoadError::Refused { .. }
    ));
}

#[test]
fn truncated_files_are_refused_with_a_reason() {
    let whole = TinyLlama::default().bytes();
    for length in [5, 24, 100, 1000, whole.len() / 2, whole.len() - 40] {
        let error = refusal(&written(&format!("truncated-{length}"), &whole[..length]));
        assert!(
            matches!(&error, LoadError::Refused { reason, .. } if !reason.is_empty()),
            "{length}: {error}"
        );
    }
}

#[test]
fn a_model_of_an_unknown_architecture_is_refused() {
    let text = TinyLlama::default().bytes();
    let position = text
        .windows(5)
        .position(|window| window == b"llama")
        .unwrap();
    let mut changed = text;
    changed[position..position + 5].copy_from_slice(b"lemur");
    let error = refusal(&written("architecture", &changed));
    assert!(error.to_string().contains("lemur"), "{error}");
}

#[test]
fn the_vocabulary_alone() {
    let path = written("vocab-only", &TinyLlama::default().bytes());
    let options = ModelOptions {
        vocab_only: true,
        ..ModelOptions::default()
    };
    let model = Model::load(&common::runtime(), &path, &options, |_| true).unwrap();
    assert_eq!(model.info().n_vocab, common::gguf::N_VOCAB as usize);
    assert!(!model.tokenize("hello", true, false).unwrap().is_empty());
    assert_eq!(
        Context::new(&model, &ContextOptions::default()).unwrap_err(),
        ContextError::VocabOnly
    );
}

#[test]
fn metadata_and_template() {
    let model = common::tiny_model("metadata");
    assert_eq!(
        model.metadata_value("general.name").as_deref(),
        Some("tiny")
    );
    assert_eq!(model.metadata_value("no.such.key"), None);
    assert_eq!(model.metadata_value("a\0b"), None);
    assert!(
        model
            .metadata()
            .iter()
            .any(|(key, value)| key == "llama.context_length" && value == "256")
    );
    assert!(model.chat_template(None).unwrap().contains("m.content"));
    assert_eq!(model.chat_template(Some("no such template")), None);
    assert!(model.description().contains("llama"));
    assert!(model.parameters() > 10_000 && model.size_bytes() >= model.parameters() * 4);
}

#[test]
fn many_models_at_once() {
    let path = written("many", &TinyLlama::default().bytes());
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let path = path.clone();
            std::thread::spawn(move || {
                for _ in 0..5 {
                    let model = common::load(&path);
                    Context::new(
                        &model,
                        &ContextOptions {
                            n_ctx: 32,
                            ..ContextOptions::default()
                        },
                    )
                    .unwrap();
                }
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
}

#[test]
fn the_log_goes_to_the_sink_in_whole_lines() {
    let lines: Arc<Mutex<Vec<(LogLevel, String)>>> = Arc::default();
    let sink = Arc::clone(&lines);
    set_log_sink(Some(Arc::new(move |level, line: &str| {
        sink.lock().unwrap().push((level, line.to_owned()))
    })));
    common::tiny_model("log");
    set_log_sink(None);
    let lines = lines.lock().unwrap();
    assert!(
        lines
            .iter()
            .any(|(level, line)| *level == LogLevel::Info && line.contains("general.architecture"))
    );
    assert!(lines.iter().all(|(_, line)| !line.contains('\n')));
}
