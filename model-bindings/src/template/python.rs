//! Methods and filters of texts and dicts where Python's differ from minijinja's.

use minijinja::value::{ValueKind, from_args};
use minijinja::{Error, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

/// What Python takes for white space: what Unicode does, and the four separators of ASCII.
fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\x1c'..='\x1f').contains(&character)
}

/// What ends a line for `str.splitlines`.
fn ends_line(character: char) -> bool {
    matches!(
        character,
        '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

/// A method of a value, as Python has it.
pub fn method(
    state: &mut State,
    value: &Value,
    name: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    if value.kind() == ValueKind::String
        && let Some(text) = value.as_str()
        && let Some(result) = text_method(text, name, arguments)
    {
        return result;
    }
    unknown_method_callback(state, value, name, arguments)
}

/// The filter `trim`.
pub fn trim(value: &Value, characters: Option<&str>) -> String {
    strip(&value.to_string(), characters, true, true).to_owned()
}

fn text_method(text: &str, name: &str, arguments: &[Value]) -> Option<Result<Value, Error>> {
    let stripped = |start, end| {
        let (characters,): (Option<&str>,) = from_args(arguments)?;
        Ok(Value::from(strip(text, characters, start, end)))
    };
    let without = |cut: fn(&str, &str) -> Option<String>| {
        let (piece,): (&str,) = from_args(arguments)?;
        Ok(Value::from(
            cut(text, piece).unwrap_or_else(|| text.to_owned()),
        ))
    };
    match name {
        "strip" => Some(stripped(true, true)),
        "lstrip" => Some(stripped(true, false)),
        "rstrip" => Some(stripped(false, true)),
        "removeprefix" => Some(without(|text, piece| {
            text.strip_prefix(piece).map(str::to_owned)
        })),
        "removesuffix" => Some(without(|text, piece| {
            text.strip_suffix(piece).map(str::to_owned)
        })),
        "split" if words_wanted(arguments) => Some(Ok(text
            .split(is_space)
            .filter(|word| !word.is_empty())
            .map(Value::from)
            .collect())),
        "splitlines" => Some(
            from_args(arguments).map(|(keep,): (Option<bool>,)| lines(text, keep.unwrap_or(false))),
        ),
        "isspace" => Some(
            from_args(arguments)
                .map(|()| Value::from(!text.is_empty() && text.chars().all(is_space))),
        ),
        _ => None,
    }
}

/// Whether `split` is asked for words, however many.
fn words_wanted(arguments: &[Value]) -> bool {
    match arguments {
        [] => true,
        [separator] => separator.is_none(),
        _ => false,
    }
}

fn strip<'a>(text: &'a str, characters: Option<&str>, start: bool, end: bool) -> &'a str {
    let goes = |character: char| match characters {
        Some(characters) => characters.contains(character),
        None => is_space(character),
    };
    let text = if start {
        text.trim_start_matches(goes)
    } else {
        text
    };
    if end {
        text.trim_end_matches(goes)
    } else {
        text
    }
}

fn lines(text: &str, keep_ends: bool) -> Value {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(ends_line) {
        let (line, tail) = rest.split_at(at);
        let end = match tail.strip_prefix("\r\n") {
            Some(_) => 2,
            None => tail.chars().next().map_or(0, char::len_utf8),
        };
        let (_, after) = tail.split_at(end);
        lines.push(Value::from(if keep_ends {
            rest.get(..at + end).unwrap_or(rest)
        } else {
            line
        }));
        rest = after;
    }
    if !rest.is_empty() {
        lines.push(Value::from(rest));
    }
    Value::from(lines)
}
