//! Several callers on one engine: each gets its own request's events, whoever fetches them.
//!
//! There is no thread of its own. Whoever waits fetches for all: one waiting thread at a time blocks on the engine,
//! and an event loop fetches when the engine's descriptor becomes readable.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use tabagent_engine::{Engine, Event, Request, RequestId};

use crate::errors::IntoPyErr;
use crate::session::Session;

/// Hands out a session's events by request.
pub struct Router {
    session: Arc<Session>,
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    inboxes: HashMap<RequestId, Inbox>,
    /// Whether a thread is blocked on the engine on behalf of all.
    fetching: bool,
}

#[derive(Default)]
struct Inbox {
    events: VecDeque<Event>,
    /// Called when events have come, by whichever thread fetched them.
    notify: Option<Arc<Py<PyAny>>>,
}

impl Router {
    pub fn new(session: Arc<Session>) -> Self {
        Self {
            session,
            state: Mutex::default(),
            arrived: Condvar::new(),
        }
    }

    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    fn engine(&self) -> PyResult<&Engine> {
        self.session.engine()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Submits a request whose events are kept until they are taken.
    pub fn submit(&self, request: Request) -> PyResult<RequestId> {
        let engine = self.engine()?;
        // Under the lock, so that no other thread fetches its first event before there is an inbox for it.
        let mut state = self.lock();
        let id = engine.submit(request).map_err(IntoPyErr::into_py_err)?;
        state.inboxes.insert(id, Inbox::default());
        Ok(id)
    }

    /// Cancels a request and drops what comes of it.
    pub fn forget(&self, id: RequestId) {
        let removed = self.lock().inboxes.remove(&id);
        if let (Some(_), Ok(engine)) = (removed, self.engine()) {
            engine.cancel(id);
        }
    }

    /// Sets what is called when events of a request have come.
    pub fn notify(&self, id: RequestId, callback: Option<Py<PyAny>>) {
        if let Some(inbox) = self.lock().inboxes.get_mut(&id) {
            inbox.notify = callback.map(Arc::new);
        }
    }

    /// Takes a request's events; waits up to `timeout` for the first. The GIL must not be held.
    pub fn wait(&self, id: RequestId, timeout: Duration) -> PyResult<VecDeque<Event>> {
        let mut state = self.lock();
        let events = take(&mut state, id);
        if !events.is_empty() {
            return Ok(events);
        }
        if state.fetching {
            // Another thread waits on the engine and shares what it finds.
            let (mut state, _) = self
                .arrived
                .wait_timeout(state, timeout)
                .unwrap_or_else(PoisonError::into_inner);
            return Ok(take(&mut state, id));
        }
        state.fetching = true;
        drop(state);
        let engine = self.engine();
        if let Ok(engine) = &engine {
            let _ = engine.wait(Some(timeout));
        }
        self.lock().fetching = false;
        let fetched = engine.map(|_| ()).and_then(|()| self.fetch());
        // Others wait for their events, or for somebody to take over the fetching.
        self.arrived.notify_all();
        fetched?;
        Ok(take(&mut self.lock(), id))
    }

    /// Takes what has come for a request without waiting.
    pub fn poll(&self, id: RequestId) -> PyResult<VecDeque<Event>> {
        self.fetch()?;
        Ok(take(&mut self.lock(), id))
    }

    /// Takes all that the engine has and sorts it into the inboxes.
    pub fn fetch(&self) -> PyResult<()> {
        let engine = self.engine()?;
        let mut callbacks: Vec<Arc<Py<PyAny>>> = Vec::new();
        {
            // Drained under the lock: two threads that drain at once must not swap a request's events.
            let mut state = self.lock();
            for event in engine.drain() {
                // A forgotten request has no inbox any more.
                if let Some(inbox) = state.inboxes.get_mut(&event.id()) {
                    if inbox.events.is_empty() {
                        callbacks.extend(inbox.notify.clone());
                    }
                    inbox.events.push_back(event);
                }
            }
        }
        self.arrived.notify_all();
        if !callbacks.is_empty() {
            Python::attach(|py| {
                for callback in callbacks {
                    // A loop that was closed meanwhile has nobody left to tell.
                    if let Err(error) = callback.call0(py) {
                        error.write_unraisable(py, None);
                    }
                }
            });
        }
        Ok(())
    }
}

fn take(state: &mut State, id: RequestId) -> VecDeque<Event> {
    state
        .inboxes
        .get_mut(&id)
        .map(|inbox| std::mem::take(&mut inbox.events))
        .unwrap_or_default()
}
