//! Chat templates: a model's own Jinja, rendered as Transformers renders it, within limits.
//!
//! A template comes with a model file, so it is somebody else's program. It can reach nothing but the messages and
//! tools it is given: no includes, no files, no attributes of ours. Steps, output and time are bounded.

use std::fmt::Write as _;
use std::io;
use std::time::{Duration, Instant};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Rest, Serde};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, UndefinedBehavior, Value};
use pyo3::prelude::*;
use serde_json::Serializer;
use serde_json::ser::{CompactFormatter, Formatter};

use crate::errors::{Kind, error};

/// Steps of the template machine. Long conversations with tools take some ten thousand.
const MAX_STEPS: u64 = 2_000_000;
/// Bytes that a template may add to what it is given.
const MAX_ADDED_BYTES: usize = 256 << 10;
/// Time that a template may take.
const MAX_TIME: Duration = Duration::from_secs(1);
/// Bytes of a template itself.
const MAX_TEMPLATE_BYTES: usize = 1 << 20;

/// What is used for a model that brings no template: ChatML, which most others descend from.
pub const DEFAULT_TEMPLATE: &str = "\
{%- for message in messages -%}
{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '<|im_start|>assistant\\n' }}
{%- endif -%}";

/// What a template is given.
pub struct Inputs {
    /// A list of maps with "role" and "content".
    pub messages: serde_json::Value,
    /// A list of tool descriptions, or null.
    pub tools: serde_json::Value,
    /// Whether to end with the beginning of the answer.
    pub add_generation_prompt: bool,
    /// Text of the model's beginning-of-text token; empty where it has none.
    pub bos_token: String,
    /// Text of the model's end-of-text token; empty where it has none.
    pub eos_token: String,
}

/// A conversation as `template` writes it, for models that llama.cpp does not run. Tokens that a model lacks are
/// empty texts.
#[pyfunction]
#[pyo3(signature = (template, messages, *, tools=None, add_generation_prompt=true, bos_token="", eos_token=""))]
pub fn render_template(
    py: Python<'_>,
    template: &str,
    messages: &Bound<'_, PyAny>,
    tools: Option<&Bound<'_, PyAny>>,
    add_generation_prompt: bool,
    bos_token: &str,
    eos_token: &str,
) -> PyResult<String> {
    let inputs = Inputs {
        messages: crate::messages::messages(messages)?,
        tools: crate::messages::tools(tools)?,
        add_generation_prompt,
        bos_token: bos_token.to_owned(),
        eos_token: eos_token.to_owned(),
    };
    py.detach(|| render(template, &inputs))
        .map_err(|message| error(Kind::Template, message))
}

/// Renders `template`.
///
/// # Errors
/// What is wrong with the template or with the messages, as a sentence.
pub fn render(template: &str, inputs: &Inputs) -> Result<String, String> {
    if template.len() > MAX_TEMPLATE_BYTES {
        return Err(format!(
            "the chat template has {} bytes; {MAX_TEMPLATE_BYTES} are allowed",
            template.len()
        ));
    }
    let source = without_generation_tags(template);
    let environment = environment().map_err(|error| describe(&error))?;
    let compiled = environment
        .template_from_str(&source)
        .map_err(|error| describe(&error))?;
    let given = inputs.messages.to_string().len() + inputs.tools.to_string().len();
    let mut output = Bounded::new(given + MAX_ADDED_BYTES);
    let context = context(inputs);
    let result = compiled.render_captured_to(context, &mut output).map(drop);
    if let Some(exceeded) = output.exceeded {
        return Err(exceeded.to_owned());
    }
    result.map_err(|error| describe(&error))?;
    String::from_utf8(output.bytes)
        .map_err(|_| "the chat template made text that is not UTF-8".to_owned())
}

fn context(inputs: &Inputs) -> Value {
    let tools = match &inputs.tools {
        serde_json::Value::Null => Value::from(()),
        tools => Value::from(Serde(tools)),
    };
    minijinja::context! {
        messages => Value::from(Serde(&inputs.messages)),
        tools => tools,
        documents => Value::from(()),
        add_generation_prompt => inputs.add_generation_prompt,
        bos_token => inputs.bos_token.as_str(),
        eos_token => inputs.eos_token.as_str(),
    }
}

/// The settings that Transformers gives Jinja (`_compile_jinja_template` in its chat_template_utils.py).
fn environment() -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(
        SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()?,
    );
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.set_fuel(Some(MAX_STEPS));
    environment.add_filter("tojson", to_json);
    // To minijinja, None is an empty iterable; templates ask "tools is iterable" to find out whether there are any.
    environment.add_test("iterable", |value: &Value| {
        !value.is_none() && value.try_iter().is_ok()
    });
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
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

