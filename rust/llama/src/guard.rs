//! Which library may be opened: only libllama of a runtime pack whose manifest names the one build that this
//! crate's struct layouts were written for, and whose every file is what the manifest says.
//!
//! All of this happens before `dlopen`, because a library's constructors run at once.

use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use tabagent_hardware::pack::{CpuModule, MANIFEST_NAME, Manifest, PackError, best_cpu_module};

/// Where the pack's llama.cpp comes from: the only source whose layouts this crate knows.
pub const SOURCE: &str = "llama-cpp-python 0.3.36";
/// What its `llama_version()` says.
pub const LLAMA_VERSION: &str = "0.5.0-dev";
/// What its `ggml_version()` says.
pub const GGML_VERSION: &str = "0.25.3";

#[cfg(windows)]
mod names {
    pub const GGML_BASE: &str = "ggml-base.dll";
    pub const GGML: &str = "ggml.dll";
}
#[cfg(target_os = "macos")]
mod names {
    pub const GGML_BASE: &str = "libggml-base.dylib";
    pub const GGML: &str = "libggml.dylib";
}
#[cfg(not(any(windows, target_os = "macos")))]
mod names {
    pub const GGML_BASE: &str = "libggml-base.so";
    pub const GGML: &str = "libggml.so";
}
pub(crate) use names::{GGML, GGML_BASE};

/// Why a library is not opened, or could not be.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no such file.
    #[error("{path}: there is no such library ({reason})")]
    NotFound { path: PathBuf, reason: io::Error },
    /// The path leads to a folder, a device or the like.
    #[error("{path}: not a file")]
    NotAFile { path: PathBuf },
    /// No manifest lies beside the library, so nothing is known of it.
    #[error(
        "{library}: no manifest.json lies beside it, so its build is unknown; only a runtime pack (scripts/build_runtime.py) is opened"
    )]
    NoManifest { library: PathBuf },
    /// The manifest cannot be read or is not one.
    #[error("{directory}: the manifest cannot be used: {reason}")]
    BadManifest {
        directory: PathBuf,
        reason: PackError,
    },
    /// The manifest has a form that this version does not know.
    #[error("{directory}: the manifest's {what} is {found:?}, expected {expected:?}")]
    OtherBuild {
        directory: PathBuf,
        /// Which entry of the manifest differs: `source`, `llama_version`, `platform` …
        what: &'static str,
        expected: String,
        found: String,
    },
    /// The library asked for is not the one that the manifest names.
    #[error("{given}: the manifest beside it belongs to {named:?}")]
    NotThePacksLibrary { given: PathBuf, named: String },
    /// A file that a pack must have is not in the manifest's list.
    #[error("{directory}: the manifest lists no hash for {file:?}")]
    NotListed { directory: PathBuf, file: String },
    /// A library lies in the pack that the manifest does not list; the loader could pick it up.
    #[error("{path}: this library is not in the pack's manifest; remove it")]
    Stray { path: PathBuf },
    /// A listed file is missing or unreadable.
    #[error("{path}: a file of the pack cannot be read: {reason}")]
    FileUnreadable { path: PathBuf, reason: io::Error },
    /// A listed file is a symbolic link, a folder or the like.
    #[error("{path}: a file of the pack must be a file, not a link")]
    NotRegular { path: PathBuf },
    /// A file's content is not what the manifest says.
    #[error("{path}: the file was changed: sha256 {found}, but the manifest says {expected}")]
    Changed {
        path: PathBuf,
        expected: String,
        found: String,
    },
    /// No CPU module of the pack runs on this machine.
    #[error("{directory}: no CPU module of this pack runs on this processor (it has {modules})")]
    NoCpuModule { directory: PathBuf, modules: String },
    /// Another llama.cpp is loaded in this process, and ours would be linked against its parts.
    #[error("{path} is loaded in this process already; two llama.cpp in one process would mix")]
    ForeignLibrary { path: PathBuf },
    /// The system's loader refused a file.
    #[error("{path}: cannot be loaded: {reason}")]
    NotLoaded { path: PathBuf, reason: String },
    /// A function of the pinned interface is missing.
    #[error("the library has no function {name}: it is another version of llama.cpp")]
    MissingFunction { name: &'static str },
    /// The pack's shim speaks another version of its interface.
    #[error("the pack's shim is version {found}, expected {expected}; build the pack again")]
    ShimVersion { expected: i32, found: i32 },
    /// A struct is laid out differently from ours.
    #[error("llama.cpp's {what} is at {found}, expected {expected}: it is another version")]
    Layout {
        what: &'static str,
        expected: u32,
        found: u32,
    },
    /// A default parameter is not that of the pinned release.
    #[error("llama.cpp's default of {field} is not that of the pinned version")]
    Defaults { field: &'static str },
    /// The library says that it is another version.
    #[error("the library says that it is {library} {found}, expected {expected}")]
    LibraryVersion {
        library: &'static str,
        expected: &'static str,
        found: String,
    },
    /// Another pack is open in this process.
    #[error("{refused}: this process has opened {open} already, and can open one runtime only")]
    AnotherIsOpen { open: PathBuf, refused: PathBuf },
    /// A pack failed half-way, and its libraries stay loaded.
    #[error(
        "the runtime in {directory} failed to open earlier in this process; start a new process"
    )]
    EarlierFailure { directory: PathBuf },
}

