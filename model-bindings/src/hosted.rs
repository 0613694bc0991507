//! `HostedEngine`: the engine over a model that Python computes. Scheduling, sampling, stop strings and events are
//! those of `Engine`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use tabagent_engine::{Engine, EngineConfig, Limits, ModelInfo, RequestId, Speculation, Token};

use crate::adapters::Adapters;
use crate::engine::{descriptor, stats};
use crate::errors::{IntoPyErr, Kind, error, invalid};
use crate::events;
use crate::form::LazyForms;
use crate::forward::{Forward, Vocabulary};
use crate::sampling;

/// A queue of requests before a model that Python computes. Any thread may call it; one should drain it.
#[pyclass(module = "tabagent_model", frozen)]
pub struct HostedEngine {
    engine: Mutex<Option<Arc<Engine>>>,
    vocabulary: Arc<Vocabulary>,
    adapters: Arc<Adapters>,
    ends: Vec<Token>,
    forms: LazyForms,
}

impl HostedEngine {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<Engine>>> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn engine(&self) -> PyResult<Arc<Engine>> {
        self.lock()
            .clone()
            .ok_or_else(|| error(Kind::NotLoaded, "this engine is closed"))
    }
}

#[pymethods]
impl HostedEngine {
    #[new]
    #[pyo3(signature = (
        forward, *, vocabulary, control, end, context_length, parallel, batch=512, prefix_reuse=true,
        adapters=None
    ))]
    #[allow(clippy::too_many_arguments)] // They are keyword arguments.
    fn new(
        forward: Py<PyAny>,
        vocabulary: Vec<Vec<u8>>,
        control: Vec<Token>,
        end: Vec<Token>,
        context_length: u32,
        parallel: u32,
        batch: u32,
        prefix_reuse: bool,
        adapters: Option<Vec<(String, f32)>>,
    ) -> PyResult<Self> {
        if context_length == 0 || parallel == 0 || batch == 0 {
            let problem = "context_length, parallel and batch must be at least 1";
            return Err(error(Kind::InvalidArgument, problem));
        }
        let kv_cells = context_length
            .checked_mul(parallel)
            .ok_or_else(|| invalid("parallel", "is too large for this context_length"))?;
        let ends = end.clone();
        let model = ModelInfo {
            n_vocab: vocabulary.len(),
            n_ctx_train: context_length,
            n_embd: 0,
            bos: None,
            eos: None,
            eog: end,
            prefix_reuse,
            can_shift: false,
        };
        let limits = Limits {
            n_ctx: context_length,
            kv_cells,
            n_batch: batch,
            n_seq_max: parallel,
            n_outputs_max: parallel,
            unified: false,
        };
        let vocabulary = Arc::new(Vocabulary {
            pieces: vocabulary,
            control: control.into_iter().collect(),
        });
        let adapters = Arc::new(Adapters::new(adapters.into_iter().flatten())?);
        let backend = Forward::new(
            forward,
            model,
            limits,
            Arc::clone(&vocabulary),
            Arc::clone(&adapters),
        );
        // A model that Python computes has one row of logits a sequence.
        let config = EngineConfig {
            speculation: Speculation::Off,
            ..EngineConfig::default()
        };
        let engine = Engine::spawn(backend, config).map_err(|reason| {
            let problem = format!("the engine's thread cannot be started: {reason}");
            error(Kind::Load, problem)
        })?;
        Ok(Self {
            engine: Mutex::new(Some(Arc::new(engine))),
            vocabulary,
            adapters,
            ends,
            forms: LazyForms::default(),
        })
    }

    /// Queues a generation and answers its number, which its events carry.
    #[pyo3(signature = (prompt, *, max_tokens=512, **options))]
    fn submit(
        &self,
        py: Python<'_>,
        prompt: Vec<Token>,
        max_tokens: i64,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<RequestId> {
        let (mut request, form) =
            sampling::request_of_tokens("submit", prompt, max_tokens, options, &self.adapters)?;
        if let Some(form) = form {
            let vocabulary = || self.vocabulary.of_forms(&self.ends);
            request.form = Some(self.forms.constrain(py, &form, vocabulary)?);
        }
        self.engine()?
            .submit(request)
            .map_err(IntoPyErr::into_py_err)
    }

    /// Ends a generation; its last event is still to come. False if there is no such generation any more.
    fn cancel(&self, request: RequestId) -> PyResult<bool> {
        Ok(self.engine()?.cancel(request))
    }

    /// Leaves a generation out of batches until `resume`, for readers that are behind.
    fn pause(&self, request: RequestId) -> PyResult<bool> {
        Ok(self.engine()?.pause(request))
    }

    /// Goes on with a generation that was paused.
    fn resume(&self, request: RequestId) -> PyResult<bool> {
        Ok(self.engine()?.resume(request))
    }

    /// Every event since the last call, in order. Never blocks.
    fn drain<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        events::list(py, &self.engine()?.drain(), &*self.vocabulary)
    }

    /// A descriptor that is readable while events wait.
    fn fileno(&self) -> PyResult<i32> {
        descriptor(&*self.engine()?)
    }

    /// What waits, what runs, and sums since the beginning.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        stats(py, &*self.engine()?)
    }

    /// Cancels everything and lets go of the model. Can be called twice.
    fn close(&self, py: Python<'_>) {
        let engine = self.lock().take();
        if let Some(engine) = engine {
            py.detach(|| engine.shutdown());
        }
    }
}

impl Drop for HostedEngine {
    fn drop(&mut self) {
        let engine = self.lock().take();
        let Some(engine) = engine else { return };
        // The engine's thread needs the GIL to finish its step. At interpreter exit nobody gets it any more.
        let attached = Python::try_attach(|py| py.detach(|| engine.shutdown()));
        if attached.is_none() {
            std::mem::forget(engine);
        }
    }
}
