//! Conversations and tools from Python, as the JSON that templates work on.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde_json::{Map, Value};

use crate::errors::invalid;

/// Names in use for what a model thought before it spoke; templates read the first, and some the second.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// A list of maps with a role and contents: text, parts of text, or none beside calls of tools. Thoughts are under the
/// names that templates read.
pub fn messages(given: &Bound<'_, PyAny>) -> PyResult<Value> {
    let Value::Array(mut messages) = json(given, "messages")? else {
        return Err(invalid("messages", "is not a list"));
    };
    if messages.is_empty() {
        return Err(invalid("messages", "is empty"));
    }
    for (index, message) in messages.iter_mut().enumerate() {
        let bad = |problem: &str| invalid(&format!("messages[{index}]"), problem);
        let Value::Object(fields) = message else {
            return Err(bad("is not a dict"));
        };
        if !fields.get("role").is_some_and(Value::is_string) {
            return Err(bad("has no role"));
        }
        match fields.get("content") {
            Some(Value::String(_)) => {}
            Some(parts @ Value::Array(_)) if texts(parts).is_some() => {}
            Some(Value::Array(_)) => return Err(bad("has content other than text")),
            // A call of tools comes without words.
            Some(Value::Null) | None if fields.contains_key("tool_calls") => {}
            _ => return Err(bad("has no content")),
        }
        name_thoughts(fields);
    }
    Ok(Value::Array(messages))
}

/// As Transformers does (`_alias_reasoning_fields` in its chat_template_utils.py), in the same order.
fn name_thoughts(fields: &mut Map<String, Value>) {
    let mut named = REASONING.iter().filter_map(|name| fields.get(*name));
    let Some(thoughts) = named.find(|value| !value.is_null()).cloned() else {
        return;
    };
    if !fields.contains_key("thinking") {
        fields.shift_insert(0, "thinking".to_owned(), thoughts.clone());
    }
    fields.insert("reasoning_content".to_owned(), thoughts);
}

/// The messages with plain text for contents, where some have others.
pub fn plain(messages: &Value) -> Option<Value> {
    let mut messages = messages.clone();
    let mut changed = false;
    for message in messages.as_array_mut()? {
        let content = match message.get("content") {
            Some(Value::String(_)) => continue,
            Some(parts @ Value::Array(_)) => texts(parts)?.concat(),
            _ => String::new(),
        };
        let fields = message.as_object_mut()?;
        fields.insert("content".to_owned(), Value::String(content));
        changed = true;
    }
    changed.then_some(messages)
}

/// Whether a template wrote the texts of all parts, and not the data that they are in.
pub fn reads_parts(rendered: &str, messages: &Value) -> bool {
    let parts: Vec<&str> = messages
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|message| texts(message.get("content")?))
        .flatten()
        .collect();
    let as_data = ["{'type': 'text'", "{\"type\": \"text\""];
    parts.is_empty()
        || parts.iter().all(|text| rendered.contains(text.trim()))
            && !as_data.iter().any(|data| rendered.contains(data))
}

/// A list of dicts (tools, documents), or null.
pub fn descriptions(given: Option<&Bound<'_, PyAny>>, name: &str) -> PyResult<Value> {
    let list = match given.map(|given| json(given, name)).transpose()? {
        None | Some(Value::Null) => return Ok(Value::Null),
        // Templates ask "if tools": none at all is the same as an empty list.
        Some(Value::Array(list)) if list.is_empty() => return Ok(Value::Null),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(invalid(name, "is not a list")),
    };
    match list.iter().position(|each| !each.is_object()) {
        Some(index) => Err(invalid(&format!("{name}[{index}]"), "is not a dict")),
        None => Ok(Value::Array(list)),
    }
}

/// Switches of a template by their names.
pub fn options(given: Option<&Bound<'_, PyDict>>) -> PyResult<Value> {
    match given {
        None => Ok(Value::Object(Map::new())),
        Some(given) => json(given.as_any(), "options"),
    }
}

/// The texts of a content's parts, where all are text.
fn texts(parts: &Value) -> Option<Vec<&str>> {
    let text = |part| match Value::get(part, "type").and_then(Value::as_str) {
        Some("text") => part.get("text").and_then(Value::as_str),
        _ => None,
    };
    parts.as_array()?.iter().map(text).collect()
}

/// Python's own encoder decides what is JSON.
fn json(given: &Bound<'_, PyAny>, name: &str) -> PyResult<Value> {
    let py = given.py();
    let options = PyDict::new(py);
    options.set_item("allow_nan", false)?;
    let text: String = py
        .import("json")?
        .call_method("dumps", (given,), Some(&options))
        .and_then(|text| text.extract())
        .map_err(|problem| {
            invalid(
                name,
                format!("cannot be written as JSON: {}", problem.value(py)),
            )
        })?;
    serde_json::from_str(&text)
        .map_err(|problem| invalid(name, format!("cannot be read as JSON: {problem}")))
}
