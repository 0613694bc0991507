//! `Engine`: the face for a server. Requests go in, events of all of them come out in batches, nothing blocks.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use tabagent_engine::{RequestId, Speculation, Token};

use crate::adapters;
use crate::errors::{IntoPyErr, Kind, error};
use crate::events;
use crate::sampling;
use crate::session::{self, LoadOptions, Session};
use crate::template::{Inputs, Piece};
use crate::vectors;

/// A loaded model behind a queue of requests. Any thread may call it; one should drain it.
#[pyclass(module = "tabagent_model", frozen)]
pub struct Engine {
    session: Mutex<Option<Arc<Session>>>,
}

impl Engine {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<Session>>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn session(&self) -> PyResult<Arc<Session>> {
        self.lock()
            .clone()
            .ok_or_else(|| error(Kind::NotLoaded, "this engine is closed"))
    }
}

/// An engine's descriptor as a number.
#[cfg(unix)]
pub fn descriptor(engine: &tabagent_engine::Engine) -> PyResult<i32> {
    use std::os::fd::AsRawFd;
    Ok(engine.fd().as_raw_fd())
}

/// Windows has no descriptors to wait on.
#[cfg(not(unix))]
pub fn descriptor(_: &tabagent_engine::Engine) -> PyResult<i32> {
    Err(pyo3::exceptions::PyNotImplementedError::new_err(
        "descriptors are for Unix",
    ))
}

