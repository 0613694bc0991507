//! An opened runtime pack. A process opens one, once, and never closes it.

use crate::guard::{self, OpenError, VerifiedPack};
use crate::log;
use crate::sys::layout::LAYOUT;
use crate::sys::{Api, ContextParams, ModelParams, SHIM_VERSION};
use libloading::Library;
use std::ffi::{CStr, CString, c_char};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tabagent_hardware::gpu::GpuInfo;
use tabagent_hardware::pack::GpuModule;

/// A runtime pack that passed the guard, loaded and initialized.
pub struct Runtime {
    api: Api,
    pack: VerifiedPack,
    gpu_backends: Vec<GpuBackend>,
}

/// A module of the pack for GPUs, and what became of it here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuBackend {
    /// ggml's name of it: `cuda`.
    pub name: String,
    /// Why it is not in use; `None` where it is.
    pub problem: Option<String>,
}

/// What this process has opened.
enum Opened {
    Nothing,
    Pack(Arc<Runtime>),
    /// Libraries of a pack are loaded but it is not usable: a second one would be linked against them.
    Failed(PathBuf),
}

static OPENED: Mutex<Opened> = Mutex::new(Opened::Nothing);

impl Runtime {
    /// Opens the pack that `library` (its libllama) belongs to: checks manifest and hashes, loads the libraries
    /// and the CPU module for this machine, and proves versions, struct layouts and defaults.
    ///
    /// The first pack is the process's pack for good: a second call with the same content answers the same
    /// runtime, one with another content is an error.
    ///
    /// # Errors
    /// An [`OpenError`] for each reason why the pack is refused. Nothing of it has run before its files were
    /// found to be what its manifest says.
    pub fn open(library: &Path) -> Result<Arc<Self>, OpenError> {
        let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Opened::Pack(runtime) = &*opened {
            // What is in memory was verified; what lies on the disk by now does not change it.
            if runtime.is_from(library) {
                return Ok(Arc::clone(runtime));
            }
        }
        let pack = guard::verify(library)?;
        match &*opened {
            Opened::Pack(runtime) if runtime.pack.same_content(&pack) => {
                return Ok(Arc::clone(runtime));
            }
            Opened::Pack(runtime) => {
                return Err(OpenError::AnotherIsOpen {
                    open: runtime.pack.directory.clone(),
                    refused: pack.directory,
                });
            }
            Opened::Failed(directory) => {
                return Err(OpenError::EarlierFailure {
                    directory: directory.clone(),
                });
            }
            Opened::Nothing => {}
        }
        guard::refuse_foreign_libraries()?;
        let directory = pack.directory.clone();
        let result = load(pack);
        *opened = match &result {
            Ok(runtime) => Opened::Pack(Arc::clone(runtime)),
            Err(_) => Opened::Failed(directory),
        };
        result
    }

    /// The folder of the pack, absolute and without symbolic links.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.pack.directory
    }

    /// The hash of everything that the pack was built from.
    #[must_use]
    pub fn build_id(&self) -> &str {
        &self.pack.manifest.build_id
    }

    /// The name of the CPU module in use, as `zen4`.
    #[must_use]
    pub fn cpu_module(&self) -> &str {
        &self.pack.cpu_module
    }

    /// Whether this pack can put layers on a GPU of this machine.
    #[must_use]
    pub fn supports_gpu_offload(&self) -> bool {
        // SAFETY: takes nothing and reads the registry of backends, which is complete.
        unsafe { (self.api.llama_supports_gpu_offload)() }
    }

    /// The pack's modules for GPUs.
    #[must_use]
    pub fn gpu_backends(&self) -> &[GpuBackend] {
        &self.gpu_backends
    }

    /// Why no layer can be put on a GPU, with the way out; `None` where that can be done.
    #[must_use]
    pub fn gpu_problem(&self) -> Option<String> {
        (!self.supports_gpu_offload()).then(|| why_no_gpu(&self.gpu_backends))
    }

    fn is_from(&self, library: &Path) -> bool {
        let opened = self.pack.directory.join(&self.pack.manifest.library);
        library.canonicalize().is_ok_and(|path| path == opened)
    }

    pub(crate) fn api(&self) -> &Api {
        &self.api
    }
}

