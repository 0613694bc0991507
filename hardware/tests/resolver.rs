//! The search for binaries, over trees laid out on disk for machines that are not at hand.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // a tree that cannot be laid out shall end the test at once

use proptest::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};
use tabagent_hardware::cpu::{Architecture, CpuidFacts};
use tabagent_hardware::gpu::GpuVendor;
use tabagent_hardware::resolver::{
    Candidate, Machine, NameError, Outcome, ResolveError, SearchRoots, explain, get_optimal_binary,
};
use tabagent_hardware::variant::required_features;

const LIBRARY: &str = "libllama.so";

/// A machine of AMD's family 17h or 19h with all that its generation has.
fn zen(generation: u32) -> Machine {
    let (family, model) =
        [(0x17, 0x01), (0x17, 0x31), (0x19, 0x21), (0x19, 0x61)][generation as usize - 1];
    let features = required_features(&format!("bitnet-amd-zen{generation}")).unwrap();
    let cpu = CpuidFacts {
        architecture: Architecture::X86,
        vendor: "AuthenticAMD".to_owned(),
        family,
        model,
        stepping: 0,
        features: features.into_iter().map(str::to_owned).collect(),
    };
    Machine::new(cpu, Vec::new())
}

fn tree(files: &[&str]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for file in files {
        let path = root.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "library").unwrap();
    }
    root
}

fn in_tree(root: &Path) -> SearchRoots {
    SearchRoots {
        tabagent_root: Some(root.to_owned()),
        ..SearchRoots::default()
    }
}

/// What is found below `root`, as a path from there.
fn found(root: &Path, name: &str, machine: &Machine) -> Option<String> {
    let path = get_optimal_binary(name, &in_tree(root), machine).ok()?;
    Some(
        path.strip_prefix(root)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned(),
    )
}

fn outcomes(tried: &[Candidate]) -> Vec<&Outcome> {
    tried.iter().map(|candidate| &candidate.outcome).collect()
}

#[test]
fn the_build_for_this_processor_is_chosen() {
    let root = tree(&[
        "BitNet/Release/cpu/Linux/bitnet-amd-zen2/libllama.so",
        "BitNet/Release/cpu/Linux/bitnet-amd-zen1/libllama.so",
        "BitNet/Release/cpu/Linux/bitnet-portable/libllama.so",
        "BitNet/Release/cpu/Windows/bitnet-amd-zen2/llama.dll",
    ]);
    let expected = Some("BitNet/Release/cpu/Linux/bitnet-amd-zen2/libllama.so".to_owned());
    for name in [
        "llama.dll",
        "libllama.so",
        "libllama.dylib",
        "LLAMA.DLL".to_lowercase().as_str(),
    ] {
        assert_eq!(found(root.path(), name, &zen(2)), expected, "{name}");
    }
}

#[test]
fn without_it_the_chain_is_walked_down() {
    let files = [
        "BitNet/Release/cpu/Linux/bitnet-amd-zen3/libllama.so",
        "BitNet/Release/cpu/Linux/bitnet-amd-zen1/libllama.so",
        "BitNet/Release/cpu/Linux/bitnet-portable/libllama.so",
        "BitNet/Release/cpu/Linux/standard/libllama.so",
        "BitNet/Release/cpu/Linux/generic/libllama.so",
    ];
    let root = tree(&files);
    for (index, file) in files.iter().enumerate() {
        assert_eq!(
            found(root.path(), LIBRARY, &zen(4)).as_deref(),
            Some(*file),
            "step {index}"
        );
        fs::remove_file(root.path().join(file)).unwrap();
    }
    assert_eq!(found(root.path(), LIBRARY, &zen(4)), None);
}