/// What an engine has done and holds, for Python.
pub fn stats<'py>(
    py: Python<'py>,
    engine: &tabagent_engine::Engine,
) -> PyResult<Bound<'py, PyDict>> {
    let stats = engine.stats();
    let dict = PyDict::new(py);
    dict.set_item("queued", stats.queued)?;
    dict.set_item("running", stats.running)?;
    dict.set_item("events_waiting", stats.events_waiting)?;
    dict.set_item("retry_after_s", stats.retry_after.as_secs_f64())?;
    dict.set_item("finished", stats.totals.finished)?;
    dict.set_item("cancelled", stats.totals.cancelled)?;
    dict.set_item("failed", stats.totals.failed)?;
    dict.set_item("prompt_tokens", stats.totals.prompt_tokens)?;
    dict.set_item("cached_tokens", stats.totals.cached_tokens)?;
    dict.set_item("completion_tokens", stats.totals.completion_tokens)?;
    dict.set_item("steps", stats.totals.steps)?;
    dict.set_item("preemptions", stats.totals.preemptions)?;
    dict.set_item("drafted", stats.totals.drafted)?;
    dict.set_item("drafts_kept", stats.totals.drafts_kept)?;
    dict.set_item("shifts", stats.totals.shifts)?;
    dict.set_item("spilled", stats.totals.spilled)?;
    dict.set_item("restored", stats.totals.restored)?;
    dict.set_item("spilled_bytes", stats.totals.spilled_bytes)?;
    dict.set_item("unusable", stats.unusable)?;
    Ok(dict)
}

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (
        model_path, *, dll_path=None, context_length=None, threads=None, gpu_layers=0, mlock=false, parallel=1,
        kv_cache_tokens=None, kv_type="f16", flash_attention=None, speculation=true, spill_bytes=None, adapters=None,
        progress=None
    ))]
    #[allow(clippy::too_many_arguments)] // They are keyword arguments.
    fn new(
        py: Python<'_>,
        model_path: &Bound<'_, PyAny>,
        dll_path: Option<&Bound<'_, PyAny>>,
        context_length: Option<i64>,
        threads: Option<i64>,
        gpu_layers: i32,
        mlock: bool,
        parallel: i64,
        kv_cache_tokens: Option<i64>,
        kv_type: &str,
        flash_attention: Option<&Bound<'_, PyAny>>,
        speculation: bool,
        spill_bytes: Option<i64>,
        adapters: Option<Vec<(String, PathBuf, f32)>>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let options = LoadOptions {
            model: session::path(model_path, "model_path")?,
            library: session::library(py, dll_path)?,
            gpu_layers,
            gpu_optional: false,
            mlock,
            vocab_only: false,
            context_length: session::count("context_length", context_length)?,
            threads: session::count("threads", threads)?,
            parallel: session::count("parallel", Some(parallel))?.unwrap_or(1),
            kv_cache_tokens: session::count("kv_cache_tokens", kv_cache_tokens)?,
            kv_type: session::kv_type(kv_type)?,
            flash_attention: session::flash_attention(flash_attention)?,
            speculation: if speculation {
                Speculation::WhenItPays
            } else {
                Speculation::Off
            },
            spill_bytes: session::bytes("spill_bytes", spill_bytes)?,
            adapters: adapters::files(adapters),
        };
        let session = Session::load(py, &options, progress)?;
        Ok(Self {
            session: Mutex::new(Some(session)),
        })
    }

    /// Queues a generation and answers its number, which its events carry.
    #[pyo3(signature = (prompt, *, max_tokens=512, **options))]
    fn submit(
        &self,
        py: Python<'_>,
        prompt: &Bound<'_, PyAny>,
        max_tokens: i64,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<RequestId> {
        let session = self.session()?;
        let request = sampling::request(
            &session,
            "submit",
            sampling::prompt(prompt)?,
            max_tokens,
            options,
            py,
        )?;
        session
            .engine()?
            .submit(request)
            .map_err(IntoPyErr::into_py_err)
    }

    /// Ends a generation; its last event is still to come. False if there is no such generation any more.
    fn cancel(&self, request: RequestId) -> PyResult<bool> {
        Ok(self.session()?.engine()?.cancel(request))
    }

    /// Leaves a generation out of batches until `resume`, for readers that are behind. It keeps its place, and its
    /// cache while there is room. False if there is no such generation any more.
    fn pause(&self, request: RequestId) -> PyResult<bool> {
        Ok(self.session()?.engine()?.pause(request))
    }

    /// Goes on with a generation that was paused.
    fn resume(&self, request: RequestId) -> PyResult<bool> {
        Ok(self.session()?.engine()?.resume(request))
    }

    /// Every event since the last call, in order. Never blocks.
    fn drain<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let session = self.session()?;
        events::list(py, &session.engine()?.drain(), session.model())
    }

    /// A descriptor that is readable while events wait.
    fn fileno(&self) -> PyResult<i32> {
        descriptor(self.session()?.engine()?)
    }

    /// What waits, what runs, and sums since the beginning.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        stats(py, self.session()?.engine()?)
    }

    /// A vector for each text. `between` is called before each computation; what it raises ends them.
    #[pyo3(signature = (texts, *, normalize=true, between=None))]
    fn embed<'py>(
        &self,
        py: Python<'py>,
        texts: Vec<String>,
        normalize: bool,
        between: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let read = vectors::embed(py, &*self.session()?, &texts, normalize, between)?;
        let dict = PyDict::new(py);
        dict.set_item("vectors", read.values)?;
        dict.set_item("tokens", read.tokens)?;
        Ok(dict)
    }

    /// How well each document answers a query. `between` is called before each computation; what it raises ends them.
    #[pyo3(signature = (query, documents, *, between=None))]
    fn score<'py>(
        &self,
        py: Python<'py>,
        query: &str,
        documents: Vec<String>,
        between: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let read = vectors::score(py, &*self.session()?, query, &documents, between)?;
        let dict = PyDict::new(py);
        dict.set_item("scores", read.values)?;
        dict.set_item("tokens", read.tokens)?;
        Ok(dict)
    }

    /// Cancels everything and frees the model. Can be called twice.
    fn close(&self, py: Python<'_>) {
        let session = self.lock().take();
        if let Some(session) = session {
            py.detach(|| session.stop());
        }
    }

    fn __enter__(this: Py<Self>) -> Py<Self> {
        this
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyAny>) {
        self.close(py);
    }

    /// Text into tokens.
    #[pyo3(signature = (text, add_special=true, parse_special=false))]
    fn tokenize(
        &self,
        py: Python<'_>,
        text: &str,
        add_special: bool,
        parse_special: bool,
    ) -> PyResult<Vec<Token>> {
        self.session()?
            .tokenize(py, text, add_special, parse_special)
    }

    /// Tokens into bytes, byte by byte what the text was.
    fn detokenize<'py>(
        &self,
        py: Python<'py>,
        tokens: Vec<Token>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.session()?.detokenize(py, &tokens)?))
    }

    /// A conversation as the model's chat template writes it; further keyword arguments are switches of the template.
    #[pyo3(signature = (messages, tools=None, add_generation_prompt=true, *, documents=None, **options))]
    fn apply_template(
        &self,
        py: Python<'_>,
        messages: &Bound<'_, PyAny>,
        tools: Option<&Bound<'_, PyAny>>,
        add_generation_prompt: bool,
        documents: Option<&Bound<'_, PyAny>>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<String> {
        let inputs = Inputs::read(
            py,
            messages,
            tools,
            documents,
            add_generation_prompt,
            options,
        )?;
        self.session()?.apply_template(py, inputs)
    }

    /// As `apply_template`, in stretches: text, and whether control tokens that are written in it are meant. What
    /// messages, tools and documents hold is text.
    #[pyo3(signature = (messages, tools=None, add_generation_prompt=true, *, documents=None, **options))]
    fn prompt_pieces(
        &self,
        py: Python<'_>,
        messages: &Bound<'_, PyAny>,
        tools: Option<&Bound<'_, PyAny>>,
        add_generation_prompt: bool,
        documents: Option<&Bound<'_, PyAny>>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Vec<Piece>> {
        let inputs = Inputs::read(
            py,
            messages,
            tools,
            documents,
            add_generation_prompt,
            options,
        )?;
        self.session()?.prompt_pieces(py, inputs)
    }

    /// The tokens of a prompt in stretches. The beginning of text is added only where it is missing.
    fn tokenize_prompt(&self, py: Python<'_>, pieces: Vec<Piece>) -> PyResult<Vec<Token>> {
        self.session()?.tokenize_prompt(py, &pieces)
    }

    /// Facts of the loaded model.
    fn info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.session()?.info(py)
    }
}
