//! The guard: which packs are opened. Each case that loads anything runs in a process of its own, because a
//! process opens one runtime only.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tabagent_hardware::pack::PackError;
use tabagent_llama::{OpenError, Runtime};

/// A copy of the pack that a test may spoil.
fn copy(name: &str) -> PathBuf {
    let directory = common::scratch(name);
    let source = common::library().canonicalize().unwrap();
    for entry in fs::read_dir(source.parent().unwrap()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), directory.join(entry.file_name())).unwrap();
    }
    directory
}

fn refusal(directory: &Path) -> OpenError {
    match Runtime::open(&directory.join("libllama.so")) {
        Ok(_) => panic!("the pack was opened"),
        Err(error) => error,
    }
}

/// Changes the manifest's text.
fn edit_manifest(directory: &Path, edit: impl FnOnce(&mut serde_json::Value)) {
    let path = directory.join("manifest.json");
    let mut manifest = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    edit(&mut manifest);
    fs::write(path, manifest.to_string()).unwrap();
}

#[test]
fn nothing_there() {
    let directory = common::scratch("nothing");
    assert!(matches!(refusal(&directory), OpenError::NotFound { .. }));
    assert!(matches!(
        Runtime::open(&directory),
        Err(OpenError::NotAFile { .. })
    ));
    assert!(matches!(
        Runtime::open(Path::new("")),
        Err(OpenError::NotFound { .. })
    ));
    assert!(matches!(
        Runtime::open(Path::new("a\0b")),
        Err(OpenError::NotFound { .. })
    ));
}

#[test]
fn a_library_without_manifest() {
    let directory = copy("no-manifest");
    fs::remove_file(directory.join("manifest.json")).unwrap();
    assert!(matches!(refusal(&directory), OpenError::NoManifest { .. }));
}

#[test]
fn a_manifest_that_is_none() {
    let directory = copy("bad-manifest");
    for text in ["", "{}", "[1", "\u{0}"] {
        fs::write(directory.join("manifest.json"), text).unwrap();
        assert!(
            matches!(refusal(&directory), OpenError::BadManifest { .. }),
            "{text:?}"
        );
    }
}

#[test]
fn another_build() {
    let cases = [
        ("source", "llama-cpp-python 0.3.35"),
        ("llama_version", "0.5.1"),
        ("ggml_version", "0.25.2"),
        ("platform", "plan9-mips"),
    ];
    for (index, (entry, value)) in cases.into_iter().enumerate() {
        let directory = copy(&format!("other-build-{index}"));
        edit_manifest(&directory, |manifest| manifest[entry] = value.into());
        let error = refusal(&directory);
        assert!(
            matches!(&error, OpenError::OtherBuild { what, .. } if *what == entry),
            "{error}"
        );
    }
}

#[test]
fn changed_files() {
    for file in [
        "libllama.so",
        "libggml-base.so",
        "libtabagent_shim.so",
        "libggml-cpu-x64.so",
    ] {
        let directory = copy(&format!("changed-{file}"));
        let path = directory.join(file);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
        let error = refusal(&directory);
        assert!(
            matches!(&error, OpenError::Changed { path, .. } if path.ends_with(file)),
            "{error}"
        );
    }
}

#[test]
fn a_missing_file() {
    let directory = copy("missing");
    fs::remove_file(directory.join("libggml.so")).unwrap();
    assert!(matches!(
        refusal(&directory),
        OpenError::FileUnreadable { .. }
    ));
}

#[test]
fn an_unlisted_file_that_would_be_loaded() {
    let directory = copy("unlisted");
    edit_manifest(&directory, |manifest| {
        manifest["files"]
            .as_object_mut()
            .unwrap()
            .remove("libggml-base.so");
    });
    assert!(matches!(refusal(&directory), OpenError::NotListed { .. }));
}

#[test]
fn a_stray_library() {
    let directory = copy("stray");
    fs::write(directory.join("libstdc++.so.6"), b"planted").unwrap();
    assert!(matches!(refusal(&directory), OpenError::Stray { .. }));
}

