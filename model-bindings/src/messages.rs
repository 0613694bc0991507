//! Conversations and tools from Python, as the JSON that templates work on.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde_json::Value;

use crate::errors::invalid;

/// A list of maps with a role and contents. Contents in parts become text where all parts are text.
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
        let content = match fields.get("content") {
            Some(Value::String(_)) => continue,
            Some(parts @ Value::Array(_)) => {
                joined(parts).ok_or_else(|| bad("has content other than text"))?
            }
            // A call of tools comes without words.
            Some(Value::Null) | None if fields.contains_key("tool_calls") => String::new(),
            _ => return Err(bad("has no content")),
        };
        fields.insert("content".to_owned(), Value::String(content));
    }
    Ok(Value::Array(messages))
}

/// A list of tool descriptions, or null.
pub fn tools(given: Option<&Bound<'_, PyAny>>) -> PyResult<Value> {
    match given.map(|given| json(given, "tools")).transpose()? {
        None => Ok(Value::Null),
        // Templates ask "if tools": none at all is the same as an empty list.
        Some(Value::Array(tools)) if tools.is_empty() => Ok(Value::Null),
        Some(Value::Array(tools)) => Ok(Value::Array(tools)),
        Some(_) => Err(invalid("tools", "is not a list")),
    }
}

fn joined(parts: &Value) -> Option<String> {
    let text = |part: &Value| match part.get("type").and_then(Value::as_str) {
        Some("text") => part.get("text").and_then(Value::as_str).map(str::to_owned),
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
