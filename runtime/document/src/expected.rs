//! What a schema asks for, in the words of a sentence: "an integer between 1
//! and 65535", "one of `a`, `b`". Reads schemas only, never a document.

use serde_json::{Map, Value};

/// What a subschema wants, or `None` if it does not say enough.
pub(crate) fn expected(schema: &Value, root: &Value) -> Option<String> {
    let schema = follow(schema, root).as_object()?;
    if let Some(name) = schema.get("x-name").and_then(Value::as_str) {
        return Some(name.to_owned());
    }
    if let Some(constant) = schema.get("const") {
        return Some(literal(constant));
    }
    if let Some(options) = schema.get("enum").and_then(Value::as_array) {
        return Some(one_of(options));
    }
    let named: Vec<&str> = match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    let phrases: Vec<String> = named.iter().map(|name| typed(name, schema)).collect();
    Some(alternatives(&phrases))
}

/// Follows local `$ref`s.
pub(crate) fn follow<'a>(mut schema: &'a Value, root: &'a Value) -> &'a Value {
    for _ in 0..16 {
        let Some(target) = schema
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|reference| reference.strip_prefix('#'))
            .and_then(|pointer| root.pointer(pointer))
        else {
            break;
        };
        schema = target;
    }
    schema
}

/// The type of JSON as people call it.
pub(crate) fn type_phrase(name: &str) -> &str {
    match name {
        "object" => "a mapping",
        "array" => "a list",
        "string" => "a string",
        "integer" => "an integer",
        "number" => "a number",
        "boolean" => "true or false",
        "null" => "nothing",
        other => other,
    }
}

/// `` one of `a`, `b`, `c` ``, cut after twenty.
pub(crate) fn one_of(options: &[Value]) -> String {
    let shown: Vec<String> = options.iter().take(20).map(literal).collect();
    match shown.as_slice() {
        [only] => only.clone(),
        _ if options.len() > 20 => format!("one of {}, …", shown.join(", ")),
        _ => format!("one of {}", shown.join(", ")),
    }
}

/// `a`, `a or b`, `a, b or c`.
pub(crate) fn alternatives(phrases: &[String]) -> String {
    let mut seen: Vec<&str> = Vec::new();
    for phrase in phrases {
        if !seen.contains(&phrase.as_str()) {
            seen.push(phrase);
        }
    }
    match seen.split_last() {
        None => String::new(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

/// A literal of a schema, in backquotes.
pub(crate) fn literal(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    }
}

fn typed(name: &str, schema: &Map<String, Value>) -> String {
    let bound = |key: &str| schema.get(key).filter(|value| value.is_number());
    let count = |key: &str| schema.get(key).and_then(Value::as_u64);
    let base = type_phrase(name);
    match name {
        "integer" | "number" => {
            match (
                bound("minimum"),
                bound("maximum"),
                bound("exclusiveMinimum"),
                bound("exclusiveMaximum"),
            ) {
                (Some(low), Some(high), ..) => format!("{base} between {low} and {high}"),
                (Some(low), None, _, Some(high)) => {
                    format!("{base} of at least {low} and below {high}")
                }
                (Some(low), ..) => format!("{base} of at least {low}"),
                (None, Some(high), Some(low), _) => {
                    format!("{base} above {low} and at most {high}")
                }
                (None, Some(high), ..) => format!("{base} of at most {high}"),
                (None, None, Some(low), Some(high)) => {
                    format!("{base} above {low} and below {high}")
                }
                (None, None, Some(low), None) => format!("{base} above {low}"),
                (None, None, None, Some(high)) => format!("{base} below {high}"),
                (None, None, None, None) => base.to_owned(),
            }
        }
        "string" => {
            if let Some(format) = schema.get("format").and_then(Value::as_str) {
                return format_phrase(format);
            }
            sized(base, count("minLength"), count("maxLength"), "character")
        }
        "array" => sized(base, count("minItems"), count("maxItems"), "item"),
        _ => base.to_owned(),
    }
}

/// A phrase with its least and greatest size.
fn sized(base: &str, low: Option<u64>, high: Option<u64>, unit: &str) -> String {
    let plural = |count: u64| if count == 1 { "" } else { "s" };
    match (low.filter(|low| *low > 0), high) {
        (Some(low), Some(high)) if low == high => format!("{base} of {low} {unit}{}", plural(low)),
        (Some(low), Some(high)) => format!("{base} of {low} to {high} {unit}s"),
        (Some(1), None) => format!("{base} that is not empty"),
        (Some(low), None) => format!("{base} of at least {low} {unit}s"),
        (None, Some(high)) => format!("{base} of at most {high} {unit}{}", plural(high)),
        (None, None) => base.to_owned(),
    }
}

/// A JSON Schema format as people call it, with an example of how it is written.
pub(crate) fn format_phrase(format: &str) -> String {
    match format {
        "date" => "a date such as 2024-01-31".to_owned(),
        "date-time" => "a date and time such as 2024-01-31T12:00:00Z".to_owned(),
        "time" => "a time such as 12:00:00Z".to_owned(),
        "duration" => "a duration such as PT2H".to_owned(),
        "email" => "an e-mail address".to_owned(),
        "hostname" => "a host name".to_owned(),
        "ipv4" => "an IPv4 address".to_owned(),
        "ipv6" => "an IPv6 address".to_owned(),
        "uri" => "a URI such as https://example.com/".to_owned(),
        "uri-reference" => "a URI or a path".to_owned(),
        "uuid" => "a UUID".to_owned(),
        "regex" => "a regular expression".to_owned(),
        other => format!("a string of the format {other}"),
    }
}
