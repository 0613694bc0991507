//! The engine's events as Python dicts (`Event` in `_native.pyi`).

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use tabagent_engine::{Event, FinishReason, Timings, Token, TokenInfo, Usage};
use tabagent_llama::Model;

/// Why a generation ended, in the words of the protocol.
pub fn reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::Cancelled => "cancelled",
        FinishReason::Timeout => "timeout",
    }
}

/// Token counts.
pub fn usage<'py>(py: Python<'py>, usage: &Usage) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item(intern!(py, "prompt_tokens"), usage.prompt_tokens)?;
    dict.set_item(intern!(py, "completion_tokens"), usage.completion_tokens)?;
    dict.set_item(intern!(py, "cached_tokens"), usage.cached_tokens)?;
    Ok(dict)
}

/// Durations and speeds.
pub fn timings<'py>(py: Python<'py>, timings: &Timings) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item(intern!(py, "queue_ms"), timings.queue_ms)?;
    dict.set_item(intern!(py, "first_token_ms"), timings.first_token_ms)?;
    dict.set_item(
        intern!(py, "prefill_tokens_per_s"),
        timings.prefill_tokens_per_s,
    )?;
    dict.set_item(
        intern!(py, "decode_tokens_per_s"),
        timings.decode_tokens_per_s,
    )?;
    Ok(dict)
}

/// Who knows what a token stands for, control tokens included.
pub trait Texts {
    /// Appends the token's bytes to `out`.
    fn text(&self, token: Token, out: &mut Vec<u8>);
}

impl Texts for Model {
    fn text(&self, token: Token, out: &mut Vec<u8>) {
        self.token_bytes_special(token, out);
    }
}

/// Events in their order.
pub fn list<'py>(
    py: Python<'py>,
    events: &[Event],
    texts: &impl Texts,
) -> PyResult<Bound<'py, PyList>> {
    let events: Vec<_> = events
        .iter()
        .map(|each| event(py, each, texts))
        .collect::<PyResult<_>>()?;
    PyList::new(py, events)
}

/// One event. `texts` gives tokens with log-probabilities their texts.
fn event<'py>(py: Python<'py>, event: &Event, texts: &impl Texts) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item(intern!(py, "request"), event.id())?;
    let kind = intern!(py, "type");
    match event {
        Event::Started {
            prompt_tokens,
            cached_tokens,
            queue_ms,
            ..
        } => {
            dict.set_item(kind, intern!(py, "started"))?;
            dict.set_item(intern!(py, "prompt_tokens"), prompt_tokens)?;
            dict.set_item(intern!(py, "cached_tokens"), cached_tokens)?;
            dict.set_item(intern!(py, "queue_ms"), queue_ms)?;
        }
        Event::Piece { text, tokens, .. } => {
            dict.set_item(kind, intern!(py, "piece"))?;
            dict.set_item(intern!(py, "text"), text)?;
            let tokens: Vec<_> = tokens
                .iter()
                .map(|info| token(py, info, texts))
                .collect::<PyResult<_>>()?;
            dict.set_item(intern!(py, "tokens"), PyList::new(py, tokens)?)?;
        }
        Event::Finished {
            reason: why,
            usage: counts,
            timings: times,
            seed,
            ..
        } => {
            dict.set_item(kind, intern!(py, "finished"))?;
            dict.set_item(intern!(py, "reason"), reason(*why))?;
            dict.set_item(intern!(py, "usage"), usage(py, counts)?)?;
            dict.set_item(intern!(py, "timings"), timings(py, times)?)?;
            dict.set_item(intern!(py, "seed"), seed)?;
        }
        Event::Failed { error, .. } => {
            dict.set_item(kind, intern!(py, "failed"))?;
            dict.set_item(intern!(py, "error"), error)?;
        }
    }
    Ok(dict)
}

fn token<'py>(
    py: Python<'py>,
    info: &TokenInfo,
    texts: &impl Texts,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item(intern!(py, "token"), info.token)?;
    let Some(logprob) = info.logprob else {
        return Ok(dict);
    };
    describe(&dict, texts, info.token, logprob)?;
    let alternatives = PyList::empty(py);
    for alternative in &info.top {
        let entry = PyDict::new(py);
        entry.set_item(intern!(py, "token"), alternative.token)?;
        describe(&entry, texts, alternative.token, alternative.logprob)?;
        alternatives.append(entry)?;
    }
    dict.set_item(intern!(py, "top"), alternatives)?;
    Ok(dict)
}

fn describe(
    dict: &Bound<'_, PyDict>,
    texts: &impl Texts,
    token: Token,
    logprob: f32,
) -> PyResult<()> {
    let py = dict.py();
    let mut bytes = Vec::new();
    texts.text(token, &mut bytes);
    dict.set_item(intern!(py, "text"), String::from_utf8_lossy(&bytes))?;
    dict.set_item(intern!(py, "logprob"), logprob)
}
