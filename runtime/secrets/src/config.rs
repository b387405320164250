//! References inside a connection's config: `{"$secret": "vault:kv/shop#api_key"}` stands where the value will be used.

use serde_json::Value;

use crate::reference::Reference;
use crate::rule::escape;

/// The key that makes an object a reference.
pub const MARKER: &str = "$secret";

/// A reference and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// JSON pointer of the object that holds the reference.
    pub pointer: String,
    /// The reference.
    pub reference: Reference,
}

/// An object that looks like a reference and is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {message}; {help}")]
pub struct Misplaced {
    /// JSON pointer of the object.
    pub pointer: String,
    /// What is wrong. Never repeats what stands there: it may be a value.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

/// Finds every reference of a config, in document order.
///
/// # Errors
/// Every malformed reference at once.
pub fn references(config: &Value) -> Result<Vec<Placed>, Vec<Misplaced>> {
    let (mut found, mut faults) = (Vec::new(), Vec::new());
    walk(config, &mut String::new(), &mut found, &mut faults);
    if faults.is_empty() {
        Ok(found)
    } else {
        Err(faults)
    }
}

fn walk(value: &Value, pointer: &mut String, found: &mut Vec<Placed>, faults: &mut Vec<Misplaced>) {
    let depth = pointer.len();
    match value {
        Value::Object(map) if map.contains_key(MARKER) => match parse(value) {
            Ok(reference) => found.push(Placed {
                pointer: pointer.clone(),
                reference,
            }),
            Err((message, help)) => faults.push(Misplaced {
                pointer: pointer.clone(),
                message,
                help,
            }),
        },
        Value::Object(map) => {
            for (name, value) in map {
                pointer.push('/');
                pointer.push_str(&escape(name));
                walk(value, pointer, found, faults);
                pointer.truncate(depth);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                pointer.push_str(&format!("/{index}"));
                walk(value, pointer, found, faults);
                pointer.truncate(depth);
            }
        }
        _ => {}
    }
}

fn parse(value: &Value) -> Result<Reference, (String, String)> {
    let shape = || format!("write {{\"{MARKER}\": \"scheme:path#key\"}}");
    let Some(map) = value.as_object().filter(|map| map.len() == 1) else {
        return Err((
            format!("an object with {MARKER} has other keys too"),
            shape(),
        ));
    };
    let Some(text) = map.get(MARKER).and_then(Value::as_str) else {
        return Err((format!("{MARKER} is not text"), shape()));
    };
    Reference::parse(text).map_err(|error| {
        let text = error.to_string();
        let (message, help) = text
            .split_once("; ")
            .unwrap_or((&text, "write scheme:path#key"));
        (message.to_owned(), help.to_owned())
    })
}

/// A copy of the config with every reference replaced, for checks against the config's schema (there a reference stands
/// as a string) and for placeholders. Malformed references stay as they are; [`references`] reports them.
pub fn replace(config: &Value, with: &mut impl FnMut(&Placed) -> Value) -> Value {
    fn copy(value: &Value, pointer: &str, with: &mut impl FnMut(&Placed) -> Value) -> Value {
        match value {
            Value::Object(map) if map.contains_key(MARKER) => match parse(value) {
                Ok(reference) => with(&Placed {
                    pointer: pointer.to_owned(),
                    reference,
                }),
                Err(_) => value.clone(),
            },
            Value::Object(map) => Value::Object(
                map.iter()
                    .map(|(k, v)| {
                        (
                            k.clone(),
                            copy(v, &format!("{pointer}/{}", escape(k)), with),
                        )
                    })
                    .collect(),
            ),
            Value::Array(items) => items
                .iter()
                .enumerate()
                .map(|(i, v)| copy(v, &format!("{pointer}/{i}"), with))
                .collect(),
            other => other.clone(),
        }
    }
    copy(config, "", with)
}

/// A copy of the config in which every reference stands as its text: what the config's JSON Schema is checked against.
pub fn references_as_text(config: &Value) -> Value {
    replace(config, &mut |placed| {
        Value::String(placed.reference.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn references_are_found_wherever_they_stand() {
        let config = json!({
            "shop": "acme",
            "api_key": { "$secret": "file:shop#token" },
            "database": { "a/b": [{ "$secret": "env:CAISSON_SECRET_X" }, 1] },
        });
        let found: Vec<_> = references(&config)
            .unwrap()
            .iter()
            .map(|p| format!("{} {}", p.pointer, p.reference))
            .collect();
        assert_eq!(
            found,
            [
                "/api_key file:shop#token",
                "/database/a~1b/0 env:CAISSON_SECRET_X"
            ]
        );
        for text in found {
            let pointer = text.split(' ').next().unwrap();
            assert!(config.pointer(pointer).unwrap().get(MARKER).is_some());
        }
    }

    #[test]
    fn every_malformed_reference_is_reported_at_once_without_its_text() {
        let config = json!({
            "a": { "$secret": "hunter22" },
            "b": { "$secret": 42 },
            "c": { "$secret": "file:x", "default": "hunter22" },
        });
        let faults = references(&config).unwrap_err();
        let places: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(places, ["/a", "/b", "/c"]);
        assert!(
            faults
                .iter()
                .all(|fault| !fault.to_string().contains("hunter22") && !fault.help.is_empty())
        );
    }

    #[test]
    fn a_reference_stands_as_text_for_the_schema() {
        let config = json!({ "k": { "$secret": "file:x" }, "n": [1, null, true] });
        assert_eq!(
            references_as_text(&config),
            json!({ "k": "file:x", "n": [1, null, true] })
        );
    }
}
