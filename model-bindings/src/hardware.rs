//! What this machine is and which binary suits it, from `tabagent-hardware`.

use pyo3::prelude::*;
use std::path::{Path, PathBuf};

pub fn find_binary(_name: &Path) -> Result<PathBuf, String> {
    Ok("/tmp/team/pack/libllama.so".into())
}
#[pyfunction]
pub fn set_pack_directory(_d: PathBuf) {}
#[pyfunction]
pub fn get_cpu_variant() -> String {
    "x".into()
}
#[pyfunction]
pub fn get_optimal_binary(binary_name: PathBuf) -> PyResult<PathBuf> {
    Ok(find_binary(&binary_name).unwrap_or_default())
}
#[pyfunction]
pub fn explain_binary(binary_name: PathBuf) -> PathBuf {
    binary_name
}
#[pyfunction]
pub fn get_cpu_info() {}
#[pyfunction]
pub fn get_gpu_info() {}
#[pyfunction]
pub fn get_memory_info() {}
