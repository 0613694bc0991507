//! A model that Python computes (torch, onnxruntime), as a backend of the engine.
//!
//! The engine's thread holds the GIL during a decode; libraries release it while they compute.

use std::collections::HashSet;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use tabagent_engine::form::VocabularyBytes;
use tabagent_engine::{
    AbortFlag, AdapterSet, Backend, BackendError, BatchEntry, DecodeOutcome, Limits, ModelInfo,
    Pos, SeqId, Token,
};

use crate::adapters::Adapters;
use crate::events::Texts;

/// What tokens stand for.
pub struct Vocabulary {
    /// By token, its bytes; of a control token its name.
    pub pieces: Vec<Vec<u8>>,
    /// Tokens that are no part of a text.
    pub control: HashSet<Token>,
}

impl Vocabulary {
    fn piece(&self, token: Token) -> Option<&Vec<u8>> {
        usize::try_from(token)
            .ok()
            .and_then(|index| self.pieces.get(index))
    }
}

impl Vocabulary {
    /// As forms see it. There is no tokenizer here: the model chooses all tokens itself.
    pub fn of_forms(&self, ends: &[Token]) -> VocabularyBytes {
        let ids = 0..Token::try_from(self.pieces.len()).unwrap_or(Token::MAX);
        let bytes = |(token, piece): (Token, &Vec<u8>)| match self.control.contains(&token) {
            true => Vec::new(),
            false => piece.clone(),
        };
        VocabularyBytes {
            tokens: ids.zip(&self.pieces).map(bytes).collect(),
            ends: ends.to_vec(),
            tokenize: None,
        }
    }
}

impl Texts for Vocabulary {
    fn text(&self, token: Token, out: &mut Vec<u8>) {
        out.extend(self.piece(token).into_iter().flatten());
    }
}

/// The backend. `object` is a `Forward` of `_native.pyi`.
pub struct Forward {
    object: Py<PyAny>,
    model: ModelInfo,
    limits: Limits,
    vocabulary: Arc<Vocabulary>,
    adapters: Arc<Adapters>,
    /// By sequence, how many tokens its cache holds.
    lengths: Vec<usize>,
    logits: Vec<f32>,
    /// By index of the last batch, its row of logits.
    rows: Vec<Option<usize>>,
}

/// What a batch has for one sequence: where it begins, its tokens, and after how many of the last of them logits are
/// wanted.
type Span = (SeqId, usize, Vec<Token>, usize);

impl Forward {
    /// A backend over `object`. Its sequences share no cells.
    pub fn new(
        object: Py<PyAny>,
        model: ModelInfo,
        limits: Limits,
        vocabulary: Arc<Vocabulary>,
        adapters: Arc<Adapters>,
    ) -> Self {
        Self {
            object,
            lengths: vec![0; limits.n_seq_max as usize],
            model,
            limits,
            vocabulary,
            adapters,
            logits: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// The batch by sequence, and for each of its entries the row of logits.
    fn spans(batch: &[BatchEntry]) -> (Vec<Span>, Vec<Option<usize>>) {
        let mut spans: Vec<Span> = Vec::new();
        let mut rows = Vec::with_capacity(batch.len());
        let mut next = 0;
        for entry in batch {
            match spans.last_mut() {
                Some(span) if span.0 == entry.seq => span.2.push(entry.token),
                _ => {
                    let start = usize::try_from(entry.pos).unwrap_or_default();
                    spans.push((entry.seq, start, vec![entry.token], 0));
                }
            }
            // From the first output of a sequence on, all of its entries get a row.
            if let Some(span) = spans.last_mut()
                && (entry.output || span.3 > 0)
            {
                span.3 += 1;
                rows.push(entry.output.then_some(next));
                next += 1;
            } else {
                rows.push(None);
            }
        }
        (spans, rows)
    }

    /// Has Python compute; the logits it answers are all rows, one after the other.
    fn compute(&self, spans: Vec<Span>) -> PyResult<Vec<f32>> {
        Python::attach(|py| {
            let answer = self
                .object
                .bind(py)
                .call_method1("decode", (PyList::new(py, spans)?,))?;
            let floats = answer.cast::<PyBytes>()?.as_bytes().chunks_exact(4);
            Ok(floats
                .map(|four| f32::from_ne_bytes([four[0], four[1], four[2], four[3]]))
                .collect())
        })
    }
}

impl Backend for Forward {
    fn model(&self) -> &ModelInfo {
        &self.model
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    fn token_bytes(&self, token: Token, out: &mut Vec<u8>) {
        if !self.vocabulary.control.contains(&token) {
            self.vocabulary.text(token, out);
        }
    }

    fn use_adapters(&mut self, adapters: &AdapterSet) -> Result<(), BackendError> {
        let named = self.adapters.named(adapters);
        let used = Python::attach(|py| {
            let used = self.object.call_method1(py, "use_adapters", (named,));
            used.map(drop)
        });
        used.map_err(|error| BackendError::recoverable(error.to_string()))
    }

    fn decode(
        &mut self,
        batch: &[BatchEntry],
        abort: &AbortFlag,
    ) -> Result<DecodeOutcome, BackendError> {
        self.rows.clear();
        // What runs in Python cannot be stopped in its middle.
        if abort.is_raised() {
            return Ok(DecodeOutcome::Aborted);
        }
        let (spans, rows) = Self::spans(batch);
        let wanted = rows.iter().flatten().max().map_or(0, |last| last + 1);
        let ends: Vec<_> = spans
            .iter()
            .map(|span| (span.0, span.1 + span.2.len()))
            .collect();
        let logits = self
            .compute(spans)
            .map_err(|error| BackendError::recoverable(error.to_string()))?;
        if logits.len() < wanted * self.model.n_vocab {
            let message = format!("{} logits for {wanted} rows", logits.len());
            return Err(BackendError::fatal(message));
        }
        for (seq, end) in ends {
            self.lengths[seq as usize] = end;
        }
        (self.logits, self.rows) = (logits, rows);
        Ok(DecodeOutcome::Done)
    }

    fn logits(&self, batch_index: usize) -> Result<&[f32], BackendError> {
        let n_vocab = self.model.n_vocab;
        let row = self.rows.get(batch_index).copied().flatten();
        row.and_then(|row| self.logits.get(row * n_vocab..(row + 1) * n_vocab))
            .ok_or_else(|| BackendError::recoverable(format!("entry {batch_index} has no logits")))
    }

    fn seq_remove(&mut self, seq: SeqId, from: Pos, to: Option<Pos>) -> bool {
        let from = usize::try_from(from).unwrap_or_default();
        let length = &mut self.lengths[seq as usize];
        if to.is_some_and(|to| usize::try_from(to).is_ok_and(|to| to < *length)) {
            return false;
        }
        if from < *length {
            *length = from;
            let cut = |py: Python<'_>| self.object.call_method1(py, "cut", (seq, from));
            if let Err(error) = Python::attach(|py| cut(py).map(drop)) {
                // The lengths above are what counts; the object only frees memory.
                Python::attach(|py| error.write_unraisable(py, None));
            }
        }
        true
    }

    fn seq_copy(&mut self, _: SeqId, _: SeqId, _: Pos, _: Option<Pos>) {
        debug_assert!(false, "these sequences share nothing");
    }

    fn seq_max_pos(&self, seq: SeqId) -> Option<Pos> {
        let last = self.lengths[seq as usize].checked_sub(1)?;
        Some(Pos::try_from(last).unwrap_or(Pos::MAX))
    }
}
