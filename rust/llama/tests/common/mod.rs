//! What the tests of this crate share: where the runtime pack is, and models made on the spot.
#![allow(dead_code)] // each test file uses its own part

pub mod gguf;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tabagent_llama::{Model, ModelOptions, Runtime};

/// libllama of the pack: in `TABAGENT_RUNTIME_DIR`, else where `scripts/build_runtime.py` puts it. A missing pack
/// fails the test.
pub fn library() -> PathBuf {
    let directory = std::env::var_os("TABAGENT_RUNTIME_DIR").map_or_else(
        || {
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../../model-bindings/python/tabagent_model/runtime")
        },
        PathBuf::from,
    );
    let library = directory.join("libllama.so");
    assert!(
        library.exists(),
        "no runtime pack in {}; run scripts/build_runtime.py --native",
        directory.display()
    );
    library
}

pub fn runtime() -> Arc<Runtime> {
    Runtime::open(&library()).unwrap()
}

/// The sources of llama.cpp that the pack is built from, fetched if they are not in the cache.
pub fn llama_source() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let own = root.join(".venv/bin/python");
    let python = if own.exists() {
        own
    } else {
        PathBuf::from("python3")
    };
    let output = Command::new(python)
        .arg(root.join("scripts/build_runtime.py"))
        .arg("--source")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim_end())
}

/// An empty folder of this name, which the next run of the same test empties again. Every test has its own name.
pub fn scratch(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if directory.exists() {
        std::fs::remove_dir_all(&directory).unwrap();
    }
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

pub fn load(path: &Path) -> Arc<Model> {
    Model::load(&runtime(), path, &ModelOptions::default(), |_| true).unwrap()
}

/// A tiny Llama of random weights, written anew.
pub fn tiny_model(name: &str) -> Arc<Model> {
    let path = scratch(name).join("tiny.gguf");
    gguf::TinyLlama::default().write(&path);
    load(&path)
}
