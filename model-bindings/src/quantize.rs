//! `quantize_gguf`: a model file with smaller weights.

use std::path::PathBuf;

use pyo3::prelude::*;
use tabagent_gguf::{GgufError, GgufFile};
use tabagent_llama::{QuantizeError, Runtime, quantize};

use crate::errors::{IntoPyErr, invalid};
use crate::session::library;

/// Writes the model of one file to another, its weights as `kind` (`Q8_0`, `Q4_K_M` …).
#[pyfunction]
#[pyo3(signature = (input, output, kind, *, threads=0))]
pub fn quantize_gguf(
    py: Python<'_>,
    input: PathBuf,
    output: PathBuf,
    kind: &str,
    threads: u16,
) -> PyResult<()> {
    if output.exists() {
        return Err(invalid(
            "output",
            format!("{} exists already", output.display()),
        ));
    }
    py.detach(|| GgufFile::open(&input)?.check_loadable(false))
        .map_err(|problem: GgufError| problem.into_py_err())?;
    let library = library(py, None)?;
    let runtime = py
        .detach(|| Runtime::open(&library))
        .map_err(IntoPyErr::into_py_err)?;
    py.detach(|| quantize(&runtime, &input, &output, kind, threads))
        .map_err(|problem: QuantizeError| problem.into_py_err())
}
