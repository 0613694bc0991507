//! Vectors of texts and scores of documents, beside what generates: one computation at a time, on the caller's thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use tabagent_engine::Token;
use tabagent_gguf::Summary;
use tabagent_llama::{EmbedError, Embedder, EmbedderOptions, Pooling, TokenizeError};

use crate::errors::{IntoPyErr, Kind, error, invalid};
use crate::session::Session;

/// While text is generated, vectors get this part of the cores: they are many computations in a row, and every stream
/// would wait for each.
const SHARE_WHILE_GENERATING: u32 = 4;

/// What makes vectors of a model's texts. Its memory is taken when it is first used.
pub struct Vectors {
    embedder: Mutex<Option<Embedder>>,
    options: EmbedderOptions,
    threads: u32,
    stopped: AtomicBool,
}

/// What texts became, and how many tokens they were.
pub struct Read<T> {
    pub values: T,
    pub tokens: usize,
}

/// How a model reads texts of up to `longest` tokens: as its file says, else by the average of their tokens.
pub fn options(summary: &Summary, longest: u32) -> EmbedderOptions {
    let pooling = summary.pooling.and_then(Pooling::from_name);
    EmbedderOptions {
        pooling: pooling.unwrap_or(Pooling::Mean),
        longest,
    }
}

impl Vectors {
    /// For texts of up to `longest` tokens.
    pub fn new(summary: &Summary, longest: u32, threads: Option<u32>) -> Self {
        Self {
            embedder: Mutex::default(),
            options: options(summary, longest),
            threads: threads
                .unwrap_or_else(|| tabagent_hardware::cpu::detect().suggested_threads()),
            stopped: AtomicBool::new(false),
        }
    }

    /// How the vector of a text is made.
    pub fn pooling(&self) -> Pooling {
        self.options.pooling
    }

    /// Most tokens of a text.
    pub fn longest(&self) -> u32 {
        self.options.longest
    }

    /// Stops what is computed, waits for it, and gives the memory back.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.lock().take();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Embedder>> {
        self.embedder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn threads(&self, session: &Session) -> u32 {
        if session.is_generating() {
            (self.threads / SHARE_WHILE_GENERATING).max(1)
        } else {
            self.threads
        }
    }
}

/// A vector for each text.
pub fn embed(
    py: Python<'_>,
    session: &Session,
    texts: &[String],
    normalize: bool,
    between: Option<Py<PyAny>>,
) -> PyResult<Read<Vec<Vec<f32>>>> {
    if session.vectors().pooling() == Pooling::Rank {
        let problem = "embeddings (this model scores documents)";
        return Err(error(Kind::Unsupported, problem));
    }
    check_texts("texts", texts)?;
    let tokenize = |index: usize| session.model().tokenize(&texts[index], true, false);
    let tokens = tokenize_all(py, texts.len(), tokenize)?;
    compute(py, session, &tokens, between, |embedder, pace| {
        embedder.embed(&tokens, normalize, pace)
    })
}

/// How well each document answers the query.
pub fn score(
    py: Python<'_>,
    session: &Session,
    query: &str,
    documents: &[String],
    between: Option<Py<PyAny>>,
) -> PyResult<Read<Vec<f32>>> {
    if session.vectors().pooling() != Pooling::Rank {
        let problem = "reranking (this model has no classification head that scores documents)";
        return Err(error(Kind::Unsupported, problem));
    }
    check_texts("documents", documents)?;
    let tokenize = |index: usize| session.model().tokenize_pair(query, &documents[index]);
    let tokens = tokenize_all(py, documents.len(), tokenize)?;
    compute(py, session, &tokens, between, |embedder, pace| {
        embedder.score(&tokens, pace)
    })
}

/// A text of nothing would be read as the tokens that the model puts around every text.
fn check_texts(name: &str, texts: &[String]) -> PyResult<()> {
    match texts.iter().position(String::is_empty) {
        Some(index) => Err(invalid(&format!("{name}[{index}]"), "is empty")),
        None => Ok(()),
    }
}

fn tokenize_all(
    py: Python<'_>,
    count: usize,
    tokenize: impl Fn(usize) -> Result<Vec<Token>, TokenizeError> + Send + Sync,
) -> PyResult<Vec<Vec<Token>>> {
    py.detach(|| (0..count).map(tokenize).collect::<Result<_, _>>())
        .map_err(IntoPyErr::into_py_err)
}

type Pace<'a> = &'a mut (dyn FnMut() -> Option<u32> + 'a);

/// Runs a computation on the embedder, which is made first if need be, with the GIL released.
fn compute<T: Send>(
    py: Python<'_>,
    session: &Session,
    texts: &[Vec<Token>],
    between: Option<Py<PyAny>>,
    work: impl FnOnce(&mut Embedder, Pace<'_>) -> Result<T, EmbedError> + Send,
) -> PyResult<Read<T>> {
    session.check_process()?;
    let vectors = session.vectors();
    let mut raised = None;
    let mut pace = || {
        let answer = Python::attach(|py| {
            py.check_signals()?;
            between
                .as_ref()
                .map_or(Ok(()), |ask| ask.call0(py).map(drop))
        });
        raised = answer.err();
        let go_on = raised.is_none() && !vectors.stopped.load(Ordering::Acquire);
        go_on.then(|| vectors.threads(session))
    };
    let result = py.detach(|| {
        let mut embedder = vectors.lock();
        if vectors.stopped.load(Ordering::Acquire) {
            return Err(EmbedError::Stopped);
        }
        let embedder = match embedder.take() {
            Some(made) => embedder.insert(made),
            None => embedder.insert(Embedder::new(session.shared_model(), vectors.options)?),
        };
        work(embedder, &mut pace)
    });
    match raised {
        Some(raised) => Err(raised),
        None => Ok(Read {
            values: result.map_err(IntoPyErr::into_py_err)?,
            tokens: texts.iter().map(Vec::len).sum(),
        }),
    }
}
