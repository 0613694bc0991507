//! A loaded model with the engine that runs on it: what `PyModel` and `Engine` both stand on.

use std::iter;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict};
use tabagent_engine::form::{Constraint, Form};
use tabagent_engine::{Engine, EngineConfig, Limits, Speculation, Token};
use tabagent_gguf::{GgufError, GgufFile, Kind as ModelKind, Summary};
use tabagent_llama::{
    Context, ContextOptions, FlashAttention, KvType, LoadError, Model, ModelOptions, Runtime,
};

use crate::adapters::{AdapterFile, Adapters};
use crate::errors::{IntoPyErr, Kind, error, invalid};
use crate::form::{self, LazyForms};
use crate::inspect;
use crate::template::{self, ControlTexts, Inputs, Piece};
use crate::vectors::Vectors;

/// Context length where the caller names none and the model was trained for more: long ones cost memory.
const DEFAULT_CONTEXT_LENGTH: u32 = 8192;
/// Outputs of a step, for guesses at the next tokens of few sequences; many have as many in any case.
const OUTPUTS: u32 = 16;
/// How often a load looks for signals and reports its progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(50);

/// How a model is to be loaded.
pub struct LoadOptions {
    pub library: PathBuf,
    pub model: PathBuf,
    pub gpu_layers: i32,
    /// Whether the processor computes where there is no GPU.
    pub gpu_optional: bool,
    pub mlock: bool,
    pub vocab_only: bool,
    pub context_length: Option<u32>,
    pub threads: Option<u32>,
    pub parallel: u32,
    /// Cells that all sequences share; as many as the longest sequence has where the caller names none.
    pub kv_cache_tokens: Option<u32>,
    pub kv_type: KvType,
    pub flash_attention: FlashAttention,
    pub speculation: Speculation,
    /// Bytes of main memory for what leaves the KV cache; chosen where the caller names none.
    pub spill_bytes: Option<u64>,
    pub adapters: Vec<AdapterFile>,
}

/// The type of keys and values of that name.
pub fn kv_type(name: &str) -> PyResult<KvType> {
    KvType::from_name(name).ok_or_else(|| {
        let names: Vec<_> = KvType::names().collect();
        invalid(
            "kv_type",
            format!("is {name:?}; possible are {}", names.join(", ")),
        )
    })
}

/// "auto" (also where nothing is given), "on" or "off", or a bool.
pub fn flash_attention(value: Option<&Bound<'_, PyAny>>) -> PyResult<FlashAttention> {
    let Some(value) = value else {
        return Ok(FlashAttention::Auto);
    };
    if let Ok(on) = value.extract::<bool>() {
        return Ok(if on {
            FlashAttention::On
        } else {
            FlashAttention::Off
        });
    }
    match value.extract::<String>()?.as_str() {
        "auto" => Ok(FlashAttention::Auto),
        "on" => Ok(FlashAttention::On),
        "off" => Ok(FlashAttention::Off),
        other => Err(invalid(
            "flash_attention",
            format!("is {other:?}; possible are auto, on, off"),
        )),
    }
}

/// A number of at least one, where one is given.
pub fn count(name: &str, value: Option<i64>) -> PyResult<Option<u32>> {
    let Some(value) = value else { return Ok(None) };
    match u32::try_from(value) {
        Ok(value) if value > 0 => Ok(Some(value)),
        _ => Err(invalid(name, format!("is {value}; it must be at least 1"))),
    }
}

/// A number of bytes, where one is given.
pub fn bytes(name: &str, value: Option<i64>) -> PyResult<Option<u64>> {
    let bytes = value.map(u64::try_from).transpose();
    bytes.map_err(|_| invalid(name, "is below 0"))
}

/// A loaded model. Dropping the last holder frees it.
pub struct Session {
    model: Arc<Model>,
    adapters: Adapters,
    summary: Summary,
    /// What generates; nothing with `vocab_only`, or for a model that cannot.
    running: Option<Running>,
    /// Compiles what answers must look like; made when it is first asked for.
    forms: LazyForms,
    /// The model's control tokens; read when the first conversation comes.
    control: OnceLock<ControlTexts>,
    vectors: Vectors,
    process: u32,
}

