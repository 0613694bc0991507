//! `inspect_gguf`: what a model file is, without llama.cpp.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};
use tabagent_gguf::{Adapter, Array, GgufFile, Kind, QuantizationShare, Summary, Value};

use crate::errors::IntoPyErr;

/// Arrays up to this length are shown; longer ones are described.
const SHOWN_ELEMENTS: usize = 64;

/// Reads and checks a GGUF file: architecture, sizes, quantization, vocabulary, chat template, metadata.
#[pyfunction]
pub fn inspect_gguf<'py>(py: Python<'py>, path: PathBuf) -> PyResult<Bound<'py, PyDict>> {
    let (file, summary, refusal) = py
        .detach(|| {
            let file = GgufFile::open(&path)?;
            let summary = file.summary();
            let refusal = file
                .check_loadable(false)
                .err()
                .map(|error| error.problem.to_string());
            Ok((file, summary, refusal))
        })
        .map_err(|error: tabagent_gguf::GgufError| error.into_py_err())?;
    let dict = describe(py, &summary)?;
    dict.set_item("path", path.as_os_str())?;
    dict.set_item("loadable", refusal.is_none())?;
    dict.set_item("problem", refusal)?;
    let metadata = PyDict::new(py);
    for (key, value) in file.entries() {
        metadata.set_item(key, scalar_or_array(py, value)?)?;
    }
    dict.set_item("metadata", metadata)?;
    Ok(dict)
}

fn describe<'py>(py: Python<'py>, summary: &Summary) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("architecture", &summary.architecture)?;
    dict.set_item("kind", kind(summary.kind))?;
    dict.set_item("pooling", summary.pooling)?;
    dict.set_item("name", &summary.name)?;
    dict.set_item("parameters", summary.parameters)?;
    dict.set_item("size_bytes", summary.size_bytes)?;
    dict.set_item("file_type", &summary.file_type)?;
    let shares: Vec<_> = summary
        .quantization
        .iter()
        .map(|share| quantization(py, share))
        .collect::<PyResult<_>>()?;
    dict.set_item("quantization", PyList::new(py, shares)?)?;
    dict.set_item("tensor_count", summary.tensor_count)?;
    dict.set_item("context_length", summary.context_length)?;
    dict.set_item("embedding_length", summary.embedding_length)?;
    dict.set_item("block_count", summary.block_count)?;
    dict.set_item("head_count", summary.head_count)?;
    dict.set_item("head_count_kv", summary.head_count_kv)?;
    dict.set_item("expert_count", summary.expert_count)?;
    dict.set_item("vocab_size", summary.vocab_size)?;
    dict.set_item("tokenizer_model", &summary.tokenizer_model)?;
    dict.set_item("tokenizer_pre", &summary.tokenizer_pre)?;
    dict.set_item("chat_template", &summary.chat_template)?;
    dict.set_item(
        "adapter",
        summary
            .adapter
            .as_ref()
            .map(|about| adapter(py, about))
            .transpose()?,
    )?;
    dict.set_item(
        "split",
        summary.split.map(|split| (split.index, split.count)),
    )?;
    dict.set_item("ternary", summary.ternary)?;
    dict.set_item("bitnet", summary.bitnet)?;
    dict.set_item("version", summary.version)?;
    dict.set_item("alignment", summary.alignment)?;
    Ok(dict)
}

/// What a model can be used for, as Python is told.
pub fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Generative => "generative",
        Kind::Encoder => "encoder",
        Kind::Other => "other",
    }
}

fn quantization<'py>(py: Python<'py>, share: &QuantizationShare) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("type", share.tensor_type.name)?;
    dict.set_item("tensors", share.tensors)?;
    dict.set_item("elements", share.elements)?;
    dict.set_item("bytes", share.bytes)?;
    Ok(dict)
}

fn adapter<'py>(py: Python<'py>, about: &Adapter) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("type", &about.kind)?;
    dict.set_item("alpha", about.alpha)?;
    dict.set_item("rank", about.rank)?;
    Ok(dict)
}

fn scalar_or_array<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::U8(value) => value.into_pyobject(py)?.into_any(),
        Value::I8(value) => value.into_pyobject(py)?.into_any(),
        Value::U16(value) => value.into_pyobject(py)?.into_any(),
        Value::I16(value) => value.into_pyobject(py)?.into_any(),
        Value::U32(value) => value.into_pyobject(py)?.into_any(),
        Value::I32(value) => value.into_pyobject(py)?.into_any(),
        Value::U64(value) => value.into_pyobject(py)?.into_any(),
        Value::I64(value) => value.into_pyobject(py)?.into_any(),
        Value::F32(value) => value.into_pyobject(py)?.into_any(),
        Value::F64(value) => value.into_pyobject(py)?.into_any(),
        Value::Bool(value) => value.into_pyobject(py)?.to_owned().into_any(),
        Value::String(bytes) => text_or_bytes(py, bytes),
        Value::Array(values) if values.len() <= SHOWN_ELEMENTS => elements(py, values)?.into_any(),
        Value::Array(values) => {
            let dict = PyDict::new(py);
            dict.set_item("array_of", values.element_type().to_string())?;
            dict.set_item("length", values.len())?;
            dict.into_any()
        }
    })
}

fn text_or_bytes<'py>(py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyAny> {
    match std::str::from_utf8(bytes) {
        Ok(text) => PyString::new(py, text).into_any(),
        Err(_) => PyBytes::new(py, bytes).into_any(),
    }
}

fn elements<'py>(py: Python<'py>, values: &Array) -> PyResult<Bound<'py, PyList>> {
    match values {
        // A Vec<u8> would become bytes.
        Array::U8(values) => PyList::new(py, values.iter().map(|value| u32::from(*value))),
        Array::I8(values) => PyList::new(py, values),
        Array::U16(values) => PyList::new(py, values),
        Array::I16(values) => PyList::new(py, values),
        Array::U32(values) => PyList::new(py, values),
        Array::I32(values) => PyList::new(py, values),
        Array::F32(values) => PyList::new(py, values),
        Array::Bool(values) => PyList::new(py, values),
        Array::U64(values) => PyList::new(py, values),
        Array::I64(values) => PyList::new(py, values),
        Array::F64(values) => PyList::new(py, values),
        Array::String(values) => {
            let texts: Vec<_> = values
                .iter()
                .map(|bytes| text_or_bytes(py, bytes))
                .collect();
            PyList::new(py, texts)
        }
    }
}