/// `strftime_now(format)`: today's date, in UTC.
fn strftime_now(format: String) -> Result<String, Error> {
    let seconds = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_err(|_| Error::new(ErrorKind::InvalidOperation, "the clock is before 1970"))?
        .as_secs();
    crate::dates::strftime(&format, seconds).ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidOperation,
            format!("strftime_now does not know '{format}'"),
        )
    })
}

/// `tojson(indent, separators, sort_keys, ensure_ascii)`, as Python's `json.dumps` writes it: nothing escaped for HTML.
fn to_json(
    _: &State,
    value: &Value,
    positional: Rest<Value>,
    options: Kwargs,
) -> Result<Value, Error> {
    let option = |name: &str, position: usize| -> Result<Option<Value>, Error> {
        let value = options
            .get::<Option<Value>>(name)?
            .or_else(|| positional.get(position).cloned());
        Ok(value.filter(|value| !value.is_none() && !value.is_undefined()))
    };
    let ascii = option("ensure_ascii", 0)?.is_some_and(|value| value.is_true());
    let indent = option("indent", 1)?.map(usize::try_from).transpose()?;
    let separators = option("separators", 2)?;
    let sort = option("sort_keys", 3)?.is_some_and(|value| value.is_true());
    options.assert_all_used()?;
    let separator = |index: usize, default: &str| -> Result<String, Error> {
        match &separators {
            Some(pair) => Ok(pair
                .get_item_by_index(index)?
                .as_str()
                .unwrap_or(default)
                .to_owned()),
            None => Ok(default.to_owned()),
        }
    };
    let style = PythonStyle {
        item: separator(0, if indent.is_some() { "," } else { ", " })?,
        key: separator(1, ": ")?,
        indent: indent.map(|width| width.min(16)),
        ascii,
        depth: 0,
        filled: false,
    };
    let bad = |error: serde_json::Error| {
        Error::new(ErrorKind::BadSerialization, "tojson failed").with_source(error)
    };
    let mut json = serde_json::to_value(value).map_err(bad)?;
    if sort {
        json.sort_all_objects();
    }
    let mut bytes = Vec::new();
    serde::Serialize::serialize(&json, &mut Serializer::with_formatter(&mut bytes, style))
        .map_err(bad)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::new(ErrorKind::BadSerialization, "tojson failed"))?;
    Ok(Value::from(text))
}

/// JSON as `json.dumps` lays it out.
struct PythonStyle {
    item: String,
    key: String,
    indent: Option<usize>,
    ascii: bool,
    depth: usize,
    /// Whether the container just being written has something in it.
    filled: bool,
}

impl PythonStyle {
    fn begin<W: ?Sized + io::Write>(&mut self, out: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        self.filled = false;
        out.write_all(bracket)
    }

    fn end<W: ?Sized + io::Write>(&mut self, out: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth -= 1;
        if self.filled {
            self.new_line(out)?;
        }
        self.filled = true;
        out.write_all(bracket)
    }

    fn next<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if !first {
            out.write_all(self.item.as_bytes())?;
        }
        self.filled = true;
        self.new_line(out)
    }

    fn new_line<W: ?Sized + io::Write>(&self, out: &mut W) -> io::Result<()> {
        match self.indent {
            Some(width) => write!(out, "\n{:1$}", "", width * self.depth),
            None => Ok(()),
        }
    }
}

impl Formatter for PythonStyle {
    fn begin_array<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.begin(out, b"[")
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.end(out, b"]")
    }

    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.next(out, first)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.begin(out, b"{")
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.end(out, b"}")
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.next(out, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(self.key.as_bytes())
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.filled = true;
        Ok(())
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.filled = true;
        Ok(())
    }

    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if !self.ascii || fragment.is_ascii() {
            return CompactFormatter.write_string_fragment(out, fragment);
        }
        let mut escaped = String::new();
        for unit in fragment.encode_utf16() {
            // Writing to a String cannot fail.
            let _ = match u8::try_from(unit) {
                Ok(byte) if byte.is_ascii() => escaped.write_char(byte.into()),
                _ => write!(escaped, "\\u{unit:04x}"),
            };
        }
        out.write_all(escaped.as_bytes())
    }
}

/// Collects output until it is too much or takes too long.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
    deadline: Instant,
    exceeded: Option<&'static str>,
}

impl Bounded {
    fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
            deadline: Instant::now() + MAX_TIME,
            exceeded: None,
        }
    }
}

impl io::Write for Bounded {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + piece.len() > self.limit {
            self.exceeded = Some(
                "the chat template made more text than is allowed (256 KiB beside the messages)",
            );
        } else if Instant::now() > self.deadline {
            self.exceeded = Some("the chat template took longer than a second");
        }
        if self.exceeded.is_some() {
            return Err(io::Error::other("over the limit"));
        }
        self.bytes.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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
