//! The search itself: the roots in their order, and the first that will do is chosen.

use super::{BinaryName, Candidate, Machine, Outcome, SearchRoots, tree};
use crate::pack::{MANIFEST_NAME, Manifest, ModuleOutcome, explain_cpu_modules};
use std::fs;
use std::path::{Path, PathBuf};

/// A candidate, before it is known whether a better one was found.
pub(super) enum Found {
    /// It is there and runs here, for the reason given.
    Usable(PathBuf, String),
    /// It will not do.
    Unusable(Candidate),
}

/// Every candidate in the order of preference.
pub(super) fn all(name: &BinaryName, roots: &SearchRoots, machine: &Machine) -> Vec<Candidate> {
    let folders = [
        (roots.runtime_dir.as_deref(), "TABAGENT_RUNTIME_DIR"),
        (roots.pack.as_deref(), "the runtime pack"),
    ];
    let mut found = Vec::new();
    for (folder, origin) in folders {
        found.extend(folder.map(|folder| in_folder(name, folder, origin, machine)));
    }
    if let Some(root) = &roots.tabagent_root {
        found.extend(match refuse_relative(root, "TABAGENT_ROOT") {
            Some(refused) => vec![refused],
            None => tree::candidates(name, root, machine),
        });
    }
    choose_first(found)
}

fn choose_first(found: Vec<Found>) -> Vec<Candidate> {
    let mut better = None;
    let judge = |found| match found {
        Found::Unusable(candidate) => candidate,
        Found::Usable(path, why) => match &better {
            None => {
                better = Some(path.clone());
                Candidate {
                    path,
                    outcome: Outcome::Chosen,
                    reason: why,
                }
            }
            Some(chosen) => {
                let reason = format!("{why}; but {} comes before it", chosen.display());
                Candidate {
                    path,
                    outcome: Outcome::Passed,
                    reason,
                }
            }
        },
    };
    found.into_iter().map(judge).collect()
}

pub(super) fn unusable(path: PathBuf, outcome: Outcome, reason: impl Into<String>) -> Found {
    Found::Unusable(Candidate {
        path,
        outcome,
        reason: reason.into(),
    })
}

/// A relative root would be looked for in the working directory, where anyone may have put a library.
fn refuse_relative(root: &Path, origin: &str) -> Option<Found> {
    let refused = || {
        unusable(
            root.to_owned(),
            Outcome::Refused,
            format!("{origin} is not an absolute path"),
        )
    };
    (!root.is_absolute()).then(refused)
}

/// Looks for the binary in a folder that holds it directly.
fn in_folder(name: &BinaryName, folder: &Path, origin: &str, machine: &Machine) -> Found {
    if let Some(refused) = refuse_relative(folder, origin) {
        return refused;
    }
    let path = folder.join(name.file_name());
    match look_at(&path) {
        Err((outcome, reason)) => unusable(path, outcome, format!("{origin}: {reason}")),
        Ok(()) => match cpu_module(folder, machine) {
            Ok(why) => Found::Usable(path, format!("{origin}{why}")),
            Err(missing_features) => {
                let reason = format!(
                    "{origin}: none of its CPU modules runs here; lacking {}",
                    missing_features.join(", ")
                );
                unusable(path, Outcome::NotRunnable { missing_features }, reason)
            }
        },
    }
}

/// Whether there is a file.
pub(super) fn look_at(path: &Path) -> Result<(), (Outcome, String)> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(_) => Err((Outcome::NotAFile, "not a file".to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err((Outcome::Missing, "no such file".to_owned()))
        }
        Err(error) => Err((Outcome::NotAFile, format!("cannot be looked at: {error}"))),
    }
}

/// What the manifest in the folder says of this processor: which CPU module suits it, or what the least demanding one
/// lacks. A folder without a usable manifest is not judged here.
fn cpu_module(folder: &Path, machine: &Machine) -> Result<String, Vec<String>> {
    if !folder.join(MANIFEST_NAME).exists() {
        return Ok(format!(" (no {MANIFEST_NAME} beside it)"));
    }
    let manifest = match Manifest::read(folder) {
        Ok(manifest) => manifest,
        Err(error) => return Ok(format!(" (its manifest cannot be used: {error})")),
    };
    let mut least: Option<Vec<String>> = None;
    for choice in explain_cpu_modules(&manifest.cpu_modules, &machine.cpu.features) {
        match choice.outcome {
            ModuleOutcome::Chosen => return Ok(format!(", with its CPU module {}", choice.name)),
            ModuleOutcome::NotRunnable { missing_features } if least.is_none() => {
                least = Some(missing_features)
            }
            ModuleOutcome::NotRunnable { .. } | ModuleOutcome::Passed => {}
        }
    }
    Err(least.unwrap_or_default())
}
