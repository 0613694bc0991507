//! Which file on this machine is the binary that someone asks for by name.
//!
//! A pure search: it looks at folders and names, opens no library and runs nothing. Whether a found library may be
//! opened is `rust/llama`'s to say. The working directory is never looked at.

mod name;
mod search;
mod tree;

pub use name::{BinaryName, NameError};

use crate::cpu::{self, CpuidFacts};
use crate::gpu::{self, GpuVendor};
use serde::Serialize;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::OnceLock;

/// Where binaries may lie, in the order in which they are looked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SearchRoots {
    /// `$TABAGENT_RUNTIME_DIR`: a folder that holds the binary itself.
    pub runtime_dir: Option<PathBuf>,
    /// The runtime pack that the package brings along.
    pub pack: Option<PathBuf>,
    /// `$TABAGENT_ROOT`: a folder that holds a tree of binaries like those of TabAgent's releases.
    pub tabagent_root: Option<PathBuf>,
}

impl SearchRoots {
    /// The roots that the environment names, with the package's own pack. An empty variable counts as unset.
    #[must_use]
    pub fn from_env(pack: Option<PathBuf>) -> Self {
        Self::from_variables(pack, |name| std::env::var_os(name))
    }

    fn from_variables(pack: Option<PathBuf>, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let folder = |name| {
            variable(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        Self {
            runtime_dir: folder("TABAGENT_RUNTIME_DIR"),
            pack,
            tabagent_root: folder("TABAGENT_ROOT"),
        }
    }
}

/// What of the machine the choice depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The processor.
    pub cpu: CpuidFacts,
    gpus: OnceLock<Vec<GpuVendor>>,
}

impl Machine {
    /// A machine with this processor and these makers' GPUs.
    #[must_use]
    pub fn new(cpu: CpuidFacts, gpus: Vec<GpuVendor>) -> Self {
        Self {
            cpu,
            gpus: OnceLock::from(gpus),
        }
    }

    /// This machine. Its GPUs are looked for only when a choice depends on them, as that can take a while.
    #[must_use]
    pub fn detect() -> Self {
        Self {
            cpu: cpu::detect_facts(),
            gpus: OnceLock::new(),
        }
    }

    /// Whose GPUs there are.
    #[must_use]
    pub fn gpus(&self) -> &[GpuVendor] {
        self.gpus
            .get_or_init(|| gpu::detect().into_iter().map(|gpu| gpu.vendor).collect())
    }
}

/// What became of a place that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The binary: it is there, runs here, and nothing better was found before it.
    Chosen,
    /// It is there and would do, but a better one was chosen.
    Passed,
    /// There is no such file or folder.
    Missing,
    /// The name leads to something that is no file, or to what cannot be looked at.
    NotAFile,
    /// The processor, or the system, lacks what the build needs.
    NotRunnable {
        /// What is lacking.
        missing_features: Vec<String>,
    },
    /// The place is never looked at.
    Refused,
}

/// One place that was looked at, and why it was or was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Candidate {
    /// The file, or the folder where the search already ended.
    pub path: PathBuf,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The same in words, for people.
    pub reason: String,
}

/// Why no binary was found.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// What was asked for is not a file's name.
    #[error(transparent)]
    BadName(#[from] NameError),
    /// No place has it.
    #[error("no {name} was found{}", Tried(tried))]
    NotFound {
        /// The file that was looked for.
        name: String,
        /// Every place that was looked at.
        tried: Vec<Candidate>,
    },
}

impl ResolveError {
    /// Every place that was looked at; empty when the name was refused.
    #[must_use]
    pub fn tried(&self) -> &[Candidate] {
        match self {
            Self::BadName(_) => &[],
            Self::NotFound { tried, .. } => tried,
        }
    }
}

/// The list at the end of an error's message.
struct Tried<'a>(&'a [Candidate]);

impl fmt::Display for Tried<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(
                ": there is no runtime pack, and neither TABAGENT_RUNTIME_DIR nor TABAGENT_ROOT is set",
            );
        }
        f.write_str("; tried:")?;
        self.0.iter().try_for_each(|candidate| {
            write!(f, "\n  {}: {}", candidate.path.display(), candidate.reason)
        })
    }
}

/// The best binary of that name for `machine`.
///
/// `llama.dll`, `libllama.so` and `libllama.dylib` mean the same: this platform's library. So do `llama-server` and
/// `llama-server.exe`.
///
/// # Errors
/// [`ResolveError::BadName`] if `name` is not a bare file name; [`ResolveError::NotFound`] with all that was tried.
pub fn get_optimal_binary(
    name: &str,
    roots: &SearchRoots,
    machine: &Machine,
) -> Result<PathBuf, ResolveError> {
    let tried = explain(name, roots, machine)?;
    match tried
        .iter()
        .find(|candidate| candidate.outcome == Outcome::Chosen)
    {
        Some(chosen) => Ok(chosen.path.clone()),
        None => Err(ResolveError::NotFound {
            name: BinaryName::parse(name)?.file_name(),
            tried,
        }),
    }
}

/// Every place where [`get_optimal_binary`] looks, in its order, with what became of it.
///
/// # Errors
/// [`NameError`] if `name` is not a bare file name.
pub fn explain(
    name: &str,
    roots: &SearchRoots,
    machine: &Machine,
) -> Result<Vec<Candidate>, NameError> {
    Ok(search::all(&BinaryName::parse(name)?, roots, machine))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_counts_as_unset() {
        let set = |value: &'static str| {
            move |name: &str| (name == "TABAGENT_ROOT").then(|| OsString::from(value))
        };
        let pack = Some(PathBuf::from("/pack"));
        let roots = SearchRoots::from_variables(pack.clone(), set("/trees"));
        assert_eq!(
            roots,
            SearchRoots {
                pack,
                tabagent_root: Some("/trees".into()),
                runtime_dir: None
            }
        );
        assert_eq!(
            SearchRoots::from_variables(None, set("")),
            SearchRoots::default()
        );
    }

    #[test]
    fn gpus_are_not_looked_for_unless_a_choice_depends_on_them() {
        let machine = Machine::detect();
        let folder = tempfile::tempdir().unwrap();
        let roots = SearchRoots {
            pack: Some(folder.path().to_owned()),
            tabagent_root: Some(folder.path().to_owned()),
            runtime_dir: None,
        };
        assert!(explain("llama.dll", &roots, &machine).is_ok());
        assert_eq!(machine.gpus.get(), None);
        for os in tree::OS_FOLDERS {
            std::fs::create_dir_all(folder.path().join("BitNet/Release/gpu").join(os)).unwrap();
        }
        assert!(explain("llama.dll", &roots, &machine).is_ok());
        assert!(machine.gpus.get().is_some());
    }
}
