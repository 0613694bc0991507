//! Keyword arguments of a generation, turned into the engine's request. One table of names for every method.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use tabagent_engine::form::Form;
use tabagent_engine::{Request, SamplingParams, Token};

use crate::adapters::Adapters;
use crate::errors::invalid;
use crate::session::Session;

/// Seeds that are chosen for the caller are at most this: a JSON number keeps them exactly.
const SEED_MASK: u64 = (1 << 53) - 1;

/// Where a prompt comes from and how its text is read.
pub enum Prompt<'a> {
    /// Text, with the caller's `add_special` and `parse_special`.
    Text(&'a str),
    /// Tokens.
    Tokens(Vec<Token>),
}

/// A prompt from Python: `str`, or a list of token ids.
pub fn prompt<'a>(given: &'a Bound<'_, PyAny>) -> PyResult<Prompt<'a>> {
    if let Ok(text) = given.cast::<PyString>() {
        let text = text
            .to_str()
            .map_err(|_| invalid("prompt", "is not valid Unicode (it has lone surrogates)"))?;
        return Ok(Prompt::Text(text));
    }
    let tokens = given
        .extract()
        .map_err(|_| PyTypeError::new_err("prompt must be a str or a list of token ids"))?;
    Ok(Prompt::Tokens(tokens))
}

/// Builds the request. Unknown names raise `TypeError`, as Python itself would.
pub fn request(
    session: &Session,
    method: &str,
    prompt: Prompt<'_>,
    max_tokens: i64,
    options: Option<&Bound<'_, PyDict>>,
    py: Python<'_>,
) -> PyResult<Request> {
    let (mut request, reading) = read(method, max_tokens, options)?;
    request.adapters = session.adapters().choose(&reading.adapters)?;
    if let Some(form) = &reading.form {
        request.form = Some(session.constrain(py, form)?);
    }
    request.prompt = match prompt {
        Prompt::Tokens(tokens) => tokens,
        // With a token added before it, nothing would pass for something.
        Prompt::Text("") => return Err(invalid("prompt", "is empty")),
        Prompt::Text(text) => {
            session.tokenize(py, text, reading.add_special, reading.parse_special)?
        }
    };
    Ok(request)
}

/// A request for the continuation of tokens, and the form that its answer must have.
pub fn request_of_tokens(
    method: &str,
    prompt: Vec<Token>,
    max_tokens: i64,
    options: Option<&Bound<'_, PyDict>>,
    adapters: &Adapters,
) -> PyResult<(Request, Option<Form>)> {
    let (mut request, reading) = read(method, max_tokens, options)?;
    request.adapters = adapters.choose(&reading.adapters)?;
    request.prompt = prompt;
    Ok((request, reading.form))
}

fn read(
    method: &str,
    max_tokens: i64,
    options: Option<&Bound<'_, PyDict>>,
) -> PyResult<(Request, Reading)> {
    let mut reading = Reading {
        add_special: true,
        parse_special: false,
        form: None,
        adapters: Vec::new(),
    };
    let mut request = Request::new(Vec::new(), length("max_tokens", max_tokens)?);
    request.sampling.seed = RandomState::new().build_hasher().finish() & SEED_MASK;
    for (name, value) in options.into_iter().flatten() {
        let name: String = name.extract()?;
        if name == "response_format" {
            if !value.is_none() {
                reading.form = crate::form::form(&value)?;
            }
        } else if !set(&mut request, &mut reading, &name, &value)? {
            return Err(PyTypeError::new_err(format!(
                "{method}() got an unexpected keyword argument '{name}'"
            )));
        }
    }
    Ok((request, reading))
}

struct Reading {
    add_special: bool,
    parse_special: bool,
    form: Option<Form>,
    /// By name, with their scales.
    adapters: Vec<(String, f32)>,
}

