//! Chat templates: a model's own Jinja, rendered as Transformers renders it, within limits.
//!
//! A template comes with a model file, so it is somebody else's program. It can reach nothing but the messages and
//! tools it is given: no includes, no files, no attributes of ours. Steps, output and time are bounded.

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Rest, Serde};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value, machinery};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use tabagent_llama::SpecialToken;

use crate::errors::{Kind, error};
use crate::messages;

mod control;
mod filters;
mod json;
mod meter;
mod python;
mod sandbox;

use meter::{MAX_ADDED_BYTES, Meter};

pub use control::{ControlTexts, Piece};

/// Steps of the template machine. Long conversations with tools take some ten thousand.
const MAX_STEPS: u64 = 4_000_000;
/// Bytes of a template itself.
const MAX_TEMPLATE_BYTES: usize = 128 << 10;
/// Stack of the thread that renders: values in each other and long expressions are worked through recursively.
const STACK_BYTES: usize = 64 << 20;

/// What is used for a model that brings no template: ChatML, which most others descend from.
pub const DEFAULT_TEMPLATE: &str = "\
{%- for message in messages -%}
{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '<|im_start|>assistant\\n' }}
{%- endif -%}";

/// What a template is given.
#[derive(Clone)]
pub struct Inputs {
    /// A list of maps with "role" and "content".
    pub messages: serde_json::Value,
    /// A list of tool descriptions, or null.
    pub tools: serde_json::Value,
    /// A list of documents to answer from, or null.
    pub documents: serde_json::Value,
    /// Switches of the template, by their names.
    pub options: serde_json::Value,
    /// Now, as clocks show it here, in seconds since 1970 by them.
    pub local_time: u64,
    /// Whether to end with the beginning of the answer.
    pub add_generation_prompt: bool,
    /// Text of the model's beginning-of-text token; empty where it has none.
    pub bos_token: String,
    /// Text of the model's end-of-text token; empty where it has none.
    pub eos_token: String,
}

impl Inputs {
    /// What Python gave, for a model without special tokens.
    pub fn read(
        py: Python<'_>,
        messages: &Bound<'_, PyAny>,
        tools: Option<&Bound<'_, PyAny>>,
        documents: Option<&Bound<'_, PyAny>>,
        add_generation_prompt: bool,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        Ok(Self {
            messages: messages::messages(messages)?,
            tools: messages::descriptions(tools, "tools")?,
            documents: messages::descriptions(documents, "documents")?,
            options: messages::options(options)?,
            local_time: local_time(py)?,
            add_generation_prompt,
            bos_token: String::new(),
            eos_token: String::new(),
        })
    }

    /// The same for a model that has these tokens.
    pub fn with_special_tokens(self, bos_token: String, eos_token: String) -> Self {
        Self {
            bos_token,
            eos_token,
            ..self
        }
    }
}

/// A chat template with the control tokens of the model that it is for.
#[pyclass(module = "tabagent_model", frozen)]
pub struct ChatTemplate {
    source: String,
    control: ControlTexts,
}

#[pymethods]
impl ChatTemplate {
    /// `special_tokens`: for each its text, whether plain text is free of it, and whether white space before and
    /// after it is dropped.
    #[new]
    fn new(source: String, special_tokens: Vec<(String, bool, bool, bool)>) -> Self {
        let special = special_tokens.into_iter();
        let special = special.map(|(text, control, strips_left, strips_right)| SpecialToken {
            text,
            control,
            strips_left,
            strips_right,
        });
        Self {
            source,
            control: ControlTexts::new(special.collect()),
        }
    }

