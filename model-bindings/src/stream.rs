//! `Stream`: the pieces of one answer, as an iterator, for a callback, or fetched by an event loop.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict};
use tabagent_engine::{Event, FinishReason, Request, RequestId, Timings, Usage};

use crate::errors::{Kind, error};
use crate::events;
use crate::router::Router;

/// How often a waiting thread looks whether Ctrl-C was pressed. Events end the waiting at once.
const SIGNAL_INTERVAL: Duration = Duration::from_millis(50);

/// The pieces of an answer as they are generated. Letting go of it cancels what is left of the generation.
#[pyclass(module = "tabagent_model", frozen)]
pub struct Stream {
    router: Arc<Router>,
    id: RequestId,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pieces: VecDeque<String>,
    end: Option<End>,
}

#[derive(Clone)]
enum End {
    Finished {
        reason: FinishReason,
        usage: Usage,
        timings: Timings,
        seed: u64,
    },
    Failed(String),
    Cancelled,
}

impl Stream {
    /// Starts a generation.
    pub fn start(router: &Arc<Router>, request: Request) -> PyResult<Self> {
        let id = router.submit(request)?;
        Ok(Self {
            router: Arc::clone(router),
            id,
            state: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn absorb(&self, events: VecDeque<Event>) {
        if events.is_empty() {
            return;
        }
        let mut state = self.lock();
        for event in events {
            match event {
                Event::Started { .. } => {}
                Event::Piece { text, .. } if text.is_empty() => {}
                Event::Piece { text, .. } => state.pieces.push_back(text),
                Event::Finished {
                    reason,
                    usage,
                    timings,
                    seed,
                    ..
                } => {
                    state.end = Some(End::Finished {
                        reason,
                        usage,
                        timings,
                        seed,
                    });
                }
                Event::Failed { error, .. } => state.end = Some(End::Failed(error)),
            }
        }
        if state.end.is_some() {
            drop(state);
            self.router.forget(self.id);
        }
    }

    /// The next piece; `None` at the end. Waits with the GIL released, and for Ctrl-C too.
    pub fn next(&self, py: Python<'_>) -> PyResult<Option<String>> {
        loop {
            {
                let mut state = self.lock();
                if let Some(piece) = state.pieces.pop_front() {
                    return Ok(Some(piece));
                }
                match &state.end {
                    Some(End::Failed(reason)) => {
                        return Err(error(Kind::Inference, reason.clone()));
                    }
                    Some(_) => return Ok(None),
                    None => {}
                }
            }
            let events = py.detach(|| self.router.wait(self.id, SIGNAL_INTERVAL))?;
            self.absorb(events);
            if let Err(interrupt) = py.check_signals() {
                self.cancel();
                return Err(interrupt);
            }
        }
    }

    /// The whole answer. `callback` gets each piece and stops the generation by answering False or raising.
    pub fn collect(&self, py: Python<'_>, callback: Option<&Bound<'_, PyAny>>) -> PyResult<String> {
        let mut text = String::new();
        while let Some(piece) = self.next(py)? {
            text.push_str(&piece);
            if let Some(callback) = callback
                && callback
                    .call1((piece,))
                    .inspect_err(|_| self.cancel())?
                    .is(PyBool::new(py, false))
            {
                self.cancel();
                break;
            }
        }
        Ok(text)
    }

    fn end<T>(&self, read: impl FnOnce(&End) -> Option<T>) -> Option<T> {
        self.lock().end.as_ref().and_then(read)
    }
}

#[pymethods]
impl Stream {
    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<String>> {
        self.next(py)
    }

    /// Ends the generation; nothing more comes.
    fn cancel(&self) {
        self.router.forget(self.id);
        let mut state = self.lock();
        state.pieces.clear();
        if state.end.is_none() {
            state.end = Some(End::Cancelled);
        }
    }

    /// The pieces that have come since the last call, without waiting.
    fn poll(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        if !self.done() {
            let events = py.detach(|| self.router.poll(self.id))?;
            self.absorb(events);
        }
        let mut state = self.lock();
        let pieces: Vec<String> = state.pieces.drain(..).collect();
        match &state.end {
            Some(End::Failed(reason)) if pieces.is_empty() => {
                Err(error(Kind::Inference, reason.clone()))
            }
            _ => Ok(pieces),
        }
    }

    /// Sorts whatever the engine has to say, for all streams of this model; `on_ready` callbacks are called by it.
    fn pump(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.router.fetch())
    }

    /// Sets what is called when there is something to poll, in whichever thread finds out.
    #[pyo3(signature = (callback, /))]
    fn on_ready(&self, callback: Option<Py<PyAny>>) {
        self.router.notify(self.id, callback);
    }

    /// A descriptor that is readable while the engine has something to say; then call `pump`.
    fn fileno(&self) -> PyResult<i32> {
        crate::engine::descriptor(self.router.session().engine()?)
    }

    /// Whether the generation has ended and all its pieces are fetched from the engine.
    #[getter]
    fn done(&self) -> bool {
        self.lock().end.is_some()
    }

    /// "stop", "length" or "cancelled"; None before the end.
    #[getter]
    fn finish_reason(&self) -> Option<&'static str> {
        self.end(|end| match end {
            End::Finished { reason, .. } => Some(events::reason(*reason)),
            End::Cancelled => Some("cancelled"),
            End::Failed(_) => None,
        })
    }

    /// Token counts; None before the end.
    #[getter]
    fn usage<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let usage = self.end(|end| {
            if let End::Finished { usage, .. } = end {
                Some(*usage)
            } else {
                None
            }
        });
        usage.map(|usage| events::usage(py, &usage)).transpose()
    }

    /// Durations and speeds; None before the end.
    #[getter]
    fn timings<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let timings = self.end(|end| {
            if let End::Finished { timings, .. } = end {
                Some(*timings)
            } else {
                None
            }
        });
        timings
            .map(|timings| events::timings(py, &timings))
            .transpose()
    }

    /// The seed that was used; None before the end.
    #[getter]
    fn seed(&self) -> Option<u64> {
        self.end(|end| {
            if let End::Finished { seed, .. } = end {
                Some(*seed)
            } else {
                None
            }
        })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.router.forget(self.id);
    }
}