#[test]
fn a_build_that_the_machine_cannot_run_is_passed_by_and_explained() {
    let root = tree(&[
        "BitNet/Release/cpu/Linux/bitnet-amd-zen4/libllama.so",
        "BitNet/Release/cpu/Linux/bitnet-amd-zen3/libllama.so",
        "BitNet/Release/cpu/Linux/standard/libllama.so",
    ]);
    let mut masked = zen(4);
    masked
        .cpu
        .features
        .retain(|feature| !feature.starts_with("avx512"));
    assert_eq!(
        found(root.path(), LIBRARY, &masked).as_deref(),
        Some("BitNet/Release/cpu/Linux/bitnet-amd-zen3/libllama.so")
    );
    let tried = explain(LIBRARY, &in_tree(root.path()), &masked).unwrap();
    let Outcome::NotRunnable { missing_features } = &tried[0].outcome else {
        unreachable!("{tried:#?}");
    };
    assert!(missing_features.contains(&"avx512f".to_owned()));
    assert!(tried[0].reason.contains("avx512f"), "{}", tried[0].reason);
    assert_eq!(outcomes(&tried)[1], &Outcome::Chosen);
    assert_eq!(
        tried.last().map(|last| &last.outcome),
        Some(&Outcome::Missing)
    );
    let standard = tried
        .iter()
        .find(|candidate| candidate.path.to_string_lossy().contains("standard"))
        .unwrap();
    assert_eq!(standard.outcome, Outcome::Passed);

    masked.cpu.features.retain(|feature| feature != "avx2");
    assert_eq!(
        found(root.path(), LIBRARY, &masked).as_deref(),
        Some("BitNet/Release/cpu/Linux/standard/libllama.so")
    );
}

#[test]
fn letter_case_does_not_count_but_the_exact_spelling_comes_first() {
    let root = tree(&["bitnet/RELEASE/CPU/linux/Bitnet-AMD-Zen2/LibLlama.so"]);
    assert_eq!(
        found(root.path(), LIBRARY, &zen(2)).as_deref(),
        Some("bitnet/RELEASE/CPU/linux/Bitnet-AMD-Zen2/LibLlama.so")
    );
    let both = tree(&[
        "BitNet/Release/cpu/linux/bitnet-amd-zen2/libllama.so",
        "BitNet/Release/cpu/Linux/bitnet-amd-zen2/libllama.so",
    ]);
    assert_eq!(
        found(both.path(), LIBRARY, &zen(2)).as_deref(),
        Some("BitNet/Release/cpu/Linux/bitnet-amd-zen2/libllama.so")
    );
}

#[test]
fn a_better_variant_counts_more_than_the_release_it_is_in() {
    let root = tree(&[
        "BitNet/Release/cpu/Linux/bitnet-amd-zen1/libllama.so",
        "BitNet/BitnetRelease/cpu/linux/bitnet-amd-zen2/libllama.so",
    ]);
    assert_eq!(
        found(root.path(), LIBRARY, &zen(2)).as_deref(),
        Some("BitNet/BitnetRelease/cpu/linux/bitnet-amd-zen2/libllama.so")
    );
    assert_eq!(
        found(root.path(), LIBRARY, &zen(1)).as_deref(),
        Some("BitNet/Release/cpu/Linux/bitnet-amd-zen1/libllama.so")
    );
}

#[test]
fn a_gpu_build_is_taken_where_its_gpu_is() {
    let root = tree(&[
        "BitNet/BitnetRelease/gpu/linux/standard-cuda-vulkan/libllama.so",
        "BitNet/BitnetRelease/gpu/linux/standard-opencl/libllama.so",
        "BitNet/BitnetRelease/cpu/linux/standard/libllama.so",
    ]);
    let with = |gpus: &[GpuVendor]| {
        let machine = Machine::new(zen(2).cpu, gpus.to_vec());
        let path = found(root.path(), LIBRARY, &machine).unwrap();
        path.split('/').nth(4).unwrap().to_owned()
    };
    assert_eq!(with(&[]), "standard");
    assert_eq!(with(&[GpuVendor::Nvidia]), "standard-cuda-vulkan");
    assert_eq!(with(&[GpuVendor::Amd]), "standard-opencl");
    assert_eq!(
        with(&[GpuVendor::Intel, GpuVendor::Nvidia]),
        "standard-cuda-vulkan"
    );
    assert_eq!(with(&[GpuVendor::Apple]), "standard");
}

