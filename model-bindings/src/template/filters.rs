//! Filters and methods that could make much of little, looked at before they do.

use std::sync::Arc;

use minijinja::value::{Kwargs, Rest, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, State, Value, filters, tests};

use super::meter::{Meter, refused};

/// Filters that chat templates do not use and that could make much of little.
const UNUSED: [&str; 6] = ["batch", "slice", "sum", "zip", "chain", "pprint"];
/// Digits of the widest field that a text may be formatted to.
const WIDEST: usize = 3;

type Look = fn(&Meter, &Value, &[Value]) -> Result<(), Error>;

/// Puts filters in the place of minijinja's that look first.
pub fn add_careful(environment: &mut Environment<'_>, meter: &Arc<Meter>) {
    for name in UNUSED {
        environment.remove_filter(name);
    }
    environment.remove_global("debug");
    let careful: [(&'static str, Value, Look); 8] = [
        ("replace", Value::from_function(filters::replace), replacing),
        ("join", Value::from_function(filters::join), joining),
        ("indent", Value::from_function(filters::indent), indenting),
        ("format", Value::from_function(filters::format), formatting),
        ("split", Value::from_function(filters::split), splitting),
        (
            "lines",
            Value::from_function(filters::lines),
            splitting_lines,
        ),
        ("list", Value::from_function(filters::list), listing),
        ("string", Value::from_function(filters::string), listing),
    ];
    for (name, filter, look) in careful {
        let of = Arc::clone(meter);
        environment.add_filter(
            name,
            move |state: &mut State, value: Value, rest: Rest<ValueOrKwargs>| {
                let rest = rest.into_values();
                look(&of, &value, &rest)?;
                let arguments: Vec<Value> = [value].into_iter().chain(rest).collect();
                let made = filter.call(state, &arguments)?;
                // `map` calls filters by name, where no check comes after them.
                of.take(&made)?;
                Ok::<_, Error>(made)
            },
        );
    }
    let of = Arc::clone(meter);
    environment.add_test("in", move |state: &State, value: &Value, other: &Value| {
        of.tick()?;
        tests::is_in(state, value, other)
    });
}

/// Looks before a method of a text is called.
pub fn look_at_method(
    meter: &Meter,
    text: &Value,
    name: &str,
    arguments: &[Value],
) -> Result<(), Error> {
    match name {
        "replace" => replacing(meter, text, arguments),
        "split" => splitting(meter, text, arguments),
        "splitlines" => splitting_lines(meter, text, arguments),
        "format" => formatting(meter, text, arguments),
        "join" => match arguments.first() {
            Some(parts) => joining(meter, parts, std::slice::from_ref(text)),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

fn text(value: Option<&Value>) -> &str {
    value.and_then(Value::as_str).unwrap_or_default()
}

fn replacing(meter: &Meter, value: &Value, arguments: &[Value]) -> Result<(), Error> {
    let (from, to) = (text(arguments.first()), text(arguments.get(1)));
    let given = text(Some(value));
    let count = if from.is_empty() {
        given.len() + 1
    } else {
        given.matches(from).count()
    };
    meter.make(count.saturating_mul(to.len()))
}

fn joining(meter: &Meter, value: &Value, arguments: &[Value]) -> Result<(), Error> {
    let parts = meter.weigh(value)?;
    let count = match value.as_str() {
        Some(text) => text.chars().count(),
        None => value.try_iter()?.count(),
    };
    let between = text(arguments.first()).len();
    meter.make(parts.saturating_add(count.saturating_mul(between)))
}

fn indenting(meter: &Meter, value: &Value, arguments: &[Value]) -> Result<(), Error> {
    let lines = text(Some(value)).matches('\n').count() + 1;
    let widest = arguments.iter().filter_map(width).max().unwrap_or(4);
    meter.make(lines.saturating_mul(widest))
}

/// A width as a number, a text, or by name.
fn width(argument: &Value) -> Option<usize> {
    if let Ok(options) = Kwargs::try_from(argument.clone())
        && let Ok(Some(width)) = options.peek::<Option<Value>>("width")
    {
        return width.as_usize();
    }
    argument.as_usize()
}

fn formatting(meter: &Meter, value: &Value, arguments: &[Value]) -> Result<(), Error> {
    let pattern = text(Some(value));
    let mut numbers = pattern.split(|c: char| !c.is_ascii_digit());
    if width_is_given(pattern) || numbers.any(|digits| digits.len() > WIDEST) {
        return Err(refused(
            "the chat template formats a text to a width that is not allowed",
        ));
    }
    let mut most = 0_usize;
    for argument in arguments {
        most = most.max(meter.weigh(argument)?);
    }
    let fields = pattern.matches(['{', '%']).count();
    meter.make(
        pattern
            .len()
            .saturating_add(fields.saturating_mul(most.saturating_add(1_000))),
    )
}

/// Whether a width is an argument as well: `%*d`, or a field within a field.
fn width_is_given(pattern: &str) -> bool {
    let mut in_field = false;
    for c in pattern.replace("{{", "").chars() {
        if c == '{' && in_field {
            return true;
        }
        in_field = c == '{' || in_field && c != '}';
    }
    let mut fields = pattern.split('%').skip(1);
    fields.any(|field| {
        field
            .trim_start_matches(['-', '+', ' ', '#', '0'])
            .starts_with('*')
    })
}

fn splitting(meter: &Meter, value: &Value, arguments: &[Value]) -> Result<(), Error> {
    let given = text(Some(value));
    let separator = text(arguments.first());
    let count = if separator.is_empty() {
        given.len()
    } else {
        given.matches(separator).count()
    };
    meter.make_many(count.saturating_add(1), given.len())
}

fn splitting_lines(meter: &Meter, value: &Value, _: &[Value]) -> Result<(), Error> {
    let given = text(Some(value));
    meter.make_many(given.len(), 0)
}

/// A list of characters, or a list written as a text.
fn listing(meter: &Meter, value: &Value, _: &[Value]) -> Result<(), Error> {
    match value.kind() {
        ValueKind::String => meter.make_many(text(Some(value)).len(), 0),
        _ => meter.make(meter.weigh(value)?),
    }
}