/// A pack whose files are what its manifest says, with the CPU module chosen.
#[derive(Debug)]
pub(crate) struct VerifiedPack {
    /// Absolute, without symbolic links.
    pub directory: PathBuf,
    pub manifest: Manifest,
    pub cpu_module: String,
    pub cpu_module_file: String,
}

impl VerifiedPack {
    /// Whether the other pack holds the same files, wherever it lies.
    pub(crate) fn same_content(&self, other: &Self) -> bool {
        let hashes = |pack: &Self| -> Vec<(String, String)> {
            pack.manifest
                .files
                .iter()
                .map(|(name, file)| (name.clone(), file.sha256.clone()))
                .collect()
        };
        self.manifest.build_id == other.manifest.build_id && hashes(self) == hashes(other)
    }
}

/// Checks everything that can be checked without loading: see the module's text.
pub(crate) fn verify(library: &Path) -> Result<VerifiedPack, OpenError> {
    let (directory, file_name) = locate(library)?;
    if !directory.join(MANIFEST_NAME).exists() {
        return Err(OpenError::NoManifest {
            library: library.to_owned(),
        });
    }
    let manifest = Manifest::read(&directory).map_err(|reason| OpenError::BadManifest {
        directory: directory.clone(),
        reason,
    })?;
    check_build(&directory, &manifest)?;
    if manifest.library != file_name {
        return Err(OpenError::NotThePacksLibrary {
            given: library.to_owned(),
            named: manifest.library,
        });
    }
    check_listed(&directory, &manifest)?;
    refuse_strays(&directory, &manifest)?;
    for (name, file) in &manifest.files {
        check_file(&directory.join(name), &file.sha256)?;
    }
    let module = choose_cpu_module(&directory, &manifest.cpu_modules)?;
    Ok(VerifiedPack {
        cpu_module: module.name.clone(),
        cpu_module_file: module.file.clone(),
        directory,
        manifest,
    })
}

/// The library's folder, absolute and without links, and its file name there.
fn locate(library: &Path) -> Result<(PathBuf, String), OpenError> {
    let not_found = |reason| OpenError::NotFound {
        path: library.to_owned(),
        reason,
    };
    let resolved = fs::canonicalize(library).map_err(not_found)?;
    if !fs::metadata(&resolved).map_err(not_found)?.is_file() {
        return Err(OpenError::NotAFile {
            path: library.to_owned(),
        });
    }
    match (resolved.parent(), resolved.file_name()) {
        (Some(directory), Some(name)) => {
            Ok((directory.to_owned(), name.to_string_lossy().into_owned()))
        }
        _ => Err(OpenError::NotAFile {
            path: library.to_owned(),
        }),
    }
}