#[test]
fn the_places_are_asked_in_their_order() {
    let runtime = tree(&[LIBRARY]);
    let pack = tree(&[LIBRARY]);
    let root = tree(&["BitNet/Release/cpu/Linux/standard/libllama.so"]);
    let mut roots = SearchRoots {
        runtime_dir: Some(runtime.path().to_owned()),
        pack: Some(pack.path().to_owned()),
        tabagent_root: Some(root.path().to_owned()),
    };
    let chosen = |roots: &SearchRoots| get_optimal_binary("llama.dll", roots, &zen(2)).unwrap();
    assert_eq!(chosen(&roots), runtime.path().join(LIBRARY));
    let tried = explain("llama.dll", &roots, &zen(2)).unwrap();
    assert_eq!(outcomes(&tried)[..2], [&Outcome::Chosen, &Outcome::Passed]);
    roots.runtime_dir = Some(PathBuf::from("/nonexistent"));
    assert_eq!(chosen(&roots), pack.path().join(LIBRARY));
    roots.pack = None;
    assert!(chosen(&roots).starts_with(root.path()));
}

#[test]
fn programs_are_found_in_trees_that_have_them() {
    let pack = tree(&[LIBRARY]);
    let root = tree(&["BitNet/Release/cpu/Linux/bitnet-amd-zen2/llama-server"]);
    let roots = SearchRoots {
        pack: Some(pack.path().to_owned()),
        ..in_tree(root.path())
    };
    for name in ["llama-server", "llama-server.exe"] {
        let path = get_optimal_binary(name, &roots, &zen(2)).unwrap();
        assert!(
            path.ends_with("bitnet-amd-zen2/llama-server"),
            "{name}: {}",
            path.display()
        );
    }
}

fn with_manifest(modules: &str) -> tempfile::TempDir {
    let folder = tree(&[LIBRARY]);
    let manifest = format!(
        r#"{{"format": 1, "build_id": "", "source": "", "llama_version": "", "ggml_version": "", "platform": "",
            "variants": "all", "build_flags": {{}}, "compiler": "", "library": "libllama.so", "shim": "s.so",
            "cpu_modules": [{modules}], "files": {{}}}}"#
    );
    fs::write(folder.path().join("manifest.json"), manifest).unwrap();
    folder
}

#[test]
fn a_pack_says_which_of_its_modules_runs_here() {
    let pack = with_manifest(
        r#"{"name": "x64", "file": "a.so", "features": []}, {"name": "haswell", "file": "b.so", "features": ["avx2"]}"#,
    );
    let roots = SearchRoots {
        pack: Some(pack.path().to_owned()),
        ..SearchRoots::default()
    };
    let tried = explain(LIBRARY, &roots, &zen(2)).unwrap();
    assert_eq!(outcomes(&tried), [&Outcome::Chosen]);
    assert!(tried[0].reason.contains("haswell"), "{}", tried[0].reason);
}

