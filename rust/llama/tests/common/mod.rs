//! What the tests of this crate share: where the runtime pack is, and models made on the spot.
#![allow(dead_code)] // each test file uses its own part

pub mod gguf;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use tabagent_llama::{Model, ModelOptions, Runtime};

/// libllama of the pack: in `TABAGENT_RUNTIME_DIR`, else where `scripts/build_runtime.py` puts it. A missing pack
/// fails the test.
pub fn library() -> PathBuf {
    let directory = std::env::var_os("TABAGENT_RUNTIME_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../model-bindings/python/tabagent_model/runtime"),
        PathBuf::from,
    );
    let library = directory.join("libllama.so");
    assert!(library.exists(), "no runtime pack in {}; run scripts/build_runtime.py --native", directory.display());
    library
}

pub fn runtime() -> Arc<Runtime> {
    Runtime::open(&library()).unwrap()
}

/// A folder for this test program's files, of this process only.
pub fn scratch(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
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
