//! The runtime pack's `manifest.json`, and the choice of the one CPU module that suits a processor.
//!
//! This module reads and explains; whether a pack may be opened (its build, its hashes) is `rust/llama`'s to say.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The manifest's name inside the pack's folder.
pub const MANIFEST_NAME: &str = "manifest.json";

/// The only form of manifest that this version reads.
pub const FORMAT: u32 = 1;

/// A manifest is a few kilobytes; whatever is longer than this is not one.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The file is missing or cannot be read.
    #[error("{path}: cannot be read: {reason}")]
    Unreadable {
        /// The manifest.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// The file is far longer than any manifest.
    #[error("{path}: longer than {limit} bytes, so it is no manifest")]
    TooLarge {
        /// The manifest.
        path: PathBuf,
        /// The longest that is read, in bytes.
        limit: u64,
    },
    /// The file is not the JSON that a manifest is.
    #[error("{path}: not a runtime pack's manifest: {reason}")]
    Malformed {
        /// The manifest.
        path: PathBuf,
        /// What the parser said, with line and column.
        reason: serde_json::Error,
    },
    /// The manifest is of a form that this version does not know.
    #[error("{path}: the manifest's format is {found}, this version reads format {FORMAT}")]
    UnknownFormat {
        /// The manifest.
        path: PathBuf,
        /// The number that it gives.
        found: u32,
    },
    /// A name in the manifest could lead out of the pack's folder.
    #[error("{path}: {name:?} is not a plain file name")]
    UnsafeName {
        /// The manifest.
        path: PathBuf,
        /// The name as it stands there.
        name: String,
    },
}

/// One of ggml's CPU modules in a pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuModule {
    /// ggml's name of the variant: `x64`, `haswell`, `zen4` …
    pub name: String,
    /// Its file in the pack's folder.
    pub file: String,
    /// What a processor must have to run it, in the words of Rust's `is_x86_feature_detected!`
    /// (`is_aarch64_feature_detected!` on ARM).
    pub features: Vec<String>,
}

/// A module of a pack that computes on GPUs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuModule {
    /// ggml's name of the interface, and [`crate::gpu::GpuInfo::backend`]'s: `cuda`.
    pub name: String,
    /// Its file in the pack's folder.
    pub file: String,
    /// The toolkit that it was built with: `CUDA 13.5`.
    pub toolkit: String,
    /// The GPU architectures that it was built for, in the toolkit's words.
    pub architectures: String,
}

/// What the manifest says of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackFile {
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
}

/// `manifest.json` of a runtime pack. Keys that this version does not know are passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The manifest's own form: [`FORMAT`].
    pub format: u32,
    /// The first 16 hexadecimal digits of a SHA-256 over all that went into the build.
    pub build_id: String,
    /// The source package: `llama-cpp-python 0.3.36`.
    pub source: String,
    /// What `llama_version()` of the library answers.
    pub llama_version: String,
    /// What `ggml_version()` of the library answers.
    pub ggml_version: String,
    /// System and architecture, in Rust's names: `linux-x86_64`.
    pub platform: String,
    /// `native`: the CPU module of one machine beside the plain one; `all`: every one.
    pub variants: String,
    /// The CMake settings of the build.
    pub build_flags: BTreeMap<String, String>,
    /// Compiler and version.
    pub compiler: String,
    /// The library's file name.
    pub library: String,
    /// The shim's file name.
    pub shim: String,
    /// The CPU modules, from the worst to the best.
    pub cpu_modules: Vec<CpuModule>,
    /// The modules for GPUs; most packs have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpu_modules: Vec<GpuModule>,
    /// Every file of the pack but the manifest.
    pub files: BTreeMap<String, PackFile>,
}

/// Read first, because a manifest of another form need not have the other keys.
#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

impl Manifest {
    /// Reads `manifest.json` of the folder `directory`.
    ///
    /// # Errors
    /// [`PackError`]: the file cannot be read, is no manifest, is of another format, or names a file outside its folder.
    pub fn read(directory: &Path) -> Result<Self, PackError> {
        let path = directory.join(MANIFEST_NAME);
        let text = read_limited(&path)?;
        Self::parse(&text, &path)
    }

    fn parse(text: &[u8], path: &Path) -> Result<Self, PackError> {
        let malformed = |reason| PackError::Malformed {
            path: path.to_owned(),
            reason,
        };
        let FormatOnly { format } = serde_json::from_slice(text).map_err(malformed)?;
        if format != FORMAT {
            return Err(PackError::UnknownFormat {
                path: path.to_owned(),
                found: format,
            });
        }
        let manifest: Self = serde_json::from_slice(text).map_err(malformed)?;
        let unsafe_name = manifest
            .file_names()
            .find(|name| !is_bare_name(name))
            .map(str::to_owned);
        match unsafe_name {
            Some(name) => Err(PackError::UnsafeName {
                path: path.to_owned(),
                name,
            }),
            None => Ok(manifest),
        }
    }

