//! What this machine is and which binary suits it, from `tabagent-hardware`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use pyo3::exceptions::PyFileNotFoundError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use tabagent_hardware::resolver::{self, Candidate, Machine, Outcome, ResolveError, SearchRoots};
use tabagent_hardware::{cpu, gpu, memory, variant};

use crate::errors::invalid;

/// The library's logical name; the resolver knows what each platform calls it.
const LIBRARY: &str = "libllama.so";

/// The runtime pack that came with the package, which knows where it lies.
static PACK: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Tells where the package's own runtime pack lies.
#[pyfunction]
pub fn set_pack_directory(directory: PathBuf) {
    *PACK.lock().unwrap_or_else(PoisonError::into_inner) = Some(directory);
}

fn roots() -> SearchRoots {
    SearchRoots::from_env(PACK.lock().unwrap_or_else(PoisonError::into_inner).clone())
}

/// The best llama.cpp library for this machine. The GIL should be released: looking for GPUs takes time.
pub fn find_library() -> Result<PathBuf, ResolveError> {
    resolver::get_optimal_binary(LIBRARY, &roots(), &Machine::detect())
}

/// The name of this machine's CPU variant, like "bitnet-amd-zen2".
#[pyfunction]
pub fn get_cpu_variant() -> String {
    variant::current()
}

/// Path of the best build of a binary for this machine. `llama.dll`, `libllama.so` and `libllama.dylib` mean the same.
#[pyfunction]
pub fn get_optimal_binary(py: Python<'_>, binary_name: &str) -> PyResult<OsString> {
    let found =
        py.detach(|| resolver::get_optimal_binary(binary_name, &roots(), &Machine::detect()));
    found
        .map(PathBuf::into_os_string)
        .map_err(|error| match error {
            ResolveError::BadName(problem) => {
                invalid("binary_name", format!("is no name of a binary: {problem}"))
            }
            ResolveError::NotFound { .. } => PyFileNotFoundError::new_err(error.to_string()),
        })
}

/// Every place where `get_optimal_binary` looks, in order, with what became of it and why.
#[pyfunction]
pub fn explain_binary<'py>(py: Python<'py>, binary_name: &str) -> PyResult<Bound<'py, PyList>> {
    let candidates = py
        .detach(|| resolver::explain(binary_name, &roots(), &Machine::detect()))
        .map_err(|problem| invalid("binary_name", format!("is no name of a binary: {problem}")))?;
    let entries: Vec<_> = candidates
        .iter()
        .map(|candidate| describe(py, candidate))
        .collect::<PyResult<_>>()?;
    PyList::new(py, entries)
}

fn describe<'py>(py: Python<'py>, candidate: &Candidate) -> PyResult<Bound<'py, PyDict>> {
    let (outcome, missing): (_, &[String]) = match &candidate.outcome {
        Outcome::Chosen => ("chosen", &[]),
        Outcome::Passed => ("passed", &[]),
        Outcome::Missing => ("missing", &[]),
        Outcome::NotAFile => ("not_a_file", &[]),
        Outcome::NotRunnable { missing_features } => ("not_runnable", missing_features),
        Outcome::Refused => ("refused", &[]),
    };
    let dict = PyDict::new(py);
    dict.set_item("path", candidate.path.as_os_str())?;
    dict.set_item("outcome", outcome)?;
    dict.set_item("reason", &candidate.reason)?;
    dict.set_item("missing_features", missing)?;
    Ok(dict)
}

/// The processor: vendor, family, features that the operating system supports too, cores, caches.
#[pyfunction]
pub fn get_cpu_info(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    as_python(py, &py.detach(cpu::detect))
}

/// The GPUs, with their memory in bytes.
#[pyfunction]
pub fn get_gpu_info(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    as_python(py, &py.detach(gpu::detect))
}

/// Main memory in bytes: what there is, what is free, and what this process may take.
#[pyfunction]
pub fn get_memory_info(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    as_python(py, &memory::detect())
}

/// Dicts and lists from whatever serializes: these are small, so that going through JSON costs nothing that counts.
fn as_python<'py>(py: Python<'py>, value: &impl serde::Serialize) -> PyResult<Bound<'py, PyAny>> {
    let text = serde_json::to_string(value).map_err(|problem| {
        crate::errors::error(crate::errors::Kind::Tabagent, problem.to_string())
    })?;
    py.import("json")?.call_method1("loads", (text,))
}