    /// As `render_template`, in stretches: text, and whether control tokens that are written in it are meant.
    #[pyo3(signature = (messages, *, tools=None, documents=None, add_generation_prompt=true, bos_token="",
        eos_token="", **options))]
    #[allow(clippy::too_many_arguments)] // They are keyword arguments.
    fn pieces(
        &self,
        py: Python<'_>,
        messages: &Bound<'_, PyAny>,
        tools: Option<&Bound<'_, PyAny>>,
        documents: Option<&Bound<'_, PyAny>>,
        add_generation_prompt: bool,
        bos_token: &str,
        eos_token: &str,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Vec<Piece>> {
        let inputs = Inputs::read(
            py,
            messages,
            tools,
            documents,
            add_generation_prompt,
            options,
        )?;
        let inputs = inputs.with_special_tokens(bos_token.to_owned(), eos_token.to_owned());
        py.detach(|| self.control.pieces(&self.source, inputs))
            .map_err(|message| error(Kind::Template, message))
    }
}

/// A conversation as `template` writes it, for models that llama.cpp does not run. Tokens that a model lacks are
/// empty texts; switches of the template are further keyword arguments.
#[pyfunction]
#[pyo3(signature = (template, /, messages, *, tools=None, documents=None, add_generation_prompt=true, bos_token="",
    eos_token="", **options))]
#[allow(clippy::too_many_arguments)]
pub fn render_template(
    py: Python<'_>,
    template: &str,
    messages: &Bound<'_, PyAny>,
    tools: Option<&Bound<'_, PyAny>>,
    documents: Option<&Bound<'_, PyAny>>,
    add_generation_prompt: bool,
    bos_token: &str,
    eos_token: &str,
    options: Option<&Bound<'_, PyDict>>,
) -> PyResult<String> {
    let inputs = Inputs::read(
        py,
        messages,
        tools,
        documents,
        add_generation_prompt,
        options,
    )?;
    let inputs = inputs.with_special_tokens(bos_token.to_owned(), eos_token.to_owned());
    py.detach(|| render(template, inputs))
        .map_err(|message| error(Kind::Template, message))
}

/// Now, as clocks show it here, in seconds since 1970 by them.
fn local_time(py: Python<'_>) -> PyResult<u64> {
    let offset: i64 = py
        .import("time")?
        .call_method0("localtime")?
        .getattr("tm_gmtoff")?
        .extract()?;
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Ok(since.map_or(0, |since| since.as_secs().saturating_add_signed(offset)))
}

/// Renders `template`. Contents that are not plain text (parts of text, or none beside a call) are given to it as they
/// are, as Transformers does; to a template that does not expect them, as plain text.
///
/// # Errors
/// What is wrong with the template or with the messages, as a sentence.
pub fn render(template: &str, inputs: Inputs) -> Result<String, String> {
    render_readable(template, inputs).map(|(text, _)| text)
}

/// As [`render`]; and the inputs with the contents that the template was given.
fn render_readable(template: &str, inputs: Inputs) -> Result<(String, Inputs), String> {
    let given = render_once(template, &inputs);
    let Some(plain) = messages::plain(&inputs.messages) else {
        return given.map(|text| (text, inputs));
    };
    match given {
        Ok(text) if messages::reads_parts(&text, &inputs.messages) => Ok((text, inputs)),
        given => {
            let readable = Inputs {
                messages: plain,
                ..inputs.clone()
            };
            match render_once(template, &readable) {
                Ok(text) => Ok((text, readable)),
                Err(_) => given.map(|text| (text, inputs)),
            }
        }
    }
}

fn render_once(template: &str, inputs: &Inputs) -> Result<String, String> {
    if template.len() > MAX_TEMPLATE_BYTES {
        return Err(format!(
            "the chat template has {} bytes; {MAX_TEMPLATE_BYTES} are allowed",
            template.len()
        ));
    }
    let run = || run(template, inputs);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("chat-template".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, run)
            .map_err(|error| format!("the chat template cannot be rendered: {error}"))?;
        let failed = |_| Err("the chat template cannot be rendered".to_owned());
        thread.join().unwrap_or_else(failed)
    })
}

