//! The exceptions that Python sees: one table, and every Rust error's way into it.

use pyo3::exceptions::{PyException, PyFileNotFoundError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyTuple, PyType};
use tabagent_engine::SubmitError;
use tabagent_gguf::{GgufError, Problem};
use tabagent_llama::{
    ContextError, EmbedError, LoadError, OpenError, QuantizeError, TokenizeError,
};

/// Every exception class of this package, in the order in which they are made: a base before its children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Tabagent,
    Load,
    ModelFileNotFound,
    InvalidGguf,
    LibraryNotFound,
    AbiMismatch,
    InsufficientMemory,
    LoadCancelled,
    NotLoaded,
    InvalidArgument,
    ContextOverflow,
    Template,
    Inference,
    Unsupported,
}

/// Name, parent, a built-in that it is as well, and what it means.
struct Row(Kind, &'static str, Option<Kind>, Builtin, &'static str);

enum Builtin {
    None,
    Runtime,
    FileNotFound,
    Value,
}

const TABLE: [Row; 14] = [
    Row(
        Kind::Tabagent,
        "TabagentError",
        None,
        Builtin::Runtime,
        "Anything that this package refuses or fails to do.",
    ),
    Row(
        Kind::Load,
        "LoadError",
        Some(Kind::Tabagent),
        Builtin::None,
        "A model cannot be loaded.",
    ),
    Row(
        Kind::ModelFileNotFound,
        "ModelFileNotFoundError",
        Some(Kind::Load),
        Builtin::FileNotFound,
        "There is no such model file.",
    ),
    Row(
        Kind::InvalidGguf,
        "InvalidGgufError",
        Some(Kind::Load),
        Builtin::None,
        "The model file is no sound GGUF file, or holds no model that can be run.",
    ),
    Row(
        Kind::LibraryNotFound,
        "LibraryNotFoundError",
        Some(Kind::Load),
        Builtin::FileNotFound,
        "There is no llama.cpp library at that path, or none at all.",
    ),
    Row(
        Kind::AbiMismatch,
        "AbiMismatchError",
        Some(Kind::Load),
        Builtin::None,
        "The library is not one that this package was built for, so opening it would not be safe.",
    ),
    Row(
        Kind::InsufficientMemory,
        "InsufficientMemoryError",
        Some(Kind::Load),
        Builtin::None,
        "There is not enough memory for the model or its context.",
    ),
    Row(
        Kind::LoadCancelled,
        "LoadCancelledError",
        Some(Kind::Load),
        Builtin::None,
        "The progress function said no.",
    ),
    Row(
        Kind::NotLoaded,
        "NotLoadedError",
        Some(Kind::Tabagent),
        Builtin::None,
        "No model is loaded (any more).",
    ),
    Row(
        Kind::InvalidArgument,
        "InvalidArgumentError",
        Some(Kind::Tabagent),
        Builtin::Value,
        "An argument is outside of what is possible.",
    ),
    Row(
        Kind::ContextOverflow,
        "ContextOverflowError",
        Some(Kind::Tabagent),
        Builtin::None,
        "The prompt does not fit the context.",
    ),
    Row(
        Kind::Template,
        "TemplateError",
        Some(Kind::Tabagent),
        Builtin::None,
        "The chat template cannot be rendered.",
    ),
    Row(
        Kind::Inference,
        "InferenceError",
        Some(Kind::Tabagent),
        Builtin::None,
        "Computing failed.",
    ),
    Row(
        Kind::Unsupported,
        "UnsupportedError",
        Some(Kind::Tabagent),
        Builtin::None,
        "A model of this kind cannot do what is asked.",
    ),
];

static CLASSES: PyOnceLock<Vec<Py<PyType>>> = PyOnceLock::new();

/// Makes the classes and puts them into the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let classes = CLASSES.get_or_try_init(py, || make_classes(py))?;
    for (row, class) in TABLE.iter().zip(classes) {
        module.add(row.1, class)?;
    }
    Ok(())
}

fn make_classes(py: Python<'_>) -> PyResult<Vec<Py<PyType>>> {
    let mut classes: Vec<Py<PyType>> = Vec::with_capacity(TABLE.len());
    for Row(_, name, parent, builtin, doc) in &TABLE {
        let parent = parent
            .and_then(|parent| class_of(&classes, parent))
            .map(|class| class.bind(py).clone());
        let builtin = match builtin {
            Builtin::None => None,
            Builtin::Runtime => Some(py.get_type::<PyRuntimeError>()),
            Builtin::FileNotFound => Some(py.get_type::<PyFileNotFoundError>()),
            Builtin::Value => Some(py.get_type::<PyValueError>()),
        };
        let bases: Vec<_> = parent.into_iter().chain(builtin).collect();
        let bases = PyTuple::new(py, bases)?;
        let attributes = pyo3::types::PyDict::new(py);
        attributes.set_item("__module__", "tabagent_model")?;
        attributes.set_item("__doc__", doc)?;
        let class = py.get_type::<PyType>().call1((*name, bases, attributes))?;
        classes.push(class.cast_into::<PyType>()?.unbind());
    }
    Ok(classes)
}