#[test]
fn names_that_lead_away() {
    for (index, name) in ["../libllama.so", "/etc/passwd", "..", ""]
        .into_iter()
        .enumerate()
    {
        let directory = copy(&format!("names-{index}"));
        edit_manifest(&directory, |manifest| manifest["shim"] = name.into());
        assert!(
            matches!(
                refusal(&directory),
                OpenError::BadManifest {
                    reason: PackError::UnsafeName { .. },
                    ..
                }
            ),
            "{name:?}"
        );
    }
}

#[cfg(unix)]
#[test]
fn a_link_in_place_of_a_file() {
    let directory = copy("link");
    let real = directory.join("libggml.so");
    let elsewhere = common::scratch("link-target").join("libggml.so");
    fs::rename(&real, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &real).unwrap();
    assert!(matches!(refusal(&directory), OpenError::NotRegular { .. }));
}

#[test]
fn another_library_of_the_pack() {
    let directory = copy("another");
    let error = Runtime::open(&directory.join("libggml.so")).err().unwrap();
    assert!(
        matches!(error, OpenError::NotThePacksLibrary { .. }),
        "{error}"
    );
}

#[test]
fn a_pack_for_other_processors() {
    let directory = copy("processors");
    edit_manifest(&directory, |manifest| {
        for module in manifest["cpu_modules"].as_array_mut().unwrap() {
            module["features"] = serde_json::json!(["no-processor-has-this"]);
        }
    });
    assert!(matches!(refusal(&directory), OpenError::NoCpuModule { .. }));
}

/// Runs one ignored test of this file alone, in a new process.
fn alone(test: &str) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--test-threads=1"])
        .env("LD_LIBRARY_PATH", "")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn one_pack_opens_and_no_other_after_it() {
    alone("in_process_one_pack_opens_and_no_other_after_it");
}

#[test]
#[ignore = "needs a process of its own; run by the test above"]
fn in_process_one_pack_opens_and_no_other_after_it() {
    let runtime = common::runtime();
    assert!(!runtime.cpu_module().is_empty());
    assert!(!runtime.supports_gpu_offload());
    assert!(Arc::ptr_eq(&runtime, &common::runtime()));
    let same = Runtime::open(&copy("same").join("libllama.so")).unwrap();
    assert!(
        Arc::ptr_eq(&runtime, &same),
        "a copy with the same content is the same runtime"
    );
    let other = copy("other");
    edit_manifest(&other, |manifest| {
        manifest["build_id"] = "0000000000000000".into()
    });
    assert!(matches!(refusal(&other), OpenError::AnotherIsOpen { .. }));
}

#[test]
fn a_failure_half_way_is_final() {
    alone("in_process_a_failure_half_way_is_final");
}

#[test]
#[ignore = "needs a process of its own; run by the test above"]
fn in_process_a_failure_half_way_is_final() {
    let directory = copy("half-way");
    let shim = directory.join("libtabagent_shim.so");
    // A manifest that names a library without our functions as the shim.
    fs::copy(directory.join("libggml.so"), &shim).unwrap();
    edit_manifest(&directory, |manifest| {
        let ggml = manifest["files"]["libggml.so"].clone();
        manifest["files"]["libtabagent_shim.so"] = ggml;
    });
    let error = refusal(&directory);
    assert!(
        matches!(error, OpenError::MissingFunction { .. }),
        "{error}"
    );
    let error = Runtime::open(&common::library()).err().unwrap();
    assert!(matches!(error, OpenError::EarlierFailure { .. }), "{error}");
}

#[test]
fn a_foreign_llama_is_not_mixed_with_ours() {
    alone("in_process_a_foreign_llama_is_not_mixed_with_ours");
}

#[test]
#[ignore = "needs a process of its own; run by the test above"]
fn in_process_a_foreign_llama_is_not_mixed_with_ours() {
    let foreign = copy("foreign").join("libggml-base.so");
    // SAFETY: the file is the pack's own, whose constructors are harmless.
    std::mem::forget(unsafe { libloading::Library::new(&foreign) }.unwrap());
    let error = Runtime::open(&common::library()).err().unwrap();
    assert!(matches!(error, OpenError::ForeignLibrary { .. }), "{error}");
}
