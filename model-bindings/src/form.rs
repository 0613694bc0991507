//! `response_format`: what an answer must look like, from Python to the engine.

use std::sync::{Arc, OnceLock};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use tabagent_engine::Token;
use tabagent_engine::form::{Constraint, Form, FormError, Forms, Tokenize, VocabularyBytes};
use tabagent_llama::Model;

use crate::errors::invalid;

const TYPES: &str = "text, json_object, json_schema, regex, grammar";

/// The form that a mapping such as `{"type": "regex", "regex": "…"}` asks for; `None` for `{"type": "text"}`.
pub fn form(given: &Bound<'_, PyAny>) -> PyResult<Option<Form>> {
    let given = given
        .cast::<PyDict>()
        .map_err(|_| invalid("response_format", "is not a dict with a member \"type\""))?;
    let kind: String = match given.get_item("type")? {
        Some(kind) => kind.extract()?,
        None => return Err(invalid("response_format", "has no member \"type\"")),
    };
    let member = match kind.as_str() {
        "text" | "json_object" => None,
        "json_schema" => Some("json_schema"),
        "regex" => Some("regex"),
        "grammar" => Some("grammar"),
        _ => {
            let problem = format!("has the type {kind:?}; possible are {TYPES}");
            return Err(invalid("response_format", problem));
        }
    };
    for name in given.keys() {
        let name: String = name.extract()?;
        let is_part = name == "parts" && member == Some("grammar");
        if name != "type" && Some(name.as_str()) != member && !is_part {
            let problem = format!("of type {kind} has a member {name:?}");
            return Err(invalid("response_format", problem));
        }
    }
    let Some(member) = member else {
        return Ok((kind == "json_object").then_some(Form::JsonObject));
    };
    let value = given.get_item(member)?.ok_or_else(|| {
        let problem = format!("of type {kind} has no member {member:?}");
        invalid("response_format", problem)
    })?;
    let text = text(member, &value)?;
    Ok(Some(match member {
        "json_schema" => Form::JsonSchema(text),
        "regex" => Form::Regex(text),
        _ => match given.get_item("parts")? {
            Some(given) => Form::Composed {
                lark: text,
                parts: parts(&given)?,
            },
            None => Form::Lark(text),
        },
    }))
}

/// The forms that `@name` means in a grammar.
fn parts(given: &Bound<'_, PyAny>) -> PyResult<Vec<(String, Form)>> {
    let given = given
        .cast::<PyDict>()
        .map_err(|_| invalid("response_format", ".parts is not a dict"))?;
    let part = |(name, part): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
        let name: String = name.extract()?;
        match form(&part)? {
            Some(form) => Ok((name, form)),
            None => Err(invalid(
                "response_format",
                format!(".parts: {name:?} is no form"),
            )),
        }
    };
    given.iter().map(part).collect()
}

/// A member as text: as it stands, and a schema that is no text as JSON.
fn text(member: &str, value: &Bound<'_, PyAny>) -> PyResult<String> {
    if let Ok(text) = value.cast::<PyString>() {
        return text.extract();
    }
    if member != "json_schema" {
        return Err(invalid(
            "response_format",
            format!(".{member} is not a str"),
        ));
    }
    let json = value.py().import("json")?;
    json.call_method1("dumps", (value,))
        .map_err(|error| {
            invalid(
                "response_format",
                format!(".json_schema is not JSON: {error}"),
            )
        })?
        .extract()
}

/// What compiles forms for a model; made when one is first asked for.
#[derive(Default)]
pub struct LazyForms(OnceLock<Result<Forms, FormError>>);

impl LazyForms {
    /// A constraint for an answer of this form, with the GIL released. The first one takes some tens of milliseconds
    /// longer where the vocabulary is large.
    pub fn constrain(
        &self,
        py: Python<'_>,
        form: &Form,
        vocabulary: impl FnOnce() -> VocabularyBytes + Send,
    ) -> PyResult<Constraint> {
        let constrain = || {
            let forms = self.0.get_or_init(|| Forms::new(vocabulary()));
            forms.as_ref().map_err(Clone::clone)?.constrain(form)
        };
        py.detach(constrain).map_err(|FormError { problem }| {
            invalid("response_format", format!("cannot be met: {problem}"))
        })
    }
}

/// A model's vocabulary as forms see it.
pub fn vocabulary(model: &Arc<Model>) -> VocabularyBytes {
    let vocab = model.vocab();
    let ids = 0..Token::try_from(vocab.n_tokens).unwrap_or(Token::MAX);
    let bytes = |token| {
        let mut bytes = Vec::new();
        model.token_bytes(token, &mut bytes);
        bytes
    };
    let tokenize = vocab.tokenizes_alike_anywhere().then(|| {
        let model = Arc::clone(model);
        // A text that cannot be tokenized is put together from the longest tokens that there are.
        let tokenize = move |text: &str| model.tokenize(text, false, false).unwrap_or_default();
        Arc::new(tokenize) as Tokenize
    });
    VocabularyBytes {
        tokens: ids.map(bytes).collect(),
        ends: vocab.eog.clone(),
        tokenize,
    }
}