fn check_build(directory: &Path, manifest: &Manifest) -> Result<(), OpenError> {
    let checks = [
        ("source", SOURCE.to_owned(), manifest.source.clone()),
        (
            "llama_version",
            LLAMA_VERSION.to_owned(),
            manifest.llama_version.clone(),
        ),
        (
            "ggml_version",
            GGML_VERSION.to_owned(),
            manifest.ggml_version.clone(),
        ),
        ("platform", this_platform(), manifest.platform.clone()),
    ];
    for (what, expected, found) in checks {
        if expected != found {
            return Err(OpenError::OtherBuild {
                directory: directory.to_owned(),
                what,
                expected,
                found,
            });
        }
    }
    Ok(())
}

/// The platform as manifests name it: `linux-x86_64`, `macos-aarch64`, `windows-x86_64`.
fn this_platform() -> String {
    format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH)
}

/// Every file that will be loaded has a hash. (That names are plain file names is checked where manifests are read.)
fn check_listed(directory: &Path, manifest: &Manifest) -> Result<(), OpenError> {
    let modules = manifest
        .cpu_modules
        .iter()
        .map(|module| module.file.as_str());
    let gpu_modules = manifest
        .gpu_modules
        .iter()
        .map(|module| module.file.as_str());
    let mut loaded = [manifest.library.as_str(), &manifest.shim, GGML, GGML_BASE]
        .into_iter()
        .chain(modules)
        .chain(gpu_modules);
    match loaded.find(|name| !manifest.files.contains_key(*name)) {
        Some(name) => Err(OpenError::NotListed {
            directory: directory.to_owned(),
            file: name.to_owned(),
        }),
        None => Ok(()),
    }
}

/// The libraries search their own folder first, so that a stranger there would be loaded with them.
fn refuse_strays(directory: &Path, manifest: &Manifest) -> Result<(), OpenError> {
    let unreadable = |reason| OpenError::FileUnreadable {
        path: directory.to_owned(),
        reason,
    };
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let name = entry
            .map_err(unreadable)?
            .file_name()
            .to_string_lossy()
            .into_owned();
        let library = name.contains(".so")
            || name.contains(".dylib")
            || name.to_lowercase().ends_with(".dll");
        if library && !manifest.files.contains_key(&name) {
            return Err(OpenError::Stray {
                path: directory.join(name),
            });
        }
    }
    Ok(())
}

fn check_file(path: &Path, expected: &str) -> Result<(), OpenError> {
    let unreadable = |reason| OpenError::FileUnreadable {
        path: path.to_owned(),
        reason,
    };
    if !fs::symlink_metadata(path).map_err(unreadable)?.is_file() {
        return Err(OpenError::NotRegular {
            path: path.to_owned(),
        });
    }
    let found = sha256(path).map_err(unreadable)?;
    if found.eq_ignore_ascii_case(expected) {
        Ok(())
    } else {
        Err(OpenError::Changed {
            path: path.to_owned(),
            expected: expected.to_owned(),
            found,
        })
    }
}

/// The file's sha256 in lower-case hexadecimal.
fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => hash.update(&buffer[..read]),
        }
    }
    Ok(hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// ggml's own search trusts CPUID without asking whether the system saves the registers; ours does ask.
fn choose_cpu_module<'a>(
    directory: &Path,
    modules: &'a [CpuModule],
) -> Result<&'a CpuModule, OpenError> {
    let features = tabagent_hardware::cpu::detect_facts().features;
    best_cpu_module(modules, &features).ok_or_else(|| OpenError::NoCpuModule {
        directory: directory.to_owned(),
        modules: modules
            .iter()
            .map(|module| module.name.as_str())
            .collect::<Vec<_>>()
            .join(", "),
    })
}

/// A llama.cpp that someone else loaded into this process has libraries of the same names, and the loader would
/// link ours against those. Looks where the system tells what is loaded; elsewhere it cannot.
pub(crate) fn refuse_foreign_libraries() -> Result<(), OpenError> {
    let Ok(maps) = fs::read_to_string("/proc/self/maps") else {
        return Ok(());
    };
    let foreign = maps
        .lines()
        .filter_map(|line| {
            line.split_once('/')
                .map(|(_, path)| Path::new("/").join(path))
        })
        .find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("libllama.so")
                || name.starts_with("libggml.so")
                || name.starts_with("libggml-base.so")
        });
    foreign.map_or(Ok(()), |path| Err(OpenError::ForeignLibrary { path }))
}