fn run(template: &str, inputs: &Inputs) -> Result<String, String> {
    let source = without_generation_tags(template);
    let given = [
        &inputs.messages,
        &inputs.tools,
        &inputs.documents,
        &inputs.options,
    ];
    let given: usize = given.iter().map(|value| value.to_string().len()).sum();
    let meter = Arc::new(Meter::new(given));
    let mut text = String::new();
    let rendered = environment(inputs.local_time, &meter).and_then(|environment| {
        let instructions = sandbox::compile(&source, environment.syntax())?;
        let mut output = machinery::make_string_output(&mut text);
        let blocks = BTreeMap::new();
        machinery::eval(
            &environment,
            &instructions,
            context(inputs),
            &blocks,
            &mut output,
            AutoEscape::None,
        )
        .map(drop)
    });
    rendered.map_err(|error| describe(&error))?;
    if text.len() > given + MAX_ADDED_BYTES {
        return Err(
            "the chat template made more text than is allowed (256 KiB beside the messages)"
                .to_owned(),
        );
    }
    Ok(text)
}

fn context(inputs: &Inputs) -> Value {
    minijinja::context! {
        messages => Value::from(Serde(&inputs.messages)),
        tools => Value::from(Serde(&inputs.tools)),
        documents => Value::from(Serde(&inputs.documents)),
        add_generation_prompt => inputs.add_generation_prompt,
        ..minijinja::context! {
            ..Value::from(Serde(&inputs.options)),
            ..minijinja::context! {
                bos_token => inputs.bos_token.as_str(),
                eos_token => inputs.eos_token.as_str(),
            }
        }
    }
}

/// The settings that Transformers gives Jinja (`_compile_jinja_template` in its chat_template_utils.py).
fn environment<'a>(local_time: u64, meter: &Arc<Meter>) -> Result<Environment<'a>, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(
        SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()?,
    );
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    let of = Arc::clone(meter);
    environment.set_unknown_method_callback(move |state, value, name, arguments| {
        filters::look_at_method(&of, value, name, arguments)?;
        python::method(state, value, name, arguments)
    });
    environment.set_fuel(Some(MAX_STEPS));
    filters::add_careful(&mut environment, meter);
    sandbox::add_checks(&mut environment, meter);
    let of = Arc::clone(meter);
    environment.add_filter(
        "tojson",
        move |value: &Value, positional: Rest<Value>, options: Kwargs| {
            json::to_json(&of, value, positional, options)
        },
    );
    environment.add_filter("trim", python::trim);
    // To minijinja, None is an empty iterable; templates ask "tools is iterable" to find out whether there are any.
    environment.add_test("iterable", |value: &Value| {
        !value.is_none() && value.try_iter().is_ok()
    });
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", move |format: String| {
        strftime_now(&format, local_time)
    });
    Ok(environment)
}

/// Transformers marks the assistant's words for training with `{% generation %}` blocks; they mean nothing here.
fn without_generation_tags(template: &str) -> String {
    let mut rest = template;
    let mut source = String::with_capacity(template.len());
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start);
        source.push_str(before);
        let Some(length) = tag.find("%}") else { break };
        let (tag, after) = tag.split_at(length + 2);
        let word = tag
            .trim_start_matches("{%")
            .trim_end_matches("%}")
            .trim_matches(['-', '+'])
            .trim();
        match word {
            "generation" => source.push_str(&tag.replace("generation", "if true")),
            "endgeneration" => source.push_str(&tag.replace("endgeneration", "endif")),
            _ => source.push_str(tag),
        }
        rest = after;
    }
    source.push_str(rest);
    source
}

/// `raise_exception(message)`: how a template refuses a conversation.
fn raise_exception(message: String) -> Result<String, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

/// `strftime_now(format)`: the time of now, here.
fn strftime_now(format: &str, local_time: u64) -> Result<String, Error> {
    crate::dates::strftime(format, local_time).ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidOperation,
            format!("strftime_now does not know '{format}'"),
        )
    })
}

fn describe(error: &Error) -> String {
    if error.kind() == ErrorKind::OutOfFuel {
        return format!("the chat template takes more than {MAX_STEPS} steps");
    }
    let line = error
        .line()
        .map(|line| format!(" (line {line} of the template)"))
        .unwrap_or_default();
    match error.detail() {
        Some(detail) => format!("{detail}{line}"),
        None => format!("{}{line}", error.kind()),
    }
}
