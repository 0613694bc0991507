//! `estimate_memory`: what loading a model would take, without loading it.

use std::path::{Path, PathBuf};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use tabagent_engine::Speculation;
use tabagent_gguf::GgufFile;
use tabagent_llama::{Context, Embedder, Foreseen, MemoryUse, Runtime};

use crate::adapters;
use crate::errors::IntoPyErr;
use crate::session::{self, LoadOptions};
use crate::vectors;

/// Predicts the memory of a model with its context: weights, KV cache, and scratch space with outputs, in all and for
/// each kind of memory. Only the file's header is read.
#[pyfunction]
#[pyo3(signature = (
    model_path, *, dll_path=None, context_length=None, threads=None, gpu_layers=0, parallel=1, kv_cache_tokens=None,
    kv_type="f16", flash_attention=None, spill_bytes=None, adapters=None
))]
#[allow(clippy::too_many_arguments)] // They are keyword arguments.
pub fn estimate_memory<'py>(
    py: Python<'py>,
    model_path: &Bound<'_, PyAny>,
    dll_path: Option<&Bound<'_, PyAny>>,
    context_length: Option<i64>,
    threads: Option<i64>,
    gpu_layers: i32,
    parallel: i64,
    kv_cache_tokens: Option<i64>,
    kv_type: &str,
    flash_attention: Option<&Bound<'_, PyAny>>,
    spill_bytes: Option<i64>,
    adapters: Option<Vec<(String, PathBuf, f32)>>,
) -> PyResult<Bound<'py, PyDict>> {
    let options = LoadOptions {
        model: session::path(model_path, "model_path")?,
        library: session::library(py, dll_path)?,
        gpu_layers,
        gpu_optional: false,
        mlock: false,
        vocab_only: false,
        context_length: session::count("context_length", context_length)?,
        threads: session::count("threads", threads)?,
        parallel: session::count("parallel", Some(parallel))?.unwrap_or(1),
        kv_cache_tokens: session::count("kv_cache_tokens", kv_cache_tokens)?,
        kv_type: session::kv_type(kv_type)?,
        flash_attention: session::flash_attention(flash_attention)?,
        speculation: Speculation::default(),
        spill_bytes: session::bytes("spill_bytes", spill_bytes)?,
        adapters: adapters::files(adapters),
    };
    let Predicted {
        parts,
        table,
        spill_bytes,
        shifts,
    } = py.detach(|| predict(&options))?;
    let dict = PyDict::new(py);
    dict.set_item("spill_bytes", spill_bytes)?;
    dict.set_item("context_shift", shifts)?;
    dict.set_item("token_table_bytes", table.bytes)?;
    dict.set_item("token_table_is_output", table.is_output)?;
    let sum = |of: fn(&MemoryUse) -> u64| parts.iter().map(of).sum::<u64>();
    set_sizes(
        &dict,
        sum(|part| part.model),
        sum(|part| part.context),
        sum(|part| part.compute),
    )?;
    let devices = parts.iter().map(|part| describe(py, part));
    dict.set_item(
        "parts",
        PyList::new(py, devices.collect::<PyResult<Vec<_>>>()?)?,
    )?;
    Ok(dict)
}

fn describe<'py>(py: Python<'py>, part: &MemoryUse) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("memory", &part.buffer_type)?;
    dict.set_item("is_host", part.is_host)?;
    set_sizes(&dict, part.model, part.context, part.compute)?;
    Ok(dict)
}

fn set_sizes(dict: &Bound<'_, PyDict>, weights: u64, kv: u64, compute: u64) -> PyResult<()> {
    dict.set_item("weights_bytes", weights)?;
    dict.set_item("kv_bytes", kv)?;
    dict.set_item("compute_bytes", compute)
}

/// The table of the tokens' vectors: reading a text looks up rows of it, and no more.
struct TokenTable {
    bytes: u64,
    /// Whether the outputs are computed from it too.
    is_output: bool,
}

fn token_table(model: &Path) -> PyResult<TokenTable> {
    let file = GgufFile::open(model).map_err(IntoPyErr::into_py_err)?;
    Ok(TokenTable {
        bytes: file
            .tensor("token_embd.weight")
            .map_or(0, |tensor| tensor.bytes),
        is_output: file.tensor("output.weight").is_none(),
    })
}

struct Predicted {
    parts: Vec<MemoryUse>,
    table: TokenTable,
    /// The most that leaves the KV cache for main memory.
    spill_bytes: u64,
    /// Whether an answer can go on when its context is full.
    shifts: bool,
}

fn predict(options: &LoadOptions) -> PyResult<Predicted> {
    let summary = session::validate(options).map_err(IntoPyErr::into_py_err)?;
    let runtime = Runtime::open(&options.library).map_err(IntoPyErr::into_py_err)?;
    let model = session::model_options(options);
    let predicted = if session::only_reads(&summary) {
        let longest = session::longest_text(&summary, options);
        let read = vectors::options(&summary, longest);
        let parts =
            Embedder::predict_memory(&runtime, &options.model, &model, &read, longest as usize);
        parts.map(|parts| parts.map(only_memory))
    } else {
        let context = session::context_options(&summary, options);
        Context::predict_memory(&runtime, &options.model, &model, &context)
    };
    let Foreseen {
        memory: mut parts,
        shifts,
        saves_sequences,
    } = predicted
        .map_err(IntoPyErr::into_py_err)?
        .map_err(IntoPyErr::into_py_err)?;
    let spill_bytes = match saves_sequences {
        true => options.spill_bytes.unwrap_or_default(),
        false => 0,
    };
    parts.extend(options.adapters.iter().map(adapters::memory_use));
    Ok(Predicted {
        parts,
        table: token_table(&options.model)?,
        spill_bytes,
        shifts,
    })
}

/// What a model that generates nothing holds.
fn only_memory(memory: Vec<MemoryUse>) -> Foreseen {
    Foreseen {
        memory,
        shifts: false,
        saves_sequences: false,
    }
}
