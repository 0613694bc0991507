//! `PyModel`: the face for scripts, with the methods that TabAgent's older bindings documented and what they wished for.

use std::ffi::CString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyRuntimeWarning;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use tabagent_engine::{Speculation, Token};
use tabagent_llama::KvType;

use crate::errors::{Kind, error};
use crate::router::Router;
use crate::sampling::{self, Prompt};
use crate::session::{self, LoadOptions, Session};
use crate::stream::Stream;
use crate::template::{Inputs, Piece};
use crate::vectors;

/// llama.cpp's number for "there is no such token".
const NO_TOKEN: Token = -1;

/// A language model in a GGUF file, run by llama.cpp.
#[pyclass(module = "tabagent_model", frozen, subclass)]
pub struct PyModel {
    router: Mutex<Option<Arc<Router>>>,
}

impl PyModel {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<Router>>> {
        self.router.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn router(&self) -> PyResult<Arc<Router>> {
        self.lock()
            .clone()
            .ok_or_else(|| error(Kind::NotLoaded, "no model is loaded; call load() first"))
    }

    fn session(&self) -> PyResult<Arc<Session>> {
        Ok(Arc::clone(self.router()?.session()))
    }

    fn chat_prompt<'a>(
        &self,
        py: Python<'_>,
        messages: &Bound<'_, PyAny>,
        tools: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Prompt<'a>> {
        let session = self.session()?;
        let inputs = Inputs::read(py, messages, tools, None, true, None)?;
        let pieces = session.prompt_pieces(py, inputs)?;
        Ok(Prompt::Tokens(session.tokenize_prompt(py, &pieces)?))
    }

    fn start(
        &self,
        py: Python<'_>,
        method: &str,
        prompt: Prompt<'_>,
        max_tokens: i64,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Stream> {
        let router = self.router()?;
        // What cannot generate says so before it tokenizes.
        router.session().engine()?;
        let request = sampling::request(router.session(), method, prompt, max_tokens, options, py)?;
        Stream::start(&router, request)
    }
}

#[pymethods]
impl PyModel {
    #[new]
    fn new() -> Self {
        Self {
            router: Mutex::new(None),
        }
    }