/// Loads the verified libraries in the order of their dependencies, each by its absolute path, so that every
/// one finds those that it needs already loaded and nothing is searched for.
fn load(pack: VerifiedPack) -> Result<Arc<Runtime>, OpenError> {
    let open = |file: &str| open_library(&pack.directory.join(file));
    let ggml_base = open(guard::GGML_BASE)?;
    let ggml = open(guard::GGML)?;
    let llama = open(&pack.manifest.library)?;
    let shim = open(&pack.manifest.shim)?;
    // SAFETY: the guard let these files in, and the libraries are leaked below.
    let api = unsafe { Api::load(&ggml_base, &ggml, &llama, &shim) };
    // ggml registers threads, destructors and backends of its own: unloading it is never safe.
    std::mem::forget((ggml_base, ggml, llama, shim));
    let api = api.map_err(|name| OpenError::MissingFunction { name })?;
    check_layout(&api)?;
    check_versions(&api)?;
    check_defaults(&api)?;
    // SAFETY: both callbacks are functions for the whole life of the process and never unwind.
    unsafe {
        (api.llama_log_set)(Some(log::receive), std::ptr::null_mut());
        (api.ggml_set_abort_callback)(Some(log::receive_assertion));
    }
    load_module(&api, &pack.directory.join(&pack.cpu_module_file))?;
    let gpu_backends = load_gpu_modules(&api, &pack);
    // SAFETY: called once; a backend is registered, so that it searches no folder for one.
    unsafe { (api.llama_backend_init)() };
    Ok(Arc::new(Runtime {
        api,
        pack,
        gpu_backends,
    }))
}