fn class_of(classes: &[Py<PyType>], kind: Kind) -> Option<&Py<PyType>> {
    TABLE
        .iter()
        .zip(classes)
        .find(|(row, _)| row.0 == kind)
        .map(|(_, class)| class)
}

/// An exception of that kind.
pub fn error(kind: Kind, message: impl Into<String>) -> PyErr {
    let message = message.into();
    Python::attach(
        |py| match CLASSES.get(py).and_then(|classes| class_of(classes, kind)) {
            Some(class) => PyErr::from_type(class.bind(py).clone(), message),
            // Only before the module is initialized, and nothing runs then.
            None => PyException::new_err(message),
        },
    )
}

/// The exception for a text that is too long; it has the figures as attributes.
fn overflow(message: String, tokens: usize, limit: usize) -> PyErr {
    let overflow = error(Kind::ContextOverflow, message);
    Python::attach(|py| {
        let value = overflow.value(py);
        let told = value
            .setattr("tokens", tokens)
            .and_then(|()| value.setattr("limit", limit));
        told.err().unwrap_or(overflow)
    })
}

/// The exception for an argument that is wrong: `name problem`.
pub fn invalid(name: &str, problem: impl std::fmt::Display) -> PyErr {
    error(Kind::InvalidArgument, format!("{name} {problem}"))
}

/// Translates the errors of the crates below, once, here.
pub trait IntoPyErr {
    /// The exception for it.
    fn into_py_err(self) -> PyErr;
}

impl IntoPyErr for GgufError {
    fn into_py_err(self) -> PyErr {
        let kind = match self.problem {
            Problem::NotFound => Kind::ModelFileNotFound,
            Problem::Io(_) => Kind::Load,
            _ => Kind::InvalidGguf,
        };
        error(kind, self.to_string())
    }
}

impl IntoPyErr for OpenError {
    fn into_py_err(self) -> PyErr {
        let kind = match self {
            Self::NotFound { .. } => Kind::LibraryNotFound,
            _ => Kind::AbiMismatch,
        };
        error(kind, self.to_string())
    }
}

impl IntoPyErr for LoadError {
    fn into_py_err(self) -> PyErr {
        let kind = match self {
            Self::NotFound { .. } => Kind::ModelFileNotFound,
            Self::NotGguf { .. } | Self::NotAFile { .. } => Kind::InvalidGguf,
            Self::Cancelled { .. } => Kind::LoadCancelled,
            Self::OutOfMemory { .. } => Kind::InsufficientMemory,
            Self::NoGpu { .. } => Kind::Unsupported,
            _ => Kind::Load,
        };
        error(kind, self.to_string())
    }
}

impl IntoPyErr for TokenizeError {
    fn into_py_err(self) -> PyErr {
        let kind = match self {
            Self::OutOfRange { .. } | Self::TooLong { .. } => Kind::InvalidArgument,
            _ => Kind::Inference,
        };
        error(kind, self.to_string())
    }
}

impl IntoPyErr for SubmitError {
    fn into_py_err(self) -> PyErr {
        let kind = match self {
            Self::EmptyPrompt | Self::InvalidToken { .. } | Self::InvalidParameter { .. } => {
                Kind::InvalidArgument
            }
            Self::PromptTooLong { tokens, limit } => {
                return overflow(self.to_string(), tokens, limit);
            }
            Self::ShutDown => Kind::NotLoaded,
            _ => Kind::Inference,
        };
        error(kind, self.to_string())
    }
}

impl IntoPyErr for EmbedError {
    fn into_py_err(self) -> PyErr {
        let message = self.to_string();
        let kind = match self {
            Self::TooLong { tokens, limit, .. } => return overflow(message, tokens, limit),
            Self::Context(error) => return error.into_py_err(),
            Self::Empty { .. } | Self::InvalidToken { .. } => Kind::InvalidArgument,
            Self::Failed { .. } => Kind::Inference,
            Self::Stopped => Kind::NotLoaded,
        };
        error(kind, message)
    }
}

impl IntoPyErr for ContextError {
    fn into_py_err(self) -> PyErr {
        let kind = match self {
            Self::VocabOnly => Kind::NotLoaded,
            Self::Invalid { .. } | Self::Incompatible(_) => Kind::InvalidArgument,
            Self::TooLarge { .. } | Self::OutOfMemory { .. } => Kind::InsufficientMemory,
            Self::NotGenerative { .. } | Self::Refused { .. } => Kind::Load,
        };
        error(kind, self.to_string())
    }
}

impl IntoPyErr for QuantizeError {
    fn into_py_err(self) -> PyErr {
        let kind = match self {
            Self::UnknownType { .. } | Self::Path { .. } => Kind::InvalidArgument,
            Self::Defaults => Kind::AbiMismatch,
            Self::Refused { .. } => Kind::Inference,
        };
        error(kind, self.to_string())
    }
}