    /// Loads a model; one that was loaded before is let go first. Where no GPU can be used, `gpu_layers` is a warning.
    #[pyo3(signature = (
        dll_path, model_path, gpu_layers=0, mlock=false, *, vocab_only=false, context_length=None, threads=None,
        kv_type="f16", flash_attention=None, progress=None
    ))]
    #[allow(clippy::too_many_arguments)] // They are keyword arguments.
    fn load(
        &self,
        py: Python<'_>,
        dll_path: &Bound<'_, PyAny>,
        model_path: &Bound<'_, PyAny>,
        gpu_layers: i32,
        mlock: bool,
        vocab_only: bool,
        context_length: Option<i64>,
        threads: Option<i64>,
        kv_type: &str,
        flash_attention: Option<&Bound<'_, PyAny>>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let kv_type: KvType = session::kv_type(kv_type)?;
        let options = LoadOptions {
            library: session::path(dll_path, "dll_path")?,
            model: session::path(model_path, "model_path")?,
            gpu_layers,
            gpu_optional: true,
            mlock,
            vocab_only,
            context_length: session::count("context_length", context_length)?,
            threads: session::count("threads", threads)?,
            parallel: 1,
            kv_cache_tokens: None,
            kv_type,
            flash_attention: session::flash_attention(flash_attention)?,
            speculation: Speculation::default(),
            spill_bytes: None,
            adapters: Vec::new(),
        };
        self.unload(py);
        let session = Session::load(py, &options, progress)?;
        if gpu_layers != 0
            && let Some(problem) = session.gpu_problem()
        {
            let text = CString::new(format!("{problem}; the processor computes"))?;
            PyErr::warn(py, &py.get_type::<PyRuntimeWarning>(), &text, 1)?;
        }
        let previous = self.lock().replace(Arc::new(Router::new(session)));
        // Two threads may have loaded at once: the later one counts.
        if let Some(previous) = previous {
            py.detach(|| previous.session().stop());
        }
        Ok(())
    }

    /// Frees the model; what it was generating is cancelled. Can be called twice.
    fn unload(&self, py: Python<'_>) {
        let router = self.lock().take();
        if let Some(router) = router {
            py.detach(|| router.session().stop());
        }
    }

    /// Whether a model is loaded.
    #[getter]
    fn loaded(&self) -> bool {
        self.lock().is_some()
    }

    fn __enter__(this: Py<Self>) -> Py<Self> {
        this
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyAny>) {
        self.unload(py);
    }

    /// Number of tokens in the vocabulary.
    fn vocab_size(&self) -> PyResult<usize> {
        Ok(self.session()?.model().info().n_vocab)
    }

    /// Context length in tokens that the model was trained with.
    fn context_train_size(&self) -> PyResult<u64> {
        let session = self.session()?;
        // With vocab_only llama.cpp reads no hyperparameters, but the file says it all the same.
        Ok(session
            .summary()
            .context_length
            .unwrap_or(session.model().info().n_ctx_train.into()))
    }

    /// Size of an embedding vector.
    fn embedding_dim(&self) -> PyResult<u64> {
        let session = self.session()?;
        Ok(session
            .summary()
            .embedding_length
            .unwrap_or(session.model().info().n_embd as u64))
    }

    /// Id of the beginning-of-text token; -1 where the model has none.
    fn token_bos(&self) -> PyResult<Token> {
        Ok(self.session()?.model().vocab().bos.unwrap_or(NO_TOKEN))
    }

    /// Id of the end-of-text token; -1 where the model has none.
    fn token_eos(&self) -> PyResult<Token> {
        Ok(self.session()?.model().vocab().eos.unwrap_or(NO_TOKEN))
    }

    /// Id of the newline token; -1 where the model has none.
    fn token_nl(&self) -> PyResult<Token> {
        Ok(self.session()?.model().vocab().nl.unwrap_or(NO_TOKEN))
    }

    /// Facts of the loaded model.
    fn info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.session()?.info(py)
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

    /// Continues a prompt.
    #[pyo3(signature = (prompt, max_tokens=512, **options))]
    fn generate(
        &self,
        py: Python<'_>,
        prompt: &Bound<'_, PyAny>,
        max_tokens: i64,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<String> {
        self.start(
            py,
            "generate",
            sampling::prompt(prompt)?,
            max_tokens,
            options,
        )?
        .collect(py, None)
    }

    /// Continues a prompt piece by piece: an iterator, or, with a callback, calls that end with the whole text.
    #[pyo3(signature = (prompt, max_tokens=512, *, callback=None, **options))]
    fn stream<'py>(
        &self,
        py: Python<'py>,
        prompt: &Bound<'py, PyAny>,
        max_tokens: i64,
        callback: Option<&Bound<'py, PyAny>>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let stream = self.start(py, "stream", sampling::prompt(prompt)?, max_tokens, options)?;
        deliver(py, stream, callback)
    }

    /// A vector for each text.
    #[pyo3(signature = (texts, normalize=true))]
    fn embed(
        &self,
        py: Python<'_>,
        texts: Vec<String>,
        normalize: bool,
    ) -> PyResult<Vec<Vec<f32>>> {
        Ok(vectors::embed(py, &*self.session()?, &texts, normalize, None)?.values)
    }

    /// How well each document answers a query.
    fn score(&self, py: Python<'_>, query: &str, documents: Vec<String>) -> PyResult<Vec<f32>> {
        Ok(vectors::score(py, &*self.session()?, query, &documents, None)?.values)
    }

    /// Answers a conversation, written with the model's own chat template.
    #[pyo3(signature = (messages, max_tokens=512, *, tools=None, **options))]
    fn chat(
        &self,
        py: Python<'_>,
        messages: &Bound<'_, PyAny>,
        max_tokens: i64,
        tools: Option<&Bound<'_, PyAny>>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<String> {
        let prompt = self.chat_prompt(py, messages, tools)?;
        self.start(py, "chat", prompt, max_tokens, options)?
            .collect(py, None)
    }

    /// Answers a conversation piece by piece, as `stream` does.
    #[pyo3(signature = (messages, max_tokens=512, *, tools=None, callback=None, **options))]
    fn stream_chat<'py>(
        &self,
        py: Python<'py>,
        messages: &Bound<'py, PyAny>,
        max_tokens: i64,
        tools: Option<&Bound<'py, PyAny>>,
        callback: Option<&Bound<'py, PyAny>>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let prompt = self.chat_prompt(py, messages, tools)?;
        let stream = self.start(py, "stream_chat", prompt, max_tokens, options)?;
        deliver(py, stream, callback)
    }
}

fn deliver<'py>(
    py: Python<'py>,
    stream: Stream,
    callback: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    match callback {
        Some(callback) => Ok(stream
            .collect(py, Some(callback))?
            .into_pyobject(py)?
            .into_any()),
        None => Ok(Bound::new(py, stream)?.into_any()),
    }
}
