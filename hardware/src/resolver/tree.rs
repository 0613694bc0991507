//! A tree of binaries as TabAgent's releases lay it out:
//! `{BitNet/Release | BitNet/BitnetRelease}/{cpu | gpu}/{os}/{variant}/`. Letter case does not count.

use super::search::{Found, look_at, unusable};
use super::{BinaryName, Machine, Outcome};
use crate::cpu::Architecture;
use crate::gpu::GpuVendor;
use crate::variant::{explain_chain, variant_name};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

const RELEASES: [[&str; 2]; 2] = [["BitNet", "Release"], ["BitNet", "BitnetRelease"]];

/// How releases spell this system's folder.
pub(super) const OS_FOLDERS: &[&str] = if cfg!(target_os = "windows") {
    &["Windows", "win"]
} else if cfg!(target_os = "macos") {
    &["macOS", "Darwin", "mac"]
} else {
    &["Linux"]
};

/// A folder of the tree to look into.
struct Build {
    folder: &'static str,
    /// What of the machine speaks for it.
    why: String,
    missing_features: Vec<String>,
}

/// Every candidate of the tree, in the order of preference: GPU builds for the GPUs that are there, then CPU builds from
/// the best down; of two releases with the same build, `Release`.
pub(super) fn candidates(name: &BinaryName, root: &Path, machine: &Machine) -> Vec<Found> {
    let folders = |kind| -> Vec<PathBuf> {
        RELEASES
            .iter()
            .flat_map(|release| os_folders(root, release, kind))
            .collect()
    };
    let (gpu, cpu) = (folders("gpu"), folders("cpu"));
    let mut found = Vec::new();
    // Most trees have no GPU builds: no need to look for GPUs then.
    if !gpu.is_empty() {
        found.extend(
            gpu_builds(machine)
                .iter()
                .flat_map(|build| in_folders(name, &gpu, build)),
        );
    }
    if cpu.is_empty() {
        found.extend(
            RELEASES
                .iter()
                .map(|release| no_folder(root, release, "cpu")),
        );
    } else {
        found.extend(
            cpu_builds(machine)
                .iter()
                .flat_map(|build| in_folders(name, &cpu, build)),
        );
    }
    found
}

fn in_folders(name: &BinaryName, os_folders: &[PathBuf], build: &Build) -> Vec<Found> {
    os_folders
        .iter()
        .flat_map(|folder| in_build(name, folder, build))
        .collect()
}

fn no_folder(root: &Path, release: &[&str; 2], kind: &str) -> Found {
    let mut path = root.to_owned();
    path.extend(release);
    path.push(kind);
    path.push(OS_FOLDERS[0]);
    unusable(path, Outcome::Missing, "TABAGENT_ROOT: no such folder")
}

/// The folders that `root/release/kind/<os>` may mean, letter case aside.
fn os_folders(root: &Path, release: &[&str; 2], kind: &str) -> Vec<PathBuf> {
    let mut folders = vec![root.to_owned()];
    for step in [&release[..1], &release[1..], &[kind], OS_FOLDERS] {
        folders = folders
            .iter()
            .flat_map(|folder| named(folder, step))
            .collect();
    }
    folders
}

/// The entries of `folder` that have one of the names, letter case aside; those spelled exactly so come first.
fn named(folder: &Path, names: &[&str]) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let rank = |entry: &OsStr| {
        names
            .iter()
            .position(|name| entry.eq_ignore_ascii_case(name))
            .map(|at| (entry != names[at], at))
    };
    let ranked = entries
        .flatten()
        .filter_map(|entry| Some((rank(&entry.file_name())?, entry.path())));
    let mut matching: Vec<_> = ranked.collect();
    matching.sort();
    matching.into_iter().map(|(_, path)| path).collect()
}

fn in_build(name: &BinaryName, os_folder: &Path, build: &Build) -> Vec<Found> {
    let file_name = name.file_name();
    let folders = named(os_folder, &[build.folder]);
    let mut paths: Vec<PathBuf> = folders
        .iter()
        .flat_map(|folder| named(folder, &[&file_name]))
        .collect();
    if paths.is_empty() {
        let folder = folders
            .into_iter()
            .next()
            .unwrap_or_else(|| os_folder.join(build.folder));
        paths.push(folder.join(&file_name));
    }
    paths.into_iter().map(|path| judge(path, build)).collect()
}

fn judge(path: PathBuf, build: &Build) -> Found {
    if let Err((outcome, reason)) = look_at(&path) {
        return unusable(path, outcome, format!("TABAGENT_ROOT: {reason}"));
    }
    if build.missing_features.is_empty() {
        return Found::Usable(path, format!("TABAGENT_ROOT: {}", build.why));
    }
    let reason = format!(
        "TABAGENT_ROOT: this processor does not offer {}",
        build.missing_features.join(", ")
    );
    unusable(
        path,
        Outcome::NotRunnable {
            missing_features: build.missing_features.clone(),
        },
        reason,
    )
}

fn cpu_builds(machine: &Machine) -> Vec<Build> {
    let variant = variant_name(&machine.cpu);
    let why = |link: &str| {
        if link == variant {
            format!("built for this processor, {variant}")
        } else {
            format!("{link} stands in for {variant}")
        }
    };
    let chain = explain_chain(&variant, &machine.cpu.features).into_iter();
    let build = |link: crate::variant::ChainLink| Build {
        folder: link.variant,
        why: why(link.variant),
        missing_features: link.missing_features,
    };
    chain.map(build).collect()
}

/// GPU builds, by the names that releases give them. What they ask of the processor is not known, so AVX2 is taken for
/// granted on x86, as llama.cpp's own releases do.
fn gpu_builds(machine: &Machine) -> Vec<Build> {
    let builds: [(&str, &[GpuVendor]); 4] = [
        ("bitnet-cuda", &[GpuVendor::Nvidia]),
        ("standard-cuda-vulkan", &[GpuVendor::Nvidia]),
        (
            "standard-opencl",
            &[GpuVendor::Nvidia, GpuVendor::Amd, GpuVendor::Intel],
        ),
        ("standard-metal", &[GpuVendor::Apple]),
    ];
    let mut wanted = Vec::new();
    for (folder, vendors) in builds {
        if let Some(vendor) = machine
            .gpus()
            .iter()
            .find(|vendor| vendors.contains(vendor))
        {
            wanted.push(Build {
                folder,
                why: format!("a GPU of {vendor} is here"),
                missing_features: lacks_avx2(machine),
            });
        }
    }
    wanted
}

fn lacks_avx2(machine: &Machine) -> Vec<String> {
    let lacking = machine.cpu.architecture == Architecture::X86
        && !machine.cpu.features.iter().any(|f| f == "avx2");
    if lacking {
        vec!["avx2".to_owned()]
    } else {
        Vec::new()
    }
}
