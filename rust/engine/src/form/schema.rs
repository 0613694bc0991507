//! Makes a schema ready for the compiler of grammars, whose answers would otherwise not quite be of it.

use serde_json::{Map, Value, json};

use super::forms::{FormError, refused};

/// Members whose values are data, not schemas.
const DATA: [&str; 5] = ["const", "enum", "default", "examples", "example"];
/// Members whose values are schemas by names that mean nothing here.
const BY_NAME: [&str; 5] = [
    "properties",
    "patternProperties",
    "$defs",
    "definitions",
    "dependentSchemas",
];
/// Days that there are, from the year 1000 on: earlier years are none for many libraries.
const DATE: &str = concat!(
    "(?:[1-9][0-9]{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])",
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))",
    "|(?:[1-9][0-9](?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|[13579][26])00)-02-29)"
);
/// Times of day without leap seconds, which few libraries read.
const TIME: &str = concat!(
    r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?",
    "(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
);
/// The largest number below 2⁶³ that floating point has.
const INTEGER_LIMIT: f64 = 9_223_372_036_854_774_784.0;

/// Puts stricter rules in place of those that the compiler takes too lightly, and refuses what it would get wrong.
pub(super) fn prepare(value: &mut Value) -> Result<(), FormError> {
    match value {
        Value::Array(elements) => elements.iter_mut().try_for_each(prepare),
        Value::Object(schema) => {
            mend(schema)?;
            schema
                .iter_mut()
                .try_for_each(|(name, member)| match member {
                    _ if DATA.contains(&name.as_str()) => Ok(()),
                    Value::Object(schemas) if BY_NAME.contains(&name.as_str()) => {
                        schemas.values_mut().try_for_each(prepare)
                    }
                    _ => prepare(member),
                })
        }
        _ => Ok(()),
    }
}

fn mend(schema: &mut Map<String, Value>) -> Result<(), FormError> {
    for name in ["const", "enum"] {
        if let Some(why) = schema.get(name).and_then(unsupported) {
            return Err(refused(&format!("{name}: {why} are not supported")));
        }
    }
    for name in ["minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"] {
        if let Some(bound) = schema.get_mut(name) {
            round_inwards(bound, name.ends_with("inimum"));
        }
    }
    check_min_properties(schema)?;
    mend_format(schema);
    Ok(())
}

/// What the compiler cannot hold an answer to in a constant: it counts in floating point, and escapes that write any
/// character are switched off.
fn unsupported(data: &Value) -> Option<&'static str> {
    match data {
        Value::Number(number) => {
            let float = number.as_f64()?;
            let exact = match integer(data) {
                Some(integer) => float as i128 == integer,
                None => float.abs() < 2f64.powi(53),
            };
            (!exact).then_some("numbers beyond 2^53")
        }
        Value::String(text) => {
            let escaped =
                text.contains(|c: char| c.is_control() && !"\n\r\t\u{8}\u{c}".contains(c));
            escaped.then_some("control characters")
        }
        Value::Array(elements) => elements.iter().find_map(unsupported),
        Value::Object(members) => members.values().find_map(unsupported),
        _ => None,
    }
}

fn integer(value: &Value) -> Option<i128> {
    let signed = value.as_i64().map(i128::from);
    signed.or_else(|| value.as_u64().map(i128::from))
}

/// A bound that floating point does not have becomes the next one that is stricter.
fn round_inwards(bound: &mut Value, is_lower: bool) {
    let Some(integer) = integer(bound) else {
        return;
    };
    let nearest = integer as f64;
    let rounded = match (nearest as i128).cmp(&integer) {
        std::cmp::Ordering::Less if is_lower => nearest.next_up(),
        std::cmp::Ordering::Greater if !is_lower => nearest.next_down(),
        _ => nearest,
    };
    let limited = if is_lower {
        rounded.max(-INTEGER_LIMIT)
    } else {
        rounded.min(INTEGER_LIMIT)
    };
    if limited as i128 != integer {
        *bound = json!(limited);
    }
}

/// Names that the schema does not list may come twice in an answer, where they count for one.
fn check_min_properties(schema: &Map<String, Value>) -> Result<(), FormError> {
    let least = schema.get("minProperties").and_then(Value::as_u64);
    let required = schema.get("required").and_then(Value::as_array);
    let sure = required.map_or(0, Vec::len) as u64 + 1;
    let closed = schema.get("additionalProperties") == Some(&json!(false))
        && !schema.contains_key("patternProperties");
    if closed || least.is_none_or(|least| least <= sure) {
        return Ok(());
    }
    Err(refused(
        "minProperties: at most one member more than those that are required is supported where names are free",
    ))
}

fn mend_format(schema: &mut Map<String, Value>) {
    let stricter = match schema.get("format").and_then(Value::as_str) {
        Some("date") => json!({"pattern": format!("^{DATE}$")}),
        Some("time") => json!({"pattern": format!("^{TIME}$")}),
        Some("date-time") => json!({"pattern": format!("^{DATE}T{TIME}$")}),
        Some("hostname") => json!({"maxLength": 253}),
        _ => return,
    };
    if stricter.get("pattern").is_some() {
        schema.remove("format");
    }
    // A malformed list is the compiler's to refuse.
    if let Value::Array(rules) = schema.entry("allOf").or_insert_with(|| json!([])) {
        rules.push(stricter);
    }
}
