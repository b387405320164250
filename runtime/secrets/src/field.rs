//! Picks what a reference's key names out of what a provider read.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor};

use crate::provider::{Content, ProviderError};
use crate::value::SecretValue;

/// Picks the whole text (no key) or one field.
pub(crate) fn pick(content: &Content, key: Option<&str>) -> Result<SecretValue, ProviderError> {
    match (content, key) {
        (Content::Text(text), None) | (Content::Same(text), _) => Ok(text.clone()),
        (Content::Text(text), Some(key)) => from_json(text.expose(), key),
        (Content::Fields(fields), Some(key)) => match fields.get(key) {
            Some(Some(value)) => Ok(SecretValue::new(&***value)),
            Some(None) => Err(ProviderError::malformed(
                format!("the field {key:?} is an object, a list or null"),
                "refer to a field that holds a text, a number or a boolean",
            )),
            None => Err(no_field(key, fields.keys().map(String::as_str))),
        },
        (Content::Fields(fields), None) => Err(ProviderError::malformed(
            "the secret has several fields and the reference names none",
            format!(
                "write #KEY behind the path; there is {}",
                list(fields.keys().map(String::as_str))
            ),
        )),
    }
}

/// Reads a JSON object without building it: other fields' values are skipped, never copied.
fn from_json(text: &str, key: &str) -> Result<SecretValue, ProviderError> {
    let mut seen = Seen {
        key,
        value: None,
        names: Vec::new(),
    };
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = reader
        .deserialize_map(&mut seen)
        .and_then(|()| reader.end());
    // The parser's message may quote the text, so only the position of the fault is told.
    read.map_err(|error| {
        ProviderError::malformed(
            format!(
                "not a JSON object with text or number under the key (line {}, column {})",
                error.line(),
                error.column()
            ),
            "write the reference without #KEY to take the whole text, or mend the object",
        )
    })?;
    let Seen { value, names, .. } = seen;
    value.ok_or_else(|| no_field(key, names.iter().map(String::as_str)))
}

fn no_field<'a>(key: &str, names: impl Iterator<Item = &'a str>) -> ProviderError {
    ProviderError::not_found(
        format!("the secret has no field {key:?}"),
        format!("there is {}", list(names)),
    )
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.map(|name| format!("#{name}")).collect();
    if names.is_empty() {
        "no field at all".into()
    } else {
        names.join(", ")
    }
}

struct Seen<'a> {
    key: &'a str,
    value: Option<SecretValue>,
    names: Vec<String>,
}

impl<'de> Visitor<'de> for &mut Seen<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            if name == self.key {
                if self.value.is_some() {
                    return Err(A::Error::custom("twice"));
                }
                self.value = Some(map.next_value_seed(Scalar)?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
            self.names.push(name);
        }
        Ok(())
    }
}

struct Scalar;

impl<'de> DeserializeSeed<'de> for Scalar {
    type Value = SecretValue;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<SecretValue, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Scalar {
    type Value = SecretValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a number")
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<SecretValue, E> {
        Ok(SecretValue::new(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<SecretValue, E> {
        Ok(SecretValue::new(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<SecretValue, E> {
        Ok(SecretValue::new(value.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::ProviderFault;

    fn text(text: &str) -> Content {
        Content::Text(SecretValue::new(text))
    }

    #[test]
    fn a_key_takes_one_field_of_a_json_object() {
        let content = text(r#"{"user": "ro", "password": "p\"w", "port": 5432}"#);
        assert_eq!(pick(&content, Some("password")).unwrap().expose(), "p\"w");
        assert_eq!(pick(&content, Some("port")).unwrap().expose(), "5432");
        assert!(pick(&content, None).unwrap().expose().starts_with('{'));
    }

    #[test]
    fn a_missing_field_names_those_that_are_there_and_no_value() {
        let error = pick(&text(r#"{"user": "ro-user"}"#), Some("password")).unwrap_err();
        assert_eq!(error.fault, ProviderFault::NotFound);
        assert_eq!(
            error.to_string(),
            "the secret has no field \"password\"; there is #user"
        );
    }

    #[test]
    fn a_malformed_object_is_an_error_that_quotes_nothing_of_it() {
        for bad in [
            "hunter22",
            r#"{"k": "hunter22"#,
            r#"{"k": ["hunter22"]}"#,
            r#"{"k":"hunter22","k":"x"}"#,
            r#"["hunter22"]"#,
        ] {
            let error = pick(&text(bad), Some("k")).unwrap_err();
            assert_eq!(error.fault, ProviderFault::Malformed, "{bad}");
            assert!(!error.to_string().contains("hunter22"), "{error}");
        }
    }
}