#[cfg(unix)]
fn open_library(path: &Path) -> Result<Library, OpenError> {
    use libloading::os::unix::{Library as UnixLibrary, RTLD_LOCAL, RTLD_NOW};
    // SAFETY: its constructors are those of the pack that the guard verified.
    let library = unsafe { UnixLibrary::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
    library
        .map(Library::from)
        .map_err(|error| not_loaded(path, &error))
}

#[cfg(not(unix))]
fn open_library(path: &Path) -> Result<Library, OpenError> {
    // SAFETY: its constructors are those of the pack that the guard verified.
    unsafe { Library::new(path) }.map_err(|error| not_loaded(path, &error))
}

fn not_loaded(path: &Path, error: &libloading::Error) -> OpenError {
    OpenError::NotLoaded {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

/// Loads those modules for GPUs that there is a GPU for. One that cannot be loaded (its toolkit's libraries are not
/// installed, say) leaves the processor to compute.
fn load_gpu_modules(api: &Api, pack: &VerifiedPack) -> Vec<GpuBackend> {
    if pack.manifest.gpu_modules.is_empty() {
        return Vec::new();
    }
    let gpus = tabagent_hardware::gpu::detect();
    let backend = |module: &GpuModule| GpuBackend {
        name: module.name.clone(),
        problem: gpu_for(module, &gpus)
            .and_then(|()| {
                load_module(api, &pack.directory.join(&module.file)).map_err(|e| e.to_string())
            })
            .err(),
    };
    pack.manifest.gpu_modules.iter().map(backend).collect()
}

/// Whether there is a GPU for a module, with a driver.
fn gpu_for(module: &GpuModule, gpus: &[GpuInfo]) -> Result<(), String> {
    let name = &module.name;
    match gpus.iter().any(|gpu| gpu.backend.as_ref() == Some(name)) {
        true => Ok(()),
        false => Err(format!("no GPU with a driver for {name} was found")),
    }
}

fn why_no_gpu(backends: &[GpuBackend]) -> String {
    let problems: Vec<String> = backends
        .iter()
        .map(|backend| match &backend.problem {
            Some(problem) => format!("{}: {problem}", backend.name),
            None => format!("{}: it found no device", backend.name),
        })
        .collect();
    match problems.is_empty() {
        true => "gpu_layers: the runtime pack has no module for GPUs; build one by scripts/build_runtime.py \
                 --native --cuda, or leave gpu_layers out"
            .to_owned(),
        false => format!(
            "gpu_layers: no GPU can be used ({}); leave gpu_layers out to compute on the processor",
            problems.join("; ")
        ),
    }
}

fn load_module(api: &Api, path: &Path) -> Result<(), OpenError> {
    let refused = |reason: String| OpenError::NotLoaded {
        path: path.to_owned(),
        reason,
    };
    let c_path = path_to_c(path).ok_or_else(|| refused("the path holds a zero byte".to_owned()))?;
    // SAFETY: a valid string; the module is one of the verified files.
    let (backend, errors) =
        log::collect_errors(|| unsafe { (api.ggml_backend_load)(c_path.as_ptr()) });
    if backend.is_null() {
        let reason = if errors.is_empty() {
            "ggml refused it".to_owned()
        } else {
            errors.join("; ")
        };
        return Err(refused(reason));
    }
    Ok(())
}

/// A path as C takes it; `None` when it holds a zero byte (or, outside Unix, is not Unicode).
pub(crate) fn path_to_c(path: &Path) -> Option<CString> {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        CString::new(path.as_os_str().as_bytes()).ok()
    }
    #[cfg(not(unix))]
    {
        CString::new(path.to_str()?).ok()
    }
}

fn check_layout(api: &Api) -> Result<(), OpenError> {
    // SAFETY: takes nothing.
    let version = unsafe { (api.tabagent_shim_version)() };
    if version != SHIM_VERSION {
        return Err(OpenError::ShimVersion {
            expected: SHIM_VERSION,
            found: version,
        });
    }
    let mut found = vec![0_u32; LAYOUT.len()];
    // SAFETY: writes at most as many numbers as the buffer holds.
    let count = unsafe { (api.tabagent_layout)(found.as_mut_ptr(), found.len()) };
    if count != LAYOUT.len() {
        return Err(OpenError::Layout {
            what: "number of fields",
            expected: LAYOUT.len() as u32,
            found: count as u32,
        });
    }
    for ((what, expected), found) in LAYOUT.iter().zip(found) {
        if *expected != found {
            return Err(OpenError::Layout {
                what,
                expected: *expected,
                found,
            });
        }
    }
    Ok(())
}

fn check_versions(api: &Api) -> Result<(), OpenError> {
    // SAFETY: both take nothing and answer a string constant of the library.
    let (llama, ggml) = unsafe { (text((api.llama_version)()), text((api.ggml_version)())) };
    for (library, expected, found) in [
        ("llama.cpp", guard::LLAMA_VERSION, llama),
        ("ggml", guard::GGML_VERSION, ggml),
    ] {
        if expected != found {
            return Err(OpenError::LibraryVersion {
                library,
                expected,
                found,
            });
        }
    }
    Ok(())
}

/// # Safety
/// `pointer` must be null or a string ended by a zero that lives for good.
unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: not null, and the caller's promise.
    unsafe { CStr::from_ptr(pointer) }
        .to_string_lossy()
        .into_owned()
}

/// The defaults of this release, as `llama_model_default_params` and `llama_context_default_params` set them: a
/// struct with fields moved about would not come back with all of them.
fn check_defaults(api: &Api) -> Result<(), OpenError> {
    // SAFETY: both take nothing; the layouts were compared above.
    let (model, context): (ModelParams, ContextParams) = unsafe {
        (
            (api.llama_model_default_params)(),
            (api.llama_context_default_params)(),
        )
    };
    let model_checks = [
        ("n_gpu_layers", model.n_gpu_layers == -1),
        ("split_mode", model.split_mode == 1),
        ("load_mode", model.load_mode == crate::sys::LOAD_MODE_AUTO),
        ("lazy_mode", model.lazy_mode == 1),
        ("main_gpu", model.main_gpu == 0),
        (
            "model pointers",
            model.devices.is_null() && model.kv_overrides.is_null() && model.tensor_split.is_null(),
        ),
        ("progress_callback", model.progress_callback.is_none()),
        (
            "model flags",
            !model.vocab_only && !model.check_tensors && !model.no_host && !model.no_alloc,
        ),
        ("use_extra_bufts", model.use_extra_bufts && !model.load_mtp),
    ];
    let context_checks = [
        (
            "n_ctx",
            context.n_ctx == 512 && context.n_batch == 2048 && context.n_ubatch == 512,
        ),
        ("n_seq_max", context.n_seq_max == 1 && context.n_rs_seq == 0),
        (
            "n_outputs_max",
            context.n_outputs_max == 0 && context.n_outputs_max_per_seq == 1,
        ),
        (
            "n_threads",
            context.n_threads == context.n_threads_batch && context.n_threads > 0,
        ),
        (
            "rope_scaling_type",
            context.rope_scaling_type == -1 && context.pooling_type == -1,
        ),
        (
            "flash_attn_type",
            context.flash_attn_type == -1 && context.attention_type == -1,
        ),
        (
            "rope_freq_base",
            context.rope_freq_base == 0.0 && context.rope_freq_scale == 0.0,
        ),
        (
            "yarn_ext_factor",
            context.yarn_ext_factor == -1.0 && context.yarn_beta_slow == -1.0,
        ),
        ("type_k", context.type_k == 1 && context.type_v == 1),
        (
            "abort_callback",
            context.abort_callback.is_none() && context.cb_eval.is_null(),
        ),
        (
            "context flags",
            !context.embeddings && context.offload_kqv && context.no_perf && context.op_offload,
        ),
        ("swa_full", context.swa_full && !context.kv_unified),
        (
            "samplers",
            context.samplers.is_null() && context.n_samplers == 0 && context.ctx_other.is_null(),
        ),
    ];
    match model_checks
        .iter()
        .chain(&context_checks)
        .find(|(_, right)| !right)
    {
        Some((field, _)) => Err(OpenError::Defaults { field }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tabagent_hardware::gpu::GpuVendor;

    fn module() -> GpuModule {
        GpuModule {
            name: "cuda".into(),
            file: "libggml-cuda.so".into(),
            toolkit: "CUDA 13.5".into(),
            architectures: "90".into(),
        }
    }

    fn gpu(vendor: GpuVendor, backend: Option<&str>) -> GpuInfo {
        GpuInfo {
            vendor,
            name: "one".into(),
            memory_total_bytes: None,
            memory_free_bytes: None,
            driver: None,
            backend: backend.map(str::to_owned),
            pci_address: None,
        }
    }

    #[test]
    fn a_module_is_for_gpus_whose_driver_it_speaks_to() {
        let nvidia = gpu(GpuVendor::Nvidia, Some("cuda"));
        let bare = gpu(GpuVendor::Nvidia, None);
        let amd = gpu(GpuVendor::Amd, Some("vulkan"));
        assert_eq!(gpu_for(&module(), &[amd.clone(), nvidia]), Ok(()));
        for gpus in [vec![], vec![bare, amd]] {
            let problem = gpu_for(&module(), &gpus).unwrap_err();
            assert!(problem.contains("no GPU with a driver for cuda"));
        }
    }

    #[test]
    fn what_stands_in_the_way_is_named_with_the_way_out() {
        assert!(why_no_gpu(&[]).contains("scripts/build_runtime.py --native --cuda"));
        let backend = |problem: Option<&str>| GpuBackend {
            name: "cuda".into(),
            problem: problem.map(str::to_owned),
        };
        let told = why_no_gpu(&[backend(Some("libcublas.so.13 is missing"))]);
        assert!(
            told.contains("cuda: libcublas.so.13 is missing")
                && told.contains("leave gpu_layers out")
        );
        assert!(why_no_gpu(&[backend(None)]).contains("it found no device"));
    }
}