struct Running {
    engine: Engine,
    limits: Limits,
    prefix_reuse: bool,
    can_shift: bool,
    spill_bytes: u64,
}

impl Session {
    /// Why no layer can be put on a GPU; `None` where that can be done.
    pub fn gpu_problem(&self) -> Option<String> {
        self.model.runtime().gpu_problem()
    }

    /// Validates the file, opens the runtime, loads the model and starts its engine, with the GIL released.
    /// `progress` is called with fractions from 0 to 1; its answering False stops the load.
    pub fn load(
        py: Python<'_>,
        options: &LoadOptions,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Arc<Self>> {
        let named = options.adapters.iter();
        let adapters = Adapters::new(named.map(|file| (file.name.clone(), file.scale)))?;
        let summary = py
            .detach(|| validate(options))
            .map_err(IntoPyErr::into_py_err)?;
        let runtime = py
            .detach(|| Runtime::open(&options.library))
            .map_err(IntoPyErr::into_py_err)?;
        let model = load_model(py, &runtime, options, progress)?;
        let running = if options.vocab_only || only_reads(&summary) {
            None
        } else {
            Some(start(py, &model, &summary, options)?)
        };
        let longest = match &running {
            Some(running) => running.limits.n_ctx.min(running.limits.kv_cells),
            None => longest_text(&summary, options),
        };
        let session = Arc::new(Self {
            vectors: Vectors::new(&summary, longest, options.threads),
            model,
            adapters,
            summary,
            running,
            forms: LazyForms::default(),
            control: OnceLock::new(),
            process: std::process::id(),
        });
        live().push(Arc::downgrade(&session));
        Ok(session)
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The model, for those who keep it.
    pub fn shared_model(&self) -> &Arc<Model> {
        &self.model
    }

    /// What makes vectors of texts.
    pub fn vectors(&self) -> &Vectors {
        &self.vectors
    }

    /// Its adapters.
    pub fn adapters(&self) -> &Adapters {
        &self.adapters
    }

    /// What its file says.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The engine that generates.
    pub fn engine(&self) -> PyResult<&Engine> {
        self.check_process()?;
        match &self.running {
            Some(running) => Ok(&running.engine),
            None if self.model.options().vocab_only => Err(error(
                Kind::NotLoaded,
                "the model was loaded with vocab_only, so it cannot generate",
            )),
            None => Err(error(Kind::Unsupported, self.no_generation())),
        }
    }

    /// A constraint for an answer of this form, with the GIL released.
    pub fn constrain(&self, py: Python<'_>, form: &Form) -> PyResult<Constraint> {
        self.forms
            .constrain(py, form, || form::vocabulary(&self.model))
    }

    fn no_generation(&self) -> String {
        let gives = match self.summary.pooling {
            Some("rank") => "scores documents",
            _ => "turns texts into vectors",
        };
        format!("text generation (this model {gives})")
    }

    /// Refuses what needs threads that a forked process does not have.
    pub fn check_process(&self) -> PyResult<()> {
        if self.process == std::process::id() {
            return Ok(());
        }
        let message = "the model was loaded before this process was forked, and its threads stayed behind; load it here";
        Err(error(Kind::NotLoaded, message))
    }

    /// Whether requests are being answered with text at the moment.
    pub fn is_generating(&self) -> bool {
        let running = self.running.as_ref();
        running.is_some_and(|running| running.engine.stats().running > 0)
    }

    /// Ends the engine's thread and what makes vectors; what they were doing is cancelled. The calling thread must not hold the GIL.
    pub fn stop(&self) {
        // In a forked process there is no thread to end, and waiting for it would take forever.
        if self.process != std::process::id() {
            return;
        }
        self.vectors.stop();
        if let Some(running) = &self.running {
            running.engine.shutdown();
        }
    }

    /// Tokens in the longest sequence; 0 with `vocab_only`.
    pub fn context_length(&self) -> u32 {
        if self.model.options().vocab_only {
            0
        } else {
            self.vectors.longest()
        }
    }

    /// Text into tokens, with the GIL released.
    pub fn tokenize(
        &self,
        py: Python<'_>,
        text: &str,
        add_special: bool,
        parse_special: bool,
    ) -> PyResult<Vec<Token>> {
        py.detach(|| self.model.tokenize(text, add_special, parse_special))
            .map_err(IntoPyErr::into_py_err)
    }

    /// Tokens into bytes, with the GIL released.
    pub fn detokenize(&self, py: Python<'_>, tokens: &[Token]) -> PyResult<Vec<u8>> {
        py.detach(|| self.model.detokenize(tokens))
            .map_err(IntoPyErr::into_py_err)
    }

    /// The conversation as the model's template writes it.
    pub fn apply_template(&self, py: Python<'_>, inputs: Inputs) -> PyResult<String> {
        let inputs = self.with_special_tokens(inputs);
        py.detach(|| template::render(self.template(), inputs))
            .map_err(|message| error(Kind::Template, message))
    }

    /// As [`Self::apply_template`], in stretches: what was given is text, even where it looks like a control token.
    pub fn prompt_pieces(&self, py: Python<'_>, inputs: Inputs) -> PyResult<Vec<Piece>> {
        let inputs = self.with_special_tokens(inputs);
        py.detach(|| {
            let control = self
                .control
                .get_or_init(|| ControlTexts::new(self.model.special_tokens()));
            control.pieces(self.template(), inputs)
        })
        .map_err(|message| error(Kind::Template, message))
    }

    /// The tokens of a conversation's prompt. A template that writes the beginning-of-text token itself gets no second.
    pub fn tokenize_prompt(&self, py: Python<'_>, pieces: &[Piece]) -> PyResult<Vec<Token>> {
        let bos = self.special_text(self.model.vocab().bos);
        let starts = |(text, special): &Piece| *special && text.starts_with(&bos);
        let begins = !bos.is_empty() && pieces.first().is_some_and(starts);
        if let [(text, special)] = pieces {
            return self.tokenize(py, text, !begins, *special);
        }
        let vocab = self.model.vocab();
        let added = |token: Option<Token>, wanted| token.filter(|_| wanted && !begins);
        let mut tokens: Vec<Token> = added(vocab.bos, vocab.add_bos).into_iter().collect();
        for (text, special) in pieces {
            tokens.extend(self.tokenize(py, text, false, *special)?);
        }
        tokens.extend(added(vocab.eos, vocab.add_eos));
        Ok(tokens)
    }

    fn template(&self) -> &str {
        let own = self.summary.chat_template.as_deref();
        own.unwrap_or(template::DEFAULT_TEMPLATE)
    }

    fn with_special_tokens(&self, inputs: Inputs) -> Inputs {
        let vocab = self.model.vocab();
        inputs.with_special_tokens(self.special_text(vocab.bos), self.special_text(vocab.eos))
    }

    fn special_text(&self, token: Option<Token>) -> String {
        let mut bytes = Vec::new();
        if let Some(token) = token {
            self.model.token_bytes_special(token, &mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Facts of the loaded model, for Python.
    pub fn info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (info, summary, vocab) = (self.model.info(), &self.summary, self.model.vocab());
        let facts = PyDict::new(py);
        facts.set_item("path", self.model.path().as_os_str())?;
        facts.set_item("description", self.model.description())?;
        facts.set_item("architecture", &summary.architecture)?;
        facts.set_item("kind", inspect::kind(summary.kind))?;
        facts.set_item("pooling", self.vectors.pooling().name())?;
        facts.set_item("name", &summary.name)?;
        facts.set_item("parameters", summary.parameters)?;
        facts.set_item("size_bytes", summary.size_bytes)?;
        facts.set_item("file_type", &summary.file_type)?;
        facts.set_item("vocab_size", info.n_vocab)?;
        facts.set_item("context_train_size", summary.context_length)?;
        facts.set_item("context_length", self.context_length())?;
        facts.set_item("embedding_dim", summary.embedding_length)?;
        facts.set_item("token_bos", vocab.bos)?;
        facts.set_item("token_eos", vocab.eos)?;
        facts.set_item("token_nl", vocab.nl)?;
        facts.set_item("tokens_eog", &vocab.eog)?;
        facts.set_item("has_chat_template", summary.chat_template.is_some())?;
        facts.set_item("chat_template", &summary.chat_template)?;
        facts.set_item(
            "prefix_reuse",
            self.running
                .as_ref()
                .is_some_and(|running| running.prefix_reuse),
        )?;
        facts.set_item(
            "parallel",
            self.running
                .as_ref()
                .map_or(0, |running| running.limits.n_seq_max),
        )?;
        let running = self.running.as_ref();
        facts.set_item(
            "context_shift",
            running.is_some_and(|running| running.can_shift),
        )?;
        facts.set_item(
            "spill_bytes",
            running.map_or(0, |running| running.spill_bytes),
        )?;
        let runtime = self.model.runtime();
        facts.set_item("runtime", runtime.directory().as_os_str())?;
        facts.set_item("runtime_build", runtime.build_id())?;
        facts.set_item("cpu_module", runtime.cpu_module())?;
        facts.set_item("gpu", runtime.supports_gpu_offload())?;
        Ok(facts)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The engine's thread may need the GIL to log before it ends. At interpreter exit nobody gets it any more.
        if Python::try_attach(|py| py.detach(|| self.stop())).is_none() {
            self.stop();
        }
    }
}

/// All sessions, so that none computes any more when the process ends.
static LIVE: Mutex<Vec<Weak<Session>>> = Mutex::new(Vec::new());

fn live() -> MutexGuard<'static, Vec<Weak<Session>>> {
    let mut live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
    live.retain(|session| session.strong_count() > 0);
    live
}

/// Ends every engine. Python calls it at exit: llama.cpp's own exit would pull the ground from under a thread at work.
#[pyfunction]
pub fn stop_all(py: Python<'_>) {
    py.detach(|| {
        let sessions: Vec<_> = live().iter().filter_map(Weak::upgrade).collect();
        sessions.iter().for_each(|session| session.stop());
    });
}

/// Whether a model answers with vectors or scores and never with text.
pub fn only_reads(summary: &Summary) -> bool {
    summary.kind == ModelKind::Encoder || summary.pooling == Some("rank")
}

/// Tokens of the longest text that a model can read which does not generate: never more than it was trained for,
/// because its positions may be a table.
pub fn longest_text(summary: &Summary, options: &LoadOptions) -> u32 {
    let trained = trained_length(summary);
    options.context_length.unwrap_or(trained).min(trained)
}

fn trained_length(summary: &Summary) -> u32 {
    let told = summary.context_length.unwrap_or_default();
    u32::try_from(told).unwrap_or(u32::MAX)
}

/// The context that generates, as it was asked for.
pub fn context_options(summary: &Summary, options: &LoadOptions) -> ContextOptions {
    let trained = trained_length(summary);
    ContextOptions {
        n_ctx: options
            .context_length
            .unwrap_or_else(|| trained.clamp(1, DEFAULT_CONTEXT_LENGTH)),
        kv_cells: options.kv_cache_tokens.unwrap_or_default(),
        n_seq_max: options.parallel,
        n_outputs_max: options.parallel.max(OUTPUTS),
        kv_type: options.kv_type,
        flash_attention: options.flash_attention,
        threads: options.threads,
        ..ContextOptions::default()
    }
}

/// Checks the files of the model and its adapters, before llama.cpp sees them.
pub fn validate(options: &LoadOptions) -> Result<Summary, GgufError> {
    let file = GgufFile::open(&options.model)?;
    file.check_loadable(options.vocab_only)?;
    if options.vocab_only {
        return Ok(file.summary());
    }
    let others = file.open_other_splits()?;
    let model: Vec<&GgufFile> = iter::once(&file).chain(&others).collect();
    for adapter in &options.adapters {
        GgufFile::open(&adapter.path)?.check_lora(&model)?;
    }
    Ok(file.summary())
}

/// The weights, as they were asked for.
pub fn model_options(options: &LoadOptions) -> ModelOptions {
    ModelOptions {
        gpu_layers: options.gpu_layers,
        gpu_optional: options.gpu_optional,
        mlock: options.mlock,
        vocab_only: options.vocab_only,
        ..ModelOptions::default()
    }
}

/// Loads the weights. Ctrl-C and a progress function that answers False or raises stop it.
fn load_model(
    py: Python<'_>,
    runtime: &Arc<Runtime>,
    options: &LoadOptions,
    progress: Option<Py<PyAny>>,
) -> PyResult<Arc<Model>> {
    let model_options = model_options(options);
    let mut raised = None;
    let mut reported: Option<Instant> = None;
    let watch = |fraction: f32| {
        if fraction < 1.0 && reported.is_some_and(|then| then.elapsed() < PROGRESS_INTERVAL) {
            return true;
        }
        reported = Some(Instant::now());
        let answer = Python::attach(|py| {
            py.check_signals()?;
            match &progress {
                Some(progress) => Ok(!progress
                    .call1(py, (fraction,))?
                    .bind(py)
                    .is(PyBool::new(py, false))),
                None => Ok(true),
            }
        });
        answer.unwrap_or_else(|error| {
            raised = Some(error);
            false
        })
    };
    let result = py.detach(|| Model::load(runtime, &options.model, &model_options, watch));
    if let Some(error) = raised {
        return Err(error);
    }
    let mut model = result.map_err(IntoPyErr::into_py_err)?;
    py.detach(|| load_adapters(&mut model, options))?;
    Ok(model)
}

/// Loads the adapters, in their order. Nobody else has the model yet.
fn load_adapters(model: &mut Arc<Model>, options: &LoadOptions) -> PyResult<()> {
    let Some(model) = Arc::get_mut(model) else {
        return Ok(());
    };
    for adapter in &options.adapters {
        let loaded = model.load_adapter(&adapter.path);
        loaded.map_err(|problem| match problem {
            // Its container is sound, so what is wrong is what it says.
            LoadError::Refused { .. } => error(Kind::InvalidGguf, problem.to_string()),
            other => other.into_py_err(),
        })?;
    }
    Ok(())
}

fn start(
    py: Python<'_>,
    model: &Arc<Model>,
    summary: &Summary,
    options: &LoadOptions,
) -> PyResult<Running> {
    let context = context_options(summary, options);
    let context = py
        .detach(|| Context::new(model, &context))
        .map_err(IntoPyErr::into_py_err)?;
    let limits = tabagent_engine::Backend::limits(&context);
    let info = tabagent_engine::Backend::model(&context);
    let (prefix_reuse, can_shift) = (info.prefix_reuse, info.can_shift && info.prefix_reuse);
    let spill_bytes = match model.saves_sequences() {
        true => options.spill_bytes.unwrap_or_default(),
        false => 0,
    };
    let config = EngineConfig {
        speculation: options.speculation,
        spill_bytes: usize::try_from(spill_bytes).unwrap_or(usize::MAX),
        ..EngineConfig::default()
    };
    let engine = Engine::spawn(context, config).map_err(|reason| {
        error(
            Kind::Load,
            format!("the engine's thread cannot be started: {reason}"),
        )
    })?;
    Ok(Running {
        engine,
        limits,
        prefix_reuse,
        can_shift,
        spill_bytes,
    })
}

/// A path that Python gave as `str` or `os.PathLike`.
pub fn path(value: &Bound<'_, PyAny>, name: &str) -> PyResult<PathBuf> {
    let path: PathBuf = value.extract()?;
    if path.as_os_str().is_empty() {
        return Err(invalid(name, "is empty"));
    }
    Ok(path)
}

/// The library that suits this machine, where the caller named none.
pub fn library(py: Python<'_>, given: Option<&Bound<'_, PyAny>>) -> PyResult<PathBuf> {
    match given {
        Some(given) => path(given, "dll_path"),
        None => py
            .detach(crate::hardware::find_library)
            .map_err(|problem| error(Kind::LibraryNotFound, problem.to_string())),
    }
}