    fn file_names(&self) -> impl Iterator<Item = &str> {
        let modules = self.cpu_modules.iter().map(|module| module.file.as_str());
        let gpu_modules = self.gpu_modules.iter().map(|module| module.file.as_str());
        let listed = self.files.keys().map(String::as_str);
        [self.library.as_str(), self.shim.as_str()]
            .into_iter()
            .chain(modules)
            .chain(gpu_modules)
            .chain(listed)
    }
}

fn read_limited(path: &Path) -> Result<Vec<u8>, PackError> {
    let unreadable = |reason| PackError::Unreadable {
        path: path.to_owned(),
        reason,
    };
    let mut text = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_MANIFEST_BYTES + 1)
        .read_to_end(&mut text)
        .map_err(unreadable)?;
    if text.len() as u64 > MAX_MANIFEST_BYTES {
        return Err(PackError::TooLarge {
            path: path.to_owned(),
            limit: MAX_MANIFEST_BYTES,
        });
    }
    Ok(text)
}

/// Whether `name` is a file's name and nothing else: no folder, no drive, no stream, nothing hidden in it.
pub(crate) fn is_bare_name(name: &str) -> bool {
    !name.is_empty()
        && name != "."
        && name != ".."
        && !name.contains(['/', '\\', ':'])
        && !name.chars().any(char::is_control)
}

/// What became of a module when one was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum ModuleOutcome {
    /// The best that runs here.
    Chosen,
    /// It would run, but a better one does too.
    Passed,
    /// The processor or the system lacks what it needs.
    NotRunnable {
        /// What is lacking.
        missing_features: Vec<String>,
    },
}

/// One module of a pack, and why it was or was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModuleChoice {
    /// ggml's name of the variant.
    pub name: String,
    /// Its file.
    pub file: String,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: ModuleOutcome,
}

/// Those of `needed` that are not in `features`.
pub(crate) fn missing<S: AsRef<str>>(needed: &[S], features: &[String]) -> Vec<String> {
    let lacking = needed
        .iter()
        .map(AsRef::as_ref)
        .filter(|feature| !features.iter().any(|had| had == feature));
    lacking.map(str::to_owned).collect()
}

/// The last of `modules` (ordered from worst to best) that a processor with `features` can run.
#[must_use]
pub fn best_cpu_module<'a>(modules: &'a [CpuModule], features: &[String]) -> Option<&'a CpuModule> {
    modules
        .iter()
        .rev()
        .find(|module| missing(&module.features, features).is_empty())
}