#[test]
fn a_pack_none_of_whose_modules_runs_here_is_passed_by() {
    let pack =
        with_manifest(r#"{"name": "zen4", "file": "a.so", "features": ["avx2", "avx512f"]}"#);
    let roots = SearchRoots {
        pack: Some(pack.path().to_owned()),
        ..SearchRoots::default()
    };
    let error = get_optimal_binary(LIBRARY, &roots, &zen(2)).unwrap_err();
    let lacking = Outcome::NotRunnable {
        missing_features: vec!["avx512f".to_owned()],
    };
    assert_eq!(outcomes(error.tried()), [&lacking]);
}

#[test]
fn a_pack_whose_manifest_is_broken_is_found_and_says_so() {
    let pack = tree(&[LIBRARY]);
    fs::write(pack.path().join("manifest.json"), "{").unwrap();
    let roots = SearchRoots {
        pack: Some(pack.path().to_owned()),
        ..SearchRoots::default()
    };
    let tried = explain(LIBRARY, &roots, &zen(2)).unwrap();
    assert_eq!(outcomes(&tried), [&Outcome::Chosen]);
    assert!(tried[0].reason.contains("manifest"), "{}", tried[0].reason);
}

#[test]
fn the_working_directory_is_never_looked_at() {
    let here = std::env::current_dir().unwrap();
    let relative = PathBuf::from("src");
    assert!(
        here.join(&relative).join("lib.rs").exists(),
        "the test must be able to fail"
    );
    let roots = SearchRoots {
        runtime_dir: Some(relative.clone()),
        pack: Some(PathBuf::new()),
        tabagent_root: Some(PathBuf::from(".")),
    };
    let error = get_optimal_binary("lib.rs", &roots, &zen(2)).unwrap_err();
    assert_eq!(outcomes(error.tried()), [&Outcome::Refused; 3]);
}

#[test]
fn folders_and_dead_links_are_not_binaries() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join(LIBRARY)).unwrap();
    let dead = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/nonexistent/x", dead.path().join(LIBRARY)).unwrap();
    let roots = SearchRoots {
        runtime_dir: Some(folder.path().to_owned()),
        pack: Some(dead.path().to_owned()),
        tabagent_root: Some(folder.path().join(LIBRARY)),
    };
    let error = get_optimal_binary(LIBRARY, &roots, &zen(2)).unwrap_err();
    assert_eq!(
        outcomes(error.tried())[..2],
        [&Outcome::NotAFile, &Outcome::Missing]
    );
}

#[test]
fn an_error_lists_all_that_was_tried() {
    let root = tree(&["BitNet/Release/cpu/Linux/bitnet-amd-zen5/libllama.so"]);
    let roots = SearchRoots {
        runtime_dir: Some(PathBuf::from("/nonexistent/runtime")),
        pack: Some(PathBuf::from("/nonexistent/pack")),
        ..in_tree(root.path())
    };
    let error = get_optimal_binary("llama.dll", &roots, &zen(2)).unwrap_err();
    let message = error.to_string();
    for part in [
        "no libllama.so",
        "/nonexistent/runtime",
        "/nonexistent/pack",
        "zen2",
        "zen1",
        "portable",
        "standard",
    ] {
        assert!(message.contains(part), "{part} in: {message}");
    }
    assert!(!message.contains("zen5"), "{message}");
    let nothing = get_optimal_binary("llama.dll", &SearchRoots::default(), &zen(2)).unwrap_err();
    assert!(
        nothing.to_string().contains("TABAGENT_RUNTIME_DIR"),
        "{nothing}"
    );
}

#[test]
fn a_tree_that_is_not_there_is_told_in_a_line_for_each_release() {
    let root = tempfile::tempdir().unwrap();
    let tried = explain(LIBRARY, &in_tree(root.path()), &zen(2)).unwrap();
    let paths: Vec<_> = tried
        .iter()
        .map(|each| each.path.strip_prefix(root.path()).unwrap().to_owned())
        .collect();
    assert_eq!(
        paths,
        ["BitNet/Release/cpu/Linux", "BitNet/BitnetRelease/cpu/Linux"].map(PathBuf::from)
    );
}

#[test]
fn a_name_that_is_a_path_or_nothing_is_refused() {
    let root = tree(&["BitNet/Release/cpu/Linux/standard/libllama.so"]);
    for name in [
        "../standard/libllama.so",
        "/etc/passwd",
        "a\\b",
        "..",
        "x\0y",
    ] {
        let error = get_optimal_binary(name, &in_tree(root.path()), &zen(2)).unwrap_err();
        assert!(
            matches!(error, ResolveError::BadName(NameError::NotAFileName(_))),
            "{name:?}: {error}"
        );
    }
    let error = get_optimal_binary("", &in_tree(root.path()), &zen(2)).unwrap_err();
    assert!(
        matches!(error, ResolveError::BadName(NameError::Empty)),
        "{error}"
    );
}

#[test]
fn a_candidate_reads_as_flat_json() {
    let tried = explain(
        LIBRARY,
        &SearchRoots {
            pack: Some("/nonexistent".into()),
            ..Default::default()
        },
        &zen(2),
    );
    let told = serde_json::to_value(tried.unwrap()).unwrap();
    assert_eq!(told[0]["outcome"], "missing");
    assert_eq!(told[0]["path"], "/nonexistent/libllama.so");
    assert!(told[0]["reason"].is_string());
}

