//! Where llama.cpp's log goes: to a sink that the host sets, to stderr without one, and never to stdout.
//!
//! llama.cpp logs in fragments; they are joined to whole lines here, for each thread apart. Errors of the
//! current thread can be collected too: for many failures the log is the only place where the reason stands.

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock};

/// How grave a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Details for developers of llama.cpp.
    Debug,
    /// What the library is doing.
    Info,
    /// Something is not as it should be, and work goes on.
    Warn,
    /// Something failed.
    Error,
}

/// Receives whole lines without their line end, from whichever thread logs. It must not call into the runtime.
pub type LogSink = dyn Fn(LogLevel, &str) + Send + Sync;

static SINK: RwLock<Option<Arc<LogSink>>> = RwLock::new(None);

thread_local! {
    static THREAD: RefCell<ThreadLog> = const { RefCell::new(ThreadLog { level: LogLevel::Info, line: String::new(), errors: None }) };
}

struct ThreadLog {
    /// Level of the line begun in `line`.
    level: LogLevel,
    line: String,
    /// Error lines, while [`collect_errors`] runs on this thread.
    errors: Option<Vec<String>>,
}

/// A line without an end is passed on when it has grown to this many bytes.
const MAX_LINE: usize = 16 * 1024;
/// Most error lines that [`collect_errors`] keeps.
const MAX_ERRORS: usize = 16;

/// Sets the process's sink for llama.cpp's log; `None` sends warnings and errors to stderr.
pub fn set_log_sink(sink: Option<Arc<LogSink>>) {
    *SINK.write().unwrap_or_else(PoisonError::into_inner) = sink;
}

/// Runs `work` and answers, beside its result, the error lines that llama.cpp logged on this thread meanwhile.
pub(crate) fn collect_errors<T>(work: impl FnOnce() -> T) -> (T, Vec<String>) {
    let outer = THREAD.with(|log| log.borrow_mut().errors.replace(Vec::new()));
    let result = work();
    let errors = THREAD.with(|log| std::mem::replace(&mut log.borrow_mut().errors, outer));
    (result, errors.unwrap_or_default())
}

/// The `ggml_log_callback` given to llama.cpp.
///
/// # Safety
/// `text` must be null or a string ended by a zero, valid during the call.
pub(crate) unsafe extern "C" fn receive(level: i32, text: *const c_char, _: *mut c_void) {
    if text.is_null() {
        return;
    }
    // SAFETY: not null, and the caller's promise.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    // A panic must not cross into C++; a sink that panics loses its line.
    let _ = catch_unwind(AssertUnwindSafe(|| add(level, &text)));
}

/// The `ggml_abort_callback_t` given to ggml: the process ends after it, so the reason must be out before.
///
/// # Safety
/// `text` must be null or a string ended by a zero, valid during the call.
pub(crate) unsafe extern "C" fn receive_assertion(text: *const c_char) {
    if text.is_null() {
        return;
    }
    // SAFETY: not null, and the caller's promise.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    let _ = catch_unwind(AssertUnwindSafe(|| {
        deliver(LogLevel::Error, &format!("ggml ends the process: {text}"))
    }));
}

/// Joins a fragment to the thread's line and delivers the lines that it completes.
fn add(level: i32, text: &str) {
    // `enum ggml_log_level`: 0 none, 1 debug, 2 info, 3 warn, 4 error, 5 goes on with the line before.
    let level = match level {
        1 => Some(LogLevel::Debug),
        3 => Some(LogLevel::Warn),
        4 => Some(LogLevel::Error),
        5 => None,
        _ => Some(LogLevel::Info),
    };
    for line in THREAD.with(|log| log.borrow_mut().take_lines(level, text)) {
        deliver(line.0, &line.1);
    }
}

impl ThreadLog {
    fn take_lines(&mut self, level: Option<LogLevel>, text: &str) -> Vec<(LogLevel, String)> {
        let mut lines = Vec::new();
        if let Some(level) = level {
            if !self.line.is_empty() {
                lines.push((self.level, std::mem::take(&mut self.line)));
            }
            self.level = level;
        }
        for fragment in text.split_inclusive('\n') {
            self.line.push_str(fragment.trim_end_matches('\n'));
            if fragment.ends_with('\n') || self.line.len() > MAX_LINE {
                lines.push((self.level, std::mem::take(&mut self.line)));
            }
        }
        lines.retain(|(_, line)| !line.trim().is_empty());
        if let Some(errors) = &mut self.errors {
            let new = lines
                .iter()
                .filter(|(level, _)| *level == LogLevel::Error)
                .map(|(_, line)| line.trim().to_owned());
            errors.extend(new);
            errors.truncate(MAX_ERRORS);
        }
        lines
    }
}

/// The sink runs without any lock or borrow held, so that it may take its time or log itself.
fn deliver(level: LogLevel, line: &str) {
    let sink = SINK.read().unwrap_or_else(PoisonError::into_inner).clone();
    match sink {
        Some(sink) => sink(level, line),
        None if level >= LogLevel::Warn => {
            use std::io::Write;
            // stderr may be closed; there is nowhere left to say so.
            let _ = writeln!(std::io::stderr(), "llama.cpp: {line}");
        }
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> ThreadLog {
        ThreadLog {
            level: LogLevel::Info,
            line: String::new(),
            errors: Some(Vec::new()),
        }
    }

    #[test]
    fn fragments_become_lines() {
        let mut log = fresh();
        assert_eq!(log.take_lines(Some(LogLevel::Info), "loading "), []);
        assert_eq!(log.take_lines(None, ".."), []);
        assert_eq!(
            log.take_lines(None, " done\nnext"),
            [(LogLevel::Info, "loading .. done".to_owned())]
        );
        assert_eq!(
            log.take_lines(Some(LogLevel::Error), "bad\n"),
            [
                (LogLevel::Info, "next".to_owned()),
                (LogLevel::Error, "bad".to_owned())
            ]
        );
        assert_eq!(log.errors, Some(vec!["bad".to_owned()]));
    }

    #[test]
    fn an_endless_line_is_passed_on() {
        let mut log = fresh();
        let lines = log.take_lines(Some(LogLevel::Info), &"x".repeat(MAX_LINE + 1));
        assert_eq!(lines.len(), 1);
        assert!(log.line.is_empty());
    }

    #[test]
    fn collected_errors_are_this_calls_only() {
        let (_, outer) = collect_errors(|| {
            add(4, "first\n");
            let (_, inner) = collect_errors(|| add(4, "second\n"));
            assert_eq!(inner, ["second"]);
        });
        assert_eq!(outer, ["first"]);
    }
}
