//! llama.cpp's log, on its way into Python: to a callback, else to the logger `tabagent_model.llama`.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use tabagent_llama::{LogLevel, set_log_sink};

static CALLBACK: Mutex<Option<Arc<Py<PyAny>>>> = Mutex::new(None);

/// Sends llama.cpp's log lines to `callback(level, line)`; None sends them to Python's logging again.
#[pyfunction]
#[pyo3(signature = (callback, /))]
pub fn set_log_callback(callback: Option<Py<PyAny>>) {
    let callback = callback.map(Arc::new);
    let previous = std::mem::replace(
        &mut *CALLBACK.lock().unwrap_or_else(PoisonError::into_inner),
        callback,
    );
    // Dropped with the lock released: a destructor could log.
    drop(previous);
}

/// Takes the log over from llama.cpp's default, which writes to stderr.
pub fn install() {
    set_log_sink(Some(Arc::new(|level, line: &str| {
        // At interpreter exit there is nobody left to tell.
        Python::try_attach(|py| {
            if let Err(error) = deliver(py, level, line) {
                error.write_unraisable(py, None);
            }
        });
    })));
}

fn deliver(py: Python<'_>, level: LogLevel, line: &str) -> PyResult<()> {
    // Python's own numbers: DEBUG, INFO, WARNING, ERROR. llama.cpp's "info" is what Python calls debugging.
    let number = match level {
        LogLevel::Debug | LogLevel::Info => 10,
        LogLevel::Warn => 30,
        LogLevel::Error => 40,
    };
    let callback = CALLBACK
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    match callback {
        Some(callback) => callback.call1(py, (number, line))?,
        None => {
            let logger = py
                .import("logging")?
                .call_method1("getLogger", ("tabagent_model.llama",))?;
            logger.call_method1("log", (number, "%s", line))?.unbind()
        }
    };
    Ok(())
}