/// Pieces of trees, likely and unlikely ones.
fn part() -> impl Strategy<Value = String> {
    let known = vec![
        "BitNet",
        "bitnet",
        "Release",
        "BitnetRelease",
        "cpu",
        "CPU",
        "gpu",
        "Linux",
        "linux",
        "bitnet-amd-zen1",
        "bitnet-amd-zen2",
        "bitnet-portable",
        "standard",
        "Standard",
        "standard-opencl",
        LIBRARY,
        "LIBLLAMA.SO",
    ];
    prop_oneof![8 => proptest::sample::select(known).prop_map(str::to_owned), 1 => "[a-z]{1,6}"]
}

/// A file at the usual place, with parts replaced by others.
fn file() -> impl Strategy<Value = Vec<String>> {
    let usual = [
        "BitNet",
        "Release",
        "cpu",
        "Linux",
        "bitnet-amd-zen2",
        LIBRARY,
    ]
    .map(str::to_owned)
    .to_vec();
    (
        Just(usual),
        proptest::collection::vec((0..6usize, part()), 0..3),
    )
        .prop_map(|(mut path, changes)| {
            for (at, part) in changes {
                path[at] = part;
            }
            path
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn whatever_the_tree_the_choice_exists_and_runs(
        files in proptest::collection::vec(file(), 0..8),
        generation in 1u32..=4,
        masked in proptest::collection::vec("avx2|avx512f|vaes|sha", 0..3),
        gpus in proptest::collection::vec(proptest::sample::select(vec![GpuVendor::Nvidia, GpuVendor::Amd]), 0..2),
    ) {
        let root = tempfile::tempdir().unwrap();
        for file in &files {
            let path: PathBuf = root.path().join(file.iter().collect::<PathBuf>());
            // A part may be a file already where this one needs a folder.
            if fs::create_dir_all(path.parent().unwrap()).is_ok() {
                let _ = fs::write(path, "library");
            }
        }
        let mut machine = Machine::new(zen(generation).cpu, gpus);
        machine.cpu.features.retain(|feature| !masked.contains(feature));
        let roots = in_tree(root.path());
        let tried = explain("llama.dll", &roots, &machine).unwrap();
        let chosen: Vec<_> = tried.iter().filter(|candidate| candidate.outcome == Outcome::Chosen).collect();
        match get_optimal_binary("llama.dll", &roots, &machine) {
            Ok(path) => {
                prop_assert!(path.is_file() && path.starts_with(root.path()));
                prop_assert_eq!(chosen.len(), 1);
                prop_assert_eq!(&chosen[0].path, &path);
                let folder = path.parent().and_then(Path::file_name).unwrap().to_string_lossy().to_lowercase();
                let needs = required_features(&folder).unwrap_or_default();
                prop_assert!(needs.iter().all(|need| machine.cpu.features.iter().any(|had| had == need)));
                let passed = tried.iter().position(|each| each.outcome == Outcome::Passed);
                let first = tried.iter().position(|each| each.outcome == Outcome::Chosen);
                prop_assert!(passed.is_none() || passed > first);
            }
            Err(ResolveError::NotFound { tried: listed, .. }) => {
                prop_assert!(chosen.is_empty() && !listed.is_empty());
                prop_assert_eq!(listed, tried);
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }

    #[test]
    fn no_name_breaks_the_search(name in "\\PC{0,20}|[a-z./\\\\\0:]{0,12}") {
        let root = tempfile::tempdir().unwrap();
        let roots = SearchRoots { pack: Some(root.path().to_owned()), ..in_tree(root.path()) };
        if let Ok(tried) = explain(&name, &roots, &zen(3)) {
            prop_assert!(tried.iter().all(|candidate| candidate.path.starts_with(root.path())));
            prop_assert!(tried.iter().all(|candidate| candidate.outcome == Outcome::Missing));
        }
    }
}