/// Sets one option; false for a name that there is not. `None` leaves the default.
fn set(
    request: &mut Request,
    reading: &mut Reading,
    name: &str,
    value: &Bound<'_, PyAny>,
) -> PyResult<bool> {
    let sampling: &mut SamplingParams = &mut request.sampling;
    let given = !value.is_none();
    match name {
        "temperature" if given => sampling.temperature = value.extract()?,
        "top_k" if given => sampling.top_k = length(name, value.extract()?)?,
        "top_p" if given => sampling.top_p = value.extract()?,
        "min_p" if given => sampling.min_p = value.extract()?,
        "repeat_penalty" if given => sampling.repeat_penalty = value.extract()?,
        "repeat_last_n" if given => sampling.repeat_last_n = value.extract()?,
        "presence_penalty" if given => sampling.presence_penalty = value.extract()?,
        "frequency_penalty" if given => sampling.frequency_penalty = value.extract()?,
        "logit_bias" if given => {
            sampling.logit_bias = value
                .extract::<HashMap<Token, f32>>()?
                .into_iter()
                .collect()
        }
        "seed" if given => {
            sampling.seed = value
                .extract()
                .map_err(|_| invalid("seed", "is not between 0 and 2**64 - 1"))?
        }
        "stop" if given => request.stop = stop_strings(value)?,
        "spelled" if given => {
            let names: HashMap<Token, String> = value.extract()?;
            request.spelled = names.into_iter().collect();
        }
        "logprobs" if given => {
            request.logprobs = Some(
                value
                    .extract()
                    .map_err(|_| invalid("logprobs", "is not between 0 and 20"))?,
            );
        }
        "ignore_eos" if given => request.ignore_eos = value.extract()?,
        "priority" if given => {
            let priority: i8 = value
                .extract()
                .map_err(|_| invalid("priority", "is not between -10 and 10"))?;
            if !(-10..=10).contains(&priority) {
                return Err(invalid("priority", "is not between -10 and 10"));
            }
            request.priority = priority;
        }
        "timeout_s" if given => request.deadline = Some(deadline(value.extract()?)?),
        "prefix_cache" if given => request.prefix_cache = value.extract()?,
        "deterministic" if given => request.deterministic = value.extract()?,
        "context_shift" if given => {
            request.context_shift = Some(length(name, value.extract()?)? as usize)
        }
        "public_prefix" if given => request.public_prefix = value.extract()?,
        "identity" if given => request.identity = value.extract()?,
        "adapters" if given => reading.adapters = value.extract()?,
        "add_special" if given => reading.add_special = value.extract()?,
        "parse_special" if given => reading.parse_special = value.extract()?,
        "temperature" | "top_k" | "top_p" | "min_p" | "repeat_penalty" | "repeat_last_n"
        | "presence_penalty" | "frequency_penalty" | "logit_bias" | "seed" | "stop" | "spelled"
        | "logprobs" | "ignore_eos" | "priority" | "timeout_s" | "prefix_cache"
        | "deterministic" | "context_shift" | "identity" | "public_prefix" | "add_special"
        | "parse_special" | "adapters" => {}
        _ => return Ok(false),
    }
    Ok(true)
}

fn length(name: &str, value: i64) -> PyResult<u32> {
    u32::try_from(value).map_err(|_| {
        invalid(
            name,
            format!("is {value}; it must be between 0 and {}", u32::MAX),
        )
    })
}

/// The moment so many seconds from now.
fn deadline(seconds: f64) -> PyResult<Instant> {
    let time = Duration::try_from_secs_f64(seconds).ok();
    let deadline = time.and_then(|time| Instant::now().checked_add(time));
    deadline.ok_or_else(|| {
        invalid(
            "timeout_s",
            format!("is {seconds}, which is no time to wait"),
        )
    })
}

fn stop_strings(value: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    match value.cast::<PyString>() {
        Ok(single) => Ok(vec![single.extract()?]),
        Err(_) => value.extract(),
    }
}