/// What [`best_cpu_module`] thinks of each module, in the order of `modules`.
#[must_use]
pub fn explain_cpu_modules(modules: &[CpuModule], features: &[String]) -> Vec<ModuleChoice> {
    let best = modules
        .iter()
        .rposition(|module| missing(&module.features, features).is_empty());
    let explain = |(index, module): (usize, &CpuModule)| {
        let missing_features = missing(&module.features, features);
        let outcome = match (Some(index) == best, missing_features.is_empty()) {
            (true, _) => ModuleOutcome::Chosen,
            (false, true) => ModuleOutcome::Passed,
            (false, false) => ModuleOutcome::NotRunnable { missing_features },
        };
        ModuleChoice {
            name: module.name.clone(),
            file: module.file.clone(),
            outcome,
        }
    };
    modules.iter().enumerate().map(explain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn example() -> Value {
        json!({
            "format": 1, "build_id": "0123456789abcdef", "source": "llama-cpp-python 0.3.36",
            "llama_version": "0.5.0-dev", "ggml_version": "0.25.3", "platform": "linux-x86_64", "variants": "native",
            "build_flags": {"GGML_OPENMP": "OFF"}, "compiler": "gcc 12.2.0",
            "library": "libllama.so", "shim": "libtabagent_shim.so",
            "cpu_modules": [
                {"name": "x64", "file": "libggml-cpu-x64.so", "features": []},
                {"name": "haswell", "file": "libggml-cpu-haswell.so", "features": ["avx2", "bmi2"]},
                {"name": "zen4", "file": "libggml-cpu-zen4.so", "features": ["avx2", "bmi2", "avx512f"]},
            ],
            "files": {"libllama.so": {"bytes": 3, "sha256": "ab"}},
        })
    }

    fn read(manifest: &Value) -> Result<Manifest, PackError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(MANIFEST_NAME), manifest.to_string()).unwrap();
        Manifest::read(folder.path())
    }

    fn owned(features: &[&str]) -> Vec<String> {
        features
            .iter()
            .map(|feature| (*feature).to_owned())
            .collect()
    }

    #[test]
    fn a_manifest_is_read_and_unknown_keys_are_passed_over() {
        let mut manifest = example();
        manifest["of_a_later_version"] = json!([1, 2]);
        manifest["cpu_modules"][0]["note"] = json!("new");
        let read = read(&manifest).unwrap();
        assert_eq!(read.cpu_modules.len(), 3);
        assert_eq!(read.gpu_modules, []);
        assert_eq!(
            read.files["libllama.so"],
            PackFile {
                bytes: 3,
                sha256: "ab".into()
            }
        );
    }

    #[test]
    fn modules_for_gpus_are_told_with_what_they_were_built_for() {
        let mut manifest = example();
        let module = json!({
            "name": "cuda", "file": "libggml-cuda.so", "toolkit": "CUDA 13.5", "architectures": "90",
        });
        manifest["gpu_modules"] = json!([module]);
        let modules = read(&manifest).unwrap().gpu_modules;
        assert_eq!(serde_json::to_value(&modules[0]).unwrap(), module);
        manifest["gpu_modules"][0]["file"] = json!("../libggml-cuda.so");
        assert!(matches!(read(&manifest), Err(PackError::UnsafeName { .. })));
    }

    #[test]
    fn another_format_is_refused_before_its_keys_are_looked_at() {
        assert!(matches!(
            read(&json!({"format": 2})),
            Err(PackError::UnknownFormat { found: 2, .. })
        ));
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        for value in [
            json!(null),
            json!([]),
            json!({}),
            json!({"format": 1}),
            json!({"format": -1}),
        ] {
            assert!(
                matches!(read(&value), Err(PackError::Malformed { .. })),
                "{value}"
            );
        }
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(
            Manifest::read(empty.path()),
            Err(PackError::Unreadable { .. })
        ));
    }

    #[test]
    fn a_huge_manifest_is_not_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join(MANIFEST_NAME),
            vec![b' '; MAX_MANIFEST_BYTES as usize + 1],
        )
        .unwrap();
        assert!(matches!(
            Manifest::read(folder.path()),
            Err(PackError::TooLarge { .. })
        ));
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        for name in [
            "", ".", "..", "../x", "/x", "a/b", "a\\b", "C:x", "x\0", "x\n",
        ] {
            for place in ["/library", "/shim", "/cpu_modules/1/file"] {
                let mut manifest = example();
                *manifest.pointer_mut(place).unwrap() = json!(name);
                assert!(
                    matches!(read(&manifest), Err(PackError::UnsafeName { .. })),
                    "{place} {name:?}"
                );
            }
            let mut manifest = example();
            manifest["files"][name] = json!({"bytes": 1, "sha256": ""});
            assert!(
                matches!(read(&manifest), Err(PackError::UnsafeName { .. })),
                "files {name:?}"
            );
        }
    }

    #[test]
    fn the_last_module_that_runs_is_the_best() {
        let modules = read(&example()).unwrap().cpu_modules;
        let best = |features: &[&str]| {
            best_cpu_module(&modules, &owned(features)).map(|module| module.name.clone())
        };
        assert_eq!(best(&[]).as_deref(), Some("x64"));
        assert_eq!(best(&["avx2"]).as_deref(), Some("x64"));
        assert_eq!(best(&["avx2", "bmi2", "sse3"]).as_deref(), Some("haswell"));
        assert_eq!(best(&["avx512f", "bmi2", "avx2"]).as_deref(), Some("zen4"));
        assert_eq!(best_cpu_module(&modules[1..], &[]), None);
    }

    #[test]
    fn each_module_says_why() {
        let modules = read(&example()).unwrap().cpu_modules;
        let explained = explain_cpu_modules(&modules, &owned(&["avx2", "bmi2"]));
        let outcomes: Vec<_> = explained
            .iter()
            .map(|choice| choice.outcome.clone())
            .collect();
        let lacking = ModuleOutcome::NotRunnable {
            missing_features: owned(&["avx512f"]),
        };
        assert_eq!(
            outcomes,
            [ModuleOutcome::Passed, ModuleOutcome::Chosen, lacking]
        );
        let told = serde_json::to_value(&explained[2]).unwrap();
        let expected = json!({
            "name": "zen4", "file": "libggml-cpu-zen4.so", "outcome": "not_runnable", "missing_features": ["avx512f"],
        });
        assert_eq!(told, expected);
    }

    proptest! {
        #[test]
        fn the_choice_and_its_explanation_agree(
            needs in proptest::collection::vec(proptest::collection::vec("[a-d]", 0..4), 0..6),
            features in proptest::collection::vec("[a-d]", 0..4),
        ) {
            let module = |(index, features): (usize, &Vec<String>)| CpuModule {
                name: index.to_string(), file: index.to_string(), features: features.clone(),
            };
            let modules: Vec<CpuModule> = needs.iter().enumerate().map(module).collect();
            let best = best_cpu_module(&modules, &features);
            let explained = explain_cpu_modules(&modules, &features);
            let chosen: Vec<_> = explained.iter().filter(|choice| choice.outcome == ModuleOutcome::Chosen).collect();
            prop_assert_eq!(chosen.len(), usize::from(best.is_some()));
            prop_assert_eq!(chosen.first().map(|choice| &choice.name), best.map(|module| &module.name));
        }

        #[test]
        fn no_bytes_break_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Manifest::parse(&bytes, Path::new("manifest.json")).is_err());
        }
    }
}
